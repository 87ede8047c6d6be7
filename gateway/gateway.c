#include "gateway/gateway.h"

#include "gateway/session.h"
#include "gateway/uplink.h"

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
