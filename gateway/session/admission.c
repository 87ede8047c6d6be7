#include "gateway/session/admission.h"

#include "gateway/session/session.h"

/* What the connections of a user share. */
enum { OF_USER, OF_SUBSCRIBE, OF_BROADCAST, OF_DIRECT, OF_READ, OF_CONNECT, SHARED };

_Static_assert(SHARED <= RATE_USER_BUCKETS, "a bucket each");

static const struct rate connection_rate = {.per_second = 100, .burst = 200};
static const struct rate ack_rate = {.per_second = 1000, .burst = 2000};
static const struct rate shared_rates[SHARED] = {
    [OF_USER] = {.per_second = 500, .burst = 1000},
    [OF_SUBSCRIBE] = {.per_second = 10, .burst = 20},
    [OF_BROADCAST] = {.per_second = 50, .burst = 100},
    [OF_DIRECT] = {.per_second = 200, .burst = 400},
    [OF_READ] = {.per_second = 50, .burst = 200},
    [OF_CONNECT] = {.per_second = 10, .burst = 100},
};
/* The bucket that a limit has beside those of all messages; SHARED: none. */
static const int own_buckets[LIMITS] = {
    [LIMIT_MESSAGE] = SHARED,         [LIMIT_ACK] = SHARED,       [LIMIT_SUBSCRIBE] = OF_SUBSCRIBE,
    [LIMIT_BROADCAST] = OF_BROADCAST, [LIMIT_DIRECT] = OF_DIRECT, [LIMIT_READ] = OF_READ,
};

static uint64_t now_us(const struct gateway *gateway)
{
    return uv_now(gateway->loop) * 1000;
}

static uint64_t take_shared(struct rate_user *user, int bucket, uint64_t now)
{
    return rate_take(&rate_user_buckets(user)[bucket], &shared_rates[bucket], now);
}

static uint64_t charge(struct session_limits *limits, enum limit limit, uint64_t now)
{
    uint64_t wait_ms;

    if (limit == LIMIT_ACK)
        return rate_take(&limits->acks, &ack_rate, now);
    wait_ms = rate_take(&limits->connection, &connection_rate, now);
    if (limits->user == NULL)
        return wait_ms;
    if (wait_ms == 0)
        wait_ms = take_shared(limits->user, OF_USER, now);
    if (wait_ms == 0 && own_buckets[limit] != SHARED)
        wait_ms = take_shared(limits->user, own_buckets[limit], now);
    return wait_ms;
}

uint64_t admission_take(struct session *session, enum limit limit)
{
    uint64_t wait_ms;

    if (!session->gateway->settings.rate_limits)
        return 0;
    wait_ms = charge(&session->limits, limit, now_us(session->gateway));
    if (wait_ms > 0)
        gateway_count(GATEWAY_RATE_LIMITED, 1);
    return wait_ms;
}

/* The bucket of what a limit counts beside messages, and its rate; NULL when it counts nothing. */
static struct rate_bucket *own_bucket(struct session_limits *limits, enum limit limit,
                                      const struct rate **rate)
{
    if (limit == LIMIT_ACK) {
        *rate = &ack_rate;
        return &limits->acks;
    }
    if (own_buckets[limit] == SHARED || limits->user == NULL)
        return NULL;
    *rate = &shared_rates[own_buckets[limit]];
    return &rate_user_buckets(limits->user)[own_buckets[limit]];
}

static uint64_t wait_for_all(struct session_limits *limits, const size_t counts[LIMITS],
                             uint64_t now)
{
    uint64_t wait_ms = 0;

    for (int limit = 0; limit < LIMITS && wait_ms == 0; limit++) {
        const struct rate *rate;
        struct rate_bucket *bucket = own_bucket(limits, (enum limit)limit, &rate);

        if (bucket && counts[limit] > 0)
            wait_ms = rate_wait(bucket, rate, now);
    }
    return wait_ms ? wait_ms : charge(limits, LIMIT_MESSAGE, now);
}

static void charge_all(struct session_limits *limits, const size_t counts[LIMITS], uint64_t now)
{
    for (int limit = 0; limit < LIMITS; limit++) {
        const struct rate *rate;
        struct rate_bucket *bucket = own_bucket(limits, (enum limit)limit, &rate);

        if (bucket)
            rate_charge(bucket, rate, counts[limit], now);
    }
}

uint64_t admission_take_all(struct session *session, const size_t counts[LIMITS])
{
    uint64_t now = now_us(session->gateway), wait_ms;

    if (!session->gateway->settings.rate_limits)
        return 0;
    wait_ms = wait_for_all(&session->limits, counts, now);
    if (wait_ms > 0)
        gateway_count(GATEWAY_RATE_LIMITED, 1);
    else
        charge_all(&session->limits, counts, now);
    return wait_ms;
}

uint64_t admission_take_own(struct session *session, enum limit limit, size_t count)
{
    uint64_t now = now_us(session->gateway), wait_ms;
    const struct rate *rate;
    struct rate_bucket *bucket = own_bucket(&session->limits, limit, &rate);

    if (!session->gateway->settings.rate_limits || bucket == NULL)
        return 0;
    wait_ms = rate_wait(bucket, rate, now);
    if (wait_ms > 0)
        gateway_count(GATEWAY_RATE_LIMITED, 1);
    else
        rate_charge(bucket, rate, count, now);
    return wait_ms;
}

void admission_charge(struct session *session, enum limit limit, size_t count)
{
    const struct rate *rate;
    struct rate_bucket *bucket = own_bucket(&session->limits, limit, &rate);

    if (session->gateway->settings.rate_limits && bucket != NULL)
        rate_charge(bucket, rate, count, now_us(session->gateway));
}

bool admission_connect(struct gateway *gateway, struct slice user)
{
    struct rate_user *of;
    uint64_t wait_ms;

    if (!gateway->settings.rate_limits)
        return true;
    of = rate_user_get(gateway->rate_users, user, now_us(gateway));
    wait_ms = take_shared(of, OF_CONNECT, now_us(gateway));
    rate_user_put(gateway->rate_users, &of, now_us(gateway));
    if (wait_ms > 0)
        gateway_count(GATEWAY_RATE_LIMITED, 1);
    return wait_ms == 0;
}

void admission_join(struct session *session)
{
    struct gateway *gateway = session->gateway;

    session->limits.user = rate_user_get(gateway->rate_users, session->user, now_us(gateway));
}

void admission_leave(struct session *session)
{
    struct gateway *gateway = session->gateway;

    rate_user_put(gateway->rate_users, &session->limits.user, now_us(gateway));
}
