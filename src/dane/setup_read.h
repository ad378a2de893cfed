/* What the resolver process reads out of its setup for itself, beside what libunbound gets. */
#ifndef DANEMSG_DANE_SETUP_READ_H
#define DANEMSG_DANE_SETUP_READ_H

#include "dane/confine.h"
#include "dane/frame.h"

/* The ports that TCP needs: 53, and those of the servers and stubs. */
void dmsg_setup_ports(struct dmsg_confinement *profile, struct dmsg_span setup);

/* Does the process keep a file of anchors up to date? */
bool dmsg_setup_keeps(struct dmsg_span setup);

/* Is this name asked for at a resolver, which may have a cache of its own? */
bool dmsg_setup_forwards(struct dmsg_span setup, bool use_system, const struct dmsg_name *name);

/* Who is asked for this name, in words; with use_system the system's resolvers, where no other
   server was configured. */
void dmsg_setup_via(char out[static sizeof(((struct dmsg_answer *)0)->via)], struct dmsg_span setup,
    bool use_system, const struct dmsg_name *name);

#endif
