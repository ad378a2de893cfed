/* Of a peer, for the cache. */
#ifndef DANEMSG_DANE_PEER_INTERNAL_H
#define DANEMSG_DANE_PEER_INTERNAL_H

#include "danemsg/resolver.h"

/* Seconds that an answer is believed: its TTL within these bounds. Below a minute a busy sender's
   zone would be asked for every message; above a day a withdrawn key would live too long. */
#define DMSG_PEER_LIFE_MIN 60
#define DMSG_PEER_LIFE_MAX 86400
/* A denial may not keep a new device's first message waiting for long: 60 seconds with the lag that
   is added to every answer's life. */
#define DMSG_DENIAL_LIFE_MAX 58

/* The same peer, with from_cache set; holds a reference on the original. NULL: no memory. */
const struct dmsg_peer *dmsg_judged_cached(const struct dmsg_peer *peer);

/* Octets of memory that it takes, roughly and not too low. */
size_t dmsg_judged_weight(const struct dmsg_peer *peer);

#endif
