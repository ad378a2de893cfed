/* Lists of patterns of names, from options and files. */
#ifndef DANEMSG_CLI_PATTERNS_H
#define DANEMSG_CLI_PATTERNS_H

#include "common.h"

/* The caller frees items. */
struct pattern_list {
    struct dmsg_pattern *items;
    size_t count;
};

/* Appends the patterns of a list of texts; option is named in the error (DMSG_E_USAGE). */
int add_patterns(struct pattern_list *list, const struct text_list *texts, const char *option,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the pattern of each line of a file; white space, empty lines and # comments go.
   DMSG_E_LOCAL when it names nobody. */
int add_pattern_file(
    struct pattern_list *list, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
