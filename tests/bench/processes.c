#include "tests/bench/processes.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

int processes_parse(struct processes *processes, const char *text)
{
    while (*text) {
        struct process *process = &processes->process[processes->count];
        int length = 0;

        if (processes->count == PROCESSES_MAX ||
            sscanf(text, "%31[^:,]:%d%n", process->name, &process->pid, &length) != 2)
            return -EINVAL;
        processes->count++;
        text += length;
        if (*text == ',')
            text++;
    }
    return 0;
}

/* The kernel's own count in nanoseconds; utime and stime in /proc are this, cut into ticks. */
static uint64_t cpu_of(const struct process *process)
{
    struct timespec used;
    clockid_t clock;

    if (clock_getcpuclockid(process->pid, &clock) || clock_gettime(clock, &used))
        errx(1, "%s (%d) has ended", process->name, process->pid);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

void processes_cpu(const struct processes *processes, struct cpu_usage *usage)
{
    *usage = (struct cpu_usage){0};
    for (unsigned i = 0; i < processes->count; i++) {
        usage->ns[i] = cpu_of(&processes->process[i]);
        usage->total_ns += usage->ns[i];
    }
}

void cpu_usage_since(struct cpu_usage *after, const struct cpu_usage *before)
{
    for (unsigned i = 0; i < PROCESSES_MAX; i++)
        after->ns[i] -= before->ns[i];
    after->total_ns -= before->total_ns;
}

static void add_memory(const struct process *process, struct memory_usage *usage)
{
    char path[64], line[256];
    unsigned long long kib;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", process->pid);
    file = fopen(path, "r");
    if (!file)
        err(1, "%s of %s", path, process->name);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Rss: %llu", &kib) == 1)
            usage->rss += kib * 1024;
        else if (sscanf(line, "Pss: %llu", &kib) == 1)
            usage->pss += kib * 1024;
    }
    fclose(file);
}

void processes_memory(const struct processes *processes, struct memory_usage *usage)
{
    *usage = (struct memory_usage){0};
    for (unsigned i = 0; i < processes->count; i++)
        add_memory(&processes->process[i], usage);
}
