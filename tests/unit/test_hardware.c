/* hardware: private keys that live elsewhere sign and decrypt, against ordinary peers. The tokens
   are programs: swtpm for a TPM, SoftHSM for PKCS #11. */
#include "dane/tlsa.h"
#include "danemsg/message.h"
#include "hardware.h"
#include "people.h"
#include "test.h"

#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define NAME "device.example"

/* A TPM has room for three keys: what an operation leaves behind in it shows after a few. */
#define REPEATS 6

static const struct dmsg_context software;
static const struct dmsg_policy everybody;
static struct person peers[3]; /* P-256, Ed25519, RSA */
#define PEERS (sizeof peers / sizeof peers[0])

/* Whose key is in the token. */
struct device {
    struct dmsg_context context;
    struct dmsg_name name;
    struct dmsg_identity *identity;
    const struct dmsg_peer *peer; /* as others see it: `3 1 0`, the bare key */
    struct dmsg_error error;
};

static void makes_peers(void)
{
    static const enum dmsg_key_type types[PEERS] = {
        DMSG_KEY_P256, DMSG_KEY_ED25519, DMSG_KEY_RSA2048};
    for (size_t i = 0; i < PEERS; i++)
        peers[i] = person_new(&software, "peer.example", types[i]);
    CHECK(peers[0].peer != NULL);
}

static void loses_peers(void)
{
    for (size_t i = 0; i < PEERS; i++)
        person_done(&peers[i]);
    CHECK(peers[0].identity == NULL);
}

static bool device_new(struct device *device, EVP_PKEY *key, X509 *certificate)
{
    struct dmsg_buffer rdata = {0};
    bool made = dmsg_name_parse(&device->name, dmsg_span_text(NAME), &device->error) == 0 &&
                dmsg_identity_new(
                    &device->identity, &device->context, &device->name, &device->error) == 0 &&
                dmsg_identity_add(
                    device->identity, DMSG_KEY_CURRENT, key, certificate, &device->error) == 0 &&
                dmsg_tlsa_encode(&rdata, DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_FULL, NULL, key,
                    &device->error) == 0;
    struct dmsg_span record = dmsg_buffer_span(&rdata);
    if (made)
        device->peer = peer_of(&software, NAME, &record, 1);
    dmsg_buffer_done(&rdata);
    return made;
}

static void device_done(struct device *device)
{
    if (device->peer != NULL)
        dmsg_peer_release(device->peer);
    dmsg_identity_free(&device->identity);
}

/* --------------------------------------------------------------------------------- the journeys */

struct party {
    const struct dmsg_context *context;
    const struct dmsg_identity *identity;
    const struct dmsg_peer *peer;
};

/* With the n-th octet of a member changed, if there is one. */
static void alter(struct dmsg_buffer *envelope, const char *member, size_t n)
{
    char start[64];
    snprintf(start, sizeof start, "\"%s\":\"", member);
    char *found = memmem(envelope->data, envelope->size, start, strlen(start));
    if (found == NULL)
        return;
    char *octet = found + strlen(start) + n;
    *octet = *octet == 'A' ? 'B' : 'A';
}

/* altered: a member of the JWE, or NULL. */
static int travel(const struct party *from, const struct party *to, bool cbc, const char *altered,
    struct dmsg_error *error)
{
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_buffer envelope = {0};
    struct dmsg_message message = {0};
    struct dmsg_seal_options options = {.recipient = dmsg_identity_name(to->identity),
        .key = dmsg_peer_recipient_key(to->peer, error),
        .cbc = cbc};
    int result = dmsg_sealer_new(&sealer, from->context, from->identity, error);
    if (result == 0)
        result = dmsg_opener_new(&opener, to->context, to->identity, &everybody, error);
    for (int i = 0; i < REPEATS && result == 0; i++) {
        dmsg_buffer_reset(&envelope);
        result = dmsg_seal(sealer, &options, dmsg_span_text("HELLO THERE"), &envelope, error);
        if (altered != NULL)
            alter(&envelope, altered, 3);
        if (result == 0)
            result = dmsg_open_begin(
                opener, dmsg_buffer_span(&envelope), (struct dmsg_span){0}, &message, error);
        if (result == 0)
            result = dmsg_open_finish(opener, &message, from->peer, error);
        CHECK(message.verified == (result == 0));
        CHECK(
            result < 0 || dmsg_span_equal_text(dmsg_buffer_span(&message.payload), "HELLO THERE"));
        CHECK(ERR_peek_error() == 0);
    }
    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    dmsg_sealer_free(&sealer);
    dmsg_opener_free(&opener);
    return result;
}

