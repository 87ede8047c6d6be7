#include "gateway/identity/password_check.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/sealed.h"
#include "common/table.h"
#include "common/uid.h"
#include "common/user.h"
#include "common/xalloc.h"
#include "gateway/gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ANSWER_MS 5000
#define LOOK_MS 250
#define OPEN_MAX 1000

struct check {
    struct password_checks *checks;
    uint64_t number;
    uint64_t deadline_ms;
    enum password_result otherwise; /* what it is when there is no answer */
    struct buffer text;             /* to be sealed, until it is */
    void (*done)(void *arg, enum password_result);
    void *arg;
    UT_hash_handle hh;
};

/* A look for auth's key that is under way: its check may be forgotten meanwhile. */
struct key_look {
    struct password_checks *checks;
    uint64_t number;
};

struct password_checks {
    struct gateway *gateway;
    struct check *open; /* hash by number */
    uint64_t last;
    struct buffer pem; /* of key */
    struct sealing_key *key;
    unsigned replies_awaited;
    bool closed;
    uv_timer_t timer; /* runs while one is open */
};

/* ---- ends ---- */

static void release(struct password_checks *checks)
{
    if (!checks->closed || checks->replies_awaited > 0)
        return;
    buffer_finish(&checks->pem);
    sealing_key_destroy(&checks->key);
    free(checks);
}

static void forget_text(struct check *check)
{
    if (check->text.data != NULL)
        explicit_bzero(check->text.data, check->text.capacity);
    buffer_finish(&check->text);
}

static void forget(struct password_checks *checks, struct check *check)
{
    HASH_DEL(checks->open, check);
    forget_text(check);
    free(check);
}

static void end(struct password_checks *checks, struct check *check, enum password_result result)
{
    void (*done)(void *, enum password_result) = check->done;
    void *arg = check->arg;

    forget(checks, check);
    done(arg, result);
}

static struct check *find(struct password_checks *checks, uint64_t number)
{
    struct check *check;

    HASH_FIND(hh, checks->open, &number, sizeof(number), check);
    return check;
}

static struct check *find_due(struct password_checks *checks, uint64_t now_ms)
{
    struct check *check = checks->open;

    while (check && check->deadline_ms > now_ms)
        check = check->hh.next;
    return check;
}

static void on_timer(uv_timer_t *timer)
{
    struct password_checks *checks = timer->data;
    struct check *check;

    while ((check = find_due(checks, uv_now(timer->loop))))
        end(checks, check, check->otherwise);
    if (checks->open == NULL)
        uv_timer_stop(timer);
}

/* Without an answer; the loop says so in its next turn. */
static void give_up(struct check *check, enum password_result result)
{
    check->otherwise = result;
    check->deadline_ms = 0;
    uv_timer_start(&check->checks->timer, on_timer, 0, LOOK_MS);
}

/* ---- asking ---- */

static int send_sealed(struct check *check, struct slice sealed)
{
    struct gateway *gateway = check->checks->gateway;
    struct buffer key = {0};
    char number[24];
    int result, length = snprintf(number, sizeof(number), "%" PRIu64, check->number);

    key_global(&key, &gateway->deployment, "auth:asks", slice_of(NULL, 0));
    const struct slice argv[] = {
        slice_text("XADD"),
        buffer_slice(&key),
        slice_text("MAXLEN"),
        slice_text("="),
        slice_text(PASSWORD_ASKS_KEPT),
        slice_text("*"),
        slice_text("g"),
        slice_text(gateway->id),
        slice_text("n"),
        slice_of(number, (size_t)length),
        slice_text("box"),
        sealed,
    };
    result = bus_command(gateway->bus, NULL, NULL, sizeof(argv) / sizeof(argv[0]), argv);
    buffer_finish(&key);
    return result;
}

static void ask(struct check *check)
{
    struct password_checks *checks = check->checks;
    struct buffer label = {0}, sealed = {0};

    buffer_appendf(&label, "%s %" PRIu64, checks->gateway->id, check->number);
    if (seal(checks->key, buffer_slice(&check->text), buffer_slice(&label), &sealed) < 0 ||
        send_sealed(check, buffer_slice(&sealed)) < 0)
        give_up(check, PASSWORD_UNAVAILABLE);
    forget_text(check);
    buffer_finish(&label);
    buffer_finish(&sealed);
}

/* Returns whether there is a key. */
static bool take_key(struct password_checks *checks, struct slice pem)
{
    if (pem.length > 0 && !slice_equal(pem, buffer_slice(&checks->pem))) {
        sealing_key_destroy(&checks->key);
        checks->key = sealing_key_read(pem);
        buffer_reset(&checks->pem, SIZE_MAX);
        buffer_append_slice(&checks->pem, pem);
        if (checks->key == NULL)
            log_warn("auth:box: the key is not usable");
    }
    return pem.length > 0 && checks->key != NULL;
}

