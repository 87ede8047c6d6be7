#include "gateway/topics/room.h"

#include "common/table.h"
#include "common/xalloc.h"
#include "gateway/topics/endpoint_topic.h"
#include "gateway/session/session.h"
#include "gateway/bus/uplink.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>

/* A user with sessions of this gateway in the room. */
struct room_user {
    uint64_t sessions;
    bool dirty; /* sessions has changed and is not sent */
    LIST_ENTRY(room_user) dirty_link;
    UT_hash_handle hh;
    size_t length;
    char name[];
};

/* A session that has joined, or asked something. */
struct room_guest {
    struct session *session;
    struct room *room;
    struct room_user *user; /* NULL: it has not joined */
    bool waits;             /* for the list of its joining: changes are in that */
    bool told;              /* that it is there itself */
    size_t asks;
    LIST_ENTRY(room_guest) link;
};

/* One question on its way: a room asks for one list at a time, for all who want it then. */
struct room_ask {
    struct room_guest *guest;
    uint64_t request; /* the session's */
    uint64_t number;  /* of the list that will answer it; 0: not asked for yet */
    TAILQ_ENTRY(room_ask) link;
};

struct room {
    struct rooms *rooms;
    const struct protocol *protocol;
    struct buffer topic;
    uint32_t partition;
    struct room_user *users; /* hash by name */
    LIST_HEAD(, room_user) dirty;
    LIST_HEAD(, room_guest) guests;
    TAILQ_HEAD(, room_ask) asks; /* those of the list asked for first */
    uint64_t number;             /* of the last list asked for */
    bool asked;                  /* its last chunk has not come */
};

struct rooms {
    struct gateway *gateway;
    struct room *by_protocol[PROTOCOL_SLOTS];
    uint64_t last_number;
};

/* ---- rooms ---- */

struct rooms *rooms_create(struct gateway *gateway)
{
    struct rooms *rooms = xcalloc(1, sizeof(*rooms));

    rooms->gateway = gateway;
    return rooms;
}

static struct room *room_of(struct rooms *rooms, const struct protocol *protocol)
{
    struct room **room = &rooms->by_protocol[protocol->id];

    assert(protocol->id < PROTOCOL_SLOTS);
    if (*room != NULL)
        return *room;
    *room = xcalloc(1, sizeof(**room));
    (*room)->rooms = rooms;
    (*room)->protocol = protocol;
    endpoint_topic_name(&(*room)->topic, protocol);
    (*room)->partition = partition_of(&rooms->gateway->deployment, buffer_slice(&(*room)->topic));
    TAILQ_INIT(&(*room)->asks);
    return *room;
}

static struct room *room_of_topic(struct rooms *rooms, struct slice topic)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++)
        if (rooms->by_protocol[i] &&
            slice_equal(buffer_slice(&rooms->by_protocol[i]->topic), topic))
            return rooms->by_protocol[i];
    return NULL;
}

static void end_ask(struct room *room, struct room_ask *ask)
{
    TAILQ_REMOVE(&room->asks, ask, link);
    ask->guest->asks--;
    free(ask);
}

static void user_remove(struct room *room, struct room_user *user)
{
    if (user->dirty)
        LIST_REMOVE(user, dirty_link);
    HASH_DEL(room->users, user);
    free(user);
}

static void room_destroy(struct room *room)
{
    while (!LIST_EMPTY(&room->guests))
        rooms_session_closed(room->rooms, LIST_FIRST(&room->guests)->session);
    while (room->users)
        user_remove(room, room->users);
    buffer_finish(&room->topic);
    free(room);
}

void rooms_destroy(struct rooms **pointer)
{
    struct rooms *rooms = *pointer;

    if (rooms == NULL)
        return;
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++)
        if (rooms->by_protocol[i])
            room_destroy(rooms->by_protocol[i]);
    free(rooms);
    *pointer = NULL;
}

/* ---- members ---- */

static void user_changed(struct room *room, struct room_user *user)
{
    if (user->dirty)
        return;
    user->dirty = true;
    LIST_INSERT_HEAD(&room->dirty, user, dirty_link);
}

static struct room_user *user_get(struct room *room, struct slice name)
{
    struct room_user *user;

    HASH_FIND(hh, room->users, name.data, name.length, user);
    if (user)
        return user;
    user = xcalloc(1, sizeof(*user) + name.length);
    user->length = name.length;
    memcpy(user->name, name.data, name.length);
    HASH_ADD_KEYPTR(hh, room->users, user->name, user->length, user);
    return user;
}

