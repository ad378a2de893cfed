/* danemsg doctor: looks for what is wrong, and says what to do. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "danemsg/message.h"
#include "doctor.h"
#include "typed.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Octets of one line's text. */
#define TEXT_MAX 800

/* Seconds for whoever is asked: more than the ten after which the resolver gives up, so that it is
   the one to say why; and what somebody waits for at a terminal. */
#define WAIT_DEFAULT 12
#define WAIT_MOST 600

/* As of receive: in octets of a packet, and units of a mebibyte. */
#define SIZE_LIMIT_MOST (16 * 1024 * 1024)
#define RETAIN_SIZE_MOST (1024 * 1024 * 1024)

static const struct option options_table[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct doctor_options, json),
        .help = "one object a line"},
    {.letter = 'q',
        .name = "quiet",
        .kind = OPTION_FLAG,
        .at = offsetof(struct doctor_options, quiet),
        .help = "warnings and failures only"},
    {.letter = 'W',
        .name = "wait",
        .argument = "SECONDS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct doctor_options, wait),
        .least = 1,
        .most = WAIT_MOST,
        .help = "for each answer from elsewhere (12)"},
    {.name = "group",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct doctor_options, group),
        .help = "the receiver will have this one"},
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct doctor_options, size_limit),
        .least = 1,
        .most = SIZE_LIMIT_MOST,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "on the wire (65536)"},
    {.name = "retain-size",
        .argument = "MIB",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct doctor_options, retain_size),
        .least = 0,
        .most = RETAIN_SIZE_MOST,
        .help = "of delivered messages (1024)"},
    {.name = "status",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct doctor_options, status),
        .help = "the file of `receive --status`"},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct doctor_options, store.state),
        .help = "where the receiver keeps its database"},
    {.name = "store",
        .argument = "STORE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct doctor_options, store.store),
        .help = STORE_HELP},
};

static const struct {
    const char *word;
    unsigned needs; /* DOCTOR_BIT */
    void (*run)(struct doctor *doctor);
} checks[DOCTOR_CHECK_COUNT] = {
#define DOCTOR_CHECK(name, word, needs) {word, needs, doctor_##name},
    DOCTOR_CHECKS(DOCTOR_CHECK)
#undef DOCTOR_CHECK
};

/* ------------------------------------------------------------------------------------ the lines */

static const char *const result_words[] = {[DOCTOR_OK] = "ok",
    [DOCTOR_WARNING] = "warning",
    [DOCTOR_FAILED] = "failed",
    [DOCTOR_NOT_CHECKED] = "not-checked"};

static void put_json(struct dmsg_buffer *out, const struct doctor *doctor,
    enum doctor_result result, int code, const char *advice, const char *text)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "check", checks[doctor->check].word);
    json_member_text(out, "result", result_words[result]);
    if (code != 0)
        json_member_text(out, "outcome", dmsg_error_word(code));
    json_member_text(out, "text", text);
    if (advice != NULL)
        json_member_text(out, "advice", advice);
    dmsg_buffer_put_text(out, "}\n");
}

static void put_text(struct dmsg_buffer *out, const struct doctor *doctor,
    enum doctor_result result, const char *advice, const char *text)
{
    dmsg_buffer_format(out, "%-11s  %-12s  ", result_words[result], checks[doctor->check].word);
    dmsg_text_escape(out, dmsg_span_text(text), true);
    if (advice != NULL) {
        dmsg_buffer_put_text(out, "; do: ");
        dmsg_text_escape(out, dmsg_span_text(advice), true);
    }
    dmsg_buffer_put_byte(out, '\n');
}

__attribute__((format(printf, 5, 0))) static void add(struct doctor *doctor,
    enum doctor_result result, int code, const char *advice, const char *format, va_list arguments)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer line = {0};
    char text[TEXT_MAX];
    enum doctor_result *worst = &doctor->worst[doctor->check];
    if (result > *worst)
        *worst = result;
    if (result == DOCTOR_FAILED && doctor->first == 0)
        doctor->first = code;
    if (doctor->output.code != 0 ||
        (doctor->options->quiet && result != DOCTOR_WARNING && result != DOCTOR_FAILED))
        return;
    vsnprintf(text, sizeof text, format, arguments);
    if (doctor->options->json)
        put_json(&line, doctor, result, code, advice, text);
    else
        put_text(&line, doctor, result, advice, text);
    if (line.failed)
        dmsg_fail_memory(&doctor->output);
    else if (write_typed(stdout, dmsg_buffer_span(&line), &doctor->output) == 0)
        doctor->output.code = 0;
}

