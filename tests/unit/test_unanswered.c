/*
 * Who is told that his answer was lost: unanswered.c with a session, a backend and a claim that
 * keep what they hear.
 */
#include "gateway/api/backend.h"
#include "gateway/bus/unanswered.h"
#include "gateway/session/claims.h"
#include "gateway/session/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static char told[512];

static void note(const char *who, uint64_t request, struct slice id)
{
    size_t length = strlen(told);

    snprintf(told + length, sizeof(told) - length, "%s %llu %.*s;", who,
             (unsigned long long)request, (int)id.length, id.data ? id.data : "");
}

static void on_unanswered(struct session *session, uint64_t request, struct slice id)
{
    (void)session;
    note("session", request, id);
}

static const struct protocol listening = {.name = "listening", .on_unanswered = on_unanswered};
static struct session session = {.id = 7, .protocol = &listening};

/* Only connection 7 is there. */
struct session *session_find(struct sessions *sessions, uint64_t id)
{
    (void)sessions;
    return id == session.id ? &session : NULL;
}

void backend_on_unanswered(struct backend *backend, uint64_t number)
{
    (void)backend;
    note("backend", number, slice_of(NULL, 0));
}

void claims_on_unanswered(struct claims *claims, uint64_t number)
{
    (void)claims;
    note("claim", number, slice_of(NULL, 0));
}

static void assert_told(struct buffer *requests, struct buffer *output, const char *expected)
{
    struct gateway gateway = {0};

    told[0] = '\0';
    gateway_metrics[GATEWAY_UNANSWERED].value = 0;
    unanswered_tell(&gateway, buffer_slice(requests), buffer_slice(output));
    assert_string_equal(told, expected);
}

static void add_direct(struct buffer *out, uint64_t connection, uint64_t request, const char *id)
{
    frame_encode(out, &(struct frame){.type = FRAME_DIRECT_MESSAGE,
                                      .direct_message = {.connection = connection,
                                                         .request = request,
                                                         .id = slice_text(id)}});
}

static void test_each_that_waits_is_told(void **state)
{
    struct buffer requests = {0}, none = {0};

    (void)state;
    add_direct(&requests, 7, 1, "a");
    add_direct(&requests, 7, 0, "for nobody");
    add_direct(&requests, 8, 2, "of one who is gone");
    add_direct(&requests, BACKEND_CONNECTION, 3, "b");
    frame_encode(&requests, &(struct frame){.type = FRAME_GATEWAY_HEARTBEAT});
    frame_encode(
        &requests,
        &(struct frame){.type = FRAME_TOPIC_PUBLISH,
                        .topic_publish = {.connection = 7, .request = 4, .id = slice_text("c")}});
    frame_encode(&requests, &(struct frame){.type = FRAME_EVENTS_FOLLOW,
                                            .events_follow = {.connection = 7, .request = 5}});
    frame_encode(&requests,
                 &(struct frame){.type = FRAME_NAME_CLAIM, .name_claim = {.request = 6}});
    frame_encode(&requests, &(struct frame){.type = FRAME_GROUP_CHANGE,
                                            .group_change = {.connection = 7, .request = 7}});
    assert_told(&requests, &none,
                "session 1 a;backend 3 ;session 4 c;session 5 ;claim 6 ;session 7 ;");
    buffer_finish(&requests);
}

static void add_reply(struct buffer *out, uint64_t connection, uint64_t request)
{
    frame_encode(out,
                 &(struct frame){.type = FRAME_DIRECT_REPLY,
                                 .direct_reply = {.connection = connection, .request = request}});
}

static void test_an_answer_behind_the_nonce_counts(void **state)
{
    struct buffer requests = {0}, output = {0};

    (void)state;
    for (uint64_t request = 1; request <= 3; request++)
        add_direct(&requests, 7, request, "a");
    frame_encode(&output, &(struct frame){.type = FRAME_OUTPUT_HEAD});
    add_reply(&output, 7, 1);
    frame_encode(&output,
                 &(struct frame){.type = FRAME_GATEWAY_ANNOUNCED, .gateway_announced.nonce = 2});
    add_reply(&output, 7, 2);
    add_reply(&output, 9, 3);
    assert_told(&requests, &output, "session 1 a;session 3 a;");
    buffer_finish(&requests);
    buffer_finish(&output);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_that_waits_is_told),
        cmocka_unit_test(test_an_answer_behind_the_nonce_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
