/* hardware_files: identities whose files say where a key in a token is. The token is SoftHSM. */
#include "dane/tlsa.h"
#include "danemsg/message.h"
#include "hardware.h"
#include "people.h"
#include "test_identity_support.h"

#include <openssl/err.h>

/* The engine keeps some octets of what it could not load. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:pkcs11.so";
}

#define URI(object, pin)                                                                           \
    "pkcs11:token=" PKCS11_TOKEN ";object=" object "?" pin "module-path=" PKCS11_MODULE "\n"
#define WITH_PIN "pin-value=" PKCS11_PIN "&"

static const char *const kinds[] = {"P-256", "P-384", "RSA", NULL};
static const struct dmsg_policy everybody;
static struct pkcs11 token;
static const char *missing;

static void makes_a_token(void)
{
    missing = pkcs11_make(&token, kinds);
    if (missing != NULL)
        SKIP("%s", missing);
}

static void put_uri(const char *file, const char *uri)
{
    put_file(file, dmsg_span_text(uri), 0600);
}

/* What the identity signs and encrypts to its newest key, it reads, and again. */
static bool works(const struct dmsg_identity *me, struct dmsg_error *error)
{
    const struct dmsg_identity_key *own = dmsg_identity_current(me, DMSG_FOR_ENCRYPTION);
    struct dmsg_buffer rdata = {0}, envelope = {0};
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_message message = {0};
    int result = dmsg_tlsa_encode(
        &rdata, DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_FULL, NULL, own->key, error);
    struct dmsg_span record = dmsg_buffer_span(&rdata);
    const struct dmsg_peer *peer = peer_of(&plain_context, NAME, &record, 1);
    struct dmsg_seal_options options = {
        .recipient = dmsg_identity_name(me), .key = dmsg_peer_recipient_key(peer, error)};
    if (result == 0)
        result = dmsg_sealer_new(&sealer, &plain_context, me, error);
    if (result == 0)
        result = dmsg_opener_new(&opener, &plain_context, me, &everybody, error);
    for (int i = 0; i < 2 && result == 0; i++) {
        dmsg_buffer_reset(&envelope);
        result = dmsg_seal(sealer, &options, dmsg_span_text("HELLO THERE"), &envelope, error);
        if (result == 0)
            result = dmsg_open_begin(
                opener, dmsg_buffer_span(&envelope), (struct dmsg_span){0}, &message, error);
        if (result == 0)
            result = dmsg_open_finish(opener, &message, peer, error);
        CHECK(message.verified == (result == 0) && ERR_peek_error() == 0);
    }
    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    dmsg_buffer_done(&rdata);
    dmsg_sealer_free(&sealer);
    dmsg_opener_free(&opener);
    dmsg_peer_release(peer);
    return result == 0;
}

static void loads_keys_of_tokens(void)
{
    if (missing != NULL)
        SKIP("%s", missing);
    static const char *const uris[] = {
        URI("P-256", WITH_PIN), URI("P-384", WITH_PIN), URI("RSA", WITH_PIN)};
    folder_begin();
    for (size_t i = 0; i < ROWS(uris); i++) {
        struct dmsg_identity *me;
        put_uri(NAME ".key.uri", uris[i]);
        CHECK_ROW(load(&me) == 0, "%s: %s", kinds[i], last.text);
        const struct dmsg_identity_key *key = me != NULL ? dmsg_identity_key_get(me, 0) : NULL;
        REQUIRE(key != NULL);
        CHECK(key->purposes == BOTH && key->uri != NULL);
        CHECK_ROW(strstr(key->uri, PKCS11_PIN) == NULL && strstr(key->uri, kinds[i]) != NULL, "%s",
            key->uri);
        CHECK_ROW(works(me, &last), "%s: %s", kinds[i], last.text);
        dmsg_identity_free(&me);
    }
    folder_end();
}

