/*
 * Patterns of topics by their segments: finds those that match a topic without looking at the
 * others. Pure memory; keeps the value that belongs to each pattern and does not own it.
 */
#ifndef COMMON_PATTERN_TRIE_H
#define COMMON_PATTERN_TRIE_H

#include "common/slice.h"

struct pattern_trie;
struct pattern_trie *pattern_trie_create(void);
void pattern_trie_destroy(struct pattern_trie **); /* NULL-safe; clears the pointer */
/* pattern is valid (common/topic.h) and not there yet; value is not NULL. */
void pattern_trie_add(struct pattern_trie *, struct slice pattern, void *value);
/* Removing what is not there changes nothing. */
void pattern_trie_remove(struct pattern_trie *, struct slice pattern);
/* Calls visit with the value of each pattern that matches, each once. visit must not change the
 * trie. */
void pattern_trie_match(const struct pattern_trie *, struct slice topic,
                        void (*visit)(void *value, void *arg), void *arg);

#endif
