#include "router/conversation.h"

#include <stdlib.h>

/* Pairs of members in one effect; fields of another. */
#define PAIRS 24
#define FIELDS 500

uint32_t conversation_key(struct engine *engine, struct conversation *conversation,
                          enum conversation_key which)
{
    static const char *const names[] = {
        [CONVERSATION_LOG] = "log",
        [CONVERSATION_CHANGES] = "changes",
    };
    struct slice id = conversation_slice(conversation);

    if (conversation->keys_commit != engine->commit) {
        memset(conversation->keys, 0, sizeof(conversation->keys));
        conversation->keys_commit = engine->commit;
    }
    if (conversation->keys[which] != 0)
        return conversation->keys[which];
    if (which != CONVERSATION_OBJECT)
        conversation->keys[which] = effects_key(engine->effects, names[which], id);
    else if (conversation->group)
        conversation->keys[which] =
            effects_key(engine->effects, "group", slice_of(id.data + 6, id.length - 6));
    else
        conversation->keys[which] = effects_key(engine->effects, "dialog", id);
    return conversation->keys[which];
}

uint32_t conversation_marks_key(struct engine *engine, const struct conversation *conversation,
                                const char *what, const struct participant *member)
{
    struct buffer *name = &engine->conversations->line;

    buffer_reset(name, SIZE_MAX);
    buffer_append_slice(name, conversation_slice(conversation));
    buffer_append_byte(name, '\n');
    buffer_append_slice(name, participant_slice(member));
    return effects_key(engine->effects, what, buffer_slice(name));
}

void conversation_changed(struct engine *engine, struct conversation *conversation)
{
    if (conversation->changed)
        return;
    conversation->changed = true;
    TAILQ_INSERT_TAIL(&engine->conversations->changed, conversation, changed_link);
}

void conversation_record_changed(struct engine *engine, struct conversation *conversation)
{
    conversation->record_changed = true;
    conversation_changed(engine, conversation);
}

void conversation_member_changed(struct engine *engine, struct conversation *conversation,
                                 struct participant *member)
{
    conversation_changed(engine, conversation);
    if (member->changed)
        return;
    member->changed = true;
    member->next_changed = conversation->changed_members;
    conversation->changed_members = member;
}

struct participant *conversation_add_member(struct engine *engine,
                                            struct conversation *conversation, struct slice user)
{
    struct participant *member = conversation_member(conversation, user);

    if (member != NULL)
        return member;
    member = conversation_new_member(engine, conversation, user);
    member->since = member->delivered = member->read = conversation->last;
    member->joined_ms = engine->now_ms;
    conversation_member_changed(engine, conversation, member);
    return member;
}

static void forget_change(struct conversation *conversation, struct participant *member)
{
    struct participant **at = &conversation->changed_members;

    while (*at != NULL && *at != member)
        at = &(*at)->next_changed;
    if (*at != NULL)
        *at = member->next_changed;
}

static void delete_key(struct engine *engine, uint32_t key)
{
    effects_open(engine->effects, EFFECT_DEL, key, 0);
}

static struct slice member_field(struct engine *engine, const struct participant *member)
{
    struct buffer *line = &engine->conversations->line;

    buffer_reset(line, SIZE_MAX);
    buffer_append_byte(line, '+');
    buffer_append_slice(line, participant_slice(member));
    return buffer_slice(line);
}

void conversation_remove_member(struct engine *engine, struct conversation *conversation,
                                struct participant *member)
{
    uint32_t object = conversation_key(engine, conversation, CONVERSATION_OBJECT);

    effects_hdel(engine->effects, object, member_field(engine, member));
    delete_key(engine, conversation_marks_key(engine, conversation, "delivered", member));
    delete_key(engine, conversation_marks_key(engine, conversation, "read", member));
    if (member->changed)
        forget_change(conversation, member);
    HASH_DEL(conversation->members, member);
    engine->conversations->members--;
    free(member);
}

