/*
 * What a command is. One table (main.c) makes dispatch, usage and help; each command declares its
 * options as data (options.h) and lives in a file cmd_NAME.c of its own:
 *
 *     struct lookup { struct identity_options identity; struct dns_options dns; bool json; };
 *     static const struct option options[] = {
 *         {.name = "json", .kind = OPTION_FLAG, .at = offsetof(struct lookup, json),
 *             .help = "one JSON object"},
 *     };
 *     static int run(struct invocation *self, struct dmsg_error *error);
 *     const struct command cmd_lookup = {
 *         .name = "lookup", .arguments = "NAME", .summary = "...", .example = "...",
 *         .options = options, .option_count = COUNT(options),
 *         .groups = (const struct group_use[]){{&dns_group, offsetof(struct lookup, dns)}, {0}},
 *         .size = sizeof(struct lookup), .least = 1, .most = 1, .run = run};
 */
#ifndef DANEMSG_CLI_COMMAND_H
#define DANEMSG_CLI_COMMAND_H

#include "danemsg/error.h"
#include "options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct invocation {
    const struct command *command;
    const char *program; /* "danemsg send", or the link's own name: what messages begin with */
    void *options;       /* the command's struct, filled in from flags, environment, defaults */
    int argument_count;  /* positional arguments */
    char **arguments;    /* NULL-terminated */
};

struct command {
    const char *name;      /* "identity new" */
    const char *arguments; /* "RECIPIENT MESSAGE", "" */
    const char *summary;   /* one line */
    const char *example;   /* one or more command lines, without a newline at the end */
    const char *notes;     /* a line or two below the options in --help; may be NULL */
    const struct option *options;
    size_t option_count;
    const struct group_use *groups; /* ends with a NULL group; may be NULL */
    size_t size;                    /* of the options struct */
    const void *defaults;           /* what it holds before; NULL: zeros */
    int least, most;                /* positional arguments */
    bool link;                      /* a name of the proof of concept: reached through argv[0] */

    /*
     * 0 or a negative error code, which main turns into the exit status after it printed the
     * error's text. A command that has printed its errors itself empties error->text.
     */
    int (*run)(struct invocation *self, struct dmsg_error *error);

    /* Exit status of a link that keeps the proof of concept's; NULL: dmsg_error_exit_status. */
    int (*exit_status)(int code);
};

extern const struct command *const commands[]; /* ends with NULL */

#endif
