/*
 * Makes the first inputs of every corpus, from real messages, keys and certificates and from short
 * texts written by hand.
 *
 *     fuzz/seeds FOLDER       writes FOLDER/TARGET/corpus/SHA1, FOLDER/TARGET/corpus must exist
 *
 * Signatures and ephemeral keys are new in each run, and so are the names of the files that hold
 * them: run it when a format changes, not to refresh what is there (`scripts/fuzz --seeds`).
 */
#include "seeds.h"

#include "dane/frame.h"
#include "dane/publish_tsig.h"
#include "dane/tlsa.h"
#include "dane/uri.h"
#include "publish/key.h"
#include "target.h"
#include "x509/create.h"

#include <openssl/evp.h>
#include <string.h>

static const char *folder;
static unsigned saved;

void seed_save(const char *target, struct dmsg_span input)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char path[4096], name[2 * EVP_MAX_MD_SIZE + 1] = "";
    size_t size = 0;
    FUZZ_ASSERT(EVP_Q_digest(NULL, "SHA1", NULL, input.data, input.size, digest, &size) == 1);
    for (size_t i = 0; i < size; i++)
        snprintf(name + 2 * i, 3, "%02x", digest[i]);
    int written = snprintf(path, sizeof path, "%s/%s/corpus/%s", folder, target, name);
    FUZZ_ASSERT(written > 0 && (size_t)written < sizeof path);
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(input.data, 1, input.size, file) != input.size ||
        fclose(file) != 0) {
        perror(path);
        exit(1);
    }
    saved++;
}

static void save_texts(const char *target, const char *const *texts)
{
    for (; *texts != NULL; texts++)
        seed_save(target, dmsg_span_text(*texts));
}

/* ------------------------------------------------------------------------------ written by hand */

#define LABEL_63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const char *const names[] = {"alice.example", "a.b", "Bob._Device.EXAMPLE.", "x--n.y_z.9",
    LABEL_63 ".example", LABEL_63 "a.example", LABEL_63 "." LABEL_63 "." LABEL_63 "." LABEL_63,
    "*.example.net", "*.*.example", "example", "a..b", ".a.b", "a.b..", "a b.c", "a.b/c", "a.+", "",
    NULL};

static const char *const uris[] = {"dns:alice.example?type=TLSA", "dns://alice.example?type=TLSA",
    "dns:ALICE._device.example.?type=TLSA", "dns://192.0.2.1/alice.example?type=TLSA",
    "dns:///alice.example?type=TLSA", "dns:alice.example?type=tlsa",
    "dns:alice.example?class=IN;type=TLSA", "dns:alice.example", "dns:alice.example?type=TLSA#a",
    "dns:al%69ce.example?type=TLSA", "DNS:alice.example?type=TLSA", "dns:?type=TLSA",
    "https://alice.example?type=TLSA", "dns:alice@b.example:53?type=TLSA", NULL};

/* TSIG key files, and what PowerDNS's API answers. */
static const char *const publishings[] = {FUZZ_TSIG_KEY,
    "# comment\n/* another */key k { secret \"" FUZZ_TSIG_SECRET
    "\"; algorithm hmac-sha512; }; // end",
    "key \"k\" { algorithm hmac-md5; secret \"" FUZZ_TSIG_SECRET "\"; };", "key \"k\" {};",
    "[{\"id\":\"a.example.\",\"name\":\"a.example.\",\"kind\":\"Master\",\"serial\":1}]",
    "[{\"id\":\"../..\",\"name\":\"a.example.\",\"kind\":\"Slave\"}]",
    "{\"rrsets\":[{\"name\":\"a.example.\",\"type\":\"TLSA\",\"ttl\":60,\"records\":[{\"content\":"
    "\"3 0 0 3082\",\"disabled\":false},{\"content\":\"3 1 1 00 ff\"}]}]}",
    "{\"rrsets\":[{\"name\":\"a.example.\",\"type\":\"SOA\",\"ttl\":60,\"records\":[{\"content\":"
    "\"ns. h. 1 2 3 4 5\",\"disabled\":true}]},{\"type\":\"CNAME\",\"name\":\"a.example.\"}]}",
    "{\"error\":\"Conflict\\u001b\"}", NULL};

