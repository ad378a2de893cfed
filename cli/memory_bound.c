#include "memory_bound.h"

#include <sys/resource.h>
#include <unistd.h>

#define MIB ((rlim_t)1024 * 1024)
/* What a receiver needs of memory of its own: batches and what is made of them, the messages that
   wait, caches; and for each core a thread with its stack. */
#define BASE (160 * MIB)
#define PER_CORE (9 * MIB)
/* Messages of the largest size that may be in work at a time. */
#define MESSAGES 128

/* A sanitizer maps terabytes, and would not live. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

void memory_bound(size_t message_limit, size_t kept)
{
    struct rlimit limit;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    rlim_t bound = BASE + PER_CORE * (rlim_t)(cores > 0 ? cores : 1) +
                   MESSAGES * (rlim_t)message_limit + (rlim_t)kept;
    if (SANITIZED || getrlimit(RLIMIT_DATA, &limit) < 0 || limit.rlim_cur <= bound)
        return;
    limit.rlim_cur = bound;
    (void)setrlimit(RLIMIT_DATA, &limit); /* a softer one than was there: it cannot fail */
}
