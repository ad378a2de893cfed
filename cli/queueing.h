/*
 * danemsg send --queue: messages into the outbox, many in one transaction.
 *
 *     queueing_open(&queueing, program, &context, state, &name, &error);
 *     queueing_put(&queueing, &message, kid, &error);     again and again
 *     queueing_commit(&queueing, &error);                 on disk, and said with --json
 *     queueing_done(&queueing);
 */
#ifndef DANEMSG_CLI_QUEUEING_H
#define DANEMSG_CLI_QUEUEING_H

#include "common.h"
#include "danemsg/outbox.h"

struct queueing {
    const char *program;
    const struct dmsg_context *context;
    bool json;
    struct dmsg_outbox *outbox;
    char *path;                /* of the database */
    bool is_open;              /* a transaction */
    size_t messages, octets;   /* in it */
    struct dmsg_buffer said;   /* lines for stdout, when it is committed */
    uint64_t line, first_line; /* of the input, 0: not from lines; the first in the transaction */
};

/* STATE/NAME.db, the file that a receiver uses too: for writing, made if need be; to be there
   already; only to be looked at. */
enum outbox_mode { OUTBOX_MAKE, OUTBOX_CHANGE, OUTBOX_LOOK };
int open_outbox(struct dmsg_outbox **out, const struct dmsg_context *context, const char *state,
    const struct dmsg_name *name, enum outbox_mode mode, struct dmsg_error *error) DMSG_MUST_CHECK;

int queueing_open(struct queueing *queueing, const char *program,
    const struct dmsg_context *context, const char *state, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* kid: of the key that signed it, NULL when it is not sealed. Commits what has become many. After
   DMSG_E_LOCAL nothing of the transaction is kept, and the error says which lines that are. */
int queueing_put(struct queueing *queueing, const struct dmsg_outgoing *message, const char *kid,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int queueing_commit(struct queueing *queueing, struct dmsg_error *error) DMSG_MUST_CHECK;
void queueing_done(struct queueing *queueing);

#endif
