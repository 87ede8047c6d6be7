#include "router/forward.h"

#include "common/xalloc.h"
#include "router/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Room of a buffer that stays when its frames are written. */
#define BUFFER_KEPT (1 << 16)
/* An entry that is longer ends, and another one begins: whoever applies it bounds his commits
 * between entries. */
#define ENTRY_BYTES (256 * 1024)

/* Both directions between this partition and another. */
struct forward {
    struct buffer frames;    /* of the commit that is being made */
    struct frame_said *said; /* in its last entry; NULL: there is none */
    size_t *ends;            /* of its entries but the last one */
    size_t end_count;
    struct number taken; /* the last entry applied of theirs */
    bool taken_changed;
};

struct forwards {
    bool changed; /* something is to be written */
    /* The last entry to the own partition. Nothing is known of what owners before this one wrote:
     * only when an entry of its own has come back, nothing of theirs is on its way. */
    struct number own_written;
    struct buffer own; /* what is being applied */
    struct forward of[];
};

struct forwards *forwards_create(uint32_t partitions)
{
    struct forwards *forwards = xcalloc(1, sizeof(*forwards) + partitions * sizeof(struct forward));

    forwards->own_written.epoch = UINT64_MAX;
    return forwards;
}

void forwards_destroy(struct forwards **forwards, uint32_t partitions)
{
    if (*forwards == NULL)
        return;
    for (uint32_t i = 0; i < partitions; i++) {
        buffer_finish(&(*forwards)->of[i].frames);
        frame_said_destroy(&(*forwards)->of[i].said);
        free((*forwards)->of[i].ends);
    }
    buffer_finish(&(*forwards)->own);
    free(*forwards);
    *forwards = NULL;
}

/* ---- out ---- */

void forward_say(struct engine *engine, uint32_t partition, const struct frame *frame)
{
    struct forward *forward = &engine->forwards->of[partition];
    size_t begin = forward->end_count ? forward->ends[forward->end_count - 1] : 0;

    if (forward->said == NULL)
        forward->said = frame_said_create();
    if (forward->frames.length - begin >= ENTRY_BYTES) {
        forward->ends = xrealloc(forward->ends, (forward->end_count + 1) * sizeof(*forward->ends));
        forward->ends[forward->end_count++] = forward->frames.length;
        frame_said_forget(forward->said);
    }
    frame_encode_next(&forward->frames, forward->said, frame);
    engine->forwards->changed = true;
}

static struct slice source_name(uint32_t partition, char text[16])
{
    return slice_print(text, 16, "p%" PRIu32, partition);
}

static void write_entry(struct engine *engine, uint32_t partition, size_t index,
                        struct slice frames)
{
    struct effects *effects = engine->effects;
    char name[16];

    effects_open(effects, EFFECT_XADD, effects_key_of(effects, partition, "in", (struct slice){0}),
                 7);
    effects_text(effects, slice_text("*"));
    effects_text_pair(effects, "g", source_name(engine->partition, name));
    effects_text(effects, slice_text("n"));
    effects_number(effects, number_make(engine->epoch, engine->commit, index));
    effects_text_pair(effects, "f", frames);
    if (partition == engine->partition)
        engine->forwards->own_written = number_make(engine->epoch, engine->commit, index);
}

static void write_entries(struct engine *engine, uint32_t partition, struct forward *forward)
{
    size_t begin = 0;

    for (size_t i = 0; i <= forward->end_count; i++) {
        size_t end = i < forward->end_count ? forward->ends[i] : forward->frames.length;

        write_entry(engine, partition, i, slice_of(forward->frames.data + begin, end - begin));
        begin = end;
    }
    forward->end_count = 0;
    buffer_reset(&forward->frames, BUFFER_KEPT);
    frame_said_destroy(&forward->said);
}

static void write_taken(struct engine *engine)
{
    struct forward *of = engine->forwards->of;
    uint32_t partitions = engine->deployment->partitions;
    size_t changed = 0;
    char name[16];

    for (uint32_t i = 0; i < partitions; i++)
        changed += of[i].taken_changed;
    if (changed == 0)
        return;
    effects_open(engine->effects, EFFECT_HSET, engine_key(engine, &engine->key_sources, "sources"),
                 2 * changed);
    for (uint32_t i = 0; i < partitions; i++) {
        if (!of[i].taken_changed)
            continue;
        of[i].taken_changed = false;
        effects_text(engine->effects, source_name(i, name));
        effects_number(engine->effects, of[i].taken);
    }
}

