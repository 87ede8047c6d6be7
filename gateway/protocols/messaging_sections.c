#include "common/topic.h"
#include "common/user.h"
#include "gateway/protocols/messaging.h"
#include "gateway/topics/topics.h"
#include "gateway/bus/uplink.h"

#include <errno.h>

#define ID_MAX 128
#define ERRORS_MAX 256 /* in one frame of the errors section */
/* What has no id is not listed endlessly: small entries would be answered by big ones. */
#define NAMELESS_ERRORS_MAX 64

/* One frame of a client, while it is handled. */
struct input {
    struct session *session;
    const struct json *json;
    const char *section; /* that is handled */
    struct buffer errors;
    size_t error_count; /* in errors */
    size_t nameless_errors;
};

/* One entry of a section. */
struct entry {
    const struct json_value *value;
    struct slice raw;
};

static const struct messaging_fault fine;

/* ---- errors: gathered, and sent when the frame has been handled ---- */

static void flush_errors(struct input *input)
{
    if (input->error_count == 0)
        return;
    messaging_close_errors(&input->errors);
    session_send_text(input->session, buffer_slice(&input->errors));
    buffer_reset(&input->errors, SIZE_MAX);
    input->error_count = 0;
}

static void add_error(struct input *input, struct slice id, struct messaging_fault fault,
                      uint64_t retry_after_ms)
{
    struct messaging_error error = {
        .section = input->section,
        .id = id,
        .code = fault.code,
        .message = fault.message,
        .retry_after_ms = fault.code == MESSAGING_UNAVAILABLE ? MESSAGING_RETRY_MS : retry_after_ms,
    };

    if (id.length == 0 && ++input->nameless_errors > NAMELESS_ERRORS_MAX)
        return;
    if (id.length == 0 && input->nameless_errors == NAMELESS_ERRORS_MAX)
        error.message = "this and others without an id are refused";
    messaging_encode_error(&input->errors, &error);
    gateway_count(GATEWAY_CLIENT_ERRORS, 1);
    if (++input->error_count == ERRORS_MAX)
        flush_errors(input);
}

/* ---- fields ---- */

static bool is_id_type(const struct json_value *value)
{
    return json_type(value) == JSON_NUMBER || json_type(value) == JSON_STRING;
}

static bool is_id(const struct json_value *value)
{
    struct slice text = json_text(value);

    return is_id_type(value) && text.length > 0 && text.length <= ID_MAX && text_is_printable(text);
}

static struct messaging_fault malformed(const char *message)
{
    return (struct messaging_fault){MESSAGING_MALFORMED, message};
}

static struct messaging_fault unavailable(void)
{
    gateway_count(GATEWAY_CREDIT_REFUSED, 1);
    return (struct messaging_fault){MESSAGING_UNAVAILABLE, "the service cannot take this now"};
}

static bool has_credit(const struct session *session, uint32_t partition)
{
    return uplink_has_credit(session->gateway->uplink, partition);
}

static void send_frame(const struct session *session, uint32_t partition, const struct frame *frame)
{
    uplink_send(session->gateway->uplink, partition, frame);
}

/* An object with an id. */
static struct messaging_fault check_entry(const struct entry *entry)
{
    if (json_type(entry->value) != JSON_OBJECT)
        return malformed("this must be an object");
    if (!is_id(json_member(entry->value, "id")))
        return malformed("id must be a number or a string of 1 to 128 bytes");
    return fine;
}

/* ---- read ---- */

static struct messaging_fault read_one(struct input *input, const struct entry *entry)
{
    const struct session *session = input->session;
    const struct json_value *from = json_member(entry->value, "sid");
    struct messaging_fault fault = check_entry(entry);

    if (fault.message)
        return fault;
    if (from && (!is_id_type(from) || !user_allowed(json_text(from), true)))
        return malformed("sid must be a user id");
    if (!has_credit(session, session->partition) && !gateway_can_free(session->gateway))
        return unavailable();
    send_frame(session, session->partition,
               &(struct frame){.type = FRAME_MESSAGE_READ,
                               .message_read = {.connection = session->id,
                                                .user = session->user,
                                                .id = json_text(json_member(entry->value, "id")),
                                                .from = json_text(from)}});
    return fine;
}

/* ---- send ---- */

/* Numbers of requests: counted, with notes for the answer (messaging.h). */
static uint64_t next_request(const struct entry *entry, uint64_t notes)
{
    static uint64_t last;

    if (json_type(json_member(entry->value, "id")) == JSON_NUMBER)
        notes |= MESSAGING_NUMBER_ID;
    if (json_type(json_member(entry->value, "rid")) == JSON_NUMBER)
        notes |= MESSAGING_NUMBER_RID;
    return ++last << MESSAGING_NOTE_BITS | notes;
}

