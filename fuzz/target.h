/*
 * A fuzz target: one folder, one target.c with this function, and in corpus/ the inputs that were
 * worth keeping, each named by the SHA-1 of its content. `scripts/fuzz` builds the targets for
 * libFuzzer or AFL++ and runs them; tests/unit/test_corpora.c replays the corpora with the same
 * code in every test run, where both names below get the target's name behind them.
 */
#ifndef DANEMSG_FUZZ_TARGET_H
#define DANEMSG_FUZZ_TARGET_H

#include "danemsg/span.h"

#include <stdio.h>
#include <stdlib.h>

#if defined FUZZ_NAME
#define FUZZ_JOIN(a, b) a##b
#define FUZZ_SUFFIX(name, suffix) FUZZ_JOIN(name, suffix)
#define LLVMFuzzerTestOneInput FUZZ_SUFFIX(fuzz_run_, FUZZ_NAME)
#define fuzz_accepted FUZZ_SUFFIX(fuzz_accepted_, FUZZ_NAME)
#endif

/* Returns 0. Ends the program when something does not hold that must hold for every input. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* How many inputs the code under test accepted: a corpus has some, and some that it refused. */
extern unsigned long fuzz_accepted;

/* What must hold, whatever NDEBUG says. */
#define FUZZ_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline bool fuzz_is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            return false;
    }
    return true;
}

#endif
