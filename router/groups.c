/*
 * Who is in a group: made, joined, left, ended. Only the owner adds, removes and deletes; when he
 * leaves, the one who has been there longest is the owner. Members' connections hear of each
 * change. See conversation.h.
 */
#include "router/conversation.h"
#include "router/events.h"

#include <inttypes.h>
#include <string.h>

/* The id of a deleted group is not given again for so long. */
#define ENDED_MS "2592000000"

struct change {
    struct engine *engine;
    struct conversation *group;
    const struct frame_group_change *request;
};

/* ---- telling ---- */

static void tell(const struct change *change, enum signal_kind kind, struct slice body)
{
    const struct frame_signal_forwarded signal = {
        .kind = kind,
        .from = change->request->from,
        .chat = change->request->chat,
        .body = body,
    };

    conversation_signal(change->engine, change->group, &signal, NULL);
}

/* ---- coming ---- */

static size_t count_lines(struct slice lines)
{
    struct slice user;
    size_t count = 0;

    while (events_next_user(&lines, &user))
        count++;
    return count;
}

static bool has_room(const struct change *change, size_t more)
{
    return conversation_member_count(change->group) + more <= change->engine->limits.group_members;
}

static void add(const struct change *change, struct slice user)
{
    conversation_add_member(change->engine, change->group, user);
}

static enum conversation_status on_create(const struct change *change)
{
    const struct frame_group_change *request = change->request;
    struct conversation *group = change->group;
    struct slice lines = request->members, user;

    if (group->exists || group->ended)
        return CONVERSATION_EXISTS;
    if (!has_room(change, count_lines(request->members) + 1))
        return CONVERSATION_FULL;
    group->exists = true;
    group->created_ms = change->engine->now_ms;
    engine_set_text(&group->owner, request->from);
    engine_set_text(&group->name, request->name);
    conversation_record_changed(change->engine, group);
    add(change, request->from);
    while (events_next_user(&lines, &user))
        if (user.length)
            add(change, user);
    tell(change, SIGNAL_GROUP_CREATED, request->name);
    return CONVERSATION_OK;
}

static enum conversation_status on_join(const struct change *change)
{
    struct slice user = change->request->from;

    if (conversation_member(change->group, user) != NULL)
        return CONVERSATION_EXISTS;
    if (!has_room(change, 1))
        return CONVERSATION_FULL;
    add(change, user);
    tell(change, SIGNAL_MEMBER_JOINED, user);
    return CONVERSATION_OK;
}

/* Those who are members already stay as they are; if all are, that is the answer. */
static enum conversation_status on_add(const struct change *change)
{
    struct slice lines = change->request->members, user;
    size_t added = 0;

    while (events_next_user(&lines, &user))
        added += user.length && conversation_member(change->group, user) == NULL;
    if (added == 0)
        return CONVERSATION_EXISTS;
    if (!has_room(change, added))
        return CONVERSATION_FULL;
    lines = change->request->members;
    while (events_next_user(&lines, &user)) {
        if (user.length == 0 || conversation_member(change->group, user) != NULL)
            continue;
        add(change, user);
        tell(change, SIGNAL_MEMBER_JOINED, user);
    }
    return CONVERSATION_OK;
}

/* ---- going ---- */

static void delete_key(struct engine *engine, uint32_t key)
{
    effects_open(engine->effects, EFFECT_DEL, key, 0);
}

static void end_group(const struct change *change)
{
    struct engine *engine = change->engine;
    struct conversation *group = change->group;
    uint32_t object = conversation_key(engine, group, CONVERSATION_OBJECT);
    char now[24];

    while (group->members != NULL)
        conversation_remove_member(engine, group, group->members);
    delete_key(engine, object);
    delete_key(engine, conversation_key(engine, group, CONVERSATION_LOG));
    delete_key(engine, conversation_key(engine, group, CONVERSATION_CHANGES));
    effects_hset(engine->effects, object, slice_text("deleted"),
                 slice_print(now, sizeof(now), "%" PRIu64, engine->now_ms));
    effects_open(engine->effects, EFFECT_PEXPIRE, object, 1);
    effects_text(engine->effects, slice_text(ENDED_MS));
    group->exists = false;
    group->ended = true;
}

static bool is_owner(const struct change *change)
{
    return slice_equal(change->group->owner, change->request->from);
}

static bool is_older(const struct participant *a, const struct participant *b)
{
    if (a->joined_ms != b->joined_ms)
        return a->joined_ms < b->joined_ms;
    return strcmp(a->id, b->id) < 0;
}

static void hand_on(const struct change *change)
{
    const struct participant *oldest = change->group->members, *member;

    for (member = oldest; member; member = member->hh.next)
        if (is_older(member, oldest))
            oldest = member;
    engine_set_text(&change->group->owner, slice_of(oldest->id, oldest->length));
    conversation_record_changed(change->engine, change->group);
}

/* He hears it too: his list of chats is with him. */
static void remove_member(const struct change *change, struct participant *member)
{
    bool owner = slice_equal(change->group->owner, slice_of(member->id, member->length));

    tell(change, SIGNAL_MEMBER_LEFT, slice_of(member->id, member->length));
    conversation_remove_member(change->engine, change->group, member);
    conversation_changed(change->engine, change->group);
    if (change->group->members == NULL)
        end_group(change);
    else if (owner)
        hand_on(change);
}

static enum conversation_status on_leave(const struct change *change)
{
    remove_member(change, conversation_member(change->group, change->request->from));
    return CONVERSATION_OK;
}

static enum conversation_status on_remove(const struct change *change)
{
    struct slice lines = change->request->members, user;
    size_t removed = 0;

    while (change->group->exists && events_next_user(&lines, &user)) {
        struct participant *member = conversation_member(change->group, user);

        if (member == NULL)
            continue;
        remove_member(change, member);
        removed++;
    }
    return removed ? CONVERSATION_OK : CONVERSATION_NOT_FOUND;
}

static enum conversation_status on_delete(const struct change *change)
{
    tell(change, SIGNAL_GROUP_DELETED, change->group->name);
    end_group(change);
    return CONVERSATION_OK;
}

/* ---- one row for each change ---- */

static const struct {
    bool exists, member, owner; /* what it needs */
    enum conversation_status (*apply)(const struct change *);
} changes[] = {
    [GROUP_CREATE] = {false, false, false, on_create},
    [GROUP_DELETE] = {true, true, true, on_delete},
    [GROUP_JOIN] = {true, false, false, on_join},
    [GROUP_LEAVE] = {true, true, false, on_leave},
    [GROUP_ADD] = {true, true, true, on_add},
    [GROUP_REMOVE] = {true, true, true, on_remove},
};

static enum conversation_status apply(const struct change *change)
{
    uint64_t kind = change->request->change;
    struct conversation *group = change->group;

    if (!group->group || kind >= sizeof(changes) / sizeof(changes[0]) || !changes[kind].apply)
        return CONVERSATION_NOT_FOUND;
    if (changes[kind].exists && !group->exists)
        return CONVERSATION_NOT_FOUND;
    if (changes[kind].member && conversation_member(group, change->request->from) == NULL)
        return CONVERSATION_FORBIDDEN;
    if (changes[kind].owner && !is_owner(change))
        return CONVERSATION_FORBIDDEN;
    return changes[kind].apply(change);
}

void groups_on_change(struct engine *engine, struct gateway *gateway,
                      const struct frame_group_change *request)
{
    struct change change = {
        .engine = engine,
        .group = conversation_get(engine, request->from, request->chat),
        .request = request,
    };

    conversation_reply(gateway, request->connection, request->request, apply(&change), 0);
}
