/* Identities in memory and loaded from files: danemsg/identity.h, src/x509/files.h. */
#include "test_identity_support.h"

static void an_identity_without_files(void)
{
    struct dmsg_name name = name_of(NAME);
    struct dmsg_identity *identity = NULL;
    EVP_PKEY *key = key_of("EC:prime256v1"), *other = key_of("EC:prime256v1");
    X509 *certificate = certificate_of(&(struct wanted_certificate){
        .key = key, .extensions = {{NID_key_usage, "digitalSignature"}}});
    REQUIRE(dmsg_identity_new(&identity, &plain_context, &name, NULL) == 0);
    CHECK(dmsg_name_equal(dmsg_identity_name(identity), &name));
    CHECK(dmsg_identity_key_count(identity) == 0 && dmsg_identity_key_get(identity, 0) == NULL);
    CHECK(dmsg_identity_current(identity, SIGN) == NULL);
    CHECK(dmsg_identity_add(identity, DMSG_KEY_CURRENT, other, certificate, NULL) ==
          DMSG_E_CERTIFICATE);
    CHECK(dmsg_identity_key_count(identity) == 0);
    CHECK(dmsg_identity_add(identity, DMSG_KEY_CURRENT, key, certificate, NULL) == 0);
    CHECK(dmsg_identity_add(identity, DMSG_KEY_OLD, other, NULL, NULL) == 0);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    X509_free(certificate);

    const struct dmsg_identity_key *first = dmsg_identity_key_get(identity, 0);
    REQUIRE(dmsg_identity_key_count(identity) == 2 && first != NULL);
    CHECK(first->purposes == SIGN && strlen(first->kid) == DMSG_KEY_ID_SIZE - 1);
    CHECK(dmsg_identity_key_get(identity, 1)->purposes == BOTH);
    CHECK(dmsg_identity_key_get(identity, 2) == NULL);
    CHECK(dmsg_identity_current(identity, SIGN) == first);
    CHECK(dmsg_identity_current(identity, ENCRYPT) == NULL); /* the old key is not current */
    dmsg_identity_free(&identity);
    CHECK(identity == NULL);
    dmsg_identity_free(&identity);
    dmsg_identity_free(NULL);
}

static void takes_keys_of_the_table_only(void)
{
    static const struct {
        const char *kind;
        int status;
        unsigned purposes;
    } rows[] = {
        {"EC:prime256v1", 0, BOTH},
        {"EC:secp384r1", 0, BOTH},
        {"EC:secp521r1", 0, BOTH},
        {"ED25519", 0, SIGN},
        {"X25519", 0, ENCRYPT},
        {"RSA:2048", 0, BOTH},
        {"RSA:1024", DMSG_E_CERTIFICATE, 0},
        {"RSA-PSS:2048", DMSG_E_CERTIFICATE, 0},
        {"EC:secp256k1", DMSG_E_CERTIFICATE, 0},
        {"ED448", DMSG_E_CERTIFICATE, 0},
    };
    struct dmsg_name name = name_of(NAME);
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_identity *identity = NULL;
        EVP_PKEY *key = key_of(rows[i].kind);
        REQUIRE(dmsg_identity_new(&identity, &plain_context, &name, NULL) == 0);
        CHECK_ROW(dmsg_identity_add(identity, DMSG_KEY_CURRENT, key, NULL, NULL) == rows[i].status,
            "%s", rows[i].kind);
        const struct dmsg_identity_key *added = dmsg_identity_key_get(identity, 0);
        CHECK_ROW((added != NULL) == (rows[i].status == 0), "%s", rows[i].kind);
        CHECK_ROW(added == NULL || added->purposes == rows[i].purposes, "%s", rows[i].kind);
        EVP_PKEY_free(key);
        dmsg_identity_free(&identity);
    }
}