/* A key in a file and two in the token, in one identity; reloaded while it is in use. */
static void mixes_and_reloads(void)
{
    if (missing != NULL)
        SKIP("%s", missing);
    struct dmsg_identity *first, *second = NULL;
    folder_begin();
    put_uri(NAME ".key.uri", URI("P-256", WITH_PIN));
    put_uri(NAME ".next.key.uri", URI("RSA", WITH_PIN));
    put_pair(NAME ".old", "EC:prime256v1");
    CHECK_ROW(load(&first) == 0, "%s", last.text);
    REQUIRE(first != NULL);
    CHECK(dmsg_identity_key_count(first) == 3);
    CHECK(dmsg_identity_key_get(first, 0)->uri != NULL);
    CHECK(dmsg_identity_key_get(first, 1)->uri != NULL);
    CHECK(dmsg_identity_key_get(first, 2)->uri == NULL);
    CHECK_ROW(works(first, &last), "%s", last.text);

    put_uri(NAME ".key.uri", URI("P-384", WITH_PIN));
    CHECK_ROW(dmsg_identity_load_again(&second, &plain_context, folder, first, &last) == 0, "%s",
        last.text);
    REQUIRE(second != NULL);
    CHECK_ROW(works(first, &last) && works(second, &last), "%s", last.text);
    dmsg_identity_free(&first);
    CHECK_ROW(works(second, &last), "%s", last.text);
    dmsg_identity_free(&second);
    folder_end();
}

static void takes_the_pin_from_a_file(void)
{
    if (missing != NULL)
        SKIP("%s", missing);
    char uri[1024];
    folder_begin();
    put_file("pin", dmsg_span_text(PKCS11_PIN), 0600);
    snprintf(uri, sizeof uri,
        "pkcs11:token=" PKCS11_TOKEN ";object=P-256?module-path=" PKCS11_MODULE
        "&pin-source=file:%s\n",
        path_of("pin"));
    put_uri(NAME ".key.uri", uri);
    CHECK(loads_with(0, NULL));
    folder_end();
}

/* Before a key is loaded: from then on the engine stays logged in, while the process lives. */
static void says_what_is_wrong(void)
{
    static const struct {
        const char *uri;
        int code;
        const char *text;
    } rows[] = {
        {URI("P-256", "pin-value=4711&"), DMSG_E_CERTIFICATE, "does not take the PIN"},
        {URI("P-256", ""), DMSG_E_LOCAL, "wants a PIN"},
        {URI("nothing", WITH_PIN), DMSG_E_LOCAL, "object not found"},
        {"pkcs11:token=away;object=P-256?" WITH_PIN "module-path=" PKCS11_MODULE, DMSG_E_LOCAL,
            "object not found"},
        {"pkcs11:token=" PKCS11_TOKEN ";object=P-256?" WITH_PIN "module-path=/nonexistent.so",
            DMSG_E_LOCAL, "/nonexistent.so: No such file"},
        {URI("P-256", "pin-source=file:/nonexistent&"), DMSG_E_LOCAL, "no such file"},
    };
    if (missing != NULL)
        SKIP("%s", missing);
    folder_begin();
    for (size_t i = 0; i < ROWS(rows); i++) {
        put_uri(NAME ".key.uri", rows[i].uri);
        CHECK_ROW(loads_with(rows[i].code, rows[i].text), "%zu: %s", i, last.text);
        CHECK_ROW(strstr(last.text, "4711") == NULL && strstr(last.text, "=" PKCS11_PIN) == NULL,
            "%zu: %s", i, last.text);
        CHECK(ERR_peek_error() == 0);
    }
    put_pair(NAME, "EC:prime256v1");
    put_uri(NAME ".key.uri", URI("P-256", WITH_PIN));
    CHECK(loads_with(DMSG_E_LOCAL, "are both in"));
    CHECK(unlink(path_of(NAME ".key.pem")) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "do not belong together"));
    CHECK(unlink(path_of(NAME ".crt.pem")) == 0);
    CHECK(loads_with(0, NULL));
    folder_end();
}

static void takes_it_away(void)
{
    pkcs11_stop(&token);
    CHECK(token.engine == NULL);
}

TEST_MAIN(TEST(makes_a_token), TEST(says_what_is_wrong), TEST(loads_keys_of_tokens),
    TEST(mixes_and_reloads), TEST(takes_the_pin_from_a_file), TEST(takes_it_away))