static void speaks_with_peers(const char *kind, const struct device *device)
{
    const struct party here = {&device->context, device->identity, device->peer};
    struct dmsg_error error = {0};
    for (size_t i = 0; i < 2 * PEERS; i++) {
        const struct person *person = &peers[i / 2];
        const struct party there = {&software, person->identity, person->peer};
        bool cbc = i % 2 == 1;
        CHECK_ROW(travel(&here, &there, cbc, NULL, &error) == 0, "%s signs, to peer %zu: %s", kind,
            i / 2, error.text);
        CHECK_ROW(travel(&there, &here, cbc, NULL, &error) == 0, "%s decrypts, from peer %zu: %s",
            kind, i / 2, error.text);
    }
    CHECK_ROW(travel(&here, &here, false, NULL, &error) == 0, "%s to itself: %s", kind, error.text);
}

/* Refused as with any other key, and the next message is read. */
static void refuses_alterations(const char *kind, const struct device *device)
{
    static const char *const members[] = {"encrypted_key", "iv", "ciphertext", "tag"};
    const struct party here = {&device->context, device->identity, device->peer};
    const struct party there = {&software, peers[0].identity, peers[0].peer};
    struct dmsg_error error = {0};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        int result = travel(&there, &here, i % 2 == 1, members[i], &error);
        CHECK_ROW(result == DMSG_E_DECRYPT, "%s, %s altered: %s", kind, members[i], error.text);
    }
    CHECK_ROW(travel(&there, &here, false, NULL, &error) == 0, "%s: %s", kind, error.text);
}

/* Another key in the same name's place: in memory here, at the peers in DNS. */
static void knows_other_keys(const char *kind, const struct device *device)
{
    EVP_PKEY *key = software_key(kind);
    struct device other = {0};
    struct dmsg_error error = {0};
    const struct party there = {&software, peers[0].identity, peers[0].peer};
    REQUIRE(key != NULL && device_new(&other, key, NULL));
    const struct party other_key = {&device->context, device->identity, other.peer};
    CHECK(travel(&there, &other_key, false, NULL, &error) == DMSG_E_NOT_FOR_ME);
    CHECK(travel(&other_key, &there, false, NULL, &error) == DMSG_E_CERTIFICATE);
    device_done(&other);
    EVP_PKEY_free(key);
}

/* ------------------------------------------------------------------------------- certificates */

/* Of any key: who signed it does not matter here, and signing with a token would take its room. */
static X509 *certificate_of(EVP_PKEY *key)
{
    EVP_PKEY *issuer = software_key("P-256");
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    const unsigned char *next = der;
    EVP_PKEY *public_key = size > 0 ? d2i_PUBKEY(NULL, &next, size) : NULL;
    X509 *made = X509_new();
    if (public_key == NULL || X509_set_version(made, X509_VERSION_3) != 1 ||
        ASN1_INTEGER_set(X509_get_serialNumber(made), 1) != 1 ||
        X509_gmtime_adj(X509_getm_notBefore(made), 0) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(made), 3600) == NULL ||
        X509_set_pubkey(made, public_key) != 1 || X509_sign(made, issuer, EVP_sha256()) == 0) {
        X509_free(made);
        made = NULL;
    }
    EVP_PKEY_free(public_key);
    EVP_PKEY_free(issuer);
    OPENSSL_free(der);
    return made;
}

static void takes_its_own_certificate(
    const char *kind, const struct dmsg_context *context, EVP_PKEY *key)
{
    X509 *own = certificate_of(key);
    EVP_PKEY *another_key = software_key(kind);
    X509 *another = certificate_of(another_key);
    struct device good = {.context = *context}, bad = {.context = *context};
    REQUIRE(own != NULL && another != NULL);
    CHECK_ROW(device_new(&good, key, own), "%s: %s", kind, good.error.text);
    CHECK_ROW(!device_new(&bad, key, another) && bad.error.code == DMSG_E_CERTIFICATE, "%s: %s",
        kind, bad.error.text);
    device_done(&good);
    device_done(&bad);
    X509_free(own);
    X509_free(another);
    EVP_PKEY_free(another_key);
}

/* ----------------------------------------------------------------------------------- the tokens */

static void all_of_it(const char *kind, const struct dmsg_context *context, EVP_PKEY *key)
{
    struct device device = {.context = *context};
    if (key == NULL)
        ERR_print_errors_fp(stdout);
    REQUIRE(key != NULL);
    CHECK_ROW(device_new(&device, key, NULL), "%s: %s", kind, device.error.text);
    if (device.peer != NULL) {
        speaks_with_peers(kind, &device);
        refuses_alterations(kind, &device);
        knows_other_keys(kind, &device);
    }
    device_done(&device);
    takes_its_own_certificate(kind, context, key);
}

/* One TPM for the tests below. */
static struct tpm tpm;
static const char *tpm_missing;

