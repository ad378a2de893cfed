/* Until when the signatures of a DNS answer are valid. Reads octets that a stranger's zone made. */
#ifndef DANEMSG_DANE_SIGNATURES_H
#define DANEMSG_DANE_SIGNATURES_H

#include "danemsg/span.h"

/*
 * The earliest expiration, in seconds since 1970, of the RRSIG records (RFC 4034 section 3) that
 * vouch for this answer: those of the answer section, over the chain of CNAMEs and the records, and
 * those of the authority section that prove a denial or a wildcard (over NSEC, NSEC3, SOA; RFC 4035
 * section 3.1.3). Expirations are serial numbers (RFC 4034 section 3.1.5): each means the time that
 * is less than 68 years from `now`. 0: there are none, or it is no DNS message. That they validate
 * is for a validator to say.
 */
int64_t dmsg_signatures_until(struct dmsg_span message, int64_t now);

#endif
