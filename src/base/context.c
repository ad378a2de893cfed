#include "danemsg/context.h"

#include <openssl/rand.h>
#include <sys/timex.h>
#include <time.h>

int64_t dmsg_context_now(const struct dmsg_context *context)
{
    return context->now != NULL ? context->now(context->user) : (int64_t)time(NULL);
}

/* Seconds after boot in which a clock may be waited for. */
#define CLOCK_GRACE 3600

bool dmsg_context_synchronised(const struct dmsg_context *context)
{
    struct timex state = {0};
    struct timespec since_boot = {0};
    if (context->synchronised != NULL)
        return context->synchronised(context->user);
    int status = adjtimex(&state);
    if (status >= 0 && status != TIME_ERROR && (state.status & STA_UNSYNC) == 0)
        return true;
    return clock_gettime(CLOCK_BOOTTIME, &since_boot) < 0 || since_boot.tv_sec > CLOCK_GRACE;
}

int dmsg_context_random(const struct dmsg_context *context, void *out, size_t size)
{
    if (context->random != NULL)
        return context->random(context->user, out, size);
    return RAND_bytes_ex(context->library, out, size, 0) == 1 ? 0 : -1;
}
