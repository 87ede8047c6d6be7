#include "router/reader.h"

#include "common/log.h"
#include "common/xalloc.h"
#include "router/partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A read sleeps at most this long: a bound on what a lost wake-up costs. */
#define BLOCK_MS "1000"
#define ENTRIES "1024"

/* A partition that the read in flight asks for, as it was then. */
struct asked {
    struct partition *partition;
    uint64_t generation;
};

struct reader {
    struct router *router;
    struct bus *bus;
    struct asked *asked;
    size_t asked_count;
    bool reading, waking;
    bool routing; /* what a read has brought is being handed out */
};

static void start_read(struct reader *reader);

/* One that was given up and taken anew meanwhile begins again behind what was applied. The read
 * began behind what had been read: what lies between would be left out. */
static void route(struct reader *reader, const struct bus_reply *stream)
{
    struct slice key = bus_reply_text(bus_reply_at(stream, 0));

    for (size_t i = 0; i < reader->asked_count; i++) {
        const struct asked *asked = &reader->asked[i];

        if (!slice_equal(key, partition_input_key(asked->partition)))
            continue;
        if (asked->generation == partition_generation(asked->partition))
            partition_on_input(asked->partition, bus_reply_at(stream, 1));
        return;
    }
}

static void on_read(void *arg, const struct bus_reply *reply)
{
    struct reader *reader = arg;

    reader->reading = reader->waking = false;
    if (reply == NULL)
        return;
    if (bus_reply_kind(reply) == BUS_ERROR)
        log_warn("read: %.*s", (int)bus_reply_text(reply).length, bus_reply_text(reply).data);
    reader->routing = true;
    for (size_t i = 0; i < bus_reply_count(reply); i++)
        route(reader, bus_reply_at(reply, i));
    reader->routing = false;
    start_read(reader);
}

static size_t choose(struct reader *reader)
{
    reader->asked_count = 0;
    for (uint32_t p = 0; p < reader->router->deployment.partitions; p++) {
        struct partition *partition = reader->router->partitions[p];

        if (partition_wants_input(partition))
            reader->asked[reader->asked_count++] = (struct asked){
                .partition = partition, .generation = partition_generation(partition)};
    }
    return reader->asked_count;
}

static void start_read(struct reader *reader)
{
    size_t count, argc = 0;
    struct slice *argv;
    char(*ids)[NUMBER_TEXT_SIZE];

    if (reader->reading || reader->routing || !bus_is_up(reader->bus))
        return;
    count = choose(reader);
    if (count == 0)
        return;
    argv = xmalloc((6 + count * 2) * sizeof(*argv));
    ids = xmalloc(count * sizeof(*ids));
    argv[argc++] = slice_text("XREAD");
    argv[argc++] = slice_text("COUNT");
    argv[argc++] = slice_text(ENTRIES);
    argv[argc++] = slice_text("BLOCK");
    argv[argc++] = slice_text(BLOCK_MS);
    argv[argc++] = slice_text("STREAMS");
    for (size_t i = 0; i < count; i++) {
        const struct partition *partition = reader->asked[i].partition;
        int length = number_format(partition_input_position(partition), ids[i]);

        argv[argc + i] = partition_input_key(partition);
        argv[argc + count + i] = slice_of(ids[i], (size_t)length);
    }
    reader->reading = bus_command(reader->bus, on_read, reader, argc + count * 2, argv) == 0;
    free(argv);
    free(ids);
}

void reader_wake(struct reader *reader)
{
    char id[24];

    if (!reader->reading) {
        start_read(reader);
        return;
    }
    if (reader->waking)
        return;
    snprintf(id, sizeof(id), "%" PRIu64, bus_client_id(reader->bus));
    reader->waking =
        bus_command_text(reader->router->bus, NULL, NULL, "CLIENT", "UNBLOCK", id, NULL) == 0;
}

static void on_up(void *arg)
{
    start_read(arg);
}

static void on_down(void *arg, const char *reason)
{
    (void)arg;
    log_debug("reading connection: %s", reason);
}

struct reader *reader_create(struct router *router)
{
    struct reader *reader = xcalloc(1, sizeof(*reader));
    char name[96];
    struct bus_options options = {
        .address = router->address,
        .client_name = name,
        .on_up = on_up,
        .on_down = on_down,
        .arg = reader,
    };

    snprintf(name, sizeof(name), "%s-read", router->name);
    reader->router = router;
    reader->asked = xcalloc(router->deployment.partitions, sizeof(*reader->asked));
    reader->bus = bus_create(router->loop, &options);
    return reader;
}

void reader_destroy(struct reader **reader)
{
    if (*reader == NULL)
        return;
    bus_destroy(&(*reader)->bus);
    free((*reader)->asked);
    free(*reader);
    *reader = NULL;
}
