/* Which key speaks for a name: judging answers, choosing among several keys. */
#include "chain_make.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "danemsg/resolver.h"
#include "test.h"
#include "x509/certificate.h"

#include <openssl/pem.h>
#include <pthread.h>
#include <unistd.h>

#define NOW 1800000000
#define DAY 86400

static int64_t fixed_now(void *user)
{
    (void)user;
    return NOW;
}

static const struct dmsg_context context = {.now = fixed_now};

static struct dmsg_answer answer_of(enum dmsg_dns_status status)
{
    struct dmsg_answer answer = {.status = status, .ttl = 3600};
    (void)!dmsg_name_parse(&answer.name, dmsg_span_text("a.example"), NULL);
    answer.canonical = answer.name;
    return answer;
}

static void add(struct dmsg_answer *answer, const struct dmsg_buffer *rdata)
{
    answer->records[answer->count++] = dmsg_buffer_span(rdata);
}

static const struct dmsg_peer *judge(const struct dmsg_answer *answer)
{
    const struct dmsg_peer *peer = NULL;
    if (dmsg_peer_judge(&peer, &context, NULL, answer, NULL) < 0)
        abort();
    return peer;
}

static void put_record(struct dmsg_buffer *out, EVP_PKEY *key, const char *usage, int64_t from)
{
    struct make make = {
        .key = key, .key_usage = usage, .not_before = from, .not_after = from + 1000 * DAY};
    X509 *certificate = make_certificate(&make);
    struct dmsg_buffer der = {0};
    put_certificate(&der, certificate);
    make_rdata(out, 3, 0, 0, dmsg_buffer_span(&der));
    dmsg_buffer_done(&der);
    X509_free(certificate);
}

/* ------------------------------------------------------------------------- one record at a time */

enum data { CERTIFICATE, PUBLIC_KEY, DIGEST32, DIGEST64, CERTIFICATE_AND_MORE, RUBBISH };

#define BOTH (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)
#define SIGN DMSG_FOR_SIGNATURES
#define ENCRYPT DMSG_FOR_ENCRYPTION

static const struct {
    uint8_t usage, selector, matching;
    enum data data;
    const char *key, *key_usage;
    unsigned purposes;
    bool certificate;
    const char *why; /* part of it; "" for none at all */
} single[] = {
    {3, 0, 0, CERTIFICATE, "P-256", NULL, BOTH, true, ""},
    {3, 0, 0, CERTIFICATE, "P-384", NULL, BOTH, true, ""},
    {3, 0, 0, CERTIFICATE, "P-521", NULL, BOTH, true, ""},
    {3, 0, 0, CERTIFICATE, "RSA2048", NULL, BOTH, true, ""},
    {3, 0, 0, CERTIFICATE, "RSA1024", NULL, 0, true, "RSA 1024"},
    {3, 0, 0, CERTIFICATE, "Ed25519", NULL, SIGN, true, ""},
    {3, 0, 0, CERTIFICATE, "X25519", NULL, ENCRYPT, true, ""},
    {3, 0, 0, CERTIFICATE, "secp256k1", NULL, 0, false, "skipped"},
    {3, 0, 0, CERTIFICATE, "P-256", "digitalSignature", SIGN, true, ""},
    {3, 0, 0, CERTIFICATE, "P-256", "keyAgreement", ENCRYPT, true, ""},
    {3, 0, 0, CERTIFICATE, "P-256", "keyEncipherment", 0, true, "KeyUsage"},
    {3, 0, 0, CERTIFICATE, "P-256", "keyCertSign", 0, true, "KeyUsage"},
    {3, 0, 0, CERTIFICATE, "RSA2048", "keyEncipherment", ENCRYPT, true, ""},
    {3, 0, 0, CERTIFICATE, "RSA2048", "keyAgreement", 0, true, "KeyUsage"},
    {3, 0, 0, CERTIFICATE_AND_MORE, "P-256", NULL, 0, false, "skipped"},
    {3, 0, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "skipped"},
    {3, 0, 0, RUBBISH, "P-256", NULL, 0, false, "skipped"},
    {3, 1, 0, PUBLIC_KEY, "P-256", NULL, BOTH, false, ""},
    {3, 1, 0, PUBLIC_KEY, "RSA2048", NULL, BOTH, false, ""},
    {3, 1, 0, PUBLIC_KEY, "RSA1024", NULL, 0, false, "RSA 1024"},
    {3, 1, 0, PUBLIC_KEY, "Ed25519", NULL, SIGN, false, ""},
    {3, 1, 0, PUBLIC_KEY, "X25519", NULL, ENCRYPT, false, ""},
    {3, 1, 0, PUBLIC_KEY, "secp256k1", NULL, 0, false, "skipped"},
    {3, 1, 0, CERTIFICATE, "P-256", NULL, 0, false, "skipped"},
    {3, 1, 0, RUBBISH, "P-256", NULL, 0, false, "skipped"},
    {3, 0, 1, DIGEST32, "P-256", NULL, 0, false, "a digest: it verifies messages that carry"},
    {3, 0, 2, DIGEST64, "P-256", NULL, 0, false, "the certificate (x5c); nobody can encrypt to it"},
    {3, 1, 1, DIGEST32, "P-256", NULL, 0, false, "a digest: it verifies messages that carry"},
    {3, 1, 2, DIGEST64, "P-256", NULL, 0, false, "a digest: it verifies messages that carry"},
    {3, 1, 1, DIGEST64, "P-256", NULL, 0, false, "skipped: a TLSA record whose SHA2-256 digest"},
    {0, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "a CA of this name's: it verifies messages"},
    {0, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "through it to the system's CAs; nobody can"},
    {0, 1, 1, DIGEST32, "P-256", NULL, 0, false, "a CA of this name's: it verifies messages"},
    {1, 0, 0, CERTIFICATE, "P-256", NULL, 0, true,
        "not by usage 1 (PKIX-EE): the system's CAs are"},
    {1, 0, 0, CERTIFICATE, "P-256", "keyCertSign", 0, true, "KeyUsage"},
    {1, 0, 0, RUBBISH, "P-256", NULL, 0, false, "skipped"},
    {1, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "a key that a CA must vouch for"},
    {1, 1, 0, PUBLIC_KEY, "RSA1024", NULL, 0, false, "RSA 1024"},
    {1, 1, 1, DIGEST32, "P-256", NULL, 0, false, "the certificate and its chain (x5c); nobody can"},
    {2, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "an anchor: it verifies messages that carry"},
    {2, 0, 0, RUBBISH, "P-256", NULL, 0, false, "skipped"},
    {2, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "an anchor: it verifies messages that carry"},
    {2, 0, 1, DIGEST32, "P-256", NULL, 0, false, "in a chain that ends at it; nobody can encrypt"},
    {4, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "counts only where it is asked for (--pkix-cd)"},
    {4, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "usage 4 (PKIX-CD) has only 4 0 0"},
    {4, 0, 1, DIGEST32, "P-256", NULL, 0, false, "usage 4 (PKIX-CD) has only 4 0 0"},
    {5, 0, 0, CERTIFICATE, "P-256", NULL, 0, false, "usage 5 is unassigned"},
    {255, 0, 0, CERTIFICATE, "P-256", NULL, 0, false, "usage 255 is PrivCert"},
    {3, 2, 0, CERTIFICATE, "P-256", NULL, 0, false, "selector 2 is unassigned"},
    {3, 0, 3, CERTIFICATE, "P-256", NULL, 0, false, "matching type 3 is unassigned"},
};

