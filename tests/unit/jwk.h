/* JSON Web Keys (RFC 7517) for the tests: the published vectors have their keys so. */
#ifndef DANEMSG_TEST_JWK_H
#define DANEMSG_TEST_JWK_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>

/* The key of an RSA, EC or OKP JWK, private when it has a private part and private_key is true.
   NULL when it is of another kty, or makes no sense. */
EVP_PKEY *jwk_read(const json_t *jwk, bool private_key);

/*
 * What the JWK says about itself, and what is known about its kind: NULL when it may be used for
 * the operation ("sign", "verify", "wrapKey", "unwrapKey", "deriveKey") with the alg, else why not:
 * use, key_ops, alg, or an RSA modulus of the ROCA kind (CVE-2017-15361).
 */
const char *jwk_refusal(const json_t *jwk, const char *operation, const char *alg);

#endif
