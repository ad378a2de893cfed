/* What a confined process may no longer do: each right is tried in a process that gave it up,
   beside what it must still be able to do. */
#include "dane/confine_internal.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static char folder[] = "/tmp/danemsg-confine-XXXXXX";
static char inside[sizeof folder + 8], outside[sizeof folder + 8];
static uint16_t listening; /* a port of ours that somebody listens on */

/* ==================================================================================== attempts
   0, or -1 with errno. */

static int open_and_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    return fd < 0 ? -1 : close(fd);
}

static int reads_a_file(void)
{
    return open_and_close("/etc/passwd", O_RDONLY);
}

static int reads_itself(void)
{
    return open_and_close("/proc/self/environ", O_RDONLY);
}

static int makes_a_file(void)
{
    return open_and_close(outside, O_WRONLY | O_CREAT);
}

static int reads_inside(void)
{
    return open_and_close(inside, O_RDONLY);
}

static int lists_a_folder(void)
{
    return open_and_close("/etc", O_RDONLY | O_DIRECTORY);
}

static int writes_inside(void)
{
    char path[sizeof inside + 4];
    int fd = open(inside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1 || fsync(fd) < 0 || close(fd) < 0)
        return -1;
    snprintf(path, sizeof path, "%s.2", inside);
    return rename(inside, path) < 0 || rename(path, inside) < 0 ? -1 : 0;
}

static int makes_a_folder(void)
{
    char path[sizeof inside + 4];
    snprintf(path, sizeof path, "%s.d", inside);
    return mkdir(path, 0700);
}

static int writes_too_much(void)
{
    static char octets[70000];
    int fd = open(inside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ssize_t size = fd < 0 ? -1 : write(fd, octets, sizeof octets);
    if (size == 65536)
        size = write(fd, octets, 1);
    return size < 0 ? -1 : 0;
}

static int executes(void)
{
    char *arguments[] = {"true", NULL};
    return execve("/bin/true", arguments, environ);
}

static int executes_by_spawn(void)
{
    char *arguments[] = {"true", NULL};
    errno = posix_spawn(NULL, "/bin/true", NULL, NULL, arguments, environ);
    return errno == 0 ? 0 : -1;
}

static int forks(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : 0;
}

static void *return_argument(void *argument)
{
    return argument;
}

static int starts_a_thread(void)
{
    pthread_t thread;
    errno = pthread_create(&thread, NULL, return_argument, NULL);
    return errno != 0 || pthread_join(thread, NULL) != 0 ? -1 : 0;
}

static int traces(void)
{
    return (int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
}

static int writes_into_its_parent(void)
{
    struct iovec here = {.iov_base = folder, .iov_len = 1}, there = here;
    return process_vm_writev(getppid(), &here, 1, &there, 1, 0) < 0 ? -1 : 0;
}

static int signals_its_parent(void)
{
    return kill(getppid(), 0);
}

static int signals_a_thread_of_its_parent(void)
{
    return (int)syscall(SYS_tgkill, getppid(), getppid(), 0);
}

static int signals_itself(void)
{
    signal(SIGUSR1, SIG_IGN);
    return raise(SIGUSR1);
}

static int make_socket(int family, int type, int protocol)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    return fd < 0 ? -1 : close(fd);
}

static int opens_unix(void)
{
    return make_socket(AF_UNIX, SOCK_STREAM, 0);
}

static int opens_netlink(void)
{
    return make_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int opens_netfilter(void)
{
    return make_socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
}

static int opens_raw(void)
{
    return make_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int opens_packet(void)
{
    return make_socket(AF_PACKET, SOCK_RAW, 0);
}

static int opens_udp(void)
{
    return make_socket(AF_INET, SOCK_DGRAM, 0) < 0 ? -1 : make_socket(AF_INET6, SOCK_DGRAM, 0);
}

static int connect_to(int type, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    int result = connect(fd, (struct sockaddr *)&address, sizeof address);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static int connects_to_its_port(void)
{
    return connect_to(SOCK_STREAM, listening);
}

static int connects_elsewhere(void)
{
    return connect_to(SOCK_STREAM, (uint16_t)(listening - 1));
}

static int connects_udp(void)
{
    return connect_to(SOCK_DGRAM, (uint16_t)(listening - 1));
}

static int bind_any(int type)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    int result = bind(fd, (struct sockaddr *)&address, sizeof address);
    int saved = errno;
    close(fd);
    errno = saved;
    return result;
}

static int binds_tcp(void)
{
    return bind_any(SOCK_STREAM);
}

static int binds_udp(void)
{
    return bind_any(SOCK_DGRAM);
}

static int listens(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return listen(fd, 1);
}

static int maps_code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : 0;
}

static int makes_code(void)
{
    void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? 0 : mprotect(memory, 4096, PROT_READ | PROT_EXEC);
}

static int takes_memory(void)
{
    size_t size = (size_t)300 * 1024 * 1024;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? -1 : 0;
}

static int opens_many(void)
{
    for (int i = 0; i < 600; i++) {
        if (socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) < 0)
            return -1;
    }
    return 0;
}

static int raises_a_limit(void)
{
    struct rlimit same;
    return getrlimit(RLIMIT_CORE, &same) < 0 ? 0 : setrlimit(RLIMIT_CORE, &same);
}

static int becomes_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int makes_a_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static int makes_a_ring(void)
{
    return (int)syscall(SYS_io_uring_setup, 1, NULL);
}

static int keeps_time(void)
{
    struct timespec now, little = {.tv_nsec = 1000};
    return clock_gettime(CLOCK_REALTIME, &now) < 0 || nanosleep(&little, NULL) < 0 ? -1 : 0;
}

/* ======================================================================================== tests */

enum { RESOLVER, KEEPER, FETCHER, PROFILES };
enum { KILLED = -1, ALLOWED = 0 };

static const char *const fetcher_reads[] = {"/etc/passwd", "/nonexistent", NULL};
static struct dmsg_confinement profiles[PROFILES] = {
    [RESOLVER] = {.descriptors = 512, .memory = 256 << 20},
    [KEEPER] = {.descriptors = 512,
        .memory = 256 << 20,
        .write_folder = folder,
        .file_size = 65536},
    [FETCHER] = {.descriptors = 64,
        .memory = 256 << 20,
        .read = fetcher_reads,
        .looks_up_names = true},
};

/* What the child ends with when an attempt succeeds; a failed one ends with its errno. */
#define SUCCEEDED 0
#define NO_LANDLOCK 250
#define NO_SECCOMP 251

/* How the attempt ended: 0, an errno, or KILLED. */
static int try_it(const struct dmsg_confinement *profile, int (*attempt)(void))
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dmsg_confine_start(profile);
        unsigned held = dmsg_confine_finish(profile);
        if ((held & DMSG_CONFINED_BY_SECCOMP) == 0)
            _exit(NO_SECCOMP);
        if ((held & DMSG_CONFINED_BY_LANDLOCK) == 0)
            _exit(NO_LANDLOCK);
        _exit(attempt() == 0 ? SUCCEEDED : errno);
    }
    if (waitpid(pid, &status, 0) != pid)
        return -2;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? KILLED : -100 - WTERMSIG(status);
    return WEXITSTATUS(status);
}

