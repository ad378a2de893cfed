#include "jwk.h"

#include "base/base64url.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <string.h>

#define OCTETS_MAX 2048

/* A member decoded; its size, or -1. */
static long octets(const json_t *jwk, const char *name, uint8_t out[static OCTETS_MAX])
{
    const char *value = json_string_value(json_object_get(jwk, name));
    if (value == NULL || dmsg_base64url_decoded_size(strlen(value)) > OCTETS_MAX)
        return -1;
    return dmsg_base64url_decode(out, dmsg_span_text(value));
}

static EVP_PKEY *from_data(const char *type, bool private_key, OSSL_PARAM_BLD *builder)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    int selection = private_key ? EVP_PKEY_KEYPAIR : EVP_PKEY_PUBLIC_KEY;
    if (parameters == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &key, selection, parameters) != 1)
        key = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(parameters);
    return key;
}

struct number {
    const char *member, *parameter;
};

/* Public ones first. */
static const struct number rsa_numbers[] = {{"n", OSSL_PKEY_PARAM_RSA_N},
    {"e", OSSL_PKEY_PARAM_RSA_E}, {"d", OSSL_PKEY_PARAM_RSA_D}, {"p", OSSL_PKEY_PARAM_RSA_FACTOR1},
    {"q", OSSL_PKEY_PARAM_RSA_FACTOR2}, {"dp", OSSL_PKEY_PARAM_RSA_EXPONENT1},
    {"dq", OSSL_PKEY_PARAM_RSA_EXPONENT2}, {"qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1}};
#define RSA_PUBLIC_NUMBERS 2
#define RSA_NUMBERS (sizeof rsa_numbers / sizeof rsa_numbers[0])

static EVP_PKEY *read_rsa(const json_t *jwk, bool private_key)
{
    BIGNUM *numbers[RSA_NUMBERS] = {NULL};
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    uint8_t value[OCTETS_MAX];
    EVP_PKEY *key = NULL;
    bool good = true;
    for (size_t i = 0; i < (private_key ? RSA_NUMBERS : RSA_PUBLIC_NUMBERS) && good; i++) {
        long size = octets(jwk, rsa_numbers[i].member, value);
        numbers[i] = size > 0 ? BN_bin2bn(value, (int)size, NULL) : NULL;
        good = numbers[i] != NULL &&
               OSSL_PARAM_BLD_push_BN(builder, rsa_numbers[i].parameter, numbers[i]) == 1;
    }
    if (good)
        key = from_data("RSA", private_key, builder);
    for (size_t i = 0; i < RSA_NUMBERS; i++)
        BN_free(numbers[i]);
    OSSL_PARAM_BLD_free(builder);
    return key;
}

static long field_size(const char *crv)
{
    return strcmp(crv, "P-256") == 0   ? 32
           : strcmp(crv, "P-384") == 0 ? 48
           : strcmp(crv, "P-521") == 0 ? 66
                                       : -2;
}

/* Coordinates have exactly the field's size (RFC 7518 section 6.2.1.2); OpenSSL refuses a point
   that is not on the curve. */
static EVP_PKEY *read_ec(const json_t *jwk, const char *crv, bool private_key)
{
    uint8_t point[1 + 2 * OCTETS_MAX] = {4}, d[OCTETS_MAX], y[OCTETS_MAX];
    long size = field_size(crv), d_size = octets(jwk, "d", d);
    if (octets(jwk, "x", point + 1) != size || octets(jwk, "y", y) != size ||
        (private_key && d_size != size))
        return NULL;
    memcpy(point + 1 + size, y, (size_t)size);
    BIGNUM *scalar = private_key ? BN_bin2bn(d, (int)d_size, NULL) : NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY *key = NULL;
    if (OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, crv, 0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(
            builder, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * (size_t)size) == 1 &&
        (scalar == NULL || OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, scalar) == 1))
        key = from_data("EC", private_key, builder);
    OSSL_PARAM_BLD_free(builder);
    BN_clear_free(scalar);
    return key;
}

static EVP_PKEY *read_okp(const json_t *jwk, const char *crv, bool private_key)
{
    uint8_t value[OCTETS_MAX];
    long size = octets(jwk, private_key ? "d" : "x", value);
    if (size != 32 || (strcmp(crv, "Ed25519") != 0 && strcmp(crv, "X25519") != 0))
        return NULL;
    return private_key ? EVP_PKEY_new_raw_private_key_ex(NULL, crv, NULL, value, (size_t)size)
                       : EVP_PKEY_new_raw_public_key_ex(NULL, crv, NULL, value, (size_t)size);
}

EVP_PKEY *jwk_read(const json_t *jwk, bool private_key)
{
    const char *kty = json_string_value(json_object_get(jwk, "kty"));
    const char *crv = json_string_value(json_object_get(jwk, "crv"));
    bool has_private = private_key && json_object_get(jwk, "d") != NULL;
    if (kty == NULL)
        return NULL;
    if (strcmp(kty, "RSA") == 0)
        return read_rsa(jwk, has_private);
    if (crv == NULL)
        return NULL;
    if (strcmp(kty, "EC") == 0)
        return read_ec(jwk, crv, has_private);
    return strcmp(kty, "OKP") == 0 ? read_okp(jwk, crv, has_private) : NULL;
}

/* ---------------------------------------------------------------------------------- judgement */

static bool is_in_subgroup(BN_ULONG residue, BN_ULONG prime)
{
    BN_ULONG power = 1;
    do {
        if (power == residue)
            return true;
        power = power * 65537 % prime;
    } while (power != 1);
    return false;
}

/* The keys of that flaw are, modulo each small prime, a power of 65537; others almost never for
   all of them. */
static bool is_roca(const json_t *jwk)
{
    static const BN_ULONG primes[] = {3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59,
        61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157,
        163, 167};
    uint8_t value[OCTETS_MAX];
    long size = octets(jwk, "n", value);
    BIGNUM *n = size > 0 ? BN_bin2bn(value, (int)size, NULL) : NULL;
    bool all = n != NULL;
    for (size_t i = 0; i < sizeof primes / sizeof primes[0] && all; i++)
        all = is_in_subgroup(BN_mod_word(n, primes[i]), primes[i]);
    BN_free(n);
    return all;
}

static bool has_string(const json_t *array, const char *wanted)
{
    size_t index;
    json_t *value;
    json_array_foreach(array, index, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), wanted) == 0)
            return true;
    }
    return false;
}

/* Some vectors say ES521 where the algorithm is called ES512. */
static const char *canonical(const char *alg)
{
    return strcmp(alg, "ES521") == 0 ? "ES512" : alg;
}

const char *jwk_refusal(const json_t *jwk, const char *operation, const char *alg)
{
    const char *use = json_string_value(json_object_get(jwk, "use"));
    const char *own_alg = json_string_value(json_object_get(jwk, "alg"));
    const json_t *operations = json_object_get(jwk, "key_ops");
    bool signature = strcmp(operation, "sign") == 0 || strcmp(operation, "verify") == 0;
    if (use != NULL && strcmp(use, signature ? "sig" : "enc") != 0)
        return "use";
    if (operations != NULL && !has_string(operations, operation))
        return "key_ops";
    if (own_alg != NULL && strcmp(canonical(own_alg), alg) != 0)
        return "alg";
    return is_roca(jwk) ? "the modulus is of the ROCA kind" : NULL;
}
