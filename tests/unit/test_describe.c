/* Fields and certificates in words: cli/describe.c over src/x509/describe.c. */
#include "test_x509_support.h"

#include "cli/describe.h"

#include <jansson.h>
#include <stdlib.h>

#define SPACES "               " /* up to the column of values */

static bool holds(const struct dmsg_buffer *text, const char *wanted)
{
    return text->size > 0 && memmem(text->data, text->size, wanted, strlen(wanted)) != NULL;
}

static bool printable_lines(const struct dmsg_buffer *text)
{
    for (size_t i = 0; i < text->size; i++) {
        if (text->data[i] != '\n' && (text->data[i] < 0x20 || text->data[i] > 0x7e))
            return false;
    }
    return !text->failed;
}

/* --------------------------------------------------------------------------------------- fields */

static void durations(void)
{
    static const struct {
        int64_t seconds;
        const char *text;
    } rows[] = {{0, "0 seconds"}, {1, "1 second"}, {59, "59 seconds"}, {60, "1 minute"},
        {3599, "59 minutes"}, {3600, "1 hour"}, {86399, "23 hours"}, {86400, "1 day"},
        {31556951, "365 days"}, {31556952, "1 year"}, {2 * 31556952, "2 years"}};
    for (size_t i = 0; i < ROWS(rows); i++) {
        char text[32];
        duration_text(text, rows[i].seconds);
        CHECK_ROW(strcmp(text, rows[i].text) == 0, "%s: %s", rows[i].text, text);
    }
}

#define TEN "123456789 "
#define EIGHTY TEN TEN TEN TEN TEN TEN TEN "1234567890"

static void fields(void)
{
    static const struct {
        int indent;
        const char *value, *text;
    } rows[] = {
        {2, "short", "  label        short\n"},
        {0, "short", "label          short\n"},
        {2, "", "  label        (none)\n"},
        {2, "a\nb\tc\x1b[2J", "  label        a\\nb\\tc\\u{001b}[2J\n"},
        {2, "\xe2\x80\xae\xff", "  label        \\u{202e}\\xff\n"},
        {2, EIGHTY, "  label        " EIGHTY "\n"},
        {2, EIGHTY " next", "  label        " EIGHTY "\n" SPACES "next\n"},
        {2, EIGHTY "X next", "  label        " EIGHTY "X\n" SPACES "next\n"},
        {2, EIGHTY "XY next",
            "  label        " TEN TEN TEN TEN TEN TEN "123456789\n" SPACES "1234567890XY next\n"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_buffer out = {0};
        describe_field(&out, rows[i].indent, "label", "%s", rows[i].value);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].text), "row %zu:\n%.*s", i,
            (int)out.size, (const char *)out.data);
        dmsg_buffer_done(&out);
    }
}

/* What has no spaces stays whole, so that it can be copied; what is endless is cut. */
static void long_words(void)
{
    char word[2 * FIELD_VALUE_MAX];
    for (size_t size = 100; size <= FIELD_VALUE_MAX + 1; size += FIELD_VALUE_MAX - 100) {
        struct dmsg_buffer out = {0};
        memset(word, 'x', size);
        word[size] = '\0';
        describe_field(&out, 2, "label", "%s", word);
        CHECK(holds(&out, word));
        dmsg_buffer_done(&out);
    }
    struct dmsg_buffer out = {0};
    memset(word, 'x', FIELD_VALUE_MAX + 1);
    word[FIELD_VALUE_MAX + 1] = '\0';
    describe_field(&out, 2, "label", "%s", word);
    CHECK(!holds(&out, word) && holds(&out, "x...") && holds(&out, "(481 characters)\n"));
    dmsg_buffer_reset(&out);
    memcpy(word + FIELD_VALUE_MAX - 1, "\xc3\xa4", 3); /* the cut would go through this letter */
    describe_field(&out, 2, "label", "%s", word);
    CHECK(holds(&out, "x...") && !holds(&out, "\xc3"));
    dmsg_buffer_done(&out);
}

/* --------------------------------------------------------------------------------- certificates */

