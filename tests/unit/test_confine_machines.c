/* The filter of system calls as each machine would get it, interpreted here: a processor that
   nobody who runs the tests has is no reason for a resolver that cannot live on it. */
#include "dane/confine_internal.h"
#include "test.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define INSTRUCTIONS_MAX 4096 /* of Linux too (BPF_MAXINSNS) */

struct program {
    struct sock_filter code[INSTRUCTIONS_MAX];
    size_t count;
};

static uint32_t load(const struct seccomp_data *data, uint32_t offset)
{
    uint32_t word = 0;
    if (offset + sizeof word <= sizeof *data)
        memcpy(&word, (const char *)data + offset, sizeof word);
    return word;
}

/* What of BPF libseccomp uses (Linux, Documentation/networking/filter.rst). */
static uint32_t verdict_of(const struct program *program, const struct seccomp_data *data)
{
    uint32_t a = 0;
    for (size_t i = 0; i < program->count; i++) {
        const struct sock_filter *at = &program->code[i];
        switch (at->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            a = load(data, at->k);
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            a &= at->k;
            break;
        case BPF_JMP | BPF_JA:
            i += at->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            i += a == at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            i += a > at->k ? at->jt : at->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            i += a >= at->k ? at->jt : at->jf;
            break;
        case BPF_RET | BPF_K:
            return at->k;
        default:
            return UINT32_MAX;
        }
    }
    return UINT32_MAX;
}

static bool compile(struct program *out, const struct dmsg_confinement *profile, uint32_t machine)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    void *filter = dmsg_confine_filter(profile, machine);
    ssize_t size = -1;
    if (fd >= 0 && filter != NULL && seccomp_export_bpf(filter, fd) == 0)
        size = pread(fd, out->code, sizeof out->code, 0);
    seccomp_release(filter);
    close(fd);
    out->count = size > 0 ? (size_t)size / sizeof out->code[0] : 0;
    return out->count > 0;
}

/* libseccomp makes no filter that this kernel could not load, for whichever machine. */
static bool has_seccomp(void)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

#define NEED_SECCOMP()                                                                             \
    do {                                                                                           \
        if (!has_seccomp())                                                                        \
            SKIP("this kernel, or what stands for one (qemu), has no seccomp");                    \
    } while (0)

/* ----------------------------------------------------------------------------------- what must be
   Names that a machine does not know are passed over, but what it cannot do without is listed by
   machine. Arguments are zeros but for the one that is given. */

enum { X86_64 = 1, ARM64 = 2, ARM32 = 4, ALL = 7 };
static const struct {
    const char *name;
    uint32_t machine;
    unsigned bit;
} machines[] = {{"x86_64", SCMP_ARCH_X86_64, X86_64}, {"arm64", SCMP_ARCH_AARCH64, ARM64},
    {"armhf", SCMP_ARCH_ARM, ARM32}};

enum { DENIED = SECCOMP_RET_ERRNO | 1, LACKING = SECCOMP_RET_ERRNO | 38 };
#define ALLOWED ((uint32_t)SECCOMP_RET_ALLOW)
#define KILLED ((uint32_t)SECCOMP_RET_KILL_PROCESS)

