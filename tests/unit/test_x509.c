/* Parsing certificates and public keys: src/x509/certificate.h, der.h. */
#include "test_x509_support.h"

#include "x509/der.h"

#define SIGN DMSG_FOR_SIGNATURES
#define ENCRYPT DMSG_FOR_ENCRYPTION
#define BOTH (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)

static int parse(struct dmsg_certificate *out, const struct dmsg_buffer *der)
{
    struct dmsg_error error;
    return dmsg_certificate_parse(out, dmsg_buffer_span(der), &error);
}

static int parse_bytes(const void *data, size_t size)
{
    struct dmsg_certificate certificate;
    int status = dmsg_certificate_parse(&certificate, (struct dmsg_span){data, size}, NULL);
    if (status == 0)
        dmsg_certificate_done(&certificate);
    return status;
}

/* ----------------------------------------------------------------------------------- der */

static void der_takes_only_der(void)
{
    static const struct {
        const char *bytes;
        size_t size;
        bool good;
    } rows[] = {
        {"\x30\x00", 2, true},
        {"\x30\x03\x02\x01\x05", 5, true},
        {"\x30\x04\x02\x01\x05\x05", 6, false},     /* a tag without a length inside */
        {"\x30\x03\x02\x01\x05\x00", 6, false},     /* one octet after it */
        {"\x30\x04\x02\x01\x05", 5, false},         /* cut off */
        {"\x30\x03\x02\x02\x05", 5, false},         /* the inner one is cut off */
        {"\x30\x81\x03\x02\x01\x05", 6, false},     /* length not in its shortest form */
        {"\x30\x82\x00\x03\x02\x01\x05", 7, false}, /* leading zero in the length */
        {"\x30\x80\x02\x01\x05\x00\x00", 7, false}, /* indefinite length */
        {"\x30\x03\x02\x81\x01", 5, false},         /* bad length inside */
        {"\x3f\x81\x01\x00", 4, false},             /* high tag number */
        {"\x00\x00", 2, false},                     /* end-of-contents */
        {"\x30\x84\x7f\xff\xff\xff", 6, false},     /* far over every limit */
        {"\x30\x88\xff\xff\xff\xff\xff\xff\xff\xff", 10, false},
        {"\x30\xff", 2, false},
        {"\x30", 1, false},
        {"\x30\x00\x30\x00", 4, false}, /* two values */
        {"", 0, false},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_span bytes = {(const uint8_t *)rows[i].bytes, rows[i].size};
        CHECK_ROW(dmsg_der_well_formed(bytes) == rows[i].good, "row %zu", i);
    }
}

static void der_is_bounded_in_depth(void)
{
    uint8_t nested[60];
    for (size_t depth = 1; depth <= ROWS(nested) / 2; depth++) {
        for (size_t i = 0; i < depth; i++) {
            nested[2 * i] = 0x30;
            nested[2 * i + 1] = (uint8_t)(2 * (depth - 1 - i));
        }
        bool good = dmsg_der_well_formed((struct dmsg_span){nested, 2 * depth});
        CHECK_ROW(good == (depth <= 12), "depth %zu", depth);
    }
}

static void der_cursor_error_sticks(void)
{
    static const uint8_t two[] = {0x02, 0x01, 0x07, 0x30, 0x00};
    struct dmsg_der der = {.rest = {two, sizeof two}}, inner;
    struct dmsg_span whole, content;
    dmsg_der_skip_optional(&der, DMSG_DER_CONTEXT_0);
    CHECK(der.rest.size == sizeof two && !der.failed);
    dmsg_der_take(&der, DMSG_DER_INTEGER, &whole, &content);
    CHECK(whole.size == 3 && whole.data == two && content.size == 1 && content.data == two + 2);
    dmsg_der_take(&der, DMSG_DER_INTEGER, &whole, &content);
    CHECK(der.failed && whole.size == 0 && content.size == 0);
    dmsg_der_enter(&der, DMSG_DER_SEQUENCE, &inner);
    CHECK(der.failed && inner.failed);
}

/* ------------------------------------------------------------------------------ certificates */

