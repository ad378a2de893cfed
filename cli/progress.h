/* How far long work has come: one line on a terminal, rewritten; nothing anywhere else. */
#ifndef DANEMSG_CLI_PROGRESS_H
#define DANEMSG_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress {
    const char *program;
    bool terminal;  /* stderr is one */
    bool shown;     /* a line is there, to be wiped */
    int64_t due_at; /* when the next is to be shown */
};

void progress_init(struct progress *progress, const char *program);
/* "danemsg send: WHAT: 37 % of 12.3 MiB", a few times a second; not before the work has taken a
   second. */
void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total);
/* A step without figures, at once: "danemsg send: WHAT". */
void progress_say(struct progress *progress, const char *what);
/* Wipes the line. Before anything else is written to stderr. */
void progress_end(struct progress *progress);

#endif
