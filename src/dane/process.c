#include "dane/process.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ARGUMENTS_MAX 16
#define ENVIRONMENT_MAX 32

/* Waiting to be sent to the process: 256 questions of 270 octets and the setup fit several times.
   More means that it does not read. */
#define OUT_MAX (1024 * 1024)

extern char **environ;

/* The other variables may be secret, and what resolves strangers' names shall know no secret. */
static void keep_environment(char *kept[static ENVIRONMENT_MAX])
{
    static const char *const prefixes[] = {
        "LD_", "ASAN_", "UBSAN_", "LSAN_", "FAKETIME", "SSL_CERT_"};
    size_t count = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
            if (count < ENVIRONMENT_MAX - 1 &&
                strncmp(*variable, prefixes[i], strlen(prefixes[i])) == 0)
                kept[count++] = *variable;
        }
    }
    kept[count] = NULL;
}

static const char *name_of(const struct dmsg_process *process)
{
    return process->called != NULL ? process->called : "danemsg-resolver";
}

static int make_arguments(const char *out[static ARGUMENTS_MAX], const char *called,
    const char *const *arguments, struct dmsg_error *error)
{
    size_t count = 0;
    out[count++] = called;
    for (; arguments != NULL && *arguments != NULL; arguments++) {
        if (count == ARGUMENTS_MAX - 1)
            return dmsg_fail(
                error, DMSG_E_USAGE, "more than %d arguments for %s", ARGUMENTS_MAX - 2, called);
        out[count++] = *arguments;
    }
    out[count] = NULL;
    return 0;
}

/* A pair of sockets; ours does not collide with a descriptor that the process gets. */
static int make_sockets(int *ours, int *theirs, struct dmsg_error *error)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a socket for the process");
    *ours = pair[0];
    *theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, DMSG_PROCESS_FD + 1);
    int saved = errno;
    close(pair[1]);
    if (*theirs < 0) {
        close(*ours);
        *ours = -1;
        errno = saved;
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a socket for the process");
    }
    return 0;
}

/* posix_spawn's functions return the error number. */
static int set_actions(
    posix_spawn_file_actions_t *actions, const struct dmsg_process *process, int socket)
{
    int failed = posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (failed == 0)
        failed = posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (failed == 0)
        failed = process->folder != NULL
                     ? posix_spawn_file_actions_addchdir_np(actions, process->folder)
                     : 0;
    if (failed == 0)
        failed = posix_spawn_file_actions_adddup2(actions, socket, DMSG_PROCESS_FD);
    if (failed == 0)
        failed = posix_spawn_file_actions_addclosefrom_np(actions, DMSG_PROCESS_FD + 1);
    return failed;
}

static int spawn(pid_t *pid, const struct dmsg_process *process, const char *program,
    const char *const *arguments, int socket)
{
    char *environment[ENVIRONMENT_MAX];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    keep_environment(environment);
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        failed = set_actions(&actions, process, socket);
        if (failed == 0)
            failed = dmsg_spawn_attributes(&attributes, false);
        if (failed == 0) {
            /* POSIX declares argv without const and promises not to write to it. */
            union {
                const char *const *in;
                char *const *out;
            } argv = {.in = arguments};
            failed = posix_spawn(pid, program, &actions, &attributes, argv.out, environment);
        }
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* 0 or an error number. posix_spawn says the same, except where an emulator or a memory checker
   makes a fork of its vfork, and the error of exec is lost. */
static int check_program(const char *program)
{
    struct stat status;
    if (stat(program, &status) < 0 || access(program, X_OK) < 0)
        return errno;
    return S_ISREG(status.st_mode) ? 0 : EACCES;
}

int dmsg_process_start(struct dmsg_process *process, const char *program,
    const char *const *arguments, struct dmsg_error *error)
{
    const char *argv[ARGUMENTS_MAX];
    DMSG_CLEANUP(dmsg_cleanup_fd) int ours = -1;
    DMSG_CLEANUP(dmsg_cleanup_fd) int theirs = -1;
    int result = make_arguments(argv, name_of(process), arguments, error);
    if (result == 0)
        result = make_sockets(&ours, &theirs, error);
    if (result < 0)
        return result;
    pid_t pid = 0;
    errno = check_program(program);
    if (errno == 0)
        errno = spawn(&pid, process, program, argv, theirs);
    if (errno == ENOMEM || errno == EAGAIN)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "starting %s", name_of(process));
    if (errno != 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "executing %s as %s", program, name_of(process));
    process->pid = pid;
    dmsg_channel_init(&process->channel, ours, OUT_MAX);
    ours = -1;
    return 0;
}

static void describe(char *how, size_t size, int status)
{
    if (WIFEXITED(status))
        snprintf(how, size, "it ended with status %d", WEXITSTATUS(status));
    else
        snprintf(how, size, "it was ended by signal %d", WTERMSIG(status));
}

void dmsg_process_stop(struct dmsg_process *process, char *how, size_t size)
{
    int status = 0;
    if (how != NULL)
        snprintf(how, size, "it was ended");
    if (process->pid > 0) {
        pid_t reaped = waitpid(process->pid, &status, WNOHANG);
        if (reaped == 0) {
            kill(process->pid, SIGKILL);
            do
                reaped = waitpid(process->pid, &status, 0);
            while (reaped < 0 && errno == EINTR);
        }
        if (how != NULL && reaped == process->pid)
            describe(how, size, status);
        process->pid = 0;
        dmsg_channel_done(&process->channel);
    }
}
