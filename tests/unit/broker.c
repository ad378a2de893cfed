#include "broker.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 12000 /* of 10 ms: a loaded machine may take its time */

/* Ports that no connection gets by chance (ip(7), ip_local_port_range: from 32768 on), so that one
   stays free until its broker runs, and while it is away. */
#define PORT_FIRST 12000
#define PORT_COUNT 20000

const char *broker_missing(void)
{
    return access(BROKER_PROGRAM, X_OK) == 0 ? NULL : BROKER_PROGRAM " is not installed";
}

static int listen_on(int wanted, int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)wanted),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

int listen_on_loopback(int *port)
{
    return listen_on(0, port);
}

static bool answers(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (struct sockaddr *)&address, sizeof address) == 0;
    close(fd);
    return connected;
}

bool broker_prepare(struct broker *broker)
{
    *broker = (struct broker){0};
    snprintf(broker->folder, sizeof broker->folder, "/tmp/danemsg-broker-XXXXXX");
    if (mkdtemp(broker->folder) == NULL)
        return false;
    for (int i = 0; i < PORT_COUNT; i++) {
        uint32_t chance;
        if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
            return false;
        int fd = listen_on((int)(PORT_FIRST + chance % PORT_COUNT), &broker->port);
        if (fd >= 0) {
            close(fd);
            return true;
        }
    }
    return false;
}

void broker_path(const struct broker *broker, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/%s", broker->folder, name);
}

static bool write_configuration(const struct broker *broker, const char *path, const char *lines)
{
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    /* Started by root it would become another user, who cannot read the folder. */
    fprintf(file, "user root\nlistener %d 127.0.0.1\n", broker->port);
    fprintf(file, "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n");
    if (strstr(lines, "allow_anonymous") == NULL)
        fprintf(file, "allow_anonymous true\n");
    fprintf(file, "log_dest file %s/log\n%s\n", broker->folder, lines);
    return fclose(file) == 0;
}

bool broker_run(struct broker *broker, const char *lines)
{
    char path[128];
    broker_path(broker, "conf", path, sizeof path);
    if (!write_configuration(broker, path, lines))
        return false;
    broker->pid = fork();
    if (broker->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execl(BROKER_PROGRAM, BROKER_PROGRAM, "-c", path, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; broker->pid > 0 && i < START_TRIES; i++) {
        if (answers(broker->port))
            return true;
        if (waitpid(broker->pid, NULL, WNOHANG) == broker->pid)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    broker->pid = 0;
    return false;
}

void broker_halt(struct broker *broker)
{
    if (broker->pid <= 0)
        return;
    kill(broker->pid, SIGTERM);
    waitpid(broker->pid, NULL, 0);
    broker->pid = 0;
}

void broker_stop(struct broker *broker)
{
    char path[400];
    broker_halt(broker);
    DIR *folder = opendir(broker->folder);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        snprintf(path, sizeof path, "%s/%s", broker->folder, entry->d_name);
        unlink(path);
    }
    closedir(folder);
    rmdir(broker->folder);
}
