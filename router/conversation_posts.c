#include "router/conversation.h"

#include <stdio.h>

/* ---- posts ---- */

static void write_log(struct engine *engine, struct conversation *conversation,
                      const struct frame_conversation_event *event)
{
    const struct record_field fields[] = {
        {"from", event->from, 0},         {"id", event->id, 0},
        {"at", {0}, event->at_ms},        {"protocol", {0}, event->protocol},
        {"content", {0}, event->content}, {"metadata", event->metadata, 0},
        {"body", event->body, 0},
    };

    if (journal_add(&conversation->log, event->message, fields, sizeof(fields) / sizeof(fields[0])))
        journal_write(&conversation->log, engine->effects,
                      conversation_key(engine, conversation, CONVERSATION_LOG));
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

/* Numbers, logs and tells it. The event's kind, time and message are filled in. author may be NULL:
 * no member. */
static uint64_t post(struct engine *engine, struct conversation *conversation,
                     struct participant *author, struct frame_conversation_event *event)
{
    event->kind = EVENT_NEW;
    event->at_ms = engine->now_ms;
    event->message = ++conversation->last;
    conversation_forget_known(conversation, event->message);
    conversation_changed(engine, conversation);
    if (author != NULL) {
        author->wrote = event->message;
        conversation_member_changed(engine, conversation, author);
    }
    write_log(engine, conversation, event);
    engine->journaled += event->body.length;
    engine->counters.posts++;
    conversation_tell(engine, conversation, event);
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

static void keep_answer(struct engine *engine, const struct recent_request *asked, uint64_t hash,
                        uint64_t message)
{
    struct recent_answer kept = {
        .content_hash = hash,
        .kind = RECENT_CONVERSATION,
        .status = CONVERSATION_OK,
        .recipients = message,
    };

    recent_keep(engine, asked, &kept);
}

void conversation_on_post(struct engine *engine, struct gateway *gateway,
                          const struct frame_conversation_post *request)
{
    const struct recent_answer *answer = NULL;
    struct conversation *conversation;
    enum conversation_status status;
    struct recent_request asked;
    struct participant *author;
    uint64_t hash = 0, message = 0;

    if (request->retry) {
        asked = recent_request(engine, request->from, request->id);
        hash = post_hash(request);
        answer = recent_find(engine, &asked, hash);
    }
    if (answer != NULL && answer->kind == RECENT_CONVERSATION) {
        engine->counters.retries_answered++;
        conversation_reply(gateway, request->connection, request->request,
                           (enum conversation_status)answer->status, answer->recipients);
        return;
    }
    status = author_of(engine, request->from, request->chat, &conversation, &author);
    if (status == CONVERSATION_OK) {
        message = post(engine, conversation, author,
                       &(struct frame_conversation_event){
                           .from = request->from,
                           .id = request->id,
                           .by_gateway = gateway->bits,
                           .by_connection = request->request ? request->connection : 0,
                           .by_request = request->request,
                           .policy = request->policy,
                           .protocol = request->protocol,
                           .content = request->content,
                           .body = request->body,
                           .metadata = request->metadata,
                       });
        if (request->retry)
            keep_answer(engine, &asked, hash, message);
    }
    conversation_reply(gateway, request->connection, request->request, status, message);
}

void conversation_on_forwarded(struct engine *engine, const struct frame_post_forwarded *forwarded)
{
    struct conversation *conversation;
    struct participant *author;

    if (author_of(engine, forwarded->from, forwarded->to, &conversation, &author) !=
        CONVERSATION_OK)
        return;
    post(engine, conversation, author,
         &(struct frame_conversation_event){
             .from = forwarded->from,
             .id = forwarded->id,
             .expires_ms = forwarded->expires_ms,
             .policy = forwarded->policy,
             .protocol = forwarded->protocol,
             .content = forwarded->content,
             .body = forwarded->body,
             .metadata = forwarded->metadata,
         });
}

/* ---- changes ---- */

static enum conversation_status may_change(const struct engine *engine,
                                           const struct conversation *conversation,
                                           const struct frame_conversation_change *request,
                                           struct known_message **message)
{
    *message = NULL;
    if (conversation == NULL || !conversation->exists)
        return CONVERSATION_NOT_FOUND;
    if (request->message <= conversation_trimmed_of(engine, conversation))
        return CONVERSATION_NOT_FOUND;
    if (conversation_member(conversation, request->from) == NULL)
        return CONVERSATION_FORBIDDEN;
    *message = conversation_known(conversation, request->message);
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

static void change(struct engine *engine, const struct gateway *gateway,
                   struct conversation *conversation, struct known_message *message,
                   const struct frame_conversation_change *request)
{
    bool deleted = request->change == CONVERSATION_DELETE;
    struct slice nothing = {0};
    const struct frame_conversation_event event = {
        .kind = deleted ? EVENT_DELETE : EVENT_EDIT,
        .at_ms = engine->now_ms,
        .from = request->from,
        .message = request->message,
        .id = message->own_id,
        .by_gateway = gateway->bits,
        .by_connection = request->request ? request->connection : 0,
        .by_request = request->request,
        .protocol = request->protocol,
        .content = request->content,
        .body = deleted ? nothing : request->body,
    };

    message->deleted = deleted;
    write_change(engine, conversation, request, deleted);
    conversation_tell(engine, conversation, &event);
}

void conversation_on_change(struct engine *engine, struct gateway *gateway,
                            const struct frame_conversation_change *request)
{
    struct conversation *conversation = conversation_find(engine, request->from, request->chat);
    struct known_message *message;
    enum conversation_status status = may_change(engine, conversation, request, &message);

    if (status == CONVERSATION_OK)
        change(engine, gateway, conversation, message, request);
    conversation_reply(gateway, request->connection, request->request, status, request->message);
}
