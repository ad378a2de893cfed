/* What --help says, made from the table of commands. */
#ifndef DANEMSG_CLI_HELP_H
#define DANEMSG_CLI_HELP_H

#include "command.h"

#include <stdio.h>

/*
 * Usage, options, example of one command on stdout. Without all it fits a screen of 24 lines and a
 * prompt: options that many commands share are then only pointed to, and if that is not enough,
 * the notes are left out and a command's last options given by name.
 */
int help_command(const struct command *command, bool all, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The commands; with a first word, those that begin with it. */
int help_program(FILE *stream, const char *first_word, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The table as JSON, an object a line: every command with its options, then every outcome. */
int help_json(struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