static void on_key(void *arg, const struct bus_reply *reply)
{
    struct key_look *look = arg;
    struct password_checks *checks = look->checks;
    struct check *check = find(checks, look->number);

    free(look);
    checks->replies_awaited--;
    if (check == NULL) {
        release(checks);
        return;
    }
    if (take_key(checks, bus_reply_text(reply)))
        ask(check);
    else
        give_up(check, PASSWORD_UNAVAILABLE);
}

/* Asked for each time: auth may have come with another one, and this costs less than a wrong one.
 */
static void look_for_key(struct check *check)
{
    struct password_checks *checks = check->checks;
    struct key_look *look = xmalloc(sizeof(*look));
    struct buffer key = {0};

    *look = (struct key_look){.checks = checks, .number = check->number};
    key_global(&key, &checks->gateway->deployment, "auth:box", slice_of(NULL, 0));
    const struct slice argv[] = {slice_text("HGET"), buffer_slice(&key), slice_text("pem")};
    if (bus_command(checks->gateway->bus, on_key, look, 3, argv) == 0) {
        checks->replies_awaited++;
    } else {
        free(look);
        give_up(check, PASSWORD_UNAVAILABLE);
    }
    buffer_finish(&key);
}

static void write_text(struct check *check, struct slice user, struct slice password,
                       struct slice address)
{
    struct password_ask ask = {.user = user, .password = password, .address = address};

    ask.asked_ms = clock_wall_ms();
    uid_random(ask.nonce, sizeof(ask.nonce));
    /* In one piece: growing would leave copies. */
    buffer_reserve(&check->text, 4096);
    password_ask_append(&check->text, &ask);
}

uint64_t password_check(struct gateway *gateway, struct slice user, struct slice password,
                        struct slice address, void (*done)(void *arg, enum password_result),
                        void *arg)
{
    struct password_checks *checks = gateway->passwords;
    struct check *check = xcalloc(1, sizeof(*check));
    bool full = HASH_COUNT(checks->open) >= OPEN_MAX;

    check->checks = checks;
    check->number = ++checks->last;
    check->deadline_ms = uv_now(gateway->loop) + ANSWER_MS;
    check->otherwise = PASSWORD_UNAVAILABLE;
    check->done = done;
    check->arg = arg;
    HASH_ADD(hh, checks->open, number, sizeof(check->number), check);
    if (!uv_is_active((uv_handle_t *)&checks->timer))
        uv_timer_start(&checks->timer, on_timer, LOOK_MS, LOOK_MS);
    if (full) {
        give_up(check, PASSWORD_UNAVAILABLE);
    } else if (!user_allowed(user, false) || password.length > PASSWORD_MAX ||
               address.length > 255) {
        give_up(check, PASSWORD_WRONG);
    } else {
        write_text(check, user, password, address);
        look_for_key(check);
    }
    return check->number;
}

void password_check_forget(struct gateway *gateway, uint64_t number)
{
    struct check *check = find(gateway->passwords, number);

    if (check)
        forget(gateway->passwords, check);
}

void password_checks_on_answer(struct password_checks *checks, const struct bus_reply *fields)
{
    struct slice number = bus_reply_text(bus_reply_field(fields, "n"));
    struct slice result = bus_reply_text(bus_reply_field(fields, "result"));
    char text[24] = "";
    struct check *check;

    if (number.length == 0 || number.length >= sizeof(text))
        return;
    memcpy(text, number.data, number.length);
    check = find(checks, strtoull(text, NULL, 10));
    /* One that has not been asked yet cannot be answered. */
    if (check && check->text.data == NULL)
        end(checks, check, password_result_read(result));
}

/* ---- life ---- */

struct password_checks *password_checks_create(struct gateway *gateway)
{
    struct password_checks *checks = xcalloc(1, sizeof(*checks));

    checks->gateway = gateway;
    uv_timer_init(gateway->loop, &checks->timer);
    checks->timer.data = checks;
    return checks;
}

static void on_closed(uv_handle_t *handle)
{
    struct password_checks *checks = handle->data;

    checks->closed = true;
    release(checks);
}

void password_checks_destroy(struct password_checks **pointer)
{
    struct password_checks *checks = *pointer;

    if (checks == NULL)
        return;
    *pointer = NULL;
    while (checks->open)
        forget(checks, checks->open);
    uv_close((uv_handle_t *)&checks->timer, on_closed);
}
