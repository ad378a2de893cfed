#include "dane/cache.h"

#include "base/fail.h"
#include "base/hash.h"
#include "base/monotonic.h"
#include "dane/frame.h"
#include "dane/peer_internal.h"

#include <stdlib.h>
#include <string.h>

/* Names remembered, and octets that their answers may take: a certificate of RSA-2048 and its
   surroundings have 1 KiB, and a hostile name can carry 64. */
#define ENTRIES_MAX 100000
#define WEIGHT_MAX (128u * 1024 * 1024)
/* Of them judged and parsed. */
#define WARM_MAX 4096
#define WARM_WEIGHT_MAX (32u * 1024 * 1024)

#define BUCKETS_FIRST 1024

/* A stale answer is used for this long before DNS is asked again (RFC 8767 section 5). */
#define STALE_PAUSE_MS 30000

/* What was dropped before its time leaves a trace of when the resolver process will have forgotten
   it. Names that share a trace only wait longer. */
#define TRACES 32768

/* What malloc adds to a block. */
#define BLOCK_OVERHEAD 16

struct entry {
    struct entry *next;            /* in its bucket */
    struct entry *newer, *older;   /* by last use */
    struct entry *hotter, *cooler; /* the same, among those with a peer */
    const struct dmsg_peer *peer; /* holds a reference; from_cache is set. NULL: judge the answer */
    uint64_t hash;
    size_t peer_weight;
    int64_t fetched_at, expires_at;
    int64_t stale_until;   /* expires_at, or how long it may be served stale */
    int64_t lingers_until; /* in the resolver process's cache, at the latest */
    int64_t retry_at;      /* dmsg_now_ms(): until then it is given out stale without asking */
    uint32_t answer_size;  /* 0: the peer was judged from more than an answer */
    bool expired;          /* was found past expires_at: not fresh again, whatever the clock says */
    uint8_t name_size;
    uint8_t octets[]; /* the name, then the answer as in a frame */
};

struct dmsg_cache {
    struct dmsg_cache_config config;
    uint64_t hash_key;
    struct entry **buckets;
    size_t bucket_count;
    struct entry *newest, *oldest;
    struct entry *hottest, *coolest;
    size_t count, weight, warm_count, warm_weight;
    int64_t *traces; /* NULL until one is left */
    bool traceless;  /* there was no memory for them */
};

static int64_t now_of(const struct dmsg_cache *cache)
{
    return dmsg_context_now(cache->config.context);
}

static size_t weight_of(const struct entry *entry)
{
    return sizeof *entry + BLOCK_OVERHEAD + entry->name_size + entry->answer_size;
}

/* --------------------------------------------------------------------------------------- lists */

static void link_newest(struct dmsg_cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry;
    cache->newest = entry;
}

static void unlink_use(struct dmsg_cache *cache, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &cache->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &cache->oldest) = entry->newer;
}

static void link_hottest(struct dmsg_cache *cache, struct entry *entry)
{
    entry->hotter = NULL;
    entry->cooler = cache->hottest;
    *(entry->cooler != NULL ? &entry->cooler->hotter : &cache->coolest) = entry;
    cache->hottest = entry;
}

static void unlink_warm(struct dmsg_cache *cache, struct entry *entry)
{
    *(entry->hotter != NULL ? &entry->hotter->cooler : &cache->hottest) = entry->cooler;
    *(entry->cooler != NULL ? &entry->cooler->hotter : &cache->coolest) = entry->hotter;
}

static struct entry **bucket_of(const struct dmsg_cache *cache, uint64_t hash)
{
    return &cache->buckets[hash % cache->bucket_count];
}

static uint64_t hash_of(const struct dmsg_cache *cache, const struct dmsg_name *name)
{
    return dmsg_hash(cache->hash_key, dmsg_span_text(name->text));
}

