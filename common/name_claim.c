#include "common/name_claim.h"

#include "common/embed.h"
#include "common/uid.h"
#include "common/xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A claim outlives three missed renewals; who waits for an old one to expire waits a little longer.
 */
#define CLAIM_MS "6000"
#define RENEW_MS 2000
#define TRY_MS 250
#define WAIT_MS 7000

EMBED(name_claim_script_text, "common/name_claim.lua");
static struct bus_script claim_script = {.name = "name_claim", .text = name_claim_script_text};

struct name_claim {
    struct bus *bus;
    uv_timer_t timer;
    struct buffer key;
    char host[64];
    char self[192]; /* "<kind> <host> <pid> <random>" */
    char dead[192]; /* a holder that is known to be dead */
    uint64_t give_up_ms;
    bool asking, destroyed;
    name_claim_done_fn *done; /* NULL once it was called */
    void *arg;
};

void name_claim_add_script(struct bus *bus)
{
    bus_add_script(bus, &claim_script);
}

static void release(struct name_claim *claim)
{
    if (claim->asking || !claim->destroyed)
        return;
    buffer_finish(&claim->key);
    free(claim);
}

static void finish(struct name_claim *claim, const char *holder)
{
    name_claim_done_fn *done = claim->done;

    claim->done = NULL;
    if (done != NULL)
        done(claim->arg, holder);
}

/* Of this host, and no such process any more. */
static bool holder_is_dead(const struct name_claim *claim, const char *holder)
{
    char kind[32], host[64];
    int pid;

    if (sscanf(holder, "%31s %63s %d", kind, host, &pid) != 3 || strcmp(host, claim->host) != 0)
        return false;
    return kill(pid, 0) < 0 && errno == ESRCH;
}

static void on_answer(void *arg, const struct bus_reply *reply)
{
    struct name_claim *claim = arg;
    struct slice holder = bus_reply_text(reply);
    char text[192];

    claim->asking = false;
    if (claim->destroyed) {
        release(claim);
        return;
    }
    if (bus_reply_kind(reply) != BUS_TEXT)
        return; /* asked again by the timer */
    snprintf(text, sizeof(text), "%.*s", (int)holder.length, holder.data);
    if (strcmp(text, claim->self) == 0) {
        uv_timer_start(&claim->timer, claim->timer.timer_cb, RENEW_MS, RENEW_MS);
        finish(claim, NULL);
    } else if (holder_is_dead(claim, text)) {
        snprintf(claim->dead, sizeof(claim->dead), "%s", text);
    } else if (uv_now(claim->timer.loop) >= claim->give_up_ms) {
        finish(claim, text);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct name_claim *claim = timer->data;
    const struct slice argv[] = {buffer_slice(&claim->key), slice_text(claim->self),
                                 slice_text(CLAIM_MS), slice_text(claim->dead)};

    if (!claim->asking)
        claim->asking = bus_eval(claim->bus, &claim_script, on_answer, claim, 1, 4, argv) == 0;
}

struct name_claim *name_claim_create(uv_loop_t *loop, struct bus *bus,
                                     const struct deployment *deployment, const char *kind,
                                     const char *name, name_claim_done_fn *done, void *arg)
{
    struct name_claim *claim = xcalloc(1, sizeof(*claim));

    claim->bus = bus;
    claim->done = done;
    claim->arg = arg;
    claim->give_up_ms = uv_now(loop) + WAIT_MS;
    key_global(&claim->key, deployment, "name", slice_text(name));
    if (gethostname(claim->host, sizeof(claim->host) - 1) < 0 || claim->host[0] == '\0')
        snprintf(claim->host, sizeof(claim->host), "localhost");
    snprintf(claim->self, sizeof(claim->self), "%s %s %d %016" PRIx64, kind, claim->host,
             (int)getpid(), uid_random64());
    uv_timer_init(loop, &claim->timer);
    claim->timer.data = claim;
    uv_timer_start(&claim->timer, on_timer, 0, TRY_MS);
    return claim;
}

static void on_closed(uv_handle_t *timer)
{
    struct name_claim *claim = timer->data;

    claim->destroyed = true;
    release(claim);
}

void name_claim_destroy(struct name_claim **claim)
{
    if (*claim == NULL)
        return;
    (*claim)->done = NULL;
    uv_close((uv_handle_t *)&(*claim)->timer, on_closed);
    *claim = NULL;
}
