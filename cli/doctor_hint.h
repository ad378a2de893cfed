/* An error of another command that a check of `danemsg doctor` may explain names it: once in a run,
   on stderr, and not under the proof of concept's names, whose output is kept. */
#ifndef DANEMSG_CLI_DOCTOR_HINT_H
#define DANEMSG_CLI_DOCTOR_HINT_H

#include "command.h"

/* The command that runs from now on, whose errors are looked at by print_error. Borrowed. */
void doctor_hint_begin(const struct invocation *self);

/* Of an event of a service, by its code: what to say then, or NULL. For what happened to the
   service, and not to a message. */
const char *doctor_hint_event(int code);

#endif
