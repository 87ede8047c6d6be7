#include "gateway/session/outbox.h"

#include "common/xalloc.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 4

static struct wire **slot(struct outbox *outbox, uint32_t index)
{
    return &outbox->ring[(outbox->first + index) & (outbox->capacity - 1)];
}

static void grow(struct outbox *outbox)
{
    uint32_t capacity = outbox->capacity ? outbox->capacity * 2 : CAPACITY_MIN;
    struct wire **ring = xmalloc(capacity * sizeof(*ring));

    for (uint32_t i = 0; i < outbox->count; i++)
        ring[i] = *slot(outbox, i);
    free(outbox->ring);
    outbox->ring = ring;
    outbox->capacity = capacity;
    outbox->first = 0;
}

void outbox_push(struct outbox *outbox, struct wire *wire)
{
    if (outbox->count == outbox->capacity)
        grow(outbox);
    *slot(outbox, outbox->count) = wire_ref(wire);
    outbox->count++;
    outbox->bytes += wire->length;
}

void outbox_push_urgent(struct outbox *outbox, struct wire *wire)
{
    outbox_push(outbox, wire);
    for (uint32_t i = outbox->count - 1; i > outbox->urgent; i--)
        *slot(outbox, i) = *slot(outbox, i - 1);
    *slot(outbox, outbox->urgent++) = wire;
    outbox->urgent_bytes += wire->length;
}

static struct wire *pop(struct outbox *outbox)
{
    struct wire *wire = *slot(outbox, 0);

    outbox->first = (outbox->first + 1) & (outbox->capacity - 1);
    outbox->count--;
    outbox->bytes -= wire->length;
    if (outbox->urgent) {
        outbox->urgent--;
        outbox->urgent_bytes -= wire->length;
    }
    return wire;
}

struct slice outbox_take(struct outbox *outbox, char *into, size_t room, struct wire **held)
{
    size_t length = 0;

    *held = NULL;
    if (outbox->count == 0)
        return slice_of(into, 0);
    if (outbox->count == 1 || (*slot(outbox, 0))->length > room) {
        *held = pop(outbox);
        return slice_of((*held)->bytes, (*held)->length);
    }
    while (outbox->count > 0 && (*slot(outbox, 0))->length <= room - length) {
        struct wire *wire = pop(outbox);

        memcpy(into + length, wire->bytes, wire->length);
        length += wire->length;
        wire_unref(&wire);
    }
    return slice_of(into, length);
}

void outbox_trim(struct outbox *outbox)
{
    if (outbox->count > 0)
        return;
    free(outbox->ring);
    outbox->ring = NULL;
    outbox->capacity = 0;
}

void outbox_finish(struct outbox *outbox)
{
    while (outbox->count > 0) {
        struct wire *wire = pop(outbox);

        wire_unref(&wire);
    }
    outbox_trim(outbox);
}
