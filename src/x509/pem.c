#include "x509/pem.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

/* SECURE makes OpenSSL wipe what it frees on the way, secure heap or not. ONLY_B64: no header
   lines, which only encrypted keys of the old kind have. */
#define READ_FLAGS (PEM_FLAG_SECURE | PEM_FLAG_ONLY_B64)

DMSG_DEFINE_CLEANUP(cleanup_pkcs8, PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free)

/* One block of a PEM text. */
struct block {
    char *label;
    char *header;
    unsigned char *data;
    long size;
};

static void block_done(struct block *block)
{
    OPENSSL_secure_free(block->label);
    OPENSSL_secure_free(block->header);
    OPENSSL_secure_clear_free(block->data, block->size > 0 ? (size_t)block->size : 0);
    *block = (struct block){0};
}

/* 1 and the next block, 0 at the end of the text, DMSG_E_LOCAL for a broken one. */
static int next_block(struct block *block, BIO *text, struct dmsg_error *error)
{
    block_done(block);
    ERR_clear_error();
    if (PEM_read_bio_ex(
            text, &block->label, &block->header, &block->data, &block->size, READ_FLAGS) == 1)
        return 1;
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    *block = (struct block){0};
    return end ? 0
               : dmsg_fail(error, DMSG_E_LOCAL,
                     "broken PEM (RFC 7468): cut off, or not base64 between its lines");
}

static BIO *open_text(struct dmsg_span text)
{
    const void *data = text.size > 0 ? text.data : (const uint8_t *)""; /* NULL is refused */
    return text.size > INT_MAX ? NULL : BIO_new_mem_buf(data, (int)text.size);
}

/* ----------------------------------------------------------------------------- private keys */

/* PKCS #8 (RFC 5208). */
static EVP_PKEY *read_pkcs8(const struct dmsg_context *context, const struct block *block)
{
    const unsigned char *position = block->data;
    DMSG_CLEANUP(cleanup_pkcs8)
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &position, block->size);
    if (info == NULL || position != block->data + block->size)
        return NULL;
    return EVP_PKCS82PKEY_ex(info, context->library, context->properties);
}

/* PKCS #1 (RFC 8017 appendix A.1.2) or SEC1 (RFC 5915). */
static EVP_PKEY *read_traditional(
    const struct dmsg_context *context, const struct block *block, int type)
{
    const unsigned char *position = block->data;
    EVP_PKEY *key = d2i_PrivateKey_ex(
        type, NULL, &position, block->size, context->library, context->properties);
    if (key != NULL && position != block->data + block->size) {
        EVP_PKEY_free(key);
        return NULL;
    }
    return key;
}

/* 1: it is one, and *out the key or NULL for a broken one. 0: something else. */
static int read_key_block(
    EVP_PKEY **out, const struct dmsg_context *context, const struct block *block)
{
    if (strcmp(block->label, PEM_STRING_PKCS8INF) == 0)
        *out = read_pkcs8(context, block);
    else if (strcmp(block->label, PEM_STRING_RSA) == 0)
        *out = read_traditional(context, block, EVP_PKEY_RSA);
    else if (strcmp(block->label, PEM_STRING_ECPRIVATEKEY) == 0)
        *out = read_traditional(context, block, EVP_PKEY_EC);
    else
        return 0;
    return 1;
}

/* A signature and its check. OpenSSL's own check of an RSA pair looks for primes, which takes
   fifty times as long as all else that a command does. */
static bool rsa_pair_agrees(EVP_PKEY *key, const struct dmsg_context *context)
{
    static const uint8_t text[] = "the two halves of a key";
    uint8_t signature[DMSG_RSA_BITS_MAX / 8];
    size_t size = sizeof signature;
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *signer = EVP_PKEY_CTX_new_from_pkey(context->library, key, context->properties);
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *verifier = EVP_PKEY_CTX_new_from_pkey(context->library, key, context->properties);
    return signer != NULL && verifier != NULL && EVP_PKEY_sign_init(signer) == 1 &&
           EVP_PKEY_sign(signer, signature, &size, text, sizeof text) == 1 &&
           EVP_PKEY_verify_init(verifier) == 1 &&
           EVP_PKEY_verify(verifier, signature, size, text, sizeof text) == 1;
}

static bool pair_agrees(EVP_PKEY *key, const struct dmsg_context *context)
{
    if (EVP_PKEY_is_a(key, "RSA"))
        return rsa_pair_agrees(key, context);
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *checker = EVP_PKEY_CTX_new_from_pkey(context->library, key, context->properties);
    return checker != NULL && EVP_PKEY_pairwise_check(checker) == 1;
}

