/* New keys, certificates and signing requests: src/x509/create.h. */
#include "test_x509_support.h"

#define SIGN DMSG_FOR_SIGNATURES
#define ENCRYPT DMSG_FOR_ENCRYPTION
#define BOTH (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)

/* Most octets of the default certificate for a name of 13 characters (an ECDSA signature has up to
   72): what the documentation says about sizes. */
#define DEFAULT_CERTIFICATE_SIZE 381

static const struct dmsg_context fixed_clock = {.now = test_now};

static int create(struct dmsg_material *out, const struct dmsg_creation *wanted)
{
    struct dmsg_error error;
    return dmsg_material_create(out, &fixed_clock, wanted, &error);
}

static void parse(struct dmsg_certificate *out, const X509 *certificate)
{
    struct dmsg_buffer der = der_of(certificate);
    *out = (struct dmsg_certificate){0};
    CHECK(dmsg_certificate_parse(out, dmsg_buffer_span(&der), NULL) == 0);
    dmsg_buffer_done(&der);
}

static bool critical(const X509 *certificate, int nid)
{
    int at = X509_get_ext_by_NID(certificate, nid, -1);
    return at >= 0 && X509_EXTENSION_get_critical(X509_get_ext(certificate, at)) == 1;
}

static void check_certificate(
    X509 *certificate, EVP_PKEY *key, EVP_PKEY *signer, unsigned purposes, const char *row)
{
    struct dmsg_name name = name_of("alice.example"), other = name_of("bob.example");
    struct dmsg_certificate parsed;
    parse(&parsed, certificate);
    CHECK_ROW(parsed.x509 != NULL && EVP_PKEY_eq(parsed.key, key) == 1, "%s", row);
    CHECK_ROW(X509_verify(certificate, signer) == 1, "%s", row);
    CHECK_ROW(parsed.purposes == purposes, "%s: %u", row, parsed.purposes);
    CHECK_ROW(parsed.usage.digital_signature == ((purposes & SIGN) != 0), "%s", row);
    CHECK_ROW((parsed.usage.key_agreement || parsed.usage.key_encipherment) ==
                  ((purposes & ENCRYPT) != 0),
        "%s", row);
    CHECK_ROW(parsed.usage.present && critical(certificate, NID_key_usage), "%s", row);
    CHECK_ROW(parsed.not_before == TEST_NOW, "%s", row);
    CHECK_ROW(parsed.not_after == TEST_NOW + 30 * 86400, "%s", row);
    CHECK_ROW(X509_get_version(certificate) == X509_VERSION_3, "%s", row);
    CHECK_ROW(dmsg_certificate_bears_name(certificate, &name), "%s", row);
    CHECK_ROW(!dmsg_certificate_bears_name(certificate, &other), "%s", row);
    CHECK_ROW(critical(certificate, NID_subject_alt_name), "%s", row);
    CHECK_ROW(X509_NAME_entry_count(X509_get_subject_name(certificate)) == 0, "%s", row);
    CHECK_ROW(X509_check_ca(certificate) == 0, "%s", row);
    CHECK_ROW((X509_get_extension_flags(certificate) & EXFLAG_BCONS) != 0, "%s", row);
    CHECK_ROW(ASN1_STRING_length(X509_get0_serialNumber(certificate)) == 16, "%s", row);
    CHECK_ROW(ASN1_STRING_type(X509_get0_serialNumber(certificate)) == V_ASN1_INTEGER,
        "%s: negative", row);
    dmsg_certificate_done(&parsed);
}

