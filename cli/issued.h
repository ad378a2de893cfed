/*
 * The longest life of what an own key signed, kept in STATE/NAME.db for the day when the key is
 * rolled over: its record must stay in DNS until then.
 *
 *     struct issued issued = {.program = self->program, .context = &context};
 *     issued_note(&issued, me, lifetime);      before the message leaves
 *     issued_done(&issued);
 */
#ifndef DANEMSG_CLI_ISSUED_H
#define DANEMSG_CLI_ISSUED_H

#include "common.h"
#include "danemsg/store.h"

struct issued {
    const char *program; /* for the warning */
    const struct dmsg_context *context;
    const char *state; /* --state; NULL: DANEMSG_STATE or the default */
    struct dmsg_store *store;
    bool failed; /* warned, and not tried again */
    char kid[DMSG_KEY_ID_SIZE];
    int64_t until; /* what is noted for that key */
};

/* Notes that the identity's signing key signs something now that lives so many seconds (0: the
   default). Rounded up, so that a stream of messages writes once an hour. A state that cannot be
   written is warned about once: `identity rollover finish` knows that such messages exist. */
void issued_note(struct issued *issued, const struct dmsg_identity *me, int64_t lifetime);
void issued_done(struct issued *issued);

/* 1 and until when, 0 when nothing is noted of that key (or there is no database). */
int issued_until(const char *state, const struct dmsg_name *name, const char *kid, int64_t *until,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
