/* A folder of its own for a test's database. */
#ifndef DANEMSG_TESTS_STORE_SCRATCH_H
#define DANEMSG_TESTS_STORE_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct scratch {
    char folder[40];
    char path[60];
};

static inline int scratch_make(struct scratch *scratch)
{
    snprintf(scratch->folder, sizeof scratch->folder, "/tmp/danemsg-store-XXXXXX");
    if (mkdtemp(scratch->folder) == NULL)
        return -1;
    snprintf(scratch->path, sizeof scratch->path, "%s/bob.db", scratch->folder);
    return 0;
}

/* What is open stays usable without its name. */
static inline void scratch_remove(const struct scratch *scratch)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", "-delivered"};
    char path[80];
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        snprintf(path, sizeof path, "%s%s", scratch->path, suffixes[i]);
        unlink(path);
    }
    rmdir(scratch->folder);
}

#endif