static void make_data(struct dmsg_buffer *out, enum data data, const char *type, const char *usage)
{
    static const uint8_t bytes[64] = {0x30, 0x03, 0x02, 0x01, 0x01};
    EVP_PKEY *key = make_key(type);
    EVP_PKEY *signer = strcmp(type, "X25519") == 0 ? make_key("Ed25519") : NULL;
    struct make make = {.key = key,
        .key_usage = usage,
        .not_before = NOW - DAY,
        .not_after = NOW + DAY,
        .signer = signer};
    X509 *certificate = make_certificate(&make);
    if (data == CERTIFICATE || data == CERTIFICATE_AND_MORE)
        put_certificate(out, certificate);
    if (data == CERTIFICATE_AND_MORE)
        dmsg_buffer_put_byte(out, 0);
    if (data == PUBLIC_KEY)
        put_public_key(out, key);
    if (data == DIGEST32 || data == DIGEST64)
        dmsg_buffer_put(out, bytes, data == DIGEST32 ? 32 : 64);
    if (data == RUBBISH)
        dmsg_buffer_put(out, bytes, 5);
    X509_free(certificate);
    EVP_PKEY_free(key);
    EVP_PKEY_free(signer);
}

static void check_key(const struct dmsg_peer_key *key, size_t row)
{
    char kid[DMSG_KEY_ID_SIZE] = "";
    bool usable = single[row].purposes != 0;
    CHECK_ROW(key->usage == single[row].usage && key->selector == single[row].selector &&
                  key->matching_type == single[row].matching,
        "row %zu", row);
    CHECK_ROW(key->purposes == single[row].purposes, "row %zu: %u", row, key->purposes);
    CHECK_ROW((key->key != NULL) == usable, "row %zu", row);
    CHECK_ROW((key->certificate != NULL) == single[row].certificate, "row %zu", row);
    CHECK_ROW(strstr(key->why, single[row].why) != NULL, "row %zu: %s", row, key->why);
    CHECK_ROW((key->why[0] == '\0') == usable, "row %zu: %s", row, key->why);
    if (key->key != NULL)
        CHECK(dmsg_key_id(kid, key->key, NULL) == 0);
    CHECK_ROW(strcmp(kid, key->kid) == 0, "row %zu", row);
    CHECK_ROW(key->not_before == (single[row].certificate ? NOW - DAY : INT64_MIN), "row %zu", row);
    CHECK_ROW(key->not_after == (single[row].certificate ? NOW + DAY : INT64_MAX), "row %zu", row);
}

static void judges_each_kind(void)
{
    for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
        struct dmsg_buffer data = {0}, rdata = {0};
        make_data(&data, single[i].data, single[i].key, single[i].key_usage);
        make_rdata(&rdata, single[i].usage, single[i].selector, single[i].matching,
            dmsg_buffer_span(&data));
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        add(&answer, &rdata);
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW(peer->exists && peer->count == 1, "row %zu", i);
        if (peer->count == 1) {
            check_key(&peer->keys[0], i);
            CHECK_ROW(dmsg_span_equal(peer->keys[0].rdata, answer.records[0]) &&
                          peer->keys[0].rdata.data != rdata.data,
                "row %zu: its own copy", i);
        }
        dmsg_peer_release(peer);
        dmsg_buffer_done(&data);
        dmsg_buffer_done(&rdata);
    }
}

static void judges_fragments(void)
{
    static const uint8_t octets[3] = {3, 0, 0};
    for (size_t size = 0; size <= 3; size++) {
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        answer.count = 2;
        answer.records[0] = (struct dmsg_span){octets, size};
        answer.records[1] = (struct dmsg_span){octets, 3};
        const struct dmsg_peer *peer = judge(&answer);
        CHECK(peer->count == 2 && peer->keys[0].purposes == 0);
        CHECK(strstr(peer->keys[0].why, "skipped") != NULL);
        CHECK(dmsg_peer_recipient_key(peer, NULL) == NULL);
        dmsg_peer_release(peer);
    }
}