void doctor_ok(struct doctor *doctor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(doctor, DOCTOR_OK, 0, NULL, format, arguments);
    va_end(arguments);
}

void doctor_warn(struct doctor *doctor, int code, const char *advice, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(doctor, DOCTOR_WARNING, code, advice, format, arguments);
    va_end(arguments);
}

void doctor_fail(struct doctor *doctor, int code, const char *advice, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(doctor, DOCTOR_FAILED, code, advice, format, arguments);
    va_end(arguments);
}

void doctor_pass(struct doctor *doctor, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    add(doctor, DOCTOR_NOT_CHECKED, 0, NULL, format, arguments);
    va_end(arguments);
}

/* ---------------------------------------------------------------------------------- the command */

/* The first of those it needs that did not hold, -1 without one. */
static int missing(const struct doctor *doctor, unsigned needs)
{
    for (int i = 0; i < DOCTOR_CHECK_COUNT; i++) {
        bool holds = doctor->worst[i] == DOCTOR_OK || doctor->worst[i] == DOCTOR_WARNING;
        if ((needs & 1u << i) != 0 && !holds)
            return i;
    }
    return -1;
}

static void run_checks(struct doctor *doctor)
{
    for (int i = 0; i < DOCTOR_CHECK_COUNT && doctor->output.code == 0; i++) {
        int without = missing(doctor, checks[i].needs);
        doctor->check = (enum doctor_check)i;
        if (without < 0)
            checks[i].run(doctor);
        else
            doctor_pass(doctor, "not checked, since '%s' %s", checks[without].word,
                doctor->worst[without] == DOCTOR_FAILED ? "failed" : "was not");
    }
}

static int prepare(struct doctor *doctor, const struct invocation *self, struct dmsg_error *error)
{
    const struct doctor_options *options = doctor->options;
    int result = self->argument_count > 0
                     ? name_from(&doctor->name, self->arguments[0], "name", error)
                     : own_name(&doctor->name, &options->identity, error);
    if (result == 0)
        result = crypto_folder(&doctor->folder, &options->identity, error);
    if (result == 0)
        result = state_path(&doctor->state, options->store.state, error);
    if (result == 0)
        result = broker_read(&doctor->broker, &options->broker, self->program, error);
    return result == 0 ? doctor_start_dns(doctor, error) : result;
}

static void done(struct doctor *doctor)
{
    dmsg_mqtt_free(&doctor->mqtt);
    dmsg_peer_release(doctor->peer);
    doctor_end_dns(doctor);
    broker_done(&doctor->broker);
    dmsg_identity_free(&doctor->me);
    free(doctor->folder);
    free(doctor->state);
    free(doctor);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct doctor *doctor = calloc(1, sizeof *doctor);
    if (doctor == NULL)
        return dmsg_fail_memory(error);
    doctor->program = self->program;
    doctor->options = self->options;
    int result = prepare(doctor, self, error);
    if (result == 0)
        run_checks(doctor);
    if (result == 0 && doctor->output.code != 0) {
        *error = doctor->output;
        result = error->code;
    } else if (result == 0) {
        result = doctor->first;
        error->text[0] = '\0'; /* the lines have said it */
    }
    done(doctor);
    return result;
}

static const struct doctor_options defaults = {.wait = WAIT_DEFAULT,
    .size_limit = DMSG_MESSAGE_SIZE_MAX,
    .retain_size = DMSG_RETAIN_OCTETS / (1024 * 1024)};

const struct command cmd_doctor = {
    .name = "doctor",
    .arguments = "[NAME]",
    .summary = "Check keys, DNS, clock, broker and disk, and say what to do.",
    .example = "danemsg doctor alice.example.net",
    .notes = "Give it the options and variables of the receiver or sender that it is about. It "
             "changes nothing. The exit status is 0, or that of the first failure.",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = (const struct group_use[]){{&broker_group, offsetof(struct doctor_options, broker)},
        {&identity_group, offsetof(struct doctor_options, identity)},
        {&dns_group, offsetof(struct doctor_options, dns)}, {0}},
    .size = sizeof(struct doctor_options),
    .defaults = &defaults,
    .most = 1,
    .run = run,
};
