/* Of the resolver: its parts in two files, and what its tests may touch. */
#ifndef DANEMSG_DANE_RESOLVER_INTERNAL_H
#define DANEMSG_DANE_RESOLVER_INTERNAL_H

#include "dane/bell.h"
#include "dane/process.h"
#include "dane/program.h"
#include "dane/trust.h"

#include <sys/stat.h>

/* Questions under way at once. */
#define DMSG_QUESTIONS_MAX 256

/* Milliseconds. */
struct dmsg_timing {
    int question;    /* an accepted question is answered after this at the latest */
    int ping_after;  /* silence, with questions open, after which the process is asked for a sign */
    int ping_wait;   /* without a sign for this long it hangs */
    int pause_first; /* before the second restart in a row; doubled each time */
    int pause_most;
};

struct dmsg_question {
    bool used;
    uint32_t id; /* in the present process; 0: not sent to it */
    int attempts;
    int64_t deadline;
    struct dmsg_name name;
    dmsg_resolver_done *done;
    void *user;
};

/* Which version of the system's file was read. */
struct dmsg_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct dmsg_resolver {
    struct dmsg_program program;
    struct dmsg_buffer setup;
    bool use_system; /* no server was configured */
    bool root;       /* no trust anchor was: the root's */
    struct dmsg_trust trust;
    const char *system_file;
    struct dmsg_stamp stamp;
    int64_t stamped_at;
    bool reload; /* the system's file changed: start a process that reads it anew */

    struct dmsg_timing timing;
    struct dmsg_process process;
    int64_t start_at; /* not before, when there is no process */
    int deaths;       /* in a row, without an answer in between */
    char why[256];    /* what ended the last process */

    uint32_t first_id, next_id; /* ids given out in the present process */
    uint32_t ping_id;           /* open ping, 0: none */
    int sandbox;                /* enum dmsg_sandbox, of the present process; -1: not told yet */
    int64_t heard_at, pinged_at;

    struct dmsg_bell bell;
    bool stepping;
    struct dmsg_question questions[DMSG_QUESTIONS_MAX];
};

/* ------------------------------------------------------------------ the process's life (life.c) */

bool dmsg_life_running(const struct dmsg_resolver *resolver);

/* Starts a process, sets it up and asks it all open questions. */
int dmsg_life_start(struct dmsg_resolver *resolver, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_life_start_if_due(struct dmsg_resolver *resolver);

/* The process is useless, what says why, "hangs" for instance: ends it, and answers the questions
   that it was the second to fail. */
void dmsg_life_bury(struct dmsg_resolver *resolver, const char *what);

/* Has the system other resolvers since the process started? Then reload ends it; its questions are
   asked again of the next one, and it was nobody's fault. */
void dmsg_life_check_system(struct dmsg_resolver *resolver);
void dmsg_life_reload(struct dmsg_resolver *resolver);

void dmsg_life_send(struct dmsg_resolver *resolver, struct dmsg_question *question);
void dmsg_life_ping(struct dmsg_resolver *resolver);
void dmsg_life_flush(struct dmsg_resolver *resolver);

/* ----------------------------------------------------------------------- answering (resolver.c) */

/* Frees the slot, then calls back. */
void dmsg_question_answer(struct dmsg_question *question, const struct dmsg_answer *answer);
void dmsg_question_not_now(struct dmsg_question *question, const char *why);

/* ------------------------------------------------------------------------------------ for tests */

void dmsg_timing_set(struct dmsg_resolver *resolver, const struct dmsg_timing *timing);

/* What a person should know of the root's trust anchors, or "". */
const char *dmsg_resolver_note(const struct dmsg_resolver *resolver);

/* What confines the present process (enum dmsg_sandbox), as it says itself; -1: not told yet. */
int dmsg_resolver_sandbox(const struct dmsg_resolver *resolver);

/* The process that answers now, 0 while there is none. */
pid_t dmsg_process_of(const struct dmsg_resolver *resolver);

/* Reads this in place of /etc/resolv.conf from now on; borrowed. */
void dmsg_system_file_set(struct dmsg_resolver *resolver, const char *path);

#endif
