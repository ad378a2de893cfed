/* Preloaded, it lets every fsync(2) and fdatasync(2) fail while the file that SYNC_FAILS names is
   there: a disk that does not confirm. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static int sync_or_fail(const char *name, int fd)
{
    int (*true_sync)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    const char *path = getenv("SYNC_FAILS");
    if (path == NULL || access(path, F_OK) != 0)
        return true_sync(fd);
    errno = EIO;
    return -1;
}

int fsync(int fd)
{
    return sync_or_fail("fsync", fd);
}

int fdatasync(int fd)
{
    return sync_or_fail("fdatasync", fd);
}
