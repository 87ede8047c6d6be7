#include "gateway/session/session.h"

#include "common/log.h"
#include "common/table.h"
#include "common/xalloc.h"
#include "gateway/session/connection.h"
#include "gateway/bus/delivery.h"
#include "gateway/session/message.h"
#include "gateway/topics/room.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"
#include "gateway/door/websocket.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* Every session is visited in each second, some of them at a time: nine parts, because a busy loop
 * makes each of them a little late. */
#define TICK_MS 100
#define TICKS 9
/* A connection that was written to is looked at so often until the peer has taken all; but stall_ms
 * is five looks at least. */
#define LOOK_MS 1000
#define LOOKS_IN_STALL 5
/* The kernel's clock of a socket is coarse, and the loop's is as old as its turn. */
#define CLOCKS_APART_MS 50
/* A peer that has not answered a close frame by then is cut. */
#define CLOSE_MS 5000
#define CLOSE_TEXT_MAX 123
/* A partition that does not answer holds up a welcome for no longer. */
#define HOLD_MS 1000
#define HOLD_LOOK_MS 100
/* Draining: so many batches, about so far apart. */
#define DRAIN_BATCHES 30
#define DRAIN_BATCH_MIN 16
#define DRAIN_GAP_MS 50

/* A session with what only this file needs. Lives until the session has ended and its socket is
 * gone. */
struct record {
    struct session session;
    struct connection connection;
    struct message message;
    TAILQ_ENTRY(record) dirty;   /* has something to write, or to end, at the end of the turn */
    TAILQ_ENTRY(record) watched; /* was written to: does the peer take it? */
    TAILQ_ENTRY(record) closing; /* in the order of deadline_ms */
    TAILQ_ENTRY(record) gone;
    TAILQ_ENTRY(record) held; /* at its partition's: in the order of held_number, held_until_ms */
    bool is_dirty, is_watched, is_closing;
    bool is_held;    /* nothing is written to it yet */
    bool opened;     /* protocol->open was called */
    bool connected;  /* USER_CONNECT was sent */
    bool close_sent; /* nothing may be written any more */
    int close_code;
    char *close_text;
    uint64_t look_ms;
    uint64_t deadline_ms;
    uint64_t held_number; /* of the entry that tells its partition of it */
    uint64_t held_until_ms;
    size_t place; /* in the agenda */
    UT_hash_handle hh;
    max_align_t protocol_state[];
};

TAILQ_HEAD(record_list, record);

/* When a session is to be looked at next. Side by side, so that a walk over thousands that sleep
   touches none of them. */
struct appointment {
    uint64_t at_ms; /* loop time */
    struct record *record;
};

struct sessions {
    struct gateway *gateway;
    struct websocket_server *server;
    struct record *by_id;
    struct session *first, *last; /* all records, in the order they came */
    struct appointment *agenda;   /* of all records, in no order */
    size_t agenda_capacity;
    uint64_t last_id;
    size_t records;
    size_t unidentified; /* of them */
    struct record_list dirty, watched, closing, gone;
    struct record_list *held; /* by partition */
    size_t held_count;
    uv_timer_t held_timer; /* runs while there is one */
    uv_timer_t timer;
    unsigned tick;
    uv_timer_t drain_timer;
    size_t drain_batch;
    void (*drained)(void *arg);
    void *drained_arg;
};

static void on_held_timer(uv_timer_t *);

static struct record *record_of(struct session *session)
{
    return (struct record *)session;
}

static struct sessions *sessions_of(const struct record *record)
{
    return record->session.gateway->sessions;
}

static uint64_t now_ms(const struct record *record)
{
    return uv_now(record->session.gateway->loop);
}

static void set_state(struct session *session, enum session_state state)
{
    static const char *const names[] = {"opening", "open", "closing", "closed"};

    log_debug("session %llu: %s -> %s", (unsigned long long)session->id, names[session->state],
              names[state]);
    session->state = state;
}

static void set_dirty(struct record *record)
{
    if (record->is_dirty)
        return;
    record->is_dirty = true;
    TAILQ_INSERT_TAIL(&sessions_of(record)->dirty, record, dirty);
}

