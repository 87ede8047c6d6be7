/*
 * An auth process: what its modules share. One loop; passwords alone are handled on other threads.
 */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "common/bus.h"
#include "common/keys.h"
#include "common/metrics.h"
#include "common/settings.h"

#include <uv.h>

struct auth {
    uv_loop_t *loop;
    struct settings settings;
    struct deployment deployment;
    char name[64];
    struct bus *bus;
    struct signing_keys *keys;     /* NULL: tokens are HS256 */
    struct key_rotation *rotation; /* of them */
    struct tokens *tokens;
    struct passwords *passwords;
    struct unsealing_key *box; /* what gateways seal passwords for */
    struct password_asks *asks;
    struct api *api;
    bool ready; /* Redis is there, the deployment agrees, gateways have the keys */
};

/* The counters of auth. */
enum auth_metric {
#define METRIC(NAME, name, gauge, help) AUTH_##NAME,
#include "auth/metrics.def"
#undef METRIC
    AUTH_METRICS
};
extern struct metric auth_metrics[AUTH_METRICS];

static inline void auth_count(enum auth_metric metric)
{
    auth_metrics[metric].value++;
}

#endif
