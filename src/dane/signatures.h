/* What the signatures of a DNS answer say of its time. Reads octets that a stranger's zone made. */
#ifndef DANEMSG_DANE_SIGNATURES_H
#define DANEMSG_DANE_SIGNATURES_H

#include "danemsg/span.h"

/*
 * Of the RRSIG records (RFC 4034 section 3) that vouch for an answer: those of the answer section,
 * over the chain of CNAMEs and the records, and those of the authority section that prove a denial
 * or a wildcard (over NSEC, NSEC3, SOA; RFC 4035 section 3.1.3). That they validate is for a
 * validator to say.
 */
struct dmsg_signatures {
    /* The earliest expiration, in seconds since 1970. Expirations are serial numbers (RFC 4034
       section 3.1.5): each means the time that is less than 68 years from now. 0: there are none,
       or it is no DNS message. */
    int64_t until;
    /* Seconds that caches have had the records, and the proofs of a denial, by what is left of
       their original TTLs (RFC 4034 section 3.1.4). Caches only make it more; who writes TTLs
       of their own on the way can hide it. */
    uint32_t records_age, proofs_age;
    uint32_t left; /* of the shortest of those TTLs */
};

void dmsg_signatures_read(struct dmsg_signatures *out, struct dmsg_span message, int64_t now);

#endif
