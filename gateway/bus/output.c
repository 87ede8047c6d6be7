#include "gateway/bus/output.h"

/* Up to the frame that says the announcement is in force: what comes after it is ours. */
static struct output_judgement await(struct frame_reader *reader, uint64_t nonce, uint64_t accepted)
{
    struct frame frame;

    while (frame_reader_next(reader, &frame) > 0)
        if (frame.type == FRAME_GATEWAY_ANNOUNCED && nonce != 0 &&
            frame.gateway_announced.nonce == nonce)
            return (struct output_judgement){
                .verdict = OUTPUT_TAKE, .announced = true, .accepted = accepted};
    return (struct output_judgement){.verdict = OUTPUT_SKIP};
}

struct output_judgement output_judge(struct frame_reader *reader, struct slice frames,
                                     struct output_wait wait, struct number entry,
                                     struct number *cursor)
{
    struct number before = *cursor;
    struct frame_output_head head;
    struct frame frame;

    *cursor = entry;
    frame_reader_start(reader, frames);
    if (frame_reader_next(reader, &frame) <= 0 || frame.type != FRAME_OUTPUT_HEAD)
        return (struct output_judgement){.verdict = wait.announcing ? OUTPUT_SKIP : OUTPUT_BAD};
    head = frame.output_head;
    if (wait.announcing)
        return await(reader, wait.nonce, head.accepted);
    if (number_compare(head.previous, before) == 0)
        return (struct output_judgement){.verdict = OUTPUT_TAKE, .accepted = head.accepted};
    if (frame_reader_next(reader, &frame) > 0 && frame.type == FRAME_WHO_ARE_YOU)
        head.accepted = frame.who_are_you.last;
    return (struct output_judgement){.verdict = OUTPUT_BROKEN, .last = head.accepted};
}
