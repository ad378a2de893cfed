/* danemsg send: seal a message and publish it; and send_message, the proof of concept's name. */
#include "base/fail.h"
#include "publisher.h"
#include "sending.h"

#include <poll.h>
#include <stdlib.h>

#define WAIT_DEFAULT 30

struct send {
    const char *message, *file;
    bool whole_input, lines, empty, retain, json, queue, daemon, log_json;
    const char *state, *metrics;
    int64_t qos, wait;
    struct sealing_options sealing;
    struct broker_options broker;
    struct identity_options identity;
    struct dns_options dns;
};

/* The run: what was made for it, in the order in which it is needed. */
struct run {
    const struct send *options;
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    struct dmsg_buffer payload;
    size_t found; /* recipients with a key */
    struct sending sending;
    struct queueing queueing; /* --queue */
};

static const struct option options_table[] = {
    {.letter = 'm',
        .name = "message",
        .argument = "TEXT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct send, message),
        .help = "this text"},
    {.letter = 'f',
        .name = "file",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct send, file),
        .help = "the content of a file"},
    {.letter = 's',
        .name = "stdin-file",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, whole_input),
        .help = "all of standard input, one message"},
    {.letter = 'l',
        .name = "stdin-line",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, lines),
        .help = "standard input, a message a line"},
    {.letter = 'n',
        .name = "null-message",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, empty),
        .help = "an empty message"},
    {.letter = 'q',
        .name = "qos",
        .argument = "QOS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct send, qos),
        .least = 0,
        .most = 2,
        .help = "quality of service (1)"},
    {.letter = 'r',
        .name = "retain",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, retain),
        .help = "the broker keeps it for later subscribers"},
    {.letter = 'W',
        .name = "wait",
        .argument = "SECONDS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct send, wait),
        .least = 1,
        .most = 86400,
        .help = "without progress, and it is given up (30)"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, json),
        .help = "a line for each message: recipient, id, size"},
    {.name = "queue",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, queue),
        .help = "into the outbox (--daemon, `outbox flush`)"},
    {.name = "daemon",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, daemon),
        .help = "publish what is in the outbox, and go on"},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct send, state),
        .help = "where the outbox's database is kept"},
    {.name = "log-json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, log_json),
        .help = "--daemon: an object for each event, on stderr"},
    {.name = "metrics",
        .argument = "ADDR:PORT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct send, metrics),
        .help = "--daemon: figures for Prometheus at http://ADDR:PORT/metrics"},
};

/* ------------------------------------------------------------------------------- recipients */

static void take_answer(void *user, const struct dmsg_peer *peer)
{
    struct recipient *recipient = user;
    recipient->peer = dmsg_peer_retain(peer);
    recipient->asked = false;
}

/* All at once, so that one slow zone costs its own time only; each is answered in time. */
static int ask_for_recipients(struct run *run, struct dmsg_error *error)
{
    const struct text_list *to = &run->options->sealing.to;
    struct sending *sending = &run->sending;
    size_t open = 0;
    for (size_t i = 0; i < to->count; i++) {
        struct recipient *next = &sending->recipients[i];
        struct dmsg_error one;
        int result = name_from(&next->name, to->items[i], "recipient", &one);
        if (result == 0)
            result = dmsg_discovery_ask(run->discovery, &next->name, take_answer, next, &one);
        next->asked = result == 0;
        if (result < 0)
            sending_fail(sending, &one);
    }
    do {
        struct pollfd wait = {.fd = dmsg_discovery_fd(run->discovery), .events = POLLIN};
        int left = dmsg_discovery_step(run->discovery, error);
        if (left < 0)
            return left;
        open = 0;
        for (size_t i = 0; i < to->count; i++)
            open += sending->recipients[i].asked;
        if (open > 0)
            (void)poll(&wait, 1, left);
    } while (open > 0);
    return 0;
}

/* The outbox waits for DNS, but not where DNS has proved that there is no key. */
static bool can_wait(const struct run *run, int code)
{
    return run->options->queue && (code == DMSG_E_DNS_TEMPORARY || code == DMSG_E_DNS_BOGUS);
}

