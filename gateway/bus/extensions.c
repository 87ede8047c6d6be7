#include "gateway/bus/extensions.h"

#include "common/bus.h"
#include "common/embed.h"
#include "common/sha256.h"
#include "common/xalloc.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

EMBED(extension_lua, "gateway/bus/extension.lua");
static struct bus_script script = {.name = "extension", .text = extension_lua};

struct put {
    void (*done)(void *arg, bool kept);
    void *arg;
};

void extensions_add_script(struct bus *bus)
{
    bus_add_script(bus, &script);
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct put *put = arg;

    put->done(put->arg, bus_reply_kind(reply) == BUS_INTEGER);
    free(put);
}

static void append_keys(struct gateway *gateway, const struct extension *extension,
                        struct buffer *stream, struct buffer *recent)
{
    struct buffer name = {0};

    buffer_append_slice(&name, extension->user);
    buffer_append_byte(&name, '\n');
    buffer_append_slice(&name, extension->id);
    key_global(stream, &gateway->deployment, "extensions", slice_of(NULL, 0));
    key_global(recent, &gateway->deployment, "extension", buffer_slice(&name));
    buffer_finish(&name);
}

/* A retry is known by what its sender wrote, not by where it is connected now. */
static void content_text(const struct extension *extension, char text[SHA256_TEXT_SIZE])
{
    uint8_t digest[SHA256_BYTES];

    text[0] = '\0';
    if (!extension->retry)
        return;
    sha256(extension->message, digest);
    sha256_text(digest, text);
}

int extensions_put(struct gateway *gateway, const struct extension *extension,
                   void (*done)(void *arg, bool kept), void *arg)
{
    struct put *put = xmalloc(sizeof(*put));
    struct buffer stream = {0}, recent = {0};
    char most[24], content[SHA256_TEXT_SIZE];
    int result;

    *put = (struct put){.done = done, .arg = arg};
    append_keys(gateway, extension, &stream, &recent);
    snprintf(most, sizeof(most), "%" PRId64, gateway->settings.extensions);
    content_text(extension, content);
    result = bus_eval(
        gateway->bus, &script, on_reply, put, 2, 14,
        (const struct slice[]){buffer_slice(&stream), buffer_slice(&recent), slice_text(most),
                               slice_text(content), slice_text("user"), extension->user,
                               slice_text("connection"), extension->connection, slice_text("type"),
                               extension->type, slice_text("id"), extension->id,
                               slice_text("message"), extension->message});
    buffer_finish(&stream);
    buffer_finish(&recent);
    if (result < 0)
        free(put);
    return result;
}
