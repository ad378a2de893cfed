/* Which key speaks for a name: judging answers, choosing among several keys. */
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "dane_make.h"
#include "danemsg/resolver.h"
#include "test.h"
#include "x509/certificate.h"

#include <pthread.h>

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
    if (dmsg_peer_judge(&peer, &context, answer, NULL) < 0)
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
    {3, 0, 1, DIGEST32, "P-256", NULL, 0, false, "a digest: needs the certificate in the message"},
    {3, 0, 2, DIGEST64, "P-256", NULL, 0, false, "a digest: needs the certificate in the message"},
    {3, 1, 1, DIGEST32, "P-256", NULL, 0, false, "a digest: needs the certificate in the message"},
    {3, 1, 2, DIGEST64, "P-256", NULL, 0, false, "a digest: needs the certificate in the message"},
    {3, 1, 1, DIGEST64, "P-256", NULL, 0, false, "skipped: a TLSA record whose SHA2-256 digest"},
    {0, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "usage 0 (PKIX-TA) is not supported"},
    {1, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "usage 1 (PKIX-EE) is not supported"},
    {2, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "usage 2 (DANE-TA) is not supported"},
    {4, 0, 0, CERTIFICATE, "P-256", NULL, 0, true, "usage 4 (PKIX-CD) is not supported"},
    {1, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "usage 1 (PKIX-EE) is not supported"},
    {2, 0, 1, DIGEST32, "P-256", NULL, 0, false, "usage 2 (DANE-TA) is not supported"},
    {4, 1, 0, PUBLIC_KEY, "P-256", NULL, 0, false, "usage 4 (PKIX-CD) is not supported"},
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
        int64_t life;
    } rows[] = {
        {0, true, 62},
        {59, true, 62},
        {60, true, 62},
        {61, true, 63},
        {86400, true, 86402},
        {86401, true, 86402},
        {UINT32_MAX, true, 86402},
        {0, false, 0},
        {5, false, 7},
        {60, false, 60},
        {61, false, 60},
        {UINT32_MAX, false, 60},
    };
    struct dmsg_buffer rdata = {0};
    make_rdata(&rdata, 3, 0, 0, dmsg_span_text("x"));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_answer answer = answer_of(DMSG_DNS_SECURE);
        answer.ttl = rows[i].ttl;
        if (rows[i].record)
            add(&answer, &rdata);
        const struct dmsg_peer *peer = judge(&answer);
        CHECK_ROW(peer->expires_at - peer->fetched_at == rows[i].life, "row %zu", i);
        CHECK_ROW(peer->ttl == rows[i].ttl, "row %zu", i);
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
    const struct dmsg_peer *cached = dmsg_judged_cached(peer);
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

TEST_MAIN(TEST(judges_each_kind), TEST(judges_fragments), TEST(warns_of_dates),
    TEST(believes_only_secure), TEST(bounds_the_life), TEST(chooses_in_every_order),
    TEST(breaks_ties_by_kid), TEST(splits_purposes), TEST(counts_after_the_kid),
    TEST(counts_references))
