/* Seeds from real messages: those that bob accepts, and those that he must refuse although their
   signatures and tags are right. */
#include "seeds.h"

#include "base/base64url.h"
#include "dane/uri.h"
#include "jose/jose.h"
#include "target.h"

#include <string.h>

#define DAY 86400

/* What is said about one message. */
struct wish {
    enum fuzz_alice_key from;
    enum fuzz_bob_key to;
    enum dmsg_format format;
    bool cbc, compact;
    const char *content_type, *topic;
    const char *sender, *audience, *recipient; /* NULL: alice, bob, and bob in the outer x5u */
    int64_t age;                               /* seconds before FUZZ_NOW that it was signed */
    bool altered_tag, altered_signature;
};

static const struct wish good[] = {
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .content_type = "text/plain;charset=utf-8"},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_X25519, .topic = FUZZ_BOB},
    {.from = FUZZ_ALICE_RSA, .to = FUZZ_BOB_RSA},
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_X25519, .cbc = true},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_RSA, .cbc = true},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_P256, .compact = true},
    {.from = FUZZ_ALICE_RSA, .to = FUZZ_BOB_RSA, .format = DMSG_FORMAT_POC},
};

static const struct wish bad[] = {
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .age = 8 * DAY},
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .age = -DAY},
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .topic = "sensors/a"},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_X25519, .audience = "carol.device.example"},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_X25519, .sender = "mallory.example"},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_X25519, .sender = "carol.device.example"},
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .altered_tag = true},
    {.from = FUZZ_ALICE_RSA, .to = FUZZ_BOB_RSA, .altered_tag = true},
    {.from = FUZZ_ALICE_P256, .to = FUZZ_BOB_P256, .altered_signature = true},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_P256, .altered_signature = true},
    {.from = FUZZ_ALICE_RSA, .to = FUZZ_BOB_P256, .altered_signature = true},
    {.from = FUZZ_ALICE_ED25519, .to = FUZZ_BOB_P256, .recipient = "carol.device.example"},
    {.from = FUZZ_ALICE_RSA,
        .to = FUZZ_BOB_RSA,
        .format = DMSG_FORMAT_POC,
        .sender = "carol.device.example"},
};

#define X5U(name) "\"x5u\":\"dns:" name "?type=TLSA\""
#define KID "\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\""
#define JTI "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\""
#define TIMES "\"iat\":1700000000,\"exp\":1700000001"
#define V1 "{\"alg\":\"ES256\",\"typ\":\"danemsg+jws\","
#define JWE "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\","

/* Headers that are JSON without a fault: the first of each kind is right, the others are not. */
static const char *const headers[] = {
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\"," TIMES "," JTI "}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"bob\"," TIMES "," JTI "}",
    V1 X5U("alice") "," KID ",\"aud\":\"" FUZZ_BOB "\"," TIMES "," JTI "}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\"," TIMES ",\"jti\":\"AAAA\"}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\"," TIMES "," JTI ",\"cty\":\"\\u0007\"}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\",\"iat\":1,\"exp\":1700000001," JTI "}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\",\"iat\":2,\"exp\":1," JTI "}",
    V1 X5U(FUZZ_ALICE) "," KID ",\"aud\":\"" FUZZ_BOB "\"," JTI "}",
    "{\"alg\":\"RS256\",\"x5u\":\"dns://" FUZZ_ALICE "?type=TLSA\"}",
    "{\"alg\":\"RS256\",\"x5u\":\"dns://" FUZZ_ALICE "?type=TLSA\",\"iat\":1}",
    "{\"alg\":\"RS256\"}",
    JWE X5U(FUZZ_BOB) "}",
    JWE X5U(FUZZ_BOB) "," KID "}",
    JWE X5U(FUZZ_BOB) ",\"typ\":\"JOSE\"}",
    JWE X5U(FUZZ_BOB) ",\"cty\":\"JWT\"}",
    JWE X5U("bob") "}",
    JWE "\"typ\":\"JWE\"}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\"," X5U(
        FUZZ_BOB) ",\"epk\":{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AAAA\"}}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\"," X5U(
        FUZZ_BOB) ",\"epk\":{\"kty\":\"OKP\",\"crv\":\"X448\",\"x\":\"AAAA\"}}",
};

static struct dmsg_identity *make_sender(struct fuzz_parties *parties, const struct wish *wish)
{
    struct dmsg_identity *identity;
    struct dmsg_name name = parties->alice_name;
    struct dmsg_error error;
    if (wish->sender != NULL)
        FUZZ_ASSERT(dmsg_name_parse(&name, dmsg_span_text(wish->sender), &error) == 0);
    FUZZ_ASSERT(dmsg_identity_new(&identity, &parties->context, &name, &error) == 0);
    FUZZ_ASSERT(dmsg_identity_add(identity, DMSG_KEY_CURRENT, parties->alice_keys[wish->from], NULL,
                    &error) == 0);
    return identity;
}

/* To another letter of base64url. */
static void alter(uint8_t *letter)
{
    *letter = *letter == 'A' ? 'B' : 'A';
}