#define ROW(attempt) #attempt, attempt

static const struct row {
    const char *what;
    int (*attempt)(void);
    int ends[PROFILES];
    bool not_sanitized; /* a sanitized program needs this right */
    bool by_ports;      /* only with Landlock that knows of TCP */
} rows[] = {
    {ROW(reads_a_file), {EPERM, EACCES, ALLOWED}, true, false},
    {ROW(reads_itself), {EPERM, EACCES, EACCES}, true, false},
    {ROW(lists_a_folder), {EPERM, EACCES, EACCES}, true, false},
    {ROW(makes_a_file), {EPERM, EACCES, EACCES}, true, false},
    {ROW(makes_a_folder), {EPERM, EPERM, EPERM}, false, false},
    {ROW(writes_inside), {EPERM, ALLOWED, EACCES}, true, false},
    {ROW(reads_inside), {EPERM, ALLOWED, EACCES}, true, false},
    {ROW(writes_too_much), {EPERM, EFBIG, EACCES}, true, false},
    {ROW(executes), {KILLED, KILLED, KILLED}, false, false},
    {ROW(executes_by_spawn), {KILLED, KILLED, KILLED}, true, false},
    {ROW(forks), {KILLED, KILLED, KILLED}, true, false},
    {ROW(traces), {KILLED, KILLED, KILLED}, true, false},
    {ROW(writes_into_its_parent), {KILLED, KILLED, KILLED}, false, false},
    {ROW(signals_its_parent), {KILLED, KILLED, KILLED}, true, false},
    {ROW(signals_a_thread_of_its_parent), {EPERM, EPERM, EPERM}, false, false},
    {ROW(signals_itself), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(starts_a_thread), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(opens_unix), {EPERM, EPERM, EPERM}, false, false},
    {ROW(opens_netlink), {EPERM, EPERM, ALLOWED}, false, false},
    {ROW(opens_netfilter), {EPERM, EPERM, EPERM}, false, false},
    {ROW(opens_raw), {EPERM, EPERM, EPERM}, false, false},
    {ROW(opens_packet), {EPERM, EPERM, EPERM}, false, false},
    {ROW(opens_udp), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(connects_to_its_port), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(connects_elsewhere), {EACCES, EACCES, EACCES}, false, true},
    {ROW(connects_udp), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(binds_tcp), {EACCES, EACCES, EACCES}, false, true},
    {ROW(binds_udp), {ALLOWED, ALLOWED, ALLOWED}, false, false},
    {ROW(listens), {EPERM, EPERM, EPERM}, false, false},
    {ROW(maps_code), {EPERM, EPERM, ALLOWED}, true, false},
    {ROW(makes_code), {EPERM, EPERM, ALLOWED}, true, false},
    {ROW(takes_memory), {ENOMEM, ENOMEM, ENOMEM}, true, false},
    {ROW(opens_many), {EMFILE, EMFILE, EMFILE}, false, false},
    {ROW(raises_a_limit), {EPERM, EPERM, EPERM}, false, false},
    {ROW(becomes_dumpable), {EPERM, EPERM, EPERM}, true, false},
    {ROW(makes_a_namespace), {EPERM, EPERM, EPERM}, false, false},
    {ROW(makes_a_ring), {EPERM, EPERM, EPERM}, false, false},
    {ROW(keeps_time), {ALLOWED, ALLOWED, ALLOWED}, false, false},
};