static void holds_eight_keys(void)
{
    struct dmsg_name name = name_of(NAME);
    struct dmsg_identity *identity = NULL;
    EVP_PKEY *key = key_of("ED25519");
    REQUIRE(dmsg_identity_new(&identity, &plain_context, &name, NULL) == 0);
    for (int i = 0; i < 8; i++)
        CHECK(dmsg_identity_add(identity, DMSG_KEY_OLD, key, NULL, NULL) == 0);
    CHECK(dmsg_identity_add(identity, DMSG_KEY_OLD, key, NULL, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_identity_key_count(identity) == 8);
    EVP_PKEY_free(key);
    dmsg_identity_free(&identity);
}

/* ---------------------------------------------------------------------------------- loading */

static void saves_and_loads(void)
{
    static const struct {
        enum dmsg_key_type type;
        size_t keys, files;
        unsigned purposes;
    } rows[] = {
        {DMSG_KEY_P256, 1, 2, BOTH},
        {DMSG_KEY_P384, 1, 2, BOTH},
        {DMSG_KEY_P521, 1, 2, BOTH},
        {DMSG_KEY_RSA2048, 1, 2, BOTH},
        {DMSG_KEY_ED25519, 2, 4, SIGN},
    };
    for (size_t i = 0; i < ROWS(rows); i++) {
        struct dmsg_identity *identity;
        folder_begin();
        CHECK_ROW(save(folder, rows[i].type, false, &keep) == 0, "row %zu", i);
        CHECK_ROW(files_in(folder) == rows[i].files, "row %zu", i);
        REQUIRE(load(&identity) == 0);
        CHECK_ROW(dmsg_identity_key_count(identity) == rows[i].keys, "row %zu", i);
        const struct dmsg_identity_key *signing = dmsg_identity_current(identity, SIGN);
        const struct dmsg_identity_key *decrypting = dmsg_identity_current(identity, ENCRYPT);
        REQUIRE(signing != NULL && decrypting != NULL);
        CHECK_ROW(signing->purposes == rows[i].purposes, "row %zu", i);
        CHECK_ROW((signing == decrypting) == (rows[i].keys == 1), "row %zu", i);
        CHECK_ROW(signing->certificate != NULL && decrypting->certificate != NULL, "row %zu", i);
        CHECK_ROW(
            EVP_PKEY_eq(X509_get0_pubkey(signing->certificate), signing->key) == 1, "row %zu", i);
        dmsg_identity_free(&identity);
        folder_end();
    }
}

static void refuses_a_key_open_to_others(void)
{
    static const struct {
        mode_t mode;
        int status;
    } rows[] = {
        {0600, 0},
        {0400, 0},
        {0700, 0},
        {0640, DMSG_E_LOCAL},
        {0620, DMSG_E_LOCAL},
        {0604, DMSG_E_LOCAL},
        {0602, DMSG_E_LOCAL},
        {0644, DMSG_E_LOCAL},
        {0666, DMSG_E_LOCAL},
        {0440, DMSG_E_LOCAL},
        {0601, DMSG_E_LOCAL},
    };
    folder_begin();
    put_pair(NAME, "EC:prime256v1");
    CHECK(chmod(path_of(NAME ".crt.pem"), 0644) == 0);
    for (size_t i = 0; i < ROWS(rows); i++) {
        CHECK(chmod(path_of(NAME ".key.pem"), rows[i].mode) == 0);
        CHECK_ROW(loads_with(rows[i].status, rows[i].status == 0 ? NULL : "chmod 600"), "mode %04o",
            (unsigned)rows[i].mode);
    }
    folder_end();
}

static void follows_no_link_to_a_key(void)
{
    folder_begin();
    put_pair(NAME, "EC:prime256v1");
    CHECK(loads_with(0, NULL));
    CHECK(rename(path_of(NAME ".crt.pem"), "/tmp/danemsg-test-crt") == 0);
    CHECK(symlink("/tmp/danemsg-test-crt", path_of(NAME ".crt.pem")) == 0);
    CHECK(loads_with(0, NULL)); /* a certificate is no secret */
    (void)unlink("/tmp/danemsg-test-crt");
    CHECK(loads_with(DMSG_E_LOCAL, NAME ".crt.pem"));
    (void)unlink(path_of(NAME ".crt.pem"));

    char target[PATH_SIZE];
    snprintf(target, sizeof target, "%s", path_of("elsewhere.pem"));
    CHECK(rename(path_of(NAME ".key.pem"), target) == 0);
    CHECK(symlink(target, path_of(NAME ".key.pem")) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "symbolic link"));
    (void)unlink(path_of(NAME ".key.pem"));
    CHECK(rename(target, path_of(NAME ".key.pem")) == 0);
    CHECK(loads_with(0, NULL));
    folder_end();
}