/* Dates are not judged with usage 3, only told (RFC 7671 section 5.1). */
static void warns_of_dates(void)
{
    static const struct {
        int64_t before, after;
        const char *why;
    } rows[] = {
        {NOW - DAY, NOW, ""},
        {NOW, NOW + DAY, ""},
        {NOW - DAY, NOW - 1, "warning: the certificate expired on 2027-01-15T07:59:59Z"},
        {NOW + 1, NOW + DAY, "warning: the certificate is not valid before 2027-01-15T08:00:01Z"},
    };
    EVP_PKEY *key = make_key("P-256");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct make make = {.key = key, .not_before = rows[i].before, .not_after = rows[i].after};
        struct dmsg_buffer der = {0}, rdata = {0};
        X509 *certificate = make_certificate(&make);
        put_certificate(&der, certificate);
        make_rdata(&rdata, 3, 0, 0, dmsg_buffer_span(&der));
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        add(&answer, &rdata);
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW(peer->keys[0].purposes == BOTH, "row %zu", i);
        CHECK_ROW(strncmp(peer->keys[0].why, rows[i].why, strlen(rows[i].why)) == 0 &&
                      (peer->keys[0].why[0] == '\0') == (rows[i].why[0] == '\0'),
            "row %zu: %s", i, peer->keys[0].why);
        CHECK_ROW(dmsg_peer_recipient_key(peer, NULL) == &peer->keys[0], "row %zu", i);
        dmsg_peer_release(peer);
        X509_free(certificate);
        dmsg_buffer_done(&der);
        dmsg_buffer_done(&rdata);
    }
    EVP_PKEY_free(key);
}

/* ----------------------------------------------------------------------------- the whole answer */

/* Only a secure answer gives a key, and everything else its own error. */
static void believes_only_secure(void)
{
    static const struct {
        enum dmsg_dns_status status;
        bool record, nxdomain;
        int code; /* 0: keys */
        int64_t life;
    } rows[] = {
        {DMSG_DNS_SECURE, true, false, 0, 3602},
        {DMSG_DNS_SECURE, false, false, DMSG_E_NO_IDENTITY, 60},
        {DMSG_DNS_SECURE, false, true, DMSG_E_NO_IDENTITY, 60},
        {DMSG_DNS_INSECURE, true, false, DMSG_E_DNS_INSECURE, 60},
        {DMSG_DNS_INSECURE, false, true, DMSG_E_DNS_INSECURE, 60},
        {DMSG_DNS_BOGUS, true, false, DMSG_E_DNS_BOGUS, 0},
        {DMSG_DNS_BOGUS, false, false, DMSG_E_DNS_BOGUS, 0},
        {DMSG_DNS_NOT_NOW, false, false, DMSG_E_DNS_TEMPORARY, 0},
    };
    EVP_PKEY *key = make_key("P-256");
    struct dmsg_buffer rdata = {0};
    put_record(&rdata, key, NULL, NOW - DAY);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_answer answer = answer_of(rows[i].status);
        const struct dmsg_peer_key *keys[DMSG_PEER_KEYS_MAX];
        struct dmsg_error error = {0};
        answer.nxdomain = rows[i].nxdomain;
        if (rows[i].record)
            add(&answer, &rdata);
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW(peer->exists == (rows[i].code == 0), "row %zu", i);
        CHECK_ROW(peer->count == rows[i].record && !peer->from_cache, "row %zu", i);
        CHECK_ROW(peer->fetched_at == NOW, "row %zu", i);
        CHECK_ROW(peer->expires_at == NOW + rows[i].life, "row %zu", i);
        CHECK_ROW((peer->why[0] == '\0') == (rows[i].code == 0), "row %zu: %s", i, peer->why);
        if (rows[i].record && rows[i].code != 0)
            CHECK_ROW(peer->keys[0].key == NULL && peer->keys[0].certificate == NULL &&
                          peer->keys[0].purposes == 0 && peer->keys[0].kid[0] == '\0',
                "row %zu: something was looked at", i);
        CHECK_ROW((dmsg_peer_recipient_key(peer, &error) != NULL) == (rows[i].code == 0) &&
                      error.code == rows[i].code,
            "row %zu", i);
        error.code = 0;
        int count = dmsg_peer_sender_keys(peer, (struct dmsg_span){NULL, 0}, keys, &error);
        CHECK_ROW(count == (rows[i].code == 0 ? 1 : rows[i].code) && error.code == rows[i].code,
            "row %zu: %d", i, count);
        dmsg_peer_release(peer);
    }
    EVP_PKEY_free(key);
    dmsg_buffer_done(&rdata);
}