/* ---- the list of all ---- */

static void add_appointment(struct sessions *sessions, struct record *record)
{
    if (sessions->records == sessions->agenda_capacity) {
        sessions->agenda_capacity = sessions->agenda_capacity ? sessions->agenda_capacity * 2 : 64;
        sessions->agenda =
            xrealloc(sessions->agenda, sessions->agenda_capacity * sizeof(*sessions->agenda));
    }
    record->place = sessions->records++;
    sessions->agenda[record->place] = (struct appointment){.record = record};
}

static void remove_appointment(struct sessions *sessions, struct record *record)
{
    struct appointment last = sessions->agenda[--sessions->records];

    sessions->agenda[record->place] = last;
    last.record->place = record->place;
}

static void link_record(struct sessions *sessions, struct session *session)
{
    session->previous = sessions->last;
    *(sessions->last ? &sessions->last->next : &sessions->first) = session;
    sessions->last = session;
    add_appointment(sessions, record_of(session));
}

static void unlink_record(struct sessions *sessions, struct session *session)
{
    remove_appointment(sessions, record_of(session));
    *(session->previous ? &session->previous->next : &sessions->first) = session->next;
    *(session->next ? &session->next->previous : &sessions->last) = session->previous;
}

/* ---- whose session it is ---- */

/* Of a session that has none yet. */
static void set_identity(struct record *record, struct identity *identity)
{
    struct session *session = &record->session;

    session->identity = *identity;
    *identity = (struct identity){0};
    session->user = slice_text(session->identity.user);
    session->partition = SESSION_NOWHERE;
    if (session_is_identified(session))
        session->partition = partition_of(&session->gateway->deployment, session->user);
}

static void hold(struct record *record)
{
    struct sessions *sessions = sessions_of(record);
    uint32_t partition = record->session.partition;

    record->held_number = uplink_last(record->session.gateway->uplink, partition);
    record->held_until_ms = now_ms(record) + HOLD_MS;
    record->is_held = true;
    TAILQ_INSERT_TAIL(&sessions->held[partition], record, held);
    if (sessions->held_count++ == 0)
        uv_timer_start(&sessions->held_timer, on_held_timer, HOLD_LOOK_MS, HOLD_LOOK_MS);
}

static void let_go(struct record *record)
{
    struct sessions *sessions = sessions_of(record);

    if (!record->is_held)
        return;
    record->is_held = false;
    TAILQ_REMOVE(&sessions->held[record->session.partition], record, held);
    if (--sessions->held_count == 0)
        uv_timer_stop(&sessions->held_timer);
    if (record->connection.websocket)
        set_dirty(record);
}

void sessions_on_accepted(struct sessions *sessions, uint32_t partition, uint64_t number)
{
    struct record *record;

    while ((record = TAILQ_FIRST(&sessions->held[partition])) && record->held_number <= number)
        let_go(record);
}

static void on_held_timer(uv_timer_t *timer)
{
    struct sessions *sessions = timer->data;
    uint64_t now = uv_now(timer->loop);
    struct record *record;

    for (uint32_t p = 0; p < sessions->gateway->deployment.partitions; p++)
        while ((record = TAILQ_FIRST(&sessions->held[p])) && record->held_until_ms <= now)
            let_go(record);
}

static void connect_user(struct record *record)
{
    struct session *session = &record->session;

    record->connected = true;
    uplink_send(session->gateway->uplink, session->partition,
                &(struct frame){.type = FRAME_USER_CONNECT,
                                .user_connect = {.connection = session->id,
                                                 .user = session->user,
                                                 .protocol = session->protocol->id,
                                                 .flags = session_connection_flags(session),
                                                 .slot = session->slot}});
    hold(record);
    admission_join(session);
}

void session_identify(struct session *session, struct identity *identity)
{
    struct record *record = record_of(session);

    assert(session->state == SESSION_OPEN && !session_is_identified(session) && identity->user);
    set_identity(record, identity);
    sessions_of(record)->unidentified--;
    session_tick_soon(session);
    connect_user(record);
}

/* ---- life ---- */

