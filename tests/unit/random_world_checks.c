#include "tests/unit/random_world.h"

#include "common/topic.h"

#include <stdio.h>

/* ---- whom a publish reaches ---- */

static bool set_matches(struct slice patterns, struct slice topic)
{
    while (patterns.length) {
        const char *comma = memchr(patterns.data, ',', patterns.length);
        size_t length = comma ? (size_t)(comma - patterns.data) : patterns.length;

        if (topic_matches(slice_of(patterns.data, length), topic))
            return true;
        length += comma != NULL;
        patterns = slice_of(patterns.data + length, patterns.length - length);
    }
    return false;
}

/* The gateway's connections that a topic reaches, as Redis has them. */
static uint64_t reached(const struct sim *sim, struct slice gateway, struct slice topic)
{
    size_t count;
    const struct engine_field *subs = model_store_hash(sim->side->store, "subs", gateway, &count);
    uint64_t total = 0;

    for (size_t i = 0; i < count; i++) {
        char kind = subs[i].name.data[0];
        struct slice name = slice_of(subs[i].name.data + 1, subs[i].name.length - 1);
        struct number connections = {0};

        if ((kind == '=' && slice_equal(name, topic)) || (kind == '~' && set_matches(name, topic)))
            if (number_parse(subs[i].value, &connections) == 0)
                total += connections.epoch;
    }
    return total;
}

void sim_expect_recipients(struct sim *sim)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->side->store, "in", NONE, &count);
    const struct engine_field *gateways;
    struct frame frame, more;

    sim->expected_request = sim->expected_recipients = 0;
    if (count != 1)
        return;
    frame_reader_start(sim->reader, model_entry_field(entries, "f"));
    if (frame_reader_next(sim->reader, &frame) != 1 || frame.type != FRAME_TOPIC_PUBLISH)
        return;
    gateways = model_store_hash(sim->side->store, "gateways", NONE, &count);
    for (size_t i = 0; i < count; i++) {
        uint64_t all = reached(sim, gateways[i].name, frame.topic_publish.topic);
        bool own = slice_equal(gateways[i].name, model_entry_field(entries, "g"));

        if (all && own && frame.topic_publish.matches && !frame.topic_publish.echo)
            all--;
        sim->expected_recipients += all;
    }
    sim->expected_request = frame.topic_publish.request;
    if (frame_reader_next(sim->reader, &more) != 0)
        sim->expected_request = 0;
}

/* ---- what must hold after each commit ---- */

static void note_number(struct sim *sim, struct slice id, struct number number, const char *where)
{
    struct sent *sent = &sim->sent[message_index(sim, id)];

    if (number_is_zero(sent->number))
        sent->number = number;
    else if (number_compare(sent->number, number) != 0 &&
             model_store_time(sim->side->store) < sent->first_ms + 110000)
        chance_fail(&sim->chance, "I2: %.*s was applied twice (%s)", (int)id.length, id.data,
                    where);
}

/* The connections of a gateway, as Redis has them. */
struct listed {
    const struct engine_field *fields;
    size_t count;
};

static bool lives(const struct listed *listed, uint64_t connection, struct slice to)
{
    for (size_t i = 0; i < listed->count; i++) {
        struct slice value = listed->fields[i].value;
        struct number id = {0};

        if (number_parse(listed->fields[i].name, &id) == 0 && id.epoch == connection)
            return value.length > to.length &&
                   memcmp(value.data + value.length - to.length, to.data, to.length) == 0;
    }
    return false;
}

static bool in_mailbox(const struct sim *sim, struct slice user, struct number number)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->side->store, "mailbox", user, &count);

    for (size_t i = 0; i < count; i++)
        if (number_compare(entries[i].number, number) == 0)
            return true;
    return count == 0;
}

/* Zero if there is none. */
static struct number stored_number(const struct sim *sim, const char *what, struct slice name,
                                   struct slice field)
{
    struct slice text = model_store_field(sim->side->store, what, name, field);
    struct number number = {0};

    if (text.length && number_parse(text, &number) < 0)
        chance_fail(&sim->chance, "%.*s in %s is no number", (int)field.length, field.data, what);
    return number;
}

static void check_delivery(struct sim *sim, const struct listed *listed,
                           const struct frame_message_delivery *delivery)
{
    bool live = false;
    struct sent *sent = &sim->sent[message_index(sim, delivery->id)];

    note_number(sim, delivery->id, delivery->number, "delivered");
    for (size_t i = 0; i < delivery->connections.count; i++)
        live |= lives(listed, delivery->connections.values[i], delivery->to);
    if (!live)
        return;
    /* Above neither, it would not be sent again. */
    if (number_compare(delivery->number, stored_number(sim, "seen", NONE, delivery->to)) <= 0 ||
        number_compare(delivery->number,
                       stored_number(sim, "user", delivery->to, slice_text("delivered"))) <= 0)
        return;
    sent->present = sim->stamp;
    if (sent->to < FIRST_KEEP_USER && sent->keeps &&
        !in_mailbox(sim, delivery->to, delivery->number))
        chance_fail(&sim->chance, "I5: m%zu is on its way and not in the mailbox",
                    (size_t)(sent - sim->sent));
}

