/* A certificate, and a SubjectPublicKeyInfo, as a stranger's zone may hold them; several in a row,
   as a message may carry them (x5c). What is accepted is the one encoding of what was understood.
 */
#include "target.h"

#include "dane/presented.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"
#include "x509/der.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
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

/* --------------------------------------------------------------- several, beside their own records
 */

/* 2027-01-15T08:00:00Z */
#define NOW 1800000000

static int64_t now(void *user)
{
    (void)user;
    return NOW;
}

static const struct dmsg_context context = {.now = now};

/* Values that lie one behind the other, as far as they do. */
static struct dmsg_presented cut(struct dmsg_span input)
{
    struct dmsg_der cursor = {.rest = input};
    struct dmsg_presented presented = {0};
    while (presented.count < DMSG_PRESENTED_MAX && cursor.rest.size > 0) {
        struct dmsg_span whole;
        dmsg_der_take(&cursor, DMSG_DER_SEQUENCE, &whole, NULL);
        if (cursor.failed)
            break;
        presented.certificates[presented.count++] = whole;
    }
    return presented;
}

/* A secure answer with one record, of the digest or of the whole. */
static const struct dmsg_peer *peer_with(
    struct dmsg_judge *judge, uint8_t usage, uint8_t matching, const X509 *of)
{
    struct dmsg_answer answer = {.status = DMSG_DNS_SECURE, .ttl = 60};
    struct dmsg_buffer rdata = {0};
    const struct dmsg_peer *peer = NULL;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_name_parse(&answer.name, dmsg_span_text("alice.example"), &error) == 0);
    int result = dmsg_tlsa_encode(&rdata, usage, 1, matching, of, NULL, &error);
    FUZZ_ASSERT(result == 0 || result == DMSG_E_SIZE);
    answer.records[0] = dmsg_buffer_span(&rdata);
    answer.count = result == 0;
    FUZZ_ASSERT(dmsg_peer_judge(&peer, &context, judge, &answer, &error) == 0);
    dmsg_buffer_done(&rdata);
    return peer;
}

static bool judge(const struct dmsg_presented *presented, const struct dmsg_peer *peer,
    const struct dmsg_certificate *leaf)
{
    struct dmsg_peer_key key = {0};
    struct dmsg_error error;
    int result = dmsg_presented_judge(&key, peer, presented, leaf->kid, NOW, &error);
    FUZZ_ASSERT(result == 0 || (result == DMSG_E_CERTIFICATE && fuzz_is_printable(error.text)));
    if (result == 0)
        FUZZ_ASSERT(key.purposes == DMSG_FOR_SIGNATURES && EVP_PKEY_eq(key.key, leaf->key) == 1 &&
                    strcmp(key.kid, leaf->kid) == 0);
    dmsg_presented_done(&key);
    dmsg_peer_release(peer);
    return result == 0;
}

/* Of a system that knows no CA, so that no input is by one. Lives as long as the process. */
static struct dmsg_judge *judge_without_cas(void)
{
    static struct dmsg_judge *made;
    if (made == NULL) {
        FUZZ_ASSERT(setenv("SSL_CERT_FILE", "/nonexistent", 1) == 0);
        FUZZ_ASSERT(setenv("SSL_CERT_DIR", "/nonexistent", 1) == 0);
        FUZZ_ASSERT(dmsg_judge_new(&made, NULL, true, NULL) == 0);
    }
    return made;
}

static void check_presented(struct dmsg_span input)
{
    struct dmsg_certificate leaf, last;
    struct dmsg_presented presented = cut(input);
    struct dmsg_judge *ours = judge_without_cas();
    if (presented.count == 0 || dmsg_certificate_parse(&leaf, presented.certificates[0], NULL) < 0)
        return;
    bool signs = (leaf.purposes & DMSG_FOR_SIGNATURES) != 0;
    bool counts = judge(&presented, peer_with(ours, DMSG_DANE_EE, 1, leaf.x509), &leaf);
    FUZZ_ASSERT(counts == signs);
    FUZZ_ASSERT(!judge(&presented, peer_with(ours, DMSG_PKIX_EE, 1, leaf.x509), &leaf));
    FUZZ_ASSERT(!judge(&presented, peer_with(NULL, DMSG_DANE_TA, 1, leaf.x509), &leaf) ||
                presented.count > 1);
    if (dmsg_certificate_parse(&last, presented.certificates[presented.count - 1], NULL) == 0) {
        FUZZ_ASSERT(!judge(&presented, peer_with(ours, DMSG_PKIX_TA, 0, last.x509), &leaf));
        (void)judge(&presented, peer_with(ours, DMSG_DANE_TA, 0, last.x509), &leaf);
        (void)judge(&presented, peer_with(ours, DMSG_DANE_TA, 2, last.x509), &leaf);
        dmsg_certificate_done(&last);
    }
    dmsg_certificate_done(&leaf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    check_certificate(input);
    check_public_key(input);
    check_presented(input);
    return 0;
}
