#include "router/conversation.h"

#include "common/xalloc.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* Marks of one member whose times are kept. */
#define MARKS_KEPT 1000
/* Members kept in memory, of all conversations, while nothing needs them. */
#define MEMBERS_KEPT 200000
/* Field and value pairs in one effect. */
#define PAIRS 24

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

static struct slice id_slice(const struct conversation *conversation)
{
    return slice_of(conversation->id, conversation->id_length);
}

static struct slice member_slice(const struct participant *member)
{
    return slice_of(member->id, member->length);
}

struct participant *conversation_member(const struct conversation *conversation, struct slice user)
{
    struct participant *member;

    HASH_FIND(hh, conversation->members, user.data, user.length, member);
    return member;
}

size_t conversation_member_count(const struct conversation *conversation)
{
    return HASH_COUNT(conversation->members);
}

static struct participant *new_member(struct engine *engine, struct conversation *conversation,
                                      struct slice user)
{
    struct participant *member = xcalloc(1, sizeof(*member) + user.length + 1);

    memcpy(member->id, user.data, user.length);
    member->length = user.length;
    member->partition = partition_of(engine->deployment, user);
    HASH_ADD_KEYPTR(hh, conversation->members, member->id, member->length, member);
    engine->conversations->members++;
    return member;
}

void conversation_set_text(struct slice *text, struct slice value)
{
    free((char *)text->data);
    *text = slice_of(xmemdup0(value.data ? value.data : "", value.length), value.length);
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
    struct participant *member = new_member(engine, conversation, user);

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
    else if (slice_is(field->name, "created"))
        conversation->created_ms = load_u64(field->value);
    else if (slice_is(field->name, "owner"))
        conversation_set_text(&conversation->owner, field->value);
    else if (slice_is(field->name, "name"))
        conversation_set_text(&conversation->name, field->value);
    else if (slice_is(field->name, "deleted"))
        conversation->ended = true;
}

static uint64_t trimmed_of(const struct engine *engine, const struct conversation *conversation)
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
    conversation->trimmed = trimmed_of(engine, conversation);
}

static struct known_message *known_find(const struct conversation *conversation, uint64_t id)
{
    struct known_message *message;

    HASH_FIND(hh, conversation->messages, &id, sizeof(id), message);
    return message;
}

