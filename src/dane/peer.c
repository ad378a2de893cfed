/* The judged keys of a name (doc/PROTOCOL.md, "Which key speaks for a name"). */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/judge.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "x509/chain.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What OpenSSL allocates for one certificate and its key, beyond the octets of the record: so much
   for what every certificate has, and for each further octet of names and extensions, which may
   hold thousands of names of two octets, each of them three blocks. */
#define CERTIFICATE_WEIGHT 8192
#define EXTENSIONS_USUAL 128
#define EXTENSION_OCTET_WEIGHT 64

struct object {
    struct dmsg_peer peer; /* first: the caller's pointer is ours */
    atomic_size_t references;
    const struct dmsg_peer *original; /* whose keys these are; NULL: our own */
    uint8_t *rdata;
    struct dmsg_judge *judge;
    uint64_t open; /* a bit for each key that waits for its issuers (usage 4) */
    uint8_t id[DMSG_PEER_ID_SIZE];
};
static_assert(DMSG_ANSWER_RECORDS_MAX <= 64, "a bit of open for each record");

DMSG_DEFINE_CLEANUP(cleanup_md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free)

static struct object *object_of(const struct dmsg_peer *peer)
{
    return (struct object *)(uintptr_t)peer; /* only the count is ever changed */
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
    bool denial = answer->count + answer->oversized == 0;
    if (denial && answer->cached_for > 0) /* asked before then, it would be the same one */
        ttl = answer->cached_for;
    if (answer->status == DMSG_DNS_INSECURE || denial)
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
    else if (peer->count == 0 && peer->oversized == 0)
        snprintf(peer->why, sizeof peer->why, "the name has no TLSA record");
    else if (peer->count == 0)
        snprintf(peer->why, sizeof peer->why, "its TLSA records have over %d octets each",
            DMSG_TLSA_RDATA_MAX);
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

static bool hash_number(EVP_MD_CTX *hash, uint64_t number)
{
    return EVP_DigestUpdate(hash, &number, sizeof number) == 1;
}

/* Of all that a judgement of a message's certificates depends on but the time. */
static int make_id(struct object *object, struct dmsg_error *error)
{
    const struct dmsg_peer *peer = &object->peer;
    DMSG_CLEANUP(cleanup_md_ctx) EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
                hash_number(hash, (uintptr_t)object->judge) && hash_number(hash, peer->status) &&
                hash_number(hash, peer->name.size) &&
                EVP_DigestUpdate(hash, peer->name.text, peer->name.size) == 1;
    for (size_t i = 0; good && i < peer->count; i++) {
        struct dmsg_span rdata = peer->keys[i].rdata;
        good = hash_number(hash, rdata.size) && EVP_DigestUpdate(hash, rdata.data, rdata.size) == 1;
    }
    if (!good || EVP_DigestFinal_ex(hash, object->id, NULL) != 1)
        return dmsg_fail_openssl(error, "a digest of a name's records");
    return 0;
}

static struct dmsg_judging judging_of(const struct object *object)
{
    return (struct dmsg_judging){.judge = object->judge,
        .name = &object->peer.name,
        .status = object->peer.status,
        .now = object->peer.fetched_at};
}

int64_t dmsg_judged_ends(const struct dmsg_peer *peer)
{
    int64_t ends = INT64_MAX;
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        bool by_chain = key->usage == DMSG_PKIX_EE || key->usage == DMSG_PKIX_CD;
        if (by_chain && key->purposes != 0 && key->not_after < ends)
            ends = key->not_after;
    }
    return ends;
}

/* A key that counts by a chain counts no longer than its certificates; then DNS is asked again. */
static void end_with_chains(struct dmsg_peer *peer)
{
    int64_t ends = dmsg_judged_ends(peer);
    if (ends < peer->expires_at)
        peer->expires_at = ends;
}

static int judge_records(struct object *object, struct dmsg_error *error)
{
    struct dmsg_judging judging = judging_of(object);
    for (size_t i = 0; i < object->peer.count; i++) {
        int open = dmsg_judge_record(&object->peer.keys[i], &judging, error);
        if (open < 0)
            return open;
        object->open |= (uint64_t)open << i;
    }
    end_with_chains(&object->peer);
    return object->peer.exists ? make_id(object, error) : 0;
}

static void copy_facts(
    struct dmsg_peer *peer, const struct dmsg_answer *answer, const struct dmsg_context *context)
{
    peer->name = answer->name;
    peer->canonical = answer->canonical;
    peer->status = answer->status;
    peer->exists = answer->status == DMSG_DNS_SECURE && answer->count + answer->oversized > 0;
    peer->nxdomain = answer->nxdomain;
    peer->ttl = answer->ttl;
    peer->from_cache = answer->cached_for > 0;
    peer->oversized = answer->oversized;
    peer->signed_until = answer->signed_until;
    memcpy(peer->via, answer->via, sizeof peer->via);
    peer->fetched_at = dmsg_context_now(context);
    peer->expires_at = peer->fetched_at + life_of(answer);
    if (peer->expires_at > peer->fetched_at)
        peer->expires_at += RESOLVER_LAG;
    explain(peer, answer);
}