static const char *const texts_of_base64[] = {"", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE",
    "Zm9vYmFy", "Zm9vYmE=", "Zh", "Zm9", "Zm9vYmFyA", "Zm 9v", "Zm9v\n", "--__", "++//",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_abcdefghijklmnop=rstuvwxyz",
    NULL};

#define EPK "\"epk\":{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}"

static const char *const headers[] = {"{\"alg\":\"ES256\"}", "{ \"alg\" : \"EdDSA\" }\n",
    "{\"alg\":\"none\"}", "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\"}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256CBC-HS512\"," EPK "}",
    "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\"," EPK "}",
    "{\"alg\":\"RS256\",\"alg\":\"RS256\"}", "{\"alg\":\"RS256\",\"\\u0061lg\":\"RS256\"}",
    "{\"\\u0061lg\":\"\\u0052S256\"}",
    "{\"alg\":\"RS256\",\"iat\":9007199254740991,\"exp\":9007199254740992}",
    "{\"alg\":\"RS256\",\"iat\":1700000000.0}", "{\"alg\":\"RS256\",\"iat\":-1}",
    "{\"alg\":\"RS256\",\"iat\":01}", "{\"alg\":\"RS256\",\"x\":[1,-2.5e+3,true,false,null,{}]}",
    "{\"alg\":\"RS256\",\"x\":[[[[1]]]]}", "{\"alg\":\"RS256\",\"x\":{\"a\":{\"b\":{}}}}",
    "{\"alg\":\"RS256\",\"x\":\"\\ud83d\\ude00\\u00e9\\\"\\\\\\/\\b\\f\\n\\r\\t\"}",
    "{\"alg\":\"RS256\",\"x\":\"\\ud83d\"}", "{\"alg\":\"RS256\",\"x\":\"\\ud83d and more\"}",
    "{\"alg\":\"RS256\",\"x\":\"\\udc00 and more\"}",
    "{\"alg\":\"RS256\",\"x\":\"\\ud83d\\u0041 and more\"}",
    "{\"alg\":\"RS256\",\"x\":\"\\u0000\"}",
    "{\"alg\":\"RS256\",\"x\":\"\xc3\xa9\xf0\x9f\x98\x80\"}",
    "{\"alg\":\"RS256\",\"x\":\"\xc0\x80\"}", "{\"alg\":\"RS256\",\"x5c\":[\"MIIB\",\"MIIC\"]}",
    "{\"alg\":\"RS256\",\"x5c\":[]}", "{\"alg\":\"RS256\",\"crit\":[\"b64\"]}",
    "{\"alg\":\"RS256\",\"b64\":true}", "{\"alg\":\"RS256\",\"jku\":\"https://a.example\"}",
    "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\",\"zip\":\"DEF\"}",
    "{\"alg\":\"RS256\",\"x\":1e999}",
    "{\"alg\":\"RS256\",\"x5c\":[\"A\",\"B\",\"C\",\"D\",\"E\"]}",
    "{\"alg\":\"RS256\",\"x5c\":[\"\"]}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\","
    "\"x\":\"AA\","
    "\"y\":\"AA\",\"use\":\"enc\"}}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"EC\",\"x\":\"AA\",\"d\":"
    "\"AA\"}}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"EC\",\"x\":\"AA\"}}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A128GCM\"," EPK "}", "{\"typ\":\"JOSE\"}",
    "{\"alg\":\"RSA-OAEP-256\"}", "{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}",
    "{\"alg\":\"ES256\",\"x\":\"\\u20ac \\u00E9 \\u12\"}", "{\"alg\":\"ES256\",\"x\":\"\\u20ac\"}",
    "{\"alg\":\"ES256\",\"x\":\"\\u12x4\"}", "{\"alg\":\"ES256\",\"x\":\"\\x41\"}",
    "{\"alg\":\"ES256\",\"x\":\"\t\"}", "{\"alg\":\"ES256", "{\"alg\":\"ES256\\",
    "{\"alg\":\"ES256\",\"x\":-}", "{\"alg\":\"ES256\",\"x\":1.}", "{\"alg\":\"ES256\",\"x\":2e}",
    "{\"alg\":\"ES256\",\"x\":tru}", "{\"alg\":\"ES256\",\"iat\":00}",
    "{\"alg\":\"ES256\",\"iat\":\"1\"}", "{\"alg\":\"ES256\" \"x\":1}", "{\"alg\":\"RS256\"}{}",
    "\xef\xbb\xbf{\"alg\":\"RS256\"}", "[]", "{", NULL};

