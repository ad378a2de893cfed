/*
 * Which system calls a confined process may still make. What is not listed fails with EPERM, so
 * that a library which asks for something new goes on without it; what only an attacker would call
 * ends the process.
 *
 * One list for every architecture, of which each knows a part: 64-bit ARM has the younger of two
 * calls only, 32-bit ARM has ones of its own for what has outgrown 32 bits (offsets, users, time).
 * glibc asks those first, and takes no other answer than ENOSYS for a reason to ask the older.
 */
#include "dane/confine_internal.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKET_TYPE 0xf /* the rest are flags (socket(2)) */

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* Memory, time, threads, and the own identity, which libevent looks at. */
static const int plain_calls[] = {SCMP_SYS(brk), SCMP_SYS(clock_getres), SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(close), SCMP_SYS(exit), SCMP_SYS(exit_group),
    SCMP_SYS(fcntl), SCMP_SYS(fstat), SCMP_SYS(futex), SCMP_SYS(getegid), SCMP_SYS(geteuid),
    SCMP_SYS(getgid), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(getrandom), SCMP_SYS(getrlimit),
    SCMP_SYS(gettid), SCMP_SYS(gettimeofday), SCMP_SYS(getuid), SCMP_SYS(lseek), SCMP_SYS(madvise),
    SCMP_SYS(mremap), SCMP_SYS(munmap), SCMP_SYS(nanosleep), SCMP_SYS(newfstatat),
    SCMP_SYS(restart_syscall), SCMP_SYS(rseq), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sched_getaffinity), SCMP_SYS(sched_yield),
    SCMP_SYS(set_robust_list), SCMP_SYS(set_tid_address), SCMP_SYS(sigaltstack), SCMP_SYS(sysinfo),
    SCMP_SYS(time), SCMP_SYS(uname),
    /* of 32 bits */
    SCMP_SYS(_llseek), SCMP_SYS(clock_getres_time64), SCMP_SYS(clock_gettime64),
    SCMP_SYS(clock_nanosleep_time64), SCMP_SYS(fcntl64), SCMP_SYS(fstat64), SCMP_SYS(fstatat64),
    SCMP_SYS(futex_time64), SCMP_SYS(getegid32), SCMP_SYS(geteuid32), SCMP_SYS(getgid32),
    SCMP_SYS(getuid32), SCMP_SYS(sigreturn), SCMP_SYS(ugetrlimit),
    /* of 32-bit ARM; they reach no further than the own thread */
    SCMP_SYS(cacheflush), SCMP_SYS(set_tls)};

/* Reading, writing and waiting; sockets that were made, none that listens. */
static const int network_calls[] = {SCMP_SYS(bind), SCMP_SYS(connect), SCMP_SYS(epoll_create),
    SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_wait),
    SCMP_SYS(eventfd2), SCMP_SYS(getpeername), SCMP_SYS(getsockname), SCMP_SYS(getsockopt),
    SCMP_SYS(pipe), SCMP_SYS(pipe2), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(pselect6),
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(recvfrom), SCMP_SYS(recvmmsg), SCMP_SYS(recvmsg),
    SCMP_SYS(select), SCMP_SYS(sendmmsg), SCMP_SYS(sendmsg), SCMP_SYS(sendto), SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown), SCMP_SYS(write), SCMP_SYS(writev),
    /* of 32 bits */
    SCMP_SYS(_newselect), SCMP_SYS(ppoll_time64), SCMP_SYS(pselect6_time64), SCMP_SYS(recv),
    SCMP_SYS(recvmmsg_time64), SCMP_SYS(send)};

/* With files of the profile; which ones is Landlock's part. */
static const int read_calls[] = {SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2),
    SCMP_SYS(fadvise64), SCMP_SYS(fstatfs), SCMP_SYS(getdents64), SCMP_SYS(lstat), SCMP_SYS(open),
    SCMP_SYS(openat), SCMP_SYS(pread64), SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),
    SCMP_SYS(statfs), SCMP_SYS(statx),
    /* of 32 bits */
    SCMP_SYS(arm_fadvise64_64), SCMP_SYS(fstatfs64), SCMP_SYS(lstat64), SCMP_SYS(stat64),
    SCMP_SYS(statfs64)};
static const int write_calls[] = {SCMP_SYS(fchmod), SCMP_SYS(fdatasync), SCMP_SYS(fsync),
    SCMP_SYS(ftruncate), SCMP_SYS(rename), SCMP_SYS(renameat), SCMP_SYS(renameat2),
    SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(ftruncate64)};

/* Other programs and other processes. */
static const int deadly_calls[] = {SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork),
    SCMP_SYS(vfork), SCMP_SYS(process_vm_writev)};
/* The same, but the leak check of a sanitized program lives by them. */
static const int deadly_unless_sanitized[] = {
    SCMP_SYS(kill), SCMP_SYS(process_vm_readv), SCMP_SYS(ptrace), SCMP_SYS(tkill)};
static const int sanitizer_calls[] = {SCMP_SYS(clone), SCMP_SYS(getrusage), SCMP_SYS(mmap),
    SCMP_SYS(mprotect), SCMP_SYS(prctl), SCMP_SYS(wait4)};

