/* danemsg receive: the long-running receiver, delivering to standard output. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "broker.h"
#include "patterns.h"
#include "readiness.h"
#include "receiver_state.h"
#include "service/receive.h"
#include "show.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

/* A batch holds 32 MiB, and a packet that is larger than a batch would never be acknowledged. */
#define SIZE_LIMIT_MOST (16 * 1024 * 1024)

/* What an MQTT packet holds beside payload and topic: headers and properties. */
#define PACKET_OVERHEAD 512

struct receive {
    int64_t count, wait, qos, size_limit;
    const char *format, *allow_file, *state;
    bool no_newline, verbose, json, pretty, clean;
    struct text_list topics, allow, accept_poc;
    struct broker_options broker;
    struct identity_options identity;
    struct dns_options dns;
};

struct receiving {
    const struct invocation *self;
    const struct receive *options;
    struct dmsg_context context;
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    struct dmsg_store *store;
    struct broker broker;
    struct dmsg_mqtt *mqtt;
    struct receiver_state state;
    struct dmsg_policy policy;
    struct pattern_list allow, accept_poc;
    struct dmsg_buffer line;
    int64_t deadline; /* monotonic seconds, of -W; 0 for none */
    int signal_fd;
    bool stopped;
};

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
        .at = offsetof(struct receive, format),
        .help = "%p %t %l %x %I %j %{sender} %{id} %{cty} ..."},
    {.letter = 'N',
        .name = "no-newline",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, no_newline),
        .help = "none after each message"},
    {.letter = 'v',
        .name = "verbose",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, verbose),
        .help = "the topic before each message"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, json),
        .help = "an object a line"},
    {.name = "pretty",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, pretty),
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
        .help = "who may write: a name or *.zone (all); repeatable"},
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
    {.name = "clean",
        .kind = OPTION_FLAG,
        .at = offsetof(struct receive, clean),
        .help = "no session at the broker beyond this run"},
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
        .at = offsetof(struct receive, state),
        .help = "where the session's client id is kept"},
};

/* ------------------------------------------------------------------------------------ events */

static void write_log(void *user, const struct dmsg_event *event)
{
    const struct receiving *receiving = user;
    const char *word = event->code != 0 ? dmsg_error_word(event->code) : "";
    char from[DMSG_NAME_TEXT + 64] = "";
    if (event->level == DMSG_LOG_DEBUG && !receiving->options->broker.debug)
        return;
    if (event->sender != NULL && event->sender->size > 0)
        snprintf(from, sizeof from, " (%s %s%s%s)", event->code != 0 ? "says it is from" : "from",
            event->sender->text, event->id != NULL && event->id[0] != '\0' ? ", id " : "",
            event->id != NULL ? event->id : "");
    print_note(
        receiving->self->program, "%s%s%s%s", word, word[0] != '\0' ? ": " : "", event->text, from);
}

static int make_line(
    struct receiving *receiving, const struct dmsg_record *record, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    struct dmsg_buffer *line = &receiving->line;
    int result = 0;
    dmsg_buffer_reset(line);
    if (options->verbose && options->format == NULL && !options->json) {
        dmsg_text_escape(line, record->topic, true);
        dmsg_buffer_put_byte(line, ' ');
    }
    if (options->format != NULL)
        result = show_format(line, record, options->format, error);
    else if (options->json)
        show_json(line, record, options->pretty);
    else
        show_line(line, record);
    if (!options->no_newline)
        dmsg_buffer_put_byte(line, '\n');
    return result == 0 && line->failed ? dmsg_fail_memory(error) : result;
}

static int deliver(void *user, const struct dmsg_record *record, struct dmsg_error *error)
{
    struct receiving *receiving = user;
    int result = make_line(receiving, record, error);
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&receiving->line), error);
    dmsg_buffer_reset(&receiving->line);
    return result;
}

static bool stop(void *user)
{
    struct receiving *receiving = user;
    struct signalfd_siginfo signal;
    if (read(receiving->signal_fd, &signal, sizeof signal) == (ssize_t)sizeof signal)
        receiving->stopped = true;
    return receiving->stopped;
}

/* ---------------------------------------------------------------------------------- preparing */

static int read_policy(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    int result = add_patterns(&receiving->allow, &options->allow, "--allow", error);
    if (result == 0 && options->allow_file != NULL)
        result = add_pattern_file(&receiving->allow, options->allow_file, error);
    if (result == 0)
        result = add_patterns(&receiving->accept_poc, &options->accept_poc, "--accept-poc", error);
    receiving->policy = (struct dmsg_policy){.allow = receiving->allow.items,
        .allow_count = receiving->allow.count,
        .accept_poc = receiving->accept_poc.items,
        .accept_poc_count = receiving->accept_poc.count,
        .size_limit = (size_t)options->size_limit};
    return result;
}

static int open_signals(struct receiving *receiving, struct dmsg_error *error)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "blocking signals");
    receiving->signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (receiving->signal_fd < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "opening a descriptor for signals");
    return 0;
}

static int open_broker(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    struct dmsg_mqtt_config *config = &receiving->broker.config;
    const char *name = dmsg_identity_name(receiving->me)->text;
    size_t size = options->size_limit != 0 ? (size_t)options->size_limit : DMSG_MESSAGE_SIZE_MAX;
    int result = 0;
    config->clean = options->clean;
    config->session_expiry = options->clean ? 0 : DMSG_LIFE_MAX; /* no message lives longer */
    config->packet_limit = size + DMSG_TOPIC_MAX + PACKET_OVERHEAD;
    if (!options->clean) {
        result = receiver_state_open(&receiving->state, options->state, name, error);
        if (result == 0 && config->client_id == NULL)
            config->client_id = receiving->state.client_id;
    }
    if (result == 0)
        result = dmsg_mqtt_new(&receiving->mqtt, config, error);
    for (size_t i = 0; result == 0 && i < options->topics.count; i++)
        result = dmsg_mqtt_subscribe_qos(
            receiving->mqtt, options->topics.items[i], (int)options->qos, error);
    if (result == 0 && options->topics.count == 0)
        result = dmsg_mqtt_subscribe_qos(receiving->mqtt,
            receiving->broker.topic != NULL ? receiving->broker.topic : name, (int)options->qos,
            error);
    return result;
}

