/*
 * Loads a partition after a take, in stages that follow one another: what names the gateways, then
 * what each gateway has, then the users they need. Within a stage everything is asked at once.
 */
#include "common/log.h"
#include "common/xalloc.h"
#include "router/partition_state.h"

#include <stdlib.h>

/* Entries of an output stream in one answer. */
#define OUTPUT_PAGE "512"

struct load {
    struct partition *partition;
    uint64_t generation;
    void (*handle)(struct load *, const struct bus_reply *);
    struct slice gateway; /* owned copy; empty for partition-wide ones */
};

static void load_destroy(struct load *load)
{
    free((char *)load->gateway.data);
    free(load);
}

static void on_reply(void *arg, const struct bus_reply *reply)
{
    struct load *load = arg;
    struct partition *partition = load->partition;

    if (load->generation != partition->generation || reply == NULL) {
        load_destroy(load);
        return;
    }
    if (bus_reply_not_run(reply)) {
        load_destroy(load);
        partition_drop(partition, "Redis refused while it was loading");
        return;
    }
    load->handle(load, reply);
    load_destroy(load);
    partition->loads--;
    partition_load_progress(partition);
}

static void ask(struct partition *partition, struct slice gateway,
                void (*handle)(struct load *, const struct bus_reply *), size_t argc,
                const struct slice *argv)
{
    struct load *load = xcalloc(1, sizeof(*load));

    load->partition = partition;
    load->generation = partition->generation;
    load->handle = handle;
    load->gateway = slice_of(xmemdup0(gateway.data, gateway.length), gateway.length);
    partition->loads++;
    if (bus_command(committer_bus(partition->committer), on_reply, load, argc, argv) < 0)
        load_destroy(load);
}

static void ask_key(struct partition *partition, const char *what, struct slice gateway,
                    const char *command, const char *tail[3],
                    void (*handle)(struct load *, const struct bus_reply *))
{
    struct buffer key = {0};
    struct slice argv[6] = {slice_text(command)};
    size_t argc = 1;

    if (tail[0] && tail[0][0] == '<')
        argv[argc++] = slice_text(tail[0] + 1);
    argv[argc++] = partition_key(partition, &key, what, gateway);
    for (int i = tail[0] && tail[0][0] == '<'; i < 3 && tail[i]; i++)
        argv[argc++] = slice_text(tail[i]);
    ask(partition, gateway, handle, argc, argv);
    buffer_finish(&key);
}

/* Calls with each pair of a hash. */
#define EACH_PAIR(reply, name, value)                                                              \
    for (size_t pair_ = 0; pair_ + 1 < bus_reply_count(reply); pair_ += 2)                         \
        for (struct slice name = bus_reply_text(bus_reply_at(reply, pair_)),                       \
                          value = bus_reply_text(bus_reply_at(reply, pair_ + 1)), *once_ = &name;  \
             once_; once_ = NULL)

static void on_sources(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, gateway, value)
    engine_load_source(load->partition->engine, gateway, value);
}

static void on_seen(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, user, number)
    engine_load_seen(load->partition->engine, user, number);
}

static void on_histories(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, topic, value)
    engine_load_history(load->partition->engine, topic, value);
}

static void on_timers(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, member, score)
    engine_load_timer(load->partition->engine, member, strtoull(score.data, NULL, 10));
}

static void on_recent(struct load *load, const struct bus_reply *reply)
{
    for (size_t i = 0; i < bus_reply_count(reply); i++) {
        const struct bus_reply *entry = bus_reply_at(reply, i);
        struct number id;

        if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &id) == 0)
            engine_load_recent(load->partition->engine, id,
                               bus_reply_text(bus_reply_field(bus_reply_at(entry, 1), "f")));
    }
}

static void on_connections(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, connection, value)
    engine_load_connection(load->partition->engine, load->gateway, connection, value);
}

static void on_subscriptions(struct load *load, const struct bus_reply *reply)
{
    EACH_PAIR(reply, field, value)
    engine_load_subscription(load->partition->engine, load->gateway, field, value);
}

