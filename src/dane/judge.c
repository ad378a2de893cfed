#include "dane/judge.h"

#include "base/cleanup.h"
#include "base/date.h"
#include "base/fail.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"
#include "x509/chain.h"
#include "x509/files.h"

#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dmsg_judge {
    atomic_size_t references;
    bool pkix_cd;
    STACK_OF(X509) * intermediates; /* of --ca-file; NULL: none */
    pthread_mutex_t lock;           /* over the making of system */
    X509_STORE *system;             /* made when it is needed: most names need none */
};

/* ----------------------------------------------------------------------------------- the judge */

int dmsg_judge_new(
    struct dmsg_judge **out, const char *ca_file, bool pkix_cd, struct dmsg_error *error)
{
    STACK_OF(X509) *intermediates = NULL;
    int result = ca_file != NULL ? dmsg_file_read_issuers(&intermediates, ca_file, error) : 0;
    if (result < 0)
        return result;
    struct dmsg_judge *judge = calloc(1, sizeof *judge);
    if (judge == NULL) {
        dmsg_chain_free(&intermediates);
        return dmsg_fail_memory(error);
    }
    atomic_init(&judge->references, 1);
    judge->pkix_cd = pkix_cd;
    judge->intermediates = intermediates;
    pthread_mutex_init(&judge->lock, NULL);
    *out = judge;
    return 0;
}

struct dmsg_judge *dmsg_judge_retain(struct dmsg_judge *judge)
{
    if (judge != NULL)
        (void)atomic_fetch_add_explicit(&judge->references, 1, memory_order_relaxed);
    return judge;
}

void dmsg_judge_free(struct dmsg_judge **judge)
{
    struct dmsg_judge *self = *judge;
    *judge = NULL;
    if (self == NULL || atomic_fetch_sub_explicit(&self->references, 1, memory_order_acq_rel) != 1)
        return;
    dmsg_chain_free(&self->intermediates);
    X509_STORE_free(self->system);
    pthread_mutex_destroy(&self->lock);
    free(self);
}

static int system_of(X509_STORE **out, struct dmsg_judge *judge, struct dmsg_error *error)
{
    int result = 0;
    if (judge == NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "the system's CAs are not at hand here");
    pthread_mutex_lock(&judge->lock);
    if (judge->system == NULL)
        result = dmsg_chain_system(&judge->system, error);
    *out = judge->system;
    pthread_mutex_unlock(&judge->lock);
    return result;
}

/* -------------------------------------------------------------------------------------- chains */

static void cleanup_borrowed(STACK_OF(X509) * *stack)
{
    sk_X509_free(*stack); /* the certificates are others' */
}

int dmsg_judge_by_system(const struct dmsg_judging *judging, X509 *leaf,
    const STACK_OF(X509) * issuers, STACK_OF(X509) * *verified, struct dmsg_error *error)
{
    struct dmsg_chain chain = {.leaf = leaf, .name = judging->name, .now = judging->now};
    int result = system_of(&chain.system, judging->judge, error);
    if (result < 0)
        return result;
    DMSG_CLEANUP(cleanup_borrowed)
    STACK_OF(X509) *untrusted = issuers != NULL ? sk_X509_dup(issuers) : sk_X509_new_null();
    const STACK_OF(X509) *more = judging->judge->intermediates;
    bool made = untrusted != NULL;
    for (int i = 0; made && i < sk_X509_num(more); i++)
        made = sk_X509_push(untrusted, sk_X509_value(more, i)) > 0;
    if (!made)
        return dmsg_fail_memory(error);
    chain.untrusted = untrusted;
    return dmsg_chain_judge(&chain, verified, error);
}

int dmsg_judge_by_authority(const struct dmsg_judging *judging, X509 *leaf,
    const STACK_OF(X509) * issuers, STACK_OF(X509) * *verified, struct dmsg_error *error)
{
    int last = sk_X509_num(issuers) - 1;
    X509 *root = last >= 0 ? sk_X509_value(issuers, last) : NULL;
    if (root == NULL || X509_check_issued(root, root) != X509_V_OK)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the authority's certificates do not end in one that is self-signed");
    DMSG_CLEANUP(cleanup_borrowed) STACK_OF(X509) *untrusted = sk_X509_dup(issuers);
    DMSG_CLEANUP(cleanup_borrowed) STACK_OF(X509) *anchors = sk_X509_new_null();
    if (untrusted == NULL || anchors == NULL || sk_X509_push(anchors, root) <= 0)
        return dmsg_fail_memory(error);
    struct dmsg_chain chain = {.leaf = leaf,
        .untrusted = untrusted,
        .anchors = anchors,
        .name = judging->name,
        .now = judging->now};
    STACK_OF(X509) *found = NULL;
    int result = dmsg_chain_judge(&chain, &found, error);
    if (result == 0 && sk_X509_num(found) < 2) {
        dmsg_chain_free(&found);
        result = dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate is its own authority, which proves nothing");
    }
    if (result == 0)
        *verified = found;
    return result;
}

