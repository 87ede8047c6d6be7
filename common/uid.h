/*
 * Identifiers: random bits of a process start, connection ids, message ids.
 */
#ifndef COMMON_UID_H
#define COMMON_UID_H

#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT_SIZE 37
#define ULID_TEXT_SIZE 27

/* Fills from the system's generator; dies if it fails. */
void uid_random(void *bytes, unsigned length);
/* A process's own 64 bits; never 0. */
uint64_t uid_random64(void);
/* The id clients see of a connection: a UUID (version 8, RFC 9562) derived from (gateway's random
   bits, counter), so that every process writes the same. */
void uid_connection(uint64_t gateway_bits, uint64_t connection, char text[UUID_TEXT_SIZE]);
/* The counter of such a UUID. False when it is none of this gateway. */
bool uid_connection_find(uint64_t gateway_bits, struct slice uuid, uint64_t *connection);
/* A ULID: 48 bits of milliseconds, 80 random bits. */
void uid_ulid(uint64_t now_ms, char text[ULID_TEXT_SIZE]);
/* One whose 80 bits are derived from (hash of what counts, number within it): every process writes
   the same. */
void uid_ulid_of(uint64_t at_ms, uint64_t hash, uint64_t number, char text[ULID_TEXT_SIZE]);

#endif
