/*
 * Failures on purpose: the n-th allocation, or the n-th call into OpenSSL, fails.
 *
 *     failures_install();                      once, before OpenSSL allocates anything
 *     failures_arm(FAIL_MEMORY, n);
 *     ... what is tested ...
 *     failures_disarm();
 *     if (failures_hit()->reached)
 *         ... failures_hit()->what says what failed ...
 *
 * The linker's --wrap puts these functions in the place of what our code calls
 * (tests/unit/meson.build). One thread only.
 */
#ifndef DANEMSG_TEST_FAILURES_H
#define DANEMSG_TEST_FAILURES_H

#include <stdbool.h>
#include <stddef.h>

/* FAIL_ZERO: a call into OpenSSL returns 0, or NULL; FAIL_MINUS_ONE: one that returns an int
   returns -1. */
enum failures_kind { FAIL_NOTHING, FAIL_MEMORY, FAIL_ZERO, FAIL_MINUS_ONE };

/* What was made to fail. */
struct failures_hit {
    bool reached;
    char what[200];
    bool inside_openssl; /* an allocation of OpenSSL's own */
    bool told;           /* OpenSSL had it in its error queue that memory ran out */
    const struct failures_call *call;
};

/* False when OpenSSL has allocated before. */
bool failures_install(void);

/* n counts from 1. */
void failures_arm(enum failures_kind kind, long n);
void failures_disarm(void);
const struct failures_hit *failures_hit(void);

/* Allocations that are not freed: by our code, and by OpenSSL. */
long failures_live(void);
long failures_live_in_openssl(void);

/* Texts that no block which our code frees may hold, NULL-terminated; NULL: none. */
void failures_watch(const char *const *secrets);
bool failures_spilled(void);

/* Every call into OpenSSL (failures_calls.def), up to a name that is NULL. */
struct failures_call {
    const char *name;
    bool can_fail, returns_int;
    bool spare;      /* a run may do without it */
    bool fallback;   /* called only after another call has failed */
    bool beyond;     /* called by a room that calls much else besides */
    bool may_refuse; /* a peer can make it fail, so that it may look like a refusal */
    long failed;     /* how often it was made to fail */
};
#define FAILURES_CALLS 128
extern struct failures_call failures_calls[FAILURES_CALLS];

/* Between the files that do it: FAIL_NOTHING, or how this call has to fail. */
enum failures_kind failures_now(struct failures_call *call);

#endif
