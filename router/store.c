/*
 * Entries of mailboxes in Redis: one a message, a record in its only field; and how many there are.
 * See mailbox.h.
 */
#include "router/mailbox.h"

#include <assert.h>

/* Numbers in one effect: Lua, which runs them while Redis is full, unpacks so many. */
#define UNSTORED_AT_ONCE 500

void store_message(struct engine *engine, struct user *user, struct message *message)
{
    const struct record_field fields[] = {
        {"from", message->from, 0},
        {"chat", message->chat, 0},
        {"id", message->id, 0},
        {"message", {0}, message->in_chat},
        {"at", {0}, message->sent_at_ms},
        {"expires", {0}, message->expires_ms},
        {"policy", {0}, message->policy},
        {"protocol", {0}, message->protocol},
        {"content", {0}, message->content},
        {"metadata", message->metadata, 0},
        {"priority", {0}, message->priority},
        {"body", message->body, 0},
    };

    assert(number_compare(message->number, user->mailbox_last) > 0);
    effects_record(engine->effects, user_mailbox_key(engine, user), message->number, "message",
                   fields, sizeof(fields) / sizeof(fields[0]));
    message->stored = true;
    user->mailbox_last = message->number;
    user->stores++;
    user->mailbox_count++;
    user->waiting++;
    user->mailbox_bytes += message_size(message);
    engine->counters.stored++;
    user_mailbox_changed(engine, user);
    if (user->keep)
        unread_add(engine, user, message);
}

void unstore_entry(struct engine *engine, struct user *user, struct number number, size_t size)
{
    buffer_append(&user->unstored, &number, sizeof(number));
    user->mailbox_count -= user->mailbox_count > 0;
    user->waiting -= user->waiting > 0 && number_compare(number, user->delivered) > 0;
    user->mailbox_bytes -= size < user->mailbox_bytes ? size : user->mailbox_bytes;
    user_mailbox_changed(engine, user);
}

static void write_unstored(struct engine *engine, enum effect_kind kind, uint32_t key,
                           const struct number *numbers, size_t count)
{
    effects_open(engine->effects, kind, key, count);
    for (size_t i = 0; i < count; i++)
        effects_number(engine->effects, numbers[i]);
}

void store_finish(struct engine *engine, struct user *user)
{
    const struct number *numbers = (const struct number *)(const void *)user->unstored.data;
    size_t left = user->unstored.length / sizeof(*numbers);

    unread_finish(engine, user);
    while (left > 0) {
        size_t count = left < UNSTORED_AT_ONCE ? left : UNSTORED_AT_ONCE;

        write_unstored(engine, EFFECT_XDEL, user_mailbox_key(engine, user), numbers, count);
        if (user->unread_changed)
            write_unstored(engine, EFFECT_HDEL,
                           effects_key(engine->effects, "unread", user_slice(user)), numbers,
                           count);
        numbers += count;
        left -= count;
    }
    if (user->unstored.length && user->mailbox_count == 0)
        effects_open(engine->effects, EFFECT_DEL_EMPTY, user_mailbox_key(engine, user), 0);
    buffer_finish(&user->unstored);
    user->unread_changed = false;
}

void unstore_message(struct engine *engine, struct user *user, const struct message *message)
{
    unstore_entry(engine, user, message->number, message_size(message));
    if (user->keep)
        unread_remove(user, message->number);
}

bool store_full(const struct engine *engine, const struct user *user)
{
    /* Of one whose messages are kept, what is pending and not stored will be. */
    bool coming = user->keep && user->waiting == 0;

    return user->mailbox_count + (coming ? user->pending_count : 0) >=
               engine->limits.mailbox_messages ||
           user->mailbox_bytes + (coming ? user->pending_bytes : 0) >= engine->limits.mailbox_bytes;
}

struct message *store_read(const struct engine_page_entry *entry)
{
    struct record_reader record;
    struct message *message;

    record_reader_start(&record, load_entry_field(entry, "message"));
    if (record_next(&record) != 1)
        record.count = 0;
    message = message_new(record_text(&record, "from"), record_text(&record, "chat"),
                          record_text(&record, "id"), record_text(&record, "body"),
                          record_text(&record, "metadata"));
    message->number = entry->number;
    message->in_chat = record_number(&record, "message");
    message->sent_at_ms = record_number(&record, "at");
    message->expires_ms = record_number(&record, "expires");
    message->policy = record_number(&record, "policy");
    message->priority = record_number(&record, "priority") != 0;
    message->protocol = record_number(&record, "protocol");
    message->content = record_number(&record, "content");
    message->stored = true;
    return message;
}