static void check_reply(struct sim *sim, const struct frame_direct_reply *reply)
{
    struct sent *sent = &sim->sent[message_index(sim, reply->id)];

    if (reply->status <= DIRECT_QUEUED)
        sent->accepted = true;
    else
        sent->refused = true;
}

static void check_recipients(struct sim *sim, const struct frame_publish_reply *reply)
{
    if (sim->expected_request == 0 || reply->request != sim->expected_request)
        return;
    sim->recipients_checked++;
    if (reply->recipients != sim->expected_recipients)
        chance_fail(&sim->chance, "recipients %d, not %d", (int)reply->recipients,
                    (int)sim->expected_recipients);
}

static void check_output(struct sim *sim, struct slice gateway)
{
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->side->store, "out", gateway, &count);
    struct listed listed;
    struct number this_commit = number_make(sim->side->commit_epoch, sim->side->commit_number, 0);
    struct frame frame;

    listed.fields = model_store_hash(sim->side->store, "conns", gateway, &listed.count);
    for (size_t i = 0; i < count; i++) {
        frame_reader_start(sim->reader, model_entry_field(&entries[i], "e"));
        while (frame_reader_next(sim->reader, &frame) == 1) {
            if (frame.type == FRAME_MESSAGE_DELIVERY)
                check_delivery(sim, &listed, &frame.message_delivery);
            else if (frame.type == FRAME_DIRECT_REPLY)
                check_reply(sim, &frame.direct_reply);
            else if (frame.type == FRAME_PUBLISH_REPLY &&
                     number_compare(entries[i].number, this_commit) == 0)
                check_recipients(sim, &frame.publish_reply);
        }
    }
}

/* S13: what waits is what is above the watermark, and the index names what is there. */
static void check_unread(struct sim *sim, unsigned user, const struct engine_page_entry *entries,
                         size_t count)
{
    struct slice name = slice_text(user_name(user));
    struct number delivered = stored_number(sim, "user", name, slice_text("delivered"));
    uint64_t waiting = stored_number(sim, "user", name, slice_text("waiting")).epoch;
    uint64_t above = 0;
    size_t named;

    if (model_store_field(sim->side->store, "user", name, slice_text("keep")).length == 0)
        return;
    for (size_t i = 0; i < count; i++)
        above += number_compare(entries[i].number, delivered) > 0;
    if (above != waiting)
        chance_fail(&sim->chance, "S13: %d of u%u wait, %d are counted", (int)above, user,
                    (int)waiting);
    model_store_hash(sim->side->store, "unread", name, &named);
    if (named > count)
        chance_fail(&sim->chance, "S13: the index of u%u names more than there is", user);
}

static void check_mailbox(struct sim *sim, unsigned user)
{
    struct slice name = slice_text(user_name(user));
    struct slice counted = model_store_field(sim->side->store, "user", name, slice_text("mailbox"));
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->side->store, "mailbox", name, &count);
    struct number number = {0};

    for (size_t i = 0; i < count; i++) {
        struct slice id = model_entry_field(&entries[i], "id");

        note_number(sim, id, entries[i].number, "stored");
        sim->sent[message_index(sim, id)].present = sim->stamp;
    }
    if (counted.length && number_parse(counted, &number) < 0)
        chance_fail(&sim->chance, "mailbox of u%u is no number", user);
    if (number.epoch != count)
        chance_fail(&sim->chance, "mailbox of u%u: %zu entries, counted %d", user, count,
                    (int)number.epoch);
    if (keeps_unread(user))
        check_unread(sim, user, entries, count);
}

/* Not what is too old: its copy in the mailbox goes before the one in a stream. Nor of those whose
 * connections are replaced: one that was may be told of late, and lives on. */
static bool stays_gone(const struct sent *sent)
{
    return sent->keeps && !sent->resent && (keeps_unread(sent->to) || !replaces(sent->to));
}

/* I3: what was accepted is on its way, or waits, until somebody has it (or, of one who
 * acknowledges, until his word). */
static void check_kept(struct sim *sim)
{
    for (size_t i = 0; i < sim->sent_count; i++) {
        struct sent *sent = &sim->sent[i];
        bool told = sent->to >= FIRST_ACK_USER || keeps_unread(sent->to);
        bool done = told ? sent->acked : sent->taken;

        if (partition_of_user(sent->to) != sim->side->partition)
            continue;

        if (sent->present == sim->stamp)
            sent->accepted = true;
        if (sent->gone && sent->present == sim->stamp && stays_gone(sent))
            chance_fail(&sim->chance, "m%zu to u%u was gone and is there again", i, sent->to);
        sent->gone = sent->accepted && sent->present != sim->stamp;
        if (sent->accepted && sent->keeps && !done && sent->present != sim->stamp)
            chance_fail(&sim->chance, "I3: m%zu to u%u was accepted and is gone", i, sent->to);
    }
}

