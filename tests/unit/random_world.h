/*
 * The random world of test_engine_random.c, shared with what is checked in it
 * (random_world_checks.c).
 */
#ifndef TESTS_UNIT_RANDOM_WORLD_H
#define TESTS_UNIT_RANDOM_WORLD_H

#include "tests/unit/chance.h"
#include "tests/unit/engine_world.h"
#include "tests/unit/model_gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#define USERS 8
#define PARTITIONS WORLD_PARTITIONS
#define DEVICES 2
#define GATEWAYS 3
#define SENT_MAX 600
#define BORN_MAX 64
#define LATE_MAX 16
#define SENDERS_MAX 256
#define NONE ((struct slice){0})
/* Users whose connections acknowledge themselves: these, and user 5 with one of his two. */
#define FIRST_ACK_USER 6
#define MIXED_USER 5
/* Users whose messages are kept until they are read; the second has a device that does not want
 * that, and comes by it when he is known to keep. */
#define FIRST_KEEP_USER 3
#define MIXED_KEEP_USER 4

/* What a gateway has to do with one partition. */
struct line {
    struct model_gateway *gateway;
    uint64_t sent_ms, waiting_since;
};

/* Where a gateway runs: after one that was killed, another one does. */
struct place {
    struct line lines[PARTITIONS];
    uint64_t mute_until;
    char id[40];
};

/* A partition and its router. */
struct side {
    uint32_t partition;
    struct engine_world *world;
    struct model_store *store;
    struct model_commit *flying, *before;
    struct model_commit *late[LATE_MAX];
    size_t late_count;
    struct {
        char gateway[40];
        uint64_t number;
        struct buffer frames;
    } late_entries[LATE_MAX];
    size_t late_entry_count;
    uint64_t commit_epoch, commit_number;
    struct number forwarded[PARTITIONS]; /* the newest entry that came of each partition */
};

struct device {
    struct place *place;           /* NULL: not connected */
    struct model_gateway *gateway; /* its line to the user's partition */
    uint64_t connection, flags;
    size_t serial;               /* of this connection among all */
    size_t last_of[SENDERS_MAX]; /* newest message taken of each sender's connection */
    size_t unacked[SENT_MAX], unacked_count;
};

struct sent {
    unsigned from, to;
    size_t serial;            /* the sender's connection */
    struct model_gateway *by; /* the line that it was sent on */
    const struct place *told_at[GATEWAYS + 1];
    size_t told;
    bool retry, resent, keeps, tells, accepted, refused, taken, acked, replied, gone;
    uint64_t first_ms;
    struct number number;
    size_t present;
};

struct sim {
    struct chance chance;
    size_t steps;
    bool in_order;  /* what is acknowledged or read is the oldest */
    bool restless;  /* partitions are taken again and again */
    bool forgetful; /* nothing is kept for long: neither messages nor who keeps them */
    struct engine_limits limits;
    struct side sides[PARTITIONS], *side; /* the one that is spoken of */
    struct frame_reader *reader;
    struct place places[GATEWAYS];
    char dead[BORN_MAX][40];
    size_t dead_count, born;
    struct device devices[USERS][DEVICES];
    struct {
        struct model_gateway *gateway;
        uint64_t connection;
    } zombies[64];
    size_t zombie_count;
    struct sent sent[SENT_MAX];
    size_t sent_count, serials;
    size_t stamp, told;
    uint64_t expected_request, expected_recipients; /* request 0: nothing expected */
    size_t recipients_checked;
};

/* ---- names ---- */

static inline const char *user_name(unsigned user)
{
    static const char *const names[USERS] = {"u0", "u1", "u2", "u3", "u4", "u5", "u6", "u7"};

    return names[user];
}

static inline size_t message_index(const struct sim *sim, struct slice id)
{
    size_t index = 0;

    for (size_t i = 1; i < id.length; i++)
        index = index * 10 + (size_t)(id.data[i] - '0');
    if (id.length < 2 || index >= sim->sent_count)
        chance_fail(&sim->chance, "a message nobody sent: %.*s", (int)id.length, id.data);
    return index;
}

static inline void speak_of(struct sim *sim, uint32_t partition)
{
    sim->side = &sim->sides[partition];
}

static inline uint32_t partition_of_user(unsigned user)
{
    return partition_of(world_deployment_wide(), slice_text(user_name(user)));
}

static inline struct line *line_of(const struct sim *sim, struct place *place)
{
    return &place->lines[sim->side->partition];
}

/* Some connections of these users take the place of others. */
static inline bool replaces(unsigned user)
{
    return user % 3 == 1;
}

static inline bool keeps_unread(unsigned user)
{
    return user >= FIRST_KEEP_USER && user < MIXED_USER;
}

/* ---- random_world_checks.c ---- */

/* Runs a commit of the side that is spoken of and looks at the invariants of delivery.md. */
enum model_result sim_run_commit(struct sim *, const struct model_commit *);
/* If the side's next entry is a publish alone, how many it reaches can be told from what Redis
 * holds: the answer is compared with that. */
void sim_expect_recipients(struct sim *);

#endif
