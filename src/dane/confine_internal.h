/* Of confinement: what its two files share. */
#ifndef DANEMSG_DANE_CONFINE_INTERNAL_H
#define DANEMSG_DANE_CONFINE_INTERNAL_H

#include "dane/confine.h"

/* A sanitized program maps terabytes of shadow memory, and at its end another process of it reads
   this one for leaks (ptrace), by what /proc says of it. Every right that is wider for that reason
   is given where this word stands, and nowhere else. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define DMSG_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
#define DMSG_SANITIZED 1
#endif
#endif
#ifndef DMSG_SANITIZED
#define DMSG_SANITIZED 0
#endif

/* The allow-list of system calls (confine_calls.c); false: this kernel has no seccomp. */
bool dmsg_confine_calls(const struct dmsg_confinement *profile);

/* That list for a machine (SCMP_ARCH_...), as libseccomp's scmp_filter_ctx, which the caller
   releases; NULL: no memory. */
void *dmsg_confine_filter(const struct dmsg_confinement *profile, uint32_t machine);

#endif