/* Two seconds longer than the TTL, so that the resolver's own cache has forgotten it before. */
static void bounds_the_life(void)
{
    static const struct {
        uint32_t ttl;
        bool record;
        size_t oversized;
        int64_t life;
    } rows[] = {
        {0, true, 0, 62},
        {59, true, 0, 62},
        {60, true, 0, 62},
        {61, true, 0, 63},
        {86400, true, 0, 86402},
        {86401, true, 0, 86402},
        {UINT32_MAX, true, 0, 86402},
        {0, false, 0, 0},
        {5, false, 0, 7},
        {60, false, 0, 60},
        {61, false, 0, 60},
        {UINT32_MAX, false, 0, 60},
        {3600, false, 1, 3602},
    };
    struct dmsg_buffer rdata = {0};
    make_rdata(&rdata, 3, 0, 0, dmsg_span_text("x"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        answer.ttl = rows[i].ttl;
        answer.oversized = rows[i].oversized;
        if (rows[i].record)
            add(&answer, &rdata);
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW(peer->expires_at - peer->fetched_at == rows[i].life, "row %zu", i);
        CHECK_ROW(peer->ttl == rows[i].ttl, "row %zu", i);
        CHECK_ROW(dmsg_judged_lingers_until(peer) - peer->fetched_at <= 86402, "row %zu", i);
        dmsg_peer_release(peer);
    }
    dmsg_buffer_done(&rdata);
}

/* ------------------------------------------------------------------------------ several records */

#define SEVERAL 5

/* 0 newest, 1 older, 2 signs only but is newer than all, 3 a bare key, 4 a digest. */
static void several_make(struct dmsg_buffer rdata[SEVERAL], EVP_PKEY *keys[4])
{
    static const uint8_t digest[32] = {1};
    struct dmsg_buffer spki = {0};
    for (int i = 0; i < 4; i++)
        keys[i] = make_key("P-256");
    put_record(&rdata[0], keys[0], NULL, NOW - DAY);
    put_record(&rdata[1], keys[1], NULL, NOW - 2 * DAY);
    put_record(&rdata[2], keys[2], "digitalSignature", NOW);
    put_public_key(&spki, keys[3]);
    make_rdata(&rdata[3], 3, 1, 0, dmsg_buffer_span(&spki));
    make_rdata(&rdata[4], 3, 1, 1, (struct dmsg_span){digest, sizeof digest});
    dmsg_buffer_done(&spki);
}

static void check_order(struct dmsg_buffer rdata[SEVERAL], EVP_PKEY *keys[4], const int *order)
{
    const struct dmsg_peer_key *out[DMSG_PEER_KEYS_MAX];
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    struct dmsg_error error = {0};
    for (int i = 0; i < SEVERAL; i++)
        add(&answer, &rdata[order[i]]);
    const struct dmsg_peer *peer = judge(&answer);
    const struct dmsg_peer_key *best = dmsg_peer_recipient_key(peer, NULL);
    CHECK(best != NULL && EVP_PKEY_eq(best->key, keys[0]) == 1);

    CHECK(dmsg_peer_sender_keys(peer, (struct dmsg_span){NULL, 0}, out, NULL) == 4);
    for (int i = 0, at = 0; i < SEVERAL; i++) { /* in the order of the records */
        if (order[i] == 4)
            continue;
        CHECK(EVP_PKEY_eq(out[at]->key, keys[order[i]]) == 1);
        at++;
    }
    for (int i = 0; i < 4; i++) {
        char kid[DMSG_KEY_ID_SIZE];
        CHECK(dmsg_key_id(kid, keys[i], NULL) == 0);
        CHECK(dmsg_peer_sender_keys(peer, dmsg_span_text(kid), out, NULL) == 1);
        CHECK(EVP_PKEY_eq(out[0]->key, keys[i]) == 1);
    }
    static const char *const others[] = {
        "x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "\n\x1b[31m"};
    for (int i = 0; i < 3; i++) {
        CHECK(dmsg_peer_sender_keys(peer, dmsg_span_text(others[i]), out, &error) ==
              DMSG_E_CERTIFICATE);
        CHECK(error.code == DMSG_E_CERTIFICATE && strstr(error.text, "a.example") != NULL);
        CHECK(strstr(error.text, "AAAA") == NULL && strchr(error.text, '[') == NULL);
    }
    dmsg_peer_release(peer);
}

static void chooses_in_every_order(void)
{
    struct dmsg_buffer rdata[SEVERAL] = {{0}};
    EVP_PKEY *keys[4];
    int tried = 0;
    several_make(rdata, keys);
    for (int number = 0; number < 3125; number++) { /* 5^5: those without repetition are 120 */
        int order[SEVERAL], rest = number;
        unsigned seen = 0;
        for (int i = 0; i < SEVERAL; i++, rest /= 5) {
            order[i] = rest % 5;
            seen |= 1u << order[i];
        }
        if (seen != 31)
            continue;
        check_order(rdata, keys, order);
        tried++;
    }
    CHECK(tried == 120);
    for (int i = 0; i < 4; i++)
        EVP_PKEY_free(keys[i]);
    for (int i = 0; i < SEVERAL; i++)
        dmsg_buffer_done(&rdata[i]);
}

/* The same notBefore: the lowest kid. And a bare key only when there is nothing else. */
static void breaks_ties_by_kid(void)
{
    struct dmsg_buffer rdata[2] = {{0}}, spki = {0}, bare = {0};
    EVP_PKEY *keys[2] = {make_key("P-256"), make_key("P-256")};
    char kids[2][DMSG_KEY_ID_SIZE];
    for (int i = 0; i < 2; i++) {
        put_record(&rdata[i], keys[i], NULL, NOW);
        CHECK(dmsg_key_id(kids[i], keys[i], NULL) == 0);
    }
    const char *lowest = strcmp(kids[0], kids[1]) < 0 ? kids[0] : kids[1];
    put_public_key(&spki, keys[0]);
    make_rdata(&bare, 3, 1, 0, dmsg_buffer_span(&spki));
    for (int first = 0; first < 2; first++) {
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        add(&answer, &bare);
        add(&answer, &rdata[first]);
        add(&answer, &rdata[1 - first]);
        const struct dmsg_peer *peer = judge(&answer);
        const struct dmsg_peer_key *best = dmsg_peer_recipient_key(peer, NULL);
        CHECK(best != NULL && strcmp(best->kid, lowest) == 0 && best->selector == 0);
        dmsg_peer_release(peer);
        answer.count = 1;
        peer = judge(&answer);
        best = dmsg_peer_recipient_key(peer, NULL);
        CHECK(best != NULL && best->selector == 1);
        dmsg_peer_release(peer);
    }
    for (int i = 0; i < 2; i++) {
        EVP_PKEY_free(keys[i]);
        dmsg_buffer_done(&rdata[i]);
    }
    dmsg_buffer_done(&spki);
    dmsg_buffer_done(&bare);
}

/* One key for signatures and one for encryption, in a name's two records. */
static void splits_purposes(void)
{
    static const struct {
        const char *first, *second; /* key types */
        bool encrypt, sign;
    } rows[] = {
        {"Ed25519", "X25519", true, true},
        {"Ed25519", "Ed25519", false, true},
        {"X25519", "X25519", true, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct dmsg_peer_key *out[DMSG_PEER_KEYS_MAX];
        struct dmsg_buffer spki = {0}, rdata[2] = {{0}};
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        struct dmsg_error error = {0};
        for (int j = 0; j < 2; j++) {
            EVP_PKEY *key = make_key(j == 0 ? rows[i].first : rows[i].second);
            dmsg_buffer_reset(&spki);
            put_public_key(&spki, key);
            make_rdata(&rdata[j], 3, 1, 0, dmsg_buffer_span(&spki));
            add(&answer, &rdata[j]);
            EVP_PKEY_free(key);
        }
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW((dmsg_peer_recipient_key(peer, &error) != NULL) == rows[i].encrypt, "%zu", i);
        CHECK_ROW(rows[i].encrypt || error.code == DMSG_E_CERTIFICATE, "%zu", i);
        int count = dmsg_peer_sender_keys(peer, (struct dmsg_span){NULL, 0}, out, &error);
        CHECK_ROW(rows[i].sign ? count > 0 : count == DMSG_E_CERTIFICATE, "%zu", i);
        dmsg_peer_release(peer);
        dmsg_buffer_done(&spki);
        dmsg_buffer_done(&rdata[0]);
        dmsg_buffer_done(&rdata[1]);
    }
}

/* The eight are counted after the choice by kid, and a key that comes twice counts once. */
static void counts_after_the_kid(void)
{
    enum { COUNT = 12 };
    struct dmsg_buffer rdata[COUNT] = {{0}}, spki = {0};
    const struct dmsg_peer_key *out[DMSG_PEER_KEYS_MAX];
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    char kid[DMSG_KEY_ID_SIZE];
    for (int i = 0; i < COUNT; i++) {
        EVP_PKEY *key = make_key("Ed25519");
        dmsg_buffer_reset(&spki);
        put_public_key(&spki, key);
        make_rdata(&rdata[i], 3, 1, 0, dmsg_buffer_span(&spki));
        add(&answer, &rdata[i]);
        CHECK(dmsg_key_id(kid, key, NULL) == 0);
        EVP_PKEY_free(key);
    }
    const struct dmsg_peer *peer = judge(&answer);
    CHECK(dmsg_peer_sender_keys(peer, (struct dmsg_span){NULL, 0}, out, NULL) == 8);
    CHECK(out[0] == &peer->keys[0] && out[7] == &peer->keys[7]);
    CHECK(dmsg_peer_sender_keys(peer, dmsg_span_text(kid), out, NULL) == 1);
    CHECK(out[0] == &peer->keys[COUNT - 1]);
    dmsg_peer_release(peer);

    answer.count = 2;
    answer.records[1] = answer.records[0];
    peer = judge(&answer);
    CHECK(dmsg_peer_sender_keys(peer, (struct dmsg_span){NULL, 0}, out, NULL) == 1);
    dmsg_peer_release(peer);
    for (int i = 0; i < COUNT; i++)
        dmsg_buffer_done(&rdata[i]);
    dmsg_buffer_done(&spki);
}

/* ----------------------------------------------------------------------------------- references */

static void *retain_and_release(void *user)
{
    const struct dmsg_peer *peer = user;
    for (int i = 0; i < 20000; i++)
        dmsg_peer_release(dmsg_peer_retain(peer));
    return NULL;
}

static void counts_references(void)
{
    struct dmsg_buffer rdata = {0};
    EVP_PKEY *key = make_key("P-256");
    put_record(&rdata, key, NULL, NOW);
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    add(&answer, &rdata);
    const struct dmsg_peer *peer = judge(&answer);
    const struct dmsg_peer *cached =
        dmsg_judged_copy(peer, peer->fetched_at, peer->expires_at, false);
    dmsg_buffer_done(&rdata); /* the peer has its own octets */
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, retain_and_release, (void *)(uintptr_t)cached);
    retain_and_release((void *)(uintptr_t)peer);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    dmsg_peer_release(peer); /* the cached one lives on, and its keys with it */
    CHECK(cached->from_cache && cached->count == 1);
    CHECK(EVP_PKEY_eq(cached->keys[0].key, key) == 1);
    CHECK(dmsg_peer_recipient_key(cached, NULL) == &cached->keys[0]);
    dmsg_peer_release(cached);
    dmsg_peer_release(NULL);
    EVP_PKEY_free(key);
}

/* ------------------------------------------------------------------------------ usages 1 and 4 */

#define CA "critical,CA:TRUE"
#define CLIENT "DNS:a.example"

/* Writes a certificate to a file of its own, whose name replaces the X of path. */
static void write_file(char *path, const X509 *x509)
{
    FILE *file = fdopen(mkstemp(path), "w");
    if (file == NULL || (x509 != NULL && PEM_write_X509(file, x509) != 1) || fclose(file) != 0)
        abort();
}

/* What row says of a chain of a root, perhaps an intermediate, and the leaf in a `1 0 0`. */
static const struct by_system {
    const char *what;
    bool known, mid, ca_file; /* the root is the system's; there is an intermediate, in --ca-file */
    struct certify leaf;
    bool self_signed;
    unsigned purposes;
    const char *why; /* part of it */
} by_system[] = {
    {"direct", true, false, false, {.names = CLIENT}, false, BOTH, ""},
    {"with --ca-file", true, true, true, {.names = CLIENT}, false, BOTH, ""},
    {"RSA, to encrypt", true, false, false,
        {.type = "RSA2048", .names = CLIENT, .key_usage = "keyEncipherment"}, false, ENCRYPT, ""},
    {"no intermediate", true, true, false, {.names = CLIENT}, false, 0, "unable to get local"},
    {"unknown root", false, false, false, {.names = CLIENT}, false, 0, "unable to get local"},
    {"unknown root in --ca-file", false, true, true, {.names = CLIENT}, false, 0, "unable to get"},
    {"another name", true, false, false, {.names = "DNS:b.example"}, false, 0, "bear the name"},
    {"a wildcard", true, false, false, {.names = "DNS:*.example"}, false, 0, "bear the name"},
    {"expired", true, false, false, {.names = CLIENT, .not_after = NOW}, false, 0, "expired"},
    {"of tomorrow", true, false, false, {.names = CLIENT, .not_before = NOW + 1}, false, 0,
        "not yet valid"},
    {"self-signed", true, false, false, {.names = CLIENT}, true, 0, "self-signed"},
    {"no use", true, false, false, {.names = CLIENT, .key_usage = "cRLSign"}, false, 0, "KeyUsage"},
};

static void check_by_system(const struct by_system *row)
{
    static const struct certify ca = {.subject = "Root", .constraints = CA};
    static const struct certify mid_ca = {.subject = "Mid", .constraints = CA};
    struct made root = certify(&ca, NULL), mid = certify(&mid_ca, &root);
    struct made leaf = certify(&row->leaf, row->self_signed ? NULL : row->mid ? &mid : &root);
    char system[] = "/tmp/danemsg-peer-XXXXXX", file[] = "/tmp/danemsg-peer-XXXXXX";
    struct dmsg_buffer der = {0}, rdata = {0};
    struct dmsg_judge *judge = NULL;
    const struct dmsg_peer *peer = NULL;
    write_file(system, row->known ? root.x509 : NULL);
    write_file(file, mid.x509);
    setenv("SSL_CERT_FILE", system, 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    put_certificate(&der, leaf.x509);
    make_rdata(&rdata, 1, 0, 0, dmsg_buffer_span(&der));
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    add(&answer, &rdata);
    CHECK(dmsg_judge_new(&judge, row->ca_file ? file : NULL, false, NULL) == 0);
    CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
    dmsg_judge_free(&judge);
    const struct dmsg_peer_key *key = &peer->keys[0];
    CHECK_ROW(key->purposes == row->purposes, "%s: %u %s", row->what, key->purposes, key->why);
    CHECK_ROW((key->key != NULL) == (row->purposes != 0), "%s", row->what);
    CHECK_ROW(strstr(key->why, row->why) != NULL && (key->why[0] == '\0') == (row->purposes != 0),
        "%s: %s", row->what, key->why);
    CHECK_ROW(
        (dmsg_peer_recipient_key(peer, NULL) != NULL) == (row->purposes != 0), "%s", row->what);
    dmsg_peer_release(peer);
    unlink(system);
    unlink(file);
    dmsg_buffer_done(&der);
    dmsg_buffer_done(&rdata);
    made_done(&root);
    made_done(&mid);
    made_done(&leaf);
}

static void asks_the_system_for_usage_1(void)
{
    for (size_t i = 0; i < sizeof by_system / sizeof by_system[0]; i++)
        check_by_system(&by_system[i]);
}

static void wants_a_ca_file_that_is_one(void)
{
    struct dmsg_judge *judge = NULL;
    struct dmsg_error error;
    char path[] = "/tmp/danemsg-peer-XXXXXX";
    CHECK(dmsg_judge_new(&judge, "/nonexistent/file", false, &error) == DMSG_E_LOCAL);
    write_file(path, NULL);
    CHECK(dmsg_judge_new(&judge, path, false, &error) == DMSG_E_LOCAL && judge == NULL);
    CHECK(strstr(error.text, "no certificate") != NULL);
    unlink(path);
}

static const struct by_authority {
    const char *what;
    enum dmsg_dns_status status;
    bool pkix_cd;
    size_t issuers; /* 0: the authority has none; else so many of mid and root */
    struct certify root, mid, leaf;
    unsigned purposes;
    const char *why;
    bool closed; /* it is not even asked for */
} by_authority[] = {
#define CAS .root = {.constraints = CA}, .mid = {.constraints = CA}
#define GOOD_CD CAS, .leaf = {.names = CLIENT}
    {"insecure", DMSG_DNS_INSECURE, true, 2, GOOD_CD, BOTH, "", false},
    {"secure", DMSG_DNS_SECURE, true, 2, GOOD_CD, BOTH, "", false},
    {"RSA", DMSG_DNS_INSECURE, true, 2, .root = {.type = "RSA2048", .constraints = CA},
        .mid = {.type = "RSA2048", .constraints = CA},
        .leaf = {.type = "RSA2048", .names = "DNS:b.example," CLIENT}, BOTH, "", false},
    {"not wanted", DMSG_DNS_INSECURE, false, 2, GOOD_CD, 0, "not looked at", true},
    {"not wanted, secure", DMSG_DNS_SECURE, false, 2, GOOD_CD, 0, "--pkix-cd", true},
    {"bogus", DMSG_DNS_BOGUS, true, 2, GOOD_CD, 0, "not looked at", true},
    {"no use", DMSG_DNS_SECURE, true, 2, CAS, .leaf = {.names = CLIENT, .key_usage = "cRLSign"}, 0,
        "KeyUsage", true},
    {"no authority", DMSG_DNS_INSECURE, true, 0, GOOD_CD, 0, "the reason", false},
    {"not up to a root", DMSG_DNS_INSECURE, true, 1, GOOD_CD, 0, "self-signed", false},
    {"another name", DMSG_DNS_INSECURE, true, 2, CAS, .leaf = {.names = "DNS:b.example"}, 0,
        "bear the name", false},
    {"expired", DMSG_DNS_SECURE, true, 2, CAS, .leaf = {.names = CLIENT, .not_after = NOW}, 0,
        "expired", false},
    {"root expired", DMSG_DNS_SECURE, true, 2, .root = {.constraints = CA, .not_after = NOW},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT}, 0, "expired", false},
    {"not a CA", DMSG_DNS_SECURE, true, 2, .root = {.constraints = CA}, .mid = {0},
        .leaf = {.names = CLIENT}, 0, "does not hold", false},
    {"root not a CA", DMSG_DNS_SECURE, true, 2, .root = {0}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}, 0, "invalid CA", false},
    {"path length", DMSG_DNS_SECURE, true, 2, .root = {.constraints = CA ",pathlen:0"},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT}, 0, "path length", false},
};

static void check_by_authority(const struct by_authority *row)
{
    struct certify wanted[] = {row->root, row->mid, row->leaf};
    wanted[0].subject = "Root";
    wanted[1].subject = "Mid";
    struct made root = certify(&wanted[0], NULL), mid = certify(&wanted[1], &root);
    struct made leaf = certify(&wanted[2], &mid);
    struct dmsg_buffer der = {0}, rdata = {0};
    struct dmsg_judge *judge = NULL;
    const struct dmsg_peer *peer = NULL;
    put_certificate(&der, leaf.x509);
    make_rdata(&rdata, 4, 0, 0, dmsg_buffer_span(&der));
    struct dmsg_answer answer = answer_of(row->status);
    add(&answer, &rdata);
    CHECK(dmsg_judge_new(&judge, NULL, row->pkix_cd, NULL) == 0);
    CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
    CHECK_ROW(dmsg_peer_open_key(peer, 0) == (row->closed ? 1 : 0), "%s", row->what);
    CHECK_ROW(peer->keys[0].purposes == 0 && dmsg_peer_open_key(peer, 1) == 1, "%s", row->what);
    if (!row->closed) {
        STACK_OF(X509) *issuers = sk_X509_new_null();
        CHECK(strstr(peer->keys[0].why, "has not been asked") != NULL);
        CHECK(sk_X509_push(issuers, mid.x509) == 1);
        if (row->issuers == 2)
            CHECK(sk_X509_push(issuers, root.x509) == 2);
        dmsg_peer_settle(peer, 0, row->issuers > 0 ? issuers : NULL, "the reason");
        sk_X509_free(issuers);
        CHECK(dmsg_peer_open_key(peer, 0) == 1);
    }
    const struct dmsg_peer_key *key = &peer->keys[0];
    CHECK_ROW(key->purposes == row->purposes && (key->key != NULL) == (row->purposes != 0),
        "%s: %u %s", row->what, key->purposes, key->why);
    CHECK_ROW(strstr(key->why, row->why) != NULL && (key->why[0] == '\0') == (row->purposes != 0),
        "%s: %s", row->what, key->why);
    CHECK_ROW(
        (dmsg_peer_recipient_key(peer, NULL) != NULL) == (row->purposes != 0), "%s", row->what);
    /* What does not count ends nothing, and is looked at again soon. */
    CHECK_ROW(row->purposes != 0 || dmsg_judged_ends(peer) == INT64_MAX, "%s", row->what);
    CHECK_ROW(row->purposes != 0 || row->closed ||
                  peer->expires_at - peer->fetched_at <= DMSG_UNSETTLED_LIFE_MAX,
        "%s", row->what);
    dmsg_peer_release(peer);
    dmsg_judge_free(&judge);
    dmsg_buffer_done(&der);
    dmsg_buffer_done(&rdata);
    made_done(&root);
    made_done(&mid);
    made_done(&leaf);
}

static void settles_usage_4(void)
{
    for (size_t i = 0; i < sizeof by_authority / sizeof by_authority[0]; i++)
        check_by_authority(&by_authority[i]);
}

/* Whoever can publish a record can make a CA that has signed itself. */
static void is_no_authority_of_its_own(void)
{
    struct certify wanted = {.subject = "Root", .names = CLIENT, .constraints = CA};
    struct made leaf = certify(&wanted, NULL);
    struct dmsg_buffer der = {0}, rdata = {0};
    struct dmsg_judge *judge = NULL;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_answer answer = answer_of(DMSG_DNS_INSECURE);
    put_certificate(&der, leaf.x509);
    make_rdata(&rdata, 4, 0, 0, dmsg_buffer_span(&der));
    add(&answer, &rdata);
    CHECK(dmsg_judge_new(&judge, NULL, true, NULL) == 0);
    CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
    STACK_OF(X509) *issuers = sk_X509_new_null();
    CHECK(sk_X509_push(issuers, leaf.x509) == 1);
    dmsg_peer_settle(peer, 0, issuers, NULL);
    sk_X509_free(issuers);
    CHECK(peer->keys[0].purposes == 0 && strstr(peer->keys[0].why, "its own authority") != NULL);
    dmsg_peer_release(peer);
    dmsg_judge_free(&judge);
    dmsg_buffer_done(&der);
    dmsg_buffer_done(&rdata);
    made_done(&leaf);
}

/* Only usage 4, and only where it is asked for, gives a key in an insecure answer. */
static void opens_nothing_else(void)
{
    struct dmsg_judge *judge = NULL;
    CHECK(dmsg_judge_new(&judge, NULL, true, NULL) == 0);
    for (uint8_t usage = 0; usage < 4; usage++) {
        struct certify client = {.names = CLIENT};
        struct made leaf = certify(&client, NULL);
        struct dmsg_buffer der = {0}, rdata = {0};
        const struct dmsg_peer *peer = NULL;
        struct dmsg_answer answer = answer_of(DMSG_DNS_INSECURE);
        put_certificate(&der, leaf.x509);
        make_rdata(&rdata, usage, 0, 0, dmsg_buffer_span(&der));
        add(&answer, &rdata);
        CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
        CHECK(dmsg_peer_open_key(peer, 0) == 1 && peer->keys[0].purposes == 0);
        CHECK(strcmp(peer->keys[0].why, "not looked at: the answer is insecure") == 0);
        dmsg_peer_release(peer);
        dmsg_buffer_done(&der);
        dmsg_buffer_done(&rdata);
        made_done(&leaf);
    }
    dmsg_judge_free(&judge);
}

/* A key that counts by a chain is forgotten with its first certificate; by usage 3 it is not. */
static void ends_with_the_chain(void)
{
    static const struct {
        uint8_t usage;
        int64_t after, life;
    } rows[] = {{4, 100, 100}, {4, 5000, DMSG_SETTLED_LIFE_MAX}, {3, 100, 3602}, {1, 100, 100},
        {1, 5000, 3602}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct certify ca = {
            .subject = "Root", .constraints = CA, .not_after = NOW + rows[i].after};
        struct certify client = {.names = CLIENT};
        struct made root = certify(&ca, NULL), leaf = certify(&client, &root);
        struct dmsg_buffer der = {0}, rdata = {0};
        const struct dmsg_peer *peer = NULL;
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        put_certificate(&der, leaf.x509);
        make_rdata(&rdata, rows[i].usage, 0, 0, dmsg_buffer_span(&der));
        add(&answer, &rdata);
        char system[] = "/tmp/danemsg-peer-XXXXXX";
        write_file(system, root.x509);
        setenv("SSL_CERT_FILE", system, 1);
        struct dmsg_judge *judge = NULL; /* which looks at the system's CAs once */
        CHECK(dmsg_judge_new(&judge, NULL, true, NULL) == 0);
        CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
        unlink(system);
        STACK_OF(X509) *issuers = sk_X509_new_null();
        CHECK(sk_X509_push(issuers, root.x509) == 1);
        if (rows[i].usage == 4)
            dmsg_peer_settle(peer, 0, issuers, NULL);
        sk_X509_free(issuers);
        CHECK_ROW(peer->keys[0].purposes == BOTH, "%zu: %s", i, peer->keys[0].why);
        CHECK_ROW(dmsg_judged_ends(peer) == (rows[i].usage != 3 ? NOW + rows[i].after : INT64_MAX),
            "%zu", i);
        CHECK_ROW(peer->expires_at - peer->fetched_at == rows[i].life, "%zu: %lld", i,
            (long long)(peer->expires_at - peer->fetched_at));
        dmsg_peer_release(peer);
        dmsg_judge_free(&judge);
        dmsg_buffer_done(&der);
        dmsg_buffer_done(&rdata);
        made_done(&root);
        made_done(&leaf);
    }
}

/* What a message's certificates are judged by: two judges may have other CAs. */
static void has_an_id_of_its_own(void)
{
    struct dmsg_buffer rdata = {0};
    struct dmsg_judge *judges[3] = {0};
    const struct dmsg_peer *peers[3] = {0};
    make_rdata(&rdata, 3, 0, 9, dmsg_span_text("x"));
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    add(&answer, &rdata);
    for (int i = 0; i < 2; i++)
        CHECK(dmsg_judge_new(&judges[i], NULL, i == 0, NULL) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(dmsg_peer_judge(&peers[i], &context, judges[i % 2], &answer, NULL) == 0);
    CHECK(memcmp(dmsg_peer_id(peers[0]), dmsg_peer_id(peers[1]), DMSG_PEER_ID_SIZE) != 0);
    CHECK(memcmp(dmsg_peer_id(peers[0]), dmsg_peer_id(peers[2]), DMSG_PEER_ID_SIZE) == 0);
    for (int i = 0; i < 3; i++) {
        dmsg_peer_release(peers[i]);
        dmsg_judge_free(&judges[i]);
    }
    dmsg_buffer_done(&rdata);
}

/* What is to be shown and to be remembered comes along. */
static void copies_the_facts(void)
{
    struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
    answer.signed_until = NOW + 77;
    snprintf(answer.via, sizeof answer.via, "127.0.0.1@53, over UDP or TCP");
    const struct dmsg_peer *peer = judge(&answer);
    CHECK(peer->signed_until == NOW + 77 && strcmp(peer->via, answer.via) == 0);
    dmsg_peer_release(peer);
}

TEST_MAIN(TEST(asks_the_system_for_usage_1), TEST(wants_a_ca_file_that_is_one),
    TEST(settles_usage_4), TEST(is_no_authority_of_its_own), TEST(has_an_id_of_its_own),
    TEST(opens_nothing_else), TEST(ends_with_the_chain), TEST(copies_the_facts),
    TEST(judges_each_kind), TEST(judges_fragments), TEST(warns_of_dates),
    TEST(believes_only_secure), TEST(bounds_the_life), TEST(chooses_in_every_order),
    TEST(breaks_ties_by_kid), TEST(splits_purposes), TEST(counts_after_the_kid),
    TEST(counts_references))