static const char *const compacts[] = {"..", "....", "a.b.c", "a.b.c.d", "AA.AA.AA.AA.AA", ".", "",
    "AA.AA.AA", " AA.AA.AA", "AA.AA.AA\n", NULL};

static const char *const flatteneds[] = {
    "{\"protected\":\"AA\",\"payload\":\"\",\"signature\":\"AA\"}",
    "{\"tag\":\"AA\",\"iv\":\"AA\",\"ciphertext\":\"AA\",\"encrypted_key\":\"AA\",\"protected\":"
    "\"AA\"}",
    " {\n\"payload\" :\t\"AA\" , \"protected\":\"AA\",\r\"signature\":\"AA\" } ",
    "{\"protected\":\"AA\",\"payload\":\"AA\",\"signature\":\"AA\",}",
    "{\"protected\":\"AA\",\"payload\":\"AA\"}",
    "{\"protected\":\"AA\",\"payload\":\"AA\",\"signature\":\"AA\",\"signature\":\"AA\"}",
    "{\"protected\":\"AA\",\"payload\":\"AA\",\"signature\":\"AA\",\"header\":{\"kid\":\"a\"}}",
    "{\"payload\":\"AA\",\"signatures\":[{\"protected\":\"AA\",\"signature\":\"AA\"}]}",
    "{\"protected\":\"\\u0041A\",\"payload\":\"AA\",\"signature\":\"AA\"}",
    "{\"protected\":null,\"payload\":\"AA\",\"signature\":\"AA\"}", "{}", "{", NULL};

/* {"alg":"ES256","A":0,...} with more members than a header may have, and with a text that makes it
   too long. */
static void save_large_headers(void)
{
    struct dmsg_buffer many = {0}, is_long = {0};
    dmsg_buffer_put_text(&many, "{\"alg\":\"ES256\"");
    for (int i = 0; i < 64; i++)
        dmsg_buffer_format(&many, ",\"%c%c\":0", 'A' + i / 26, 'A' + i % 26);
    dmsg_buffer_put_text(&many, "}");
    seed_save("json_header", dmsg_buffer_span(&many));
    dmsg_buffer_format(&is_long, "{\"alg\":\"ES256\",\"x\":\"%04096d\"}", 0);
    seed_save("json_header", dmsg_buffer_span(&is_long));
    dmsg_buffer_done(&many);
    dmsg_buffer_done(&is_long);
}

/* -------------------------------------------------------------------- certificates and records */

static void save_records(const X509 *certificate, EVP_PKEY *key)
{
    static const uint8_t fields[][3] = {{DMSG_DANE_EE, DMSG_TLSA_CERT, DMSG_TLSA_FULL},
        {DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_FULL},
        {DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_SHA256},
        {DMSG_DANE_EE, DMSG_TLSA_CERT, DMSG_TLSA_SHA512},
        {DMSG_PKIX_EE, DMSG_TLSA_CERT, DMSG_TLSA_FULL},
        {DMSG_PKIX_CD, DMSG_TLSA_CERT, DMSG_TLSA_FULL}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct dmsg_buffer rdata = {0};
        struct dmsg_error error;
        FUZZ_ASSERT(dmsg_tlsa_encode(&rdata, fields[i][0], fields[i][1], fields[i][2], certificate,
                        key, &error) == 0);
        seed_save("tlsa", dmsg_buffer_span(&rdata));
        dmsg_buffer_done(&rdata);
    }
}

