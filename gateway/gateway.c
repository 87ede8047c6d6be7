#include "gateway/gateway.h"

#include "gateway/session.h"
#include "gateway/uplink.h"

struct metric gateway_metrics[GATEWAY_METRICS] = {
#define METRIC(NAME, metric_name, is_gauge, text)                                                  \
    [GATEWAY_##NAME] = {.name = metric_name, .help = text, .gauge = is_gauge},
#include "gateway/metrics.def"
#undef METRIC
};

struct histogram gateway_histograms[GATEWAY_HISTOGRAMS] = {
    [GATEWAY_ACCEPT_SECONDS] = {.name = "accept_seconds",
                                .help = "from an entry's leaving to its acceptance by the router",
                                .unit = 1e-6,
                                .first = 100},
    [GATEWAY_DELIVERY_SECONDS] = {.name = "delivery_seconds",
                                  .help = "from a message's acceptance to its connection's queue",
                                  .unit = 1e-3,
                                  .first = 1},
    [GATEWAY_ENTRY_BYTES] = {.name = "entry_bytes",
                             .help = "bytes of frames in the entries sent to partitions",
                             .unit = 1,
                             .first = 64},
};

/* What a partition without an owner may delay the start of a gateway. */
#define COMPLETE_MS 10000

bool gateway_is_ready(struct gateway *gateway)
{
    uint32_t answering = uplink_partitions_answering(gateway->uplink);

    if (answering == gateway->deployment.partitions ||
        uv_now(gateway->loop) - gateway->started_ms > COMPLETE_MS)
        gateway->complete = true;
    return answering > 0 && gateway->complete && !gateway->draining;
}

/* All partitions answer and little is held back: then it is for memory that credit is refused. */
bool gateway_can_free(const struct gateway *gateway)
{
    return uplink_partitions_answering(gateway->uplink) == gateway->deployment.partitions &&
           uplink_held_bytes(gateway->uplink) <= (uint64_t)gateway->settings.credit;
}

void gateway_refresh_metrics(const struct gateway *gateway)
{
    gateway_metrics[GATEWAY_CONNECTIONS].value = sessions_count(gateway->sessions);
    gateway_metrics[GATEWAY_PARTITIONS_ANSWERING].value =
        uplink_partitions_answering(gateway->uplink);
    gateway_metrics[GATEWAY_HELD_BYTES].value = uplink_held_bytes(gateway->uplink);
}