/* Of an argument: it is this; the bits of a mask are these. */
#define EQUAL(index, value) ((struct scmp_arg_cmp){(index), SCMP_CMP_EQ, (value), 0})
#define MASKED(index, mask, value)                                                                 \
    ((struct scmp_arg_cmp){(index), SCMP_CMP_MASKED_EQ, (mask), (value)})

/* One rule; a failed one makes the whole fail. A call that this architecture has not is no fault.
 */
#define RULE(failed, filter, action, call, ...)                                                    \
    ((failed) |= !rule_added(seccomp_rule_add((filter), (action), (call), __VA_ARGS__)))

static bool rule_added(int result)
{
    return result == 0 || result == -EDOM;
}

static bool add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    bool failed = false;
    for (size_t i = 0; i < count; i++)
        RULE(failed, filter, action, calls[i], 0);
    return !failed;
}

static bool add_sockets(scmp_filter_ctx filter, bool looks_up_names)
{
    static const unsigned families[] = {AF_INET, AF_INET6};
    static const unsigned types[] = {SOCK_STREAM, SOCK_DGRAM};
    bool failed = false;
    for (size_t i = 0; i < COUNT(families) * COUNT(types); i++)
        RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
            EQUAL(0, families[i / COUNT(types)]), MASKED(1, SOCKET_TYPE, types[i % COUNT(types)]));
    /* Both ends are this process's: how the threads of libunbound and libcurl are talked to. */
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(socketpair), 1, EQUAL(0, AF_UNIX));
    if (looks_up_names)
        RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, EQUAL(0, AF_NETLINK),
            EQUAL(2, NETLINK_ROUTE));
    return !failed;
}

/* Calls whose arguments decide: no memory becomes code, no process is born but threads are, no
   limit and no name but the own thread's is set, a signal goes to this process alone. */
static bool add_judged(scmp_filter_ctx filter, const struct dmsg_confinement *profile)
{
    bool failed = false;
    /* The modules that nsswitch.conf names are code that is loaded late. */
    uint64_t code = profile->looks_up_names ? 0 : PROT_EXEC;
    RULE(failed, filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0); /* then glibc asks clone */
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, EQUAL(1, FIONBIO));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1, EQUAL(1, FIONREAD));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 1, EQUAL(2, 0));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, EQUAL(0, (scmp_datum_t)getpid()));
    if (DMSG_SANITIZED)
        return !failed && add_all(filter, SCMP_ACT_ALLOW, read_calls, COUNT(read_calls)) &&
               add_all(filter, SCMP_ACT_ALLOW, sanitizer_calls, COUNT(sanitizer_calls)) &&
               add_all(
                   filter, SCMP_ACT_ALLOW, deadly_unless_sanitized, COUNT(deadly_unless_sanitized));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, MASKED(2, code, 0));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap2), 1, MASKED(2, code, 0));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, MASKED(2, code, 0));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, EQUAL(0, PR_SET_NAME));
    RULE(failed, filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, MASKED(0, CLONE_THREAD, CLONE_THREAD));
    RULE(failed, filter, SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), 1, MASKED(0, CLONE_THREAD, 0));
    return !failed && add_all(filter, SCMP_ACT_KILL_PROCESS, deadly_unless_sanitized,
                          COUNT(deadly_unless_sanitized));
}

static bool add_rules(scmp_filter_ctx filter, const struct dmsg_confinement *profile)
{
    bool writes = profile->write_folder != NULL;
    bool reads = profile->read != NULL || writes;
    bool added = add_all(filter, SCMP_ACT_ALLOW, plain_calls, COUNT(plain_calls)) &&
                 add_all(filter, SCMP_ACT_ALLOW, network_calls, COUNT(network_calls)) &&
                 add_all(filter, SCMP_ACT_KILL_PROCESS, deadly_calls, COUNT(deadly_calls)) &&
                 add_sockets(filter, profile->looks_up_names) && add_judged(filter, profile);
    if (added && reads)
        added = add_all(filter, SCMP_ACT_ALLOW, read_calls, COUNT(read_calls));
    if (added && writes)
        added = add_all(filter, SCMP_ACT_ALLOW, write_calls, COUNT(write_calls));
    return added;
}

/* libseccomp turns the numbers of this machine's calls into another's by their names. */
void *dmsg_confine_filter(const struct dmsg_confinement *profile, uint32_t machine)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    bool ready = filter != NULL;
    if (ready && machine != seccomp_arch_native())
        ready = seccomp_arch_add(filter, machine) == 0 &&
                seccomp_arch_remove(filter, seccomp_arch_native()) == 0;
    if (ready && add_rules(filter, profile))
        return filter;
    seccomp_release(filter);
    return NULL;
}

bool dmsg_confine_calls(const struct dmsg_confinement *profile)
{
    scmp_filter_ctx filter = dmsg_confine_filter(profile, seccomp_arch_native());
    if (filter == NULL)
        return false;
    bool loaded =
        seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1) == 0 && seccomp_load(filter) == 0;
    seccomp_release(filter);
    return loaded;
}