/* S9: entries of another partition come in order of its commits. */
static void note_forwards(struct sim *sim, const struct engine_page_entry *entries, size_t count)
{
    struct number last[PARTITIONS] = {{0, 0}};

    for (size_t i = 0; i < count; i++) {
        struct slice source = model_entry_field(&entries[i], "g");
        struct number number;
        size_t from;

        if (source.length != 2 || source.data[0] != 'p')
            continue;
        from = (size_t)(source.data[1] - '0');
        if (number_parse(model_entry_field(&entries[i], "n"), &number) < 0 ||
            number_compare(number, last[from]) <= 0)
            chance_fail(&sim->chance, "S9: an entry of p%zu out of order", from);
        last[from] = number;
        if (number_compare(number, sim->side->forwarded[from]) > 0)
            sim->side->forwarded[from] = number;
    }
}

/* I1 and I2: numbers of commits, and what is left of `in`. */
static void check_state(struct sim *sim)
{
    struct number epoch = {0}, commit = {0}, position = {0};
    struct slice text = model_store_field(sim->side->store, "state", NONE, slice_text("pos"));
    size_t count;
    const struct engine_page_entry *entries =
        model_store_stream(sim->side->store, "in", NONE, &count);

    if (number_parse(model_store_field(sim->side->store, "state", NONE, slice_text("epoch")),
                     &epoch) < 0 ||
        number_parse(model_store_field(sim->side->store, "state", NONE, slice_text("commit")),
                     &commit) < 0)
        chance_fail(&sim->chance, "state is not readable");
    note_forwards(sim, entries, count);
    if (epoch.epoch < sim->side->commit_epoch ||
        (epoch.epoch == sim->side->commit_epoch && commit.epoch != sim->side->commit_number + 1))
        chance_fail(&sim->chance, "I1: commit %d after %d", (int)commit.epoch,
                    (int)sim->side->commit_number);
    sim->side->commit_epoch = epoch.epoch;
    sim->side->commit_number = commit.epoch;
    if (text.length && number_parse(text, &position) < 0)
        chance_fail(&sim->chance, "pos is no number");
    if (count && number_compare(entries[0].number, position) <= 0)
        chance_fail(&sim->chance, "I2: an applied entry is still in `in`");
}

static void excuse_forgotten(struct sim *sim)
{
    for (size_t i = 0; i < GATEWAYS; i++)
        if (model_store_field(sim->side->store, "gateways", NONE, slice_text(sim->places[i].id))
                .length == 0)
            model_gateway_excuse(line_of(sim, &sim->places[i])->gateway);
}

static void check_all(struct sim *sim)
{
    size_t count;
    const struct engine_field *gateways =
        model_store_hash(sim->side->store, "gateways", NONE, &count);

    sim->stamp++;
    check_state(sim);
    for (size_t i = 0; i < count; i++)
        check_output(sim, gateways[i].name);
    for (unsigned user = 0; user < USERS; user++)
        if (partition_of_user(user) == sim->side->partition)
            check_mailbox(sim, user);
    check_kept(sim);
    excuse_forgotten(sim);
}

static void note_all_forwards(struct sim *sim)
{
    struct side *side = sim->side;

    for (uint32_t i = 0; i < PARTITIONS; i++) {
        size_t count;
        const struct engine_page_entry *entries;

        speak_of(sim, i);
        entries = model_store_stream(sim->side->store, "in", NONE, &count);
        note_forwards(sim, entries, count);
    }
    sim->side = side;
}

/* I8: the same bytes again change nothing. */
static void check_replay(struct sim *sim, const struct model_commit *commit)
{
    uint64_t digest = model_store_digest(sim->side->store);

    if (model_store_run(sim->side->store, commit) != MODEL_DONE)
        chance_fail(&sim->chance, "I8: a commit that ran could run again");
    if (sim->side->before != NULL) {
        enum model_result result = model_store_run(sim->side->store, sim->side->before);

        if (result != MODEL_STALE && result != MODEL_LOST && result != MODEL_DONE)
            chance_fail(&sim->chance, "I8: an old commit ran again");
    }
    if (model_store_digest(sim->side->store) != digest)
        chance_fail(&sim->chance, "I8: a replay changed something");
}

enum model_result sim_run_commit(struct sim *sim, const struct model_commit *commit)
{
    enum model_result result = model_store_run(sim->side->store, commit);

    if (result == MODEL_FAILED)
        chance_fail(&sim->chance, "an effect failed: %s", model_store_problem(sim->side->store));
    if (result == MODEL_OK) {
        check_replay(sim, commit);
        check_all(sim);
        note_all_forwards(sim);
    }
    return result;
}
