#include "x509/identity_internal.h"

#include "base/fail.h"
#include "x509/certificate.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

int dmsg_identity_new(struct dmsg_identity **out, const struct dmsg_context *context,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    if (name->size > DMSG_OWN_NAME_MAX)
        return dmsg_fail(error, DMSG_E_NAME, "an own name has at most %d characters, not %d",
            DMSG_OWN_NAME_MAX, name->size);
    struct dmsg_identity *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    made->context = context;
    made->name = *name;
    *out = made;
    return 0;
}

void dmsg_identity_free(struct dmsg_identity **identity)
{
    if (identity == NULL || *identity == NULL)
        return;
    for (size_t i = 0; i < (*identity)->count; i++) {
        EVP_PKEY_free((*identity)->keys[i].key);
        X509_free((*identity)->keys[i].certificate);
        for (size_t j = 0; j < (*identity)->keys[i].issuer_count; j++)
            X509_free((*identity)->keys[i].issuers[j]);
        free((*identity)->keys[i].uri);
    }
    dmsg_tokens_free(&(*identity)->tokens);
    free(*identity);
    *identity = NULL;
}

bool dmsg_identity_pair(const EVP_PKEY *key, const EVP_PKEY *public_key)
{
    char one[DMSG_KEY_ID_SIZE], other[DMSG_KEY_ID_SIZE];
    bool same = EVP_PKEY_eq(key, public_key) == 1;
    ERR_clear_error();
    return same || (dmsg_key_id(one, key, NULL) == 0 && dmsg_key_id(other, public_key, NULL) == 0 &&
                       strcmp(one, other) == 0);
}

int dmsg_identity_add_for(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, unsigned purposes, struct dmsg_error *error)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    struct dmsg_identity_key *added = &identity->keys[identity->count];
    if (identity->count == DMSG_IDENTITY_KEYS_MAX)
        return dmsg_fail(
            error, DMSG_E_USAGE, "an identity has at most %d keys", DMSG_IDENTITY_KEYS_MAX);
    if (certificate != NULL && !dmsg_identity_pair(key, X509_get0_pubkey(certificate)))
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "key and certificate do not belong together");
    purposes &= dmsg_key_purposes(key, certificate);
    if (purposes == 0) {
        dmsg_key_describe(description, key);
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "there is no use for this %s key: RSA has 2048 to 8192 bits, EC one of P-256, P-384, "
            "P-521, X25519 is for encryption, Ed25519 for signatures, and a certificate's "
            "KeyUsage must allow it",
            description);
    }
    int status = dmsg_key_id(added->kid, key, error);
    if (status < 0 || EVP_PKEY_up_ref(key) != 1)
        return status < 0 ? status : dmsg_fail_openssl(error, "keeping a key");
    if (certificate != NULL)
        X509_up_ref(certificate);
    added->role = role;
    added->purposes = purposes;
    added->context = identity->context;
    added->key = key;
    added->certificate = certificate;
    identity->count++;
    return 0;
}

int dmsg_identity_add(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, struct dmsg_error *error)
{
    return dmsg_identity_add_for(identity, role, key, certificate, DMSG_ANY_PURPOSE, error);
}

int dmsg_identity_add_issuer(
    struct dmsg_identity *identity, size_t index, X509 *issuer, struct dmsg_error *error)
{
    struct dmsg_identity_key *key = index < identity->count ? &identity->keys[index] : NULL;
    if (key == NULL || key->certificate == NULL || key->issuer_count == DMSG_ISSUERS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE,
            "no certificate to add an issuer to, or it has %d already", DMSG_ISSUERS_MAX);
    X509 *before = key->issuer_count > 0 ? key->issuers[key->issuer_count - 1] : key->certificate;
    bool issued = X509_check_issued(issuer, before) == X509_V_OK;
    ERR_clear_error();
    if (!issued)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "it did not issue the certificate before it");
    X509_up_ref(issuer);
    key->issuers[key->issuer_count++] = issuer;
    return 0;
}

struct dmsg_tokens *dmsg_identity_tokens(const struct dmsg_identity *identity)
{
    return identity->tokens;
}

const struct dmsg_name *dmsg_identity_name(const struct dmsg_identity *identity)
{
    return &identity->name;
}

size_t dmsg_identity_key_count(const struct dmsg_identity *identity)
{
    return identity->count;
}

const struct dmsg_identity_key *dmsg_identity_key_get(
    const struct dmsg_identity *identity, size_t index)
{
    return index < identity->count ? &identity->keys[index] : NULL;
}

const struct dmsg_identity_key *dmsg_identity_current(
    const struct dmsg_identity *identity, enum dmsg_key_purpose purpose)
{
    const struct dmsg_identity_key *found = NULL;
    for (size_t i = 0; i < identity->count; i++) {
        const struct dmsg_identity_key *key = &identity->keys[i];
        if (key->role != DMSG_KEY_CURRENT || (key->purposes & purpose) == 0)
            continue;
        /* A key made for nothing else goes before one that also does. */
        if (found == NULL || (found->purposes != purpose && key->purposes == purpose))
            found = key;
    }
    return found;
}
