#include "gateway/protocol.h"

#include "gateway/protocols/realtime.h"

#include <stddef.h>

const struct protocol *const protocols[] = {
    &protocol_realtime,
    NULL,
};

const struct protocol *protocol_by_id(uint64_t id)
{
    for (size_t i = 0; protocols[i]; i++)
        if (protocols[i]->id == id)
            return protocols[i];
    return NULL;
}

const struct protocol *protocol_find(struct slice path)
{
    for (size_t i = 0; protocols[i]; i++)
        if (slice_is(path, protocols[i]->endpoint))
            return protocols[i];
    return NULL;
}