static void reads_regular_files_only(void)
{
    folder_begin();
    CHECK(mkfifo(path_of(NAME ".key.pem"), 0600) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "regular file")); /* and does not wait for a writer */
    (void)unlink(path_of(NAME ".key.pem"));
    CHECK(mkdir(path_of(NAME ".key.pem"), 0700) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "regular file"));
    (void)rmdir(path_of(NAME ".key.pem"));
    put_pair(NAME, "EC:prime256v1");
    (void)unlink(path_of(NAME ".crt.pem"));
    CHECK(mkfifo(path_of(NAME ".crt.pem"), 0600) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "regular file"));
    folder_end();
}

static void says_which_file_is_missing(void)
{
    folder_begin();
    CHECK(loads_with(DMSG_E_LOCAL, "identity new"));
    put_file(NAME ".key.uri", dmsg_span_text("file:/b\n"), 0600);
    CHECK(loads_with(DMSG_E_LOCAL, "begins with handle:"));
    put_pair(NAME, "EC:prime256v1");
    CHECK(loads_with(DMSG_E_LOCAL, NAME ".key.pem and " NAME ".key.uri are both"));
    (void)unlink(path_of(NAME ".key.uri"));
    (void)unlink(path_of(NAME ".key.pem"));
    CHECK(loads_with(DMSG_E_LOCAL, "without its key"));
    put_pair(NAME, "EC:prime256v1");
    (void)unlink(path_of(NAME ".crt.pem"));
    CHECK(loads_with(0, NULL)); /* usage 3, selector 1 needs none */
    put_pair(NAME ".old", "EC:prime256v1");
    (void)unlink(path_of(NAME ".old.key.pem"));
    CHECK(loads_with(DMSG_E_LOCAL, NAME ".old.key.pem"));
    (void)unlink(path_of(NAME ".old.crt.pem"));
    put_file(NAME ".enc.key.uri", dmsg_span_text("handle:x\n"), 0600);
    CHECK(loads_with(DMSG_E_LOCAL, NAME ".enc.key.uri: handle:x is not"));
    folder_end();
    CHECK(loads_with(DMSG_E_LOCAL, "folder"));
}

static void key_and_certificate_belong_together(void)
{
    folder_begin();
    put_pair(NAME, "EC:prime256v1");
    CHECK(loads_with(0, NULL));
    X509 *other = certificate_of(&(struct wanted_certificate){0});
    put_certificate(NAME ".crt.pem", other);
    CHECK(loads_with(DMSG_E_LOCAL, "belong together"));
    X509_free(other);
    put_pair(NAME, "RSA:2048");
    put_pair(NAME ".next", "EC:prime256v1");
    CHECK(loads_with(0, NULL));
    char next[PATH_SIZE];
    snprintf(next, sizeof next, "%s", path_of(NAME ".next.crt.pem"));
    CHECK(rename(path_of(NAME ".crt.pem"), next) == 0);
    CHECK(loads_with(0, NULL)); /* half-way through a rollover it stands elsewhere */
    CHECK(unlink(path_of(NAME ".key.pem")) == 0);
    CHECK(loads_with(DMSG_E_LOCAL, "there is no key"));
    put_pair(NAME, "RSA:2048");
    CHECK(loads_with(DMSG_E_LOCAL, "belong together"));
    folder_end();
}

