#include "gateway/topics/topic_fanout.h"

#include "gateway/topics/history.h"
#include "gateway/topics/topic_metadata.h"
#include "gateway/session/session.h"

#include <stdlib.h>

/* What an encoding buffer may keep for the next message. */
#define KEEP_BYTES (256u << 10)

typedef void encode_fn(const struct protocol *, struct buffer *, const void *message, int *opcode);

/* One message on its way to all its receivers. */
struct fanout {
    struct topic_fanout *memory;
    uint32_t partition;
    const struct frame_topic_message *topic_message; /* if it is one */
    const struct session *exclude;
    enum send_class class;
    bool urgent; /* before others that wait for the connection; of the class SEND_NORMAL */
    encode_fn *encode;
    const void *message;
    bool stamped; /* more than one target: a session may be in several */
    uint64_t sent;
    struct wire *wires[PROTOCOL_SLOTS];
    bool empty[PROTOCOL_SLOTS]; /* the protocol has no words for it */
};

void topic_fanout_finish(struct topic_fanout *memory)
{
    free(memory->matches.targets);
    buffer_finish(&memory->encoded);
}

bool topic_fanout_in_force(const struct subscription *subscription, uint32_t partition)
{
    if (subscription->key.target->kind == TARGET_PRESENCE)
        return subscription->wanted;
    if (subscription->mask)
        return subscription->mask[partition / 64] >> partition % 64 & 1;
    return subscription->in_force;
}

/* One that appends nothing has no words for it. */
static void encode_topic_message(const struct protocol *protocol, struct buffer *out,
                                 const void *message, int *opcode)
{
    if (protocol->encode_topic_message)
        protocol->encode_topic_message(out, message, opcode);
}

static void encode_presence(const struct protocol *protocol, struct buffer *out,
                            const void *message, int *opcode)
{
    if (protocol->encode_presence)
        protocol->encode_presence(out, message, opcode);
}

static void encode_signal(const struct protocol *protocol, struct buffer *out, const void *message,
                          int *opcode)
{
    if (protocol->encode_signal)
        protocol->encode_signal(out, message, opcode);
}

static struct wire *make_wire(struct fanout *fanout, const struct protocol *protocol)
{
    struct buffer *encoded = &fanout->memory->encoded;
    int opcode = WIRE_TEXT;

    buffer_reset(encoded, KEEP_BYTES);
    fanout->encode(protocol, encoded, fanout->message, &opcode);
    fanout->empty[protocol->id] = encoded->length == 0;
    if (encoded->length == 0)
        return NULL;
    return wire_create((enum wire_opcode)opcode, buffer_slice(encoded));
}

static bool send_first(struct session *session, struct wire *wire)
{
    uint64_t begin, end;

    if (!session_send_urgent(session, wire, &begin, &end))
        return false;
    unconfirmed_shift(&session->unconfirmed, begin, end - begin);
    return true;
}

static void send_one(struct fanout *fanout, struct session *session)
{
    struct wire **wire = &fanout->wires[session->protocol->id];

    if (*wire == NULL && !fanout->empty[session->protocol->id])
        *wire = make_wire(fanout, session->protocol);
    if (*wire != NULL)
        fanout->sent += fanout->urgent ? send_first(session, *wire)
                                       : session_send(session, *wire, fanout->class);
}

static bool stamp(struct fanout *fanout, struct session *session)
{
    if (session->topics->stamp == fanout->memory->stamp)
        return false;
    session->topics->stamp = fanout->memory->stamp;
    return true;
}

static bool is_behind(const struct fanout *fanout, const struct receiver *receiver)
{
    return fanout->topic_message && receiver->subscription->key.target->kind == TARGET_TOPIC &&
           !history_passes(receiver->subscription, fanout->topic_message);
}

/* Whether the session is to get it here. One that is behind its topic gets it later, and not by a
 * pattern either: the topic itself comes before its patterns. */
static bool wants(struct fanout *fanout, const struct receiver *receiver)
{
    bool behind = !receiver->settled && is_behind(fanout, receiver);

    if (!behind && !receiver->settled &&
        !topic_fanout_in_force(receiver->subscription, fanout->partition))
        return false;
    if (receiver->session == fanout->exclude)
        return false;
    return (!fanout->stamped || stamp(fanout, receiver->session)) && !behind;
}

/* From the end down: sending may close the session, which takes it out of the list. */
static void send_target(struct fanout *fanout, const struct target *target)
{
    for (size_t i = target->count; i-- > 0;) {
        if (wants(fanout, &target->receivers[i]))
            send_one(fanout, target->receivers[i].session);
    }
}