static struct known_message *known_get(struct conversation *conversation, uint64_t id)
{
    struct known_message *message = known_find(conversation, id);

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

void engine_message(struct engine *engine, struct slice id, uint64_t message_id,
                    const struct engine_field *fields, size_t count)
{
    struct known_message *message = known_get(get(engine, id), message_id);
    struct slice from = {0}, own_id = {0};

    if (message->from_log)
        return;
    message->from_log = true;
    for (size_t i = 0; i < count; i++) {
        if (slice_is(fields[i].name, "from"))
            from = fields[i].value;
        else if (slice_is(fields[i].name, "id"))
            own_id = fields[i].value;
    }
    if (from.length)
        known_set(message, from, own_id);
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
    message = known_find(conversation, message_id);
    return message != NULL && (change ? message->from_changes : message->from_log);
}

/* ---- what is written ---- */

uint32_t conversation_key(struct engine *engine, struct conversation *conversation,
                          enum conversation_key which)
{
    static const char *const names[] = {
        [CONVERSATION_LOG] = "log",
        [CONVERSATION_CHANGES] = "changes",
    };
    struct slice id = id_slice(conversation);

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
    buffer_append_slice(name, id_slice(conversation));
    buffer_append_byte(name, '\n');
    buffer_append_slice(name, member_slice(member));
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

static void member_changed(struct engine *engine, struct conversation *conversation,
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
    member = new_member(engine, conversation, user);
    member->since = member->delivered = member->read = conversation->last;
    member->joined_ms = engine->now_ms;
    member_changed(engine, conversation, member);
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
    buffer_append_slice(line, member_slice(member));
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

static void u64_pair(struct effects *effects, const char *name, uint64_t value)
{
    effects_text(effects, slice_text(name));
    effects_u64(effects, value);
}

static void text_pair(struct effects *effects, const char *name, struct slice value)
{
    effects_text(effects, slice_text(name));
    effects_text(effects, value);
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
    u64_pair(effects, "last", conversation->last);
    if (all)
        u64_pair(effects, "created", conversation->created_ms);
    if (group) {
        text_pair(effects, "owner", conversation->owner);
        text_pair(effects, "name", conversation->name);
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
    uint64_t trimmed = trimmed_of(engine, conversation);

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

/* ---- telling its members ---- */

static struct slice users_line(struct engine *engine, const struct participant *member)
{
    struct buffer *line = &engine->conversations->line;

    buffer_reset(line, SIZE_MAX);
    buffer_append_slice(line, member_slice(member));
    buffer_append_byte(line, '\n');
    return buffer_slice(line);
}

/* What a member calls it: a dialog has the name of the other. */
static struct slice chat_for(const struct conversation *conversation,
                             const struct participant *member)
{
    const struct participant *other;

    if (conversation->group)
        return id_slice(conversation);
    for (other = conversation->members; other; other = other->hh.next)
        if (other != member)
            return member_slice(other);
    return member_slice(member); /* with himself */
}

void conversation_tell_one(struct engine *engine, const struct conversation *conversation,
                           struct frame *frame, struct slice *users, struct slice *chat,
                           const struct participant *member)
{
    *users = users_line(engine, member);
    if (chat != NULL)
        *chat = chat_for(conversation, member);
    forward_say(engine, member->partition, frame);
}

static void tell_group(struct engine *engine, struct conversation *conversation,
                       struct frame *frame, struct slice *users, const struct participant *without)
{
    struct conversations *conversations = engine->conversations;
    uint32_t partitions = engine->deployment->partitions;
    const struct participant *member;

    if (conversations->lines == NULL)
        conversations->lines = xcalloc(partitions, sizeof(*conversations->lines));
    for (member = conversation->members; member; member = member->hh.next) {
        struct buffer *lines = &conversations->lines[member->partition];

        if (member == without)
            continue;
        buffer_append_slice(lines, member_slice(member));
        buffer_append_byte(lines, '\n');
    }
    for (uint32_t i = 0; i < partitions; i++) {
        if (conversations->lines[i].length == 0)
            continue;
        *users = buffer_slice(&conversations->lines[i]);
        forward_say(engine, i, frame);
        buffer_reset(&conversations->lines[i], 1 << 12);
    }
}

void conversation_tell(struct engine *engine, struct conversation *conversation,
                       struct frame *frame, struct slice *users, struct slice *chat,
                       const struct participant *without)
{
    const struct participant *member;

    if (conversation->group) {
        if (chat != NULL)
            *chat = id_slice(conversation);
        tell_group(engine, conversation, frame, users, without);
        return;
    }
    for (member = conversation->members; member; member = member->hh.next)
        if (member != without)
            conversation_tell_one(engine, conversation, frame, users, chat, member);
}

void conversation_reply(struct gateway *gateway, uint64_t connection, uint64_t request,
                        struct slice chat, struct slice id, enum conversation_status status,
                        uint64_t message)
{
    if (request == 0)
        return;
    gateway_say(gateway, &(struct frame){.type = FRAME_CONVERSATION_REPLY,
                                         .conversation_reply = {
                                             .connection = connection,
                                             .request = request,
                                             .chat = chat,
                                             .id = id,
                                             .status = status,
                                             .message = message,
                                         }});
}

/* ---- posts ---- */

static void write_log(struct engine *engine, struct conversation *conversation,
                      const struct frame_conversation_event *event)
{
    const struct effects_field fields[] = {
        {"from", event->from, 0},         {"id", event->id, 0},
        {"at", {0}, event->at_ms},        {"protocol", {0}, event->protocol},
        {"content", {0}, event->content}, {"metadata", event->metadata, 0},
    };

    effects_entry(engine->effects, conversation_key(engine, conversation, CONVERSATION_LOG),
                  (struct number){.epoch = event->message}, fields,
                  sizeof(fields) / sizeof(fields[0]), event->body);
}

/* A dialog begins with its first message. */
static void make_dialog(struct engine *engine, struct conversation *conversation, struct slice from,
                        struct slice to)
{
    if (conversation->exists || conversation->group)
        return;
    conversation->exists = true;
    conversation->created_ms = engine->now_ms;
    conversation_record_changed(engine, conversation);
    conversation_add_member(engine, conversation, from);
    conversation_add_member(engine, conversation, to);
}

/* What was looked up before this message was there tells nothing of it. */
static void forget_known(struct conversation *conversation, uint64_t id)
{
    struct known_message *message = conversation->messages ? known_find(conversation, id) : NULL;

    if (message == NULL)
        return;
    HASH_DEL(conversation->messages, message);
    free(message->text);
    free(message);
}

/* Numbers, logs and tells it. The event's message, users and chat are filled in. author may be
 * NULL: no member. */
static uint64_t post(struct engine *engine, struct conversation *conversation,
                     struct participant *author, struct frame *frame)
{
    struct frame_conversation_event *event = &frame->conversation_event;

    event->kind = EVENT_NEW;
    event->at_ms = engine->now_ms;
    event->message = ++conversation->last;
    forget_known(conversation, event->message);
    conversation_changed(engine, conversation);
    if (author != NULL) {
        author->wrote = event->message;
        member_changed(engine, conversation, author);
    }
    write_log(engine, conversation, event);
    engine->counters.posts++;
    conversation_tell(engine, conversation, frame, &event->users, &event->chat, NULL);
    return event->message;
}

/* The server's own name, which no user can have: it may write to every group. */
static bool is_server(struct slice from)
{
    return slice_is(from, "SERVER");
}

/* Whether there is one that the user may write to; the author then, NULL for the server in a group.
 */
static enum conversation_status author_of(struct engine *engine, struct slice from,
                                          struct slice chat, struct conversation **conversation,
                                          struct participant **author)
{
    *author = NULL;
    *conversation = conversation_get(engine, from, chat);
    if (from.length == 0 || chat.length == 0)
        return CONVERSATION_NOT_FOUND;
    make_dialog(engine, *conversation, from, chat);
    if (!(*conversation)->exists)
        return CONVERSATION_NOT_FOUND;
    *author = conversation_member(*conversation, from);
    return *author || is_server(from) ? CONVERSATION_OK : CONVERSATION_FORBIDDEN;
}

static uint64_t post_hash(const struct frame_conversation_post *post)
{
    uint64_t hash = recent_hash_begin();

    hash = recent_hash_add(hash, post->chat);
    hash = recent_hash_add(hash, post->body);
    return recent_hash_add(hash, post->metadata);
}

static void keep_answer(struct engine *engine, const struct frame_conversation_post *request,
                        uint64_t hash, uint64_t message)
{
    struct recent_answer kept = {
        .content_hash = hash,
        .kind = RECENT_CONVERSATION,
        .status = CONVERSATION_OK,
        .recipients = message,
    };

    if (request->retry)
        recent_keep(engine, request->from, request->id, &kept);
}

void conversation_on_post(struct engine *engine, struct gateway *gateway,
                          const struct frame_conversation_post *request)
{
    uint64_t hash = request->retry ? post_hash(request) : 0, message = 0;
    const struct recent_answer *answer =
        request->retry ? recent_find(engine, request->from, request->id, hash) : NULL;
    struct conversation *conversation;
    enum conversation_status status;
    struct participant *author;

    if (answer != NULL && answer->kind == RECENT_CONVERSATION) {
        engine->counters.retries_answered++;
        conversation_reply(gateway, request->connection, request->request, request->chat,
                           request->id, (enum conversation_status)answer->status,
                           answer->recipients);
        return;
    }
    status = author_of(engine, request->from, request->chat, &conversation, &author);
    if (status == CONVERSATION_OK) {
        message = post(engine, conversation, author,
                       &(struct frame){.type = FRAME_CONVERSATION_EVENT,
                                       .conversation_event = {.from = request->from,
                                                              .id = request->id,
                                                              .policy = request->policy,
                                                              .protocol = request->protocol,
                                                              .content = request->content,
                                                              .body = request->body,
                                                              .metadata = request->metadata}});
        keep_answer(engine, request, hash, message);
    }
    conversation_reply(gateway, request->connection, request->request, request->chat, request->id,
                       status, message);
}

void conversation_on_forwarded(struct engine *engine, const struct frame_post_forwarded *forwarded)
{
    struct conversation *conversation;
    struct participant *author;

    if (author_of(engine, forwarded->from, forwarded->to, &conversation, &author) !=
        CONVERSATION_OK)
        return;
    post(engine, conversation, author,
         &(struct frame){.type = FRAME_CONVERSATION_EVENT,
                         .conversation_event = {.from = forwarded->from,
                                                .id = forwarded->id,
                                                .expires_ms = forwarded->expires_ms,
                                                .policy = forwarded->policy,
                                                .protocol = forwarded->protocol,
                                                .content = forwarded->content,
                                                .body = forwarded->body,
                                                .metadata = forwarded->metadata}});
}

/* ---- changes ---- */

static enum conversation_status may_change(const struct conversation *conversation,
                                           const struct frame_conversation_change *request,
                                           struct known_message **message)
{
    *message = NULL;
    if (conversation == NULL || !conversation->exists)
        return CONVERSATION_NOT_FOUND;
    if (conversation_member(conversation, request->from) == NULL)
        return CONVERSATION_FORBIDDEN;
    *message = known_find(conversation, request->message);
    if (*message == NULL || !(*message)->exists || (*message)->deleted)
        return CONVERSATION_NOT_FOUND;
    return slice_equal((*message)->from, request->from) ? CONVERSATION_OK : CONVERSATION_FORBIDDEN;
}

/* "edit <at> <protocol> <content> <body>" or "delete <at>". */
static void write_change(struct engine *engine, struct conversation *conversation,
                         const struct frame_conversation_change *request, bool deleted)
{
    char field[24], head[96];
    int field_length = snprintf(field, sizeof(field), "%llu", (unsigned long long)request->message);
    int head_length =
        deleted
            ? snprintf(head, sizeof(head), "delete %llu", (unsigned long long)engine->now_ms)
            : snprintf(head, sizeof(head), "edit %llu %llu %llu ",
                       (unsigned long long)engine->now_ms, (unsigned long long)request->protocol,
                       (unsigned long long)request->content);
    struct buffer value = {0};

    buffer_append(&value, head, (size_t)head_length);
    if (!deleted)
        buffer_append_slice(&value, request->body);
    effects_hset(engine->effects, conversation_key(engine, conversation, CONVERSATION_CHANGES),
                 slice_of(field, (size_t)field_length), buffer_slice(&value));
    buffer_finish(&value);
}

static void change(struct engine *engine, struct conversation *conversation,
                   struct known_message *message, const struct frame_conversation_change *request)
{
    bool deleted = request->change == CONVERSATION_DELETE;
    struct slice nothing = {0};
    struct frame frame = {
        .type = FRAME_CONVERSATION_EVENT,
        .conversation_event = {.kind = deleted ? EVENT_DELETE : EVENT_EDIT,
                               .at_ms = engine->now_ms,
                               .from = request->from,
                               .message = request->message,
                               .id = message->own_id,
                               .protocol = request->protocol,
                               .content = request->content,
                               .body = deleted ? nothing : request->body},
    };

    message->deleted = deleted;
    write_change(engine, conversation, request, deleted);
    conversation_tell(engine, conversation, &frame, &frame.conversation_event.users,
                      &frame.conversation_event.chat, NULL);
}

void conversation_on_change(struct engine *engine, struct gateway *gateway,
                            const struct frame_conversation_change *request)
{
    struct conversation *conversation = conversation_find(engine, request->from, request->chat);
    struct known_message *message;
    enum conversation_status status = may_change(conversation, request, &message);

    if (status == CONVERSATION_OK)
        change(engine, conversation, message, request);
    conversation_reply(gateway, request->connection, request->request, request->chat,
                       message ? message->own_id : (struct slice){0}, status, request->message);
}

/* ---- marks ---- */

static void write_mark(struct engine *engine, const struct conversation *conversation,
                       const char *what, const struct participant *member, uint64_t message)
{
    effects_open(engine->effects, EFFECT_XADD_CAPPED,
                 conversation_marks_key(engine, conversation, what, member), 4);
    effects_u64(engine->effects, MARKS_KEPT);
    effects_number(engine->effects, (struct number){.epoch = message});
    u64_pair(engine->effects, "at", engine->now_ms);
}

static void raise_mark(struct engine *engine, const struct conversation *conversation,
                       const char *what, struct participant *member, uint64_t *mark,
                       uint64_t message)
{
    if (message <= *mark)
        return;
    *mark = message;
    write_mark(engine, conversation, what, member, message);
}

/* Every author of something that the mark now covers for the first time hears it once. (One who has
 * written only below the old mark and above the new one hears it too: it tells him nothing new.) */
static void announce_mark(struct engine *engine, struct conversation *conversation,
                          const struct participant *reader, enum event_kind kind, uint64_t old,
                          uint64_t message)
{
    struct frame frame = {
        .type = FRAME_CONVERSATION_EVENT,
        .conversation_event = {.kind = kind, .at_ms = engine->now_ms, .from = member_slice(reader)},
    };
    struct frame_conversation_event *event = &frame.conversation_event;

    for (const struct participant *author = conversation->members; author;
         author = author->hh.next) {
        if (author == reader || author->wrote <= old)
            continue;
        event->message = author->wrote < message ? author->wrote : message;
        conversation_tell_one(engine, conversation, &frame, &event->users, &event->chat, author);
    }
}

static uint64_t mark(struct engine *engine, struct conversation *conversation,
                     struct participant *member, uint64_t kind, uint64_t message)
{
    bool read = kind == CONVERSATION_MARK_READ;
    uint64_t old = read ? member->read : member->delivered;

    if (message <= old)
        return old;
    raise_mark(engine, conversation, "delivered", member, &member->delivered, message);
    if (read)
        raise_mark(engine, conversation, "read", member, &member->read, message);
    member_changed(engine, conversation, member);
    announce_mark(engine, conversation, member, read ? EVENT_READ : EVENT_DELIVERED, old, message);
    return message;
}

static enum conversation_status may_mark(const struct conversation *conversation,
                                         const struct frame_conversation_mark *request)
{
    bool exists = conversation != NULL && conversation->exists;

    if (exists && conversation_member(conversation, request->from) == NULL)
        return CONVERSATION_FORBIDDEN;
    if (!exists || request->message == 0 || request->message > conversation->last)
        return CONVERSATION_NOT_FOUND;
    return CONVERSATION_OK;
}

void conversation_on_mark(struct engine *engine, struct gateway *gateway,
                          const struct frame_conversation_mark *request)
{
    struct conversation *conversation = conversation_find(engine, request->from, request->chat);
    enum conversation_status status = may_mark(conversation, request);
    uint64_t covered = 0;

    if (status == CONVERSATION_OK)
        covered = mark(engine, conversation, conversation_member(conversation, request->from),
                       request->mark, request->message);
    conversation_reply(gateway, request->connection, request->request, request->chat,
                       (struct slice){0}, status, covered);
}
