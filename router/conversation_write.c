#include "router/conversation.h"

#include <stdio.h>
#include <stdlib.h>

/* Field and value pairs in one effect. */
#define PAIRS 24

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
    char value[128];
    int length = snprintf(value, sizeof(value), "%llu %llu %llu %llu %llu",
                          (unsigned long long)member->delivered, (unsigned long long)member->read,
                          (unsigned long long)member->since, (unsigned long long)member->wrote,
                          (unsigned long long)member->joined_ms);

    effects_text(engine->effects, member_field(engine, member));
    effects_text(engine->effects, slice_of(value, (size_t)length));
}

static void write_members(struct engine *engine, struct conversation *conversation)
{
    uint32_t object = conversation_key(engine, conversation, CONVERSATION_OBJECT);

    while (conversation->changed_members != NULL) {
        const struct participant *member = conversation->changed_members;
        size_t count = 0;

        for (; member && count < PAIRS; member = member->next_changed)
            count++;
        effects_open(engine->effects, EFFECT_HSET, object, count * 2);
        while (count--) {
            struct participant *written = conversation->changed_members;

            conversation->changed_members = written->next_changed;
            written->changed = false;
            member_pair(engine, written);
        }
    }
}

static void write_record(struct engine *engine, struct conversation *conversation)
{
    struct effects *effects = engine->effects;
    uint32_t object = conversation_key(engine, conversation, CONVERSATION_OBJECT);
    bool all = conversation->record_changed, group = all && conversation->group;

    effects_open(effects, EFFECT_HSET, object, 2 + (all ? 2 : 0) + (group ? 4 : 0));
    effects_u64_pair(effects, "last", conversation->last);
    if (all)
        effects_u64_pair(effects, "created", conversation->created_ms);
    if (group) {
        effects_text_pair(effects, "owner", conversation->owner);
        effects_text_pair(effects, "name", conversation->name);
    }
    conversation->record_changed = false;
}

static void hdel_change(struct engine *engine, struct conversation *conversation, uint64_t message)
{
    char field[24];
    int length = snprintf(field, sizeof(field), "%llu", (unsigned long long)message);

    effects_hdel(engine->effects, conversation_key(engine, conversation, CONVERSATION_CHANGES),
                 slice_of(field, (size_t)length));
}

/* What is older than the log holds. */
static void trim_log(struct engine *engine, struct conversation *conversation)
{
    uint64_t trimmed = conversation_trimmed_of(engine, conversation);

    if (trimmed <= conversation->trimmed)
        return;
    effects_open(engine->effects, EFFECT_XTRIM,
                 conversation_key(engine, conversation, CONVERSATION_LOG), 1);
    effects_number(engine->effects, (struct number){.epoch = trimmed + 1});
    while (conversation->trimmed < trimmed)
        hdel_change(engine, conversation, ++conversation->trimmed);
}

void conversations_finish(struct engine *engine)
{
    struct conversations *conversations = engine->conversations;
    struct conversation *conversation;

    while ((conversation = TAILQ_FIRST(&conversations->changed)) != NULL) {
        TAILQ_REMOVE(&conversations->changed, conversation, changed_link);
        conversation->changed = false;
        if (!conversation->exists)
            continue;
        write_record(engine, conversation);
        write_members(engine, conversation);
        trim_log(engine, conversation);
    }
}
