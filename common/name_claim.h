/*
 * A process's claim on its name: no two live processes of a deployment are called the same. Kept in
 * `<prefix>name:<name>`, which expires; one whose holder is dead on this host is taken over at
 * once, any other when it has expired.
 */
#ifndef COMMON_NAME_CLAIM_H
#define COMMON_NAME_CLAIM_H

#include "common/bus.h"
#include "common/keys.h"

#include <uv.h>

struct name_claim;

/* Before the bus is first up. */
void name_claim_add_script(struct bus *);

/* holder is NULL when the name is ours, else who has it; called once, from the loop. */
typedef void name_claim_done_fn(void *arg, const char *holder);

/* Claims, waiting up to 7 s for an old claim to expire, then keeps the claim while the bus is up.
 */
struct name_claim *name_claim_create(uv_loop_t *, struct bus *, const struct deployment *,
                                     const char *kind, const char *name, name_claim_done_fn *done,
                                     void *arg);
/* NULL-safe; clears the pointer. The claim expires by itself. */
void name_claim_destroy(struct name_claim **);

#endif