static void reads_the_facts(void)
{
    struct wanted_certificate wanted = {.common_name = "alice.example",
        .not_before = TEST_NOW,
        .not_after = TEST_NOW + 86400,
        .extensions = {{NID_subject_alt_name, "DNS:alice.example"},
            {NID_key_usage, "critical,digitalSignature,keyAgreement"}}};
    struct dmsg_buffer der = der_of_wanted(&wanted);
    struct dmsg_certificate certificate;
    REQUIRE(parse(&certificate, &der) == 0);
    char kid[DMSG_KEY_ID_SIZE];
    CHECK(dmsg_key_id(kid, certificate.key, NULL) == 0);
    CHECK(strcmp(kid, certificate.kid) == 0 && strlen(kid) == DMSG_KEY_ID_SIZE - 1);
    struct dmsg_buffer spki = spki_of(certificate.key);
    CHECK(dmsg_span_equal(certificate.spki, dmsg_buffer_span(&spki)));
    CHECK(certificate.spki.data > certificate.der.data &&
          certificate.spki.data < certificate.der.data + certificate.der.size);
    CHECK(dmsg_span_equal(dmsg_buffer_span(&certificate.der), dmsg_buffer_span(&der)));
    CHECK(certificate.not_before == TEST_NOW && certificate.not_after == TEST_NOW + 86400);
    CHECK(certificate.usage.present && certificate.usage.digital_signature);
    CHECK(certificate.usage.key_agreement && !certificate.usage.key_encipherment);
    CHECK(certificate.purposes == BOTH);
    dmsg_certificate_done(&certificate);
    CHECK(certificate.x509 == NULL && certificate.der.data == NULL);
    dmsg_certificate_done(&certificate);
    dmsg_certificate_done(NULL);
    dmsg_buffer_done(&spki);
    dmsg_buffer_done(&der);
}

/* A fixed key and the id that `openssl pkey -pubout -outform DER | sha256` gives it. */
static void key_id_is_the_hash_of_the_spki(void)
{
    static const char spki_hex[] =
        "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3"
        "daa62325af021a68f707511a";
    long size = 0;
    unsigned char *spki = OPENSSL_hexstr2buf(spki_hex, &size);
    struct dmsg_span bytes = {spki, (size_t)size};
    char kid[DMSG_KEY_ID_SIZE], again[DMSG_KEY_ID_SIZE];
    EVP_PKEY *key = NULL;
    REQUIRE(spki != NULL && dmsg_public_key_parse(&key, bytes, NULL) == 0);
    CHECK(dmsg_key_id(kid, key, NULL) == 0 && dmsg_key_id_of_spki(again, bytes, NULL) == 0);
    CHECK(strcmp(kid, again) == 0);
    CHECK(strcmp(kid, "BuP9j9opu2CrWVV95h7bCuzbIxE0vjDnW0Vfjht5L6k") == 0);
    EVP_PKEY_free(key);
    OPENSSL_free(spki);
}

static void refuses_other_sizes(void)
{
    struct wanted_certificate wanted = {0};
    struct dmsg_buffer der = der_of_wanted(&wanted);
    size_t size = der.size;
    uint8_t *large = calloc(1, DMSG_CERTIFICATE_MAX + 1);
    memcpy(large, der.data, size);
    CHECK(parse_bytes(der.data, size) == 0);
    CHECK(parse_bytes(large, size + 1) == DMSG_E_CERTIFICATE);
    CHECK(parse_bytes(large, DMSG_CERTIFICATE_MAX) == DMSG_E_CERTIFICATE);
    CHECK(parse_bytes(large, DMSG_CERTIFICATE_MAX + 1) == DMSG_E_SIZE);
    CHECK(parse_bytes(large, 0) == DMSG_E_SIZE);
    memcpy(large + size, der.data, size);
    CHECK(parse_bytes(large, 2 * size) == DMSG_E_CERTIFICATE);
    for (size_t i = 1; i < size; i++)
        CHECK_ROW(parse_bytes(der.data, i) == DMSG_E_CERTIFICATE, "cut to %zu", i);
    free(large);
    dmsg_buffer_done(&der);
}