static void on_output_info(struct load *load, const struct bus_reply *reply)
{
    struct number last = {0};

    if (number_parse(bus_reply_text(bus_reply_field(reply, "last-generated-id")), &last) < 0)
        return; /* no such stream */
    engine_load_output_cursor(load->partition->engine, load->gateway, last);
}

static void on_output(struct load *load, const struct bus_reply *reply);

static void ask_output(struct partition *partition, struct slice gateway, struct number from)
{
    struct buffer key = {0};
    char text[NUMBER_TEXT_SIZE];
    int length = number_format(from, text);
    struct slice argv[] = {
        slice_text("XRANGE"),
        partition_key(partition, &key, "out", gateway),
        slice_of(text, (size_t)length),
        slice_text("+"),
        slice_text("COUNT"),
        slice_text(OUTPUT_PAGE),
    };

    ask(partition, gateway, on_output, sizeof(argv) / sizeof(argv[0]), argv);
    buffer_finish(&key);
}

static void on_output(struct load *load, const struct bus_reply *reply)
{
    size_t count = bus_reply_count(reply);
    struct number id = {0};

    for (size_t i = 0; i < count; i++) {
        const struct bus_reply *entry = bus_reply_at(reply, i);

        if (number_parse(bus_reply_text(bus_reply_at(entry, 0)), &id) == 0)
            engine_load_output(load->partition->engine, load->gateway, id,
                               bus_reply_text(bus_reply_field(bus_reply_at(entry, 1), "e")));
    }
    if (count == strtoul(OUTPUT_PAGE, NULL, 10))
        ask_output(load->partition, load->gateway, number_next(id));
}

static void on_gateways(struct load *load, const struct bus_reply *reply)
{
    static const char *none[3];
    static const char *const info[3] = {"<STREAM"};
    struct partition *partition = load->partition;

    EACH_PAIR(reply, gateway, nonce)
    {
        engine_load_gateway(partition->engine, gateway, nonce);
        ask_key(partition, "conns", gateway, "HGETALL", none, on_connections);
        ask_key(partition, "subs", gateway, "HGETALL", none, on_subscriptions);
        ask_key(partition, "out", gateway, "XINFO", (const char **)info, on_output_info);
    }
}

static void ask_outputs(void *arg, struct slice gateway)
{
    ask_output(arg, gateway, (struct number){0});
}

static void stage_names(struct partition *partition)
{
    static const char *none[3];
    static const char *scores[3] = {"0", "-1", "WITHSCORES"};
    static const char *all[3] = {"-", "+"};
    struct slice nobody = {0};

    ask_key(partition, "sources", nobody, "HGETALL", none, on_sources);
    ask_key(partition, "seen", nobody, "HGETALL", none, on_seen);
    ask_key(partition, "histories", nobody, "HGETALL", none, on_histories);
    ask_key(partition, "timers", nobody, "ZRANGE", scores, on_timers);
    ask_key(partition, "recent", nobody, "XRANGE", all, on_recent);
    ask_key(partition, "gateways", nobody, "HGETALL", none, on_gateways);
}

static void stage_outputs(struct partition *partition)
{
    engine_each_gateway(partition->engine, ask_outputs, partition);
}

static void fetch_user(void *arg, struct slice user)
{
    partition_fetch(arg, &(struct engine_need){.kind = ENGINE_NEED_USER, .name = user});
}

static void stage_users(struct partition *partition)
{
    engine_load_users(partition->engine, fetch_user, partition);
}

static void (*const stages[])(struct partition *) = {stage_names, stage_outputs, stage_users};
#define STAGES ((int)(sizeof(stages) / sizeof(stages[0])))

/* A stage that asks for nothing is over at once. */
void partition_load_progress(struct partition *partition)
{
    while (partition->loads == 0 && partition_fetching(partition) == 0) {
        if (partition->load_stage == STAGES) {
            partition_loaded(partition);
            return;
        }
        stages[partition->load_stage++](partition);
    }
}

void partition_load(struct partition *partition)
{
    partition->state = PARTITION_LOADING;
    partition->loads = 0;
    partition->load_stage = 0;
    partition_load_progress(partition);
}
