/*
 * Entries of mailboxes in Redis: readable fields, one entry a message; and how many there are. See
 * mailbox.h.
 */
#include "router/mailbox.h"

#include <assert.h>

static void text_field(struct effects *effects, const char *name, struct slice value)
{
    effects_text(effects, slice_text(name));
    effects_text(effects, value);
}

static void u64_field(struct effects *effects, const char *name, uint64_t value)
{
    effects_text(effects, slice_text(name));
    effects_u64(effects, value);
}

void store_message(struct engine *engine, struct user *user, struct message *message)
{
    struct effects *effects = engine->effects;

    assert(number_compare(message->number, user->mailbox_last) > 0);
    effects_open(effects, EFFECT_XADD, user_mailbox_key(engine, user), 1 + 11 * 2);
    effects_number(effects, message->number);
    text_field(effects, "from", message->from);
    text_field(effects, "chat", message->chat);
    text_field(effects, "id", message->id);
    u64_field(effects, "message", message->in_chat);
    u64_field(effects, "sent_at", message->sent_at_ms);
    u64_field(effects, "expires", message->expires_ms);
    u64_field(effects, "policy", message->policy);
    u64_field(effects, "protocol", message->protocol);
    u64_field(effects, "content", message->content);
    text_field(effects, "body", message->body);
    text_field(effects, "metadata", message->metadata);
    message->stored = true;
    user->mailbox_last = message->number;
    user->stored_since_asked = true;
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
    effects_open(engine->effects, EFFECT_XDEL, user_mailbox_key(engine, user), 1);
    effects_number(engine->effects, number);
    user->mailbox_count -= user->mailbox_count > 0;
    user->waiting -= user->waiting > 0 && number_compare(number, user->delivered) > 0;
    user->mailbox_bytes -= size < user->mailbox_bytes ? size : user->mailbox_bytes;
    user_mailbox_changed(engine, user);
}

void unstore_message(struct engine *engine, struct user *user, const struct message *message)
{
    unstore_entry(engine, user, message->number, message_size(message));
    if (user->keep)
        unread_remove(engine, user, message->number);
}

bool store_full(const struct engine *engine, const struct user *user)
{
    return user->mailbox_count >= engine->limits.mailbox_messages ||
           user->mailbox_bytes >= engine->limits.mailbox_bytes;
}

static uint64_t u64_of(const struct engine_page_entry *entry, const char *name)
{
    return load_u64(load_entry_field(entry, name));
}

struct message *store_read(const struct engine_page_entry *entry)
{
    struct message *message =
        message_new(load_entry_field(entry, "from"), load_entry_field(entry, "chat"),
                    load_entry_field(entry, "id"), load_entry_field(entry, "body"),
                    load_entry_field(entry, "metadata"));

    message->number = entry->number;
    message->in_chat = u64_of(entry, "message");
    message->sent_at_ms = u64_of(entry, "sent_at");
    message->expires_ms = u64_of(entry, "expires");
    message->policy = u64_of(entry, "policy");
    message->protocol = u64_of(entry, "protocol");
    message->content = u64_of(entry, "content");
    message->stored = true;
    return message;
}
