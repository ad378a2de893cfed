/*
 * Prepared keys of peers, by kid. Preparing costs more than using, so a sealer and an opener each
 * keep the keys that they met. Bounded: a table with one place per slot, the newer key stays.
 */
#ifndef DANEMSG_MESSAGE_KEYRING_H
#define DANEMSG_MESSAGE_KEYRING_H

#include "danemsg/resolver.h"
#include "jose/jose.h"

/* A receiver has some hundreds of senders at work at a time; a prepared key takes some KiB. */
#define DMSG_KEYRING_SLOTS 256

struct dmsg_keyring {
    struct {
        char kid[DMSG_KEY_ID_SIZE];
        struct dmsg_jose_key *key;
    } slots[DMSG_KEYRING_SLOTS];
};

/* Borrowed until the next call. A keyring serves one use only. */
int dmsg_keyring_get(struct dmsg_keyring *ring, struct dmsg_jose *jose,
    const struct dmsg_peer_key *peer, enum dmsg_jose_use use, struct dmsg_jose_key **out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_keyring_done(struct dmsg_keyring *ring);

#endif
