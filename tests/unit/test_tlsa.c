/* TLSA records: parsing, encoding, matching; every usage, selector and matching type. */
#include "dane/tlsa.h"
#include "dane_make.h"
#include "danemsg/resolver.h"
#include "test.h"

#include <openssl/sha.h>

static void parses_by_length(void)
{
    static const struct {
        uint8_t fields[3];
        size_t data; /* octets after the fields */
        int result;
    } rows[] = {
        {{3, 0, 0}, 1, 0},
        {{3, 0, 0}, 0, DMSG_E_FORMAT},
        {{3, 0, 0}, DMSG_TLSA_RDATA_MAX - 3, 0},
        {{3, 0, 0}, DMSG_TLSA_RDATA_MAX - 2, DMSG_E_FORMAT},
        {{3, 1, 1}, 32, 0},
        {{3, 1, 1}, 31, DMSG_E_FORMAT},
        {{3, 1, 1}, 33, DMSG_E_FORMAT},
        {{3, 1, 1}, 64, DMSG_E_FORMAT},
        {{3, 0, 2}, 64, 0},
        {{3, 0, 2}, 63, DMSG_E_FORMAT},
        {{3, 0, 2}, 65, DMSG_E_FORMAT},
        {{3, 0, 2}, 32, DMSG_E_FORMAT},
        {{4, 0, 0}, 10, 0},
        {{5, 2, 3}, 1, 0}, /* unassigned: they parse */
        {{255, 255, 255}, 1, 0},
    };
    static uint8_t rdata[DMSG_TLSA_RDATA_MAX + 1];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_tlsa tlsa = {.usage = 77};
        struct dmsg_error error = {0};
        memcpy(rdata, rows[i].fields, 3);
        struct dmsg_span span = {rdata, 3 + rows[i].data};
        CHECK_ROW(dmsg_tlsa_parse(&tlsa, span, &error) == rows[i].result, "row %zu", i);
        if (rows[i].result == 0) {
            CHECK_ROW(tlsa.usage == rows[i].fields[0] && tlsa.selector == rows[i].fields[1] &&
                          tlsa.matching_type == rows[i].fields[2],
                "row %zu", i);
            CHECK_ROW(tlsa.data.data == rdata + 3 && tlsa.data.size == rows[i].data, "row %zu", i);
        } else {
            CHECK_ROW(error.code == rows[i].result && tlsa.usage == 77, "row %zu", i);
        }
    }
    struct dmsg_tlsa tlsa;
    for (size_t size = 0; size < 4; size++)
        CHECK(dmsg_tlsa_parse(&tlsa, (struct dmsg_span){rdata, size}, NULL) == DMSG_E_FORMAT);
}

struct fixture {
    EVP_PKEY *key, *other_key;
    X509 *certificate, *other;
    struct dmsg_buffer der, spki, other_der, other_spki;
};

static void fixture_make(struct fixture *fixture)
{
    *fixture = (struct fixture){.key = make_key("P-256"), .other_key = make_key("Ed25519")};
    fixture->certificate = make_certificate(
        &(struct make){.key = fixture->key, .not_before = 0, .not_after = 2000000000});
    fixture->other = make_certificate(
        &(struct make){.key = fixture->other_key, .not_before = 0, .not_after = 2000000000});
    put_certificate(&fixture->der, fixture->certificate);
    put_public_key(&fixture->spki, fixture->key);
    put_certificate(&fixture->other_der, fixture->other);
    put_public_key(&fixture->other_spki, fixture->other_key);
}

static void fixture_done(struct fixture *fixture)
{
    EVP_PKEY_free(fixture->key);
    EVP_PKEY_free(fixture->other_key);
    X509_free(fixture->certificate);
    X509_free(fixture->other);
    dmsg_buffer_done(&fixture->der);
    dmsg_buffer_done(&fixture->spki);
    dmsg_buffer_done(&fixture->other_der);
    dmsg_buffer_done(&fixture->other_spki);
}

