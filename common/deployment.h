/*
 * What every process of a deployment agrees on: P, the key of the partition hash, the version of
 * the frames. Kept in the global hash `<prefix>deployment`, written once (HSETNX) and again by
 * running processes when Redis comes back empty.
 */
#ifndef COMMON_DEPLOYMENT_H
#define COMMON_DEPLOYMENT_H

#include "common/bus.h"
#include "common/keys.h"
#include "common/settings.h"

/* error is NULL when all agree (deployment is filled), else one line for the operator, valid during
   the call: this process must not run. */
typedef void deployment_done_fn(void *arg, const char *error);

/*
 * Call from each on_up: writes what is missing (this process's own values once it has them, else P
 * of the settings and a fresh key), reads all, and compares. done comes later, from the loop, or
 * never when the bus goes down first (call again at the next on_up). A deployment whose partitions
 * are 0 has no values yet; settings are read during the call only.
 */
void deployment_agree(struct deployment *, struct bus *, const struct settings *,
                      deployment_done_fn *done, void *arg);

#endif
