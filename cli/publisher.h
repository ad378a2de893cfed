/* Publishing from the outbox: once, for `danemsg outbox flush`, or for as long as it runs, for
   `danemsg send --daemon`. */
#ifndef DANEMSG_CLI_PUBLISHER_H
#define DANEMSG_CLI_PUBLISHER_H

#include "broker.h"
#include "common.h"

struct publisher_options {
    const struct broker_options *broker;
    const struct identity_options *identity;
    const struct dns_options *dns;
    const char *state;   /* --state; NULL: the default */
    const char *metrics; /* --metrics; NULL: none */
    bool log_json;
    bool once;
    int64_t wait; /* once: seconds without progress, then it is given up */
};

int publisher_run(const char *program, const struct publisher_options *options,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
