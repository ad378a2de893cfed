/* From an answer to judged keys (doc/PROTOCOL.md, "Which key speaks for a name"). */
#include "base/fail.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* What OpenSSL allocates for one certificate and its key, beyond the octets of the record. */
#define CERTIFICATE_WEIGHT 8192

struct object {
    struct dmsg_peer peer; /* first: the caller's pointer is ours */
    atomic_size_t references;
    const struct dmsg_peer *original; /* whose keys these are; NULL: our own */
    uint8_t *rdata;
};

static struct object *object_of(const struct dmsg_peer *peer)
{
    return (struct object *)(uintptr_t)peer; /* only the count is ever changed */
}

/* ----------------------------------------------------------------------------------- one record */

__attribute__((format(printf, 2, 3))) static void say(
    struct dmsg_peer_key *key, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(key->why, sizeof key->why, format, arguments);
    va_end(arguments);
}

static void say_date(struct dmsg_peer_key *key, const char *what, int64_t when)
{
    char text[32] = "a date beyond all calendars";
    time_t seconds = (time_t)when;
    struct tm date;
    if (gmtime_r(&seconds, &date) != NULL)
        (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &date);
    say(key, "warning: the certificate %s %s; with usage 3 it counts all the same (RFC 7671 5.1)",
        what, text);
}

/* No purpose: says whether it is the key or what its certificate allows. */
static void say_useless(struct dmsg_peer_key *key, const EVP_PKEY *public_key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    dmsg_key_describe(description, public_key);
    if (dmsg_key_purposes(public_key, NULL) == 0)
        say(key, "its key is %s, which no algorithm here uses", description);
    else
        say(key, "the KeyUsage of its certificate allows neither to sign nor to be encrypted to");
}

static void judge_certificate(struct dmsg_peer_key *key, struct dmsg_span der, int64_t now)
{
    struct dmsg_error error;
    struct dmsg_certificate certificate;
    if (dmsg_certificate_parse(&certificate, der, &error) < 0) {
        say(key, "skipped: %.180s", error.text);
        return;
    }
    key->certificate = certificate.x509;
    certificate.x509 = NULL;
    key->not_before = certificate.not_before;
    key->not_after = certificate.not_after;
    if (key->usage != DMSG_DANE_EE) {
        say(key, "usage %u (%s) is not supported by this version", key->usage,
            dmsg_tlsa_usage_word(key->usage));
    } else if (certificate.purposes == 0) {
        say_useless(key, certificate.key);
    } else {
        key->purposes = certificate.purposes;
        key->key = certificate.key;
        certificate.key = NULL;
        memcpy(key->kid, certificate.kid, sizeof key->kid);
        if (now > key->not_after)
            say_date(key, "expired on", key->not_after);
        else if (now < key->not_before)
            say_date(key, "is not valid before", key->not_before);
    }
    dmsg_certificate_done(&certificate);
}

static void judge_public_key(struct dmsg_peer_key *key, struct dmsg_span spki)
{
    struct dmsg_error error;
    EVP_PKEY *public_key = NULL;
    if (dmsg_public_key_parse(&public_key, spki, &error) < 0 ||
        dmsg_key_id_of_spki(key->kid, spki, &error) < 0) {
        say(key, "skipped: %.180s", error.text);
        EVP_PKEY_free(public_key);
        return;
    }
    key->purposes = dmsg_key_purposes(public_key, NULL);
    if (key->purposes == 0) {
        say_useless(key, public_key);
        key->kid[0] = '\0';
        EVP_PKEY_free(public_key);
        return;
    }
    key->key = public_key;
}

static void judge_fields(struct dmsg_peer_key *key, const struct dmsg_tlsa *tlsa, int64_t now)
{
    bool full = tlsa->matching_type == DMSG_TLSA_FULL;
    if (tlsa->usage > DMSG_PKIX_CD)
        say(key, "usage %u is %s", tlsa->usage, dmsg_tlsa_usage_word(tlsa->usage));
    else if (tlsa->selector > DMSG_TLSA_SPKI)
        say(key, "selector %u is %s", tlsa->selector, dmsg_tlsa_selector_word(tlsa->selector));
    else if (tlsa->matching_type > DMSG_TLSA_SHA512)
        say(key, "matching type %u is %s", tlsa->matching_type,
            dmsg_tlsa_matching_word(tlsa->matching_type));
    else if (tlsa->selector == DMSG_TLSA_CERT && full)
        judge_certificate(key, tlsa->data, now);
    else if (tlsa->usage != DMSG_DANE_EE)
        say(key, "usage %u (%s) is not supported by this version", tlsa->usage,
            dmsg_tlsa_usage_word(tlsa->usage));
    else if (full)
        judge_public_key(key, tlsa->data);
    else
        say(key, "a digest: needs the certificate in the message");
}

static const char *status_word(enum dmsg_dns_status status)
{
    static const char *const words[] = {"secure", "insecure", "bogus", "not there"};
    return words[status];
}

