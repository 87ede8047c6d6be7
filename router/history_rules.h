/*
 * Which topics keep their last messages, and how many: TRUNKLINE_HISTORY, patterns and sizes. Read
 * once at the start; the first pattern that matches counts.
 */
#ifndef ROUTER_HISTORY_RULES_H
#define ROUTER_HISTORY_RULES_H

#include "common/slice.h"

#include <stdint.h>

struct history_rules;

/* "history.**:1000,scores.*:50"; empty: none. NULL when it is malformed. */
struct history_rules *history_rules_create(const char *text);
void history_rules_destroy(struct history_rules **); /* NULL-safe; clears the pointer */
/* How many messages of the topic are kept; 0: none. rules may be NULL. */
uint64_t history_rules_size(const struct history_rules *, struct slice topic);

#endif
