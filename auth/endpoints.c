/*
 * Register, log in, refresh, log out, be a guest: each a chain of steps over Redis and the password
 * threads.
 */
#include "auth/accounts.h"
#include "auth/announcements.h"
#include "auth/api.h"
#include "auth/limits.h"
#include "auth/passwords.h"
#include "common/password_ask.h"
#include "common/uid.h"
#include "common/xalloc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#define GUEST_BYTES 10

/* A request between its steps; each chain ends in one finish_*. */
struct call {
    struct api *api;
    struct http_request *request;
    struct buffer user;
    struct buffer password;       /* until it is handed to a thread */
    struct refresh_token spent;   /* the one that was presented */
    struct refresh_token refresh; /* the one that is given out; text is empty: none */
    struct issued_token token;
    struct ended_tokens revoke; /* to be revoked, from the end */
    int64_t now_s;
    bool reused;  /* a spent refresh token came again */
    bool renewed; /* it was exchanged for the next */
};

/* ---- calls -------------------------------------------------------------------------------------
 */

static struct call *make_call(struct api *api, struct http_request *request)
{
    struct call *call = xcalloc(1, sizeof(*call));

    call->api = api;
    call->request = request;
    call->now_s = time(NULL);
    return call;
}

static void forget_password(struct call *call)
{
    if (call->password.data != NULL)
        explicit_bzero(call->password.data, call->password.capacity);
    buffer_finish(&call->password);
}

static void free_call(struct call *call)
{
    forget_password(call);
    buffer_finish(&call->user);
    ended_tokens_finish(&call->revoke);
    free(call->token.text);
    explicit_bzero(call, sizeof(*call));
    free(call);
}

static void finish_refused(struct call *call, enum api_error error)
{
    api_refuse(call->request, error);
    free_call(call);
}

static void finish_empty(struct call *call)
{
    api_answer(call->request, 204, slice_of(NULL, 0));
    free_call(call);
}

/* Token, and refresh token if there is one. */
static void finish_with_token(struct call *call)
{
    struct buffer body = {0};

    if (token_sign(call->api->auth->tokens, buffer_slice(&call->user), call->now_s, &call->token) <
        0) {
        finish_refused(call, API_UNAVAILABLE);
        return;
    }
    buffer_appendf(&body, "{\"token\":\"%s\",\"expires_at\":%" PRId64, call->token.text,
                   call->token.expires_at);
    if (call->refresh.text[0] != '\0')
        buffer_appendf(&body, ",\"refresh_token\":\"%s\"", call->refresh.text);
    buffer_append_text(&body, ",\"user\":");
    buffer_append_json_string(&body, buffer_slice(&call->user));
    buffer_append_byte(&body, '}');
    api_answer(call->request, 200, buffer_slice(&body));
    explicit_bzero(body.data, body.length);
    buffer_finish(&body);
    free_call(call);
}

/* ---- bodies ------------------------------------------------------------------------------------
 */

/* The body's object, an empty body counting as {}; NULL after it has refused. */
static const struct json_value *read_body(struct api *api, struct http_request *request)
{
    struct slice body = http_request_body(request);
    const struct json_value *root = NULL;

    if (body.length == 0)
        body = slice_text("{}");
    if (json_read(api->json, body) == 0)
        root = json_root(api->json);
    if (json_type(root) == JSON_OBJECT)
        return root;
    api_refuse(request, API_MALFORMED);
    return NULL;
}

/* Copies a text member. Returns 0 or -EINVAL. */
static int read_text(const struct json_value *body, const char *name, struct buffer *text)
{
    const struct json_value *value = json_member(body, name);

    if (json_type(value) != JSON_STRING)
        return -EINVAL;
    buffer_append_slice(text, json_text(value));
    return 0;
}

