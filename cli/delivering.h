/*
 * Where `receive` hands messages out: a line each on standard output, or a command for each
 * (--exec). For struct dmsg_receive_config: deliver, delivery_end and delivery_fd, whose user is a
 * struct delivering.
 */
#ifndef DANEMSG_CLI_DELIVERING_H
#define DANEMSG_CLI_DELIVERING_H

#include "exec.h"
#include "service/receive.h"

struct delivering_options {
    const char *format, *command; /* -F, --exec */
    bool no_newline, verbose, json, pretty;
};

struct delivering {
    const struct delivering_options *options;
    struct exec exec;
    struct dmsg_buffer line;
    bool to_file; /* standard output is one, which takes everything at once */
    int terminal; /* it is one: the same, opened anew, so that writing never blocks; else -1 */
    /* While standard output takes nothing: asked when wake_fd is readable, and true ends it. */
    bool (*stop)(void *user);
    void *user;
    int wake_fd;
};

/* DMSG_E_USAGE: options that exclude each other, or a format that is none: found now, and not at
   the first message. */
int delivering_check(
    const struct delivering_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

void delivering_init(struct delivering *delivering, const struct delivering_options *options);
int delivering_deliver(
    void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error);
int delivering_end(void *user, struct dmsg_error *why);
int delivering_fd(void *user);
/* A command that still runs is asked to end. */
void delivering_done(struct delivering *delivering);

#endif