/* ----------------------------------------------------------------------------------- one record */

void dmsg_judge_say(struct dmsg_peer_key *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(key->why, sizeof key->why, format, arguments);
    va_end(arguments);
}

static void say_date(struct dmsg_peer_key *key, const char *what, int64_t when)
{
    char text[32] = "a date beyond all calendars";
    (void)dmsg_date_text(text, when);
    dmsg_judge_say(key,
        "warning: the certificate %s %s; with usage 3 it counts all the same (RFC 7671 5.1)", what,
        text);
}

/* No purpose: says whether it is the key or what its certificate allows. */
static void say_useless(struct dmsg_peer_key *key, const EVP_PKEY *public_key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    dmsg_key_describe(description, public_key);
    if (dmsg_key_purposes(public_key, NULL) == 0)
        dmsg_judge_say(key, "its key is %s, which no algorithm here uses", description);
    else
        dmsg_judge_say(
            key, "the KeyUsage of its certificate allows neither to sign nor to be encrypted to");
}

/* A record that is not what it should be is set aside, which is no error. */
static int set_aside(
    struct dmsg_peer_key *key, int code, const struct dmsg_error *why, struct dmsg_error *error)
{
    if (code == DMSG_E_INTERNAL)
        return dmsg_fail(error, code, "%s", why->text);
    dmsg_judge_say(key, "skipped: %.180s", why->text);
    return 0;
}

int dmsg_judge_accept(
    struct dmsg_peer_key *key, const STACK_OF(X509) * verified, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *public_key = X509_get_pubkey(key->certificate);
    if (public_key == NULL)
        return dmsg_fail_openssl(error, "the key of a certificate");
    unsigned purposes;
    int result = dmsg_key_find_purposes(&purposes, public_key, key->certificate, error);
    if (result < 0)
        return result;
    if (purposes == 0) {
        say_useless(key, public_key);
        return 0;
    }
    result = dmsg_chain_dates(&key->not_before, &key->not_after, verified, error);
    if (result == 0)
        result = dmsg_key_id(key->kid, public_key, error);
    if (result < 0)
        return result;
    key->why[0] = '\0';
    key->purposes = purposes;
    key->key = public_key;
    public_key = NULL;
    return 0;
}

static void warn_of_dates(struct dmsg_peer_key *key, int64_t now)
{
    if (key->purposes != 0 && now > key->not_after)
        say_date(key, "expired on", key->not_after);
    else if (key->purposes != 0 && now < key->not_before)
        say_date(key, "is not valid before", key->not_before);
}

/* `1 0 0`: as much of its chain as is known here already. */
static int judge_pkix_ee(
    struct dmsg_peer_key *key, const struct dmsg_judging *judging, struct dmsg_error *error)
{
    struct dmsg_error why;
    STACK_OF(X509) *verified = NULL;
    int result = dmsg_judge_by_system(judging, key->certificate, NULL, &verified, &why);
    if (result == DMSG_E_INTERNAL)
        return dmsg_fail(error, result, "%s", why.text);
    if (result < 0) {
        dmsg_judge_say(key, "not by usage 1 (PKIX-EE): %.150s", why.text);
        return 0;
    }
    result = dmsg_judge_accept(key, verified, error);
    dmsg_chain_free(&verified);
    return result;
}

static int judge_pkix_cd(struct dmsg_peer_key *key, const struct dmsg_judging *judging)
{
    if (judging->judge == NULL || !judging->judge->pkix_cd) {
        dmsg_judge_say(key, "usage 4 (PKIX-CD) counts only where it is asked for (--pkix-cd)");
        return 0;
    }
    dmsg_judge_say(key, "its authority has not been asked");
    return 1;
}

static void say_anchor(struct dmsg_peer_key *key)
{
    key->by_x5c = true;
    dmsg_judge_say(key,
        "%s: it verifies messages that carry their certificates (x5c), in a chain %s; nobody can "
        "encrypt to it",
        key->usage == DMSG_DANE_TA ? "an anchor" : "a CA of this name's",
        key->usage == DMSG_DANE_TA ? "that ends at it" : "through it to the system's CAs");
}

static int judge_certificate(struct dmsg_peer_key *key, struct dmsg_span der,
    const struct dmsg_judging *judging, struct dmsg_error *error)
{
    struct dmsg_error why;
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate certificate = {0};
    int result = dmsg_certificate_parse(&certificate, der, &why);
    if (result < 0)
        return set_aside(key, result, &why, error);
    key->certificate = certificate.x509;
    certificate.x509 = NULL;
    key->not_before = certificate.not_before;
    key->not_after = certificate.not_after;
    if (key->usage == DMSG_PKIX_TA || key->usage == DMSG_DANE_TA)
        say_anchor(key);
    else if (certificate.purposes == 0)
        say_useless(key, certificate.key);
    else if (key->usage == DMSG_PKIX_EE)
        return judge_pkix_ee(key, judging, error);
    else if (key->usage == DMSG_PKIX_CD)
        return judge_pkix_cd(key, judging);
    else
        result = dmsg_judge_accept(key, NULL, error);
    warn_of_dates(key, judging->now);
    return result;
}

