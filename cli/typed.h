/*
 * What a user types for danemsg. Texts that say what to do have `danemsg COMMAND`; who runs the
 * program through something else, as danemsg-service does, types that: DANEMSG_TYPED_AS.
 */
#ifndef DANEMSG_CLI_TYPED_H
#define DANEMSG_CLI_TYPED_H

#include "danemsg/error.h"
#include "danemsg/span.h"

#include <stdio.h>

/* Appends the text, with what is typed in the place of danemsg in each `danemsg COMMAND`. */
void put_typed(struct dmsg_buffer *out, struct dmsg_span text);

/* write_output, of such a text. */
int write_typed(FILE *stream, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
