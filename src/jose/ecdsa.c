/* ECDSA on the NIST curves (RFC 7518 section 3.4): R and S side by side, where OpenSSL wants DER.
 */
#include "jose/internal.h"

#include "base/fail.h"

#include <string.h>

/* SEQUENCE with a length of two octets, twice INTEGER with a length of one and a leading zero. */
#define DER_SIZE_MAX (3 + 2 * (3 + DMSG_FIELD_SIZE_MAX))

#define DER_INTEGER 0x02
#define DER_SEQUENCE 0x30
#define DER_LENGTH_OF_ONE 0x81 /* one octet of length follows */

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int result = dmsg_jose_key_context(key, error);
    if (result < 0)
        return result;
    key->size = 2 * key->algorithm->field_size;
    bool sign = key->use == DMSG_USE_SIGN;
    if ((sign ? EVP_PKEY_sign_init(key->ctx) : EVP_PKEY_verify_init(key->ctx)) != 1 ||
        EVP_PKEY_CTX_set_signature_md(
            key->ctx, dmsg_jose_hash_type(key->jose, key->algorithm->hash)) != 1)
        return dmsg_fail_openssl(error, "cannot prepare an elliptic curve key for signatures");
    return 0;
}

/* One DER INTEGER from size big-endian octets; returns what comes after it. */
static uint8_t *put_integer(uint8_t *to, const uint8_t *value, size_t size)
{
    while (size > 1 && value[0] == 0) {
        value++;
        size--;
    }
    size_t zero = value[0] >> 7; /* else it would be negative */
    *to++ = DER_INTEGER;
    *to++ = (uint8_t)(size + zero);
    *to = 0;
    memcpy(to + zero, value, size);
    return to + zero + size;
}

static size_t encode_der(uint8_t der[static DER_SIZE_MAX], const uint8_t *signature, size_t half)
{
    uint8_t integers[DER_SIZE_MAX], *to = der;
    uint8_t *end = put_integer(put_integer(integers, signature, half), signature + half, half);
    size_t size = (size_t)(end - integers);
    *to++ = DER_SEQUENCE;
    if (size >= 0x80)
        *to++ = DER_LENGTH_OF_ONE;
    *to++ = (uint8_t)size;
    memcpy(to, integers, size);
    return (size_t)(to - der) + size;
}

/* One INTEGER of at most half octets from the front of *der, to half octets. */
static bool take_integer(struct dmsg_span *der, uint8_t *value, size_t half)
{
    if (der->size < 2 || der->data[0] != DER_INTEGER || der->data[1] > der->size - 2)
        return false;
    const uint8_t *octets = der->data + 2;
    size_t size = der->data[1];
    *der = (struct dmsg_span){octets + size, der->size - 2 - size};
    while (size > 0 && octets[0] == 0) {
        octets++;
        size--;
    }
    if (size > half)
        return false;
    memset(value, 0, half - size);
    memcpy(value + half - size, octets, size);
    return true;
}

static bool decode_der(uint8_t *signature, size_t half, struct dmsg_span der)
{
    size_t head = der.size > 2 && der.data[1] == DER_LENGTH_OF_ONE ? 3 : 2;
    if (der.size < head || der.data[0] != DER_SEQUENCE || der.data[head - 1] != der.size - head)
        return false;
    struct dmsg_span rest = {der.data + head, der.size - head};
    return take_integer(&rest, signature, half) && take_integer(&rest, signature + half, half) &&
           rest.size == 0;
}

static int sign(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    uint8_t *signature, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE], der[DER_SIZE_MAX];
    size_t size = sizeof der;
    int digest_size =
        dmsg_jose_hash(key->jose, key->algorithm->hash, pieces, DMSG_SIGNING_PIECES, digest, error);
    if (digest_size < 0)
        return digest_size;
    if (EVP_PKEY_sign(key->ctx, der, &size, digest, (size_t)digest_size) != 1 ||
        !decode_der(signature, key->algorithm->field_size, (struct dmsg_span){der, size}))
        return dmsg_fail_openssl(error, "cannot sign with the elliptic curve key");
    return 0;
}

static int verify(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    const uint8_t *signature, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE], der[DER_SIZE_MAX];
    int digest_size =
        dmsg_jose_hash(key->jose, key->algorithm->hash, pieces, DMSG_SIGNING_PIECES, digest, error);
    if (digest_size < 0)
        return digest_size;
    size_t size = encode_der(der, signature, key->algorithm->field_size);
    if (EVP_PKEY_verify(key->ctx, der, size, digest, (size_t)digest_size) == 1)
        return 0;
    return dmsg_openssl_lacked_memory() ? dmsg_fail_memory(error) : DMSG_E_SIGNATURE;
}

const struct dmsg_family dmsg_family_ecdsa = {.prepare = prepare, .sign = sign, .verify = verify};
