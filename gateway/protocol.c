#include "gateway/protocol.h"

#include "gateway/protocols/realtime.h"

#include <stddef.h>

const struct protocol *const protocols[] = {
    &protocol_realtime,
    NULL,
};

const struct protocol *protocol_find(struct slice path)
{
    for (size_t i = 0; protocols[i]; i++)
        if (slice_is(path, protocols[i]->endpoint))
            return protocols[i];
    return NULL;
}