/* Of this kernel; 0: none. Landlock knows of TCP ports from version 4 on. */
static long landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
    return version < 0 ? 0 : version;
}

static void check_profile(size_t profile)
{
    if (test_in_valgrind())
        SKIP("valgrind makes system calls of its own");
    int first = try_it(&profiles[profile], keeps_time);
    if (first == NO_SECCOMP || first == NO_LANDLOCK)
        SKIP("this kernel has no %s", first == NO_SECCOMP ? "seccomp" : "Landlock");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        if ((row->not_sanitized && DMSG_SANITIZED) || (row->by_ports && landlock_version() < 4))
            continue;
        int ended = try_it(&profiles[profile], row->attempt);
        CHECK_ROW(ended == row->ends[profile], "%s: %d (%s), not %d", row->what, ended,
            ended > 0         ? strerror(ended)
            : ended == KILLED ? "killed"
                              : "allowed",
            row->ends[profile]);
    }
}

static void the_resolver(void)
{
    check_profile(RESOLVER);
}

static void the_resolver_that_keeps_a_file(void)
{
    check_profile(KEEPER);
}

static void the_fetcher(void)
{
    check_profile(FETCHER);
}

/* The table would say nothing if the attempts failed anyhow. */
static void unconfined_it_is_possible(void)
{
    static int (*const attempts[])(void) = {reads_a_file, makes_a_file, writes_inside, forks,
        signals_its_parent, opens_unix, opens_netlink, connects_udp, binds_tcp, maps_code,
        makes_code, takes_memory, starts_a_thread};
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        int status = 0;
        fflush(stdout);
        pid_t pid = fork();
        if (pid == 0)
            _exit(attempts[i]() == 0 ? 0 : errno);
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK_ROW(WIFEXITED(status) && WEXITSTATUS(status) == 0, "%zu: %d", i, status);
    }
}

static int listen_somewhere(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 64) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    listening = ntohs(address.sin_port);
    return fd;
}

int main(void)
{
    static const struct test tests[] = {TEST(unconfined_it_is_possible), TEST(the_resolver),
        TEST(the_resolver_that_keeps_a_file), TEST(the_fetcher)};
    int fd = listen_somewhere();
    if (mkdtemp(folder) == NULL || fd < 0)
        return 1;
    snprintf(inside, sizeof inside, "%s/file", folder);
    snprintf(outside, sizeof outside, "%s-out", folder);
    for (size_t i = 0; i < PROFILES; i++) {
        profiles[i].tcp_ports[0] = listening;
        profiles[i].tcp_port_count = 1;
    }
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    unlink(inside);
    unlink(outside);
    rmdir(folder);
    close(fd);
    return result;
}
