#include "hardware.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_TRIES 12000 /* of 10 ms: a loaded machine may take its time */

static int loopback(int port, bool listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
        .sin_port = htons((uint16_t)port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int done = listening ? bind(fd, (struct sockaddr *)&address, sizeof address)
                         : connect(fd, (struct sockaddr *)&address, sizeof address);
    if (done == 0)
        return fd;
    close(fd);
    return -1;
}

/* Two ports, one after the other: that is how the library finds the second. */
static int find_ports(void)
{
    for (int port = 20000 + getpid() % 20000; port < 60000; port += 2) {
        int first = loopback(port, true), second = loopback(port + 1, true);
        close(first);
        close(second);
        if (first >= 0 && second >= 0)
            return port;
    }
    return 0;
}

static int execute(const char *folder, int port)
{
    char state[100], server[100], control[100];
    snprintf(state, sizeof state, "dir=%s", folder);
    snprintf(server, sizeof server, "type=tcp,port=%d,bindaddr=127.0.0.1", port);
    snprintf(control, sizeof control, "type=tcp,port=%d,bindaddr=127.0.0.1", port + 1);
    int pid = fork();
    if (pid != 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDOUT_FILENO);
    dup2(null, STDERR_FILENO);
    execlp("swtpm", "swtpm", "socket", "--tpm2", "--tpmstate", state, "--server", server, "--ctrl",
        control, "--flags", "not-need-init,startup-clear", (char *)NULL);
    _exit(127);
}

/* False when it ended before it listened: it is not installed. The control port is asked, since
   the other serves one connection and ends after it. */
static bool wait_for(int pid, int port)
{
    for (int i = 0; pid > 0 && i < START_TRIES; i++) {
        int fd = loopback(port + 1, false);
        if (fd >= 0) {
            close(fd);
            return true;
        }
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return false;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return false;
}

const char *tpm_start(struct tpm *tpm)
{
    char tcti[100];
    *tpm = (struct tpm){.folder = "/tmp/danemsg-tpm-XXXXXX"};
    if (mkdtemp(tpm->folder) == NULL)
        return "no folder for the TPM's state";
    int port = find_ports();
    tpm->pid = execute(tpm->folder, port);
    if (!wait_for(tpm->pid, port)) {
        tpm->pid = 0;
        tpm_stop(tpm);
        return "swtpm is not installed";
    }
    snprintf(tcti, sizeof tcti, "swtpm:host=127.0.0.1,port=%d", port);
    setenv("TPM2OPENSSL_TCTI", tcti, 1);
    setenv("TSS2_LOG", "all+none", 1);
    tpm->library = OSSL_LIB_CTX_new();
    /* In this order, since the first one also gives the library its random octets. */
    tpm->software = OSSL_PROVIDER_load(tpm->library, "default");
    tpm->tpm2 = OSSL_PROVIDER_load(tpm->library, "tpm2");
    ERR_clear_error();
    if (tpm->tpm2 != NULL && tpm->software != NULL)
        return NULL;
    tpm_stop(tpm);
    return "tpm2-openssl is not installed";
}

EVP_PKEY *tpm_new_key(const struct tpm *tpm, const char *kind)
{
    return strcmp(kind, "RSA") == 0
               ? EVP_PKEY_Q_keygen(tpm->library, "provider=tpm2", "RSA", (size_t)2048)
               : EVP_PKEY_Q_keygen(tpm->library, "provider=tpm2", "EC", kind);
}

void tpm_halt(struct tpm *tpm)
{
    if (tpm->pid <= 0)
        return;
    kill(tpm->pid, SIGTERM);
    waitpid(tpm->pid, NULL, 0);
    tpm->pid = 0;
}

void tpm_stop(struct tpm *tpm)
{
    if (tpm->tpm2 != NULL)
        OSSL_PROVIDER_unload(tpm->tpm2);
    if (tpm->software != NULL)
        OSSL_PROVIDER_unload(tpm->software);
    OSSL_LIB_CTX_free(tpm->library);
    tpm_halt(tpm);
    remove_folder(tpm->folder);
    *tpm = (struct tpm){0};
}