void sessions_adopt(struct sessions *sessions, int descriptor,
                    const struct websocket_upgrade *upgrade, const struct protocol *protocol,
                    struct identity *identity, uint64_t flags, struct slice slot)
{
    struct record *record = xcalloc(1, sizeof(*record) + protocol->state_size);
    struct session *session = &record->session;

    session->id = ++sessions->last_id;
    session->gateway = sessions->gateway;
    session->protocol = protocol;
    set_identity(record, identity);
    sessions->unidentified += !session_is_identified(session);
    session->flags = flags;
    session->deflate = upgrade->deflate;
    session->slot = slice_of(xmemdup0(slot.data, slot.length), slot.length);
    session->protocol_state = record->protocol_state;
    session->heard_ms = now_ms(record);
    link_record(sessions, session);
    websocket_adopt(sessions->server, descriptor, upgrade, record);
}

static void free_record(struct sessions *sessions, struct record *record)
{
    unlink_record(sessions, &record->session);
    sessions->unidentified -= !session_is_identified(&record->session);
    identity_finish(&record->session.identity);
    free((char *)record->session.slot.data);
    connection_drop(&record->connection);
    buffer_finish(&record->message.gathered);
    free(record->close_text);
    free(record);
}

static void on_open(void *owner, struct websocket *websocket)
{
    struct record *record = owner;
    struct session *session = &record->session;
    struct sessions *sessions = sessions_of(record);

    record->connection.websocket = websocket;
    record->opened = true;
    HASH_ADD(hh, sessions->by_id, session.id, sizeof(session->id), record);
    set_state(session, SESSION_OPEN);
    gateway_count(GATEWAY_CONNECTIONS_ACCEPTED, 1);
    if (session_is_identified(session))
        connect_user(record);
    session->protocol->open(session);
}

/* Once for each session that was open: what others keep of it goes. Its record may stay, to say
 * goodbye. */
static void end_session(struct record *record)
{
    struct session *session = &record->session;

    if (session->state == SESSION_CLOSED)
        return;
    if (session->state == SESSION_OPEN) /* nobody sends to it on its way out */
        set_state(session, SESSION_CLOSING);
    if (record->opened) {
        if (record->connected)
            deliveries_session_closed(session->gateway->deliveries, session);
        HASH_DEL(sessions_of(record)->by_id, record);
        topics_session_closed(session->gateway->topics, session);
        rooms_session_closed(session->gateway->rooms, session);
        if (session->protocol->close)
            session->protocol->close(session);
        admission_leave(session);
    }
    set_state(session, SESSION_CLOSED);
}

static void forget_watch(struct record *record)
{
    if (record->is_watched)
        TAILQ_REMOVE(&sessions_of(record)->watched, record, watched);
    record->is_watched = false;
}

static void on_end(void *owner)
{
    struct record *record = owner;
    struct sessions *sessions = sessions_of(record);

    connection_mark_end(&record->connection);
    connection_taken(&record->connection);
    record->connection.websocket = NULL;
    connection_drop(&record->connection);
    end_session(record);
    let_go(record);
    forget_watch(record);
    if (record->is_closing)
        TAILQ_REMOVE(&sessions->closing, record, closing);
    if (record->is_dirty)
        TAILQ_REMOVE(&sessions->dirty, record, dirty);
    TAILQ_INSERT_TAIL(&sessions->gone, record, gone);
}

/* ---- what the client sends ---- */

static void hear(struct session *session)
{
    session->heard_ms = uv_now(session->gateway->loop);
    session->pinged_ms = 0;
}

static void on_pong(void *owner)
{
    hear(owner);
}

static void take_message(struct session *session, struct slice message, bool binary)
{
    gateway_count(GATEWAY_CLIENT_MESSAGES, 1);
    if (binary)
        session->protocol->on_binary(session, message);
    else
        session->protocol->on_text(session, message);
}

