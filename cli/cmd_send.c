/* danemsg send: seal a message and publish it; and send_message, the proof of concept's name. */
#include "base/fail.h"
#include "broker.h"
#include "sealing.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Messages on their way to the broker at a time. libmosquitto keeps a copy of each. */
#define WINDOW 100
#define WAIT_DEFAULT 30
#define LINES_CHUNK 65536

struct send {
    const char *message, *file;
    bool whole_input, lines, empty, retain, json;
    int64_t qos, wait;
    struct sealing_options sealing;
    struct broker_options broker;
    struct identity_options identity;
    struct dns_options dns;
};

/* Everything that is made once and used for each message. */
struct sending {
    const struct invocation *self;
    const struct send *options;
    struct dmsg_context context;
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    struct dmsg_sealer *sealer;
    struct broker broker;
    struct dmsg_mqtt *mqtt;
    struct recipient *recipients; /* a key for those that were found */
    size_t recipient_count, found;
    struct dmsg_buffer payload, envelope;
    int first_failure;
    size_t published;
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
        .help = "for the broker to take it (30)"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct send, json),
        .help = "a line for each message: recipient, id, size"},
};

/* -------------------------------------------------------------------------------- publishing */

static void note_failure(struct sending *sending, const struct dmsg_error *error)
{
    print_error(sending->self->program, error);
    if (sending->first_failure == 0)
        sending->first_failure = error->code;
}

static void collect_refusals(struct sending *sending)
{
    struct dmsg_error error;
    int id;
    while (dmsg_mqtt_refused(sending->mqtt, &id, &error) != 0)
        note_failure(sending, &error);
}

static int make_room(struct sending *sending, size_t window, struct dmsg_error *error)
{
    int result = 0;
    while (result == 0 && dmsg_mqtt_in_flight(sending->mqtt) >= window)
        result = broker_step(sending->mqtt, error);
    return result;
}

static int print_json(const struct recipient *recipient, const char *id, const char *topic,
    size_t size, struct dmsg_error *error)
{
    struct dmsg_buffer line = {0};
    dmsg_buffer_put_byte(&line, '{');
    json_member_text(&line, "recipient", recipient->name.text);
    json_member_text(&line, "id", id);
    json_member_text(&line, "topic", topic);
    json_member_number(&line, "size", (int64_t)size);
    dmsg_buffer_put_text(&line, "}\n");
    int result = line.failed ? dmsg_fail_memory(error)
                             : write_output(stdout, dmsg_buffer_span(&line), error);
    dmsg_buffer_done(&line);
    return result;
}

static int publish(struct sending *sending, const struct recipient *recipient,
    struct dmsg_span payload, struct dmsg_error *error)
{
    const struct send *options = sending->options;
    struct dmsg_seal_options how = seal_options(&options->sealing, recipient);
    if (how.topic == NULL)
        how.topic = sending->broker.topic; /* of the URL */
    const char *topic = how.topic != NULL ? how.topic : recipient->name.text;
    char id[DMSG_MESSAGE_ID_SIZE] = "";
    how.id = id;
    if (options->message != NULL && how.content_type == NULL && how.format == DMSG_FORMAT_V1)
        how.content_type = "text/plain;charset=utf-8";
    dmsg_buffer_reset(&sending->envelope);
    int result = dmsg_seal(sending->sealer, &how, payload, &sending->envelope, error);
    if (result == 0)
        result = make_room(sending, WINDOW, error);
    if (result == 0)
        result = dmsg_mqtt_publish(sending->mqtt, topic, dmsg_buffer_span(&sending->envelope),
            (int)options->qos, options->retain, NULL, error);
    if (result == 0 && options->json)
        result = print_json(recipient, id, topic, sending->envelope.size, error);
    if (result == 0)
        sending->published++;
    return result;
}

/* A message that cannot be sealed fails alone; a broker that is gone ends the run. */
static int publish_to_all(
    struct sending *sending, struct dmsg_span payload, struct dmsg_error *error)
{
    for (size_t i = 0; i < sending->recipient_count; i++) {
        struct dmsg_error one;
        if (sending->recipients[i].key == NULL)
            continue;
        int result = publish(sending, &sending->recipients[i], payload, &one);
        if (result == DMSG_E_BROKER)
            return dmsg_fail(error, result, "%s", one.text);
        if (result < 0)
            note_failure(sending, &one);
    }
    collect_refusals(sending);
    return 0;
}

