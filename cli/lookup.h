/* What `danemsg lookup` says of a name, in words and as JSON (doc/LOOKUP.md). */
#ifndef DANEMSG_CLI_LOOKUP_H
#define DANEMSG_CLI_LOOKUP_H

#include "common.h"

struct lookup_view {
    const struct dmsg_peer *peer;
    const struct dmsg_peer_key *chosen; /* the one that a sender encrypts to; NULL without one */
    int64_t now;
    int sandbox; /* enum dmsg_sandbox, of the process that asked; negative: not known */
};

void lookup_text(struct dmsg_buffer *out, const struct lookup_view *view);
void lookup_json(struct dmsg_buffer *out, const struct lookup_view *view);

/* ---------------------------------------------------------------------------- words of both */

/* "this name's own certificate; DNS alone vouches for it": what usage, selector and matching type
   make of the record. */
void lookup_put_meaning(struct dmsg_buffer *out, const struct dmsg_peer_key *key);

/* Can the record serve this purpose, by itself or with what the message brings? And why (not):
   printable, never empty. */
bool lookup_can(const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose);
void lookup_put_reason(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose);

/* The public key that a record shows, usable or not; borrowed, NULL when there is none. */
const EVP_PKEY *lookup_shown_key(const struct dmsg_peer_key *key);

/* How many of the records can do this. */
size_t lookup_count(const struct dmsg_peer *peer, enum dmsg_key_purpose purpose);

#endif