static void on_piece(void *owner, const struct websocket_piece *piece)
{
    struct record *record = owner;
    struct session *session = &record->session;
    const struct settings *settings = &session->gateway->settings;
    size_t limit = (size_t)(piece->binary ? settings->binary_frame_max : settings->text_frame_max);
    struct slice message;
    int result;

    hear(session);
    if (session->state != SESSION_OPEN)
        return;
    result = message_add(&record->message, piece, limit, &message);
    if (result == -EMSGSIZE)
        session_close(session, SESSION_CLOSE_TOO_BIG, "message too long");
    else if (result == -EILSEQ)
        session_close(session, SESSION_CLOSE_INVALID_TEXT, "text is not UTF-8");
    else if (result > 0)
        take_message(session, message, piece->binary);
    if (result != 0)
        buffer_finish(&record->message.gathered);
}

/* ---- closing ---- */

static const struct {
    int code;
    const char *text; /* when the caller has none */
} close_reasons[] = {
    [SESSION_CLOSE_NORMAL] = {1000, ""},
    [SESSION_CLOSE_SHUTDOWN] = {1001, "shutting down"},
    [SESSION_CLOSE_POLICY] = {1008, "policy"},
    [SESSION_CLOSE_INVALID_TEXT] = {1007, "invalid text"},
    [SESSION_CLOSE_TOO_BIG] = {1009, "too big"},
    [SESSION_CLOSE_RESTART] = {1012, "restart: reconnect with jitter"},
    [SESSION_CLOSE_REPLACED] = {4001, "replaced by another connection"},
    [SESSION_CLOSE_SLOW] = {4008, "does not keep up"},
    [SESSION_CLOSE_SILENT] = {1001, "no sign of life"},
    [SESSION_CLOSE_TOKEN] = {4401, "token expired or revoked"},
};

static void begin_closing(struct record *record)
{
    set_state(&record->session, SESSION_CLOSING);
    record->is_closing = true;
    record->deadline_ms = now_ms(record) + CLOSE_MS;
    TAILQ_INSERT_TAIL(&sessions_of(record)->closing, record, closing);
    forget_watch(record);
}

void session_close(struct session *session, enum session_close_reason reason, const char *text)
{
    struct record *record = record_of(session);

    if (session->state != SESSION_OPEN)
        return;
    text = text ? text : close_reasons[reason].text;
    record->close_code = close_reasons[reason].code;
    record->close_text = xmemdup0(text, strnlen(text, CLOSE_TEXT_MAX));
    log_debug("session %llu: closing with %d, %s", (unsigned long long)session->id,
              record->close_code, record->close_text);
    if (reason == SESSION_CLOSE_SLOW) {
        gateway_count(GATEWAY_SLOW_CONSUMERS, 1);
        connection_drop(&record->connection);
    }
    begin_closing(record);
    set_dirty(record);
}

/* A close frame goes out, or the socket is broken: nothing of ours follows. */
static void stop_writing(struct record *record)
{
    if (record->close_sent)
        return;
    record->close_sent = true;
    connection_mark_end(&record->connection);
    connection_drop(&record->connection);
    if (record->session.state == SESSION_OPEN)
        begin_closing(record);
}

static void on_peer_close(void *owner)
{
    stop_writing(owner);
}

static void send_close(struct record *record)
{
    stop_writing(record);
    websocket_close(record->connection.websocket, record->close_code,
                    slice_text(record->close_text));
}

/* ---- what goes to the client ---- */

static bool fits(const struct record *record, const struct wire *wire, enum send_class class)
{
    const struct settings *settings = &record->session.gateway->settings;
    const struct outbox *outbox = &record->connection.outbox;
    uint64_t share = class == SEND_DROPPABLE ? 2 : 1;

    return outbox_is_empty(outbox) ||
           (outbox->bytes + wire->length <= (uint64_t)settings->send_budget / share &&
            outbox->count + 1 <= (uint64_t)settings->send_frames / share);
}

/* NULL: it cannot be queued. Otherwise as this session gets it, with room for it. */
static struct wire *admit(struct session *session, struct wire *wire, enum send_class class)
{
    struct record *record = record_of(session);

