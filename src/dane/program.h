/* The program that a process of ours is made from. */
#ifndef DANEMSG_DANE_PROGRAM_H
#define DANEMSG_DANE_PROGRAM_H

#include "danemsg/error.h"

/* Arguments that a caller may give. */
#define DMSG_PROGRAM_ARGUMENTS_MAX 8

struct dmsg_program {
    char *path;
    char *arguments[DMSG_PROGRAM_ARGUMENTS_MAX + 2]; /* the caller's, one of ours, NULL */
};

/* path NULL: libexec/danemsg-resolver. arguments may be NULL; last comes behind them, NULL: none.
   DMSG_E_USAGE: too many. The struct is zeroed before, and emptied with done in any case. */
int dmsg_program_copy(struct dmsg_program *out, const char *path, const char *const *arguments,
    const char *last, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_program_done(struct dmsg_program *program);

/* For dmsg_process_start. */
const char *const *dmsg_program_arguments(const struct dmsg_program *program);

#endif