/* All are tried; the first failure's status is the command's. */
static int find_recipients(struct run *run, struct dmsg_error *error)
{
    struct sending *sending = &run->sending;
    size_t count = run->options->sealing.to.count;
    sending->recipients = calloc(count, sizeof *sending->recipients);
    if (sending->recipients == NULL)
        return dmsg_fail_memory(error);
    sending->recipient_count = count;
    own_certificates_begin(run->discovery, run->me, sending->how);
    int result = ask_for_recipients(run, error);
    if (result == 0)
        result = own_certificates_end(&sending->certificates, run->discovery, run->me,
            sending->sealer, sending->how, OWN_PATIENCE_BESIDE, error);
    for (size_t i = 0; result == 0 && i < count; i++) {
        struct recipient *recipient = &sending->recipients[i];
        struct dmsg_error one;
        if (recipient->peer != NULL)
            recipient->key = dmsg_peer_recipient_key(recipient->peer, &one);
        if (recipient->peer != NULL && recipient->key == NULL && can_wait(run, one.code)) {
            recipient->waits = true;
            print_note(sending->program,
                "%s: what is for %s is kept unencrypted in %s until DNS answers", one.text,
                recipient->name.text, run->queueing.path);
        } else if (recipient->peer != NULL && recipient->key == NULL)
            sending_fail(sending, &one);
        if (recipient->key != NULL && recipient->key->why[0] != '\0')
            print_note(sending->program, "warning: the key of %s: %s", recipient->name.text,
                recipient->key->why);
        run->found += recipient->key != NULL || recipient->waits;
    }
    return result;
}

/* -------------------------------------------------------------------------------- the command */

/* What is read of files is read before anybody waits for us. */
static int read_payload(struct run *run, struct dmsg_error *error)
{
    const struct send *options = run->options;
    run->payload.limit = INPUT_MAX;
    if (options->file != NULL)
        return read_input(&run->payload, options->file, error);
    return options->whole_input ? read_input(&run->payload, "-", error) : 0;
}

/* The broker, or with --queue the outbox. While broker and resolver work on it, what is signed is
   noted; each message looks whether that is still enough. */
static int open_way(struct run *run, struct dmsg_error *error)
{
    const struct send *options = run->options;
    struct sending *sending = &run->sending;
    if (options->queue) {
        sending->queueing = &run->queueing;
        run->queueing.json = options->json;
        return queueing_open(&run->queueing, sending->program, &sending->context, options->state,
            dmsg_identity_name(run->me), error);
    }
    int result = broker_open(&sending->mqtt, &sending->broker, run->discovery, run->me, error);
    if (result == 0)
        result = dmsg_mqtt_reconnect(sending->mqtt, error);
    if (result == 0)
        issued_note(&sending->issued, run->me, options->sealing.expires);
    return result;
}

/* The broker is greeted before DNS is asked, so that its answer comes meanwhile. */
static int prepare(struct run *run, struct dmsg_error *error)
{
    const struct send *options = run->options;
    struct sending *sending = &run->sending;
    struct broker *broker = &sending->broker;
    int result = broker_read(broker, &options->broker, sending->program, error);
    if (result == 0)
        result = open_discovery(&run->discovery, &sending->context, &options->dns, error);
    if (result == 0)
        result = own_identity(&run->me, &sending->context, &options->identity, error);
    if (result == 0)
        result = dmsg_sealer_new(&sending->sealer, &sending->context, run->me, error);
    if (result == 0)
        result = reload_init(&sending->reload, sending->program, &sending->context,
            &options->identity, run->me, error);
    sending->discovery = run->discovery;
    sending->issued.program = sending->program;
    sending->issued.context = &sending->context;
    sending->issued.state = options->state;
    if (result == 0)
        result = read_payload(run, error);
    broker->config.clean = true;
    if (result == 0)
        result = open_way(run, error);
    if (result == 0)
        result = find_recipients(run, error);
    return result;
}

static void done(struct run *run)
{
    sending_done(&run->sending);
    queueing_done(&run->queueing);
    dmsg_buffer_done(&run->payload);
    dmsg_identity_free(&run->me);
    dmsg_discovery_free(&run->discovery);
    broker_done(&run->sending.broker);
}

static int publish_input(struct run *run, struct dmsg_error *error)
{
    const struct send *options = run->options;
    if (options->lines)
        return sending_lines(&run->sending, error);
    return sending_publish(&run->sending,
        options->message != NULL ? dmsg_span_text(options->message)
                                 : dmsg_buffer_span(&run->payload),
        error);
}

static int send_all(struct run *run, struct dmsg_error *error)
{
    struct sending *sending = &run->sending;
    int result = prepare(run, error);
    if (result == 0 && run->found > 0) {
        if (!run->options->queue)
            result = dmsg_mqtt_wait_connected(sending->mqtt, sending->wait, error);
        if (result == 0)
            result = publish_input(run, error);
        if (result == 0)
            result = sending_flush(sending, error);
        if (result == DMSG_E_QUOTA && queueing_commit(&run->queueing, NULL) < 0)
            result = dmsg_fail(error, DMSG_E_LOCAL, "the outbox is full, and nothing is queued");
    }
    if (result == 0 && sending->first_failure == 0)
        return 0;
    if (result < 0) {
        sending_fail(sending, error);
        sending_say_what_is_open(sending);
    }
    error->text[0] = '\0'; /* printed already */
    return sending->first_failure;
}

