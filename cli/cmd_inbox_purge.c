/* danemsg inbox purge: takes delivered messages away. */
#include "base/fail.h"
#include "inbox.h"

/* As retention has it: one that came before it was written came while our clock was not set yet. */
static int64_t came_at(const struct dmsg_record *record)
{
    return record->received_at > record->issued_at ? record->received_at : record->issued_at;
}

static int count_all(struct dmsg_store *store, const struct inbox *options, int64_t before,
    int64_t *out, struct dmsg_error *error)
{
    struct dmsg_record record = {0};
    int result = 1;
    *out = 0;
    while ((result = dmsg_store_kept(store, record.row, &record, error)) == 1)
        *out +=
            came_at(&record) < before && (record.delivery == DMSG_DELIVERED ||
                                             (options->failed && record.delivery == DMSG_FAILED));
    return result;
}

/* What was put aside is called delivered, and goes with the others. */
static int give_up_failed(struct dmsg_store *store, int64_t before, struct dmsg_error *error)
{
    struct dmsg_record record = {0};
    int result = 1;
    while ((result = dmsg_store_kept(store, record.row, &record, error)) == 1) {
        int64_t row = record.row;
        if (record.delivery == DMSG_FAILED && came_at(&record) < before)
            result = dmsg_store_delivered(store, row, error);
        if (result < 0)
            break;
    }
    return result;
}

static int discard(
    struct dmsg_store *store, const struct inbox *options, int64_t before, struct dmsg_error *error)
{
    int result = options->failed ? give_up_failed(store, before, error) : 0;
    if (result == 0)
        result = 1;
    while (result == 1)
        result = dmsg_store_discard(store, before, error);
    return result;
}

static int run_purge(struct invocation *self, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    const struct inbox *options = self->options;
    struct dmsg_store *store = NULL;
    int64_t count = 0;
    int64_t before = options->all ? INT64_MAX : dmsg_context_now(&context) - options->older;
    if (options->all == (options->older != 0))
        return dmsg_fail(error, DMSG_E_USAGE, "--all or --older, one of them");
    int result = inbox_open(&store, &context, options, options->force, error);
    if (result == 0)
        result = count_all(store, options, before, &count, error);
    if (result == 0 && options->force)
        result = discard(store, options, before, error);
    dmsg_store_close(&store);
    if (result == 0)
        printf(options->force ? "%lld message(s) taken away\n"
                              : "%lld message(s) would be taken away; --force does it\n",
            (long long)count);
    return result;
}

static const struct option purge_options[] = {
    {.name = "older",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct inbox, older),
        .least = 1,
        .help = "delivered ones that came longer ago: 12h, 30d"},
    {.name = "all",
        .kind = OPTION_FLAG,
        .at = offsetof(struct inbox, all),
        .help = "all delivered ones"},
    {.name = "failed",
        .kind = OPTION_FLAG,
        .at = offsetof(struct inbox, failed),
        .help = "those too that were put aside as failed"},
    {.name = "force",
        .kind = OPTION_FLAG,
        .at = offsetof(struct inbox, force),
        .help = "do it, and not only count them"},
    INBOX_STORE_OPTIONS};

const struct command cmd_inbox_purge = {
    .name = "inbox purge",
    .arguments = "",
    .summary = "Take delivered messages away before their time.",
    .notes =
        "Never what is still to be delivered. The file keeps its size, for later messages. Ids "
        "stay remembered: a message taken away cannot come a second time.",
    .example = "danemsg inbox purge --older 7d --force --identity bob.example.net",
    .options = purge_options,
    .option_count = COUNT(purge_options),
    .groups = INBOX_GROUPS,
    .size = sizeof(struct inbox),
    .run = run_purge,
};