void forward_finish(struct engine *engine)
{
    if (!engine->forwards->changed)
        return;
    engine->forwards->changed = false;
    write_taken(engine);
    for (uint32_t i = 0; i < engine->deployment->partitions; i++)
        if (engine->forwards->of[i].frames.length > 0)
            write_entries(engine, i, &engine->forwards->of[i]);
}

/* ---- in ---- */

bool forward_source(const struct engine *engine, struct slice name, uint32_t *partition)
{
    uint64_t value = 0;

    if (name.length < 2 || name.length > 11 || name.data[0] != 'p')
        return false;
    for (size_t i = 1; i < name.length; i++) {
        if (name.data[i] < '0' || name.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(name.data[i] - '0');
    }
    *partition = (uint32_t)value;
    return value < engine->deployment->partitions;
}

void forward_load_taken(struct engine *engine, uint32_t from, struct slice number)
{
    if (number_parse(number, &engine->forwards->of[from].taken) < 0)
        engine->forwards->of[from].taken = (struct number){0};
}

static void on_message_discarded(struct engine *engine, uint32_t from, const struct frame *frame)
{
    (void)from;
    discard_on_told(engine, &frame->message_discarded);
}

static void on_post_forwarded(struct engine *engine, uint32_t from, const struct frame *frame)
{
    (void)from;
    conversation_on_forwarded(engine, &frame->post_forwarded);
}

static void on_conversation_event(struct engine *engine, uint32_t from, const struct frame *frame)
{
    struct frame_conversation_event event = frame->conversation_event;

    (void)from;
    event.from = event_from_read(event.chat, event.from);
    events_on_happened(engine, &event);
}

static void on_signal_forwarded(struct engine *engine, uint32_t from, const struct frame *frame)
{
    (void)from;
    signals_on_forwarded(engine, &frame->signal_forwarded);
}

/* One row for each frame from ROUTER to ROUTER that travels. */
static const struct {
    enum frame_type type;
    void (*handle)(struct engine *, uint32_t from, const struct frame *);
} handlers[] = {
    {FRAME_MESSAGE_DISCARDED, on_message_discarded},
    {FRAME_POST_FORWARDED, on_post_forwarded},
    {FRAME_CONVERSATION_EVENT, on_conversation_event},
    {FRAME_SIGNAL_FORWARDED, on_signal_forwarded},
};
#define HANDLERS (sizeof(handlers) / sizeof(handlers[0]))

bool forward_handles(enum frame_type type)
{
    for (size_t i = 0; i < HANDLERS; i++)
        if (handlers[i].type == type)
            return true;
    return false;
}

static int dispatch(struct engine *engine, uint32_t from, const struct frame *frame)
{
    for (size_t i = 0; i < HANDLERS; i++) {
        if (handlers[i].type != frame->type)
            continue;
        engine->counters.frames++;
        handlers[i].handle(engine, from, frame);
        return 0;
    }
    return -EBADMSG;
}

int forward_apply(struct engine *engine, uint32_t from, struct number number, struct slice frames)
{
    struct forward *forward = &engine->forwards->of[from];
    struct frame frame;
    int more;

    /* A gap is none: a commit that had nothing to say to us left its number out. */
    if (number_compare(number, forward->taken) <= 0) {
        engine->counters.repeats++;
        return 0;
    }
    forward->taken = number;
    forward->taken_changed = engine->forwards->changed = true;
    engine->counters.forwarded++;
    frame_reader_start(engine->reader, frames);
    while ((more = frame_reader_next(engine->reader, &frame)) == 1)
        if (dispatch(engine, from, &frame) < 0)
            return -EBADMSG;
    return more;
}

/* ---- to oneself ---- */

static bool may_apply_own(struct engine *engine)
{
    const struct forwards *forwards = engine->forwards;
    const struct forward *own = &forwards->of[engine->partition];

    /* So much that it is several entries is work for several commits. */
    return own->frames.length > 0 && own->end_count == 0 &&
           number_compare(own->taken, forwards->own_written) >= 0 &&
           engine_missing(engine, buffer_slice(&own->frames), NULL, NULL) == 0;
}

/* What they say to the own partition is the next run of them. */
void forward_apply_own(struct engine *engine)
{
    struct forwards *forwards = engine->forwards;
    struct forward *own = &forwards->of[engine->partition];
    struct frame frame;

    while (may_apply_own(engine)) {
        struct buffer frames = own->frames;

        own->frames = forwards->own;
        forwards->own = frames;
        frame_reader_start(engine->reader, buffer_slice(&forwards->own));
        while (frame_reader_next(engine->reader, &frame) == 1)
            (void)dispatch(engine, engine->partition, &frame);
        buffer_reset(&forwards->own, BUFFER_KEPT);
    }
}