    if (session->state != SESSION_OPEN)
        return NULL;
    if (session->deflate)
        wire = wire_deflate(wire);
    /* Much in one turn is not the peer's fault: only what the kernel does not take counts against
     * it. It may have taken all since it was full, and only this gateway has not seen to it yet. */
    if (!fits(record, wire, class) && connection_write(&record->connection) < 0)
        return NULL;
    if (!fits(record, wire, class) &&
        (class == SEND_DROPPABLE || !connection_may_go_on(&record->connection))) {
        if (class == SEND_NORMAL)
            session_close(session, SESSION_CLOSE_SLOW, NULL);
        return NULL;
    }
    return wire;
}

bool session_send(struct session *session, struct wire *wire, enum send_class class)
{
    wire = admit(session, wire, class);
    if (wire == NULL)
        return false;
    connection_push(&record_of(session)->connection, wire);
    set_dirty(record_of(session));
    return true;
}

bool session_send_urgent(struct session *session, struct wire *wire, uint64_t *begin, uint64_t *end)
{
    wire = admit(session, wire, SEND_NORMAL);
    if (wire == NULL)
        return false;
    *begin = connection_push_urgent(&record_of(session)->connection, wire);
    *end = *begin + wire->length;
    set_dirty(record_of(session));
    return true;
}

bool session_send_text(struct session *session, struct slice payload)
{
    struct wire *wire = wire_create(WIRE_TEXT, payload);
    bool queued = session_send(session, wire, SEND_NORMAL);

    wire_unref(&wire);
    return queued;
}

uint64_t session_bytes_queued(const struct session *session)
{
    return ((const struct record *)session)->connection.queued;
}

uint64_t session_bytes_taken(struct session *session)
{
    return connection_taken(&record_of(session)->connection);
}

static void on_writable(void *owner)
{
    struct record *record = owner;

    if (!record->close_sent && (record->close_code || !outbox_is_empty(&record->connection.outbox)))
        set_dirty(record);
}

static uint64_t look_interval(const struct gateway *gateway)
{
    uint64_t interval = (uint64_t)gateway->settings.stall_ms / LOOKS_IN_STALL;

    return interval < LOOK_MS ? interval : LOOK_MS;
}

static void watch(struct record *record)
{
    if (record->is_watched || record->session.state != SESSION_OPEN)
        return;
    record->is_watched = true;
    record->connection.progress_ms = now_ms(record);
    record->look_ms = now_ms(record) + look_interval(record->session.gateway);
    TAILQ_INSERT_TAIL(&sessions_of(record)->watched, record, watched);
}

static void flush(struct record *record)
{
    struct connection *connection = &record->connection;

    if (record->is_held && !record->close_code && !record->close_sent &&
        !websocket_is_closing(connection->websocket))
        return;
    if (websocket_is_closing(connection->websocket) ||
        (!record->close_sent && connection_write(connection) < 0))
        stop_writing(record);
    watch(record);
    if (record->close_code == close_reasons[SESSION_CLOSE_SLOW].code)
        end_session(record);
    if (record->close_code && !record->close_sent && connection_is_written(connection))
        send_close(record);
}

static void free_gone(struct sessions *sessions)
{
    struct record *record;

    while ((record = TAILQ_FIRST(&sessions->gone))) {
        TAILQ_REMOVE(&sessions->gone, record, gone);
        free_record(sessions, record);
    }
}

void sessions_flush(struct sessions *sessions)
{
    struct record *record;

    while ((record = TAILQ_FIRST(&sessions->dirty))) {
        TAILQ_REMOVE(&sessions->dirty, record, dirty);
        record->is_dirty = false;
        flush(record);
    }
    free_gone(sessions);
}

/* ---- time ---- */

static void ping(struct session *session)
{
    struct wire *wire = wire_create(WIRE_PING, slice_of(NULL, 0));

    session->pinged_ms = uv_now(session->gateway->loop);
    session_send(session, wire, SEND_DROPPABLE);
    wire_unref(&wire);
}

/* Messages and pongs are heard; the kernel also knows of a client's pings and of parts of frames.
 */
static uint64_t silence(struct record *record, uint64_t now)
{
    struct session *session = &record->session;
    uint64_t kernel;

    if (now - session->heard_ms < (uint64_t)session->gateway->settings.ping_after_ms)
        return now - session->heard_ms;
    kernel = connection_silence_ms(&record->connection);
    if (now - kernel > session->heard_ms + CLOCKS_APART_MS) {
        session->heard_ms = now - kernel;
        session->pinged_ms = 0;
    }
    return now - session->heard_ms;
}