static struct room_guest *guest_get(struct session *session)
{
    struct room *room = room_of(session->gateway->rooms, session->protocol);

    if (session->room)
        return session->room;
    session->room = xcalloc(1, sizeof(*session->room));
    session->room->session = session;
    session->room->room = room;
    LIST_INSERT_HEAD(&room->guests, session->room, link);
    return session->room;
}

static void add_ask(struct room_guest *guest, uint64_t request)
{
    struct room_ask *ask = xcalloc(1, sizeof(*ask));

    ask->guest = guest;
    ask->request = request;
    guest->asks++;
    TAILQ_INSERT_TAIL(&guest->room->asks, ask, link);
}

void room_join(struct session *session, bool list)
{
    struct room_guest *guest = guest_get(session);

    if (guest->user)
        return;
    guest->user = user_get(guest->room, session->user);
    guest->user->sessions++;
    user_changed(guest->room, guest->user);
    guest->waits = list;
    if (list)
        add_ask(guest, 0);
}

int room_ask(struct session *session, uint64_t request)
{
    struct room_guest *guest = guest_get(session);

    if (guest->asks >= ROOM_ASKS_MAX)
        return -EBUSY;
    add_ask(guest, request);
    return 0;
}

static void end_asks(struct room_guest *guest)
{
    struct room_ask *ask, *next;

    for (ask = TAILQ_FIRST(&guest->room->asks); guest->asks && ask; ask = next) {
        next = TAILQ_NEXT(ask, link);
        if (ask->guest == guest)
            end_ask(guest->room, ask);
    }
}

void room_leave(struct session *session)
{
    struct room_guest *guest = session->room;

    if (guest == NULL)
        return;
    session->room = NULL;
    end_asks(guest);
    if (guest->user) {
        guest->user->sessions--;
        user_changed(guest->room, guest->user);
    }
    LIST_REMOVE(guest, link);
    free(guest);
}

void rooms_session_closed(struct rooms *rooms, struct session *session)
{
    (void)rooms;
    room_leave(session);
}

/* ---- frames to the room's partition ---- */

static struct frame count_frame(const struct room *room, const struct room_user *user)
{
    return (struct frame){
        .type = FRAME_MEMBER_COUNT,
        .member_count = {.topic = buffer_slice(&room->topic),
                         .user = slice_of(user->name, user->length),
                         .connections = user->sessions,
                         .announce = room->protocol->encode_member != NULL},
    };
}

static void send_counts(struct room *room)
{
    struct room_user *user;

    while ((user = LIST_FIRST(&room->dirty)) != NULL) {
        struct frame frame = count_frame(room, user);

        uplink_send(room->rooms->gateway->uplink, room->partition, &frame);
        LIST_REMOVE(user, dirty_link);
        user->dirty = false;
        if (user->sessions == 0)
            user_remove(room, user);
    }
}

/* Behind the counts: who joined is in it. */
static void send_ask(struct room *room)
{
    struct room_ask *ask;

    if (room->asked || TAILQ_EMPTY(&room->asks))
        return;
    room->asked = true;
    room->number = ++room->rooms->last_number;
    TAILQ_FOREACH(ask, &room->asks, link)
    ask->number = room->number;
    uplink_send(room->rooms->gateway->uplink, room->partition,
                &(struct frame){
                    .type = FRAME_MEMBERS_ASK,
                    .members_ask = {.topic = buffer_slice(&room->topic), .request = room->number}});
}

void rooms_flush(struct rooms *rooms)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++) {
        if (rooms->by_protocol[i] == NULL)
            continue;
        send_counts(rooms->by_protocol[i]);
        send_ask(rooms->by_protocol[i]);
    }
}

void rooms_announce(struct rooms *rooms, uint32_t partition, struct buffer *frames)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++) {
        const struct room *room = rooms->by_protocol[i];

        for (struct room_user *user = room && room->partition == partition ? room->users : NULL;
             user; user = user->hh.next) {
            struct frame frame = count_frame(room, user);

            if (user->sessions)
                frame_encode(frames, &frame);
        }
    }
}

/* ---- what the partition says ---- */

static void encode_change(const struct room *room, struct buffer *out,
                          const struct frame_member_changed *change, int *opcode)
{
    if (room->protocol->encode_member)
        room->protocol->encode_member(out, change, opcode);
}

