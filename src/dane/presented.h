/*
 * The certificates that a message brings (x5c, RFC 7515 section 4.1.6), judged by the records of
 * the name that it claims: never a source of trust by themselves.
 */
#ifndef DANEMSG_DANE_PRESENTED_H
#define DANEMSG_DANE_PRESENTED_H

#include "danemsg/resolver.h"

/* The leaf and its issuers. */
#define DMSG_PRESENTED_MAX (1 + DMSG_ISSUERS_MAX)

/* In DER: the leaf first, each next one the issuer of the one before. Borrowed. */
struct dmsg_presented {
    size_t count;
    struct dmsg_span certificates[DMSG_PRESENTED_MAX];
};

/*
 * Finds a record of the peer by which the leaf's key may verify: usages 3 and 1 match the leaf, 2
 * an issuer or the key that signed the last one, 0 an issuer in the chain to the system's CAs; with
 * 0, 1 and 2 the chain must hold and the leaf bear the name. Only in a secure answer. kid is the
 * message's, and must be the leaf key's.
 *
 * On success *out is a key for signatures, with the record's fields, and the dates between which
 * this judgement holds; the caller empties it (dmsg_presented_done). Without its certificate:
 * parsed, one of many names takes fifty times its octets, and judgements are kept.
 * DMSG_E_CERTIFICATE: no record says so; DMSG_E_INTERNAL.
 */
int dmsg_presented_judge(struct dmsg_peer_key *out, const struct dmsg_peer *peer,
    const struct dmsg_presented *presented, const char *kid, int64_t now,
    struct dmsg_error *error) DMSG_MUST_CHECK;

void dmsg_presented_done(struct dmsg_peer_key *key);

#endif