static void visit(struct session *session, uint64_t now)
{
    const struct settings *settings = &session->gateway->settings;
    uint64_t silent;

    if (session->state != SESSION_OPEN)
        return;
    /* It has its own, shorter patience, and is told why. */
    if (!session_is_identified(session)) {
        if (now >= session->tick_due_ms)
            session->protocol->on_tick(session, now);
        return;
    }
    silent = silence(record_of(session), now);
    if (silent >= (uint64_t)settings->silence_max_ms) {
        session_close(session, SESSION_CLOSE_SILENT, NULL);
        return;
    }
    if (silent >= (uint64_t)settings->ping_after_ms && session->pinged_ms == 0)
        ping(session);
    if (now >= session->tick_due_ms || silent >= (uint64_t)settings->ping_after_ms)
        session->protocol->on_tick(session, now);
}

/* Later, if its client is heard of meanwhile; at once, if it is silent or not open. */
static uint64_t next_look(const struct session *session, uint64_t now)
{
    uint64_t ping_ms = session->heard_ms + (uint64_t)session->gateway->settings.ping_after_ms;

    if (session->state == SESSION_OPEN && !session_is_identified(session))
        return session->tick_due_ms;
    if (session->state != SESSION_OPEN || ping_ms <= now)
        return now;
    return session->tick_due_ms < ping_ms ? session->tick_due_ms : ping_ms;
}

/* Each tick its share of the agenda. Nothing is added to it or taken off meanwhile: sessions that
 * are closed go later. */
static void visit_some(struct sessions *sessions, uint64_t now)
{
    size_t from = sessions->records * sessions->tick / TICKS;
    size_t to = sessions->records * (sessions->tick + 1) / TICKS;

    sessions->tick = (sessions->tick + 1) % TICKS;
    for (struct appointment *next = sessions->agenda + from; next < sessions->agenda + to; next++) {
        if (next->at_ms > now)
            continue;
        visit(&next->record->session, now);
        next->at_ms = next_look(&next->record->session, now);
    }
}

void session_tick_soon(struct session *session)
{
    session->tick_due_ms = 0;
    session->gateway->sessions->agenda[record_of(session)->place].at_ms = 0;
}

static void look_at_watched(struct sessions *sessions, uint64_t now)
{
    uint64_t stall_ms = (uint64_t)sessions->gateway->settings.stall_ms;
    struct record *record;

    while ((record = TAILQ_FIRST(&sessions->watched)) && record->look_ms <= now) {
        enum connection_progress progress = connection_look(&record->connection, now, stall_ms);

        forget_watch(record);
        if (progress == CONNECTION_STALLED) {
            session_close(&record->session, SESSION_CLOSE_SLOW, NULL);
        } else if (progress == CONNECTION_MOVING) {
            record->is_watched = true;
            record->look_ms = now + look_interval(sessions->gateway);
            TAILQ_INSERT_TAIL(&sessions->watched, record, watched);
        }
    }
}

