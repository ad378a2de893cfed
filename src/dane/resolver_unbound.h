/* libunbound behind a few plain functions: a validating resolver whose answers are told apart as
   RFC 4033 section 5 does. Lives in the resolver process only. */
#ifndef DANEMSG_DANE_RESOLVER_UNBOUND_H
#define DANEMSG_DANE_RESOLVER_UNBOUND_H

#include "dane/frame.h"

struct dmsg_unbound;

/* Called by dmsg_unbound_process; the answer is borrowed for the call. */
typedef void dmsg_unbound_done(void *user, const struct dmsg_answer *answer);

/* setup: items of frame.h, borrowed. Without use_system the items of that kind are left out.
   DMSG_E_FORMAT: no such items. DMSG_E_INTERNAL: libunbound does not take them. */
int dmsg_unbound_new(struct dmsg_unbound **out, struct dmsg_span setup, bool use_system,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Not from within a callback. Questions that are under way are forgotten. */
void dmsg_unbound_free(struct dmsg_unbound **unbound);

/* Readable: call process. */
int dmsg_unbound_fd(const struct dmsg_unbound *unbound);
int dmsg_unbound_process(struct dmsg_unbound *unbound, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Asks for the TLSA records of a name; answered exactly once, however long it takes. */
int dmsg_unbound_ask(struct dmsg_unbound *unbound, const struct dmsg_name *name,
    dmsg_unbound_done *done, void *user, struct dmsg_error *error) DMSG_MUST_CHECK;

/* A question that libunbound's own thread answers without the network. */
int dmsg_unbound_ping(struct dmsg_unbound *unbound, dmsg_unbound_done *done, void *user,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* True when the items name resolvers of the system and an anchor of the root: then probe tells
   whether those resolvers hand DNSSEC through. It asks for the root's keys; the answer is BOGUS
   when the signatures were stripped. */
bool dmsg_unbound_can_probe(const struct dmsg_unbound *unbound);
int dmsg_unbound_probe(struct dmsg_unbound *unbound, dmsg_unbound_done *done, void *user,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