/* The data that RFC 6698 section 2.1 asks for, computed here by other means. */
static struct dmsg_span expected_data(
    uint8_t out[64], struct dmsg_span selected, uint8_t matching_type)
{
    if (matching_type == 0)
        return selected;
    if (matching_type == 1) {
        SHA256(selected.data, selected.size, out);
        return (struct dmsg_span){out, 32};
    }
    SHA512(selected.data, selected.size, out);
    return (struct dmsg_span){out, 64};
}

static void check_round_trip(
    const struct fixture *fixture, uint8_t usage, uint8_t selector, uint8_t matching_type)
{
    uint8_t digest[64];
    struct dmsg_tlsa tlsa;
    struct dmsg_buffer out = {0};
    struct dmsg_span der = dmsg_buffer_span(&fixture->der);
    struct dmsg_span spki = dmsg_buffer_span(&fixture->spki);
    struct dmsg_span other_der = dmsg_buffer_span(&fixture->other_der);
    struct dmsg_span other_spki = dmsg_buffer_span(&fixture->other_spki);
    struct dmsg_span none = {NULL, 0};

    CHECK(dmsg_tlsa_encode(
              &out, usage, selector, matching_type, fixture->certificate, NULL, NULL) == 0);
    CHECK(dmsg_tlsa_parse(&tlsa, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(tlsa.usage == usage && tlsa.selector == selector && tlsa.matching_type == matching_type);
    CHECK(dmsg_span_equal(
        tlsa.data, expected_data(digest, selector == 0 ? der : spki, matching_type)));

    CHECK(dmsg_tlsa_match(&tlsa, der, spki, NULL) == 1);
    CHECK(dmsg_tlsa_match(&tlsa, other_der, other_spki, NULL) == 0);
    CHECK(dmsg_tlsa_match(&tlsa, none, none, NULL) == 0);
    CHECK(dmsg_tlsa_match(&tlsa, der, none, NULL) == (selector == 0));
    CHECK(dmsg_tlsa_match(&tlsa, none, spki, NULL) == (selector == 1));
    CHECK(dmsg_tlsa_match(&tlsa, spki, der, NULL) == 0);
    CHECK(dmsg_tlsa_match_x509(&tlsa, fixture->certificate, NULL, NULL) == 1);
    CHECK(dmsg_tlsa_match_x509(&tlsa, NULL, fixture->key, NULL) == (selector == 1));
    CHECK(dmsg_tlsa_match_x509(&tlsa, NULL, fixture->other_key, NULL) == 0);
    out.data[out.size - 1] ^= 1;
    CHECK(dmsg_tlsa_match(&tlsa, der, spki, NULL) == 0);
    CHECK(dmsg_tlsa_match_x509(&tlsa, fixture->certificate, NULL, NULL) == 0);
    dmsg_buffer_done(&out);
}

static void encodes_and_matches(void)
{
    struct fixture fixture;
    fixture_make(&fixture);
    for (uint8_t usage = 0; usage < 4; usage++) {
        for (uint8_t selector = 0; selector < 2; selector++) {
            for (uint8_t matching_type = 0; matching_type < 3; matching_type++)
                check_round_trip(&fixture, usage, selector, matching_type);
        }
    }
    check_round_trip(&fixture, DMSG_PKIX_CD, 0, 0);
    fixture_done(&fixture);
}

static void encodes_a_bare_key(void)
{
    struct fixture fixture;
    struct dmsg_buffer from_key = {0}, from_certificate = {0};
    fixture_make(&fixture);
    CHECK(dmsg_tlsa_encode(&from_key, 3, 1, 0, NULL, fixture.key, NULL) == 0);
    CHECK(dmsg_tlsa_encode(&from_certificate, 3, 1, 0, fixture.certificate, NULL, NULL) == 0);
    CHECK(dmsg_span_equal(dmsg_buffer_span(&from_key), dmsg_buffer_span(&from_certificate)));
    CHECK(from_key.size == 94); /* what doc/PROTOCOL.md promises for P-256: 91 and the fields */
    dmsg_buffer_reset(&from_key);
    CHECK(dmsg_tlsa_encode(&from_key, 3, 1, 0, fixture.certificate, fixture.other_key, NULL) == 0);
    CHECK(dmsg_span_equal((struct dmsg_span){from_key.data + 3, from_key.size - 3},
        dmsg_buffer_span(&fixture.other_spki)));
    dmsg_buffer_done(&from_key);
    dmsg_buffer_done(&from_certificate);
    fixture_done(&fixture);
}

static void refuses_to_encode(void)
{
    struct fixture fixture;
    fixture_make(&fixture);
    const struct {
        uint8_t usage, selector, matching_type;
        const X509 *certificate;
        const EVP_PKEY *key;
        size_t limit;
        int result;
    } rows[] = {
        {3, 0, 0, fixture.certificate, NULL, 0, 0},
        {5, 0, 0, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {255, 0, 0, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {3, 2, 0, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {3, 0, 3, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {4, 0, 0, fixture.certificate, NULL, 0, 0},
        {4, 1, 0, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {4, 0, 1, fixture.certificate, NULL, 0, DMSG_E_USAGE},
        {3, 0, 0, NULL, fixture.key, 0, DMSG_E_USAGE},
        {3, 1, 0, NULL, NULL, 0, DMSG_E_USAGE},
        {3, 1, 1, NULL, fixture.key, 35, 0},
        {3, 1, 1, NULL, fixture.key, 34, DMSG_E_SIZE},
        {3, 1, 1, NULL, fixture.key, 2, DMSG_E_SIZE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer out = {.limit = rows[i].limit};
        struct dmsg_error error = {0};
        int result = dmsg_tlsa_encode(&out, rows[i].usage, rows[i].selector, rows[i].matching_type,
            rows[i].certificate, rows[i].key, &error);
        CHECK_ROW(result == rows[i].result && error.code == rows[i].result, "row %zu", i);
        CHECK_ROW((out.size == 0) == (rows[i].result < 0), "row %zu", i);
        dmsg_buffer_done(&out);
    }
    fixture_done(&fixture);
}

/* What is unassigned matches nothing, whatever it holds. */
static void matches_nothing_unassigned(void)
{
    static const uint8_t der[] = "octets";
    struct dmsg_span span = {der, sizeof der};
    struct dmsg_tlsa tlsa = {.usage = 3, .data = span};
    CHECK(dmsg_tlsa_match(&tlsa, span, span, NULL) == 1);
    tlsa.selector = 2;
    CHECK(dmsg_tlsa_match(&tlsa, span, span, NULL) == 0);
    tlsa.selector = 0;
    tlsa.matching_type = 3;
    CHECK(dmsg_tlsa_match(&tlsa, span, span, NULL) == 0);
    tlsa.matching_type = 255;
    CHECK(dmsg_tlsa_match(&tlsa, span, span, NULL) == 0);
    struct dmsg_tlsa empty = {.usage = 3};
    struct dmsg_span none = {NULL, 0};
    CHECK(dmsg_tlsa_match(&empty, none, none, NULL) == 0);
}

static void has_the_rfc_words(void)
{
    static const struct {
        uint8_t value;
        const char *usage, *selector, *matching;
    } rows[] = {
        {0, "PKIX-TA", "Cert", "Full"},
        {1, "PKIX-EE", "SPKI", "SHA2-256"},
        {2, "DANE-TA", "unassigned", "SHA2-512"},
        {3, "DANE-EE", "unassigned", "unassigned"},
        {4, "PKIX-CD", "unassigned", "unassigned"},
        {5, "unassigned", "unassigned", "unassigned"},
        {254, "unassigned", "unassigned", "unassigned"},
        {255, "PrivCert", "PrivSel", "PrivMatch"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ROW(strcmp(dmsg_tlsa_usage_word(rows[i].value), rows[i].usage) == 0, "row %zu", i);
        CHECK_ROW(
            strcmp(dmsg_tlsa_selector_word(rows[i].value), rows[i].selector) == 0, "row %zu", i);
        CHECK_ROW(
            strcmp(dmsg_tlsa_matching_word(rows[i].value), rows[i].matching) == 0, "row %zu", i);
    }
}

TEST_MAIN(TEST(parses_by_length), TEST(encodes_and_matches), TEST(encodes_a_bare_key),
    TEST(refuses_to_encode), TEST(matches_nothing_unassigned), TEST(has_the_rfc_words))
