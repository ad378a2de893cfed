#include "open_store.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

#define SQLITE_SCHEME "sqlite:"

bool is_shared_store(const struct store_choice *choice)
{
    return choice->store != NULL && (strncmp(choice->store, "postgresql://", 13) == 0 ||
                                        strncmp(choice->store, "postgres://", 11) == 0);
}

int store_path(char **out, const struct store_choice *choice, const struct dmsg_name *name,
    struct dmsg_error *error)
{
    size_t size = strlen(SQLITE_SCHEME);
    if (choice->store == NULL)
        return state_file_path(out, choice->state, name, "db", error);
    if (strncmp(choice->store, SQLITE_SCHEME, size) != 0 || choice->store[size] == '\0')
        return dmsg_fail(error, DMSG_E_USAGE,
            is_shared_store(choice) ? "this wants a database of its own: --store sqlite:PATH"
                                    : "--store wants sqlite:PATH or postgresql://...");
    *out = strdup(choice->store + size);
    return *out != NULL ? 0 : dmsg_fail_memory(error);
}

int store_path_to_make(char **out, const struct store_choice *choice, const struct dmsg_name *name,
    struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = choice->store == NULL ? state_folder(&folder, choice->state, error) : 0;
    return result < 0 ? result : store_path(out, choice, name, error);
}

int open_store(struct dmsg_store **out, const struct dmsg_context *context,
    const struct store_choice *choice, const struct dmsg_name *name, struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    if (is_shared_store(choice))
        return dmsg_store_open_postgresql(out, context, choice->store, name, choice->member, error);
    int result = store_path_to_make(&path, choice, name, error);
    return result < 0 ? result : dmsg_store_open_sqlite(out, context, path, name, error);
}

int open_existing_store(struct dmsg_store **out, const struct dmsg_context *context,
    const struct store_choice *choice, const struct dmsg_name *name, bool change,
    struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    bool shared = is_shared_store(choice);
    int result = shared ? 0 : store_path(&path, choice, name, error);
    /* Looked at first: a mistyped name must not make a database. */
    if (result == 0)
        result = shared ? dmsg_store_show_postgresql(out, context, choice->store, name, error)
                        : dmsg_store_show_sqlite(out, context, path, name, error);
    if (result < 0 || !change)
        return result;
    dmsg_store_close(out);
    return shared ? dmsg_store_open_postgresql(out, context, choice->store, name, NULL, error)
                  : dmsg_store_open_sqlite(out, context, path, name, error);
}
