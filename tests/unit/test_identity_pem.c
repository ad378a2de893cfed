/* Key and certificate files in every good and bad form: src/x509/pem.h. */
#include "test_identity_support.h"

enum form { PKCS8, TRADITIONAL, PARAMETERS_FIRST, PKCS8_ENCRYPTED, TRADITIONAL_ENCRYPTED };

static void put_form(const EVP_PKEY *key, enum form form)
{
    static unsigned char passphrase[] = "secret";
    const EVP_CIPHER *cipher = form >= PKCS8_ENCRYPTED ? EVP_aes_128_cbc() : NULL;
    int length = cipher != NULL ? 6 : 0;
    BIO *text = BIO_new(BIO_s_mem());
    char *data = NULL;
    if (form == PARAMETERS_FIRST) /* as `openssl ecparam -genkey` writes it */
        BIO_puts(text, "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
                       "-----END EC PARAMETERS-----\n");
    if (form == PKCS8 || form == PKCS8_ENCRYPTED)
        CHECK(PEM_write_bio_PKCS8PrivateKey(
                  text, key, cipher, (char *)passphrase, length, NULL, NULL) == 1);
    else
        CHECK(PEM_write_bio_PrivateKey_traditional(
                  text, key, cipher, passphrase, length, NULL, NULL) == 1);
    long size = BIO_get_mem_data(text, &data);
    put_file(NAME ".key.pem", (struct dmsg_span){(const uint8_t *)data, (size_t)size}, 0600);
    BIO_free(text);
}

static void reads_every_form_of_key(void)
{
    static const struct {
        const char *kind;
        enum form form;
        const char *text; /* in the error, NULL: it loads */
    } rows[] = {
        {"EC:prime256v1", PKCS8, NULL},
        {"EC:prime256v1", TRADITIONAL, NULL},
        {"EC:prime256v1", PARAMETERS_FIRST, NULL},
        {"EC:prime256v1", PKCS8_ENCRYPTED, "encrypted"},
        {"EC:prime256v1", TRADITIONAL_ENCRYPTED, "encrypted"},
        {"RSA:2048", PKCS8, NULL},
        {"RSA:2048", TRADITIONAL, NULL}, /* the proof of concept's */
        {"RSA:2048", PKCS8_ENCRYPTED, "encrypted"},
        {"RSA:2048", TRADITIONAL_ENCRYPTED, "encrypted"},
        {"ED25519", PKCS8, NULL},
        {"ED25519", PKCS8_ENCRYPTED, "encrypted"},
    };
    folder_begin();
    for (size_t i = 0; i < ROWS(rows); i++) {
        EVP_PKEY *key = key_of(rows[i].kind);
        put_form(key, rows[i].form);
        CHECK_ROW(loads_with(rows[i].text == NULL ? 0 : DMSG_E_LOCAL, rows[i].text), "row %zu", i);
        EVP_PKEY_free(key);
    }
    folder_end();
}

static void put_concatenated(const char *file, const struct dmsg_buffer *first,
    const struct dmsg_buffer *second, size_t padding)
{
    struct dmsg_buffer both = {0};
    dmsg_buffer_put_span(&both, dmsg_buffer_span(first));
    dmsg_buffer_put_span(&both, dmsg_buffer_span(second));
    while (padding-- > 0)
        dmsg_buffer_put_byte(&both, '\n');
    put_file(file, dmsg_buffer_span(&both), 0600);
    dmsg_buffer_done(&both);
}

