/*
 * Judged keys by name: bounded in names and in octets, the longest unused goes first. Strangers
 * choose the names, and cannot choose ones that collide.
 *
 * A parsed certificate takes ten times the octets that it was made of. So only the names that were
 * used last are kept parsed; of the others there is the answer, which is judged once more when it
 * is wanted.
 */
#ifndef DANEMSG_DANE_CACHE_H
#define DANEMSG_DANE_CACHE_H

#include "danemsg/resolver.h"

struct dmsg_cache;

/* Needed only during dmsg_cache_new, apart from context, judge and user. */
struct dmsg_cache_config {
    const struct dmsg_context *context;
    int64_t serve_stale; /* as in dmsg_discovery_config */
    /* As dmsg_peer_judge: 0, or negative for want of memory. */
    int (*judge)(void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer);
    void *user;
};

int dmsg_cache_new(struct dmsg_cache **out, const struct dmsg_cache_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_cache_free(struct dmsg_cache **cache);

/*
 * Keeps a peer until its expires_at, in place of what was there; one that is not to be cached
 * (expires_at is not after fetched_at) only ends what it overtakes. answer: what it was judged
 * from, NULL when more than that was needed; such a peer is only kept while it is among those used
 * last. Want of memory is no error: a cache that cannot keep an answer is still right, only slower.
 */
void dmsg_cache_put(
    struct dmsg_cache *cache, const struct dmsg_peer *peer, const struct dmsg_answer *answer);

/* A reference for the caller, with from_cache set; NULL when there is none that lives still, or
   none that get_stale was asked for just now. */
const struct dmsg_peer *dmsg_cache_get(struct dmsg_cache *cache, const struct dmsg_name *name);

/* DNS gives no answer: what was proven last, with stale set, or NULL. For the next 30 seconds (RFC
   8767 section 5) dmsg_cache_get gives it as well, so that not every message waits for a name
   server that is away. */
const struct dmsg_peer *dmsg_cache_get_stale(
    struct dmsg_cache *cache, const struct dmsg_name *name);

/* May an answer of the past still be in the resolver process's own cache, so that what it says to a
   question asked now is not news? True too often rather than too rarely. */
bool dmsg_cache_lingers(const struct dmsg_cache *cache, const struct dmsg_name *name);

#endif
