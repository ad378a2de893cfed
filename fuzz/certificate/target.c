/* A certificate, and a SubjectPublicKeyInfo, as a stranger's zone may hold them. What is accepted
   is the one encoding of what was understood. */
#include "target.h"

#include "x509/certificate.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

unsigned long fuzz_accepted;

static void check_line(void put(struct dmsg_buffer *, const X509 *), const X509 *certificate)
{
    struct dmsg_buffer line = {0};
    put(&line, certificate);
    FUZZ_ASSERT(!line.failed);
    dmsg_buffer_put_byte(&line, '\0');
    FUZZ_ASSERT(strlen((const char *)line.data) + 1 == line.size);
    FUZZ_ASSERT(fuzz_is_printable((const char *)line.data));
    dmsg_buffer_done(&line);
}

static bool is_inside(struct dmsg_span part, struct dmsg_span whole)
{
    return part.data >= whole.data && part.size <= whole.size &&
           (size_t)(part.data - whole.data) <= whole.size - part.size;
}

/* The certificate's key is the one that its SubjectPublicKeyInfo holds when it stands alone. */
static void check_key(const struct dmsg_certificate *certificate)
{
    EVP_PKEY *key = NULL;
    char kid[DMSG_KEY_ID_SIZE];
    struct dmsg_error error;
    FUZZ_ASSERT(is_inside(certificate->spki, dmsg_buffer_span(&certificate->der)));
    FUZZ_ASSERT(dmsg_public_key_parse(&key, certificate->spki, &error) == 0);
    FUZZ_ASSERT(EVP_PKEY_eq(key, certificate->key) == 1);
    FUZZ_ASSERT(EVP_PKEY_eq(key, X509_get0_pubkey(certificate->x509)) == 1);
    FUZZ_ASSERT(dmsg_key_id(kid, key, &error) == 0 && strcmp(kid, certificate->kid) == 0);
    FUZZ_ASSERT((certificate->purposes & ~dmsg_key_purposes(key, NULL)) == 0);
    EVP_PKEY_free(key);
}

static void check_certificate(struct dmsg_span input)
{
    struct dmsg_certificate certificate;
    struct dmsg_name name;
    struct dmsg_error error;
    int result = dmsg_certificate_parse(&certificate, input, &error);
    if (result < 0) {
        FUZZ_ASSERT(result == DMSG_E_SIZE || result == DMSG_E_CERTIFICATE);
        FUZZ_ASSERT(fuzz_is_printable(error.text));
        return;
    }
    fuzz_accepted++;
    FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&certificate.der), input));
    check_key(&certificate);
    check_line(dmsg_certificate_put_subject, certificate.x509);
    check_line(dmsg_certificate_put_issuer, certificate.x509);
    check_line(dmsg_certificate_put_names, certificate.x509);
    FUZZ_ASSERT(dmsg_name_parse(&name, dmsg_span_text("alice.example"), &error) == 0);
    (void)dmsg_certificate_bears_name(certificate.x509, &name);
    dmsg_certificate_done(&certificate);
    FUZZ_ASSERT(certificate.x509 == NULL && certificate.key == NULL);
}

static void check_public_key(struct dmsg_span input)
{
    EVP_PKEY *key = NULL;
    unsigned char *again = NULL;
    char kid[DMSG_KEY_ID_SIZE], same[DMSG_KEY_ID_SIZE], description[DMSG_KEY_DESCRIPTION_SIZE];
    struct dmsg_error error;
    int result = dmsg_public_key_parse(&key, input, &error);
    if (result < 0) {
        FUZZ_ASSERT(result == DMSG_E_SIZE || result == DMSG_E_CERTIFICATE);
        FUZZ_ASSERT(fuzz_is_printable(error.text));
        return;
    }
    fuzz_accepted++;
    int size = i2d_PUBKEY(key, &again);
    FUZZ_ASSERT(size > 0 && dmsg_span_equal((struct dmsg_span){again, (size_t)size}, input));
    FUZZ_ASSERT(dmsg_key_id(kid, key, &error) == 0);
    FUZZ_ASSERT(dmsg_key_id_of_spki(same, input, &error) == 0 && strcmp(kid, same) == 0);
    dmsg_key_describe(description, key);
    FUZZ_ASSERT(fuzz_is_printable(description) && strcmp(description, "unknown") != 0);
    OPENSSL_free(again);
    EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    check_certificate(input);
    check_public_key(input);
    return 0;
}