static void makes_every_type(void)
{
    static const struct {
        const char *word, *description;
        unsigned purposes;
        int digest;
    } rows[] = {
        {"p256", "EC P-256", BOTH, NID_sha256},
        {"p384", "EC P-384", BOTH, NID_sha384},
        {"p521", "EC P-521", BOTH, NID_sha512},
        {"ed25519", "Ed25519", SIGN, NID_undef},
        {"rsa2048", "RSA 2048", BOTH, NID_sha256},
        {"rsa3072", "RSA 3072", BOTH, NID_sha256},
    };
    struct dmsg_name name = name_of("alice.example");
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_creation wanted = {.name = &name, .days = 30};
        struct dmsg_material made = {0};
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        CHECK(dmsg_key_type_parse(&wanted.type, rows[i].word, NULL) == 0);
        REQUIRE(create(&made, &wanted) == 0);
        dmsg_key_describe(description, made.key);
        CHECK_ROW(strcmp(description, rows[i].description) == 0, "%s", rows[i].word);
        check_certificate(made.certificate, made.key, made.key, rows[i].purposes, rows[i].word);
        int digest = NID_undef, algorithm = NID_undef;
        (void)OBJ_find_sigid_algs(X509_get_signature_nid(made.certificate), &digest, &algorithm);
        CHECK_ROW(digest == rows[i].digest, "%s", rows[i].word);
        CHECK_ROW(made.request == NULL, "%s", rows[i].word);
        CHECK_ROW((made.encryption_key != NULL) == (strcmp(rows[i].word, "ed25519") == 0), "%s",
            rows[i].word);
        dmsg_material_done(&made);
    }
}

static void ed25519_has_x25519_beside_it(void)
{
    struct dmsg_name name = name_of("alice.example");
    struct dmsg_creation wanted = {.name = &name, .type = DMSG_KEY_ED25519, .days = 30};
    struct dmsg_material made = {0};
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    REQUIRE(create(&made, &wanted) == 0);
    REQUIRE(made.encryption_key != NULL && made.encryption_certificate != NULL);
    dmsg_key_describe(description, made.encryption_key);
    CHECK(strcmp(description, "X25519") == 0);
    check_certificate(made.certificate, made.key, made.key, SIGN, "Ed25519");
    check_certificate(
        made.encryption_certificate, made.encryption_key, made.key, ENCRYPT, "X25519");
    const ASN1_OCTET_STRING *issuer = X509_get0_authority_key_id(made.encryption_certificate);
    CHECK(
        issuer != NULL && ASN1_STRING_cmp(issuer, X509_get0_subject_key_id(made.certificate)) == 0);
    CHECK(ASN1_STRING_cmp(X509_get0_subject_key_id(made.encryption_certificate),
              X509_get0_subject_key_id(made.certificate)) != 0);
    dmsg_material_done(&made);
    CHECK(made.key == NULL);
    dmsg_material_done(&made);
    dmsg_material_done(NULL);
}

static void default_certificate_is_small(void)
{
    struct dmsg_name name = name_of("alice.example");
    struct dmsg_creation wanted = {.name = &name, .days = DMSG_DAYS_DEFAULT};
    size_t largest = 0;
    for (int i = 0; i < 20; i++) {
        struct dmsg_material made = {0};
        REQUIRE(create(&made, &wanted) == 0);
        struct dmsg_buffer der = der_of(made.certificate);
        largest = der.size > largest ? der.size : largest;
        dmsg_buffer_done(&der);
        dmsg_material_done(&made);
    }
    CHECK_ROW(largest <= DEFAULT_CERTIFICATE_SIZE, "%zu octets", largest);
}

static void identifiers_are_of_the_key(void)
{
    struct dmsg_name name = name_of("alice.example");
    struct dmsg_creation wanted = {.name = &name, .days = 30};
    struct dmsg_material made = {0}, again = {0};
    REQUIRE(create(&made, &wanted) == 0 && create(&again, &wanted) == 0);
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    CHECK(X509_pubkey_digest(made.certificate, EVP_sha1(), digest, &size) == 1);
    const ASN1_OCTET_STRING *subject = X509_get0_subject_key_id(made.certificate);
    const ASN1_OCTET_STRING *authority = X509_get0_authority_key_id(made.certificate);
    REQUIRE(subject != NULL && authority != NULL);
    CHECK(ASN1_STRING_length(subject) == (int)size &&
          memcmp(ASN1_STRING_get0_data(subject), digest, size) == 0);
    CHECK(ASN1_STRING_cmp(subject, authority) == 0);
    CHECK(X509_get_ext_by_NID(made.certificate, NID_subject_key_identifier, -1) <
          X509_get_ext_by_NID(made.certificate, NID_authority_key_identifier, -1));
    CHECK(ASN1_INTEGER_cmp(X509_get0_serialNumber(made.certificate),
              X509_get0_serialNumber(again.certificate)) != 0);
    CHECK(EVP_PKEY_eq(made.key, again.key) != 1);
    dmsg_material_done(&made);
    dmsg_material_done(&again);
}

