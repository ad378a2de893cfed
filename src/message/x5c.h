/*
 * The certificates that a message carries (x5c, RFC 7515 section 4.1.6), and a cache of what became
 * of them: who publishes no more than a digest sends the same ones with every message.
 */
#ifndef DANEMSG_MESSAGE_X5C_H
#define DANEMSG_MESSAGE_X5C_H

#include "dane/presented.h"
#include "danemsg/message.h"
#include "jose/jose.h"

/* Judgements that are kept, one in each slot, the newer one stays: several times as many as a
   receiver has senders of digests at work. One takes about 2 KiB. */
#define DMSG_X5C_SLOTS 1024
/* Seconds that a refusal is kept: it may have been for a date. */
#define DMSG_X5C_REFUSAL_LIFE 60

/* Decodes what the header carries into scratch, which *out points into. DMSG_E_FORMAT: not
   canonical base64, or no size that a certificate has. */
int dmsg_x5c_decode(struct dmsg_presented *out, const struct dmsg_jose_header *header,
    struct dmsg_buffer *scratch, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Decodes, and notes in the parts of a v1 message what they are known by. */
int dmsg_x5c_note(struct dmsg_message_parts *parts, const struct dmsg_jose_header *header,
    struct dmsg_buffer *scratch, struct dmsg_error *error) DMSG_MUST_CHECK;

struct dmsg_x5c_judgement {
    uint8_t x5c[DMSG_X5C_DIGEST_SIZE], peer[DMSG_X5C_DIGEST_SIZE];
    struct dmsg_peer_key key;  /* key.not_before <= now < key.not_after: this holds */
    struct dmsg_error refusal; /* its code is 0 when the key counts */
};

struct dmsg_x5c_cache {
    struct dmsg_x5c_judgement *slots[DMSG_X5C_SLOTS];
};

/* What is known of a message's certificates beside a peer; NULL: they have to be judged. */
const struct dmsg_x5c_judgement *dmsg_x5c_find(const struct dmsg_x5c_cache *cache,
    const struct dmsg_message *message, const struct dmsg_peer *peer, int64_t now);

/* Judges them and keeps the judgement. 0 and *out, borrowed until the next call (its refusal says
   whether the key counts), or DMSG_E_INTERNAL. */
int dmsg_x5c_judge(struct dmsg_x5c_cache *cache, const struct dmsg_message *message,
    const struct dmsg_presented *presented, const struct dmsg_peer *peer, int64_t now,
    const struct dmsg_x5c_judgement **out, struct dmsg_error *error) DMSG_MUST_CHECK;

void dmsg_x5c_cache_done(struct dmsg_x5c_cache *cache);

/* ------------------------------------------------------------------------------------- one's own
 */

/* Appends the header's member with the first `count` of a key's certificate and its issuers. */
int dmsg_x5c_put(struct dmsg_buffer *out, const struct dmsg_identity_key *own, size_t count,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* As dmsg_sealer_certificates, of the key that signs. */
int dmsg_x5c_needed(size_t *out, const struct dmsg_identity_key *own, const struct dmsg_peer *peer,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