/* The call of a body with username and password; NULL after it has refused. */
static struct call *make_call_of_user(struct api *api, struct http_request *request,
                                      const struct json_value **body)
{
    struct call *call;

    *body = read_body(api, request);
    if (*body == NULL)
        return NULL;
    call = make_call(api, request);
    if (read_text(*body, "username", &call->user) == 0 &&
        read_text(*body, "password", &call->password) == 0)
        return call;
    finish_refused(call, API_USER_FIELDS);
    return NULL;
}

/* ---- register ----------------------------------------------------------------------------------
 */

static void on_account_created(void *arg, const struct bus_reply *reply)
{
    struct call *call = arg;
    struct buffer body = {0};
    int result = accounts_created(reply);

    if (result < 0) {
        finish_refused(call, result == -EEXIST ? API_TAKEN : API_UNAVAILABLE);
        return;
    }
    auth_count(AUTH_REGISTRATIONS);
    buffer_append_text(&body, "{\"user\":");
    buffer_append_json_string(&body, buffer_slice(&call->user));
    buffer_append_byte(&body, '}');
    api_answer(call->request, 201, buffer_slice(&body));
    buffer_finish(&body);
    free_call(call);
}

static void on_password_hashed(void *arg, const char *encoded)
{
    struct call *call = arg;

    if (encoded == NULL || accounts_create(call->api->auth, buffer_slice(&call->user), encoded,
                                           on_account_created, call) < 0)
        finish_refused(call, API_UNAVAILABLE);
}

void endpoint_register(struct api *api, struct http_request *request)
{
    const struct json_value *body;
    struct call *call = make_call_of_user(api, request, &body);

    if (call == NULL)
        return;
    if (!user_allowed(buffer_slice(&call->user), false)) {
        finish_refused(call, API_USERNAME);
        return;
    }
    if (call->password.length < PASSWORD_MIN || call->password.length > PASSWORD_MAX) {
        finish_refused(call, API_PASSWORD);
        return;
    }
    if (passwords_hash(api->auth->passwords, buffer_slice(&call->password), on_password_hashed,
                       call) < 0) {
        finish_refused(call, API_BUSY);
        return;
    }
    forget_password(call);
}

/* ---- log in ------------------------------------------------------------------------------------
 */

static void on_login_begun(void *arg, const struct bus_reply *reply)
{
    struct call *call = arg;

    if (logins_begun(reply) < 0) {
        finish_refused(call, API_UNAVAILABLE);
        return;
    }
    auth_count(AUTH_LOGINS);
    finish_with_token(call);
}

static void on_password_checked(void *arg, bool right)
{
    struct call *call = arg;

    if (!right) {
        auth_count(AUTH_LOGINS_REFUSED);
        finish_refused(call, API_CREDENTIALS);
        return;
    }
    limits_give_back(call->api->by_user, buffer_slice(&call->user));
    refresh_token_make(&call->refresh, buffer_slice(&call->user), NULL);
    if (logins_begin(call->api->auth, &call->refresh, &call->token, call->now_s, on_login_begun,
                     call) < 0)
        finish_refused(call, API_UNAVAILABLE);
}

static void check_password(struct call *call, const char *encoded)
{
    if (passwords_check(call->api->auth->passwords, buffer_slice(&call->password), encoded,
                        on_password_checked, call) < 0)
        finish_refused(call, API_BUSY);
    else
        forget_password(call);
}

static void on_account_found(void *arg, const struct bus_reply *reply)
{
    struct call *call = arg;
    struct slice encoded;
    int result = accounts_found(reply, &encoded);
    char *text;

    if (result == -EAGAIN) {
        finish_refused(call, API_UNAVAILABLE);
        return;
    }
    text = result == 0 ? xmemdup0(encoded.data, encoded.length) : NULL;
    check_password(call, text);
    free(text);
}