static struct entry *find_entry(const struct dmsg_cache *cache, const struct dmsg_name *name)
{
    uint64_t hash = hash_of(cache, name);
    struct entry *entry = *bucket_of(cache, hash);
    while (entry != NULL && (entry->hash != hash || entry->name_size != name->size ||
                                memcmp(entry->octets, name->text, name->size) != 0))
        entry = entry->next;
    return entry;
}

/* As many buckets as entries. Without memory for more the lists grow longer. */
static void grow(struct dmsg_cache *cache)
{
    if (cache->count < cache->bucket_count)
        return;
    struct entry **old = cache->buckets;
    struct entry **buckets = calloc(2 * cache->bucket_count, sizeof(struct entry *));
    if (buckets == NULL)
        return;
    cache->buckets = buckets;
    cache->bucket_count *= 2;
    for (struct entry *entry = cache->newest; entry != NULL; entry = entry->older) {
        struct entry **bucket = bucket_of(cache, entry->hash);
        entry->next = *bucket;
        *bucket = entry;
    }
    free(old);
}

/* -------------------------------------------------------------------------------------- traces */

static void leave_trace(struct dmsg_cache *cache, const struct entry *entry)
{
    if (entry->lingers_until <= now_of(cache))
        return;
    if (cache->traces == NULL)
        cache->traces = calloc(TRACES, sizeof *cache->traces);
    if (cache->traces == NULL) {
        cache->traceless = true;
        return;
    }
    int64_t *trace = &cache->traces[entry->hash % TRACES];
    if (*trace < entry->lingers_until)
        *trace = entry->lingers_until;
}

bool dmsg_cache_lingers(const struct dmsg_cache *cache, const struct dmsg_name *name)
{
    int64_t now = now_of(cache);
    const struct entry *entry = find_entry(cache, name);
    if (entry != NULL && now < entry->lingers_until)
        return true;
    return cache->traceless ||
           (cache->traces != NULL && now < cache->traces[hash_of(cache, name) % TRACES]);
}

/* ------------------------------------------------------------------------------ warm and cold */

static void cool(struct dmsg_cache *cache, struct entry *entry)
{
    if (entry->peer == NULL)
        return;
    unlink_warm(cache, entry);
    cache->warm_count--;
    cache->warm_weight -= entry->peer_weight;
    dmsg_peer_release(entry->peer);
    entry->peer = NULL;
}

static void drop(struct dmsg_cache *cache, struct entry *entry)
{
    struct entry **at = bucket_of(cache, entry->hash);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    leave_trace(cache, entry);
    cool(cache, entry);
    unlink_use(cache, entry);
    cache->count--;
    cache->weight -= weight_of(entry);
    free(entry);
}

static void keep_bounds(struct dmsg_cache *cache)
{
    while (cache->warm_count > WARM_MAX || cache->warm_weight > WARM_WEIGHT_MAX) {
        struct entry *coolest = cache->coolest;
        if (coolest->answer_size == 0)
            drop(cache, coolest);
        else
            cool(cache, coolest);
    }
    while (cache->count > ENTRIES_MAX || cache->weight > WEIGHT_MAX)
        drop(cache, cache->oldest);
}

/* Takes over the reference. */
static void heat(struct dmsg_cache *cache, struct entry *entry, const struct dmsg_peer *peer)
{
    entry->peer = peer;
    entry->peer_weight = dmsg_judged_weight(peer);
    link_hottest(cache, entry);
    cache->warm_count++;
    cache->warm_weight += entry->peer_weight;
}

static struct dmsg_name name_of(const struct entry *entry)
{
    struct dmsg_name name = {.size = entry->name_size};
    memcpy(name.text, entry->octets, entry->name_size);
    return name;
}

