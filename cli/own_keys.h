/* Own keys beside what DNS says of them: shared by receive, identity check and identity tlsa. */
#ifndef DANEMSG_CLI_OWN_KEYS_H
#define DANEMSG_CLI_OWN_KEYS_H

#include "common.h"

/* Seconds in a record that `identity tlsa` and the hints propose. */
#define RECORD_TTL 3600
/* RFC 2181 section 8 */
#define RECORD_TTL_MAX 2147483647

/*
 * Does DNS speak for the identity: is each current key among the usable ones of its name? 0, or
 * the code and words of why not (DMSG_E_DNS_*, DMSG_E_NO_IDENTITY, DMSG_E_CERTIFICATE: other keys).
 */
int own_keys_check(const struct dmsg_identity *identity, const struct dmsg_peer *peer,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Do the zone's signatures over the answer end before somebody could mend a signer on a weekend?
   Those of a server that signs as it answers always do. */
bool own_keys_signatures_end_soon(const struct dmsg_peer *peer, int64_t now);

/*
 * Would a message that carries the key's certificate and issuers (x5c) verify by what DNS says? 0
 * and the record's fields ("3 1 1"), or the code and words of why not.
 */
#define RECORD_FIELDS_SIZE 16
int own_key_check_carried(char fields[static RECORD_FIELDS_SIZE],
    const struct dmsg_identity_key *key, const struct dmsg_peer *peer, int64_t now,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* As own_keys_check, for who only sends: a key of which messages carry the certificate will do. */
int own_keys_check_sender(const struct dmsg_identity *identity, const struct dmsg_peer *peer,
    int64_t now, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends a zone line for each current key, the signing key's first: `NAME. 3600 IN TLSA 3 0 0 …`
   and a newline; `3 1 0` for a key without a certificate. */
int own_keys_put_records(struct dmsg_buffer *out, const struct dmsg_identity *identity,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