/* The message as its receivers get it: as it was sent, with the sender if he has left himself out.
 * Valid until the next one. */
static struct slice body_of(const struct session *session, const struct entry *entry)
{
    static struct buffer body;

    if (json_member(entry->value, "sid"))
        return entry->raw;
    buffer_reset(&body, SIZE_MAX);
    buffer_append_text(&body, "{\"sid\":");
    buffer_append_json_string(&body, session->user);
    buffer_append_byte(&body, ',');
    buffer_append(&body, entry->raw.data + 1, entry->raw.length - 1);
    return buffer_slice(&body);
}

static struct messaging_fault publish(const struct session *session, const struct entry *entry,
                                      struct slice topic, uint64_t notes)
{
    uint32_t partition = partition_of(&session->gateway->deployment, topic);
    struct frame frame;

    if (!has_credit(session, partition))
        return unavailable();
    frame = (struct frame){
        .type = FRAME_TOPIC_PUBLISH,
        .topic_publish = {.connection = session->id,
                          .request = next_request(entry, notes),
                          .from = session->user,
                          .topic = topic,
                          .id = json_text(json_member(entry->value, "id")),
                          .retry = 1,
                          .matches = topics_session_matches(session, topic),
                          .protocol = FRAME_PROTOCOL_MESSAGING,
                          .content = CONTENT_JSON,
                          .body = body_of(session, entry)},
    };
    send_frame(session, partition, &frame);
    return fine;
}

static struct messaging_fault send_to_channel(const struct session *session,
                                              const struct entry *entry)
{
    const struct json_value *channel = json_member(entry->value, "channel");
    struct slice topic = json_text(channel);

    if (channel == NULL)
        return malformed("rid is missing");
    if (json_type(channel) != JSON_STRING || topic_is_presence(topic) || !topic_valid(topic))
        return malformed("channel must be the name of a topic");
    if (!topic_permitted(session->identity.publish_topics, topic))
        return (struct messaging_fault){MESSAGING_FORBIDDEN,
                                        "sending to this channel is not permitted"};
    return publish(session, entry, topic, 0);
}

static struct messaging_fault send_to_everybody(const struct session *session,
                                                const struct entry *entry)
{
    if (!session->gateway->settings.open_identity && !session->identity.admin)
        return (struct messaging_fault){MESSAGING_FORBIDDEN, "only an admin may send to everybody"};
    return publish(session, entry, slice_text(MESSAGING_EVERYBODY), MESSAGING_TO_EVERYBODY);
}

static struct messaging_fault send_to_user(const struct session *session, const struct entry *entry,
                                           struct slice user)
{
    uint32_t partition = partition_of(&session->gateway->deployment, user);
    struct frame frame;

    if (!has_credit(session, partition))
        return unavailable();
    frame = (struct frame){
        .type = FRAME_DIRECT_MESSAGE,
        .direct_message = {.connection = session->id,
                           .request = next_request(entry, 0),
                           .from = session->user,
                           .to = user,
                           .id = json_text(json_member(entry->value, "id")),
                           .retry = 1,
                           .policy = DELIVERY_STORE,
                           .protocol = FRAME_PROTOCOL_MESSAGING,
                           .content = CONTENT_JSON,
                           .body = body_of(session, entry)},
    };
    send_frame(session, partition, &frame);
    return fine;
}

static struct messaging_fault send_one(struct input *input, const struct entry *entry)
{
    const struct session *session = input->session;
    const struct json_value *from = json_member(entry->value, "sid");
    const struct json_value *to = json_member(entry->value, "rid");
    struct messaging_fault fault = check_entry(entry);

    if (fault.message)
        return fault;
    if (from && !is_id_type(from))
        return malformed("sid must be a user id");
    if (from && !slice_equal(json_text(from), session->user))
        return (struct messaging_fault){MESSAGING_FORBIDDEN, "sid must be the sender's own"};
    if (to == NULL)
        return send_to_channel(session, entry);
    if (json_type(to) == JSON_STRING && slice_is(json_text(to), "*"))
        return send_to_everybody(session, entry);
    if (!is_id_type(to) || !user_allowed(json_text(to), true))
        return malformed("rid must be a user id");
    return send_to_user(session, entry, json_text(to));
}

/* ---- sections ---- */

/* For an error: what stands there as JSON; empty when it could not be repeated. */
static struct slice repeatable_id(const struct input *input, const struct json_value *value)
{
    return is_id(json_member(value, "id")) ? json_member_raw(input->json, value, "id")
                                           : slice_of(NULL, 0);
}