static int wait_until_ready(struct receiving *receiving, struct dmsg_error *error)
{
    const struct readiness readiness = {
        .program = receiving->self->program,
        .context = &receiving->context,
        .identity = &receiving->options->identity,
        .discovery = receiving->discovery,
        .deadline = receiving->deadline,
        .wake_fd = receiving->signal_fd,
        .stop = stop,
        .user = receiving,
    };
    return readiness_wait(&readiness, &receiving->me, error);
}

/* The resolver process first: it must not hold a key. */
static int prepare(struct receiving *receiving, struct dmsg_error *error)
{
    const struct receive *options = receiving->options;
    int result = read_policy(receiving, error);
    if (result == 0)
        result = broker_read(&receiving->broker, &options->broker, receiving->self->program, error);
    if (result == 0)
        result = open_discovery(&receiving->discovery, &receiving->context, &options->dns, error);
    if (result == 0)
        result = open_signals(receiving, error);
    if (result == 0)
        result = wait_until_ready(receiving, error);
    if (result < 0 || receiving->me == NULL)
        return result;
    if (receiving->policy.allow_count == 0)
        print_note(receiving->self->program, "without --allow every verified name may write");
    result = open_broker(receiving, error);
    if (result == 0)
        result = dmsg_store_open_memory(
            &receiving->store, &receiving->context, dmsg_identity_name(receiving->me), error);
    return result;
}

/* The store is in memory: what is still in it ends with it, and that is said. */
static void say_what_is_lost(const struct receiving *receiving)
{
    struct dmsg_record record;
    size_t waiting = 0, kept = 0;
    if (receiving->store == NULL)
        return;
    for (int64_t row = 0; dmsg_store_waiting(receiving->store, NULL, row, &record, NULL) == 1;
         row = record.row)
        waiting++;
    for (int64_t row = 0; dmsg_store_next(receiving->store, row, &record, NULL) == 1;
         row = record.row)
        kept++;
    if (waiting > 0)
        print_note(receiving->self->program,
            "dns-temporary: %zu message(s) still waited for DNS and are lost with this process",
            waiting);
    if (kept > 0)
        print_note(receiving->self->program,
            "%zu message(s) that were taken are not delivered and lost with this process", kept);
}

static void done(struct receiving *receiving)
{
    say_what_is_lost(receiving);
    dmsg_mqtt_free(&receiving->mqtt);
    dmsg_store_close(&receiving->store);
    dmsg_identity_free(&receiving->me);
    dmsg_discovery_free(&receiving->discovery);
    broker_done(&receiving->broker);
    receiver_state_done(&receiving->state);
    dmsg_buffer_done(&receiving->line);
    free(receiving->allow.items);
    free(receiving->accept_poc.items);
    if (receiving->signal_fd >= 0)
        close(receiving->signal_fd);
}

static int check(const struct receive *options, struct dmsg_error *error)
{
    struct dmsg_record nothing = {0};
    struct dmsg_buffer out = {0};
    int result = 0;
    if (options->pretty && !options->json)
        return dmsg_fail(error, DMSG_E_USAGE, "--pretty goes with --json");
    if (options->clean && options->state != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--clean keeps nothing: --state does not go with it");
    if (options->verbose && (options->json || options->format != NULL))
        return dmsg_fail(
            error, DMSG_E_USAGE, "-v does not go with --json or -F, which have the topic");
    if (options->json && options->format != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--json or -F, not both (%%j is JSON in -F)");
    if (options->format != NULL) /* a bad format is found now, not at the first message */
        result = show_format(&out, &nothing, options->format, error);
    dmsg_buffer_done(&out);
    return result;
}

/* Of -W, for the loop: at least a second, so that what waits at the broker is taken. */
static int time_left(const struct receiving *receiving)
{
    int64_t left = receiving->deadline - monotonic_now();
    return receiving->deadline == 0 ? 0 : left < 1 ? 1 : (int)left;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct receiving receiving = {.self = self, .options = self->options, .signal_fd = -1};
    struct dmsg_log log = {.write = write_log, .user = &receiving};
    struct dmsg_name name;
    if (receiving.options->wait != 0)
        receiving.deadline = monotonic_now() + receiving.options->wait;
    int result = check(receiving.options, error);
    if (result == 0)
        result = own_name(&name, &receiving.options->identity, error);
    if (result == 0)
        result = prepare(&receiving, error);
    if (result == 0 && receiving.me != NULL) {
        struct dmsg_receive_config config = {
            .context = &receiving.context,
            .identity = receiving.me,
            .policy = &receiving.policy,
            .store = receiving.store,
            .mqtt = receiving.mqtt,
            .discovery = receiving.discovery,
            .log = &log,
            .deliver = deliver,
            .user = &receiving,
            .stop = stop,
            .wake_fd = receiving.signal_fd,
            .count_limit = (uint64_t)receiving.options->count,
            .timeout = time_left(&receiving),
        };
        result = dmsg_receive(&config, error);
    }
    done(&receiving);
    return result;
}

static const struct receive defaults = {.qos = 1};

const struct command cmd_receive = {
    .name = "receive",
    .arguments = "",
    .summary = "Print the messages to one's own name, each with the name that signed it.",
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
