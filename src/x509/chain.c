#include "x509/chain.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

/* Security level 2 of OpenSSL: 112 bits. RSA-2048 and SHA-224 reach it, SHA-1 does not. */
#define LEVEL 2
#define LEVEL_BITS 112

DMSG_DEFINE_CLEANUP(cleanup_store_ctx, X509_STORE_CTX *, X509_STORE_CTX_free)

/* ------------------------------------------------------------------------------------- stacks */

void dmsg_chain_free(STACK_OF(X509) * *chain)
{
    sk_X509_pop_free(*chain, X509_free);
    *chain = NULL;
}

int dmsg_chain_add(STACK_OF(X509) * *chain, X509 *certificate, struct dmsg_error *error)
{
    if (*chain == NULL)
        *chain = sk_X509_new_null();
    if (*chain == NULL || sk_X509_push(*chain, certificate) <= 0) {
        ERR_clear_error();
        return dmsg_fail_memory(error);
    }
    X509_up_ref(certificate);
    return 0;
}

int dmsg_chain_system(X509_STORE **out, struct dmsg_error *error)
{
    X509_STORE *store = X509_STORE_new();
    if (store == NULL)
        return dmsg_fail_openssl(error, "making a store of CA certificates");
    /* A system without CAs has an empty store, in which no chain ends. */
    (void)X509_STORE_set_default_paths(store);
    ERR_clear_error();
    *out = store;
    return 0;
}

/* ------------------------------------------------------------------------------- its own rules */

/* What is wrong with the key of an issuer. */
static int judge_key(X509 *certificate)
{
    unsigned purposes = 0;
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (key != NULL && dmsg_key_find_purposes(&purposes, key, NULL, NULL) < 0)
        return X509_V_ERR_OUT_OF_MEM;
    return (purposes & DMSG_FOR_SIGNATURES) != 0 ? X509_V_OK : X509_V_ERR_CA_KEY_TOO_SMALL;
}

static int refuse(X509_STORE_CTX *work, int depth, int reason)
{
    X509_STORE_CTX_set_error(work, reason);
    X509_STORE_CTX_set_error_depth(work, depth);
    return 0;
}

/* Called when a chain has been found and its extensions judged, before the signatures: so that a
   key of a size or type that the table does not have costs nothing. */
static int verify_with_good_keys(X509_STORE_CTX *work)
{
    const STACK_OF(X509) *found = X509_STORE_CTX_get0_chain(work);
    const X509_STORE_CTX_verify_fn *verify = X509_STORE_CTX_get_app_data(work);
    for (int i = 1; i < sk_X509_num(found); i++) {
        int reason = judge_key(sk_X509_value(found, i));
        if (reason != X509_V_OK)
            return refuse(work, i, reason);
    }
    return (*verify)(work);
}

/* An anchor of one's choice is a CA by its own words; the system's may be older than those. */
static int judge_anchor(X509_STORE_CTX *work)
{
    const STACK_OF(X509) *found = X509_STORE_CTX_get0_chain(work);
    int last = sk_X509_num(found) - 1;
    if (last > 0 && X509_check_ca(sk_X509_value(found, last)) != 1)
        return refuse(work, last, X509_V_ERR_INVALID_CA);
    return 1;
}

/* ------------------------------------------------------------------------------------ judging */

/* An unspecified error is the certificates' too: more names and constraints on them than OpenSSL
   compares. As a failure of ours it would be tried again and again. */
static int explain(X509_STORE_CTX *work, struct dmsg_error *error)
{
    int reason = X509_STORE_CTX_get_error(work);
    int depth = X509_STORE_CTX_get_error_depth(work);
    if (dmsg_openssl_lacked_memory() || reason == X509_V_ERR_OUT_OF_MEM || reason == X509_V_OK)
        return dmsg_fail(error, DMSG_E_INTERNAL, "judging a certificate chain: %s",
            X509_verify_cert_error_string(reason));
    if (depth == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "the certificate's chain does not hold: %s",
            X509_verify_cert_error_string(reason));
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "the certificate's chain does not hold: issuer %d above it: %s (RFC 5280 section 6)", depth,
        X509_verify_cert_error_string(reason));
}

