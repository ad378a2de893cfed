/*
 * Keys on disk that change while a command runs: a rollover makes the next key, and switches to it.
 *
 *     reload_init(&reload, self->program, &context, &options->identity, me, &error);
 *     const struct dmsg_identity *fresh = reload_look(&reload, false);
 *     if (fresh != NULL) {
 *         ... make a sealer or openers with it; if that fails, reload_refuse(&reload, &why) ...
 *         ... free those that used the one before ...
 *         reload_use(&reload);
 *     }
 *     reload_done(&reload);
 */
#ifndef DANEMSG_CLI_RELOAD_H
#define DANEMSG_CLI_RELOAD_H

#include "common.h"

struct reload {
    const char *program;
    const struct dmsg_context *context;
    char *folder; /* NULL: not in use */
    const struct dmsg_identity *first;
    struct dmsg_identity *used, *fresh; /* used NULL: the first still is */
    uint64_t mark;
    int64_t looked_at;
    char said[DMSG_ERROR_TEXT]; /* the last trouble, which is said once */
};

/* Borrows first, which whoever reads its keys later than now may go on using. */
int reload_init(struct reload *reload, const char *program, const struct dmsg_context *context,
    const struct identity_options *options, const struct dmsg_identity *first,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The one in use: first, or what came after it. */
const struct dmsg_identity *reload_identity(const struct reload *reload);

/* Looks at the files, at most once a second unless at_once: the identity as it is there now, when
   its keys are others, or NULL. What cannot be loaded just now is said once, and tried again. */
const struct dmsg_identity *reload_look(struct reload *reload, bool at_once);
/* The one that reload_look gave is in use now; the one before is freed. */
void reload_use(struct reload *reload);
/* It cannot be used: the one before stays. */
void reload_refuse(struct reload *reload, const struct dmsg_error *why);
void reload_done(struct reload *reload);

#endif
