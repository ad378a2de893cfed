/* What a service says while it runs, on stderr: a line for people, or with --log-json a JSON object
   for each event. */
#ifndef DANEMSG_CLI_EVENTS_H
#define DANEMSG_CLI_EVENTS_H

#include "base/log.h"

#include <stdbool.h>

struct events {
    const char *program; /* "danemsg receive" */
    bool debug;          /* -d: also what is only of interest for finding faults */
    bool json;
};

/* For struct dmsg_log: user is a struct events. */
void events_write(void *user, const struct dmsg_event *event);

#endif