/* ttl of the body, or the standard. Returns 0 or -EINVAL. */
static int read_ttl(const struct api *api, const struct json_value *body, int64_t *ttl)
{
    const struct json_value *value = json_member(body, "ttl");
    double number;

    *ttl = api->auth->settings.token_ttl;
    if (value == NULL)
        return 0;
    if (json_double(value, &number) < 0 || number < 1 || number > (double)*ttl ||
        number != (double)(int64_t)number)
        return -EINVAL;
    *ttl = (int64_t)number;
    return 0;
}

void endpoint_login(struct api *api, struct http_request *request)
{
    const struct json_value *body;
    struct call *call = make_call_of_user(api, request, &body);
    uint64_t wait_ms = 0;
    int64_t ttl;

    if (call == NULL)
        return;
    if (read_ttl(api, body, &ttl) < 0) {
        finish_refused(call, API_TTL);
        return;
    }
    /* No account can have such a name: there is nothing to hide, and no key for it. */
    if (!user_allowed(buffer_slice(&call->user), false)) {
        finish_refused(call, API_CREDENTIALS);
        return;
    }
    if (api->auth->settings.rate_limits)
        wait_ms = limits_take(api->by_user, buffer_slice(&call->user), uv_now(api->auth->loop));
    if (wait_ms > 0) {
        api_refuse_rate(request, wait_ms);
        free_call(call);
        return;
    }
    token_plan(&call->token, call->now_s, ttl);
    if (accounts_find(api->auth, buffer_slice(&call->user), on_account_found, call) < 0)
        finish_refused(call, API_UNAVAILABLE);
}

/* ---- revoking, as the end of several -----------------------------------------------------------
 */

static void finish_revoked(struct call *call)
{
    if (call->reused)
        finish_refused(call, API_REFRESH_TOKEN);
    else if (call->renewed)
        finish_with_token(call);
    else
        finish_empty(call);
}

/* Revokes what is left to be revoked, one after the other, and answers when Redis has it all. */
static void revoke_next(void *arg, int result)
{
    struct call *call = arg;

    while (result == 0 && call->revoke.count > 0) {
        const struct ended_token *token = &call->revoke.all[--call->revoke.count];

        if (token->expires_at <= call->now_s)
            continue;
        result = revoke_token(call->api->auth, token->token_id, buffer_slice(&call->user),
                              token->expires_at, revoke_next, call);
        if (result == 0)
            return;
    }
    if (result < 0)
        finish_refused(call, API_UNAVAILABLE);
    else
        finish_revoked(call);
}

/* ---- refresh -----------------------------------------------------------------------------------
 */

/* Reads the member refresh_token into call->spent. Returns 0, -ENOENT: absent, -EINVAL: of another
 * type, -EBADMSG: never was one. */
static int read_refresh_token(struct call *call, const struct json_value *body)
{
    const struct json_value *value = json_member(body, "refresh_token");

    if (value == NULL)
        return -ENOENT;
    if (json_type(value) != JSON_STRING)
        return -EINVAL;
    return refresh_token_read(&call->spent, json_text(value)) < 0 ? -EBADMSG : 0;
}

static void on_login_renewed(void *arg, const struct bus_reply *reply)
{
    struct call *call = arg;

    switch (logins_renewed(reply, &call->revoke)) {
    case 0:
        auth_count(AUTH_REFRESHES);
        call->renewed = true;
        revoke_next(call, 0);
        return;
    case -ENOENT:
        finish_refused(call, API_REFRESH_TOKEN);
        return;
    case -ESTALE:
        auth_count(AUTH_REFRESHES_REUSED);
        call->reused = true;
        revoke_next(call, 0);
        return;
    default:
        finish_refused(call, API_UNAVAILABLE);
        return;
    }
}

