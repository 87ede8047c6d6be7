#include "tests/unit/redis.h"

#include "common/xalloc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 1000
/* Below those that the kernel gives to outgoing connections: while nobody listens on the port, even
 * the one who tries to connect to it might get it. */
#define PORT_MIN 15000
#define PORT_MAX 32000
#define ARGUMENTS_MAX 32

struct redis {
    pid_t pid; /* 0: not running */
    int port;
    char directory[64];
};

int listen_somewhere(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static bool can_bind(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool bound;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bound = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return bound;
}

int free_port(void)
{
    uint16_t number;
    int port;

    do {
        assert_int_equal(getrandom(&number, sizeof(number), 0), sizeof(number));
        port = PORT_MIN + number % (PORT_MAX - PORT_MIN);
    } while (!can_bind(port));
    return port;
}

static void run_server(const struct redis *redis, pid_t parent, const char *const *arguments)
{
    const char *argv[ARGUMENTS_MAX] = {"redis-server", "--bind", "127.0.0.1", "--save", ""};
    size_t argc = 5;
    char port[16];
    int log;

    snprintf(port, sizeof(port), "%d", redis->port);
    argv[argc++] = "--port";
    argv[argc++] = port;
    while (arguments && *arguments && argc < ARGUMENTS_MAX - 1)
        argv[argc++] = *arguments++;
    /* A test that dies of an assertion takes it along. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent || chdir(redis->directory) < 0)
        _exit(127);
    log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static bool answers(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char byte;
    bool answered;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    answered = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
               write(fd, "PING\r\n", 6) == 6 && read(fd, &byte, 1) == 1;
    close(fd);
    return answered;
}

void redis_again(struct redis *redis, const char *const *arguments)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    pid_t parent = getpid();

    redis->pid = fork();
    assert_true(redis->pid >= 0);
    if (redis->pid == 0)
        run_server(redis, parent, arguments);
    for (int i = 0; i < START_TRIES && !answers(redis->port); i++) {
        assert_int_equal(waitpid(redis->pid, NULL, WNOHANG), 0);
        nanosleep(&pause, NULL);
    }
    assert_true(answers(redis->port));
}

struct redis *redis_start(const char *const *arguments)
{
    struct redis *redis = xcalloc(1, sizeof(*redis));

    strcpy(redis->directory, "/tmp/trunkline-unit-XXXXXX");
    assert_non_null(mkdtemp(redis->directory));
    redis->port = free_port();
    redis_again(redis, arguments);
    return redis;
}

void redis_kill(struct redis *redis)
{
    if (redis->pid == 0)
        return;
    kill(redis->pid, SIGKILL);
    assert_int_equal(waitpid(redis->pid, NULL, 0), redis->pid);
    redis->pid = 0;
}

int redis_port(const struct redis *redis)
{
    return redis->port;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

void redis_destroy(struct redis **redis)
{
    if (*redis == NULL)
        return;
    redis_kill(*redis);
    nftw((*redis)->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(*redis);
    *redis = NULL;
}
