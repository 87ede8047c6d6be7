#include "tests/bench/realtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is sent ---- */

size_t realtime_subscribe(char text[REALTIME_TEXT_SIZE], const char *topic)
{
    return (size_t)snprintf(text, REALTIME_TEXT_SIZE,
                            "{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"%s\"]}}", topic);
}

size_t realtime_pong(char text[REALTIME_TEXT_SIZE], long long timestamp)
{
    return (size_t)snprintf(text, REALTIME_TEXT_SIZE,
                            "{\"type\":\"Pong\",\"data\":{\"timestamp\":%lld}}", timestamp);
}

/* A request that carries a payload to the topic or user that field names. */
static size_t write_request(char *text, const char *type, const char *field, const char *to,
                            const struct stamp *stamp, size_t payload_size, bool with_id)
{
    int length =
        snprintf(text, REALTIME_TEXT_SIZE,
                 "{\"type\":\"%s\",\"data\":{\"%s\":\"%s\",\"payload\":\"%016llx%08x%08x", type,
                 field, to, (unsigned long long)stamp->sent_ns, stamp->sender, stamp->number);
    size_t padding = payload_size - REALTIME_PAYLOAD_MIN;
    char *end = text + length;

    memset(end, 'x', padding);
    end += padding;
    if (with_id)
        end += sprintf(end, "\"},\"id\":\"m%x-%x\"}", stamp->sender, stamp->number);
    else
        end += sprintf(end, "\"}}");
    return (size_t)(end - text);
}

size_t realtime_broadcast(char text[REALTIME_TEXT_SIZE], const char *topic,
                          const struct stamp *stamp, size_t payload_size, bool with_id)
{
    return write_request(text, "Broadcast", "topic", topic, stamp, payload_size, with_id);
}

size_t realtime_direct(char text[REALTIME_TEXT_SIZE], const char *user, const struct stamp *stamp,
                       size_t payload_size, bool with_id)
{
    return write_request(text, "DirectMessage", "target_user", user, stamp, payload_size, with_id);
}

/* ---- what comes ---- */

/* What follows the first key in text, or NULL. The server writes JSON without blanks. */
static const char *after(const char *text, size_t length, const char *key)
{
    const char *found = memmem(text, length, key, strlen(key));

    return found ? found + strlen(key) : NULL;
}

static bool starts_with(const char *text, const char *end, const char *word)
{
    size_t length = strlen(word);

    return (size_t)(end - text) >= length && memcmp(text, word, length) == 0;
}

static bool read_hex(const char *text, unsigned digits, uint64_t *value)
{
    *value = 0;
    for (unsigned i = 0; i < digits; i++) {
        char c = text[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                                                : 16;

        if (digit > 15)
            return false;
        *value = *value << 4 | digit;
    }
    return true;
}

static enum realtime_kind read_delivery(const char *text, size_t length,
                                        struct realtime_message *message)
{
    const char *payload = after(text, length, "\"payload\":\"");
    uint64_t who;

    if (!payload || payload + REALTIME_PAYLOAD_MIN > text + length ||
        !read_hex(payload, 16, &message->stamp.sent_ns) || !read_hex(payload + 16, 16, &who))
        return REALTIME_OTHER;
    message->stamp.sender = (uint32_t)(who >> 32);
    message->stamp.number = (uint32_t)who;
    return REALTIME_DELIVERY;
}

static enum realtime_kind read_status(const char *text, size_t length,
                                      struct realtime_message *message)
{
    const char *status = after(text, length, "\"status\":\"");

    (void)message;
    if (status && starts_with(status, text + length, "connected\""))
        return REALTIME_WELCOME;
    if (status && starts_with(status, text + length, "subscribed\""))
        return REALTIME_SUBSCRIBED;
    return REALTIME_OTHER;
}

static enum realtime_kind read_ack(const char *text, size_t length,
                                   struct realtime_message *message)
{
    const char *recipients = after(text, length, "\"recipients\":");

    message->recipients = recipients ? strtol(recipients, NULL, 10) : -1;
    return REALTIME_ACK;
}

static enum realtime_kind read_ping(const char *text, size_t length,
                                    struct realtime_message *message)
{
    const char *timestamp = after(text, length, "\"timestamp\":");

    message->timestamp = timestamp ? strtoll(timestamp, NULL, 10) : 0;
    return REALTIME_PING;
}

static enum realtime_kind read_error(const char *text, size_t length,
                                     struct realtime_message *message)
{
    (void)text, (void)length, (void)message;
    return REALTIME_ERROR;
}

static const struct {
    const char *type;
    enum realtime_kind (*read)(const char *text, size_t length, struct realtime_message *);
} readers[] = {
    {"Broadcast\"", read_delivery},
    {"DirectMessage\"", read_delivery},
    {"Ack\"", read_ack},
    {"Status\"", read_status},
    {"Error\"", read_error},
    {"Ping\"", read_ping},
};

void realtime_read(const char *text, size_t length, struct realtime_message *message)
{
    const char *type = after(text, length, "\"type\":\"");

    message->kind = REALTIME_OTHER;
    for (size_t i = 0; type && i < sizeof readers / sizeof *readers; i++)
        if (starts_with(type, text + length, readers[i].type)) {
            message->kind = readers[i].read(text, length, message);
            return;
        }
}
