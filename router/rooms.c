/*
 * Rooms: topics that know their members, users with a connection there on any gateway. Gateways
 * count absolutely; a member comes with the first of his connections and goes with the last. That
 * is judged at the end of a commit (or before something is published in the room), so that a
 * gateway that announces itself again changes nothing. See state.h.
 */
#include "common/xalloc.h"
#include "router/state.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* A list of members goes out in frames of so many; it names no more than so many in all. */
#define LIST_CHUNK 1000
#define LIST_MAX 10000

struct member {
    struct room *room;
    struct shares shares;
    uint64_t since_ms;
    bool told;     /* that he is here */
    bool announce; /* the room's gateways hear of him */
    bool changed;  /* in engine->changed_members */
    TAILQ_ENTRY(member) changed_link;
    UT_hash_handle hh;
    size_t length;
    char user[];
};

struct room {
    struct member *members; /* hash by user, in the order they came */
    UT_hash_handle hh;
    size_t length;
    char topic[];
};

static struct slice room_slice(const struct room *room)
{
    return slice_of(room->topic, room->length);
}

static struct slice member_slice(const struct member *member)
{
    return slice_of(member->user, member->length);
}

static struct room *room_find(const struct engine *engine, struct slice topic)
{
    struct room *room;

    HASH_FIND(hh, engine->rooms, topic.data, topic.length, room);
    return room;
}

static struct room *room_get(struct engine *engine, struct slice topic)
{
    struct room *room = room_find(engine, topic);

    if (room != NULL)
        return room;
    room = xcalloc(1, sizeof(*room) + topic.length + 1);
    memcpy(room->topic, topic.data, topic.length);
    room->length = topic.length;
    HASH_ADD_KEYPTR(hh, engine->rooms, room->topic, room->length, room);
    return room;
}

static struct member *member_find(const struct room *room, struct slice user)
{
    struct member *member;

    HASH_FIND(hh, room->members, user.data, user.length, member);
    return member;
}

static struct member *member_get(struct engine *engine, struct slice topic, struct slice user)
{
    struct room *room = room_get(engine, topic);
    struct member *member = member_find(room, user);

    if (member != NULL)
        return member;
    member = xcalloc(1, sizeof(*member) + user.length + 1);
    member->room = room;
    member->since_ms = engine->now_ms;
    memcpy(member->user, user.data, user.length);
    member->length = user.length;
    HASH_ADD_KEYPTR(hh, room->members, member->user, member->length, member);
    return member;
}

/* The room goes with its last member. */
static void member_remove(struct engine *engine, struct member *member)
{
    struct room *room = member->room;

    if (member->changed)
        TAILQ_REMOVE(&engine->changed_members, member, changed_link);
    HASH_DEL(room->members, member);
    shares_clear(&member->shares);
    free(member);
    if (room->members != NULL)
        return;
    HASH_DEL(engine->rooms, room);
    free(room);
}

static void member_changed(struct engine *engine, struct member *member)
{
    if (member->changed)
        return;
    member->changed = true;
    TAILQ_INSERT_TAIL(&engine->changed_members, member, changed_link);
}

/* ---- counts ---- */

static void write_count(struct engine *engine, const struct gateway *gateway,
                        const struct member *member, uint64_t connections)
{
    uint32_t key = effects_key(engine->effects, "subs", slice_text(gateway->id));
    struct buffer field = {0};
    char value[64];
    int length = snprintf(value, sizeof(value), "%llu %llu %d", (unsigned long long)connections,
                          (unsigned long long)member->since_ms, (int)member->announce);

    buffer_append_byte(&field, '@');
    buffer_append_slice(&field, room_slice(member->room));
    buffer_append_byte(&field, '\n');
    buffer_append_slice(&field, member_slice(member));
    if (connections)
        effects_hset(engine->effects, key, buffer_slice(&field), slice_of(value, (size_t)length));
    else
        effects_hdel(engine->effects, key, buffer_slice(&field));
    buffer_finish(&field);
}

void rooms_on_count(struct engine *engine, struct gateway *gateway,
                    const struct frame_member_count *count)
{
    struct member *member = member_get(engine, count->topic, count->user);

    if (count->announce)
        member->announce = true;
    shares_set(&member->shares, gateway, count->connections);
    member_changed(engine, member);
    write_count(engine, gateway, member, count->connections);
    if (count->request)
        rooms_on_ask(engine, gateway,
                     &(struct frame_members_ask){.topic = count->topic, .request = count->request});
}

void rooms_load(struct engine *engine, struct gateway *gateway, struct slice field,
                struct slice value)
{
    const char *newline = memchr(field.data, '\n', field.length);
    size_t length = newline ? (size_t)(newline - field.data) : 0;
    struct member *member;
    uint64_t connections, since_ms;

