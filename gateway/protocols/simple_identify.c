#include "common/base64.h"
#include "common/user.h"
#include "common/xalloc.h"
#include "gateway/session/claims.h"
#include "gateway/door/handshake.h"
#include "gateway/identity/identify.h"
#include "gateway/identity/password_check.h"
#include "gateway/protocols/simple.h"
#include "gateway/bus/uplink.h"

#include <stdlib.h>
#include <strings.h>

#define BASIC "Basic "
/* Bytes of "user:password". */
#define CREDENTIALS_MAX (USER_ID_MAX + 1 + PASSWORD_MAX)

/* A handshake that waits for an answer about the password, then for one about the name. */
struct arriving {
    struct handshake *handshake;
    struct gateway *gateway;
    struct identity identity;
    uint64_t password, claim; /* numbers; 0: not asked */
};

/* What the Authorization header says. */
struct credentials {
    char text[CREDENTIALS_MAX + 1];
    struct slice user, password; /* data is NULL when there are none */
};

static const struct refusal none;

/* ---- HTTP Basic ---- */

/* base64 in the alphabet that base64url_decode reads, without padding. */
static size_t to_base64url(char *out, struct slice base64)
{
    size_t length = base64.length;

    for (int padding = 0; padding < 2 && length && base64.data[length - 1] == '='; padding++)
        length--;
    for (size_t i = 0; i < length; i++) {
        char byte = base64.data[i];

        if (byte == '-' || byte == '_')
            return 0;
        out[i] = (char)(byte == '+' ? '-' : byte == '/' ? '_' : byte);
    }
    return length;
}

/* Of the words behind "Basic". False when they say nothing. */
static bool decode_credentials(struct slice base64, struct credentials *credentials)
{
    char text[(CREDENTIALS_MAX + 2) / 3 * 4];
    int length;
    const char *colon;

    if (base64.length > sizeof(text))
        return false;
    length = base64url_decode(slice_of(text, to_base64url(text, base64)),
                              (unsigned char *)credentials->text, CREDENTIALS_MAX);
    explicit_bzero(text, sizeof(text));
    if (length < 0)
        return false;
    colon = memchr(credentials->text, ':', (size_t)length);
    if (colon == NULL)
        return false;
    credentials->user = slice_of(credentials->text, (size_t)(colon - credentials->text));
    credentials->password =
        slice_of(colon + 1, (size_t)length - (size_t)(colon + 1 - credentials->text));
    return true;
}

static struct refusal read_credentials(struct handshake *handshake, struct credentials *credentials)
{
    struct slice header = handshake_header(handshake, "authorization");

    if (header.length < strlen(BASIC) || strncasecmp(header.data, BASIC, strlen(BASIC)) != 0)
        return none;
    header = slice_of(header.data + strlen(BASIC), header.length - strlen(BASIC));
    if (decode_credentials(header, credentials) && user_allowed(credentials->user, false))
        return none;
    return (struct refusal){401, "the user name or its encoding is not acceptable"};
}

/* ---- the end of an arrival ---- */

static void arriving_destroy(struct arriving *arriving)
{
    identity_finish(&arriving->identity);
    free(arriving);
}

static void refuse(struct arriving *arriving, int status, const char *why)
{
    handshake_refuse(arriving->handshake, status, why);
    arriving_destroy(arriving);
}

static void on_abandoned(void *arg)
{
    struct arriving *arriving = arg;

    if (arriving->password)
        password_check_forget(arriving->gateway, arriving->password);
    if (arriving->claim)
        claims_forget(arriving->gateway->claims, arriving->claim);
    arriving_destroy(arriving);
}

/* ---- the name ---- */