static void member_pair(struct engine *engine, const struct participant *member)
{
    const uint64_t numbers[] = {member->delivered, member->read, member->since, member->wrote,
                                member->joined_ms};
    struct buffer *line = &engine->conversations->line;

    effects_text(engine->effects, member_field(engine, member));
    buffer_reset(line, SIZE_MAX);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (i)
            buffer_append_byte(line, ' ');
        buffer_append_u64(line, numbers[i]);
    }
    effects_text(engine->effects, buffer_slice(line));
}

static size_t changed_members(const struct conversation *conversation)
{
    const struct participant *member;
    size_t count = 0;

    for (member = conversation->changed_members; member; member = member->next_changed)
        count++;
    return count < PAIRS ? count : PAIRS;
}

static void member_pairs(struct engine *engine, struct conversation *conversation, size_t count)
{
    while (count--) {
        struct participant *written = conversation->changed_members;

        conversation->changed_members = written->next_changed;
        written->changed = false;
        member_pair(engine, written);
    }
}

static void record_pairs(struct effects *effects, const struct conversation *conversation)
{
    effects_u64_pair(effects, "created", conversation->created_ms);
    if (!conversation->group)
        return;
    effects_text_pair(effects, "owner", conversation->owner);
    effects_text_pair(effects, "name", conversation->name);
}

/* One effect, but of a group of which many have changed. */
static void write_object(struct engine *engine, struct conversation *conversation, bool trimmed)
{
    struct effects *effects = engine->effects;
    uint32_t object = conversation_key(engine, conversation, CONVERSATION_OBJECT);
    size_t members = changed_members(conversation);
    size_t record = !conversation->record_changed ? 0 : conversation->group ? 3 : 1;

    effects_open(effects, EFFECT_HSET, object, 2 * (1 + trimmed + record + members));
    effects_u64_pair(effects, "last", conversation->last);
    if (trimmed)
        effects_u64_pair(effects, "first", conversation->trimmed + 1);
    if (record)
        record_pairs(effects, conversation);
    conversation->record_changed = false;
    member_pairs(engine, conversation, members);
    while ((members = changed_members(conversation)) > 0) {
        effects_open(effects, EFFECT_HSET, object, 2 * members);
        member_pairs(engine, conversation, members);
    }
}

/* What was said of messages that are not held any more. */
static void forget_changes(struct engine *engine, struct conversation *conversation,
                           uint64_t trimmed)
{
    uint32_t changes = conversation_key(engine, conversation, CONVERSATION_CHANGES);

    while (conversation->trimmed < trimmed) {
        uint64_t left = trimmed - conversation->trimmed;
        uint64_t count = left < FIELDS ? left : FIELDS;

        effects_open(engine->effects, EFFECT_HDEL, changes, count);
        while (count--)
            effects_u64(engine->effects, ++conversation->trimmed);
    }
}

/* What is older than the log holds: entries of which nothing is held go. */
static bool trim_log(struct engine *engine, struct conversation *conversation)
{
    uint64_t trimmed = conversation_trimmed_of(engine, conversation);

    if (trimmed <= conversation->trimmed)
        return false;
    effects_open(engine->effects, EFFECT_XTRIM,
                 conversation_key(engine, conversation, CONVERSATION_LOG), 1);
    effects_number(engine->effects, (struct number){.epoch = trimmed + 1});
    forget_changes(engine, conversation, trimmed);
    return true;
}

static void write_changed(struct engine *engine, struct conversation *conversation)
{
    journal_write(&conversation->log, engine->effects,
                  conversation_key(engine, conversation, CONVERSATION_LOG));
    write_object(engine, conversation, trim_log(engine, conversation));
}

void conversations_finish(struct engine *engine)
{
    struct conversations *conversations = engine->conversations;
    struct conversation *conversation;

    while ((conversation = TAILQ_FIRST(&conversations->changed)) != NULL) {
        TAILQ_REMOVE(&conversations->changed, conversation, changed_link);
        conversation->changed = false;
        if (conversation->exists)
            write_changed(engine, conversation);
        else
            journal_drop(&conversation->log);
    }
}
