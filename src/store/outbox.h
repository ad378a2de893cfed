/* The outbox's inside: it is part of the SQLite store. Changes are in outbox.c, what is read of it
   in outbox_read.c. */
#ifndef DANEMSG_STORE_OUTBOX_H
#define DANEMSG_STORE_OUTBOX_H

#include "danemsg/outbox.h"
#include "store/sqlite.h"

/* What the table budget calls the outbox, and what was dropped from it. */
#define DMSG_OUTBOX_BUDGET "O"
#define DMSG_OUTBOX_BUDGET_EXPIRED "X"
/* Words of the table tally: no error has them, and a receiver's counts leave them out. */
#define DMSG_OUTBOX_PUBLISHED "outbox-published"
#define DMSG_OUTBOX_SEALED "outbox-sealed"
#define DMSG_OUTBOX_REFUSED "outbox-refused"

struct dmsg_outbox {
    struct dmsg_store *store;
    struct dmsg_sqlite *sqlite;
    const struct dmsg_context *context;
    bool in_transaction;
    struct dmsg_outbox_counts counting; /* of the open transaction; without `expired` */
    int watch_fd;
    int64_t version;
    struct dmsg_buffer shown; /* texts and content of the message that was given out last */
};

/* Here a store in trouble is a file in trouble: the code to return. */
int dmsg_outbox_local(const struct dmsg_outbox *outbox, int code, struct dmsg_error *error);
/* As dmsg_outbox_next, for who may lose much time with each that fails: those that were not tried
   yet, by row; and of those that were, the one whose pause ended first. */
int dmsg_outbox_next_untried(struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_outbox_next_failed(struct dmsg_outbox *outbox, struct dmsg_outgoing *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of a row of the table budget. */
int dmsg_outbox_usage(struct dmsg_outbox *outbox, const char *whose, int64_t *messages,
    int64_t *octets, struct dmsg_error *error);

#endif