static void refuses_lenient_encodings(void)
{
    struct wanted_certificate wanted = {
        .extensions = {{NID_subject_alt_name, "DNS:alice.example"}}};
    struct dmsg_buffer der = der_of_wanted(&wanted);
    REQUIRE(der.size > 260 && der.data[1] == 0x82);
    size_t body = der.size - 4;
    uint8_t other[1024];
    REQUIRE(der.size + 8 < sizeof other);

    uint8_t longer[] = {0x30, 0x83, 0x00, (uint8_t)(body >> 8), (uint8_t)body};
    memcpy(other, longer, sizeof longer);
    memcpy(other + sizeof longer, der.data + 4, body);
    CHECK(parse_bytes(other, sizeof longer + body) == DMSG_E_CERTIFICATE);

    /* The signature, last in the certificate, with a length of two octets where one is enough. */
    size_t signature = 4;
    while (signature + 2 + der.data[signature + 1] != der.size || der.data[signature] != 0x03)
        REQUIRE(++signature + 2 < der.size);
    memcpy(other, der.data, signature + 1);
    other[signature + 1] = 0x81;
    memcpy(other + signature + 2, der.data + signature + 1, der.size - signature - 1);
    other[2] = (uint8_t)((body + 1) >> 8);
    other[3] = (uint8_t)(body + 1);
    CHECK(parse_bytes(other, der.size + 1) == DMSG_E_CERTIFICATE);

    /* Its unused bits, of which there are none, set to some (X.690 section 11.2.1). */
    REQUIRE(der.data[signature + 2] == 0);
    memcpy(other, der.data, der.size);
    CHECK(parse_bytes(other, der.size) == 0);
    other[signature + 2] = 1;
    other[der.size - 1] |= 1;
    CHECK(parse_bytes(other, der.size) == DMSG_E_CERTIFICATE);

    memcpy(other, "\x30\x80", 2);
    memcpy(other + 2, der.data + 4, body);
    memcpy(other + 2 + body, "\0\0", 2);
    CHECK(parse_bytes(other, body + 4) == DMSG_E_CERTIFICATE);
    dmsg_buffer_done(&der);
}

/* Whatever one octet becomes: refused, or a certificate that is sound in itself. */
static void survives_every_changed_octet(void)
{
    static const uint8_t changes[] = {0x01, 0x80, 0xff};
    struct wanted_certificate wanted = {.extensions = {{NID_subject_alt_name, "DNS:alice.example"},
                                            {NID_key_usage, "critical,digitalSignature"}}};
    struct dmsg_buffer der = der_of_wanted(&wanted);
    size_t refused = 0;
    for (size_t i = 0; i < der.size * ROWS(changes); i++) {
        struct dmsg_certificate certificate;
        der.data[i / ROWS(changes)] ^= changes[i % ROWS(changes)];
        int status = parse(&certificate, &der);
        refused += status < 0;
        CHECK_ROW(status == 0 || status == DMSG_E_CERTIFICATE, "octet %zu", i / ROWS(changes));
        if (status == 0) {
            struct dmsg_buffer spki = spki_of(certificate.key);
            CHECK_ROW(dmsg_span_equal(certificate.spki, dmsg_buffer_span(&spki)), "octet %zu",
                i / ROWS(changes));
            dmsg_buffer_done(&spki);
            dmsg_certificate_done(&certificate);
        }
        der.data[i / ROWS(changes)] ^= changes[i % ROWS(changes)];
    }
    CHECK(refused > der.size);
    CHECK(ERR_peek_error() == 0);
    dmsg_buffer_done(&der);
}