static void save_certificate(X509 *certificate, EVP_PKEY *key)
{
    unsigned char *der = NULL, *spki = NULL;
    int der_size = i2d_X509(certificate, &der), spki_size = i2d_PUBKEY(key, &spki);
    FUZZ_ASSERT(der_size > 0 && spki_size > 0);
    seed_save("certificate", (struct dmsg_span){der, (size_t)der_size});
    seed_save("certificate", (struct dmsg_span){der, (size_t)der_size - 1});
    seed_save("certificate", (struct dmsg_span){spki, (size_t)spki_size});
    struct dmsg_buffer twice = {0}; /* as a message would carry it and its issuer */
    dmsg_buffer_put(&twice, der, (size_t)der_size);
    dmsg_buffer_put(&twice, der, (size_t)der_size);
    seed_save("certificate", dmsg_buffer_span(&twice));
    dmsg_buffer_done(&twice);
    OPENSSL_free(der);
    OPENSSL_free(spki);
}

static void save_certificates(const struct fuzz_parties *parties)
{
    static const enum dmsg_key_type types[] = {
        DMSG_KEY_P256, DMSG_KEY_P384, DMSG_KEY_P521, DMSG_KEY_ED25519, DMSG_KEY_RSA2048};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct dmsg_material made;
        struct dmsg_error error;
        struct dmsg_creation wanted = {
            .name = &parties->alice_name, .type = types[i], .days = DMSG_DAYS_DEFAULT};
        if (types[i] == DMSG_KEY_P384)
            wanted.subject = (struct dmsg_subject){"CH", "Bern", "Bern", "An, \"Organization\""};
        FUZZ_ASSERT(dmsg_material_create(&made, &parties->context, &wanted, &error) == 0);
        save_certificate(made.certificate, made.key);
        if (made.encryption_certificate != NULL)
            save_certificate(made.encryption_certificate, made.encryption_key);
        if (types[i] == DMSG_KEY_P256 || types[i] == DMSG_KEY_ED25519)
            save_records(made.certificate, made.key);
        dmsg_material_done(&made);
    }
}

static void save_odd_records(void)
{
    static const struct {
        uint8_t octets[36];
        size_t size;
    } odd[] = {{{3, 1, 0, 0}, 4}, {{255, 255, 255, 255}, 4}, {{3, 1, 1, 0}, 4}, {{3, 0, 2, 0}, 36},
        {{3, 1, 0}, 3}, {{3}, 1}};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++)
        seed_save("tlsa", (struct dmsg_span){odd[i].octets, odd[i].size});
}

/* An RSA key whose exponent has one zero more than DER allows: BER that OpenSSL reads. */
static void save_padded_key(EVP_PKEY *key)
{
    static const uint8_t exponent[] = {2, 4, 0, 1, 0, 1};
    static const size_t lengths[] = {3, 22, 27}; /* low octets of the lengths around it */
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    struct dmsg_buffer spki = {0};
    FUZZ_ASSERT(size == 294);
    dmsg_buffer_put(&spki, der, (size_t)size - 5);
    dmsg_buffer_put(&spki, exponent, sizeof exponent);
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++)
        spki.data[lengths[i]]++;
    seed_save("certificate", dmsg_buffer_span(&spki));
    dmsg_buffer_done(&spki);
    OPENSSL_free(der);
}

/* ----------------------------------------------------------------------------------- the resolver
 */

static void save_frame(enum dmsg_frame_type type, const struct dmsg_buffer *body)
{
    struct dmsg_buffer frame = {0};
    dmsg_frame_put(&frame, type, 7, dmsg_buffer_span(body));
    FUZZ_ASSERT(!frame.failed);
    seed_save("frame", dmsg_buffer_span(&frame));
    if (body->size > 0)
        seed_save("frame", dmsg_buffer_span(body));
    dmsg_buffer_done(&frame);
}