static struct dmsg_context tpm_context(void)
{
    return (struct dmsg_context){.library = tpm.library, .properties = "?provider=tpm2"};
}

static void a_tpm(void)
{
    static const char *const kinds[] = {"P-256", "P-384"};
    tpm_missing = tpm_start(&tpm);
    if (tpm_missing != NULL)
        SKIP("%s", tpm_missing);
    const struct dmsg_context context = tpm_context();
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        EVP_PKEY *key = tpm_new_key(&tpm, kinds[i]);
        all_of_it(kinds[i], &context, key);
        EVP_PKEY_free(key);
    }
}

/* It signs. tpm2-openssl has no OAEP: who wants to decrypt needs another key, and is told. */
static void an_rsa_key_in_a_tpm(void)
{
    if (tpm_missing != NULL)
        SKIP("%s", tpm_missing);
    EVP_PKEY *key = tpm_new_key(&tpm, "RSA");
    struct device device = {.context = tpm_context()};
    struct dmsg_opener *opener = NULL;
    struct dmsg_error error = {0};
    REQUIRE(key != NULL);
    bool made = device_new(&device, key, NULL);
    CHECK_ROW(made, "%s", device.error.text);
    for (size_t i = 0; made && i < PEERS; i++) {
        const struct party here = {&device.context, device.identity, device.peer};
        const struct party there = {&software, peers[i].identity, peers[i].peer};
        CHECK_ROW(travel(&here, &there, false, NULL, &error) == 0, "%s", error.text);
    }
    if (made) {
        int result = dmsg_opener_new(&opener, &device.context, device.identity, &everybody, &error);
        CHECK(result == DMSG_E_INTERNAL && opener == NULL);
        CHECK_ROW(strstr(error.text, "provider") != NULL, "%s", error.text);
    }
    device_done(&device);
    EVP_PKEY_free(key);
}

/* A message must not be refused for good because a token did not answer. */
static void a_tpm_that_is_gone(void)
{
    if (tpm_missing != NULL)
        SKIP("%s", tpm_missing);
    EVP_PKEY *key = tpm_new_key(&tpm, "P-256");
    struct device device = {.context = tpm_context()};
    struct dmsg_sealer *sealer = NULL, *peers_sealer = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_buffer envelope = {0};
    struct dmsg_message message = {0};
    struct dmsg_error error = {0};
    REQUIRE(key != NULL && device_new(&device, key, NULL));
    struct dmsg_seal_options to_device = {
        .recipient = &device.name, .key = dmsg_peer_recipient_key(device.peer, &error)};
    CHECK(dmsg_sealer_new(&sealer, &device.context, device.identity, &error) == 0);
    CHECK(dmsg_opener_new(&opener, &device.context, device.identity, &everybody, &error) == 0);
    CHECK(dmsg_sealer_new(&peers_sealer, &software, peers[0].identity, &error) == 0);
    CHECK(dmsg_seal(peers_sealer, &to_device, dmsg_span_text("x"), &envelope, &error) == 0);

    tpm_halt(&tpm);
    int result = dmsg_open_begin(
        opener, dmsg_buffer_span(&envelope), (struct dmsg_span){0}, &message, &error);
    CHECK_ROW(result == DMSG_E_INTERNAL, "%s: %s", dmsg_error_word(result), error.text);
    dmsg_buffer_reset(&envelope);
    result = dmsg_seal(sealer, &to_device, dmsg_span_text("x"), &envelope, &error);
    CHECK_ROW(result == DMSG_E_INTERNAL, "%s: %s", dmsg_error_word(result), error.text);
    CHECK(envelope.size == 0);

    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    dmsg_opener_free(&opener);
    dmsg_sealer_free(&sealer);
    dmsg_sealer_free(&peers_sealer);
    device_done(&device);
    EVP_PKEY_free(key);
    tpm_stop(&tpm);
}

static void a_pkcs11_token(void)
{
    static const char *const kinds[] = {"P-256", "P-384", "P-521", "RSA", NULL};
    struct pkcs11 token;
    const char *missing = pkcs11_start(&token, kinds);
    for (size_t i = 0; missing == NULL && kinds[i] != NULL; i++) {
        EVP_PKEY *key = pkcs11_key(&token, kinds[i]);
        all_of_it(kinds[i], &software, key);
        EVP_PKEY_free(key);
    }
    pkcs11_stop(&token);
    if (missing != NULL)
        SKIP("%s", missing);
}

TEST_MAIN(TEST(makes_peers), TEST(a_tpm), TEST(an_rsa_key_in_a_tpm), TEST(a_tpm_that_is_gone),
    TEST(a_pkcs11_token), TEST(loses_peers))
