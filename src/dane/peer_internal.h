/* Of a peer: for the cache, for what is settled before it is given out, and for who judges the
   certificates of a message by it. */
#ifndef DANEMSG_DANE_PEER_INTERNAL_H
#define DANEMSG_DANE_PEER_INTERNAL_H

#include "danemsg/resolver.h"

#include <openssl/x509.h>

/* Seconds that an answer is believed: its TTL within these bounds. Below a minute a busy sender's
   zone would be asked for every message; above a day a withdrawn key would live too long. */
#define DMSG_PEER_LIFE_MIN 60
#define DMSG_PEER_LIFE_MAX 86400
/* A denial may not keep a new device's first message waiting for long: 60 seconds with the lag that
   is added to every answer's life. */
#define DMSG_DENIAL_LIFE_MAX 58

/* Seconds that a peer is believed whose keys of usage 4 were settled: with issuers, and when one of
   them got none, which somebody may mend. As long as the authority's own cache. */
#define DMSG_SETTLED_LIFE_MAX 3600
#define DMSG_UNSETTLED_LIFE_MAX 300

/* The same peer, with from_cache set and these times; holds a reference on the original. NULL: no
   memory. */
const struct dmsg_peer *dmsg_judged_copy(
    const struct dmsg_peer *peer, int64_t fetched_at, int64_t expires_at, bool stale);

/* When the resolver process will have forgotten this answer, at the latest. */
int64_t dmsg_judged_lingers_until(const struct dmsg_peer *peer);

/* When the first certificate ends in a chain that one of its keys counts by; INT64_MAX: none does.
   Beyond, it is not to be used, stale neither. */
int64_t dmsg_judged_ends(const struct dmsg_peer *peer);

/* Octets of memory that it takes, roughly and not too low. */
size_t dmsg_judged_weight(const struct dmsg_peer *peer);

/*
 * Keys of usage 4 whose certificates wait for their issuers (with a judge that has pkix_cd, in a
 * secure or an insecure answer): the index of the first one at or after `from`, peer->count when
 * there is none. Their key->certificate is set.
 */
size_t dmsg_peer_open_key(const struct dmsg_peer *peer, size_t from);

/*
 * Judges an open key, before anybody else has the peer: issuers, from the one that issued its
 * certificate to the self-signed CA of the name's authority, which is the anchor; borrowed. NULL:
 * there are none, and why says it.
 */
void dmsg_peer_settle(
    const struct dmsg_peer *peer, size_t index, const STACK_OF(X509) * issuers, const char *why);

/* A digest of the name, its records and its judge: two peers with the same one judge a message's
   certificates alike at the same time. Of a secure answer with records; else zeros. */
#define DMSG_PEER_ID_SIZE 32
const uint8_t *dmsg_peer_id(const struct dmsg_peer *peer);
/* Borrowed; NULL when it was judged without one. */
struct dmsg_judge *dmsg_peer_judge_of(const struct dmsg_peer *peer);

#endif
