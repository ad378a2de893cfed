/*
 * Preloaded, it lets a program see the clock that a test has set: the file that CLOCK_FILE or
 * FAKETIME_FILE names holds seconds to be added to the true time, and whether the clock is to be
 * taken for one that nobody has set since boot. (The resolver's process gets only the latter
 * variable from its parent, by its first letters.)
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

static const volatile struct {
    int64_t offset, unsynchronised;
} * clock_set;
static int (*true_gettime)(clockid_t, struct timespec *);
static int (*true_adjtimex)(struct timex *);

__attribute__((constructor)) static void prepare(void)
{
    const char *path =
        getenv("CLOCK_FILE") != NULL ? getenv("CLOCK_FILE") : getenv("FAKETIME_FILE");
    true_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    true_adjtimex = (int (*)(struct timex *))dlsym(RTLD_NEXT, "adjtimex");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof *clock_set, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped != MAP_FAILED)
        clock_set = mapped;
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    int result = true_gettime(which, out);
    if (clock_set == NULL || result != 0)
        return result;
    if (which == CLOCK_REALTIME)
        out->tv_sec += clock_set->offset;
    if (which == CLOCK_BOOTTIME && clock_set->unsynchronised)
        out->tv_sec = 60;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *out, void *zone)
{
    struct timespec now = {0};
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec;
    out->tv_usec = now.tv_nsec / 1000;
    return 0;
}

int adjtimex(struct timex *state)
{
    int result = true_adjtimex(state);
    if (clock_set == NULL)
        return result;
    if (clock_set->unsynchronised) {
        state->status |= STA_UNSYNC;
        return TIME_ERROR;
    }
    state->status &= ~STA_UNSYNC;
    return TIME_OK;
}
