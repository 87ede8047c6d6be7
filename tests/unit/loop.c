#include "tests/unit/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define WAKE_MS 10

static void on_wake(uv_timer_t *timer)
{
    (void)timer;
}

void loop_open(struct test_loop *test_loop)
{
    uv_loop_init(&test_loop->loop);
    uv_timer_init(&test_loop->loop, &test_loop->wake);
    uv_timer_start(&test_loop->wake, on_wake, WAKE_MS, WAKE_MS);
}

void loop_close(struct test_loop *test_loop)
{
    uv_close((uv_handle_t *)&test_loop->wake, NULL);
    uv_run(&test_loop->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&test_loop->loop), 0);
}
