/* One run from payload to envelope and back, in steps of which any may fail, and what has to hold
   after it. */
#ifndef DANEMSG_TEST_FAILURES_RUN_H
#define DANEMSG_TEST_FAILURES_RUN_H

#include "danemsg/message.h"
#include "failures.h"
#include "jose/jose.h"
#include "people.h"

extern const struct dmsg_context run_context;

enum {
    STEP_NEW_SEALER,
    STEP_NEW_OPENER,
    STEP_SEAL,
    STEP_BEGIN,
    STEP_RESUME,
    STEP_FINISH,
    STEP_FINISH_RESUMED,
    STEP_HALVES,
};

struct scenario {
    const char *name;
    const struct person *from, *to;
    struct dmsg_identity *const *identity; /* the recipient's, NULL: to's */
    const struct dmsg_peer *const *peer;   /* the sender's, NULL: from's */
    enum dmsg_format format;
    size_t certificates; /* that go along */
    bool cbc;
    bool several; /* keys of which one does not fit: a try that fails may not matter */
    bool halves;  /* sign, encrypt and decrypt alone too */
    bool fresh;   /* new objects for each failure too, which fails from the step `from_step` on */
    size_t from_step;
    long every; /* so many points of memory are passed by for each that fails; 0: none */
};

struct run {
    const struct scenario *scenario;
    size_t step; /* where it ended */
    struct dmsg_seal_options options;
    struct dmsg_sealer *sealer;
    struct dmsg_opener *opener;
    struct dmsg_buffer envelope, jws, jwe, plaintext;
    struct dmsg_message message, resumed;
    char kid[DMSG_KID_SIZE];
    struct dmsg_error error;
};

void run_start(struct run *run, const struct scenario *scenario);
/* From a step on, until one fails: its code, or 0 after the last. */
int run_go(struct run *run, size_t step);
int run_go_until(struct run *run, size_t step, size_t end);
/* Empties what the run has made, but for what lasts. */
void run_clear(struct run *run);
void run_end(struct run *run);

/* What is wrong after a run that ended with this result, or NULL. */
const char *run_fault(const struct run *run, int result);
/* The name of the step where it ended. */
const char *run_step(const struct run *run);
/* True for a refusal that is a failure of memory in fact, which OpenSSL did not tell. */
bool run_is_silent(const struct run *run, int result);
/* The step that failed, and all after it, with the same objects: NULL, or what is wrong. */
const char *run_again(struct run *run);

#endif
