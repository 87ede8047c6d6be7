#include "gateway/gateway.h"

#include "common/uid.h"
#include "gateway/session.h"
#include "gateway/uplink.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct metric gateway_metrics[GATEWAY_METRICS] = {
#define METRIC(NAME, metric_name, is_gauge, text)                                                  \
    [GATEWAY_##NAME] = {.name = metric_name, .help = text, .gauge = is_gauge},
#include "gateway/metrics.def"
#undef METRIC
};

void gateway_refresh_metrics(const struct gateway *gateway)
{
    gateway_metrics[GATEWAY_CONNECTIONS].value = sessions_count(gateway->sessions);
    gateway_metrics[GATEWAY_PARTITIONS_ANSWERING].value =
        uplink_partitions_answering(gateway->uplink);
    gateway_metrics[GATEWAY_HELD_BYTES].value = uplink_held_bytes(gateway->uplink);
}

void gateway_name(struct gateway *gateway)
{
    char host[32] = "localhost";

    gethostname(host, sizeof(host) - 1);
    if (gateway->settings.name[0])
        snprintf(gateway->name, sizeof(gateway->name), "%s", gateway->settings.name);
    else
        snprintf(gateway->name, sizeof(gateway->name), "gateway-%s-%d", host, (int)getpid());
    gateway->bits = uid_random64();
    snprintf(gateway->id, sizeof(gateway->id), "%s-%016" PRIx64, gateway->name, gateway->bits);
}
