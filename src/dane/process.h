/* A process of our own program, reached over a socket on its descriptor 3. */
#ifndef DANEMSG_DANE_PROCESS_H
#define DANEMSG_DANE_PROCESS_H

#include "dane/channel.h"

#include <sys/types.h>

/* The descriptor that the process finds its socket on. */
#define DMSG_PROCESS_FD 3

struct dmsg_process {
    const char *called; /* argv[0], and its name in errors; NULL: "danemsg-resolver" */
    const char *folder; /* it starts in; NULL: where we are */
    pid_t pid;          /* 0: none */
    struct dmsg_channel channel;
};

/*
 * Executes program, of whose struct called and folder are set, with the arguments (NULL-terminated,
 * or NULL). It inherits stderr and the socket, no other descriptor, no blocked or ignored signal,
 * and of the environment only what the dynamic linker and the sanitizers read, and where the
 * system's CAs are: nothing secret. DMSG_E_LOCAL: it cannot be executed. DMSG_E_INTERNAL: no
 * memory, descriptors or processes left.
 */
int dmsg_process_start(struct dmsg_process *process, const char *program,
    const char *const *arguments, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Kills it, reaps it, and closes the socket. how (if not NULL) gets how it ended, in words. */
void dmsg_process_stop(struct dmsg_process *process, char *how, size_t size);

#endif