static void subject_of(
    struct dmsg_buffer *out, const struct dmsg_creation *wanted, bool *is_critical)
{
    struct dmsg_material made = {0};
    REQUIRE(create(&made, wanted) == 0);
    dmsg_certificate_put_subject(out, made.certificate);
    *is_critical = critical(made.certificate, NID_subject_alt_name);
    dmsg_material_done(&made);
}

#define LABEL50 "a123456789b123456789c123456789d123456789e123456789"

static void subject_is_what_was_given(void)
{
    static const struct {
        const char *name;
        struct dmsg_subject subject;
        const char *text;
    } rows[] = {
        {"alice.example", {0}, ""},
        {"alice.example", {"", "", "", ""}, ""},
        {"alice.example", {.organization = "Example"}, "O=Example, CN=alice.example"},
        {"alice.example", {"US", "CA", "San Francisco", "example"},
            "C=US, ST=CA, L=San Francisco, O=example, CN=alice.example"},
        {"alice.example", {.locality = "K\xc3\xb6ln"}, "L=K\\C3\\B6ln, CN=alice.example"},
        /* 64 and 65 characters: CN has room for the first only */
        {LABEL50 ".abcdefghijklm", {.country = "DE"}, "C=DE, CN=" LABEL50 ".abcdefghijklm"},
        {LABEL50 ".abcdefghijklmn", {.country = "DE"}, "C=DE"},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_name name = name_of(rows[i].name);
        struct dmsg_creation wanted = {.name = &name, .days = 1, .subject = rows[i].subject};
        struct dmsg_buffer text = {0};
        bool is_critical = false;
        subject_of(&text, &wanted, &is_critical);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&text), rows[i].text), "row %zu: %.*s", i,
            (int)text.size, (const char *)text.data);
        CHECK_ROW(is_critical == (rows[i].text[0] == '\0'), "row %zu", i);
        dmsg_buffer_done(&text);
    }
}

static char characters[140];

static const char *many(size_t count)
{
    memset(characters, 'x', sizeof characters);
    characters[count] = '\0';
    return characters;
}

static void refuses_what_does_not_fit(void)
{
    static const struct {
        int days;
        struct dmsg_subject subject;
        size_t places, organizations; /* this many characters in place of the above */
        int status;
    } rows[] = {
        {1, {0}, 0, 0, 0},
        {DMSG_DAYS_MAX, {0}, 0, 0, 0},
        {0, {0}, 0, 0, DMSG_E_USAGE},
        {-1, {0}, 0, 0, DMSG_E_USAGE},
        {DMSG_DAYS_MAX + 1, {0}, 0, 0, DMSG_E_USAGE},
        {1, {.country = "U"}, 0, 0, DMSG_E_USAGE},
        {1, {.country = "USA"}, 0, 0, DMSG_E_USAGE},
        {1, {.country = "U1"}, 0, 0, DMSG_E_USAGE},
        {1, {.country = "\xc3\xa9s"}, 0, 0, DMSG_E_USAGE},
        {1, {.country = "US"}, 0, 0, 0},
        {1, {.state = "a\nb"}, 0, 0, DMSG_E_USAGE},
        {1, {.state = "a\x7f"}, 0, 0, DMSG_E_USAGE},
        {1, {.state = "a\xc2\x85"}, 0, 0, DMSG_E_USAGE},
        {1, {.locality = "\xff"}, 0, 0, DMSG_E_USAGE},
        {1, {0}, 128, 0, 0},
        {1, {0}, 129, 0, DMSG_E_USAGE},
        {1, {0}, 0, 64, 0},
        {1, {0}, 0, 65, DMSG_E_USAGE},
    };
    struct dmsg_name name = name_of("alice.example");
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_creation wanted = {
            .name = &name, .days = rows[i].days, .subject = rows[i].subject};
        struct dmsg_material made = {0};
        if (rows[i].places > 0)
            wanted.subject.state = many(rows[i].places);
        if (rows[i].organizations > 0)
            wanted.subject.organization = many(rows[i].organizations);
        CHECK_ROW(create(&made, &wanted) == rows[i].status, "row %zu", i);
        CHECK_ROW((made.key != NULL) == (rows[i].status == 0), "row %zu", i);
        dmsg_material_done(&made);
    }
}

