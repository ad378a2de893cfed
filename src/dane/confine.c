#include "dane/confine.h"

#include "base/cleanup.h"
#include "dane/confine_internal.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* -------------------------------------------------------------------------------------- limits */

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
void dmsg_confine_start(const struct dmsg_confinement *profile)
{
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_NOFILE, profile->descriptors);
    signal(SIGXFSZ, SIG_IGN);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    /* The end of the socket ends us; this is for the case that we hang then. */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    /* A terminal's or a service's signal is the parent's business; it still needs answers. */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    if (!DMSG_SANITIZED) {
        limit(RLIMIT_AS, profile->memory);
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        /* One arena: a second thread would reserve 64 MiB of the address space for its own. */
        (void)mallopt(M_ARENA_MAX, 1);
    }
}

/* ------------------------------------------------------------------------------------ Landlock */

/* linux/landlock.h of the oldest system that this builds on knows none of the later ones. */
#define CREATE_VERSION 1u
#define RULE_PATH_BENEATH 1
#define RULE_NET_PORT 2
#define FS_WRITE_FILE (UINT64_C(1) << 1)
#define FS_READ_FILE (UINT64_C(1) << 2)
#define FS_READ_DIR (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG (UINT64_C(1) << 8)
#define FS_TRUNCATE (UINT64_C(1) << 14)
#define FS_ALL_V1 ((UINT64_C(1) << 13) - 1)
#define FS_ALL_V2 ((UINT64_C(1) << 14) - 1)
#define FS_ALL_V3 ((UINT64_C(1) << 15) - 1)
#define FS_ALL_V5 ((UINT64_C(1) << 16) - 1)
#define NET_BIND_TCP UINT64_C(1)
#define NET_CONNECT_TCP UINT64_C(2)
#define SCOPE_ABSTRACT_UNIX_SOCKET UINT64_C(1)
#define SCOPE_SIGNAL UINT64_C(2)

struct ruleset {
    uint64_t files, net, scopes;
};

struct path_rule {
    uint64_t allowed;
    int32_t parent;
} __attribute__((packed));

struct port_rule {
    uint64_t allowed, port;
};

/* What this version of Landlock can forbid; the size of the struct that it knows. */
static size_t ruleset_of(struct ruleset *out, long version)
{
    *out = (struct ruleset){.files = version >= 5   ? FS_ALL_V5
                                     : version >= 3 ? FS_ALL_V3
                                     : version >= 2 ? FS_ALL_V2
                                                    : FS_ALL_V1};
    if (version >= 4)
        out->net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (version >= 6)
        out->scopes = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    return version >= 6   ? sizeof *out
           : version >= 4 ? offsetof(struct ruleset, scopes)
                          : offsetof(struct ruleset, net);
}

/* A rule for what cannot be opened is left out: then it cannot be opened later either. */
static void allow_path(int rules, const char *path, uint64_t rights)
{
    struct stat status;
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return;
    if (!S_ISDIR(status.st_mode))
        rights &= FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE;
    struct path_rule rule = {.allowed = rights, .parent = fd};
    (void)syscall(SYS_landlock_add_rule, rules, RULE_PATH_BENEATH, &rule, 0);
}

static void allow_files(int rules, const struct dmsg_confinement *profile, uint64_t handled)
{
    for (const char *const *path = profile->read; path != NULL && *path != NULL; path++)
        allow_path(rules, *path, FS_READ_FILE | FS_READ_DIR);
    if (profile->write_folder != NULL)
        allow_path(rules, profile->write_folder,
            handled & (FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_MAKE_REG | FS_REMOVE_FILE |
                          FS_TRUNCATE));
    if (DMSG_SANITIZED)
        allow_path(rules, "/proc", FS_READ_FILE | FS_READ_DIR);
}

static void allow_ports(int rules, const struct dmsg_confinement *profile)
{
    for (size_t i = 0; i < profile->tcp_port_count && i < DMSG_CONFINE_PORTS_MAX; i++) {
        struct port_rule rule = {.allowed = NET_CONNECT_TCP, .port = profile->tcp_ports[i]};
        (void)syscall(SYS_landlock_add_rule, rules, RULE_NET_PORT, &rule, 0);
    }
}

/* False: the kernel has no Landlock, or it is turned off. */
static bool confine_files(const struct dmsg_confinement *profile)
{
    struct ruleset all;
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    if (version < 1)
        return false;
    size_t size = ruleset_of(&all, version);
    DMSG_CLEANUP(dmsg_cleanup_fd)
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all, size, 0);
    if (rules < 0)
        return false;
    allow_files(rules, profile, all.files);
    if (all.net != 0)
        allow_ports(rules, profile);
    return syscall(SYS_landlock_restrict_self, rules, 0) == 0;
}

unsigned dmsg_confine_finish(const struct dmsg_confinement *profile)
{
    unsigned held = 0;
    limit(RLIMIT_FSIZE, profile->write_folder != NULL ? profile->file_size : 0);
    if (confine_files(profile))
        held |= DMSG_CONFINED_BY_LANDLOCK;
    if (dmsg_confine_calls(profile))
        held |= DMSG_CONFINED_BY_SECCOMP;
    return held;
}