static const struct row {
    const char *call;
    unsigned machines; /* where it must exist */
    uint32_t resolver, fetcher;
    unsigned argument;
    uint64_t value;
} rows[] = {
#define BOTH(call, machines, verdict)                                                              \
    {                                                                                              \
        call, machines, verdict, verdict, 0, 0                                                     \
    }
    /* glibc 2.36: memory, threads and the end */
    BOTH("brk", ALL, ALLOWED),
    BOTH("munmap", ALL, ALLOWED),
    BOTH("madvise", ALL, ALLOWED),
    BOTH("mmap", X86_64 | ARM64, ALLOWED),
    BOTH("mmap2", ARM32, ALLOWED),
    BOTH("mprotect", ALL, ALLOWED),
    BOTH("exit_group", ALL, ALLOWED),
    BOTH("exit", ALL, ALLOWED),
    BOTH("rt_sigreturn", ALL, ALLOWED),
    BOTH("sigreturn", ARM32, ALLOWED),
    BOTH("rt_sigprocmask", ALL, ALLOWED),
    BOTH("rt_sigaction", ALL, ALLOWED),
    BOTH("set_robust_list", ALL, ALLOWED),
    BOTH("rseq", ALL, ALLOWED),
    BOTH("restart_syscall", ALL, ALLOWED),
    BOTH("futex", ALL, ALLOWED),
    BOTH("futex_time64", ARM32, ALLOWED),
    BOTH("set_tls", ARM32, ALLOWED),
    BOTH("getrandom", ALL, ALLOWED),
    BOTH("clone3", ALL, LACKING),
    /* time: with vDSO or without */
    BOTH("clock_gettime", ALL, ALLOWED),
    BOTH("clock_gettime64", ARM32, ALLOWED),
    BOTH("clock_nanosleep", ALL, ALLOWED),
    BOTH("clock_nanosleep_time64", ARM32, ALLOWED),
    BOTH("gettimeofday", ALL, ALLOWED),
    /* sockets and waiting */
    BOTH("sendto", ALL, ALLOWED),
    BOTH("recvfrom", ALL, ALLOWED),
    BOTH("send", ARM32, ALLOWED),
    BOTH("recv", ARM32, ALLOWED),
    BOTH("sendmsg", ALL, ALLOWED),
    BOTH("recvmsg", ALL, ALLOWED),
    BOTH("recvmmsg", ALL, ALLOWED),
    BOTH("recvmmsg_time64", ARM32, ALLOWED),
    BOTH("sendmmsg", ALL, ALLOWED),
    BOTH("ppoll", ALL, ALLOWED),
    BOTH("ppoll_time64", ARM32, ALLOWED),
    BOTH("poll", X86_64 | ARM32, ALLOWED),
    BOTH("pselect6", ALL, ALLOWED),
    BOTH("pselect6_time64", ARM32, ALLOWED),
    BOTH("_newselect", ARM32, ALLOWED),
    BOTH("epoll_pwait", ALL, ALLOWED),
    BOTH("epoll_wait", X86_64 | ARM32, ALLOWED),
    BOTH("epoll_ctl", ALL, ALLOWED),
    BOTH("epoll_create1", ALL, ALLOWED),
    BOTH("eventfd2", ALL, ALLOWED),
    BOTH("pipe2", ALL, ALLOWED),
    BOTH("connect", ALL, ALLOWED),
    BOTH("bind", ALL, ALLOWED),
    BOTH("getsockopt", ALL, ALLOWED),
    BOTH("setsockopt", ALL, ALLOWED),
    BOTH("read", ALL, ALLOWED),
    BOTH("write", ALL, ALLOWED),
    BOTH("readv", ALL, ALLOWED),
    BOTH("writev", ALL, ALLOWED),
    BOTH("close", ALL, ALLOWED),
    BOTH("fcntl", ALL, ALLOWED),
    BOTH("fcntl64", ARM32, ALLOWED),
    BOTH("lseek", ALL, ALLOWED),
    BOTH("_llseek", ARM32, ALLOWED),
    BOTH("fstat64", ARM32, ALLOWED),
    BOTH("fstatat64", ARM32, ALLOWED),
    BOTH("newfstatat", X86_64 | ARM64, ALLOWED),
    BOTH("geteuid32", ARM32, ALLOWED),
    BOTH("geteuid", ALL, ALLOWED),
    BOTH("getuid32", ARM32, ALLOWED),
    BOTH("getgid32", ARM32, ALLOWED),
    BOTH("getegid32", ARM32, ALLOWED),
    BOTH("ugetrlimit", ARM32, ALLOWED),
    {"socket", ALL, DENIED, DENIED, 0, 1 /* AF_UNIX */},
    {"socketpair", ALL, ALLOWED, ALLOWED, 0, 1},
    {"prlimit64", ALL, DENIED, DENIED, 2, 1 << 20},
    {"prlimit64", ALL, ALLOWED, ALLOWED, 2, 0},
    /* threads but no processes, no new code but a library that the fetcher loads late */
    {"clone", ALL, KILLED, KILLED, 0, 17 /* SIGCHLD */},
    {"clone", ALL, ALLOWED, ALLOWED, 0, 0x3d0f00 /* of pthread_create */},
    {"mmap", X86_64 | ARM64, DENIED, ALLOWED, 2, PROT_READ | PROT_EXEC},
    {"mmap2", ARM32, DENIED, ALLOWED, 2, PROT_READ | PROT_EXEC},
    {"mprotect", ALL, DENIED, ALLOWED, 2, PROT_READ | PROT_EXEC},
    BOTH("execve", ALL, KILLED),
    BOTH("execveat", ALL, KILLED),
    BOTH("fork", X86_64 | ARM32, KILLED),
    BOTH("vfork", X86_64 | ARM32, KILLED),
    BOTH("ptrace", ALL, KILLED),
    BOTH("process_vm_writev", ALL, KILLED),
    BOTH("kill", ALL, KILLED),
    BOTH("listen", ALL, DENIED),
    BOTH("accept4", ALL, DENIED),
    BOTH("io_uring_setup", ALL, DENIED),
    BOTH("setrlimit", ALL, DENIED),
    BOTH("bpf", ALL, DENIED),
    BOTH("mkdirat", ALL, DENIED),
    BOTH("unlinkat", ALL, DENIED),
    BOTH("ioctl", ALL, DENIED),
    BOTH("personality", ALL, DENIED),
    /* files */
    {"openat", ALL, DENIED, ALLOWED, 0, 0},
    {"statx", ALL, DENIED, ALLOWED, 0, 0},
    {"open", X86_64 | ARM32, DENIED, ALLOWED, 0, 0},
    {"stat64", ARM32, DENIED, ALLOWED, 0, 0},
    {"lstat64", ARM32, DENIED, ALLOWED, 0, 0},
    {"fstatfs64", ARM32, DENIED, ALLOWED, 0, 0},
    {"getdents64", ALL, DENIED, ALLOWED, 0, 0},
    {"pread64", ALL, DENIED, ALLOWED, 0, 0},
    {"arm_fadvise64_64", ARM32, DENIED, ALLOWED, 0, 0},
    {"readlinkat", ALL, DENIED, ALLOWED, 0, 0},
    {"faccessat", ALL, DENIED, ALLOWED, 0, 0},
};