/* A reference with this entry's times, judged now; NULL without memory. */
static const struct dmsg_peer *judge(struct dmsg_cache *cache, const struct entry *entry)
{
    struct dmsg_name name = name_of(entry);
    struct dmsg_span body = {entry->octets + entry->name_size, entry->answer_size};
    struct dmsg_answer answer;
    const struct dmsg_peer *judged = NULL, *kept = NULL;
    if (dmsg_answer_parse(&answer, &name, body, NULL) < 0 ||
        cache->config.judge(cache->config.user, &judged, &answer) < 0)
        return NULL;
    kept = dmsg_judged_copy(judged, entry->fetched_at, entry->expires_at, false);
    dmsg_peer_release(judged);
    return kept;
}

/* Makes it the one used last; false when it cannot be judged for want of memory. */
static bool use(struct dmsg_cache *cache, struct entry *entry)
{
    const struct dmsg_peer *peer = entry->peer != NULL ? entry->peer : judge(cache, entry);
    if (peer == NULL)
        return false;
    if (entry->peer == NULL)
        heat(cache, entry, peer);
    unlink_warm(cache, entry);
    link_hottest(cache, entry);
    unlink_use(cache, entry);
    link_newest(cache, entry);
    keep_bounds(cache); /* which leaves the newest and hottest alone */
    return true;
}

/* ------------------------------------------------------------------------------------- putting */

/* The answer in the form of a frame: compact, and read back by the strictest of readers. */
static void encode(struct dmsg_buffer *out, const struct dmsg_answer *answer)
{
    struct dmsg_answer copy = *answer;
    if (dmsg_name_equal(&copy.name, &copy.canonical))
        copy.canonical.text[0] = '\0'; /* means the same */
    dmsg_answer_put(out, &copy);
}

static struct entry *make_entry(const struct dmsg_peer *peer, const struct dmsg_answer *answer)
{
    struct dmsg_buffer octets = {0};
    dmsg_buffer_put(&octets, peer->name.text, peer->name.size);
    if (answer != NULL)
        encode(&octets, answer);
    struct entry *entry = octets.failed ? NULL : malloc(sizeof *entry + octets.size);
    if (entry != NULL) {
        *entry = (struct entry){.fetched_at = peer->fetched_at,
            .expires_at = peer->expires_at,
            .answer_size = (uint32_t)(octets.size - peer->name.size),
            .name_size = peer->name.size};
        memcpy(entry->octets, octets.data, octets.size);
    }
    dmsg_buffer_done(&octets);
    return entry;
}

/* Only what was proven is served stale, and only while its signatures are valid, and the
   certificates that a key counts by. */
static int64_t stale_until_of(const struct dmsg_cache *cache, const struct dmsg_peer *peer)
{
    int64_t until = peer->expires_at + cache->config.serve_stale;
    if (!peer->exists || cache->config.serve_stale <= 0)
        return peer->expires_at;
    int64_t ends = dmsg_judged_ends(peer);
    ends = ends < peer->signed_until ? ends : peer->signed_until;
    return until < ends ? until : ends;
}

/* DNS was heard, and what it said is not kept: a denial without a TTL, or what does not validate.
   What was proven before is not served stale any more; after a denial it does not count at all. */
static void end_older(struct dmsg_cache *cache, const struct dmsg_peer *peer)
{
    struct entry *entry = find_entry(cache, &peer->name);
    if (entry == NULL || peer->status == DMSG_DNS_NOT_NOW)
        return;
    if (peer->status == DMSG_DNS_BOGUS)
        entry->stale_until = entry->expires_at;
    else
        drop(cache, entry);
}

