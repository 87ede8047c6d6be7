/*
 * Timestamps of callie: ISO 8601 in UTC with milliseconds. Pure.
 */
#ifndef GATEWAY_PROTOCOLS_CALLIE_TIMESTAMP_H
#define GATEWAY_PROTOCOLS_CALLIE_TIMESTAMP_H

#include "common/buffer.h"

#include <stdint.h>

/*
 * Reads YYYY-MM-DDTHH:mm:ss.sssZ, or the source's own YYYY-MM-DDTHH:mm.ss.sssZ: a day that the
 * calendar has, a time that a day has (no leap seconds). Returns 0, or -EINVAL with *unix_ms
 * untouched.
 */
int callie_timestamp_read(struct slice text, int64_t *unix_ms) __attribute__((warn_unused_result));
/* Appends YYYY-MM-DDTHH:mm:ss.sssZ, without quotes; what is behind the year 9999 as its end. */
void callie_timestamp_append(struct buffer *, uint64_t unix_ms);

#endif
