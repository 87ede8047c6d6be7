/*
 * A libuv loop for a test, which is run until something holds.
 */
#ifndef TESTS_UNIT_LOOP_H
#define TESTS_UNIT_LOOP_H

#include <uv.h>

struct test_loop {
    uv_loop_t loop;
    uv_timer_t wake; /* so that a condition is looked at now and then, whatever happens */
};

void loop_open(struct test_loop *);
/* Runs until everything that was closed is gone; hangs when an active handle was forgotten. */
void loop_close(struct test_loop *);

/* Fails after 20 seconds. */
#define loop_until(test_loop, condition)                                                           \
    do {                                                                                           \
        uint64_t loop_end = uv_hrtime() + 20000000000;                                             \
        while (!(condition)) {                                                                     \
            assert_true(uv_hrtime() < loop_end);                                                   \
            uv_run(&(test_loop)->loop, UV_RUN_ONCE);                                               \
        }                                                                                          \
    } while (0)

#endif
