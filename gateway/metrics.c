#include "gateway/gateway.h"

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