static void judge_record(struct dmsg_peer_key *key, enum dmsg_dns_status status, int64_t now)
{
    struct dmsg_error error;
    struct dmsg_tlsa tlsa;
    key->not_before = INT64_MIN;
    key->not_after = INT64_MAX;
    key->usage = key->rdata.size > 0 ? key->rdata.data[0] : UINT8_MAX;
    key->selector = key->rdata.size > 1 ? key->rdata.data[1] : UINT8_MAX;
    key->matching_type = key->rdata.size > 2 ? key->rdata.data[2] : UINT8_MAX;
    if (dmsg_tlsa_parse(&tlsa, key->rdata, &error) < 0)
        say(key, "skipped: %.180s", error.text);
    else if (status != DMSG_DNS_SECURE)
        say(key, "not looked at: the answer is %s", status_word(status));
    else
        judge_fields(key, &tlsa, now);
}

/* --------------------------------------------------------------------------------------- a peer */

/* Seconds by which the resolver process may hold an answer longer than we: both count whole
   seconds, each from a moment of its own. Who asks after expires_at gets an answer that was asked
   anew. */
#define RESOLVER_LAG 2

static int64_t life_of(const struct dmsg_answer *answer)
{
    int64_t ttl = answer->ttl;
    if (answer->status == DMSG_DNS_BOGUS || answer->status == DMSG_DNS_NOT_NOW)
        return 0;
    if (answer->status == DMSG_DNS_INSECURE || answer->count == 0)
        return ttl < DMSG_DENIAL_LIFE_MAX ? ttl : DMSG_DENIAL_LIFE_MAX;
    if (ttl < DMSG_PEER_LIFE_MIN)
        return DMSG_PEER_LIFE_MIN;
    return ttl < DMSG_PEER_LIFE_MAX ? ttl : DMSG_PEER_LIFE_MAX;
}

static void explain(struct dmsg_peer *peer, const struct dmsg_answer *answer)
{
    if (answer->why[0] != '\0')
        memcpy(peer->why, answer->why, sizeof peer->why);
    else if (peer->status == DMSG_DNS_BOGUS)
        snprintf(peer->why, sizeof peer->why, "the DNSSEC signatures do not validate");
    else if (peer->status == DMSG_DNS_NOT_NOW)
        snprintf(peer->why, sizeof peer->why, "no answer");
    else if (peer->status == DMSG_DNS_INSECURE)
        snprintf(peer->why, sizeof peer->why, "the zone is not signed, or below no trust anchor");
    else if (peer->nxdomain)
        snprintf(peer->why, sizeof peer->why, "there is no such name");
    else if (peer->count == 0)
        snprintf(peer->why, sizeof peer->why, "the name has no TLSA record");
}

static int copy_records(
    struct object *object, const struct dmsg_answer *answer, struct dmsg_error *error)
{
    struct dmsg_peer *peer = &object->peer;
    size_t total = 0, used = 0;
    for (size_t i = 0; i < answer->count; i++)
        total += answer->records[i].size;
    if (total == 0)
        return 0;
    object->rdata = malloc(total);
    peer->keys = calloc(answer->count, sizeof *peer->keys);
    if (object->rdata == NULL || peer->keys == NULL)
        return dmsg_fail_memory(error);
    peer->count = answer->count;
    for (size_t i = 0; i < answer->count; i++) {
        struct dmsg_span from = answer->records[i];
        peer->keys[i].rdata = (struct dmsg_span){object->rdata + used, from.size};
        if (from.size > 0)
            memcpy(object->rdata + used, from.data, from.size);
        used += from.size;
    }
    return 0;
}

int dmsg_peer_judge(const struct dmsg_peer **out, const struct dmsg_context *context,
    const struct dmsg_answer *answer, struct dmsg_error *error)
{
    struct object *object = calloc(1, sizeof *object);
    if (object == NULL)
        return dmsg_fail_memory(error);
    struct dmsg_peer *peer = &object->peer;
    atomic_init(&object->references, 1);
    if (copy_records(object, answer, error) < 0) {
        dmsg_peer_release(peer);
        return DMSG_E_INTERNAL;
    }
    peer->name = answer->name;
    peer->canonical = answer->canonical;
    peer->status = answer->status;
    peer->exists = answer->status == DMSG_DNS_SECURE && answer->count > 0;
    peer->nxdomain = answer->nxdomain;
    peer->ttl = answer->ttl;
    peer->fetched_at = dmsg_context_now(context);
    peer->expires_at = peer->fetched_at + life_of(answer);
    if (peer->expires_at > peer->fetched_at)
        peer->expires_at += RESOLVER_LAG;
    explain(peer, answer);
    for (size_t i = 0; i < peer->count; i++)
        judge_record(&peer->keys[i], peer->status, peer->fetched_at);
    *out = peer;
    return 0;
}

