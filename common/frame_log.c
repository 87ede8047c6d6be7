#include "common/frame_log.h"

#include "common/uid.h"

#define DIGITS 16

static bool is_life_sign(const struct frame *frame)
{
    return frame->type == FRAME_GATEWAY_HEARTBEAT || frame->type == FRAME_OUTPUT_HEAD ||
           frame->type == FRAME_TICK;
}

void frame_log_one(const char *way, uint32_t partition, uint64_t gateway_bits,
                   const struct frame *frame)
{
    const uint64_t *connections;
    size_t count = frame_connections(frame, &connections);
    struct buffer line = {0};
    char uuid[UUID_TEXT_SIZE];

    if (is_life_sign(frame))
        return;
    for (size_t i = 0; i < count; i++) {
        uid_connection(gateway_bits, connections[i], uuid);
        buffer_appendf(&line, "%s %s", i ? "," : "connection", uuid);
    }
    buffer_append_text(&line, count ? ": " : "");
    frame_print(&line, frame);
    log_debug("%s partition %u: %.*s", way, partition, (int)line.length, line.data);
    buffer_finish(&line);
}

void frame_log_entry(const char *way, uint32_t partition, uint64_t gateway_bits,
                     struct slice frames)
{
    struct frame_reader *reader = frame_reader_create();
    struct frame frame;

    frame_reader_start(reader, frames);
    while (frame_reader_next(reader, &frame) == 1)
        frame_log_one(way, partition, gateway_bits, &frame);
    frame_reader_destroy(&reader);
}

uint64_t frame_log_bits(struct slice id)
{
    uint64_t bits = 0;

    if (id.length < DIGITS)
        return 0;
    for (const char *at = id.data + id.length - DIGITS; at < id.data + id.length; at++) {
        char digit = *at;

        if (!((digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f')))
            return 0;
        bits = bits << 4 | (uint64_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
    }
    return bits;
}
