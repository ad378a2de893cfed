/* What the tests of JOSE share: keys made once, objects put together by hand. */
#ifndef DANEMSG_TEST_JOSE_H
#define DANEMSG_TEST_JOSE_H

#include "base/base64url.h"
#include "jose/internal.h"
#include "test.h"

#include <openssl/err.h>
#include <stdlib.h>

#define UNUSED __attribute__((unused))

/* A suite: the keys of a sender and of a recipient, by what EVP_PKEY_Q_keygen calls them. */
struct suite {
    const char *signer, *sign_alg, *recipient, *encrypt_alg;
};

static const struct suite suites[] = {
    {"RSA", "RS256", "RSA", "RSA-OAEP-256"},
    {"P-256", "ES256", "P-256", "ECDH-ES+A256KW"},
    {"ED25519", "EdDSA", "X25519", "ECDH-ES+A256KW"},
    {"P-521", "ES512", "P-521", "ECDH-ES+A256KW"},
    {"P-384", "ES384", "P-384", "ECDH-ES+A256KW"},
};
#define SUITES (sizeof suites / sizeof suites[0])

static const char *const forms[] = {"compact", "flattened"};

static struct dmsg_context test_context;

UNUSED static struct dmsg_jose *test_jose(void)
{
    static struct dmsg_jose *jose;
    struct dmsg_error error;
    if (jose == NULL && dmsg_jose_new(&jose, &test_context, &error) < 0) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
    return jose;
}

UNUSED static EVP_PKEY *new_pkey(const char *kind)
{
    EVP_PKEY *key = kind[0] == 'P'             ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind)
                    : strcmp(kind, "RSA") == 0 ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                                               : EVP_PKEY_Q_keygen(NULL, NULL, kind);
    if (key == NULL) {
        printf("Bail out! no key of kind %s\n", kind);
        exit(1);
    }
    return key;
}

struct test_key {
    const char *kind;
    EVP_PKEY *pkey;
    struct dmsg_jose_key *prepared[DMSG_USE_DECRYPT + 1];
};

static struct test_key test_keys[8];

static struct test_key *test_key(const char *kind)
{
    size_t i = 0;
    while (test_keys[i].kind != NULL && strcmp(test_keys[i].kind, kind) != 0)
        i++;
    if (test_keys[i].kind == NULL) {
        test_keys[i].kind = kind;
        test_keys[i].pkey = new_pkey(kind);
    }
    return &test_keys[i];
}

/* The one key of this kind. */
UNUSED static EVP_PKEY *pkey_of(const char *kind)
{
    return test_key(kind)->pkey;
}

UNUSED static struct dmsg_jose_key *key_for(const char *kind, enum dmsg_jose_use use)
{
    struct test_key *key = test_key(kind);
    struct dmsg_error error;
    if (key->prepared[use] == NULL &&
        dmsg_jose_key_new(&key->prepared[use], test_jose(), key->pkey, use, &error) < 0) {
        printf("Bail out! %s: %s\n", kind, error.text);
        exit(1);
    }
    return key->prepared[use];
}

/* Frees everything above, so that leaks of the library show. */
UNUSED static void test_jose_done(void)
{
    struct dmsg_jose *jose = test_jose();
    for (size_t i = 0; i < sizeof test_keys / sizeof test_keys[0]; i++) {
        for (size_t use = 0; use <= DMSG_USE_DECRYPT; use++)
            dmsg_jose_key_free(&test_keys[i].prepared[use]);
        EVP_PKEY_free(test_keys[i].pkey);
    }
    dmsg_jose_free(&jose);
}

UNUSED static void frees_everything(void)
{
    test_jose_done();
    CHECK(ERR_peek_error() == 0);
}

static struct dmsg_span text(const char *s)
{
    return dmsg_span_text(s);
}

/* The pieces as base64url with dots between: a compact object whose parts are given decoded. */
UNUSED static void put_compact(struct dmsg_buffer *out, const struct dmsg_span *parts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            dmsg_buffer_put_byte(out, '.');
        dmsg_base64url_put(out, parts[i]);
    }
}

#endif
