/* Judging the keys of usage 4 of a peer, before anybody else has it: with what the authority brings
   of issuers. */
#ifndef DANEMSG_DANE_SETTLING_H
#define DANEMSG_DANE_SETTLING_H

#include "dane/authority.h"
#include "danemsg/resolver.h"

struct dmsg_settling;

/* The peer has no open key any more. later: NULL, or why there is no key now and may be one later:
   an issuer could not be fetched, and nothing else speaks for the name. Borrowed for the call. */
typedef void dmsg_settling_done(void *user, const struct dmsg_peer *peer, const char *later);

/*
 * Takes a reference of its own on a peer that has open keys; the caller gives nobody else one.
 * Called back once: from dmsg_authority_step, at the deadline (dmsg_now_ms) or soon after; or,
 * where there is nobody to ask, from within this call, and then *out is not set.
 */
void dmsg_settling_start(struct dmsg_settling **out, struct dmsg_authority *authority,
    const struct dmsg_peer *peer, int64_t deadline, dmsg_settling_done *done, void *user);

/* After its callback, or when the authority is freed already. NULL is allowed. */
void dmsg_settling_free(struct dmsg_settling **settling);

#endif