/* Publishes each whole line of what was read, and keeps the rest. */
static int publish_whole_lines(
    struct sending *sending, struct dmsg_buffer *read, struct dmsg_error *error)
{
    size_t done = 0;
    int result = 0;
    while (result == 0) {
        const uint8_t *line = read->data + done;
        const uint8_t *end = read->size > done ? memchr(line, '\n', read->size - done) : NULL;
        if (end == NULL)
            break;
        result = publish_to_all(sending, (struct dmsg_span){line, (size_t)(end - line)}, error);
        done += (size_t)(end - line) + 1;
    }
    if (done > 0)
        memmove(read->data, read->data + done, read->size - done);
    read->size -= done;
    return result;
}

/* A chunk of standard input: 1, 0 at its end, or an error. */
static int read_chunk(struct dmsg_buffer *out, struct dmsg_error *error)
{
    uint8_t *to = dmsg_buffer_reserve(out, LINES_CHUNK);
    if (to == NULL)
        return dmsg_fail(error, DMSG_E_SIZE, "a line of more than %d octets", INPUT_MAX);
    ssize_t size = read(STDIN_FILENO, to, LINES_CHUNK);
    if (size < 0 && errno != EINTR)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading standard input");
    out->size += size > 0 ? (size_t)size : 0;
    return size != 0;
}

/* A line is sent when it comes, and the broker hears of us while none comes. */
static int publish_lines(struct sending *sending, struct dmsg_error *error)
{
    struct dmsg_buffer lines = {.limit = INPUT_MAX};
    int result = 1;
    while (result == 1) {
        struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN},
            {.fd = dmsg_mqtt_fd(sending->mqtt), .events = dmsg_mqtt_events(sending->mqtt)}};
        if (poll(wait, 2, dmsg_mqtt_timeout(sending->mqtt)) < 0 && errno != EINTR)
            result = dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for a line");
        if (result == 1 && wait[0].revents != 0)
            result = read_chunk(&lines, error);
        int published = result >= 0 ? publish_whole_lines(sending, &lines, error) : 0;
        if (published == 0 && result == 0 && lines.size > 0) /* the last, without a line end */
            published = publish_to_all(sending, dmsg_buffer_span(&lines), error);
        if (published == 0 && result >= 0)
            published = dmsg_mqtt_read(sending->mqtt, wait[1].revents, error);
        if (published >= 0 && result >= 0)
            published = dmsg_mqtt_acknowledge(sending->mqtt, error);
        result = published < 0 ? published : result;
    }
    dmsg_buffer_done(&lines);
    return result;
}

static int publish_input(struct sending *sending, struct dmsg_error *error)
{
    const struct send *options = sending->options;
    if (options->lines)
        return publish_lines(sending, error);
    return publish_to_all(sending,
        options->message != NULL ? dmsg_span_text(options->message)
                                 : dmsg_buffer_span(&sending->payload),
        error);
}

/* -------------------------------------------------------------------------------- the command */

static void take_answer(void *user, const struct dmsg_peer *peer)
{
    struct recipient *recipient = user;
    recipient->peer = dmsg_peer_retain(peer);
    recipient->asked = false;
}