static void honours_key_usage(void)
{
    static const struct {
        const char *kind;
        const char *usage;
        int status;
        unsigned purposes;
    } rows[] = {
        {"EC:prime256v1", NULL, 0, BOTH},
        {"EC:prime256v1", "critical,digitalSignature,keyAgreement", 0, BOTH},
        {"EC:prime256v1", "digitalSignature,keyAgreement", 0, BOTH},
        {"EC:prime256v1", "digitalSignature", 0, SIGN},
        {"EC:prime256v1", "keyAgreement", 0, ENCRYPT},
        {"EC:prime256v1", "digitalSignature,keyEncipherment", 0, SIGN},
        {"EC:prime256v1", "keyEncipherment", 0, 0},
        {"EC:prime256v1", "keyCertSign,cRLSign", 0, 0},
        {"EC:prime256v1", "nonRepudiation", 0, 0},
        {"RSA:2048", NULL, 0, BOTH},
        {"RSA:2048", "digitalSignature,keyEncipherment", 0, BOTH},
        {"RSA:2048", "digitalSignature", 0, SIGN},
        {"RSA:2048", "keyEncipherment", 0, ENCRYPT},
        {"RSA:2048", "digitalSignature,keyAgreement", 0, SIGN},
        {"RSA:2048", "dataEncipherment", 0, 0},
        {"ED25519", NULL, 0, SIGN},
        {"ED25519", "digitalSignature", 0, SIGN},
        {"ED25519", "keyAgreement", 0, 0},
        {"X25519", NULL, 0, ENCRYPT},
        {"X25519", "keyAgreement", 0, ENCRYPT},
        {"X25519", "keyEncipherment", 0, 0},
        {"X25519", "digitalSignature", 0, 0},
        {"EC:prime256v1", "DER:030100", DMSG_E_CERTIFICATE, 0}, /* no bit is set */
        {"EC:prime256v1", "DER:0500", DMSG_E_CERTIFICATE, 0},   /* no BIT STRING */
        {"EC:prime256v1", "DER:03020780", 0, SIGN},
    };
    EVP_PKEY *rsa = key_of("RSA:2048"), *signer = key_of("EC:prime256v1");
    for (size_t i = 0; i < ROWS(rows); i++) {
        EVP_PKEY *key = rsa;
        if (strcmp(rows[i].kind, "RSA:2048") == 0)
            EVP_PKEY_up_ref(rsa);
        else
            key = key_of(rows[i].kind);
        struct wanted_certificate wanted = {.key = key, .signer = signer};
        if (rows[i].usage != NULL)
            wanted.extensions[0] = (struct wanted_extension){NID_key_usage, rows[i].usage};
        struct dmsg_buffer der = der_of_wanted(&wanted);
        struct dmsg_certificate certificate;
        int status = parse(&certificate, &der);
        CHECK_ROW(status == rows[i].status, "row %zu", i);
        if (status == 0) {
            CHECK_ROW(certificate.purposes == rows[i].purposes, "row %zu", i);
            CHECK_ROW(certificate.usage.present == (rows[i].usage != NULL), "row %zu", i);
            dmsg_certificate_done(&certificate);
        }
        dmsg_buffer_done(&der);
        EVP_PKEY_free(key);
    }
    EVP_PKEY_free(signer);
    EVP_PKEY_free(rsa);
}

static void refuses_extensions_that_come_twice(void)
{
    struct wanted_certificate once = {.extensions = {{NID_key_usage, "digitalSignature"}}};
    struct wanted_certificate twice = {
        .extensions = {{NID_key_usage, "digitalSignature"}, {NID_key_usage, "keyAgreement"}}};
    struct dmsg_certificate certificate;
    struct dmsg_buffer der = der_of_wanted(&once);
    CHECK(parse(&certificate, &der) == 0);
    dmsg_certificate_done(&certificate);
    dmsg_buffer_done(&der);

    X509 *bad = certificate_of(&twice);
    struct dmsg_key_usage usage;
    der = der_of(bad);
    CHECK(parse(&certificate, &der) == DMSG_E_CERTIFICATE);
    CHECK(dmsg_certificate_key_usage(&usage, bad, NULL) == DMSG_E_CERTIFICATE);
    CHECK(dmsg_key_purposes(X509_get0_pubkey(bad), bad) == 0);
    dmsg_buffer_done(&der);
    X509_free(bad);
}

static void bears_exactly_its_names(void)
{
    static const struct {
        const char *common_name;
        const char *names;
        bool bears;
    } rows[] = {
        {NULL, "DNS:alice._device.example.net", true},
        {NULL, "DNS:ALICE._device.EXAMPLE.net", true},
        {NULL, "DNS:bob.example.net,DNS:alice._device.example.net", true},
        {"bob.example.net", "DNS:alice._device.example.net", true},
        {"alice._device.example.net", NULL, false},
        {"alice._device.example.net", "DNS:bob.example.net", false},
        {NULL, "DNS:*._device.example.net", false},
        {NULL, "DNS:*.example.net", false},
        {NULL, "DNS:_device.example.net", false},
        {NULL, "DNS:.example.net", false},
        {NULL, "DNS:x.alice._device.example.net", false},
        {NULL, "DNS:alice._device.example.net.", false},
        {NULL, "DNS:alice._device.example.net.evil.example", false},
        {NULL, "URI:alice._device.example.net", false},
        {NULL, "email:alice._device.example.net", false},
        {NULL, "IP:192.0.2.1", false},
        /* dNSName with a NUL after the name */
        {NULL, "DER:301c821a616c6963652e5f6465766963652e6578616d706c652e6e657400", false},
        {NULL, "DER:301b8219616c6963652e5f6465766963652e6578616d706c652e6e6574", true},
        {NULL, NULL, false},
    };
    struct dmsg_name name = name_of("alice._device.example.net");
    EVP_PKEY *key = key_of("EC:prime256v1");
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct wanted_certificate wanted = {.key = key, .common_name = rows[i].common_name};
        if (rows[i].names != NULL)
            wanted.extensions[0] = (struct wanted_extension){NID_subject_alt_name, rows[i].names};
        struct dmsg_buffer der = der_of_wanted(&wanted);
        struct dmsg_certificate certificate;
        if (parse(&certificate, &der) == 0) {
            CHECK_ROW(dmsg_certificate_bears_name(certificate.x509, &name) == rows[i].bears,
                "row %zu", i);
            dmsg_certificate_done(&certificate);
        } else {
            CHECK_ROW(false, "row %zu does not parse", i);
        }
        dmsg_buffer_done(&der);
    }
    EVP_PKEY_free(key);
}

