/*
 * From the records of an answer to judged keys (doc/PROTOCOL.md, "Which key speaks for a name"):
 * what one record says by itself, when the answer comes.
 */
#ifndef DANEMSG_DANE_JUDGE_H
#define DANEMSG_DANE_JUDGE_H

#include "danemsg/resolver.h"

#include <openssl/x509.h>

/* Counted references, safe between threads: a peer keeps what judged it, since a message may bring
   certificates that are judged later. NULL is allowed. */
struct dmsg_judge *dmsg_judge_retain(struct dmsg_judge *judge);

/* What a judgement is made with. judge may be NULL: then no CA is at hand, and usage 4 is off. */
struct dmsg_judging {
    struct dmsg_judge *judge;
    const struct dmsg_name *name; /* that a certificate must bear */
    enum dmsg_dns_status status;
    int64_t now;
};

/*
 * Judges key->rdata and fills in the rest of a zeroed key. Returns 1 when it is open: a `4 0 0`
 * whose certificate waits for its issuers; else 0, or DMSG_E_INTERNAL.
 */
int dmsg_judge_record(struct dmsg_peer_key *key, const struct dmsg_judging *judging,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * The chain of a leaf to the system's CAs; intermediates are `issuers` (may be NULL) and those of
 * --ca-file. As dmsg_chain_judge; without a judge DMSG_E_CERTIFICATE.
 */
int dmsg_judge_by_system(const struct dmsg_judging *judging, X509 *leaf,
    const STACK_OF(X509) * issuers, STACK_OF(X509) * *verified,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The chain of a certificate of usage 4, whose issuers end in the self-signed CA that counts. */
int dmsg_judge_by_authority(const struct dmsg_judging *judging, X509 *leaf,
    const STACK_OF(X509) * issuers, STACK_OF(X509) * *verified,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Makes a key usable: its certificate's key, for what the certificate allows, between the dates of
   the chain. Says why not when there is no use for it. DMSG_E_INTERNAL. */
int dmsg_judge_accept(struct dmsg_peer_key *key, const STACK_OF(X509) * verified,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Fills in key->why. */
void dmsg_judge_say(struct dmsg_peer_key *key, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
