#include "postgres.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[40];
static char programs[200]; /* the folder of initdb and postgres */
static char url[120];
static const struct passwd *user; /* NULL: we are no root already */
static pid_t server;

/* Debian keeps them apart by version; the newest. */
static int find_programs(void)
{
    glob_t found;
    if (glob("/usr/lib/postgresql/*/bin/initdb", 0, NULL, &found) != 0)
        return -1;
    const char *path = found.gl_pathv[found.gl_pathc - 1];
    snprintf(programs, sizeof programs, "%.*s", (int)(strrchr(path, '/') - path), path);
    globfree(&found);
    return 0;
}

/* In the child: as the server's user, silent, in its folder. */
static void become_server(void)
{
    int null = open("/dev/null", O_RDWR);
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (user != NULL &&
        (setgroups(0, NULL) < 0 || setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0))
        _exit(127);
    prctl(PR_SET_PDEATHSIG, SIGINT); /* of a test that crashes */
    if (log < 0)
        log = null;
    dup2(null, 0);
    dup2(log, 1);
    dup2(log, 2);
}

static pid_t start(char *const *arguments)
{
    char path[260];
    snprintf(path, sizeof path, "%s/%s", programs, arguments[0]);
    pid_t child = fork();
    if (child != 0)
        return child;
    if (chdir(folder) == 0) {
        become_server();
        execv(path, arguments);
    }
    _exit(127);
}

static int run(char *const *arguments)
{
    int status = 1;
    pid_t child = start(arguments);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0 ? 0 : -1;
}

static int start_server(void)
{
    char *const ready[] = {"pg_isready", "-q", "-h", folder, NULL};
    char *const arguments[] = {"postgres", "-D", "data", "-k", folder, "-c",
        "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=20", "-c",
        "shared_buffers=16MB", NULL};
    server = start(arguments);
    for (int i = 0; server > 0 && i < 2400 && waitpid(server, NULL, WNOHANG) == 0; i++) {
        if (run(ready) == 0)
            return 0;
        usleep(50000);
    }
    server = 0;
    return -1;
}

static int remove_one(const char *path, const struct stat *facts, int kind, struct FTW *place)
{
    (void)facts;
    (void)kind;
    (void)place;
    return remove(path);
}

static void stop_server(void)
{
    if (server <= 0)
        return;
    kill(server, SIGINT);
    waitpid(server, NULL, 0);
    server = 0;
}

static void stop(void)
{
    stop_server();
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *begin(void)
{
    char *const initdb[] = {"initdb", "-D", "data", "-A", "trust", "-U", "danemsg", "-E", "UTF8",
        "--locale=C", "--no-sync", NULL};
    if (find_programs() < 0)
        return "PostgreSQL is not installed (scripts/deps test)";
    if (geteuid() == 0 && (user = getpwnam("postgres")) == NULL)
        return "there is no user postgres, and root may not run the server";
    snprintf(folder, sizeof folder, "/tmp/danemsg-postgres-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return "no temporary folder";
    atexit(stop);
    if (user != NULL && chown(folder, user->pw_uid, user->pw_gid) < 0)
        return "the folder cannot be given to the server's user";
    snprintf(url, sizeof url, "postgresql://danemsg@/postgres?host=%s", folder);
    if (run(initdb) < 0 || start_server() < 0)
        return "PostgreSQL does not start here";
    return NULL;
}

const char *postgres_url(const char **why)
{
    static const char *reason;
    if (url[0] == '\0' && reason == NULL)
        reason = begin();
    *why = reason;
    return reason == NULL ? url : NULL;
}

int postgres_restart(void)
{
    stop_server();
    return start_server();
}
