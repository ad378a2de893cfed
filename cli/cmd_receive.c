/* danemsg receive: the long-running receiver. */
#include "base/fail.h"
#include "base/monotonic.h"
#include "receiving.h"

#include <stdlib.h>
#include <string.h>

/* A batch holds 32 MiB, and a packet that is larger than a batch would never be acknowledged. */
#define SIZE_LIMIT_MOST (16 * 1024 * 1024)

/* MIB: as much as is kept of what is delivered; two of it must find room on a card. */
#define PENDING_SIZE 1024

/* A pebibyte, in units of --retain-size. */
#define RETAIN_SIZE_MOST (1024 * 1024 * 1024)

static const struct option options_table[] = {
    {.letter = 'C',
        .name = "count",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, count),
        .least = 1,
        .most = INT64_MAX,
        .help = "end after N messages"},
    {.letter = 'W',
        .name = "wait",
        .argument = "SECONDS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, wait),
        .least = 1,
        .most = 86400 * 365,
        .help = "end after this time, with 12"},
    {.letter = 'F',
        .name = "format",
        .argument = "FORMAT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, delivering.format),
        .help = "%p %t %l %x %I %j %{sender} %{id} %{cty} ..."},
    {.letter = 'N',
        .name = "no-newline",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, delivering.no_newline),
        .help = "none after each message"},
    {.letter = 'v',
        .name = "verbose",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, delivering.verbose),
        .help = "the topic before each message"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, delivering.json),
        .help = "an object a line"},
    {.name = "pretty",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, delivering.pretty),
        .help = "with --json: for people"},
    {.letter = 't',
        .name = "topic",
        .argument = "FILTER",
        .kind = OPTION_LIST,
        .at = offsetof(struct receive, topics),
        .help = "subscribe to this (own name); repeatable"},
    {.letter = 'q',
        .name = "qos",
        .argument = "QOS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, qos),
        .least = 0,
        .most = 1,
        .help = "quality of service (1)"},
    {.name = "allow",
        .argument = "PATTERN",
        .kind = OPTION_LIST,
        .at = offsetof(struct receive, allow),
        .help = "who may write: a name or *.zone (repeatable)"},
    {.name = "allow-file",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, allow_file),
        .help = "patterns, one a line"},
    {.name = "accept-poc",
        .argument = "PATTERN",
        .kind = OPTION_LIST,
        .at = offsetof(struct receive, accept_poc),
        .help = "read the proof of concept's format from these"},
    {.name = "exec",
        .argument = "COMMAND",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, delivering.command),
        .help = "run this for each message, in place of printing it"},
    {.name = "metrics",
        .argument = "ADDR:PORT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, metrics),
        .help = "figures for Prometheus at http://ADDR:PORT/metrics"},
    {.name = "status",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, status),
        .help = "for `danemsg status`, in place of NAME.status in the folder of --state"},
    {.name = "log-json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, log_json),
        .help = "events on stderr as JSON, an object a line"},
    {.name = "group",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, group),
        .help = "share the messages with the receivers of this group and --store"},
    {.name = "clean",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, clean),
        .help = "keep nothing beyond this run: no session, no database"},
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, size_limit),
        .least = 1,
        .most = SIZE_LIMIT_MOST,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "on the wire (65536)"},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, store.state),
        .help = "where the database and the session's client id are kept"},
    {.name = "store",
        .argument = "STORE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct receive, store.store),
        .help = STORE_HELP},
    {.name = "retain",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct receive, retain),
        .least = 0,
        .help = "keep delivered messages so long (30d)"},
    {.name = "retain-size",
        .argument = "MIB",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, retain_size),
        .least = 0,
        .most = RETAIN_SIZE_MOST,
        .help = "and so many of them (1024)"},
    {.name = "pending-size",
        .argument = "MIB",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct receive, pending_size),
        .least = 0,
        .most = RETAIN_SIZE_MOST,
        .help = "undelivered, and no more is taken; 0: no limit (1024)"},
};

/* A name is one level of a topic filter (MQTT 5 section 4.8.2). */
static int check_group(const struct receive *options, struct dmsg_error *error)
{
    if (options->group == NULL)
        return 0;
    if (options->group[0] == '\0' || strpbrk(options->group, "/+#") != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--group: a name without '/', '+' and '#'");
    if (!is_shared_store(&options->store))
        return dmsg_fail(error, DMSG_E_USAGE,
            "--group wants --store postgresql://...: its receivers must share the memory of what "
            "was seen, or a message that is sent again to another of them counts as new");
    return 0;
}

/* A variable is there for all commands, and a flag goes over it. */
static bool is_flag(const char *value, const char *variable)
{
    return value != NULL && value != getenv(variable);
}

static int check(const struct receive *options, struct dmsg_error *error)
{
    int result = check_group(options, error);
    if (result < 0)
        return result;
    if (options->clean && is_flag(options->store.state, "DANEMSG_STATE"))
        return dmsg_fail(error, DMSG_E_USAGE, "--clean keeps nothing: --state does not go with it");
    if (options->clean && is_flag(options->store.store, "DANEMSG_STORE"))
        return dmsg_fail(error, DMSG_E_USAGE, "--clean keeps nothing: --store does not go with it");
    return delivering_check(&options->delivering, error);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct receive *options = self->options;
    struct receiving receiving = {
        .self = self, .options = options, .housekeeping = HOUSEKEEPING_NONE};
    receiving.events = (struct events){
        .program = self->program, .debug = options->broker.debug, .json = options->log_json};
    if (options->log_json)
        print_json_notes();
    receiving.log = (struct dmsg_log){.write = events_write, .user = &receiving.events};
    delivering_init(&receiving.delivering, &options->delivering);
    if (options->wait != 0)
        receiving.deadline = dmsg_now_ms() + options->wait * 1000;
    int result = check(options, error);
    if (result == 0)
        result = own_name(&receiving.name, &options->identity, error);
    if (result == 0)
        result = receiving_prepare(&receiving, error);
    if (result == 0 && receiving.me != NULL)
        result = receiving_run(&receiving, error);
    receiving_done(&receiving);
    return result;
}

static const struct receive defaults = {.qos = 1,
    .retain = DMSG_RETAIN_TIME,
    .retain_size = DMSG_RETAIN_OCTETS / RETAIN_UNIT,
    .pending_size = PENDING_SIZE};

const struct command cmd_receive = {
    .name = "receive",
    .arguments = "",
    .summary = "Print one's messages, each with the name that signed it.",
    .notes = "Without an identity or its DNS record it says what to publish, and waits.",
    .example = "danemsg receive --identity bob.example.net --allow '*.example.net'",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = (const struct group_use[]){{&broker_group, offsetof(struct receive, broker)},
        {&identity_group, offsetof(struct receive, identity)},
        {&dns_group, offsetof(struct receive, dns)}, {0}},
    .size = sizeof(struct receive),
    .defaults = &defaults,
    .run = run,
};
