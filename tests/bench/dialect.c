#include "tests/bench/dialect.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

const struct dialect *dialect_find(const char *name)
{
    static const struct dialect *const all[] = {&dialect_realtime, &dialect_messaging,
                                                &dialect_chat, &dialect_simple, &dialect_callie};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

/* ---- stamps ---- */

const char *said_after(const char *text, size_t length, const char *key)
{
    const char *found = memmem(text, length, key, strlen(key));

    return found ? found + strlen(key) : NULL;
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

bool said_stamp(const char *text, const char *end, struct stamp *stamp)
{
    uint64_t who;

    if (end - text < PAYLOAD_MIN || !read_hex(text, 16, &stamp->sent_ns) ||
        !read_hex(text + 16, 16, &who))
        return false;
    stamp->sender = (uint32_t)(who >> 32);
    stamp->number = (uint32_t)who;
    return true;
}

char *write_payload(char *at, const struct stamp *stamp, size_t payload_size)
{
    size_t padding = payload_size - PAYLOAD_MIN;

    at += sprintf(at, "%016llx%08x%08x", (unsigned long long)stamp->sent_ns, stamp->sender,
                  stamp->number);
    memset(at, 'x', padding);
    return at + padding;
}

/* ---- messages between two texts that are the same for all ---- */

/* What a text is that is no delivery: the first word found in it says so. */
struct word {
    const char *word;
    enum said_kind kind;
};

static enum said_kind kind_of(const char *text, size_t length, const struct word *words)
{
    for (; words->word; words++)
        if (said_after(text, length, words->word))
            return words->kind;
    return SAID_OTHER;
}

/* One delivery has its stamp behind key; many may be in a text. */
static bool read_behind(const char *key, const struct word *words, const char *text, size_t length,
                        size_t *at, struct said *said)
{
    const char *found = *at < length ? said_after(text + *at, length - *at, key) : NULL;

    if (*at == length)
        return false;
    said->recipients = -1;
    if (found && said_stamp(found, text + length, &said->stamp)) {
        said->kind = SAID_DELIVERY;
        *at = (size_t)(found - text) + PAYLOAD_MIN;
        return true;
    }
    said->kind = *at ? SAID_NOTHING : kind_of(text, length, words);
    *at = length;
    return true;
}

static size_t finish(char *text, char *end, const char *rest)
{
    return (size_t)(end + sprintf(end, "%s", rest) - text);
}

/* ---- messaging ---- */

/* Messages stay until they are read: each answer reads what it answers. */
static size_t messaging_direct(char text[TEXT_SIZE], const struct letter *letter)
{
    char *end = text + sprintf(text, "{");

    if (letter->read)
        end += sprintf(end, "\"read\":[{\"id\":\"m%x-%x\"}],", letter->read->sender,
                       letter->read->number);
    end += sprintf(end, "\"send\":[{\"id\":\"m%x-%x\",\"sid\":\"%s\",\"rid\":\"%s\",\"text\":\"",
                   letter->stamp.sender, letter->stamp.number, letter->from, letter->to);
    return finish(text, write_payload(end, &letter->stamp, letter->payload_size), "\"}]}");
}

static bool messaging_read(const char *text, size_t length, size_t *at, struct said *said)
{
    static const struct word words[] = {
        {"\"errors\"", SAID_ERROR}, {"\"sent\"", SAID_ACK}, {NULL, SAID_OTHER}};

    return read_behind("\"text\":\"", words, text, length, at, said);
}

const struct dialect dialect_messaging = {
    .name = "messaging",
    .target = "/messaging?token=",
    .naming = "&client_id=",
    .ready_on_open = true,
    .direct = messaging_direct,
    .read = messaging_read,
};

/* ---- chat ---- */

static size_t chat_direct(char text[TEXT_SIZE], const struct letter *letter)
{
    char *end =
        text +
        sprintf(
            text,
            "{\"type\":\"request\",\"timestamp\":%lld,\"id\":\"m%x-%x\",\"payloadType\":\"new\","
            "\"payload\":{\"chatId\":\"%s\",\"message\":\"",
            (long long)time(NULL), letter->stamp.sender, letter->stamp.number, letter->to);

    return finish(text, write_payload(end, &letter->stamp, letter->payload_size), "\"}}");
}

static bool chat_read(const char *text, size_t length, size_t *at, struct said *said)
{
    static const struct word words[] = {
        {"\"error\"", SAID_ERROR},
        {"\"payloadType\":\"subscribe\"", SAID_WELCOME},
        {"\"type\":\"response\"", SAID_ACK},
        {"\"type\":\"event\"", SAID_NOTHING},
        {NULL, SAID_OTHER},
    };

    /* The sender's own copy is an event of his, too. */
    return read_behind("\"message\":\"", words, text, length, at, said);
}

const struct dialect dialect_chat = {
    .name = "chat",
    .target = "/chat?token=",
    .greeting = "{\"type\":\"request\",\"timestamp\":1,\"id\":\"s\",\"payloadType\":\"subscribe\","
                "\"payload\":{\"lastEventId\":0}}",
    .direct = chat_direct,
    .read = chat_read,
};

/* ---- simple ---- */

static size_t simple_direct(char text[TEXT_SIZE], const struct letter *letter)
{
    char *end = text + sprintf(text,
                               "{\"type\":\"send_message\",\"payload_id\":\"m%x-%x\",\"to\":\"%s\","
                               "\"message\":\"",
                               letter->stamp.sender, letter->stamp.number, letter->to);

    return finish(text, write_payload(end, &letter->stamp, letter->payload_size), "\"}");
}

static bool simple_read(const char *text, size_t length, size_t *at, struct said *said)
{
    static const struct word words[] = {
        {"\"error\":null", SAID_ACK},
        {"\"type\":\"reply\"", SAID_ERROR},
        {"\"type\":\"user_", SAID_NOTHING},
        {NULL, SAID_OTHER},
    };

    return read_behind("\"message\":\"", words, text, length, at, said);
}

const struct dialect dialect_simple = {
    .name = "simple",
    .target = "/simple?token=",
    .ready_on_open = true,
    .direct = simple_direct,
    .read = simple_read,
};

/* ---- callie ---- */

static size_t callie_direct(char text[TEXT_SIZE], const struct letter *letter)
{
    time_t now = time(NULL);
    struct tm parts;
    char stamp[40];
    char *end;

    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
    end =
        text +
        sprintf(text,
                "{\"sender\":\"%s\",\"recipient\":\"%s\",\"timestamp\":\"%s\",\"type\":\"MSG\","
                "\"payloadID\":\"p%x-%x\",\"payloadVersion\":\"1.0\",\"metadata\":{},\"content\":{"
                "\"messageID\":\"m%x-%x\",\"text\":\"",
                letter->from, letter->to, stamp, letter->stamp.sender, letter->stamp.number,
                letter->stamp.sender, letter->stamp.number);
    return finish(text, write_payload(end, &letter->stamp, letter->payload_size), "\"}}");
}

static bool callie_read(const char *text, size_t length, size_t *at, struct said *said)
{
    static const struct word words[] = {
        {"AUTH_OK", SAID_WELCOME},
        {"\"type\":\"SYS\"", SAID_ERROR},
        {"\"type\":\"PING\"", SAID_NOTHING},
        {NULL, SAID_OTHER},
    };

    return read_behind("\"text\":\"", words, text, length, at, said);
}

const struct dialect dialect_callie = {
    .name = "callie",
    .target = "/callie?token=",
    .direct = callie_direct,
    .read = callie_read,
};
