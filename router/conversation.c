#include "router/conversation.h"

#include "common/xalloc.h"

#include <stdlib.h>

/* Members kept in memory, of all conversations, while nothing needs them. */
#define MEMBERS_KEPT 200000

/* ---- objects in memory ---- */

struct conversations *conversations_create(void)
{
    struct conversations *conversations = xcalloc(1, sizeof(*conversations));

    TAILQ_INIT(&conversations->ages);
    TAILQ_INIT(&conversations->changed);
    return conversations;
}

static struct conversation *find(const struct engine *engine, struct slice id)
{
    struct conversation *conversation;

    HASH_FIND(hh, engine->conversations->all, id.data, id.length, conversation);
    return conversation;
}

struct slice conversation_id(struct engine *engine, struct slice user, struct slice chat)
{
    buffer_reset(&engine->conversations->id, SIZE_MAX);
    conversation_name(&engine->conversations->id, user, chat);
    return buffer_slice(&engine->conversations->id);
}

struct conversation *conversation_find(struct engine *engine, struct slice user, struct slice chat)
{
    return find(engine, conversation_id(engine, user, chat));
}

static struct conversation *get(struct engine *engine, struct slice id)
{
    struct conversation *conversation = find(engine, id);

    if (conversation == NULL) {
        conversation = xcalloc(1, sizeof(*conversation) + id.length + 1);
        memcpy(conversation->id, id.data, id.length);
        conversation->id_length = id.length;
        conversation->group = chat_is_group(id);
        HASH_ADD_KEYPTR(hh, engine->conversations->all, conversation->id, id.length, conversation);
    } else {
        TAILQ_REMOVE(&engine->conversations->ages, conversation, age_link);
    }
    TAILQ_INSERT_TAIL(&engine->conversations->ages, conversation, age_link);
    return conversation;
}

struct conversation *conversation_get(struct engine *engine, struct slice user, struct slice chat)
{
    return get(engine, conversation_id(engine, user, chat));
}

struct participant *conversation_member(const struct conversation *conversation, struct slice user)
{
    struct participant *member = conversation->members;

    /* Of two, looking at both is quicker than a hash. */
    if (conversation->group)
        HASH_FIND(hh, conversation->members, user.data, user.length, member);
    else
        while (member != NULL && !slice_equal(participant_slice(member), user))
            member = member->hh.next;
    return member;
}

size_t conversation_member_count(const struct conversation *conversation)
{
    return HASH_COUNT(conversation->members);
}

struct participant *conversation_new_member(struct engine *engine,
                                            struct conversation *conversation, struct slice user)
{
    struct participant *member = xcalloc(1, sizeof(*member) + user.length + 1);

    memcpy(member->id, user.data, user.length);
    member->length = user.length;
    member->partition = partition_of(engine->deployment, user);
    HASH_ADD_KEYPTR(hh, conversation->members, member->id, member->length, member);
    engine->conversations->members++;
    return member;
}

static void forget_messages(struct conversation *conversation)
{
    struct known_message *message, *next;

    HASH_ITER(hh, conversation->messages, message, next)
    {
        HASH_DEL(conversation->messages, message);
        free(message->text);
        free(message);
    }
}

static void destroy(struct engine *engine, struct conversation *conversation)
{
    struct participant *member, *next;

    engine->conversations->members -= HASH_COUNT(conversation->members);
    HASH_ITER(hh, conversation->members, member, next)
    {
        HASH_DEL(conversation->members, member);
        free(member);
    }
    forget_messages(conversation);
    journal_drop(&conversation->log);
    free((char *)conversation->owner.data);
    free((char *)conversation->name.data);
    TAILQ_REMOVE(&engine->conversations->ages, conversation, age_link);
    HASH_DEL(engine->conversations->all, conversation);
    free(conversation);
}

void conversations_destroy(struct engine *engine)
{
    struct conversations *conversations = engine->conversations;
    struct conversation *conversation;

    while ((conversation = TAILQ_FIRST(&conversations->ages)) != NULL)
        destroy(engine, conversation);
    for (uint32_t i = 0; conversations->lines && i < engine->deployment->partitions; i++)
        buffer_finish(&conversations->lines[i]);
    free(conversations->lines);
    buffer_finish(&conversations->line);
    buffer_finish(&conversations->id);
    free(conversations);
    engine->conversations = NULL;
}

/* Nothing waits for any of them just now. */
void conversations_trim(struct engine *engine, size_t keep)
{
    struct conversation *conversation;

    while (HASH_COUNT(engine->conversations->all) > keep ||
           engine->conversations->members > MEMBERS_KEPT)
        destroy(engine, TAILQ_FIRST(&engine->conversations->ages));
    TAILQ_FOREACH(conversation, &engine->conversations->ages, age_link)
    {
        if (conversation->messages != NULL)
            forget_messages(conversation);
    }
}

/* ---- what Redis holds ---- */

static void load_member(struct engine *engine, struct conversation *conversation, struct slice user,
                        struct slice value)
{
    struct participant *member = conversation_new_member(engine, conversation, user);

    member->delivered = load_u64(load_word(&value));
    member->read = load_u64(load_word(&value));
    member->since = load_u64(load_word(&value));
    member->wrote = load_u64(load_word(&value));
    member->joined_ms = load_u64(load_word(&value));
}

