/*
 * receive --exec: a command for every message, one at a time. It runs through `/bin/sh -c`, with
 * the message on its standard input and, in its environment, DANEMSG_SENDER, DANEMSG_ID,
 * DANEMSG_CONTENT_TYPE and DANEMSG_TOPIC; its exit status 0 says that the message is taken.
 */
#ifndef DANEMSG_CLI_EXEC_H
#define DANEMSG_CLI_EXEC_H

#include "danemsg/store.h"

#include <sys/types.h>

struct exec {
    const char *command;
    pid_t pid; /* 0: none runs */
    int fd;    /* of that process; -1 */
};
#define EXEC_NONE                                                                                  \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* Starts the command: 0, or DMSG_E_LOCAL, DMSG_E_INTERNAL. */
int exec_start(
    struct exec *exec, const struct dmsg_record *record, struct dmsg_error *error) DMSG_MUST_CHECK;

/* 1: it took the message; 0: it still runs; DMSG_E_LOCAL: it did not, and why says how it ended. */
int exec_end(struct exec *exec, struct dmsg_error *why) DMSG_MUST_CHECK;

/* Asks what still runs to end, and does not wait for it. */
void exec_done(struct exec *exec);

#endif