static int judge_public_key(
    struct dmsg_peer_key *key, struct dmsg_span spki, struct dmsg_error *error)
{
    struct dmsg_error why;
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *public_key = NULL;
    int result = dmsg_public_key_parse(&public_key, spki, &why);
    if (result < 0)
        return set_aside(key, result, &why, error);
    unsigned purposes;
    result = dmsg_key_find_purposes(&purposes, public_key, NULL, error);
    if (result < 0)
        return result;
    if (purposes == 0) {
        say_useless(key, public_key);
        return 0;
    }
    if (key->usage != DMSG_DANE_EE) {
        key->by_x5c = true;
        if (key->usage == DMSG_PKIX_EE)
            dmsg_judge_say(key,
                "a key that a CA must vouch for: it verifies messages that carry its certificate "
                "and chain (x5c); nobody can encrypt to it");
        else
            say_anchor(key);
        return 0;
    }
    result = dmsg_key_id_of_spki(key->kid, spki, &why);
    if (result < 0)
        return set_aside(key, result, &why, error);
    key->purposes = purposes;
    key->key = public_key;
    public_key = NULL;
    return 0;
}

static void judge_digest(struct dmsg_peer_key *key)
{
    key->by_x5c = true;
    if (key->usage == DMSG_PKIX_TA || key->usage == DMSG_DANE_TA)
        say_anchor(key);
    else
        dmsg_judge_say(key,
            "a digest: it verifies messages that carry the certificate%s (x5c); nobody can encrypt "
            "to it",
            key->usage == DMSG_PKIX_EE ? " and its chain" : "");
}

static int judge_fields(struct dmsg_peer_key *key, const struct dmsg_tlsa *tlsa,
    const struct dmsg_judging *judging, struct dmsg_error *error)
{
    bool full = tlsa->matching_type == DMSG_TLSA_FULL;
    if (tlsa->usage > DMSG_PKIX_CD)
        dmsg_judge_say(key, "usage %u is %s", tlsa->usage, dmsg_tlsa_usage_word(tlsa->usage));
    else if (tlsa->selector > DMSG_TLSA_SPKI)
        dmsg_judge_say(
            key, "selector %u is %s", tlsa->selector, dmsg_tlsa_selector_word(tlsa->selector));
    else if (tlsa->matching_type > DMSG_TLSA_SHA512)
        dmsg_judge_say(key, "matching type %u is %s", tlsa->matching_type,
            dmsg_tlsa_matching_word(tlsa->matching_type));
    else if (tlsa->usage == DMSG_PKIX_CD && (tlsa->selector != DMSG_TLSA_CERT || !full))
        dmsg_judge_say(key, "usage 4 (PKIX-CD) has only 4 0 0");
    else if (!full)
        judge_digest(key);
    else if (tlsa->selector == DMSG_TLSA_CERT)
        return judge_certificate(key, tlsa->data, judging, error);
    else
        return judge_public_key(key, tlsa->data, error);
    return 0;
}

static const char *status_word(enum dmsg_dns_status status)
{
    static const char *const words[] = {"secure", "insecure", "bogus", "not there"};
    return words[status];
}

/* An insecure answer may hold usage 4 under --pkix-cd, and nothing else. */
static bool may_count(const struct dmsg_judging *judging, const struct dmsg_tlsa *tlsa)
{
    return judging->status == DMSG_DNS_SECURE ||
           (judging->status == DMSG_DNS_INSECURE && tlsa->usage == DMSG_PKIX_CD &&
               judging->judge != NULL && judging->judge->pkix_cd);
}

int dmsg_judge_record(
    struct dmsg_peer_key *key, const struct dmsg_judging *judging, struct dmsg_error *error)
{
    struct dmsg_error why;
    struct dmsg_tlsa tlsa;
    key->not_before = INT64_MIN;
    key->not_after = INT64_MAX;
    key->usage = key->rdata.size > 0 ? key->rdata.data[0] : UINT8_MAX;
    key->selector = key->rdata.size > 1 ? key->rdata.data[1] : UINT8_MAX;
    key->matching_type = key->rdata.size > 2 ? key->rdata.data[2] : UINT8_MAX;
    if (dmsg_tlsa_parse(&tlsa, key->rdata, &why) < 0)
        dmsg_judge_say(key, "skipped: %.180s", why.text);
    else if (!may_count(judging, &tlsa))
        dmsg_judge_say(key, "not looked at: the answer is %s", status_word(judging->status));
    else
        return judge_fields(key, &tlsa, judging, error);
    return 0;
}
