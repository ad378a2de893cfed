#include "dane/confine.h"

#include <malloc.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* 30,000 names took 8 MiB, and libraries, stacks and one arena take 30; a hostile zone gets no more
   than this out of the machine. Sockets: 128 questions to servers, and what the loop needs. */
#define MEMORY_MAX (256u * 1024 * 1024)
#define DESCRIPTORS_MAX 512

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

static void limit(int resource, rlim_t most)
{
    struct rlimit now, wanted;
    if (getrlimit((__rlimit_resource_t)resource, &now) < 0)
        return;
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < most)
        most = now.rlim_max;
    wanted = (struct rlimit){.rlim_cur = most, .rlim_max = most};
    (void)setrlimit((__rlimit_resource_t)resource, &wanted);
}

/* None of these can fail on a kernel that has them, and on one that does not the rest still holds.
 */
void dmsg_confine(void)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, DESCRIPTORS_MAX);
    limit(RLIMIT_FSIZE, 0);
    signal(SIGXFSZ, SIG_IGN);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* The end of the socket ends us; this is for the case that we hang then. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    /* A terminal's or a service's signal is the parent's business; it still needs answers. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (!SANITIZED) { /* its shadow memory is larger, its leak check must look into the process */
        limit(RLIMIT_AS, MEMORY_MAX);
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        /* One arena: a second thread would reserve 64 MiB of the address space for its own. */
        (void)mallopt(M_ARENA_MAX, 1);
    }
}
