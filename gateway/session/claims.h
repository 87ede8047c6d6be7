/*
 * Names asked for before the 101: protocols of which each user has one connection ask the user's
 * partition first (NAME_CLAIM), so that a name in use is answered 403 and not closed.
 */
#ifndef GATEWAY_CLAIMS_H
#define GATEWAY_CLAIMS_H

#include "gateway/gateway.h"

struct protocol;

enum claim_result { CLAIM_GRANTED, CLAIM_REFUSED, CLAIM_UNANSWERED /* for 5 s, or lost */ };

struct claims *claims_create(struct gateway *);
void claims_destroy(struct claims **);
/* done comes once, later; never after claims_forget. Returns the claim's number. */
uint64_t claims_ask(struct claims *, const struct protocol *, struct slice user,
                    void (*done)(void *arg, enum claim_result), void *arg);
void claims_forget(struct claims *, uint64_t number);
/* Handler of the downlink. */
void claims_on_answer(struct claims *, uint64_t number, bool granted);
/* The answer was lost. */
void claims_on_unanswered(struct claims *, uint64_t number);

#endif