    if (newline == NULL)
        return;
    connections = load_u64(load_word(&value));
    since_ms = load_u64(load_word(&value));
    if (connections == 0)
        return;
    member = member_get(engine, slice_of(field.data, length),
                        slice_of(newline + 1, field.length - length - 1));
    if (!member->told || since_ms < member->since_ms)
        member->since_ms = since_ms;
    member->told = true;
    member->announce |= slice_is(value, "1");
    shares_set(&member->shares, gateway, connections);
}

static int by_since(const struct member *left, const struct member *right)
{
    return (left->since_ms > right->since_ms) - (left->since_ms < right->since_ms);
}

void rooms_load_finish(struct engine *engine)
{
    for (struct room *room = engine->rooms; room; room = room->hh.next)
        HASH_SORT(room->members, by_since);
}

void rooms_forget_gateway(struct engine *engine, struct gateway *gateway)
{
    for (struct room *room = engine->rooms; room; room = room->hh.next) {
        for (struct member *member = room->members; member; member = member->hh.next) {
            if (shares_of(&member->shares, gateway) == 0)
                continue;
            shares_remove(&member->shares, gateway);
            member_changed(engine, member);
        }
    }
}

/* ---- what is told ---- */

static void judge(struct engine *engine, struct member *member)
{
    bool present = member->shares.count > 0;

    TAILQ_REMOVE(&engine->changed_members, member, changed_link);
    member->changed = false;
    if (present != member->told && member->announce) {
        struct frame frame = {
            .type = FRAME_MEMBER_CHANGED,
            .member_changed = {.topic = room_slice(member->room),
                               .user = member_slice(member),
                               .present = present,
                               .at_ms = present ? member->since_ms : engine->now_ms},
        };

        fanout_tell(engine, room_slice(member->room), &frame);
    }
    member->told = present;
    if (!present)
        member_remove(engine, member);
}

void rooms_settle(struct engine *engine, struct slice topic)
{
    struct member *member, *next;

    for (member = TAILQ_FIRST(&engine->changed_members); member; member = next) {
        next = TAILQ_NEXT(member, changed_link);
        if (slice_equal(room_slice(member->room), topic))
            judge(engine, member);
    }
}

void rooms_finish(struct engine *engine)
{
    struct member *member;

    while ((member = TAILQ_FIRST(&engine->changed_members)) != NULL)
        judge(engine, member);
}

static void append_line(struct buffer *lines, const struct member *member)
{
    char since[24];
    int length = snprintf(since, sizeof(since), "%llu ", (unsigned long long)member->since_ms);

    buffer_append(lines, since, (size_t)length);
    buffer_append_slice(lines, member_slice(member));
    buffer_append_byte(lines, '\n');
}

static void say_chunk(struct gateway *gateway, const struct frame_members_ask *ask,
                      struct buffer *lines, bool last)
{
    gateway_say(gateway, &(struct frame){.type = FRAME_MEMBER_LIST,
                                         .member_list = {.request = ask->request,
                                                         .topic = ask->topic,
                                                         .members = buffer_slice(lines),
                                                         .last = last}});
    buffer_reset(lines, SIZE_MAX);
}

void rooms_on_ask(struct engine *engine, struct gateway *gateway,
                  const struct frame_members_ask *ask)
{
    struct buffer lines = {0};
    const struct room *room;
    size_t named = 0;

    rooms_settle(engine, ask->topic);
    room = room_find(engine, ask->topic);
    for (const struct member *member = room ? room->members : NULL; member && named < LIST_MAX;
         member = member->hh.next) {
        if (named && named % LIST_CHUNK == 0)
            say_chunk(gateway, ask, &lines, false);
        append_line(&lines, member);
        named++;
    }
    say_chunk(gateway, ask, &lines, true);
    buffer_finish(&lines);
}

/* ---- ends ---- */

size_t rooms_members(const struct engine *engine)
{
    size_t members = 0;

    for (const struct room *room = engine->rooms; room; room = room->hh.next)
        members += HASH_COUNT(room->members);
    return members;
}

void rooms_check(const struct engine *engine)
{
    assert(TAILQ_EMPTY(&engine->changed_members));
    for (const struct room *room = engine->rooms; room; room = room->hh.next) {
        assert(room->members != NULL);
        for (const struct member *member = room->members; member; member = member->hh.next)
            assert(member->told && member->shares.count > 0 && member->room == room);
    }
}

void rooms_destroy(struct engine *engine)
{
    while (engine->rooms != NULL)
        member_remove(engine, engine->rooms->members);
}
