#include "gateway/session/connection.h"

#include "gateway/gateway.h"
#include "gateway/door/peer.h"

#include <poll.h>

/* Frames of one write are gathered here: a loop turn writes connections one after the other. */
#define GATHER_SIZE (256 << 10)
static char gather[GATHER_SIZE];

void connection_push(struct connection *connection, struct wire *wire)
{
    outbox_push(&connection->outbox, wire);
    connection->queued += wire->length;
    gateway_count(GATEWAY_FRAMES_SENT, 1);
}

uint64_t connection_push_urgent(struct connection *connection, struct wire *wire)
{
    uint64_t begin = connection->written + connection->outbox.urgent_bytes;

    outbox_push_urgent(&connection->outbox, wire);
    connection->queued += wire->length;
    gateway_count(GATEWAY_FRAMES_SENT, 1);
    return begin;
}

void connection_drop(struct connection *connection)
{
    outbox_finish(&connection->outbox);
}

bool connection_is_written(const struct connection *connection)
{
    return outbox_is_empty(&connection->outbox) && !websocket_is_writing(connection->websocket);
}

int connection_write(struct connection *connection)
{
    while (!outbox_is_empty(&connection->outbox) && !websocket_is_writing(connection->websocket)) {
        struct wire *held;
        struct slice run = outbox_take(&connection->outbox, gather, sizeof(gather), &held);
        int error = websocket_write(connection->websocket, run);

        wire_unref(&held);
        if (error < 0) {
            connection_drop(connection);
            return error;
        }
        connection->given = connection->written;
        connection->written += run.length;
        gateway_count(GATEWAY_BYTES_SENT, run.length);
    }
    return 0;
}

/* ---- what the peer's TCP has taken ---- */

static int descriptor_of(const struct connection *connection)
{
    return websocket_descriptor(connection->websocket);
}

bool connection_may_go_on(const struct connection *connection)
{
    struct pollfd descriptor = {.fd = descriptor_of(connection), .events = POLLOUT};

    return poll(&descriptor, 1, 0) == 1 && descriptor.revents == POLLOUT;
}

void connection_mark_end(struct connection *connection)
{
    if (connection->end_mark || connection->websocket == NULL)
        return;
    connection->end_mark = peer_end(descriptor_of(connection));
}

/* As long as a part of the last write is in this process, none of that write counts as given. */
static uint64_t bytes_given(struct connection *connection)
{
    if (!websocket_is_writing(connection->websocket))
        connection->given = connection->written;
    return connection->given;
}

/*
 * What is unacknowledged has bytes that are not ours too (the 101, pongs): that errs on the safe
 * side. Behind the end mark it would err for good, so there only what is before the mark counts.
 */
static uint64_t bytes_not_taken(const struct connection *connection)
{
    if (connection->end_mark == 0)
        return peer_unacknowledged(descriptor_of(connection));
    return peer_unacknowledged_before(descriptor_of(connection), connection->end_mark);
}

uint64_t connection_taken(struct connection *connection)
{
    uint64_t given, not_taken;

    if (connection->websocket == NULL)
        return connection->taken;
    given = bytes_given(connection);
    not_taken = bytes_not_taken(connection);
    if (given > not_taken && given - not_taken > connection->taken)
        connection->taken = given - not_taken;
    return connection->taken;
}

enum connection_progress connection_look(struct connection *connection, uint64_t now_ms,
                                         uint64_t stall_ms)
{
    uint64_t progress;

    if (connection_is_written(connection) && peer_unacknowledged(descriptor_of(connection)) == 0)
        return CONNECTION_SETTLED;
    progress = peer_progress(descriptor_of(connection));
    if (progress != connection->progress) {
        connection->progress = progress;
        connection->progress_ms = now_ms;
    }
    return now_ms - connection->progress_ms < stall_ms ? CONNECTION_MOVING : CONNECTION_STALLED;
}

uint64_t connection_silence_ms(const struct connection *connection)
{
    return peer_silence_ms(descriptor_of(connection));
}