const struct dmsg_peer *dmsg_judged_cached(const struct dmsg_peer *peer)
{
    struct object *object = calloc(1, sizeof *object);
    if (object == NULL)
        return NULL;
    object->peer = *peer;
    object->peer.from_cache = true;
    object->original = dmsg_peer_retain(peer);
    atomic_init(&object->references, 1);
    return &object->peer;
}

size_t dmsg_judged_weight(const struct dmsg_peer *peer)
{
    size_t weight = 2 * sizeof(struct object);
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        bool parsed = key->certificate != NULL || key->key != NULL;
        weight += sizeof *key + 2 * key->rdata.size + (parsed ? CERTIFICATE_WEIGHT : 0);
    }
    return weight;
}

const struct dmsg_peer *dmsg_peer_retain(const struct dmsg_peer *peer)
{
    (void)atomic_fetch_add_explicit(&object_of(peer)->references, 1, memory_order_relaxed);
    return peer;
}

void dmsg_peer_release(const struct dmsg_peer *peer)
{
    if (peer == NULL)
        return;
    struct object *object = object_of(peer);
    if (atomic_fetch_sub_explicit(&object->references, 1, memory_order_acq_rel) != 1)
        return;
    if (object->original != NULL) {
        dmsg_peer_release(object->original);
    } else {
        for (size_t i = 0; i < peer->count; i++) {
            EVP_PKEY_free(peer->keys[i].key);
            X509_free(peer->keys[i].certificate);
        }
        free(peer->keys);
        free(object->rdata);
    }
    free(object);
}

/* -------------------------------------------------------------------------------- choosing keys */

/* Why there is no key for `purpose` in an answer that is what it is. */
static int fail_none(const struct dmsg_peer *peer, const char *purpose, struct dmsg_error *error)
{
    const char *name = peer->name.text;
    switch (peer->status) {
    case DMSG_DNS_NOT_NOW:
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "looking up the keys of %s: DNS has no answer now (%.200s); try again later", name,
            peer->why);
    case DMSG_DNS_BOGUS:
        return dmsg_fail(error, DMSG_E_DNS_BOGUS,
            "looking up the keys of %s: the answer does not validate (%.200s); the zone is broken "
            "or somebody forges it, nothing in it is believed",
            name, peer->why);
    case DMSG_DNS_INSECURE:
        return dmsg_fail(error, DMSG_E_DNS_INSECURE,
            "looking up the keys of %s: %.200s, so that anybody could have made the answer; the "
            "zone must be signed with DNSSEC",
            name, peer->why);
    case DMSG_DNS_SECURE:
        break;
    }
    if (peer->count == 0)
        return dmsg_fail(error, DMSG_E_NO_IDENTITY,
            "looking up the keys of %s: DNS proves that %.200s; is the name right, and its TLSA "
            "record published?",
            name, peer->why);
    const struct dmsg_peer_key *first = &peer->keys[0];
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "%s has %zu TLSA record%s, but no key %s; the first, %u %u %u: %s", name, peer->count,
        peer->count == 1 ? "" : "s", purpose, first->usage, first->selector, first->matching_type,
        first->purposes != 0 ? "its key is for another purpose" : first->why);
}

static bool better(const struct dmsg_peer_key *a, const struct dmsg_peer_key *b)
{
    if (a->not_before != b->not_before)
        return a->not_before > b->not_before;
    return strcmp(a->kid, b->kid) < 0;
}

const struct dmsg_peer_key *dmsg_peer_recipient_key(
    const struct dmsg_peer *peer, struct dmsg_error *error)
{
    const struct dmsg_peer_key *best = NULL;
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        if ((key->purposes & DMSG_FOR_ENCRYPTION) != 0 && (best == NULL || better(key, best)))
            best = key;
    }
    if (best == NULL)
        (void)!fail_none(peer, "to encrypt to", error);
    return best;
}

static bool has_key(
    const struct dmsg_peer_key *const *keys, int count, const struct dmsg_peer_key *key)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(keys[i]->kid, key->kid) == 0)
            return true;
    }
    return false;
}

int dmsg_peer_sender_keys(const struct dmsg_peer *peer, struct dmsg_span kid,
    const struct dmsg_peer_key *out[static DMSG_PEER_KEYS_MAX], struct dmsg_error *error)
{
    int count = 0;
    bool any = false;
    for (size_t i = 0; i < peer->count && count < DMSG_PEER_KEYS_MAX; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        if ((key->purposes & DMSG_FOR_SIGNATURES) == 0)
            continue;
        any = true;
        bool wanted = kid.size == 0 || dmsg_span_equal_text(kid, key->kid);
        if (wanted && !has_key(out, count, key)) /* one key in two records is one key */
            out[count++] = key;
    }
    if (count > 0)
        return count;
    if (any)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "none of the %zu TLSA record%s of %s has the key that the message names by its kid",
            peer->count, peer->count == 1 ? "" : "s", peer->name.text);
    return fail_none(peer, "that may sign", error);
}
