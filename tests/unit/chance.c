#include "tests/unit/chance.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The run that an abort is told of. */
static const struct chance *running;

static void on_abort(int signal_number)
{
    char text[80];
    int length =
        snprintf(text, sizeof(text), "aborted: ENGINE_SEED=%llu ENGINE_RUNS=1 step %zu\n",
                 running ? (unsigned long long)running->seed : 0, running ? running->step : 0);

    if (write(2, text, (size_t)length) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
}

void chance_start(struct chance *chance, uint64_t seed)
{
    *chance = (struct chance){.seed = seed, .state = seed * 0x9e3779b97f4a7c15 + 1};
    for (int i = 0; i < 8; i++)
        chance_draw(chance);
    running = chance;
    signal(SIGABRT, on_abort);
}

void chance_end(void)
{
    running = NULL;
    signal(SIGABRT, SIG_DFL);
}

uint64_t chance_draw(void *arg)
{
    struct chance *chance = arg;

    chance->state ^= chance->state << 13;
    chance->state ^= chance->state >> 7;
    chance->state ^= chance->state << 17;
    return chance->state;
}

uint64_t chance_below(struct chance *chance, uint64_t limit)
{
    return (chance_draw(chance) >> 11) % limit;
}

bool chance_of(struct chance *chance, unsigned percent)
{
    return chance_below(chance, 100) < percent;
}

bool chance_rarely(struct chance *chance, unsigned of_10000)
{
    return !chance->calm && chance_below(chance, 10000) < of_10000;
}

void chance_fail(const struct chance *chance, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fail_msg("%s (step %zu; ENGINE_SEED=%llu ENGINE_RUNS=1)", text, chance->step,
             (unsigned long long)chance->seed);
    abort();
}

uint64_t chance_setting(const char *name, uint64_t usual)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : usual;
}
