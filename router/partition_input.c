#include "common/xalloc.h"
#include "router/partition_state.h"

#include <stdlib.h>

/* Read and not applied: beyond it the input waits in Redis. */
#define INPUT_BYTES_MAX (16 * 1024 * 1024)

bool partition_wants_input(const struct partition *partition)
{
    return partition->state == PARTITION_SERVING && partition->input_bytes < INPUT_BYTES_MAX;
}

struct slice partition_input_key(const struct partition *partition)
{
    return buffer_slice(&partition->in_key);
}

uint64_t partition_generation(const struct partition *partition)
{
    return partition->generation;
}

struct number partition_input_position(const struct partition *partition)
{
    return partition->read_position;
}

static struct slice put(char **at, struct slice text)
{
    struct slice kept = slice_of(*at, text.length);

    memcpy(*at, text.data, text.length);
    *at += text.length;
    return kept;
}

static struct input *input_create(const struct bus_reply *entry)
{
    const struct bus_reply *fields = bus_reply_at(entry, 1);
    struct slice source = bus_reply_text(bus_reply_field(fields, "g"));
    struct slice frames = bus_reply_text(bus_reply_field(fields, "f"));
    struct input *input = xmalloc(sizeof(*input) + source.length + frames.length);
    char *at = input->bytes;

    *input = (struct input){0};
    if (number_parse(bus_reply_text(bus_reply_field(fields, "n")), &input->number) < 0)
        input->number = (struct number){0};
    input->size = sizeof(*input) + source.length + frames.length;
    if (source.length)
        input->source = put(&at, source);
    if (frames.length)
        input->frames = put(&at, frames);
    return input;
}

static void fetch_missing(void *arg, const struct engine_need *need)
{
    partition_fetch(arg, need);
}

void partition_on_input(struct partition *partition, const struct bus_reply *entries)
{
    if (partition->state != PARTITION_SERVING)
        return;
    for (size_t i = 0; i < bus_reply_count(entries); i++) {
        const struct bus_reply *entry = bus_reply_at(entries, i);
        struct input *input;
        struct number id;

        /* What was read is not read again. */
        if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &id) < 0 ||
            number_compare(id, partition->read_position) <= 0)
            continue;
        input = input_create(entry);
        input->id = id;
        input->look_again =
            engine_missing(partition->engine, input->frames, fetch_missing, partition) > 0;
        if (input->look_again)
            input->fetch = partition->asked;
        partition->read_position = id;
        partition->input_bytes += input->size;
        STAILQ_INSERT_TAIL(&partition->inputs, input, link);
        router_saw_time(partition->router, id.epoch);
    }
    partition_pump(partition);
}

void partition_remove_input(struct partition *partition)
{
    struct input *input = STAILQ_FIRST(&partition->inputs);

    STAILQ_REMOVE_HEAD(&partition->inputs, link);
    partition->input_bytes -= input->size;
    free(input);
}