static void load_field(struct engine *engine, struct conversation *conversation,
                       const struct engine_field *field)
{
    if (field->name.length > 1 && field->name.data[0] == '+')
        load_member(engine, conversation, slice_of(field->name.data + 1, field->name.length - 1),
                    field->value);
    else if (slice_is(field->name, "last"))
        conversation->last = load_u64(field->value);
    else if (slice_is(field->name, "first"))
        conversation->trimmed = load_u64(field->value) - 1;
    else if (slice_is(field->name, "created"))
        conversation->created_ms = load_u64(field->value);
    else if (slice_is(field->name, "owner"))
        engine_set_text(&conversation->owner, field->value);
    else if (slice_is(field->name, "name"))
        engine_set_text(&conversation->name, field->value);
    else if (slice_is(field->name, "deleted"))
        conversation->ended = true;
}

uint64_t conversation_trimmed_of(const struct engine *engine,
                                 const struct conversation *conversation)
{
    uint64_t most = engine->limits.conversation_messages;

    return conversation->last > most ? conversation->last - most : 0;
}

void engine_conversation(struct engine *engine, struct slice id, const struct engine_field *fields,
                         size_t count)
{
    struct conversation *conversation = get(engine, id);

    if (conversation->loaded)
        return;
    conversation->loaded = true;
    for (size_t i = 0; i < count; i++)
        load_field(engine, conversation, &fields[i]);
    conversation->exists = count > 0 && !conversation->ended;
    if (conversation->trimmed < conversation_trimmed_of(engine, conversation))
        conversation->trimmed = conversation_trimmed_of(engine, conversation);
}

struct known_message *conversation_known(const struct conversation *conversation, uint64_t id)
{
    struct known_message *message;

    HASH_FIND(hh, conversation->messages, &id, sizeof(id), message);
    return message;
}

static struct known_message *known_get(struct conversation *conversation, uint64_t id)
{
    struct known_message *message = conversation_known(conversation, id);

    if (message != NULL)
        return message;
    message = xcalloc(1, sizeof(*message));
    message->id = id;
    HASH_ADD(hh, conversation->messages, id, sizeof(message->id), message);
    return message;
}

static void known_set(struct known_message *message, struct slice from, struct slice own_id)
{
    free(message->text);
    message->text = xmalloc(from.length + own_id.length + 1);
    memcpy(message->text, from.data, from.length);
    if (own_id.length)
        memcpy(message->text + from.length, own_id.data, own_id.length);
    message->from = slice_of(message->text, from.length);
    message->own_id = slice_of(message->text + from.length, own_id.length);
    message->exists = true;
}

void conversation_message_id(struct slice conversation, uint64_t number, uint64_t at_ms,
                             char text[ULID_TEXT_SIZE])
{
    uid_ulid_of(at_ms, recent_hash_add(recent_hash_begin(), conversation), number, text);
}

void conversation_forget_known(struct conversation *conversation, uint64_t id)
{
    struct known_message *message =
        conversation->messages ? conversation_known(conversation, id) : NULL;

    if (message == NULL)
        return;
    HASH_DEL(conversation->messages, message);
    free(message->text);
    free(message);
}

void engine_message(struct engine *engine, struct slice id, uint64_t message_id,
                    const struct engine_field *fields, size_t count)
{
    struct known_message *message = known_get(get(engine, id), message_id);
    struct journal_reader reader;
    char derived[ULID_TEXT_SIZE];
    struct slice own_id;
    uint64_t number = 0;

    if (message->from_log)
        return;
    message->from_log = true;
    if (count == 0)
        return;
    journal_read(&reader, fields[0].name, fields[0].value);
    do
        number = journal_next(&reader);
    while (number != 0 && number < message_id);
    if (number != message_id)
        return;
    own_id = record_text(&reader.item, "id");
    conversation_message_id(id, number, record_number(&reader.item, "at"), derived);
    known_set(message, record_text(&reader.item, "from"),
              own_id.length ? own_id : slice_text(derived));
}

void engine_change(struct engine *engine, struct slice id, uint64_t message_id, struct slice change)
{
    static const char word[] = "delete ";
    struct known_message *message = known_get(get(engine, id), message_id);

    if (message->from_changes)
        return;
    message->from_changes = true;
    message->deleted =
        change.length >= sizeof(word) - 1 && memcmp(change.data, word, sizeof(word) - 1) == 0;
}

bool conversation_is_known(const struct engine *engine, struct slice id)
{
    const struct conversation *conversation = find(engine, id);

    return conversation != NULL && conversation->loaded;
}

/* Of one that is not there (yet) nothing can be fetched. */
bool conversation_message_is_known(const struct engine *engine, struct slice id,
                                   uint64_t message_id, bool change)
{
    const struct conversation *conversation = find(engine, id);
    const struct known_message *message;

    if (conversation == NULL)
        return false;
    if (conversation->loaded &&
        (!conversation->exists || message_id == 0 || message_id > conversation->last))
        return true;
    message = conversation_known(conversation, message_id);
    return message != NULL && (change ? message->from_changes : message->from_log);
}
