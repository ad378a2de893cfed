#include "store/postgresql_library.h"

#include "base/fail.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY "libpq.so.5"

int dmsg_libpq_load(struct dmsg_libpq *out, struct dmsg_error *error)
{
    struct dmsg_libpq found;
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL, LIBRARY " is not there: install libpq5");
#define FIND(name)                                                                                 \
    do {                                                                                           \
        void *at = dlsym(library, #name);                                                          \
        if (at == NULL)                                                                            \
            return dmsg_fail(                                                                      \
                error, DMSG_E_LOCAL, LIBRARY " has no " #name ": it is older than PostgreSQL 14"); \
        memcpy(&found.name, &at, sizeof at);                                                       \
    } while (0);
    DMSG_LIBPQ_CALLS(FIND)
#undef FIND
    *out = found;
    return 0;
}
