/* One change of a store: in the caller's transaction, or in one of its own. */
#ifndef DANEMSG_STORE_CHANGE_H
#define DANEMSG_STORE_CHANGE_H

#include "store/backend.h"

struct dmsg_store_change {
    struct dmsg_store *store;
    bool own; /* the transaction */
};

int dmsg_store_change_begin(struct dmsg_store_change *change, struct dmsg_store *store,
    bool durable, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Commits what is its own, or rolls it back when code is negative; a code that is no judgement
   about one message spoils the caller's transaction. Returns code, or why the commit failed. */
int dmsg_store_change_end(
    struct dmsg_store_change *change, int code, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
