#include "common/sealed.h"

#include "common/password_ask.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

static struct unsealing_key *owner, *other;
static struct sealing_key *sealing;

static struct unsealing_key *make(int bits)
{
    EVP_PKEY *pkey = EVP_RSA_gen((unsigned)bits);
    BIO *bio = BIO_new(BIO_s_mem());
    struct unsealing_key *key;
    char *pem;
    long length;

    assert_int_equal(PEM_write_bio_PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL), 1);
    length = BIO_get_mem_data(bio, &pem);
    key = unsealing_key_read(slice_of(pem, (size_t)length));
    BIO_free(bio);
    EVP_PKEY_free(pkey);
    return key;
}

static int set_up(void **state)
{
    struct buffer pem = {0};

    (void)state;
    owner = make(2048);
    other = make(3072);
    unsealing_key_append_public(owner, &pem);
    sealing = sealing_key_read(buffer_slice(&pem));
    buffer_finish(&pem);
    return owner && other && sealing ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    unsealing_key_destroy(&owner);
    unsealing_key_destroy(&other);
    sealing_key_destroy(&sealing);
    return 0;
}

static const struct slice label = {"gateway-1 17", 12};

static void only_the_owner_reads_it(void **state)
{
    static const char *const texts[] = {"", "x", "a text of some length, with a secret in it"};

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct slice text = slice_text(texts[i]);
        struct buffer sealed = {0}, opened = {0};

        assert_int_equal(seal(sealing, text, label, &sealed), 0);
        assert_true(sealed.length <= text.length + SEALED_OVERHEAD);
        assert_true(text.length < 4 ||
                    memmem(sealed.data, sealed.length, text.data, text.length) == NULL);
        assert_int_equal(unseal(other, buffer_slice(&sealed), label, &opened), -EBADMSG);
        assert_int_equal(opened.length, 0);
        assert_int_equal(unseal(owner, buffer_slice(&sealed), label, &opened), 0);
        assert_true(slice_equal(buffer_slice(&opened), text));
        buffer_finish(&sealed);
        buffer_finish(&opened);
    }
}

static void nothing_can_be_changed(void **state)
{
    struct buffer sealed = {0}, opened = {0};

    (void)state;
    assert_int_equal(seal(sealing, slice_text("secret"), label, &sealed), 0);
    for (size_t i = 0; i < sealed.length; i += i < 3 || i > 250 ? 1 : 37) {
        sealed.data[i] ^= 1;
        assert_int_equal(unseal(owner, buffer_slice(&sealed), label, &opened), -EBADMSG);
        sealed.data[i] ^= 1;
    }
    for (size_t length = 0; length < sealed.length; length += 29)
        assert_int_equal(unseal(owner, slice_of(sealed.data, length), label, &opened), -EBADMSG);
    assert_int_equal(unseal(owner, buffer_slice(&sealed), slice_text("gateway-2 17"), &opened),
                     -EBADMSG);
    assert_int_equal(unseal(owner, buffer_slice(&sealed), label, &opened), 0);
    buffer_finish(&sealed);
    buffer_finish(&opened);
}

static void other_keys_are_refused(void **state)
{
    (void)state;
    assert_null(sealing_key_read(slice_text("")));
    assert_null(sealing_key_read(slice_text("-----BEGIN PUBLIC KEY-----\nxx\n")));
    assert_null(unsealing_key_read(slice_text("")));
    assert_null(make(1024));
}

static void an_ask_is_read_as_it_was_written(void **state)
{
    struct password_ask ask = {.asked_ms = 1795258800123,
                               .user = slice_text("alice"),
                               .password = slice_text("correct horse"),
                               .address = slice_text("192.0.2.7")},
                        read;
    struct buffer text = {0}, longer = {0};

    (void)state;
    memset(ask.nonce, 0xa5, sizeof(ask.nonce));
    password_ask_append(&text, &ask);
    assert_int_equal(password_ask_read(&read, buffer_slice(&text)), 0);
    assert_int_equal(read.asked_ms, ask.asked_ms);
    assert_memory_equal(read.nonce, ask.nonce, sizeof(ask.nonce));
    assert_true(slice_equal(read.user, ask.user) && slice_equal(read.password, ask.password) &&
                slice_equal(read.address, ask.address));
    for (size_t length = 0; length < 24 + 6 + 5 + 13 + 9; length++)
        assert_int_equal(password_ask_read(&read, slice_of(text.data, length)), -EBADMSG);
    /* Its length says nothing about the password's. */
    ask.password = slice_text("hunter2");
    password_ask_append(&longer, &ask);
    assert_int_equal(text.length, longer.length);
    buffer_finish(&text);
    buffer_finish(&longer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_owner_reads_it),
        cmocka_unit_test(nothing_can_be_changed),
        cmocka_unit_test(other_keys_are_refused),
        cmocka_unit_test(an_ask_is_read_as_it_was_written),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
