/* Which database a command works with: --store, or the identity's in the state folder. */
#ifndef DANEMSG_CLI_OPEN_STORE_H
#define DANEMSG_CLI_OPEN_STORE_H

#include "common.h"
#include "danemsg/store.h"

struct store_choice {
    const char *store;  /* --store: sqlite:PATH, postgresql://...; NULL: STATE/NAME.db */
    const char *state;  /* --state; NULL: the default folder */
    const char *member; /* of a receiver, where several share the store; else NULL */
};

#define STORE_HELP "sqlite:PATH (STATE/NAME.db) or postgresql://..."

/* One that several receivers can share. */
bool is_shared_store(const struct store_choice *choice);

/* Where it is; the caller frees the path. DMSG_E_USAGE: --store is none. to_make: the state folder
   is made. */
int store_path(char **out, const struct store_choice *choice, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int store_path_to_make(char **out, const struct store_choice *choice, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Opens it, and makes it if there is none. */
int open_store(struct dmsg_store **out, const struct dmsg_context *context,
    const struct store_choice *choice, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Opens one that is there: to read, or with `change` to write. */
int open_existing_store(struct dmsg_store **out, const struct dmsg_context *context,
    const struct store_choice *choice, const struct dmsg_name *name, bool change,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