static void on_claim(void *arg, enum claim_result result)
{
    struct arriving *arriving = arg;

    arriving->claim = 0;
    if (result == CLAIM_REFUSED) {
        refuse(arriving, 403, "the name is in use");
    } else if (result == CLAIM_UNANSWERED) {
        refuse(arriving, 503, "the service cannot take this user at the moment");
    } else {
        handshake_accept(arriving->handshake, &arriving->identity, CONNECTION_FLAG_EXCLUSIVE,
                         slice_of(NULL, 0));
        arriving_destroy(arriving);
    }
}

static void claim(struct arriving *arriving)
{
    struct gateway *gateway = arriving->gateway;
    struct slice user = slice_text(arriving->identity.user);

    if (!uplink_has_credit(gateway->uplink, partition_of(&gateway->deployment, user)))
        refuse(arriving, 503, "the service cannot take this user at the moment");
    else
        arriving->claim = claims_ask(gateway->claims, &protocol_simple, user, on_claim, arriving);
}

/* ---- the password ---- */

static void on_password(void *arg, enum password_result result)
{
    static const struct refusal refusals[] = {
        [PASSWORD_WRONG] = {401, "no such user, or another password"},
        [PASSWORD_LIMITED] = {429, "too many wrong passwords"},
        [PASSWORD_UNAVAILABLE] = {503, "passwords cannot be checked at the moment"},
    };
    struct arriving *arriving = arg;

    arriving->password = 0;
    if (result == PASSWORD_OK)
        claim(arriving);
    else
        refuse(arriving, refusals[result].status, refusals[result].why);
}

static void check_password(struct arriving *arriving, const struct credentials *credentials)
{
    char address[CLIENT_ADDRESS_SIZE];

    handshake_address(arriving->handshake, address);
    arriving->password = password_check(arriving->gateway, credentials->user, credentials->password,
                                        slice_text(address), on_password, arriving);
}

/* ---- who asks ---- */

/* Whose name is known by its token, or is believed; without a user, its password is to be
 * checked. */
static struct refusal find_identity(struct handshake *handshake,
                                    const struct credentials *credentials,
                                    struct identity *identity)
{
    struct slice username = handshake_query(handshake, "username");
    struct slice name = credentials->user.data ? credentials->user : username;
    struct refusal refusal;

    if (credentials->user.data && username.data && !slice_equal(username, name))
        return (struct refusal){403, "username is another than that of the header"};
    refusal = identify_token(handshake, name, identity);
    if (refusal.status != 0 || identity->user)
        return refusal;
    if (name.data == NULL)
        return (struct refusal){401, "a user name or a token is required"};
    if (credentials->user.data && !handshake_gateway(handshake)->settings.open_identity) {
        *identity = (struct identity){.user = xmemdup0(name.data, name.length)};
        return none;
    }
    return identify_name(handshake, name, identity);
}

static bool needs_password(const struct arriving *arriving, const struct credentials *credentials)
{
    return credentials->user.data && arriving->identity.expires_at == 0 &&
           !arriving->gateway->settings.open_identity;
}

static void proceed(struct handshake *handshake, struct identity *identity,
                    const struct credentials *credentials)
{
    struct arriving *arriving = xcalloc(1, sizeof(*arriving));

    arriving->handshake = handshake;
    arriving->gateway = handshake_gateway(handshake);
    arriving->identity = *identity;
    handshake_on_abandoned(handshake, on_abandoned, arriving);
    if (needs_password(arriving, credentials))
        check_password(arriving, credentials);
    else
        claim(arriving);
}

void simple_identify(struct handshake *handshake)
{
    struct credentials credentials = {0};
    struct identity identity = {0};
    struct refusal refusal = read_credentials(handshake, &credentials);

    if (refusal.status == 0)
        refusal = find_identity(handshake, &credentials, &identity);
    if (refusal.status == 0)
        refusal = identify_rate(handshake, &identity);
    if (refusal.status == 0) {
        proceed(handshake, &identity, &credentials);
    } else {
        identity_finish(&identity);
        handshake_refuse(handshake, refusal.status, refusal.why);
    }
    explicit_bzero(&credentials, sizeof(credentials));
}