static int check(const struct send *options, struct dmsg_error *error)
{
    int sources = (options->message != NULL) + (options->file != NULL) + options->whole_input +
                  options->lines + options->empty;
    if (options->queue && options->qos == 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--queue waits for the broker's acknowledgement, which -q 0 has not");
    if (options->sealing.to.count == 0)
        return dmsg_fail(error, DMSG_E_USAGE, "to whom? `danemsg send RECIPIENT MESSAGE`, or --to");
    if (sources != 1)
        return dmsg_fail(error, DMSG_E_USAGE, "one message, please: -m, -f, -s, -l or -n");
    return 0;
}

/* RECIPIENT MESSAGE as arguments are --to and -m. */
static void take_arguments(struct send *options, char **arguments, const char **recipient)
{
    *recipient = arguments[0];
    options->sealing.to.items = recipient;
    options->sealing.to.count = 1;
    options->message = arguments[1];
}

static int run_daemon(const struct invocation *self, struct dmsg_error *error)
{
    const struct send *options = self->options;
    const struct publisher_options how = {.broker = &options->broker,
        .identity = &options->identity,
        .dns = &options->dns,
        .state = options->state,
        .metrics = options->metrics,
        .log_json = options->log_json};
    if (self->argument_count > 0 || options->sealing.to.count > 0 || options->message != NULL ||
        options->file != NULL || options->whole_input || options->lines || options->empty ||
        options->queue)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--daemon publishes what `danemsg send --queue` puts into the outbox: it takes no "
            "recipient and no message");
    return publisher_run(self->program, &how, error);
}

static int run_send(struct invocation *self, struct dmsg_error *error)
{
    struct send *options = self->options;
    if (options->daemon)
        return run_daemon(self, error);
    if (options->metrics != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--metrics goes with --daemon");
    struct text_list given = options->sealing.to;
    struct run run = {.options = options};
    const char *recipient;
    if (self->argument_count == 1 ||
        (self->argument_count == 2 && (given.count > 0 || options->message != NULL)))
        return dmsg_fail(error, DMSG_E_USAGE,
            "either RECIPIENT MESSAGE, or --to NAME with -m, -f, -s, -l or -n");
    if (self->argument_count == 2)
        take_arguments(options, self->arguments, &recipient);
    int result = check(options, error);
    if (result == 0) {
        sending_init(&run.sending, self->program, &options->sealing);
        run.sending.qos = (int)options->qos;
        run.sending.wait = (int)options->wait * 1000;
        run.sending.retain = options->retain;
        run.sending.json = options->json;
        run.sending.text = options->message != NULL;
        result = send_all(&run, error);
    }
    done(&run);
    options->sealing.to = given;
    return result;
}

static const struct send defaults = {.qos = 1, .wait = WAIT_DEFAULT};

#define SEND_GROUPS                                                                                \
    (const struct group_use[])                                                                     \
    {                                                                                              \
        {&sealing_group, offsetof(struct send, sealing)},                                          \
            {&encryption_group, offsetof(struct send, sealing)},                                   \
            {&broker_group, offsetof(struct send, broker)},                                        \
            {&identity_group, offsetof(struct send, identity)},                                    \
            {&dns_group, offsetof(struct send, dns)},                                              \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

const struct command cmd_send = {
    .name = "send",
    .arguments = "RECIPIENT MESSAGE | --to NAME ... (-m TEXT | -f FILE | -s | -l | -n)",
    .summary = "Sign a message, encrypt it to a DNS name, publish it.",
    .notes = "Done when the broker has taken it (PUBACK). With several recipients all are tried; "
             "the exit status is the first failure's. With --queue it is done when the message is "
             "on disk: `danemsg send --daemon` publishes it, or `danemsg outbox flush`.",
    .example = "danemsg send bob.example.net 'HELLO THERE'",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = SEND_GROUPS,
    .size = sizeof(struct send),
    .defaults = &defaults,
    .most = 2,
    .run = run_send,
};

/* The proof of concept's: 1 configuration or broker, 2 no certificate in DNS. */
static int send_message_status(int code)
{
    switch (code) {
    case 0:
        return 0;
    case DMSG_E_NO_IDENTITY:
    case DMSG_E_DNS_TEMPORARY:
    case DMSG_E_DNS_BOGUS:
    case DMSG_E_DNS_INSECURE:
    case DMSG_E_CERTIFICATE:
        return 2;
    default:
        return 1;
    }
}

const struct command cmd_send_message = {
    .name = "send_message",
    .arguments = "RECIPIENT MESSAGE",
    .summary = "`danemsg send` under the name that the Python proof of concept gave it.",
    .example = "send_message bob.example.net 'HELLO THERE'",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = SEND_GROUPS,
    .size = sizeof(struct send),
    .defaults = &defaults,
    .least = 2,
    .most = 2,
    .link = true,
    .run = run_send,
    .exit_status = send_message_status,
};