static void cut_overdue(struct sessions *sessions, uint64_t now)
{
    struct record *record;

    while ((record = TAILQ_FIRST(&sessions->closing)) && record->deadline_ms <= now) {
        TAILQ_REMOVE(&sessions->closing, record, closing);
        record->is_closing = false;
        websocket_cut(record->connection.websocket);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct sessions *sessions = timer->data;
    uint64_t now = uv_now(timer->loop);

    visit_some(sessions, now);
    look_at_watched(sessions, now);
    cut_overdue(sessions, now);
}

/* ---- all sessions ---- */

struct sessions *sessions_create(struct gateway *gateway)
{
    static const struct websocket_handlers handlers = {
        .on_open = on_open,
        .on_piece = on_piece,
        .on_pong = on_pong,
        .on_peer_close = on_peer_close,
        .on_writable = on_writable,
        .on_end = on_end,
    };
    struct websocket_server *server = websocket_server_create(gateway->loop, &handlers);
    struct sessions *sessions;

    if (server == NULL)
        return NULL;
    sessions = xcalloc(1, sizeof(*sessions));
    sessions->gateway = gateway;
    sessions->server = server;
    TAILQ_INIT(&sessions->dirty);
    TAILQ_INIT(&sessions->watched);
    TAILQ_INIT(&sessions->closing);
    TAILQ_INIT(&sessions->gone);
    uv_timer_init(gateway->loop, &sessions->timer);
    uv_timer_init(gateway->loop, &sessions->drain_timer);
    uv_timer_init(gateway->loop, &sessions->held_timer);
    sessions->timer.data = sessions->drain_timer.data = sessions->held_timer.data = sessions;
    sessions->held = xcalloc(gateway->deployment.partitions, sizeof(*sessions->held));
    for (uint32_t p = 0; p < gateway->deployment.partitions; p++)
        TAILQ_INIT(&sessions->held[p]);
    uv_timer_start(&sessions->timer, on_timer, TICK_MS, TICK_MS);
    return sessions;
}

void sessions_stop(struct sessions *sessions)
{
    websocket_server_stop(sessions->server);
    uv_close((uv_handle_t *)&sessions->timer, NULL);
    uv_close((uv_handle_t *)&sessions->drain_timer, NULL);
    uv_close((uv_handle_t *)&sessions->held_timer, NULL);
}

void sessions_destroy(struct sessions **sessions)
{
    if (*sessions == NULL)
        return;
    free_gone(*sessions);
    assert((*sessions)->first == NULL);
    websocket_server_destroy(&(*sessions)->server);
    free((*sessions)->agenda);
    free((*sessions)->held);
    free(*sessions);
    *sessions = NULL;
}

struct session *session_find_any(struct sessions *sessions, uint64_t id)
{
    struct record *record;

    HASH_FIND(hh, sessions->by_id, &id, sizeof(id), record);
    return record ? &record->session : NULL;
}

struct session *session_find(struct sessions *sessions, uint64_t id)
{
    struct session *session = session_find_any(sessions, id);

    return session && session->state == SESSION_OPEN ? session : NULL;
}

/* Records are freed at the end of the turn only: what visit closes stays where it is. */
void sessions_each(struct sessions *sessions, void (*visit_one)(struct session *, void *),
                   void *arg)
{
    for (struct session *session = sessions->first; session; session = session->next)
        if (session->state == SESSION_OPEN)
            visit_one(session, arg);
}

size_t sessions_unidentified(const struct sessions *sessions)
{
    return sessions->unidentified;
}

size_t sessions_count(const struct sessions *sessions)
{
    return HASH_COUNT(sessions->by_id);
}

void sessions_close_token(struct sessions *sessions, const char *token_id, struct slice user)
{
    for (struct session *session = sessions->first; session; session = session->next) {
        const char *own = session->identity.token_id;

        if (token_id ? own && strcmp(own, token_id) == 0 : slice_equal(session->user, user))
            session_close(session, SESSION_CLOSE_TOKEN, NULL);
    }
}

/* ---- draining ---- */

static void on_drain(uv_timer_t *timer)
{
    struct sessions *sessions = timer->data;
    size_t left = sessions->drain_batch;

    if (sessions->first == NULL) {
        sessions->drained(sessions->drained_arg);
        return;
    }
    for (struct session *session = sessions->first; session && left > 0; session = session->next) {
        if (session->state != SESSION_OPEN)
            continue;
        if (session->protocol->on_drain)
            session->protocol->on_drain(session);
        session_close(session, SESSION_CLOSE_RESTART, NULL);
        left--;
    }
    uv_timer_start(timer, on_drain, DRAIN_GAP_MS / 2 + uv_hrtime() / 1000 % DRAIN_GAP_MS, 0);
}

void sessions_drain(struct sessions *sessions, void (*done)(void *arg), void *arg)
{
    sessions->drained = done;
    sessions->drained_arg = arg;
    sessions->drain_batch = sessions->records / DRAIN_BATCHES + DRAIN_BATCH_MIN;
    uv_timer_start(&sessions->drain_timer, on_drain, 0, 0);
}
