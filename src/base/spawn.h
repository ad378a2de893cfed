/* Programs that we start begin as from a fresh shell, whatever we ignore or block ourselves. */
#ifndef DANEMSG_BASE_SPAWN_H
#define DANEMSG_BASE_SPAWN_H

#include <signal.h>
#include <spawn.h>
#include <stdbool.h>

/* No signal blocked or ignored; with own_group in a process group of its own, so that it can be
   ended with all that it starts. 0 or an error number, as posix_spawnattr_* have it. */
static inline int dmsg_spawn_attributes(posix_spawnattr_t *attributes, bool own_group)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    int failed = posix_spawnattr_setsigmask(attributes, &none);
    if (failed == 0)
        failed = posix_spawnattr_setsigdefault(attributes, &all);
    if (failed == 0)
        failed = posix_spawnattr_setpgroup(attributes, 0);
    if (failed == 0)
        failed = posix_spawnattr_setflags(
            attributes, (short)(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                (own_group ? POSIX_SPAWN_SETPGROUP : 0)));
    return failed;
}

#endif