void endpoint_refresh(struct api *api, struct http_request *request)
{
    const struct json_value *body = read_body(api, request);
    struct call *call;
    int result;

    if (body == NULL)
        return;
    call = make_call(api, request);
    result = read_refresh_token(call, body);
    if (result < 0) {
        finish_refused(call, result == -EBADMSG ? API_REFRESH_TOKEN : API_REFRESH_FIELD);
        return;
    }
    buffer_append_text(&call->user, call->spent.user);
    refresh_token_make(&call->refresh, buffer_slice(&call->user), call->spent.login);
    token_plan(&call->token, call->now_s, api->auth->settings.token_ttl);
    if (logins_renew(api->auth, &call->spent, &call->refresh, &call->token, call->now_s,
                     on_login_renewed, call) < 0)
        finish_refused(call, API_UNAVAILABLE);
}

/* ---- log out -----------------------------------------------------------------------------------
 */

static void on_login_ended(void *arg, const struct bus_reply *reply)
{
    struct call *call = arg;
    int result = logins_ended(reply, &call->revoke);

    revoke_next(call, result < 0 ? result : 0);
}

/* Takes the bearer token in, to be revoked. Returns 0, -ENOENT: there is none (or an expired one),
 * or -EINVAL. */
static int read_bearer(struct call *call)
{
    struct slice token = http_request_token(call->request);
    struct identity identity = {0};
    enum verifier_result result =
        token_check(call->api->auth->tokens, token, call->now_s, &identity);

    if (result != VERIFIER_OK)
        return result == VERIFIER_MISSING || result == VERIFIER_EXPIRED ? -ENOENT : -EINVAL;
    ended_tokens_add(&call->revoke, slice_text(identity.token_id), identity.expires_at);
    if (call->revoke.count > 0)
        buffer_append_text(&call->user, identity.user);
    identity_finish(&identity);
    return call->revoke.count > 0 ? 0 : -EINVAL;
}

/* Who has the refresh token may end its login, also when the bearer token has expired meanwhile. */
static enum api_error check_logout(struct call *call, int bearer, int refresh)
{
    if (refresh == -EINVAL)
        return API_REFRESH_FIELD;
    if (bearer == -EINVAL || (bearer == -ENOENT && refresh == -ENOENT))
        return API_TOKEN;
    if (refresh == -EBADMSG)
        return API_REFRESH_TOKEN;
    if (bearer == 0 && refresh == 0 && !slice_is(buffer_slice(&call->user), call->spent.user))
        return API_REFRESH_TOKEN;
    return API_NO_ERROR;
}

void endpoint_logout(struct api *api, struct http_request *request)
{
    const struct json_value *body = read_body(api, request);
    struct call *call;
    enum api_error error;
    int refresh;

    if (body == NULL)
        return;
    call = make_call(api, request);
    refresh = read_refresh_token(call, body);
    error = check_logout(call, read_bearer(call), refresh);
    if (error != API_NO_ERROR) {
        finish_refused(call, error);
        return;
    }
    auth_count(AUTH_LOGOUTS);
    if (refresh == -ENOENT) {
        revoke_next(call, 0);
        return;
    }
    if (call->user.length == 0)
        buffer_append_text(&call->user, call->spent.user);
    if (logins_end(api->auth, slice_text(call->spent.user), call->spent.login, on_login_ended,
                   call) < 0)
        finish_refused(call, API_UNAVAILABLE);
}

/* ---- guests ------------------------------------------------------------------------------------
 */

void endpoint_guest(struct api *api, struct http_request *request)
{
    unsigned char bytes[GUEST_BYTES];
    struct call *call;

    if (!api->auth->ready) {
        api_refuse(request, API_UNAVAILABLE);
        return;
    }
    call = make_call(api, request);
    uid_random(bytes, sizeof(bytes));
    buffer_append_text(&call->user, "guest:");
    for (size_t i = 0; i < sizeof(bytes); i++)
        buffer_appendf(&call->user, "%02x", bytes[i]);
    token_plan(&call->token, call->now_s, api->auth->settings.token_ttl);
    auth_count(AUTH_GUESTS);
    finish_with_token(call);
}