/* All at once, so that one slow zone costs its own time only; each is answered in time. */
static int ask_for_recipients(struct sending *sending, struct dmsg_error *error)
{
    const struct text_list *to = &sending->options->sealing.to;
    size_t open = 0;
    for (size_t i = 0; i < to->count; i++) {
        struct recipient *next = &sending->recipients[i];
        struct dmsg_error one;
        int result = name_from(&next->name, to->items[i], "recipient", &one);
        if (result == 0)
            result = dmsg_discovery_ask(sending->discovery, &next->name, take_answer, next, &one);
        next->asked = result == 0;
        if (result < 0)
            note_failure(sending, &one);
    }
    do {
        struct pollfd wait = {.fd = dmsg_discovery_fd(sending->discovery), .events = POLLIN};
        int left = dmsg_discovery_step(sending->discovery, error);
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

/* All are tried; the first failure's status is the command's. */
static int find_recipients(struct sending *sending, struct dmsg_error *error)
{
    size_t count = sending->options->sealing.to.count;
    sending->recipients = calloc(count, sizeof *sending->recipients);
    if (sending->recipients == NULL)
        return dmsg_fail_memory(error);
    sending->recipient_count = count;
    int result = ask_for_recipients(sending, error);
    for (size_t i = 0; result == 0 && i < count; i++) {
        struct recipient *recipient = &sending->recipients[i];
        struct dmsg_error one;
        if (recipient->peer != NULL)
            recipient->key = dmsg_peer_recipient_key(recipient->peer, &one);
        if (recipient->peer != NULL && recipient->key == NULL)
            note_failure(sending, &one);
        if (recipient->key != NULL && recipient->key->why[0] != '\0')
            print_note(sending->self->program, "warning: the key of %s: %s", recipient->name.text,
                recipient->key->why);
        sending->found += recipient->key != NULL;
    }
    return result;
}

/* What is read of files is read before anybody waits for us. */
static int read_payload(struct sending *sending, struct dmsg_error *error)
{
    const struct send *options = sending->options;
    sending->payload.limit = INPUT_MAX;
    if (options->file != NULL)
        return read_input(&sending->payload, options->file, error);
    return options->whole_input ? read_input(&sending->payload, "-", error) : 0;
}

/* The broker is greeted before DNS is asked, so that its answer comes meanwhile. */
static int prepare(struct sending *sending, struct dmsg_error *error)
{
    const struct send *options = sending->options;
    int result = broker_read(&sending->broker, &options->broker, sending->self->program, error);
    if (result == 0)
        result = open_discovery(&sending->discovery, &sending->context, &options->dns, error);
    if (result == 0)
        result = own_identity(&sending->me, &sending->context, &options->identity, error);
    if (result == 0)
        result = dmsg_sealer_new(&sending->sealer, &sending->context, sending->me, error);
    if (result == 0)
        result = read_payload(sending, error);
    sending->broker.config.clean = true;
    if (result == 0)
        result = dmsg_mqtt_new(&sending->mqtt, &sending->broker.config, error);
    if (result == 0)
        result = dmsg_mqtt_reconnect(sending->mqtt, error);
    if (result == 0)
        result = find_recipients(sending, error);
    return result;
}

static void done(struct sending *sending)
{
    for (size_t i = 0; i < sending->recipient_count; i++)
        recipient_done(&sending->recipients[i]);
    free(sending->recipients);
    dmsg_buffer_done(&sending->payload);
    dmsg_buffer_done(&sending->envelope);
    dmsg_mqtt_free(&sending->mqtt);
    dmsg_sealer_free(&sending->sealer);
    dmsg_identity_free(&sending->me);
    dmsg_discovery_free(&sending->discovery);
    broker_done(&sending->broker);
}

static int send_all(struct sending *sending, struct dmsg_error *error)
{
    int wait = (int)sending->options->wait * 1000;
    int result = prepare(sending, error);
    if (result == 0 && sending->found > 0) {
        result = dmsg_mqtt_wait_connected(sending->mqtt, wait, error);
        if (result == 0)
            result = publish_input(sending, error);
        if (result == 0)
            result = dmsg_mqtt_wait_flushed(sending->mqtt, wait, error);
        if (sending->published > 0)
            collect_refusals(sending);
    }
    if (result == 0 && sending->first_failure == 0)
        return 0;
    if (result < 0)
        note_failure(sending, error);
    error->text[0] = '\0'; /* printed already */
    return sending->first_failure;
}

static int check(const struct send *options, struct dmsg_error *error)
{
    int sources = (options->message != NULL) + (options->file != NULL) + options->whole_input +
                  options->lines + options->empty;
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

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct send *options = self->options;
    struct text_list given = options->sealing.to;
    struct sending sending = {.self = self, .options = options};
    const char *recipient;
    if (self->argument_count == 1 ||
        (self->argument_count == 2 && (given.count > 0 || options->message != NULL)))
        return dmsg_fail(error, DMSG_E_USAGE,
            "either RECIPIENT MESSAGE, or --to NAME with -m, -f, -s, -l or -n");
    if (self->argument_count == 2)
        take_arguments(options, self->arguments, &recipient);
    int result = check(options, error);
    if (result == 0)
        result = send_all(&sending, error);
    done(&sending);
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
    .notes = "Done when the broker has taken it (PUBACK). With several recipients all are tried;\n"
             "the exit status is the first failure's.",
    .example = "danemsg send bob.example.net 'HELLO THERE'",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = SEND_GROUPS,
    .size = sizeof(struct send),
    .defaults = &defaults,
    .most = 2,
    .run = run,
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
    .run = run,
    .exit_status = send_message_status,
};
