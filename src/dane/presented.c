#include "dane/presented.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/judge.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"
#include "x509/chain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* Chains and signatures of anchors that one message may cost: a hostile zone has many records that
   fit. */
#define TRIES_MAX 8

struct work {
    const struct dmsg_peer *peer;
    struct dmsg_judging judging;
    size_t count;
    struct dmsg_certificate certificates[DMSG_PRESENTED_MAX]; /* [0] is the leaf */
    STACK_OF(X509) * issuers;                                 /* the others, as references */
    int tries;
    struct dmsg_error why; /* of the last record that fitted and did not hold */

    bool asked_system; /* the chain to the system's CAs has been judged, with this outcome: */
    int by_system;
    struct dmsg_error system_why;
    STACK_OF(X509) * system_chain;
};

static void work_done(struct work *work)
{
    for (size_t i = 0; i < work->count; i++)
        dmsg_certificate_done(&work->certificates[i]);
    dmsg_chain_free(&work->issuers);
    dmsg_chain_free(&work->system_chain);
}

/* ------------------------------------------------------------------------------------- matching */

static int matches(const struct dmsg_tlsa *tlsa, const struct dmsg_certificate *certificate,
    struct dmsg_error *error)
{
    return dmsg_tlsa_match(tlsa, dmsg_buffer_span(&certificate->der), certificate->spki, error);
}

/* ---------------------------------------------------------------------------------- one record */

/* Each judgement below returns 1 when the record speaks for the leaf, 0 when it has nothing to say
   of it, and a negative error when it would, but something does not hold. *chain gets the verified
   chain where there is one. */

static int ask_system(struct work *work, STACK_OF(X509) * *chain, struct dmsg_error *error)
{
    if (!work->asked_system) {
        work->asked_system = true;
        work->by_system = dmsg_judge_by_system(&work->judging, work->certificates[0].x509,
            work->issuers, &work->system_chain, &work->system_why);
    }
    if (work->by_system < 0)
        return dmsg_fail(error, work->by_system, "%s", work->system_why.text);
    *chain = X509_chain_up_ref(work->system_chain);
    return *chain != NULL ? 1 : dmsg_fail_memory(error);
}

static int by_leaf(struct work *work, const struct dmsg_tlsa *tlsa, STACK_OF(X509) * *chain,
    struct dmsg_error *error)
{
    int result = matches(tlsa, &work->certificates[0], error);
    if (result == 1 && tlsa->usage == DMSG_PKIX_EE)
        result = ask_system(work, chain, error);
    return result;
}

static int by_pkix_ta(struct work *work, const struct dmsg_tlsa *tlsa, STACK_OF(X509) * *chain,
    struct dmsg_error *error)
{
    int result = ask_system(work, chain, error);
    if (result < 0)
        return result;
    result = 0;
    for (int i = 1; result == 0 && i < sk_X509_num(*chain); i++)
        result = dmsg_tlsa_match_x509(tlsa, sk_X509_value(*chain, i), NULL, error);
    return result;
}

static int judge_to(
    struct work *work, X509 *anchor, int least, STACK_OF(X509) * *chain, struct dmsg_error *error)
{
    STACK_OF(X509) *anchors = NULL;
    if (++work->tries > TRIES_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "too many of its records fit");
    int result = dmsg_chain_add(&anchors, anchor, error);
    struct dmsg_chain wanted = {.leaf = work->certificates[0].x509,
        .untrusted = work->issuers,
        .anchors = anchors,
        .name = work->judging.name,
        .now = work->judging.now};
    if (result == 0)
        result = dmsg_chain_judge(&wanted, chain, error);
    dmsg_chain_free(&anchors);
    if (result == 0 && sk_X509_num(*chain) < least)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate is its own anchor: usage 2 is for an issuer's (RFC 7671 section 5.2)");
    return result < 0 ? result : 1;
}

/* `2 1 0`: nothing in the message need have that key, if it signed what is last there. */
static int by_bare_key(struct work *work, const struct dmsg_tlsa *tlsa, STACK_OF(X509) * *chain,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *key = NULL;
    struct dmsg_certificate *last = &work->certificates[work->count - 1];
    if (tlsa->selector != DMSG_TLSA_SPKI || tlsa->matching_type != DMSG_TLSA_FULL ||
        dmsg_span_equal(tlsa->data, work->certificates[0].spki))
        return 0;
    int parsed = dmsg_public_key_parse(&key, tlsa->data, error);
    if (parsed < 0)
        return parsed == DMSG_E_INTERNAL ? parsed : 0;
    if (++work->tries > TRIES_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "too many of its records fit");
    int result = dmsg_chain_signed_by(last->x509, key, error);
    return result == 1 ? judge_to(work, last->x509, 1, chain, error) : result;
}

static int by_dane_ta(struct work *work, const struct dmsg_tlsa *tlsa,
    const struct dmsg_peer_key *record, STACK_OF(X509) * *chain, struct dmsg_error *error)
{
    int result = 0;
    for (size_t i = 1; result == 0 && i < work->count; i++) {
        result = matches(tlsa, &work->certificates[i], error);
        if (result == 1)
            return judge_to(work, work->certificates[i].x509, 2, chain, error);
    }
    if (result == 0 && record->certificate != NULL) /* `2 0 0`: the record holds it */
        return judge_to(work, record->certificate, 2, chain, error);
    return result == 0 ? by_bare_key(work, tlsa, chain, error) : result;
}