static bool prepare(
    X509_STORE_CTX *work, const struct dmsg_chain *chain, X509_STORE_CTX_verify_fn *verify)
{
    if (X509_STORE_CTX_init(work, chain->system, chain->leaf, chain->untrusted) != 1)
        return false;
    X509_VERIFY_PARAM *rules = X509_STORE_CTX_get0_param(work);
    X509_VERIFY_PARAM_set_time(rules, (time_t)chain->now);
    X509_VERIFY_PARAM_set_depth(rules, DMSG_CHAIN_BETWEEN_MAX);
    X509_VERIFY_PARAM_set_auth_level(rules, LEVEL);
    if (chain->system == NULL) {
        X509_STORE_CTX_set0_trusted_stack(work, chain->anchors);
        if (X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN) != 1)
            return false;
    }
    *verify = X509_STORE_CTX_get_verify(work);
    X509_STORE_CTX_set_verify(work, verify_with_good_keys);
    return X509_STORE_CTX_set_app_data(work, verify) == 1;
}

int dmsg_chain_judge_name(X509 *leaf, const struct dmsg_name *name, struct dmsg_error *error)
{
    int found = name != NULL ? dmsg_certificate_find_name(leaf, name, error) : 1;
    if (found != 0)
        return found < 0 ? found : 0;
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "the certificate does not bear the name %s (a SAN dNSName, without wildcard)", name->text);
}

int dmsg_chain_judge(
    const struct dmsg_chain *chain, STACK_OF(X509) * *verified, struct dmsg_error *error)
{
    X509_STORE_CTX_verify_fn verify = NULL;
    int result = dmsg_chain_judge_name(chain->leaf, chain->name, error);
    if (result < 0)
        return result;
    DMSG_CLEANUP(cleanup_store_ctx) X509_STORE_CTX *work = X509_STORE_CTX_new();
    if (work == NULL || !prepare(work, chain, &verify))
        return dmsg_fail_openssl(error, "preparing to judge a certificate chain");
    if (X509_verify_cert(work) != 1 || (chain->system == NULL && judge_anchor(work) != 1))
        return explain(work, error);
    ERR_clear_error();
    if (verified == NULL)
        return 0;
    STACK_OF(X509) *found = X509_STORE_CTX_get1_chain(work);
    if (found == NULL)
        return dmsg_fail_openssl(error, "keeping a certificate chain");
    *verified = found;
    return 0;
}

int dmsg_chain_dates(
    int64_t *from, int64_t *to, const STACK_OF(X509) * chain, struct dmsg_error *error)
{
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t before, after;
        int result = dmsg_certificate_dates(&before, &after, sk_X509_value(chain, i), error);
        if (result < 0)
            return result;
        *from = before > *from ? before : *from;
        *to = after < *to ? after : *to;
    }
    return 0;
}

int dmsg_chain_signed_by(X509 *certificate, EVP_PKEY *key, struct dmsg_error *error)
{
    int bits = 0;
    unsigned purposes;
    int status = dmsg_key_find_purposes(&purposes, key, NULL, error);
    if (status < 0)
        return status;
    bool good = (purposes & DMSG_FOR_SIGNATURES) != 0 &&
                X509_get_signature_info(certificate, NULL, NULL, &bits, NULL) == 1 &&
                bits >= LEVEL_BITS;
    int result = good ? X509_verify(certificate, key) : 0;
    /* -1 also for a signature that cannot be one of this key's. */
    bool memory = dmsg_openssl_lacked_memory() && result != 1;
    return memory ? dmsg_fail_memory(error) : result == 1;
}