/* OpenSSL expands no wildcard over labels with underscores; this name has none. */
static void expands_no_wildcard(void)
{
    struct dmsg_name name = name_of("alice.example.net");
    struct wanted_certificate star = {.extensions = {{NID_subject_alt_name, "DNS:*.example.net"}}};
    struct wanted_certificate exact = {
        .extensions = {{NID_subject_alt_name, "DNS:*.example.net,DNS:alice.example.net"}}};
    X509 *with_star = certificate_of(&star), *with_both = certificate_of(&exact);
    CHECK(X509_check_host(with_star, name.text, name.size, 0, NULL) == 1);
    CHECK(!dmsg_certificate_bears_name(with_star, &name));
    CHECK(dmsg_certificate_bears_name(with_both, &name));
    X509_free(with_star);
    X509_free(with_both);
}

static void reads_dates_near_and_far(void)
{
    static const int64_t pairs[][2] = {
        {TEST_NOW, TEST_NOW + 86400}, {0, 1}, /* 1970: UTCTime's second half of the century */
        {2524607999, 2524608000},             /* 2049 to 2050: UTCTime to GeneralizedTime */
        {TEST_NOW, 253402300799},             /* 9999-12-31T23:59:59Z: no end (RFC 5280) */
        {TEST_NOW, TEST_NOW - 1},             /* never valid: who relies on dates will say so */
    };
    for (size_t i = 0; i < ROWS(pairs); i++) {
        struct wanted_certificate wanted = {.not_before = pairs[i][0], .not_after = pairs[i][1]};
        struct dmsg_buffer der = der_of_wanted(&wanted);
        struct dmsg_certificate certificate;
        if (parse(&certificate, &der) == 0) {
            CHECK_ROW(certificate.not_before == pairs[i][0] && certificate.not_after == pairs[i][1],
                "row %zu", i);
            dmsg_certificate_done(&certificate);
        } else {
            CHECK_ROW(false, "row %zu does not parse", i);
        }
        dmsg_buffer_done(&der);
    }
}

static void words_are_printable(void)
{
    struct wanted_certificate wanted = {.common_name = "a\033[2J\xc3\xa9,b",
        .extensions = {{NID_subject_alt_name, /* two dNSName, iPAddress, URI */
            "DER:301f8209612e6578616d706c6582041b5d2c628704c00002018606783a2f2fc3a9"}}};
    X509 *certificate = certificate_of(&wanted);
    struct dmsg_buffer subject = {0}, names = {0}, issuer = {0};
    dmsg_certificate_put_subject(&subject, certificate);
    dmsg_certificate_put_issuer(&issuer, certificate);
    dmsg_certificate_put_names(&names, certificate);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&subject), "CN=a\\1B[2J\\C3\\A9\\,b"));
    CHECK(issuer.size == 0);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&names),
        "DNS:a.example, DNS:\\x1B]\\x2Cb, IP:192.0.2.1, URI:x://\\xC3\\xA9"));
    dmsg_buffer_done(&subject);
    dmsg_buffer_done(&issuer);
    dmsg_buffer_done(&names);
    X509_free(certificate);
}

/* -------------------------------------------------------------------------------------- keys */

