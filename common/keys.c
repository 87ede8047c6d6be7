#include "common/keys.h"

#include "common/siphash.h"

#include <string.h>

uint32_t partition_of(const struct deployment *deployment, struct slice key)
{
    return (uint32_t)(siphash(deployment->hash_key, key, 2, 4) % deployment->partitions);
}

bool chat_is_group(struct slice chat)
{
    static const char prefix[] = "group:";
    size_t length = sizeof(prefix) - 1;

    return chat.length > length && memcmp(chat.data, prefix, length) == 0;
}

static bool is_smaller(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.length < b.length ? a.length : b.length);

    return order < 0 || (order == 0 && a.length < b.length);
}

uint32_t partition_of_chat(const struct deployment *deployment, struct slice user,
                           struct slice chat)
{
    bool users = !chat_is_group(chat) && is_smaller(user, chat);

    return partition_of(deployment, users ? user : chat);
}

void conversation_name(struct buffer *out, struct slice user, struct slice chat)
{
    bool first = is_smaller(user, chat);

    if (chat_is_group(chat)) {
        buffer_append_slice(out, chat);
        return;
    }
    buffer_append_slice(out, first ? user : chat);
    buffer_append_byte(out, '\n');
    buffer_append_slice(out, first ? chat : user);
}

void partition_tag(struct buffer *out, uint32_t partition)
{
    buffer_append_byte(out, '{');
    buffer_append_u64(out, partition);
    buffer_append_byte(out, '}');
}

static void append_encoded(struct buffer *out, struct slice name)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < name.length; i++) {
        unsigned char byte = (unsigned char)name.data[i];

        if (byte > ' ' && byte != 0x7f && strchr("|:%{}", byte) == NULL) {
            buffer_append_byte(out, (char)byte);
        } else if (byte == '\n') {
            buffer_append_byte(out, '|');
        } else {
            buffer_append_byte(out, '%');
            buffer_append_byte(out, hex[byte >> 4]);
            buffer_append_byte(out, hex[byte & 15]);
        }
    }
}

static void append_name(struct buffer *out, const char *what, struct slice name)
{
    buffer_append_text(out, what);
    if (name.data != NULL) {
        buffer_append_byte(out, ':');
        append_encoded(out, name);
    }
}

void key_partition(struct buffer *out, const struct deployment *deployment, uint32_t partition,
                   const char *what, struct slice name)
{
    buffer_append_text(out, deployment->prefix);
    partition_tag(out, partition);
    buffer_append_byte(out, ':');
    append_name(out, what, name);
}

void key_global(struct buffer *out, const struct deployment *deployment, const char *what,
                struct slice name)
{
    buffer_append_text(out, deployment->prefix);
    append_name(out, what, name);
}
