/*
 * The server's processes, seen from outside: processor time and memory.
 */
#ifndef BENCH_PROCESSES_H
#define BENCH_PROCESSES_H

#include <stdint.h>
#include <sys/types.h>

#define PROCESSES_MAX 32

struct processes {
    unsigned count;
    struct process {
        char name[32];
        pid_t pid;
    } process[PROCESSES_MAX];
};

struct cpu_usage {
    uint64_t total_ns;
    uint64_t ns[PROCESSES_MAX]; /* user and system time of each */
};

struct memory_usage {
    uint64_t rss, pss; /* bytes, of all together */
};

/* Reads "gateway:123,router:124". Returns 0 or -EINVAL. */
int processes_parse(struct processes *, const char *text);
/* Both end the program when one of the processes is gone. */
void processes_cpu(const struct processes *, struct cpu_usage *);
void processes_memory(const struct processes *, struct memory_usage *);
/* after - before */
void cpu_usage_since(struct cpu_usage *after, const struct cpu_usage *before);

#endif
