/* What the commands of `danemsg inbox` share: list, show and export (cmd_inbox.c), and purge
   (cmd_inbox_purge.c). */
#ifndef DANEMSG_CLI_INBOX_H
#define DANEMSG_CLI_INBOX_H

#include "open_store.h"

struct inbox {
    struct identity_options identity;
    struct store_choice store;
    bool json, raw, undelivered, all, failed, force;
    int64_t older;
};

#define INBOX_STORE_OPTIONS                                                                        \
    {.name = "store",                                                                              \
        .argument = "STORE",                                                                       \
        .kind = OPTION_TEXT,                                                                       \
        .at = offsetof(struct inbox, store.store),                                                 \
        .help = STORE_HELP},                                                                       \
    {                                                                                              \
        .name = "state", .argument = "FOLDER", .kind = OPTION_TEXT,                                \
        .at = offsetof(struct inbox, store.state), .help = "where the receiver keeps its database" \
    }

#define INBOX_GROUPS                                                                               \
    (const struct group_use[])                                                                     \
    {                                                                                              \
        {&identity_group, offsetof(struct inbox, identity)},                                       \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

/* The receiver's store, which must be there; change: not only to look at. */
int inbox_open(struct dmsg_store **out, const struct dmsg_context *context,
    const struct inbox *options, bool change, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