static int judge_by(struct work *work, const struct dmsg_peer_key *record, STACK_OF(X509) * *chain,
    struct dmsg_error *error)
{
    struct dmsg_tlsa tlsa;
    if (dmsg_tlsa_parse(&tlsa, record->rdata, NULL) < 0 || tlsa.selector > DMSG_TLSA_SPKI ||
        tlsa.matching_type > DMSG_TLSA_SHA512)
        return 0;
    switch (tlsa.usage) {
    case DMSG_DANE_EE:
    case DMSG_PKIX_EE:
        return by_leaf(work, &tlsa, chain, error);
    case DMSG_DANE_TA:
        return by_dane_ta(work, &tlsa, record, chain, error);
    case DMSG_PKIX_TA:
        return by_pkix_ta(work, &tlsa, chain, error);
    default: /* PKIX-CD too: its issuers come from the authority */
        return 0;
    }
}

/* --------------------------------------------------------------------------------- all records */

static int accept(struct dmsg_peer_key *out, struct work *work, const struct dmsg_peer_key *record,
    const STACK_OF(X509) * chain, struct dmsg_error *error)
{
    struct dmsg_certificate *leaf = &work->certificates[0];
    struct dmsg_peer_key made = {.usage = record->usage,
        .selector = record->selector,
        .matching_type = record->matching_type,
        .purposes = DMSG_FOR_SIGNATURES,
        .not_before = INT64_MIN,
        .not_after = INT64_MAX};
    int result = dmsg_chain_dates(&made.not_before, &made.not_after, chain, error);
    if (result < 0)
        return result;
    memcpy(made.kid, leaf->kid, sizeof made.kid);
    made.key = leaf->key;
    leaf->key = NULL;
    *out = made;
    return 1;
}

/* Tries the records of one usage: 1, 0, or DMSG_E_INTERNAL. */
static int try_usage(
    struct dmsg_peer_key *out, struct work *work, uint8_t usage, struct dmsg_error *error)
{
    for (size_t i = 0; i < work->peer->count; i++) {
        const struct dmsg_peer_key *record = &work->peer->keys[i];
        DMSG_CLEANUP(dmsg_chain_free) STACK_OF(X509) *chain = NULL;
        struct dmsg_error why;
        if (record->usage != usage)
            continue;
        int result = judge_by(work, record, &chain, &why);
        if (result == 1)
            return accept(out, work, record, chain, error);
        if (result == DMSG_E_INTERNAL)
            return dmsg_fail(error, result, "%s", why.text);
        if (result < 0)
            work->why = why;
    }
    return 0;
}

static int take_leaf(struct work *work, const struct dmsg_presented *presented, const char *kid,
    struct dmsg_error *error)
{
    struct dmsg_certificate *leaf = &work->certificates[0];
    int result = dmsg_certificate_parse(leaf, presented->certificates[0], error);
    if (result < 0)
        return dmsg_fail_in(error, result == DMSG_E_INTERNAL ? result : DMSG_E_CERTIFICATE,
            "the certificate that the message carries (x5c)");
    work->count = 1;
    if (strcmp(leaf->kid, kid) != 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate that the message carries (x5c) is of another key than its kid names");
    if ((leaf->purposes & DMSG_FOR_SIGNATURES) == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate that the message carries (x5c) does not allow its key to sign");
    return 0;
}

/* In the order of RFC 7515 section 4.1.6. */
static int take_issuers(
    struct work *work, const struct dmsg_presented *presented, struct dmsg_error *error)
{
    for (size_t i = 1; i < presented->count; i++) {
        struct dmsg_certificate *next = &work->certificates[i];
        int result = dmsg_certificate_parse(next, presented->certificates[i], error);
        if (result < 0)
            return dmsg_fail_in(error, result == DMSG_E_INTERNAL ? result : DMSG_E_CERTIFICATE,
                "issuer %zu that the message carries (x5c)", i);
        work->count = i + 1;
        bool issued = X509_check_issued(next->x509, next[-1].x509) == X509_V_OK;
        ERR_clear_error();
        if (!issued)
            return dmsg_fail(error, DMSG_E_CERTIFICATE,
                "issuer %zu that the message carries (x5c) did not issue the certificate before it "
                "(RFC 7515 section 4.1.6)",
                i);
        result = dmsg_chain_add(&work->issuers, next->x509, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int explain(const struct work *work, struct dmsg_error *error)
{
    const char *name = work->peer->name.text;
    if (work->why.code != 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate that the message carries (x5c) does not count for %s: %.300s", name,
            work->why.text);
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "none of the %zu TLSA record%s of %s fits the certificate that the message carries (x5c)",
        work->peer->count, work->peer->count == 1 ? "" : "s", name);
}

int dmsg_presented_judge(struct dmsg_peer_key *out, const struct dmsg_peer *peer,
    const struct dmsg_presented *presented, const char *kid, int64_t now, struct dmsg_error *error)
{
    static const uint8_t others[] = {DMSG_PKIX_EE, DMSG_DANE_TA, DMSG_PKIX_TA};
    DMSG_CLEANUP(work_done)
    struct work work = {.peer = peer,
        .judging = {.judge = dmsg_peer_judge_of(peer),
            .name = &peer->name,
            .status = peer->status,
            .now = now}};
    if (peer->status != DMSG_DNS_SECURE)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "a certificate in a message counts only beside a secure answer of DNS");
    int result = take_leaf(&work, presented, kid, error);
    if (result == 0)
        result = try_usage(out, &work, DMSG_DANE_EE, error);
    if (result == 0) /* usage 3 looks at the leaf alone */
        result = take_issuers(&work, presented, error);
    for (size_t i = 0; result == 0 && i < sizeof others; i++)
        result = try_usage(out, &work, others[i], error);
    if (result == 0)
        return explain(&work, error);
    return result < 0 ? result : 0;
}

void dmsg_presented_done(struct dmsg_peer_key *key)
{
    EVP_PKEY_free(key->key);
    *key = (struct dmsg_peer_key){0};
}