static void own_names_have_a_limit(void)
{
    char text[240];
    struct dmsg_material made = {0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 50 == 49 ? '.' : 'a';
    for (size_t size = DMSG_OWN_NAME_MAX; size <= DMSG_OWN_NAME_MAX + 1; size++) {
        struct dmsg_name name = {0};
        CHECK(dmsg_name_parse(&name, (struct dmsg_span){(uint8_t *)text, size}, NULL) == 0);
        struct dmsg_creation wanted = {.name = &name, .days = 1};
        CHECK(create(&made, &wanted) == (size == DMSG_OWN_NAME_MAX ? 0 : DMSG_E_NAME));
        dmsg_material_done(&made);
    }
}

static void words_of_types(void)
{
    static const char *const bad[] = {"", "P256", "p-256", "rsa", "rsa1024", "x25519", "p256 "};
    enum dmsg_key_type type = DMSG_KEY_P521;
    for (size_t i = 0; i < ROWS(bad); i++)
        CHECK_ROW(dmsg_key_type_parse(&type, bad[i], NULL) == DMSG_E_USAGE, "%s", bad[i]);
    CHECK(type == DMSG_KEY_P521);
    CHECK(dmsg_key_type_parse(&type, "rsa4096", NULL) == 0 && type == DMSG_KEY_RSA4096);
}

static void check_request(const struct dmsg_material *made, enum dmsg_key_type type)
{
    REQUIRE(made->request != NULL && made->certificate == NULL);
    CHECK(X509_REQ_verify(made->request, made->key) == 1);
    STACK_OF(X509_EXTENSION) *extensions = X509_REQ_get_extensions(made->request);
    GENERAL_NAMES *names = X509V3_get_d2i(extensions, NID_subject_alt_name, NULL, NULL);
    REQUIRE(names != NULL && sk_GENERAL_NAME_num(names) == 1);
    const ASN1_STRING *text = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, 0), NULL);
    CHECK(ASN1_STRING_length(text) == 13 &&
          memcmp(ASN1_STRING_get0_data(text), "alice.example", 13) == 0);
    CHECK(sk_X509_EXTENSION_num(extensions) == 2);
    CHECK((made->encryption_certificate != NULL) == (type == DMSG_KEY_ED25519));
    GENERAL_NAMES_free(names);
    sk_X509_EXTENSION_pop_free(extensions, X509_EXTENSION_free);
}

static void makes_signing_requests(void)
{
    static const enum dmsg_key_type types[] = {
        DMSG_KEY_P256, DMSG_KEY_P384, DMSG_KEY_ED25519, DMSG_KEY_RSA2048};
    struct dmsg_name name = name_of("alice.example");
    for (size_t i = 0; i < ROWS(types); i++) {
        struct dmsg_creation wanted = {.name = &name,
            .type = types[i],
            .days = 30,
            .request = true,
            .subject = {.organization = "Example"}};
        struct dmsg_material made = {0};
        REQUIRE(create(&made, &wanted) == 0);
        check_request(&made, types[i]);
        dmsg_material_done(&made);
    }
    CHECK(ERR_peek_error() == 0);
}

static int no_random(void *user, void *out, size_t size)
{
    (void)user, (void)out, (void)size;
    return -1;
}

static void no_randomness_no_certificate(void)
{
    const struct dmsg_context context = {.random = no_random};
    struct dmsg_name name = name_of("alice.example");
    struct dmsg_creation wanted = {.name = &name, .days = 30};
    struct dmsg_material made = {0};
    CHECK(dmsg_material_create(&made, &context, &wanted, NULL) == DMSG_E_INTERNAL);
    CHECK(made.key == NULL);
}

TEST_MAIN(TEST(makes_every_type), TEST(ed25519_has_x25519_beside_it),
    TEST(default_certificate_is_small), TEST(identifiers_are_of_the_key),
    TEST(subject_is_what_was_given), TEST(refuses_what_does_not_fit), TEST(own_names_have_a_limit),
    TEST(words_of_types), TEST(makes_signing_requests), TEST(no_randomness_no_certificate))
