#include "gateway/protocol.h"

#include "gateway/protocols/callie.h"
#include "gateway/protocols/chat.h"
#include "gateway/protocols/messaging.h"
#include "gateway/protocols/realtime.h"
#include "gateway/protocols/simple.h"

#include <stddef.h>

#ifdef PROTOCOL_MORE /* one of a test's own: tests/sixth */
extern const struct protocol PROTOCOL_MORE;
#endif

const struct protocol *const protocols[] = {
    &protocol_messaging,
    &protocol_chat,
    &protocol_realtime,
    &protocol_simple,
    &protocol_callie,
#ifdef PROTOCOL_MORE
    &PROTOCOL_MORE,
#endif
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
