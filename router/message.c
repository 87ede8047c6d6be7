/*
 * A durable message in memory, and the connections it is on its way to. See mailbox.h.
 */
#include "common/xalloc.h"
#include "router/mailbox.h"

#include <stdlib.h>

/* What an entry costs beside its texts. */
#define MESSAGE_OVERHEAD 64

static struct slice keep(char **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.length);

    if (text.length)
        memcpy(*at, text.data, text.length);
    *at += text.length;
    return kept;
}

struct message *message_new(struct slice from, struct slice chat, struct slice id,
                            struct slice body, struct slice metadata)
{
    size_t size = from.length + chat.length + id.length + body.length + metadata.length;
    struct message *message = xcalloc(1, sizeof(*message) + size);
    char *at = message->text;

    message->references = 1;
    message->targets = &message->only;
    message->from = keep(&at, from);
    message->chat = keep(&at, chat);
    message->id = keep(&at, id);
    message->body = keep(&at, body);
    message->metadata = keep(&at, metadata);
    return message;
}

struct message *message_create(const struct frame_direct_message *direct, struct number number,
                               uint64_t now_ms)
{
    struct message *message =
        message_new(direct->from, (struct slice){0}, direct->id, direct->body, direct->metadata);

    message->number = number;
    message->protocol = direct->protocol;
    message->content = direct->content;
    message->policy = direct->policy;
    message->priority = direct->priority != 0;
    message->sent_at_ms = now_ms;
    message->expires_ms = direct->ttl_ms ? now_ms + direct->ttl_ms : 0;
    return message;
}

struct message *message_of_event(const struct frame_conversation_event *event, struct number number)
{
    struct slice chat = chat_is_group(event->chat) ? event->chat : (struct slice){0};
    struct message *message =
        message_new(event->from, chat, event->id, event->body, event->metadata);

    message->number = number;
    message->in_chat = event->message;
    message->protocol = event->protocol;
    message->content = event->content;
    message->policy = event->policy;
    message->sent_at_ms = event->at_ms;
    message->expires_ms = event->expires_ms;
    return message;
}

static void free_targets(struct message *message)
{
    if (message->targets != &message->only)
        free(message->targets);
}

void message_unref(struct message **message)
{
    if (*message != NULL && --(*message)->references == 0) {
        free_targets(*message);
        free(*message);
    }
    *message = NULL;
}

size_t message_size(const struct message *message)
{
    return message->from.length + message->chat.length + message->id.length + message->body.length +
           message->metadata.length + MESSAGE_OVERHEAD;
}

bool message_expired(const struct engine *engine, const struct message *message)
{
    uint64_t age = engine->now_ms > message->sent_at_ms ? engine->now_ms - message->sent_at_ms : 0;

    return (message->expires_ms && message->expires_ms <= engine->now_ms) ||
           age > engine->limits.mailbox_ms;
}

/* ---- targets ---- */

struct target *message_target(struct message *message, const struct gateway *gateway,
                              uint64_t connection)
{
    for (size_t i = 0; i < message->target_count; i++)
        if (message->targets[i].gateway == gateway && message->targets[i].connection == connection)
            return &message->targets[i];
    return NULL;
}

static void double_targets(struct message *message)
{
    size_t bytes = message->target_count * sizeof(*message->targets);
    struct target *targets = xmalloc(2 * bytes);

    memcpy(targets, message->targets, bytes);
    free_targets(message);
    message->targets = targets;
}

void message_add_target(struct message *message, struct gateway *gateway, uint64_t connection)
{
    size_t count = message->target_count;

    if (message_target(message, gateway, connection) != NULL)
        return;
    /* Grows at powers of two. */
    if (count > 0 && (count & (count - 1)) == 0)
        double_targets(message);
    message->targets[message->target_count++] =
        (struct target){.gateway = gateway, .connection = connection};
}

void message_remove_target(struct message *message, struct target *target)
{
    *target = message->targets[--message->target_count];
}

void message_say(const struct user *user, const struct message *message, struct gateway *gateway,
                 const uint64_t *connections, size_t count, enum delivery_priority priority)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_MESSAGE_DELIVERY,
                                         .message_delivery = {
                                             .connections = {.values = connections, .count = count},
                                             .number = message->number,
                                             .from = message->from,
                                             .to = user_slice(user),
                                             .chat = message->chat,
                                             .id = message->id,
                                             .message = message->in_chat,
                                             .sent_at_ms = message->sent_at_ms,
                                             .expires_ms = message->expires_ms,
                                             .policy = message->policy,
                                             .priority = priority,
                                             .protocol = message->protocol,
                                             .content = message->content,
                                             .body = message->body,
                                             .metadata = message->metadata,
                                         }});
}
