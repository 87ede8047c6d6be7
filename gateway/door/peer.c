#include "gateway/door/peer.h"

#include "common/xalloc.h"
#include "gateway/door/tcp.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

/*
 * By descriptor. A descriptor is closed by whoever has it, and its number comes again: the inode
 * says whether it is still the socket that the relay was set for.
 */
struct slot {
    const struct peer_relay *functions; /* NULL: a TCP socket, as far as known */
    void *relay;                        /* NULL: it is gone */
    ino_t inode;
};
static struct slot *slots;
static size_t slot_count;

/* 0 when it cannot be told. */
static ino_t inode_of(int descriptor)
{
    struct stat status;

    return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

static struct slot *find(int descriptor)
{
    struct slot *slot;

    if (descriptor < 0 || (size_t)descriptor >= slot_count || !slots[descriptor].functions)
        return NULL;
    slot = &slots[descriptor];
    if (inode_of(descriptor) == slot->inode)
        return slot;
    *slot = (struct slot){0};
    return NULL;
}

void peer_set_relay(int descriptor, const struct peer_relay *functions, void *relay)
{
    size_t count = slot_count;

    while (count <= (size_t)descriptor)
        count = count ? count * 2 : 64;
    if (count > slot_count) {
        slots = xrealloc(slots, count * sizeof(*slots));
        memset(slots + slot_count, 0, (count - slot_count) * sizeof(*slots));
        slot_count = count;
    }
    slots[descriptor] =
        (struct slot){.functions = functions, .relay = relay, .inode = inode_of(descriptor)};
}

bool peer_has_relay(int descriptor, const void *relay)
{
    const struct slot *slot = find(descriptor);

    return slot != NULL && slot->relay == relay;
}

void peer_forget_relay(int descriptor, void *relay)
{
    if (descriptor >= 0 && (size_t)descriptor < slot_count && slots[descriptor].relay == relay)
        slots[descriptor].relay = NULL;
}

uint64_t peer_unacknowledged(int descriptor)
{
    const struct slot *slot = find(descriptor);

    if (slot == NULL)
        return tcp_unacknowledged(descriptor);
    return slot->relay ? slot->functions->unacknowledged(slot->relay) : UINT64_MAX;
}

uint64_t peer_end(int descriptor)
{
    const struct slot *slot = find(descriptor);
    struct tcp_state state;

    if (slot != NULL)
        return slot->relay ? slot->functions->written(slot->relay) : UINT64_MAX;
    state = tcp_look(descriptor);
    return state.acknowledged + tcp_unacknowledged(descriptor) - state.ended;
}

static uint64_t relay_unacknowledged_before(const struct slot *slot, uint64_t end)
{
    uint64_t all, after;

    if (slot->relay == NULL)
        return UINT64_MAX;
    all = slot->functions->unacknowledged(slot->relay);
    after = slot->functions->written(slot->relay) - end;
    return all > after ? all - after : 0;
}

uint64_t peer_unacknowledged_before(int descriptor, uint64_t end)
{
    const struct slot *slot = find(descriptor);
    uint64_t acknowledged;

    if (slot != NULL)
        return relay_unacknowledged_before(slot, end);
    acknowledged = tcp_look(descriptor).acknowledged;
    return acknowledged < end ? end - acknowledged : 0;
}

uint64_t peer_progress(int descriptor)
{
    const struct slot *slot = find(descriptor);

    if (slot == NULL)
        return tcp_look(descriptor).acknowledged;
    return slot->relay ? slot->functions->progress(slot->relay) : 0;
}

uint64_t peer_silence_ms(int descriptor)
{
    const struct slot *slot = find(descriptor);

    if (slot == NULL)
        return tcp_look(descriptor).silence_ms;
    return slot->relay ? slot->functions->silence_ms(slot->relay) : 0;
}

void peer_cut(int descriptor)
{
    const struct slot *slot = find(descriptor);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (slot == NULL)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    else if (slot->relay != NULL)
        slot->functions->cut(slot->relay);
}