static void send_all(struct fanout *fanout, struct topic_index *index)
{
    struct target_list *list = &fanout->memory->matches;

    fanout->stamped = list->count > 1;
    fanout->memory->stamp++;
    for (size_t i = 0; i < list->count; i++)
        list->targets[i]->busy++;
    for (size_t i = 0; i < list->count; i++)
        send_target(fanout, list->targets[i]);
    for (size_t i = 0; i < list->count; i++) {
        list->targets[i]->busy--;
        topic_index_release(index, list->targets[i]);
    }
}

static void finish(struct fanout *fanout)
{
    for (size_t i = 0; i < PROTOCOL_SLOTS; i++)
        wire_unref(&fanout->wires[i]);
}

struct everybody {
    struct fanout *fanout;
    const struct protocol *only;
};

static void send_everybody(struct session *session, void *arg)
{
    const struct everybody *everybody = arg;

    if (session != everybody->fanout->exclude && session_is_identified(session) &&
        (everybody->only == NULL || session->protocol == everybody->only))
        send_one(everybody->fanout, session);
}

/* To all sessions of a protocol, or all. */
static void send_endpoint(struct fanout *fanout, struct sessions *sessions,
                          const struct protocol *only)
{
    struct everybody everybody = {.fanout = fanout, .only = only};

    sessions_each(sessions, send_everybody, &everybody);
}

void topic_fanout_endpoint(struct topic_fanout *memory, struct sessions *sessions,
                           const struct protocol *only, const struct session *exclude,
                           const struct frame_topic_message *message)
{
    struct fanout fanout = {
        .memory = memory,
        .exclude = exclude,
        .class = SEND_NORMAL,
        .urgent = topic_message_is_urgent(message),
        .encode = encode_topic_message,
        .message = message,
    };

    send_endpoint(&fanout, sessions, only);
    finish(&fanout);
    gateway_count(GATEWAY_TOPIC_DELIVERIES, fanout.sent);
}

void topic_fanout_signal(struct topic_fanout *memory, struct sessions *sessions,
                         const struct frame_signal_delivery *signal)
{
    struct fanout fanout = {
        .memory = memory,
        .class = SEND_DROPPABLE,
        .encode = encode_signal,
        .message = signal,
    };

    for (size_t i = 0; i < signal->connections.count; i++) {
        struct session *session = session_find(sessions, signal->connections.values[i]);

        /* One that follows no events, or says it is offline, is not there. */
        if (session && !(session->flags & CONNECTION_FLAG_HIDDEN))
            send_one(&fanout, session);
    }
    finish(&fanout);
}

void topic_fanout_message(struct topic_fanout *memory, struct topic_index *index,
                          uint32_t partition, const struct session *exclude,
                          const struct frame_topic_message *message)
{
    struct fanout fanout = {
        .memory = memory,
        .topic_message = message,
        .partition = partition,
        .exclude = exclude,
        .class = SEND_NORMAL,
        .urgent = topic_message_is_urgent(message),
        .encode = encode_topic_message,
        .message = message,
    };

    memory->matches.count = 0;
    topic_index_match(index, message->topic, &memory->matches);
    send_all(&fanout, index);
    finish(&fanout);
    gateway_count(GATEWAY_TOPIC_DELIVERIES, fanout.sent);
}

static void append_followed(struct topic_fanout *memory, const struct topic_index *index,
                            struct slice user)
{
    struct target *target = topic_index_find(index, TARGET_PRESENCE, user);

    if (target)
        target_list_append(&memory->matches, target);
}

void topic_fanout_presence(struct topic_fanout *memory, struct topic_index *index,
                           const struct frame_presence_state *state)
{
    struct fanout fanout = {
        .memory = memory,
        .class = SEND_DROPPABLE,
        .encode = encode_presence,
        .message = state,
    };

    memory->matches.count = 0;
    append_followed(memory, index, state->user);
    append_followed(memory, index, slice_text("*"));
    send_all(&fanout, index);
    finish(&fanout);
}

void topic_fanout_state(struct topic_fanout *memory, struct session *session,
                        const struct frame_presence_state *state)
{
    struct fanout fanout = {
        .memory = memory,
        .class = SEND_DROPPABLE,
        .encode = encode_presence,
        .message = state,
    };

    send_one(&fanout, session);
    finish(&fanout);
}
