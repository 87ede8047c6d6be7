/*
 * Requests that a router has applied and whose answers were lost with its output (delivery.md S5):
 * who asked is told at once that he gets none, in the words of his protocol, and may ask again.
 */
#ifndef GATEWAY_UNANSWERED_H
#define GATEWAY_UNANSWERED_H

#include "common/slice.h"
#include "gateway/gateway.h"

/*
 * Tells those who asked with these frames of an entry. output: of the router's entry in which an
 * announcement has come into force, behind which there may be answers after all; or empty.
 */
void unanswered_tell(struct gateway *, struct slice frames, struct slice output);

#endif