int dmsg_peer_judge(const struct dmsg_peer **out, const struct dmsg_context *context,
    struct dmsg_judge *judge, const struct dmsg_answer *answer, struct dmsg_error *error)
{
    struct object *object = calloc(1, sizeof *object);
    if (object == NULL)
        return dmsg_fail_memory(error);
    atomic_init(&object->references, 1);
    object->judge = dmsg_judge_retain(judge);
    int result = copy_records(object, answer, error);
    copy_facts(&object->peer, answer, context);
    if (result == 0)
        result = judge_records(object, error);
    if (result < 0) {
        dmsg_peer_release(&object->peer);
        return result;
    }
    *out = &object->peer;
    return 0;
}

/* -------------------------------------------------------------------------- keys that are open */

size_t dmsg_peer_open_key(const struct dmsg_peer *peer, size_t from)
{
    uint64_t open = object_of(peer)->open;
    while (from < peer->count && (open >> from & 1) == 0)
        from++;
    return from;
}

static void end_after(struct dmsg_peer *peer, int64_t life)
{
    if (peer->expires_at > peer->fetched_at + life)
        peer->expires_at = peer->fetched_at + life;
}

void dmsg_peer_settle(
    const struct dmsg_peer *peer, size_t index, const STACK_OF(X509) * issuers, const char *why)
{
    struct object *object = object_of(peer);
    struct dmsg_peer_key *key = &object->peer.keys[index];
    struct dmsg_judging judging = judging_of(object);
    DMSG_CLEANUP(dmsg_chain_free) STACK_OF(X509) *verified = NULL;
    struct dmsg_error error;
    object->open &= ~(UINT64_C(1) << index);
    if (issuers == NULL) {
        dmsg_judge_say(key, "not by usage 4 (PKIX-CD): %.150s", why);
    } else if (dmsg_judge_by_authority(&judging, key->certificate, issuers, &verified, &error) <
                   0 ||
               dmsg_judge_accept(key, verified, &error) < 0) {
        dmsg_judge_say(key, "not by usage 4 (PKIX-CD): %.150s", error.text);
    } else {
        end_with_chains(&object->peer);
    }
    end_after(&object->peer, key->purposes != 0 ? DMSG_SETTLED_LIFE_MAX : DMSG_UNSETTLED_LIFE_MAX);
}

const uint8_t *dmsg_peer_id(const struct dmsg_peer *peer)
{
    const struct object *object = object_of(peer);
    return object->original != NULL ? dmsg_peer_id(object->original) : object->id;
}

struct dmsg_judge *dmsg_peer_judge_of(const struct dmsg_peer *peer)
{
    const struct object *object = object_of(peer);
    return object->original != NULL ? dmsg_peer_judge_of(object->original) : object->judge;
}

/* ---------------------------------------------------------------------------------- references */

const struct dmsg_peer *dmsg_judged_copy(
    const struct dmsg_peer *peer, int64_t fetched_at, int64_t expires_at, bool stale)
{
    struct object *object = calloc(1, sizeof *object);
    if (object == NULL)
        return NULL;
    object->peer = *peer;
    object->peer.from_cache = true;
    object->peer.stale = stale;
    object->peer.fetched_at = fetched_at;
    object->peer.expires_at = expires_at;
    object->original = dmsg_peer_retain(peer);
    atomic_init(&object->references, 1);
    return &object->peer;
}

int64_t dmsg_judged_lingers_until(const struct dmsg_peer *peer)
{
    /* libunbound keeps nothing for longer than a day (cache-max-ttl). */
    int64_t ttl = peer->ttl < DMSG_PEER_LIFE_MAX ? peer->ttl : DMSG_PEER_LIFE_MAX;
    return peer->fetched_at + ttl + RESOLVER_LAG;
}

static size_t name_size(const X509_NAME *name)
{
    size_t size = 0;
    const unsigned char *der;
    return X509_NAME_get0_der(name, &der, &size) == 1 ? size : 0;
}

static size_t certificate_weight(const X509 *certificate)
{
    size_t octets = name_size(X509_get_subject_name(certificate)) +
                    name_size(X509_get_issuer_name(certificate));
    for (int i = 0; i < X509_get_ext_count(certificate); i++)
        octets += (size_t)ASN1_STRING_length(X509_EXTENSION_get_data(X509_get_ext(certificate, i)));
    size_t more = octets > EXTENSIONS_USUAL ? octets - EXTENSIONS_USUAL : 0;
    return CERTIFICATE_WEIGHT + more * EXTENSION_OCTET_WEIGHT;
}

size_t dmsg_judged_weight(const struct dmsg_peer *peer)
{
    size_t weight = 2 * sizeof(struct object);
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        weight += sizeof *key + 2 * key->rdata.size;
        if (key->certificate != NULL)
            weight += certificate_weight(key->certificate);
        else if (key->key != NULL)
            weight += CERTIFICATE_WEIGHT;
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
        dmsg_judge_free(&object->judge);
    }
    free(object);
}