static void extensions(void)
{
    static const struct {
        struct wanted_extension extension;
        const char *name, *value;
        bool critical;
    } rows[] = {
        {{NID_key_usage, "critical,digitalSignature,keyAgreement"}, "keyUsage",
            "digital signature, key agreement", true},
        {{NID_key_usage, "nonRepudiation,keyEncipherment,dataEncipherment,keyCertSign,cRLSign,"
                         "encipherOnly,decipherOnly"},
            "keyUsage",
            "content commitment, key encipherment, data encipherment, certificate signing, CRL "
            "signing, encipher only, decipher only",
            false},
        {{NID_key_usage, "DER:030100"}, "keyUsage", "nothing", true},
        {{NID_key_usage, "DER:0400"}, "keyUsage", "cannot be read", true},
        {{NID_basic_constraints, "CA:FALSE"}, "basicConstraints", "not a CA", false},
        {{NID_basic_constraints, "critical,CA:TRUE"}, "basicConstraints", "a CA", true},
        {{NID_basic_constraints, "CA:TRUE,pathlen:3"}, "basicConstraints",
            "a CA, with at most 3 CAs below it", false},
        {{NID_basic_constraints, "DER:05"}, "basicConstraints", "cannot be read", true},
        {{NID_ext_key_usage, "serverAuth,1.2.3.4"}, "extendedKeyUsage", "serverAuth, 1.2.3.4",
            false},
        {{NID_ext_key_usage, "DER:ff"}, "extendedKeyUsage", "cannot be read", true},
        {{NID_subject_key_identifier, "DER:040301ab00"}, "subjectKeyIdentifier", "01ab00", true},
        {{NID_subject_key_identifier, "DER:"}, "subjectKeyIdentifier", "cannot be read", true},
        {{NID_authority_key_identifier, "DER:3003800107"}, "authorityKeyIdentifier", "07", true},
        {{NID_authority_key_identifier, "DER:3000"}, "authorityKeyIdentifier", "no key identifier",
            true},
        {{NID_authority_key_identifier, "DER:01"}, "authorityKeyIdentifier", "cannot be read",
            true},
        {{NID_subject_alt_name, "DNS:a.example,IP:192.0.2.1"}, "subjectAltName",
            "DNS:a.example, IP:192.0.2.1", false},
        {{NID_netscape_comment, "DER:1603616263"}, "nsComment", "5 octets", true},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_buffer name = {0}, value = {0};
        X509 *made =
            certificate_of(&(struct wanted_certificate){.extensions = {rows[i].extension}});
        CHECK(dmsg_certificate_extension_count(made) == 1);
        dmsg_certificate_put_extension_name(&name, made, 0);
        dmsg_certificate_put_extension_value(&value, made, 0);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&name), rows[i].name), "row %zu", i);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&value), rows[i].value), "row %zu: %.*s", i,
            (int)value.size, (const char *)value.data);
        CHECK_ROW(dmsg_certificate_extension_critical(made, 0) == rows[i].critical, "row %zu", i);
        CHECK(ERR_peek_error() == 0);
        X509_free(made);
        dmsg_buffer_done(&name);
        dmsg_buffer_done(&value);
    }
}

static void serials(void)
{
    static const struct {
        const char *hex, *text;
    } rows[] = {{"4D", "4d"}, {"00", "00"}, {"-4D", "-4d"},
        {"0102030405060708090A0B0C0D0E0F1011121314", "0102030405060708090a0b0c0d0e0f1011121314"},
        {"7F02030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122",
            "7f02030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20... (34 octets)"}};
    X509 *made = certificate_of(&(struct wanted_certificate){0});
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_buffer out = {0};
        BIGNUM *number = NULL;
        CHECK(BN_hex2bn(&number, rows[i].hex) > 0);
        ASN1_INTEGER *serial = BN_to_ASN1_INTEGER(number, NULL);
        CHECK(X509_set_serialNumber(made, serial) == 1);
        dmsg_certificate_put_serial(&out, made);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].text), "%s: %.*s",
            rows[i].text, (int)out.size, (const char *)out.data);
        ASN1_INTEGER_free(serial);
        BN_free(number);
        dmsg_buffer_done(&out);
    }
    X509_free(made);
}

static void validity(void)
{
    static const struct {
        int64_t now;
        const char *text;
    } rows[] = {
        {TEST_NOW - 7200,
            "2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z, not before another 2 hours"},
        {TEST_NOW, "2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z, 2 days left"},
        {TEST_NOW + 172800, "2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z, 0 seconds left"},
        {TEST_NOW + 172801, "2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z, expired 1 second ago"},
    };
    X509 *made = certificate_of(
        &(struct wanted_certificate){.not_before = TEST_NOW, .not_after = TEST_NOW + 172800});
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_buffer out = {0};
        describe_certificate(&out, 2, made, rows[i].now);
        CHECK_ROW(holds(&out, rows[i].text), "%.*s", (int)out.size, (const char *)out.data);
        CHECK(holds(&out, "  issuer       the subject itself\n"));
        CHECK(holds(&out, "  extensions   (none)\n") && holds(&out, "  subject      (none)\n"));
        CHECK(holds(&out, "  serial       4d\n"));
        CHECK(holds(&out, "  signed with  ecdsa-with-SHA256\n"));
        dmsg_buffer_done(&out);
    }
    X509_free(made);
}

/* The same as JSON: one object that parses, and no more of a name than is in the certificate. */
static void json(void)
{
    struct dmsg_name name = name_of("a.example");
    X509 *made =
        certificate_of(&(struct wanted_certificate){.common_name = "x\x1b\"\\\n\xe2\x80\xae",
            .extensions = {{NID_subject_alt_name, "DNS:a.example,URI:http://x/\x1b"},
                {NID_key_usage, "digitalSignature"}}});
    struct dmsg_buffer out = {0}, text = {0};
    describe_certificate(&text, 2, made, TEST_NOW);
    CHECK(printable_lines(&text) && holds(&text, "keyUsage: digital signature\n"));
    CHECK(holds(&text, SPACES "keyUsage") && holds(&text, "subjectAltName: the names above\n"));
    dmsg_buffer_put_byte(&out, '{');
    json_certificate(&out, made, &name);
    dmsg_buffer_put_byte(&out, '}');
    CHECK(printable_lines(&out));
    json_t *object = json_loadb((char *)out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
    json_t *names = json_object_get(object, "names");
    CHECK(json_array_size(names) == 2);
    CHECK(strcmp(json_string_value(json_array_get(names, 0)), "DNS:a.example") == 0);
    CHECK(json_is_true(json_object_get(object, "bears_name")));
    CHECK(json_array_size(json_object_get(object, "extensions")) == 2);
    CHECK(strlen(json_string_value(json_object_get(object, "not_after"))) ==
          strlen("2026-01-01T00:00:00Z"));
    json_decref(object);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&text);
    X509_free(made);
}

TEST_MAIN(TEST(durations), TEST(fields), TEST(long_words), TEST(extensions), TEST(serials),
    TEST(validity), TEST(json))