void dmsg_cache_put(
    struct dmsg_cache *cache, const struct dmsg_peer *peer, const struct dmsg_answer *answer)
{
    if (peer->expires_at <= peer->fetched_at) {
        end_older(cache, peer);
        return;
    }
    struct entry *old = find_entry(cache, &peer->name);
    if (old != NULL) {
        old->lingers_until = 0; /* the new one says it */
        drop(cache, old);
    }
    struct entry *entry = make_entry(peer, answer);
    const struct dmsg_peer *kept =
        entry != NULL ? dmsg_judged_copy(peer, peer->fetched_at, peer->expires_at, false) : NULL;
    if (kept == NULL) {
        free(entry);
        return;
    }
    entry->hash = hash_of(cache, &peer->name);
    entry->stale_until = stale_until_of(cache, peer);
    entry->lingers_until = dmsg_judged_lingers_until(peer);
    grow(cache);
    struct entry **bucket = bucket_of(cache, entry->hash);
    entry->next = *bucket;
    *bucket = entry;
    link_newest(cache, entry);
    cache->count++;
    cache->weight += weight_of(entry);
    heat(cache, entry, kept);
    keep_bounds(cache);
}

/* ------------------------------------------------------------------------------------- getting */

/* The entry, if it may be used at all; one that will not be is dropped. */
static struct entry *find_living(struct dmsg_cache *cache, const struct dmsg_name *name)
{
    struct entry *entry = find_entry(cache, name);
    if (entry == NULL)
        return NULL;
    int64_t now = now_of(cache);
    entry->expired |= now >= entry->expires_at;
    /* Fetched in the future: the clock was set back, and the rest of the life is unknown. */
    if (now < entry->fetched_at || (entry->expired && now >= entry->stale_until) ||
        (entry->expired && entry->stale_until <= entry->expires_at)) {
        drop(cache, entry);
        return NULL;
    }
    return entry;
}

static const struct dmsg_peer *give_stale(struct dmsg_cache *cache, struct entry *entry)
{
    if (!use(cache, entry))
        return NULL;
    return dmsg_judged_copy(entry->peer, entry->fetched_at, entry->expires_at, true);
}

const struct dmsg_peer *dmsg_cache_get(struct dmsg_cache *cache, const struct dmsg_name *name)
{
    struct entry *entry = find_living(cache, name);
    if (entry == NULL)
        return NULL;
    if (entry->expired)
        return dmsg_now_ms() < entry->retry_at ? give_stale(cache, entry) : NULL;
    return use(cache, entry) ? dmsg_peer_retain(entry->peer) : NULL;
}

const struct dmsg_peer *dmsg_cache_get_stale(struct dmsg_cache *cache, const struct dmsg_name *name)
{
    struct entry *entry = find_living(cache, name);
    if (entry == NULL || !entry->expired)
        return NULL;
    entry->retry_at = dmsg_now_ms() + STALE_PAUSE_MS;
    return give_stale(cache, entry);
}

/* -------------------------------------------------------------------------------- new and free */

int dmsg_cache_new(
    struct dmsg_cache **out, const struct dmsg_cache_config *config, struct dmsg_error *error)
{
    struct dmsg_cache *cache = calloc(1, sizeof *cache);
    if (cache == NULL)
        return dmsg_fail_memory(error);
    cache->config = *config;
    cache->bucket_count = BUCKETS_FIRST;
    cache->buckets = calloc(BUCKETS_FIRST, sizeof(struct entry *));
    int result = cache->buckets == NULL ? dmsg_fail_memory(error) : 0;
    if (result == 0 &&
        dmsg_context_random(config->context, &cache->hash_key, sizeof cache->hash_key) < 0)
        result = dmsg_fail(error, DMSG_E_INTERNAL, "no randomness for the cache of keys");
    if (result < 0) {
        dmsg_cache_free(&cache);
        return result;
    }
    *out = cache;
    return 0;
}

void dmsg_cache_free(struct dmsg_cache **cache)
{
    struct dmsg_cache *self = *cache;
    if (self == NULL)
        return;
    struct entry *older;
    for (struct entry *entry = self->newest; entry != NULL; entry = older) {
        older = entry->older;
        dmsg_peer_release(entry->peer);
        free(entry);
    }
    free(self->traces);
    free(self->buckets);
    free(self);
    *cache = NULL;
}
