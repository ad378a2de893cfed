/*
 * Options as data. Flags go over the environment: every long option --some-thing can also be
 * given as DANEMSG_SOME_THING, and some by a name of the proof of concept (variable).
 */
#ifndef DANEMSG_CLI_OPTIONS_H
#define DANEMSG_CLI_OPTIONS_H

#include "danemsg/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct invocation;

enum option_kind {
    OPTION_FLAG,     /* bool */
    OPTION_TEXT,     /* const char * */
    OPTION_NUMBER,   /* int64_t, between least and most */
    OPTION_DURATION, /* int64_t seconds, least or more: 45s, 30m, 12h, 7d, a plain number */
    OPTION_LIST,     /* struct text_list; repeatable; in the environment separated by spaces */
};

enum help { HELP_NONE, HELP_SHORT, HELP_ALL };

/* Texts in the order given, borrowed from argv or from copy. */
struct text_list {
    const char **items;
    size_t count;
    char *copy; /* the environment's value, cut into its items */
};

struct option {
    char letter;          /* 0 for none */
    const char *name;     /* without dashes; NULL: only a letter, and no variable */
    const char *argument; /* shown in help: "NAME"; NULL for flags */
    enum option_kind kind;
    size_t at; /* offsetof in the struct */
    int64_t least, most;
    const char *variable; /* another environment variable that sets it; NULL for none */
    const char *help;
};

/* Options that several commands share, with a struct of their own inside the command's. */
struct option_group {
    const char *title;
    const struct option *options;
    size_t count;
};

struct group_use {
    const struct option_group *group;
    size_t at; /* offsetof in the command's struct */
};

/*
 * Fills self->options and the positional arguments from the environment and argv (argv[0] is not
 * looked at). Values that the struct holds already are the defaults. DMSG_E_USAGE with the
 * option's name. `--` ends the options; a lone `-` is an argument.
 * *help is set when --help or --help-all is there, and what comes behind it is not judged.
 */
int options_parse(struct invocation *self, int argc, char **argv, enum help *help,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Frees the lists and the positional arguments; texts are borrowed. */
void options_done(struct invocation *self);

/* The environment variable that sets an option: DANEMSG_SOME_THING. */
#define OPTION_VARIABLE_MAX 80
void options_variable(char out[static OPTION_VARIABLE_MAX], const char *option);

#endif
