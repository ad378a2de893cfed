#include "exec.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

/* In the environment of the command. The values are a verified sender's: text without NUL, which
   no shell reads by itself. */
static const char *const names[] = {
    "DANEMSG_SENDER", "DANEMSG_ID", "DANEMSG_CONTENT_TYPE", "DANEMSG_TOPIC"};
#define NAMES (sizeof names / sizeof names[0])

/* Secrets of the connections to the broker and to the store, which the command needs not know. */
static const char *const withheld[] = {"DANEMSG_PW", "DANEMSG_URL", "DANEMSG_STORE", "PGPASSWORD"};

struct environment {
    char **variables;
    char *own[NAMES];
};

static bool is_variable(const char *variable, const char *name)
{
    size_t size = strlen(name);
    return strncmp(variable, name, size) == 0 && variable[size] == '=';
}

static bool is_kept(const char *variable)
{
    for (size_t i = 0; i < NAMES; i++) {
        if (is_variable(variable, names[i]))
            return false;
    }
    for (size_t i = 0; i < sizeof withheld / sizeof withheld[0]; i++) {
        if (is_variable(variable, withheld[i]))
            return false;
    }
    return true;
}

static void environment_done(struct environment *environment)
{
    free(environment->variables);
    for (size_t i = 0; i < NAMES; i++)
        free(environment->own[i]);
}

static int make_environment(
    struct environment *out, const struct dmsg_record *record, struct dmsg_error *error)
{
    const char *const values[NAMES] = {record->sender.text, record->id, record->content_type, NULL};
    size_t count = 0;
    while (environ != NULL && environ[count] != NULL)
        count++;
    out->variables = calloc(count + NAMES + 1, sizeof *out->variables);
    if (out->variables == NULL)
        return dmsg_fail_memory(error);
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_kept(environ[i]))
            out->variables[used++] = environ[i];
    }
    for (size_t i = 0; i < NAMES; i++) {
        int made = values[i] != NULL
                       ? asprintf(&out->own[i], "%s=%s", names[i], values[i])
                       : asprintf(&out->own[i], "%s=%.*s", names[i], (int)record->topic.size,
                             (const char *)record->topic.data);
        if (made < 0) {
            out->own[i] = NULL;
            return dmsg_fail_memory(error);
        }
        out->variables[used++] = out->own[i];
    }
    return 0;
}

/* A file in memory in place of a pipe: the command may read it when it likes, or not at all. */
static int make_input(int *out, struct dmsg_span content, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = memfd_create("message", MFD_CLOEXEC);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "memory for the message to --exec");
    for (size_t done = 0; done < content.size;) {
        ssize_t written = write(fd, content.data + done, content.size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return dmsg_fail_errno(error, DMSG_E_INTERNAL, "memory for the message to --exec");
        done += (size_t)written;
    }
    if (lseek(fd, 0, SEEK_SET) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "memory for the message to --exec");
    *out = fd;
    fd = -1;
    return 0;
}

static int spawn_shell(pid_t *pid, const char *command, char **environment, int input)
{
    char shell[] = "sh", option[] = "-c";
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int failed = posix_spawn_file_actions_init(&actions);
    if (failed != 0)
        return failed;
    failed = posix_spawnattr_init(&attributes);
    if (failed == 0) {
        char *text = strdup(command);
        char *argv[] = {shell, option, text, NULL};
        failed = text == NULL ? ENOMEM : dmsg_spawn_attributes(&attributes, true);
        if (failed == 0)
            failed = posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
        if (failed == 0)
            failed = posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
        if (failed == 0)
            failed = posix_spawn(pid, "/bin/sh", &actions, &attributes, argv, environment);
        free(text);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return failed;
}

/* What bounds the receiver's memory (memory_bound.h) is not the command's, which inherits it. */
static void lift_bound(struct rlimit *before)
{
    struct rlimit lifted;
    if (getrlimit(RLIMIT_DATA, before) < 0)
        *before = (struct rlimit){RLIM_INFINITY, RLIM_INFINITY};
    lifted = (struct rlimit){before->rlim_max, before->rlim_max};
    (void)setrlimit(RLIMIT_DATA, &lifted);
}

static int spawn_unbound(pid_t *pid, const char *command, char **environment, int input)
{
    struct rlimit before;
    lift_bound(&before);
    int failed = spawn_shell(pid, command, environment, input);
    (void)setrlimit(RLIMIT_DATA, &before);
    return failed;
}

int exec_start(struct exec *exec, const struct dmsg_record *record, struct dmsg_error *error)
{
    DMSG_CLEANUP(environment_done) struct environment environment = {0};
    DMSG_CLEANUP(dmsg_cleanup_fd) int input = -1;
    pid_t pid = 0;
    int result = make_environment(&environment, record, error);
    if (result == 0)
        result = make_input(&input, record->content, error);
    if (result < 0)
        return result;
    errno = spawn_unbound(&pid, exec->command, environment.variables, input);
    if (errno != 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "starting the command of --exec");
    exec->fd = pidfd_open(pid, 0);
    if (exec->fd < 0) {
        result = dmsg_fail_errno(error, DMSG_E_INTERNAL, "watching the command of --exec");
        kill(-pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return result;
    }
    exec->pid = pid;
    return 0;
}

int exec_end(struct exec *exec, struct dmsg_error *why)
{
    int status = 0;
    pid_t ended = waitpid(exec->pid, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR))
        return 0;
    exec->pid = 0;
    dmsg_cleanup_fd(&exec->fd);
    exec->fd = -1;
    if (ended < 0)
        return dmsg_fail_errno(why, DMSG_E_LOCAL, "waiting for the command of --exec");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 1;
    if (WIFEXITED(status))
        return dmsg_fail(
            why, DMSG_E_LOCAL, "the command of --exec ended with status %d", WEXITSTATUS(status));
    return dmsg_fail(why, DMSG_E_LOCAL, "the command of --exec was ended by signal %d (%s)",
        WTERMSIG(status), sigabbrev_np(WTERMSIG(status)));
}

void exec_done(struct exec *exec)
{
    if (exec->pid > 0)
        kill(-exec->pid, SIGTERM);
    exec->pid = 0;
    dmsg_cleanup_fd(&exec->fd);
    exec->fd = -1;
}