static void one_private_key_in_a_file(void)
{
    EVP_PKEY *key = key_of("EC:prime256v1");
    X509 *certificate = certificate_of(&(struct wanted_certificate){.key = key});
    struct dmsg_buffer pem = {0}, certificate_pem = {0}, none = {0};
    struct dmsg_buffer junk = {0};
    CHECK(dmsg_pem_put_private_key(&pem, key, NULL) == 0);
    CHECK(dmsg_pem_put_certificate(&certificate_pem, certificate, NULL) == 0);
    dmsg_buffer_put_text(&junk, "this is no key\n");
    folder_begin();
    put_concatenated(NAME ".key.pem", &pem, &certificate_pem, 0);
    CHECK(loads_with(0, NULL));
    put_concatenated(NAME ".key.pem", &certificate_pem, &pem, 0);
    CHECK(loads_with(0, NULL));
    put_concatenated(NAME ".key.pem", &junk, &pem, 0);
    CHECK(loads_with(0, NULL)); /* RFC 7468 section 5.2: explanatory text */
    put_concatenated(NAME ".key.pem", &pem, &pem, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "more than one"));
    put_concatenated(NAME ".key.pem", &certificate_pem, &none, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "no private key"));
    put_concatenated(NAME ".key.pem", &junk, &none, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "no private key"));
    put_concatenated(NAME ".key.pem", &none, &none, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "no private key"));
    put_concatenated(NAME ".key.pem", &pem, &none, DMSG_KEY_FILE_MAX - pem.size);
    CHECK(loads_with(0, NULL));
    put_concatenated(NAME ".key.pem", &pem, &none, DMSG_KEY_FILE_MAX - pem.size + 1);
    CHECK(loads_with(DMSG_E_LOCAL, "over 16384"));

    put_key(NAME ".key.pem", key);
    put_concatenated(NAME ".crt.pem", &certificate_pem, &certificate_pem, 0);
    CHECK(loads_with(0, NULL)); /* a leaf and its chain */
    put_concatenated(NAME ".crt.pem", &pem, &none, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "no certificate"));
    put_concatenated(NAME ".crt.pem", &certificate_pem, &none, DMSG_CERTIFICATE_FILE_MAX);
    CHECK(loads_with(DMSG_E_LOCAL, "over 65536"));
    folder_end();
    dmsg_buffer_done(&pem);
    dmsg_buffer_done(&certificate_pem);
    dmsg_buffer_done(&junk);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void partial_files_are_refused(void)
{
    static const char *const files[] = {NAME ".key.pem", NAME ".crt.pem"};
    folder_begin();
    put_pair(NAME, "EC:prime256v1");
    for (size_t i = 0; i < ROWS(files); i++) {
        struct dmsg_buffer whole = get_file(files[i]);
        size_t end = whole.size - 1; /* without the last newline it is complete */
        for (size_t size = 0; size < end; size += 7) {
            put_file(files[i], (struct dmsg_span){whole.data, size}, 0600);
            CHECK_ROW(loads_with(DMSG_E_LOCAL, files[i]), "%s cut to %zu", files[i], size);
        }
        put_file(files[i], (struct dmsg_span){whole.data, end}, 0600);
        CHECK(loads_with(0, NULL));
        put_file(files[i], dmsg_buffer_span(&whole), 0600);
        dmsg_buffer_done(&whole);
    }
    CHECK(loads_with(0, NULL));
    CHECK(ERR_peek_error() == 0);
    folder_end();
}

/* PEM of a DER that is a good key, with `extra` zero octets after it. */
static void put_der(const char *label, unsigned char *der, int size, int extra)
{
    BIO *text = BIO_new(BIO_s_mem());
    unsigned char padded[4096] = {0};
    char *data = NULL;
    memcpy(padded, der, (size_t)size);
    CHECK(PEM_write_bio(text, label, "", padded, size + extra) > 0);
    long written = BIO_get_mem_data(text, &data);
    put_file(NAME ".key.pem", (struct dmsg_span){(const uint8_t *)data, (size_t)written}, 0600);
    BIO_free(text);
}

/* The modulus in PKCS #1 is the public half; one bit of it is another key's. */
static void rsa_halves_belong_together(void)
{
    EVP_PKEY *key = key_of("RSA:2048");
    unsigned char *der = NULL;
    int size = i2d_PrivateKey(key, &der);
    folder_begin();
    REQUIRE(size > 1000);
    put_der("RSA PRIVATE KEY", der, size, 0);
    CHECK(loads_with(0, NULL));
    der[100] ^= 1;
    put_der("RSA PRIVATE KEY", der, size, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "do not belong together"));
    folder_end();
    OPENSSL_clear_free(der, (size_t)size);
    EVP_PKEY_free(key);
}

static void nothing_follows_a_key(void)
{
    EVP_PKEY *key = key_of("EC:prime256v1"), *other = key_of("EC:prime256v1");
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    unsigned char *pkcs8 = NULL, *sec1 = NULL;
    int pkcs8_size = i2d_PKCS8_PRIV_KEY_INFO(info, &pkcs8);
    int sec1_size = i2d_PrivateKey(key, &sec1);
    folder_begin();
    put_der("PRIVATE KEY", pkcs8, pkcs8_size, 0);
    CHECK(loads_with(0, NULL));
    put_der("PRIVATE KEY", pkcs8, pkcs8_size, 1);
    CHECK(loads_with(DMSG_E_LOCAL, "does not decode"));
    put_der("EC PRIVATE KEY", sec1, sec1_size, 0);
    CHECK(loads_with(0, NULL));
    put_der("EC PRIVATE KEY", sec1, sec1_size, 1);
    CHECK(loads_with(DMSG_E_LOCAL, "does not decode"));

    unsigned char *point = NULL; /* another key's point in its place, at the end of SEC1 */
    size_t point_size = EVP_PKEY_get1_encoded_public_key(other, &point);
    REQUIRE(point_size == 65 && sec1_size > 65);
    memcpy(sec1 + sec1_size - 65, point, 65);
    put_der("EC PRIVATE KEY", sec1, sec1_size, 0);
    CHECK(loads_with(DMSG_E_LOCAL, "do not belong together"));
    folder_end();
    OPENSSL_free(point);
    OPENSSL_free(pkcs8);
    OPENSSL_free(sec1);
    PKCS8_PRIV_KEY_INFO_free(info);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
}

TEST_MAIN(TEST(reads_every_form_of_key), TEST(one_private_key_in_a_file),
    TEST(partial_files_are_refused), TEST(rsa_halves_belong_together), TEST(nothing_follows_a_key))