static void check_machine(size_t at, const struct program *resolver, const struct program *fetcher)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        int number = seccomp_syscall_resolve_name_arch(machines[at].machine, row->call);
        bool must = (row->machines & machines[at].bit) != 0;
        CHECK_ROW((number >= 0) == must, "%s %s: %d", machines[at].name, row->call, number);
        if (number < 0)
            continue;
        struct seccomp_data data = {.nr = number,
            /* a machine's token is the kernel's name of it */
            .arch = machines[at].machine};
        data.args[row->argument] = row->value;
        uint32_t said[] = {verdict_of(resolver, &data), verdict_of(fetcher, &data)};
        CHECK_ROW(said[0] == row->resolver && said[1] == row->fetcher, "%s %s: %08x %08x",
            machines[at].name, row->call, said[0], said[1]);
    }
}

static void every_machine_has_its_filter(void)
{
    static const char *const reads[] = {"/etc/passwd", NULL};
    static const struct dmsg_confinement resolving = {.descriptors = 512},
                                         fetching = {.read = reads, .looks_up_names = true};
    static struct program resolver, fetcher;
    NEED_SECCOMP();
    if (DMSG_SANITIZED)
        SKIP("a sanitized program has wider rights, on its own machine alone");
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        bool compiled = compile(&resolver, &resolving, machines[i].machine) &&
                        compile(&fetcher, &fetching, machines[i].machine);
        CHECK_ROW(compiled, "%s", machines[i].name);
        if (compiled)
            check_machine(i, &resolver, &fetcher);
    }
}

static void a_folder_may_be_written_on_every_machine(void)
{
    static const char *const calls[] = {"ftruncate64", "ftruncate", "renameat", "renameat2",
        "rename", "unlink", "unlinkat", "fsync", "openat", "fchmod"};
    static const struct dmsg_confinement keeping = {.write_folder = "/tmp"};
    static struct program keeper;
    NEED_SECCOMP();
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        REQUIRE(compile(&keeper, &keeping, machines[i].machine));
        for (size_t j = 0; j < sizeof calls / sizeof calls[0]; j++) {
            int number = seccomp_syscall_resolve_name_arch(machines[i].machine, calls[j]);
            struct seccomp_data data = {.nr = number, .arch = machines[i].machine};
            CHECK_ROW(number < 0 || verdict_of(&keeper, &data) == ALLOWED, "%s %s",
                machines[i].name, calls[j]);
        }
    }
}

/* A call by another machine's numbers (32-bit code on 64 bits) is none of a filter's calls. */
static void another_machines_numbers_end_it(void)
{
    static const struct dmsg_confinement resolving = {.descriptors = 512};
    static struct program program;
    NEED_SECCOMP();
    for (size_t i = 0; i < sizeof machines / sizeof machines[0]; i++) {
        REQUIRE(compile(&program, &resolving, machines[i].machine));
        struct seccomp_data data = {.nr = 1, .arch = SCMP_ARCH_X86};
        uint32_t said = verdict_of(&program, &data);
        CHECK_ROW(said == SECCOMP_RET_KILL_THREAD || said == SECCOMP_RET_KILL_PROCESS, "%s: %08x",
            machines[i].name, said);
    }
}

TEST_MAIN(TEST(every_machine_has_its_filter), TEST(a_folder_may_be_written_on_every_machine),
    TEST(another_machines_numbers_end_it))
