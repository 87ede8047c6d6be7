/*
 * Reads the input streams of all served partitions with one blocking XREAD on its own connection.
 */
#ifndef ROUTER_READER_H
#define ROUTER_READER_H

#include "router/router.h"

struct reader *reader_create(struct router *);
void reader_destroy(struct reader **);
/* What is to be read has changed (a partition serves, or has room again): a read that sleeps is
 * woken. */
void reader_wake(struct reader *);

#endif