static void make_jws(struct fuzz_parties *parties, const struct wish *wish, const char *payload,
    struct dmsg_buffer *jws)
{
    struct dmsg_sealer *sealer;
    struct dmsg_error error;
    struct dmsg_name audience = parties->bob_name;
    struct dmsg_identity *sender = make_sender(parties, wish);
    if (wish->audience != NULL)
        FUZZ_ASSERT(dmsg_name_parse(&audience, dmsg_span_text(wish->audience), &error) == 0);
    const struct dmsg_seal_options options = {.recipient = &audience,
        .format = wish->format,
        .content_type = wish->content_type,
        .topic = wish->topic};
    parties->now = FUZZ_NOW - wish->age;
    FUZZ_ASSERT(dmsg_sealer_new(&sealer, &parties->context, sender, &error) == 0);
    FUZZ_ASSERT(dmsg_sign(sealer, &options, dmsg_span_text(payload), jws, &error) == 0);
    if (wish->altered_signature)
        alter(&jws->data[jws->size - 10]);
    parties->now = FUZZ_NOW;
    dmsg_sealer_free(&sealer);
    dmsg_identity_free(&sender);
}

/* dmsg_encrypt writes the flattened form only. */
static void encrypt_compact(struct fuzz_parties *parties, const struct wish *wish,
    struct dmsg_span jws, struct dmsg_buffer *jwe)
{
    struct dmsg_jose *jose;
    struct dmsg_jose_key *key;
    struct dmsg_error error;
    struct dmsg_buffer members = {0};
    dmsg_buffer_put_text(&members, "\"x5u\":\"");
    dmsg_uri_put(&members, &parties->bob_name, DMSG_URI_V1);
    dmsg_buffer_put_text(&members, "\"");
    FUZZ_ASSERT(dmsg_jose_new(&jose, &parties->context, &error) == 0);
    FUZZ_ASSERT(
        dmsg_jose_key_new(&key, jose, parties->bob_keys[wish->to], DMSG_USE_ENCRYPT, &error) == 0);
    FUZZ_ASSERT(dmsg_jwe_encrypt(key, DMSG_ENC_A256GCM, dmsg_buffer_span(&members), jws,
                    DMSG_FORM_COMPACT, jwe, &error) == 0);
    dmsg_jose_key_free(&key);
    dmsg_jose_free(&jose);
    dmsg_buffer_done(&members);
}

static void encrypt_flattened(struct fuzz_parties *parties, const struct wish *wish,
    struct dmsg_span jws, struct dmsg_buffer *jwe)
{
    struct dmsg_error error;
    struct dmsg_name recipient = parties->bob_name;
    if (wish->recipient != NULL)
        FUZZ_ASSERT(dmsg_name_parse(&recipient, dmsg_span_text(wish->recipient), &error) == 0);
    const struct dmsg_seal_options options = {.recipient = &recipient,
        .key = dmsg_peer_recipient_key(parties->bobs[wish->to], &error),
        .format = wish->format,
        .cbc = wish->cbc};
    FUZZ_ASSERT(options.key != NULL);
    FUZZ_ASSERT(dmsg_encrypt(&parties->context, &options, jws, jwe, &error) == 0);
}

static void save_header(struct dmsg_span encoded)
{
    struct dmsg_buffer header = {0};
    FUZZ_ASSERT(dmsg_base64url_take(&header, encoded) == 0);
    seed_save("json_header", dmsg_buffer_span(&header));
    seed_save("envelope", dmsg_buffer_span(&header));
    dmsg_buffer_done(&header);
}

/* The forms and headers of one message, each to the target that reads it alone. */
static void save_pieces(struct dmsg_span jws_text, struct dmsg_span jwe_text)
{
    struct dmsg_jws jws;
    struct dmsg_jwe jwe;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_jws_parse(&jws, jws_text, &error) == 0);
    FUZZ_ASSERT(dmsg_jwe_parse(&jwe, jwe_text, &error) == 0);
    seed_save(jws.form == DMSG_FORM_COMPACT ? "compact" : "flattened", jws_text);
    seed_save(jwe.form == DMSG_FORM_COMPACT ? "compact" : "flattened", jwe_text);
    save_header(jws.protected_header);
    save_header(jwe.protected_header);
    seed_save("base64url", jwe.ciphertext);
}

static void save_message(
    struct fuzz_parties *parties, const struct wish *wish, const char *payload, bool pieces)
{
    struct dmsg_buffer jws = {0}, jwe = {0};
    make_jws(parties, wish, payload, &jws);
    if (wish->compact)
        encrypt_compact(parties, wish, dmsg_buffer_span(&jws), &jwe);
    else
        encrypt_flattened(parties, wish, dmsg_buffer_span(&jws), &jwe);
    if (wish->altered_tag)
        alter(&jwe.data[jwe.size - 10]);
    seed_save("envelope", dmsg_buffer_span(&jwe));
    if (!wish->altered_tag && wish->recipient == NULL)
        seed_save("envelope", dmsg_buffer_span(&jws));
    if (pieces)
        save_pieces(dmsg_buffer_span(&jws), dmsg_buffer_span(&jwe));
    dmsg_buffer_done(&jws);
    dmsg_buffer_done(&jwe);
}

void seed_messages(struct fuzz_parties *parties)
{
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        save_message(parties, &good[i], FUZZ_GOOD, true);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        save_message(parties, &bad[i], FUZZ_BAD, false);
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        seed_save("envelope", dmsg_span_text(headers[i]));
}
