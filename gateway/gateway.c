#include "gateway/gateway.h"

#include "gateway/door/listener.h"
#include "gateway/identity/verifier.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"

/* What a partition without an owner may delay the start of a gateway. */
#define COMPLETE_MS 10000

uint32_t gateway_partitions_answering(const struct gateway *gateway)
{
    return gateway->uplink != NULL ? uplink_partitions_answering(gateway->uplink) : 0;
}

bool gateway_can_identify(struct gateway *gateway)
{
    return gateway->verifier != NULL &&
           (verifier_becomes_ready(gateway->verifier) || gateway->settings.open_identity);
}

bool gateway_is_ready(struct gateway *gateway)
{
    uint32_t answering = gateway_partitions_answering(gateway);

    if (gateway->open_ms == 0)
        return false;
    if (answering == gateway->deployment.partitions ||
        uv_now(gateway->loop) - gateway->open_ms > COMPLETE_MS)
        gateway->complete = true;
    return answering > 0 && gateway->complete && gateway_can_identify(gateway) &&
           !gateway->draining;
}

/* All partitions answer and little is held back: then it is for memory that credit is refused. */
bool gateway_can_free(const struct gateway *gateway)
{
    return uplink_partitions_answering(gateway->uplink) == gateway->deployment.partitions &&
           uplink_held_bytes(gateway->uplink) <= (uint64_t)gateway->settings.credit;
}

void gateway_refresh_metrics(const struct gateway *gateway)
{
    if (gateway->open_ms == 0)
        return;
    gateway_metrics[GATEWAY_CONNECTIONS].value = sessions_count(gateway->sessions);
    gateway_metrics[GATEWAY_TLS_CONNECTIONS].value = listener_tls_connections(gateway->listener);
    gateway_metrics[GATEWAY_HTTP_CONNECTIONS].value = listener_http_connections(gateway->listener);
    gateway_metrics[GATEWAY_PARTITIONS_ANSWERING].value =
        uplink_partitions_answering(gateway->uplink);
    gateway_metrics[GATEWAY_HELD_BYTES].value = uplink_held_bytes(gateway->uplink);
}
