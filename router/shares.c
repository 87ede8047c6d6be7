/*
 * How many connections each gateway has of something that is counted: a topic, a set of patterns, a
 * member of a room. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <stdlib.h>

void shares_add(struct shares *shares, struct gateway *gateway, uint64_t connections)
{
    for (size_t i = 0; i < shares->count; i++) {
        if (shares->items[i].gateway == gateway) {
            shares->items[i].connections += connections;
            return;
        }
    }
    shares->items = xrealloc(shares->items, (shares->count + 1) * sizeof(*shares->items));
    shares->items[shares->count++] = (struct share){.gateway = gateway, .connections = connections};
}

void shares_remove(struct shares *shares, const struct gateway *gateway)
{
    for (size_t i = 0; i < shares->count; i++) {
        if (shares->items[i].gateway == gateway) {
            shares->items[i] = shares->items[--shares->count];
            return;
        }
    }
}

void shares_set(struct shares *shares, struct gateway *gateway, uint64_t connections)
{
    shares_remove(shares, gateway);
    if (connections)
        shares_add(shares, gateway, connections);
}

void shares_clear(struct shares *shares)
{
    free(shares->items);
    *shares = (struct shares){0};
}

uint64_t shares_of(const struct shares *shares, const struct gateway *gateway)
{
    for (size_t i = 0; i < shares->count; i++)
        if (shares->items[i].gateway == gateway)
            return shares->items[i].connections;
    return 0;
}
