/*
 * Chance for random worlds: one seed decides all of a run, and whatever goes wrong in it names the
 * seed with which it comes again.
 */
#ifndef TESTS_UNIT_CHANCE_H
#define TESTS_UNIT_CHANCE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chance {
    uint64_t seed, state;
    size_t step; /* how far the run is */
    bool calm;   /* nothing rare happens any more */
};

/* Before a run: the same for the same seed. An abort in it names the seed, too. */
void chance_start(struct chance *, uint64_t seed);
void chance_end(void);
/* 64 random bits; arg is a struct chance. */
uint64_t chance_draw(void *arg);
uint64_t chance_below(struct chance *, uint64_t limit);
/* Of a hundred. */
bool chance_of(struct chance *, unsigned percent);
/* Of ten thousand, and never in calm times. */
bool chance_rarely(struct chance *, unsigned of_10000);
/* The test fails: what, the step and the seed. */
void chance_fail(const struct chance *, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
/* A number of the environment, for runs by hand. */
uint64_t chance_setting(const char *name, uint64_t usual);

#endif