static void table_of_rsa(void)
{
    static const struct {
        int bits;
        const char *exponent;
        unsigned purposes;
    } rows[] = {
        {2048, "010001", BOTH},
        {2047, "010001", 0},
        {1024, "010001", 0},
        {3072, "010001", BOTH},
        {8192, "010001", BOTH},
        {8193, "010001", 0},
        {2048, "03", 0},
        {2048, "FFFF", 0},
        {2048, "010000", 0},
        {2048, "010002", 0},
        {2048, "010003", BOTH},
        {2048, "FFFFFFFF", BOTH},
        {2048, "FFFFFFFE", 0},
        {2048, "0100000001", 0},
        {2048, "0100000000010001", 0},
        {2048, "010000000000000000010001", 0},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        EVP_PKEY *key = rsa_of(rows[i].bits, rows[i].exponent), *parsed = NULL;
        struct dmsg_buffer spki = spki_of(key);
        CHECK_ROW(dmsg_key_purposes(key, NULL) == rows[i].purposes, "row %zu", i);
        CHECK_ROW(dmsg_public_key_parse(&parsed, dmsg_buffer_span(&spki), NULL) == 0, "row %zu", i);
        CHECK_ROW(
            parsed != NULL && dmsg_key_purposes(parsed, NULL) == rows[i].purposes, "row %zu", i);
        EVP_PKEY_free(parsed);
        EVP_PKEY_free(key);
        dmsg_buffer_done(&spki);
    }
}

static void table_of_types(void)
{
    static const struct {
        const char *kind;
        int status;
        unsigned purposes;
        const char *description;
    } rows[] = {
        {"EC:prime256v1", 0, BOTH, "EC P-256"},
        {"EC:secp384r1", 0, BOTH, "EC P-384"},
        {"EC:secp521r1", 0, BOTH, "EC P-521"},
        {"ED25519", 0, SIGN, "Ed25519"},
        {"X25519", 0, ENCRYPT, "X25519"},
        {"RSA:2048", 0, BOTH, "RSA 2048"},
        {"RSA:1024", 0, 0, "RSA 1024"},
        {"RSA-PSS:2048", DMSG_E_CERTIFICATE, 0, "unknown"},
        {"EC:secp224r1", DMSG_E_CERTIFICATE, 0, "unknown"},
        {"EC:secp256k1", DMSG_E_CERTIFICATE, 0, "unknown"},
        {"EC:brainpoolP256r1", DMSG_E_CERTIFICATE, 0, "unknown"},
        {"ED448", DMSG_E_CERTIFICATE, 0, "unknown"},
        {"X448", DMSG_E_CERTIFICATE, 0, "unknown"},
    };
    EVP_PKEY *signer = key_of("EC:prime256v1");
    for (size_t i = 0; i < ROWS(rows); i++) {
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        EVP_PKEY *key = key_of(rows[i].kind), *parsed = NULL;
        struct dmsg_buffer spki = spki_of(key);
        CHECK_ROW(dmsg_key_purposes(key, NULL) == rows[i].purposes, "%s", rows[i].kind);
        CHECK_ROW(dmsg_public_key_parse(&parsed, dmsg_buffer_span(&spki), NULL) == rows[i].status,
            "%s", rows[i].kind);
        CHECK_ROW((parsed != NULL) == (rows[i].status == 0), "%s", rows[i].kind);
        dmsg_key_describe(description, key);
        CHECK_ROW(strcmp(description, rows[i].description) == 0, "%s", rows[i].kind);

        struct wanted_certificate wanted = {.key = key, .signer = signer};
        struct dmsg_buffer der = der_of_wanted(&wanted);
        CHECK_ROW(parse_bytes(der.data, der.size) == rows[i].status, "%s", rows[i].kind);
        dmsg_buffer_done(&der);
        dmsg_buffer_done(&spki);
        EVP_PKEY_free(parsed);
        EVP_PKEY_free(key);
    }
    EVP_PKEY_free(signer);
    CHECK(ERR_peek_error() == 0);
}