static void save_setup(void)
{
    struct dmsg_buffer body = {0};
    dmsg_setup_put(&body, DMSG_SETUP_SERVER, "192.0.2.1@53");
    dmsg_setup_put(&body, DMSG_SETUP_SYSTEM, "2001:db8::1");
    dmsg_setup_put(&body, DMSG_SETUP_STUB, "example=192.0.2.2@5353");
    dmsg_setup_put(&body, DMSG_SETUP_ANCHOR, ". IN DS 20326 8 2 00");
    dmsg_setup_put(&body, DMSG_SETUP_KEEP, "root.key");
    dmsg_setup_put(&body, DMSG_SETUP_FOR_STRANGERS, "yes");
    save_frame(DMSG_FRAME_SETUP, &body);
    dmsg_buffer_done(&body);
    save_frame(DMSG_FRAME_PING, &body);
    dmsg_buffer_put_text(&body, "alice.example");
    save_frame(DMSG_FRAME_ASK, &body);
    dmsg_buffer_done(&body);
}

static void save_answer(const struct dmsg_answer *answer)
{
    struct dmsg_buffer body = {0};
    dmsg_answer_put(&body, answer);
    save_frame(DMSG_FRAME_ANSWER, &body);
    dmsg_buffer_done(&body);
}

/* Two keys, a digest and an unknown record, in the order of their rdata; a denial; no answer. */
static void save_answers(const struct fuzz_parties *parties)
{
    static const uint8_t digest[35] = {3, 1, 1}, unknown[4] = {9, 9, 9, 9};
    struct dmsg_answer answer = {.name = parties->alice_name,
        .canonical = parties->bob_name,
        .status = DMSG_DNS_SECURE,
        .ttl = 3600,
        .via = "192.0.2.1@53, over UDP or TCP",
        .signed_until = 1700000000,
        .oversized = 1,
        .count = 4};
    const struct dmsg_peer_key *p256 = &parties->alice->keys[FUZZ_ALICE_P256];
    const struct dmsg_peer_key *ed25519 = &parties->alice->keys[FUZZ_ALICE_ED25519];
    answer.records[0] = ed25519->rdata;
    answer.records[1] = p256->rdata;
    answer.records[2] = (struct dmsg_span){digest, sizeof digest};
    answer.records[3] = (struct dmsg_span){unknown, sizeof unknown};
    save_answer(&answer);
    answer.status = DMSG_DNS_BOGUS;
    answer.signed_until = 0;
    save_answer(&answer);
    answer = (struct dmsg_answer){.canonical = parties->alice_name, .nxdomain = true, .ttl = 60};
    save_answer(&answer);
    answer = (struct dmsg_answer){.status = DMSG_DNS_NOT_NOW, .why = "no server answers"};
    save_answer(&answer);
}

/* A DNS message of one question, signed. */
static void save_signed(void)
{
    static const uint8_t message[] = {0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 7, 'e',
        'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 52, 0, 1};
    struct dmsg_buffer out = {0};
    struct dmsg_tsig_key key;
    struct dmsg_tsig_mac mac;
    dmsg_buffer_put(&out, message, sizeof message);
    if (dmsg_tsig_key_parse(&key, dmsg_span_text(FUZZ_TSIG_KEY), NULL) < 0 ||
        dmsg_tsig_sign(&out, &key, FUZZ_TSIG_TIME, &mac, NULL) < 0)
        abort();
    seed_save("publish", dmsg_buffer_span(&out));
    dmsg_buffer_done(&out);
}

int main(int argc, char **argv)
{
    static struct fuzz_parties parties;
    if (argc != 2) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 1;
    }
    folder = argv[1];
    fuzz_parties_init(&parties);
    save_texts("name", names);
    save_texts("uri", uris);
    save_texts("publish", publishings);
    save_signed();
    save_texts("base64url", texts_of_base64);
    save_texts("json_header", headers);
    save_large_headers();
    save_texts("compact", compacts);
    save_texts("flattened", flatteneds);
    save_certificates(&parties);
    save_odd_records();
    save_padded_key(parties.alice_keys[FUZZ_ALICE_RSA]);
    save_setup();
    save_answers(&parties);
    seed_messages(&parties);
    fuzz_parties_done(&parties);
    printf("%u inputs\n", saved);
    return 0;
}