static void each_entry(struct input *input, const struct json_value *list, struct slice raw,
                       struct messaging_fault (*handle)(struct input *, const struct entry *))
{
    struct slice rest = json_elements(raw);
    struct entry entry = {.value = json_first(list)};

    for (size_t left = json_count(list); left > 0 && json_cut_element(&rest, &entry.raw); left--) {
        struct messaging_fault fault = handle(input, &entry);

        if (fault.message)
            add_error(input, repeatable_id(input, entry.value), fault, 0);
        if (left > 1)
            entry.value = json_next(entry.value);
    }
}

static void do_read(struct input *input, const struct json_value *list, struct slice raw)
{
    each_entry(input, list, raw, read_one);
}

static void do_send(struct input *input, const struct json_value *list, struct slice raw)
{
    each_entry(input, list, raw, send_one);
}

static void report_channel(void *arg, struct slice raw, struct messaging_fault fault)
{
    add_error(arg, raw, fault, 0);
}

static void do_unsubscribe(struct input *input, const struct json_value *list, struct slice raw)
{
    (void)raw;
    messaging_change_channels(input->session, list, false, report_channel, input);
}

static void do_subscribe(struct input *input, const struct json_value *list, struct slice raw)
{
    (void)raw;
    messaging_change_channels(input->session, list, true, report_channel, input);
}

/* In the order in which a frame's are handled. */
static const struct section {
    const char *name;
    void (*handle)(struct input *, const struct json_value *list, struct slice raw);
} sections[] = {
    {"read", do_read},
    {"send", do_send},
    {"unsubscribe", do_unsubscribe},
    {"subscribe", do_subscribe},
};

#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

static void handle_section(struct input *input, const struct json_value *root,
                           const struct section *section)
{
    const struct json_value *list = json_member(root, section->name);

    if (list == NULL)
        return;
    input->section = section->name;
    if (json_type(list) != JSON_ARRAY)
        add_error(input, slice_of(NULL, 0), malformed("a section must be a list"), 0);
    else
        section->handle(input, list, json_member_raw(input->json, root, section->name));
}

/* ---- the frame as a whole ---- */

static const char *read_frame(struct json *json, struct slice message)
{
    int result = json_read(json, message);

    if (result == -EOVERFLOW)
        return "the message is nested too deeply";
    if (result == -EEXIST)
        return "the message has a key twice in one object";
    if (result != 0)
        return "the message is not JSON";
    if (json_type(json_root(json)) != JSON_OBJECT)
        return "the message must be a JSON object";
    return NULL;
}

/* Channels and everybody have the limit of broadcasts; what is read, that of acknowledgements. */
static bool is_direct(const struct json_value *entry)
{
    const struct json_value *to = json_member(entry, "rid");

    return to && !slice_is(json_text(to), "*");
}

static void count_entries(const struct json_value *root, size_t counts[LIMITS])
{
    const struct json_value *send = json_member(root, "send");
    size_t left = json_type(send) == JSON_ARRAY ? json_count(send) : 0;

    counts[LIMIT_ACK] = json_count(json_member(root, "read"));
    counts[LIMIT_SUBSCRIBE] = json_count(json_member(root, "subscribe")) > 0;
    for (const struct json_value *entry = left ? json_first(send) : NULL; left > 0; left--) {
        if (json_type(entry) == JSON_OBJECT)
            counts[is_direct(entry) ? LIMIT_DIRECT : LIMIT_BROADCAST]++;
        if (left > 1)
            entry = json_next(entry);
    }
}

static void handle_frame(struct input *input, const struct json_value *root, const char *problem)
{
    size_t counts[LIMITS] = {0};
    uint64_t wait_ms;

    if (problem == NULL)
        count_entries(root, counts);
    wait_ms = admission_take_all(input->session, counts);
    if (wait_ms > 0)
        add_error(input, slice_of(NULL, 0),
                  (struct messaging_fault){MESSAGING_RATE_LIMITED,
                                           "too many messages: this one has no effect"},
                  wait_ms);
    else if (problem)
        add_error(input, slice_of(NULL, 0), malformed(problem), 0);
    else
        for (size_t i = 0; i < SECTIONS; i++)
            handle_section(input, root, &sections[i]);
    flush_errors(input);
}

void messaging_on_text(struct session *session, struct slice message)
{
    static struct json *json;
    struct input input = {.session = session};
    const char *problem;

    if (json == NULL)
        json = json_create();
    input.json = json;
    problem = read_frame(json, message);
    handle_frame(&input, json_root(json), problem);
    buffer_finish(&input.errors);
}

void messaging_on_binary(struct session *session, struct slice message)
{
    struct input input = {.session = session};

    (void)message;
    handle_frame(&input, NULL, "binary messages are not known here");
    buffer_finish(&input.errors);
}
