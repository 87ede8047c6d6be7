#include "tests/bench/dialect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is sent ---- */

size_t realtime_subscribe(char text[TEXT_SIZE], const char *topic)
{
    return (size_t)snprintf(text, TEXT_SIZE,
                            "{\"type\":\"Subscribe\",\"data\":{\"topics\":[\"%s\"]}}", topic);
}

size_t realtime_pong(char text[TEXT_SIZE], long long timestamp)
{
    return (size_t)snprintf(text, TEXT_SIZE, "{\"type\":\"Pong\",\"data\":{\"timestamp\":%lld}}",
                            timestamp);
}

/* A request that carries a payload to the topic or user that field names. */
static size_t write_request(char *text, const char *type, const char *field, const char *to,
                            const struct stamp *stamp, size_t payload_size, bool with_id)
{
    char *end =
        text + snprintf(text, TEXT_SIZE, "{\"type\":\"%s\",\"data\":{\"%s\":\"%s\",\"payload\":\"",
                        type, field, to);

    end = write_payload(end, stamp, payload_size);
    if (with_id)
        end += sprintf(end, "\"},\"id\":\"m%x-%x\"}", stamp->sender, stamp->number);
    else
        end += sprintf(end, "\"}}");
    return (size_t)(end - text);
}

size_t realtime_broadcast(char text[TEXT_SIZE], const char *topic, const struct stamp *stamp,
                          size_t payload_size, bool with_id)
{
    return write_request(text, "Broadcast", "topic", topic, stamp, payload_size, with_id);
}

static size_t direct(char text[TEXT_SIZE], const struct letter *letter)
{
    return write_request(text, "DirectMessage", "target_user", letter->to, &letter->stamp,
                         letter->payload_size, letter->with_id);
}

/* ---- what comes ---- */

static bool starts_with(const char *text, const char *end, const char *word)
{
    size_t length = strlen(word);

    return (size_t)(end - text) >= length && memcmp(text, word, length) == 0;
}

static enum said_kind read_delivery(const char *text, size_t length, struct said *said)
{
    const char *payload = said_after(text, length, "\"payload\":\"");

    return payload && said_stamp(payload, text + length, &said->stamp) ? SAID_DELIVERY : SAID_OTHER;
}

static enum said_kind read_status(const char *text, size_t length, struct said *said)
{
    const char *status = said_after(text, length, "\"status\":\"");

    (void)said;
    if (status && starts_with(status, text + length, "connected\""))
        return SAID_WELCOME;
    if (status && starts_with(status, text + length, "subscribed\""))
        return SAID_SUBSCRIBED;
    return SAID_OTHER;
}

static enum said_kind read_ack(const char *text, size_t length, struct said *said)
{
    const char *recipients = said_after(text, length, "\"recipients\":");

    said->recipients = recipients ? strtol(recipients, NULL, 10) : -1;
    return SAID_ACK;
}

static enum said_kind read_ping(const char *text, size_t length, struct said *said)
{
    const char *timestamp = said_after(text, length, "\"timestamp\":");

    said->timestamp = timestamp ? strtoll(timestamp, NULL, 10) : 0;
    return SAID_PING;
}

static enum said_kind read_error(const char *text, size_t length, struct said *said)
{
    (void)text, (void)length, (void)said;
    return SAID_ERROR;
}

static const struct {
    const char *type;
    enum said_kind (*read)(const char *text, size_t length, struct said *);
} readers[] = {
    {"Broadcast\"", read_delivery},
    {"DirectMessage\"", read_delivery},
    {"Ack\"", read_ack},
    {"Status\"", read_status},
    {"Error\"", read_error},
    {"Ping\"", read_ping},
};

/* A text is one message. */
static bool read_text(const char *text, size_t length, size_t *at, struct said *said)
{
    const char *type = said_after(text, length, "\"type\":\"");

    if (*at == length)
        return false;
    *at = length;
    said->kind = SAID_OTHER;
    for (size_t i = 0; type && i < sizeof readers / sizeof *readers; i++)
        if (starts_with(type, text + length, readers[i].type)) {
            said->kind = readers[i].read(text, length, said);
            break;
        }
    return true;
}

const struct dialect dialect_realtime = {
    .name = "realtime",
    .target = "/ws?token=",
    .direct = direct,
    .read = read_text,
};