/* The same P-256 key in other clothes. */
static void takes_named_curves_and_plain_points_only(void)
{
    static const struct {
        const char *parameter, *value;
        int status;
    } rows[] = {
        {OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "uncompressed", 0},
        {OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed", 0},
        {OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "hybrid", DMSG_E_CERTIFICATE},
        {OSSL_PKEY_PARAM_EC_ENCODING, "named_curve", 0},
        {OSSL_PKEY_PARAM_EC_ENCODING, "explicit", DMSG_E_CERTIFICATE},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        EVP_PKEY *key = key_of("EC:prime256v1"), *parsed = NULL;
        CHECK(EVP_PKEY_set_utf8_string_param(key, rows[i].parameter, rows[i].value) == 1);
        struct dmsg_buffer spki = spki_of(key);
        CHECK_ROW(dmsg_public_key_parse(&parsed, dmsg_buffer_span(&spki), NULL) == rows[i].status,
            "row %zu", i);
        EVP_PKEY_free(parsed);
        EVP_PKEY_free(key);
        dmsg_buffer_done(&spki);
    }
}

static int parse_key(const uint8_t *data, size_t size)
{
    EVP_PKEY *key = NULL;
    int status = dmsg_public_key_parse(&key, (struct dmsg_span){data, size}, NULL);
    EVP_PKEY_free(key);
    return status;
}

static void public_key_is_exactly_one(void)
{
    EVP_PKEY *key = key_of("EC:prime256v1");
    struct dmsg_buffer spki = spki_of(key);
    uint8_t *data = calloc(1, DMSG_PUBLIC_KEY_MAX + 1);
    memcpy(data, spki.data, spki.size);
    CHECK(parse_key(data, spki.size) == 0);
    CHECK(parse_key(data, spki.size + 1) == DMSG_E_CERTIFICATE);
    CHECK(parse_key(data, DMSG_PUBLIC_KEY_MAX) == DMSG_E_CERTIFICATE);
    CHECK(parse_key(data, DMSG_PUBLIC_KEY_MAX + 1) == DMSG_E_SIZE);
    CHECK(parse_key(data, 0) == DMSG_E_SIZE);
    for (size_t i = 1; i < spki.size; i++)
        CHECK_ROW(parse_key(data, i) == DMSG_E_CERTIFICATE, "cut to %zu", i);

    REQUIRE(spki.size == 91 && data[25] == 0 && data[26] == 4);
    data[25] = 1; /* one unused bit */
    CHECK(parse_key(data, spki.size) == DMSG_E_CERTIFICATE);
    data[25] = 0;
    data[90] ^= 1; /* off the curve */
    CHECK(parse_key(data, spki.size) == DMSG_E_CERTIFICATE);
    data[90] ^= 1;
    data[26] = 5; /* no such form of point */
    CHECK(parse_key(data, spki.size) == DMSG_E_CERTIFICATE);
    data[26] = 4;
    CHECK(parse_key(data, spki.size) == 0);
    free(data);
    dmsg_buffer_done(&spki);
    EVP_PKEY_free(key);
}

static void rsa_has_one_encoding(void)
{
    EVP_PKEY *key = rsa_of(2048, "010001");
    struct dmsg_buffer spki = spki_of(key);
    REQUIRE(spki.size == 294 && spki.data[4] == 0x30 && spki.data[17] == 0x05);
    CHECK(parse_key(spki.data, spki.size) == 0);

    uint8_t without[294]; /* absent in place of NULL (RFC 3279 section 2.3.1) */
    memcpy(without, spki.data, 17);
    memcpy(without + 17, spki.data + 19, spki.size - 19);
    without[3] = (uint8_t)(without[3] - 2);
    without[5] = (uint8_t)(without[5] - 2);
    CHECK(parse_key(without, spki.size - 2) == DMSG_E_CERTIFICATE);
    spki.data[17] = 0x04;
    CHECK(parse_key(spki.data, spki.size) == DMSG_E_CERTIFICATE);
    spki.data[17] = 0x05;

    /* One octet after RSAPublicKey, inside the BIT STRING. */
    uint8_t longer[295];
    memcpy(longer, spki.data, spki.size);
    longer[294] = 0;
    longer[3]++;
    longer[22]++;
    REQUIRE(longer[19] == 0x03 && longer[20] == 0x82);
    CHECK(parse_key(longer, sizeof longer) == DMSG_E_CERTIFICATE);
    dmsg_buffer_done(&spki);
    EVP_PKEY_free(key);
}

TEST_MAIN(TEST(der_takes_only_der), TEST(der_is_bounded_in_depth), TEST(der_cursor_error_sticks),
    TEST(reads_the_facts), TEST(key_id_is_the_hash_of_the_spki), TEST(refuses_other_sizes),
    TEST(refuses_lenient_encodings), TEST(survives_every_changed_octet), TEST(honours_key_usage),
    TEST(refuses_extensions_that_come_twice), TEST(bears_exactly_its_names),
    TEST(expands_no_wildcard), TEST(reads_dates_near_and_far), TEST(words_are_printable),
    TEST(table_of_rsa), TEST(table_of_types), TEST(takes_named_curves_and_plain_points_only),
    TEST(public_key_is_exactly_one), TEST(rsa_has_one_encoding))