static struct wire *wire_of(const struct room *room, const struct frame_member_changed *change)
{
    struct buffer payload = {0};
    int opcode = WIRE_TEXT;
    struct wire *wire = NULL;

    encode_change(room, &payload, change, &opcode);
    if (payload.length)
        wire = wire_create((enum wire_opcode)opcode, buffer_slice(&payload));
    buffer_finish(&payload);
    return wire;
}

/* One that waits for its list hears only that it is there itself. */
static bool hears(struct room_guest *guest, const struct frame_member_changed *change)
{
    if (guest->user == NULL)
        return false;
    if (!guest->waits)
        return true;
    if (guest->told || !change->present || !slice_equal(change->user, guest->session->user))
        return false;
    guest->told = true;
    return true;
}

void rooms_on_changed(struct rooms *rooms, const struct frame_member_changed *change)
{
    struct room *room = room_of_topic(rooms, change->topic);
    struct wire *wire = room ? wire_of(room, change) : NULL;
    struct room_guest *guest;

    if (wire == NULL)
        return;
    LIST_FOREACH(guest, &room->guests, link)
    if (hears(guest, change))
        session_send(guest->session, wire, SEND_NORMAL);
    wire_unref(&wire);
}

/* Its user was there already, on another connection that has not left yet: no change says so. */
static void tell_itself(struct room_guest *guest, uint64_t at_ms)
{
    const struct room *room = guest->room;
    const struct frame_member_changed change = {.topic = buffer_slice(&room->topic),
                                                .user = guest->session->user,
                                                .present = 1,
                                                .at_ms = at_ms};
    struct wire *wire = wire_of(room, &change);

    guest->told = true;
    if (wire)
        session_send(guest->session, wire, SEND_NORMAL);
    wire_unref(&wire);
}

static uint64_t line_since(const char **at, const char *end, struct slice *user)
{
    const char *newline = memchr(*at, '\n', (size_t)(end - *at));
    uint64_t since_ms = 0;

    newline = newline ? newline : end;
    for (; *at < newline && **at != ' '; ++*at)
        since_ms = since_ms * 10 + (uint64_t)(**at - '0');
    *at += *at < newline;
    *user = slice_of(*at, (size_t)(newline - *at));
    *at = newline < end ? newline + 1 : end;
    return since_ms;
}

/* Since when the list has him; of one it does not name, since the newest came. */
static uint64_t since_in(struct slice members, struct slice user)
{
    const char *at = members.data, *end = members.data + members.length;
    uint64_t newest_ms = 0;

    while (at < end) {
        struct slice name;
        uint64_t since_ms = line_since(&at, end, &name);

        if (slice_equal(name, user))
            return since_ms;
        newest_ms = since_ms > newest_ms ? since_ms : newest_ms;
    }
    return newest_ms;
}

static void answer(struct room_ask *ask, const struct frame_member_list *list)
{
    struct room_guest *guest = ask->guest;
    struct session *session = guest->session;
    struct frame_member_list own = *list;

    own.request = ask->request;
    if (session->state != SESSION_OPEN)
        return;
    if (guest->waits && ask->request == 0 && !guest->told)
        tell_itself(guest, since_in(list->members, session->user));
    if (session->protocol->on_member_list)
        session->protocol->on_member_list(session, &own);
    if (list->last && ask->request == 0)
        guest->waits = false;
}

/* The protocol may ask again in the middle of it (a number that is 0), and not leave. */
void rooms_on_list(struct rooms *rooms, const struct frame_member_list *list)
{
    struct room *room = room_of_topic(rooms, list->topic);
    struct room_ask *ask, *next;

    if (room == NULL || !room->asked || list->request != room->number)
        return;
    for (ask = TAILQ_FIRST(&room->asks); ask && ask->number == room->number; ask = next) {
        answer(ask, list);
        next = TAILQ_NEXT(ask, link);
        if (list->last)
            end_ask(room, ask);
    }
    room->asked = !list->last;
}

void rooms_on_gap(struct rooms *rooms, uint32_t partition)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++) {
        struct room *room = rooms->by_protocol[i];
        struct room_guest *guest;

        if (room == NULL || room->partition != partition)
            continue;
        /* The answer may be lost. */
        room->asked = false;
        LIST_FOREACH(guest, &room->guests, link)
        if (guest->user)
            session_close(guest->session, SESSION_CLOSE_RESTART, "messages may have been missed");
    }
}