static void dates_do_not_matter_here(void)
{
    EVP_PKEY *key = key_of("EC:prime256v1");
    struct wanted_certificate wanted = {.key = key, .not_before = 1, .not_after = 2};
    X509 *expired = certificate_of(&wanted);
    folder_begin();
    put_key(NAME ".key.pem", key);
    put_certificate(NAME ".crt.pem", expired);
    CHECK(loads_with(0, NULL)); /* RFC 7671 section 5.1; commands warn */
    folder_end();
    X509_free(expired);
    EVP_PKEY_free(key);
}

static void roles_and_purposes(void)
{
    static const struct {
        const char *stem, *kind;
        enum dmsg_key_role role;
        unsigned purposes;
    } rows[] = {
        {NAME, "ED25519", DMSG_KEY_CURRENT, SIGN},
        {NAME ".enc", "X25519", DMSG_KEY_CURRENT, ENCRYPT},
        {NAME ".next", "EC:prime256v1", DMSG_KEY_NEXT, BOTH},
        {NAME ".next.enc", "EC:secp384r1", DMSG_KEY_NEXT, ENCRYPT}, /* its place narrows it */
        {NAME ".old", "EC:secp521r1", DMSG_KEY_OLD, BOTH},
        {NAME ".old.enc", "X25519", DMSG_KEY_OLD, ENCRYPT},
    };
    struct dmsg_identity *identity;
    folder_begin();
    for (size_t i = 0; i < ROWS(rows); i++)
        put_pair(rows[i].stem, rows[i].kind);
    REQUIRE(load(&identity) == 0);
    REQUIRE(dmsg_identity_key_count(identity) == ROWS(rows));
    for (size_t i = 0; i < ROWS(rows); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        CHECK_ROW(
            key->role == rows[i].role && key->purposes == rows[i].purposes, "%s", rows[i].stem);
    }
    CHECK(dmsg_identity_current(identity, SIGN) == dmsg_identity_key_get(identity, 0));
    CHECK(dmsg_identity_current(identity, ENCRYPT) == dmsg_identity_key_get(identity, 1));
    dmsg_identity_free(&identity);

    put_pair(NAME, "EC:prime256v1"); /* does both, but a key of its own goes first */
    REQUIRE(load(&identity) == 0);
    CHECK(dmsg_identity_current(identity, SIGN) == dmsg_identity_key_get(identity, 0));
    CHECK(dmsg_identity_current(identity, ENCRYPT) == dmsg_identity_key_get(identity, 1));
    dmsg_identity_free(&identity);

    put_pair(NAME ".enc", "ED25519");
    CHECK(loads_with(DMSG_E_CERTIFICATE, NAME ".enc.key.pem"));
    folder_end();
}

static void unusable_keys_are_named(void)
{
    static const struct {
        const char *kind;
        int status;
        const char *text;
    } rows[] = {
        {"RSA:1024", DMSG_E_CERTIFICATE, "RSA 1024"},
        {"EC:secp256k1", DMSG_E_CERTIFICATE, "no use"},
        {"ED448", DMSG_E_CERTIFICATE, "no use"},
        {"EC:prime256v1", 0, NULL},
    };
    folder_begin();
    for (size_t i = 0; i < ROWS(rows); i++) {
        EVP_PKEY *key = key_of(rows[i].kind);
        put_key(NAME ".key.pem", key);
        CHECK_ROW(loads_with(rows[i].status, rows[i].text), "%s", rows[i].kind);
        EVP_PKEY_free(key);
    }
    folder_end();
}

TEST_MAIN(TEST(an_identity_without_files), TEST(takes_keys_of_the_table_only),
    TEST(holds_eight_keys), TEST(saves_and_loads), TEST(refuses_a_key_open_to_others),
    TEST(follows_no_link_to_a_key), TEST(reads_regular_files_only),
    TEST(says_which_file_is_missing), TEST(key_and_certificate_belong_together),
    TEST(dates_do_not_matter_here), TEST(roles_and_purposes), TEST(unusable_keys_are_named))