static int check_pair(EVP_PKEY *key, const struct dmsg_context *context, struct dmsg_error *error)
{
    if (dmsg_key_purposes(key, NULL) == 0)
        return 0; /* will be refused for what it is */
    bool good = pair_agrees(key, context);
    ERR_clear_error();
    if (!good)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "the private key and the public key in it do not belong together");
    return 0;
}

static bool says_encrypted(struct dmsg_span text)
{
    static const char word[] = "ENCRYPTED";
    return memmem(text.data, text.size, word, sizeof word - 1) != NULL;
}

static int find_key(
    EVP_PKEY **out, BIO *text, const struct dmsg_context *context, struct dmsg_error *error)
{
    DMSG_CLEANUP(block_done) struct block block = {0};
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *found = NULL;
    int status;
    while ((status = next_block(&block, text, error)) == 1) {
        DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *key = NULL;
        if (read_key_block(&key, context, &block) == 0)
            continue;
        ERR_clear_error();
        if (key == NULL)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "its private key does not decode as PKCS #8, PKCS #1 or SEC1 in DER");
        if (found != NULL)
            return dmsg_fail(error, DMSG_E_LOCAL, "it has more than one private key: keep one");
        found = key;
        key = NULL;
    }
    if (status < 0)
        return status;
    if (found == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL, "it has no private key in PEM (RFC 7468)");
    *out = found;
    found = NULL;
    return 0;
}

int dmsg_pem_read_private_key(EVP_PKEY **out, const struct dmsg_context *context,
    struct dmsg_span text, struct dmsg_error *error)
{
    if (text.size > 0 && says_encrypted(text))
        return dmsg_fail(error, DMSG_E_LOCAL,
            "its private key is encrypted, and nobody is there to type a passphrase: decrypt it "
            "with `openssl pkey -in FILE -out NEWFILE` under umask 077");
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *from = open_text(text);
    if (from == NULL)
        return dmsg_fail_memory(error);
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *key = NULL;
    int status = find_key(&key, from, context, error);
    if (status == 0)
        status = check_pair(key, context, error);
    if (status < 0)
        return status;
    *out = key;
    key = NULL;
    return 0;
}

/* ----------------------------------------------------------------------------- certificates */

int dmsg_pem_read_certificates(
    struct dmsg_span text, dmsg_pem_each *each, void *user, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *from = open_text(text);
    DMSG_CLEANUP(block_done) struct block block = {0};
    bool any = false;
    if (from == NULL)
        return dmsg_fail_memory(error);
    int status;
    while ((status = next_block(&block, from, error)) == 1) {
        if (strcmp(block.label, PEM_STRING_X509) != 0)
            continue;
        any = true;
        status = each(user, (struct dmsg_span){block.data, (size_t)block.size}, error);
        if (status != 0)
            return status;
    }
    if (status == 0 && !any)
        return dmsg_fail(error, DMSG_E_LOCAL, "it has no certificate in PEM (RFC 7468)");
    return status;
}

/* The first is enough. */
static int take_first(void *user, struct dmsg_span der, struct dmsg_error *error)
{
    struct dmsg_buffer *out = user;
    dmsg_buffer_put_span(out, der);
    return out->failed ? dmsg_fail_memory(error) : 1;
}

int dmsg_pem_read_certificate(
    struct dmsg_buffer *der, struct dmsg_span text, struct dmsg_error *error)
{
    int status = dmsg_pem_read_certificates(text, take_first, der, error);
    return status < 0 ? status : 0;
}

/* ---------------------------------------------------------------------------------- writing */

/* Memory BIOs wipe what they free. */
static int take_text(struct dmsg_buffer *out, BIO *text, bool written, struct dmsg_error *error)
{
    char *data = NULL;
    long size = written ? BIO_get_mem_data(text, &data) : 0;
    if (size <= 0)
        return dmsg_fail_openssl(error, "writing PEM");
    dmsg_buffer_put(out, data, (size_t)size);
    return out->failed ? dmsg_fail_memory(error) : 0;
}

int dmsg_pem_put_private_key(struct dmsg_buffer *out, const EVP_PKEY *key, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *text = BIO_new(BIO_s_secmem());
    bool written =
        text != NULL && PEM_write_bio_PKCS8PrivateKey(text, key, NULL, NULL, 0, NULL, NULL) == 1;
    return take_text(out, text, written, error);
}

int dmsg_pem_put_certificate(struct dmsg_buffer *out, X509 *certificate, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *text = BIO_new(BIO_s_mem());
    bool written = text != NULL && PEM_write_bio_X509(text, certificate) == 1;
    return take_text(out, text, written, error);
}

int dmsg_pem_put_request(struct dmsg_buffer *out, X509_REQ *request, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *text = BIO_new(BIO_s_mem());
    bool written = text != NULL && PEM_write_bio_X509_REQ(text, request) == 1;
    return take_text(out, text, written, error);
}
