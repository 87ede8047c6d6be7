#include "router/ownership.h"

#include "common/embed.h"
#include "common/log.h"
#include "common/uid.h"
#include "common/xalloc.h"
#include "router/partition.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

EMBED(routers_lua, "router/routers.lua");

static struct bus_script routers_script = {.name = "routers", .text = routers_lua};

/* A router that gave no sign of life for this many of them does not count. */
#define SIGNS_MISSED 3
/* How often free partitions are tried while this router has less than its share. */
#define TAKE_MS 200

struct ownership {
    struct router *router;
    uv_timer_t timer;
    bool shared;        /* share is known */
    uint32_t share;     /* partitions this router should have */
    uint32_t cursor;    /* the next to ask for, of those that are not this router's */
    uint32_t untried;   /* partitions the present round has not come to */
    uint64_t signed_ms; /* loop time of the last sign of life */
    bool leaving;
    uint64_t leave_by_ms;
    void (*done)(void *arg);
    void *done_arg;
};

void ownership_add_scripts(struct bus *bus)
{
    bus_add_script(bus, &routers_script);
}

static uint32_t held(const struct ownership *ownership)
{
    uint32_t count = 0;

    for (uint32_t p = 0; p < ownership->router->deployment.partitions; p++)
        count += partition_state(ownership->router->partitions[p]) != PARTITION_FREE;
    return count;
}

static void release_some(struct ownership *ownership, uint32_t too_many)
{
    for (uint32_t p = ownership->router->deployment.partitions; p-- > 0 && too_many;) {
        struct partition *partition = ownership->router->partitions[p];

        if (partition_state(partition) != PARTITION_SERVING)
            continue;
        partition_release(partition);
        too_many--;
    }
}

/* What is free here may be another's: at most as many as are wanted are asked for at once, and each
 * that is refused is followed by the next, once around. */
static void take_some(struct ownership *ownership, uint32_t too_few)
{
    uint32_t partitions = ownership->router->deployment.partitions;

    for (; ownership->untried && too_few; ownership->untried--) {
        struct partition *partition = ownership->router->partitions[ownership->cursor];

        ownership->cursor = (ownership->cursor + 1) % partitions;
        if (partition_state(partition) != PARTITION_FREE)
            continue;
        partition_take(partition);
        too_few--;
    }
}

static void balance(struct ownership *ownership)
{
    uint32_t have = held(ownership);

    if (!ownership->shared || ownership->leaving)
        return;
    if (have > ownership->share)
        release_some(ownership, have - ownership->share);
    else if (have < ownership->share)
        take_some(ownership, ownership->share - have);
}

static void start_round(struct ownership *ownership)
{
    ownership->untried = ownership->router->deployment.partitions;
    balance(ownership);
}

void ownership_refused(struct ownership *ownership)
{
    balance(ownership);
}

/* The shares of all are the partitions, so that nobody goes on asking for what others keep: when it
 * does not come out even, those whose ids come first have one more. */
static void on_routers(void *arg, const struct bus_reply *reply)
{
    struct ownership *ownership = arg;
    uint32_t partitions = ownership->router->deployment.partitions;
    uint32_t routers = (uint32_t)bus_reply_integer(bus_reply_at(reply, 0));
    uint32_t before = (uint32_t)bus_reply_integer(bus_reply_at(reply, 1));
    uint32_t share;

    if (routers == 0)
        return;
    share = partitions / routers + (before < partitions % routers);
    if (!ownership->shared || share != ownership->share)
        log_info("%u router%s: this one's share is %u of %u partitions", routers,
                 routers == 1 ? "" : "s", share, partitions);
    ownership->shared = true;
    ownership->share = share;
    start_round(ownership);
}

static void sign(struct ownership *ownership, bool leave)
{
    struct router *router = ownership->router;
    struct buffer key = {0};
    char timeout[24];
    int length =
        snprintf(timeout, sizeof(timeout), "%" PRId64, router->settings.renew_ms * SIGNS_MISSED);
    struct slice argv[4];

    key_global(&key, &router->deployment, "routers", (struct slice){0});
    argv[0] = buffer_slice(&key);
    argv[1] = slice_text(router->id);
    argv[2] = slice_of(timeout, (size_t)length);
    argv[3] = slice_text(leave ? "1" : "0");
    if (bus_eval(router->bus, &routers_script, leave ? NULL : on_routers, ownership, 1, 4, argv) ==
        0)
        ownership->signed_ms = uv_now(router->loop);
    buffer_finish(&key);
}

static void leave_on_timer(struct ownership *ownership)
{
    void (*done)(void *) = ownership->done;

    if (done == NULL ||
        (held(ownership) && uv_now(ownership->router->loop) < ownership->leave_by_ms))
        return;
    ownership->done = NULL;
    done(ownership->done_arg);
}

static void on_timer(uv_timer_t *timer)
{
    struct ownership *ownership = timer->data;
    struct router *router = ownership->router;

    if (ownership->leaving) {
        leave_on_timer(ownership);
        return;
    }
    if (!bus_is_up(router->bus))
        return;
    if (ownership->signed_ms == 0 ||
        uv_now(router->loop) - ownership->signed_ms >= (uint64_t)router->settings.renew_ms)
        sign(ownership, false);
    else
        start_round(ownership);
}

struct ownership *ownership_create(struct router *router)
{
    struct ownership *ownership = xcalloc(1, sizeof(*ownership));

    ownership->router = router;
    /* Routers that start together do not all ask for the same ones first. */
    ownership->cursor = (uint32_t)(uid_random64() % router->deployment.partitions);
    uv_timer_init(router->loop, &ownership->timer);
    ownership->timer.data = ownership;
    uv_timer_start(&ownership->timer, on_timer, 0, TAKE_MS);
    return ownership;
}

static void on_timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

void ownership_destroy(struct ownership **ownership)
{
    if (*ownership == NULL)
        return;
    uv_close((uv_handle_t *)&(*ownership)->timer, on_timer_closed);
    *ownership = NULL;
}

void ownership_leave(struct ownership *ownership, uint64_t timeout_ms, void (*done)(void *arg),
                     void *arg)
{
    ownership->leaving = true;
    ownership->leave_by_ms = uv_now(ownership->router->loop) + timeout_ms;
    ownership->done = done;
    ownership->done_arg = arg;
    for (uint32_t p = 0; p < ownership->router->deployment.partitions; p++)
        partition_release(ownership->router->partitions[p]);
    sign(ownership, true);
    uv_timer_start(&ownership->timer, on_timer, 10, 10);
}
