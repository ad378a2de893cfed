#include "queueing.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "open_store.h"

#include <stdlib.h>

/* Of one transaction, which keeps a publisher and a receiver waiting. */
#define BATCH_MESSAGES 500
#define BATCH_OCTETS ((size_t)4 * 1024 * 1024)
/* Seconds by which the iat of a message may be later than the time at which it was queued. */
#define NOTE_MARGIN 60

int open_outbox(struct dmsg_outbox **out, const struct dmsg_context *context, const char *state,
    const struct dmsg_name *name, enum outbox_mode mode, struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    const struct store_choice choice = {.state = state};
    int result = mode == OUTBOX_MAKE ? store_path_to_make(&path, &choice, name, error)
                                     : store_path(&path, &choice, name, error);
    if (result < 0)
        return result;
    if (mode == OUTBOX_MAKE)
        return dmsg_outbox_open(out, context, path, name, error);
    /* Looked at first: a mistyped name must not make a database. */
    result = dmsg_outbox_show(out, context, path, name, error);
    if (result < 0 || mode == OUTBOX_LOOK)
        return result;
    dmsg_outbox_close(out);
    return dmsg_outbox_open(out, context, path, name, error);
}

int queueing_open(struct queueing *queueing, const char *program,
    const struct dmsg_context *context, const char *state, const struct dmsg_name *name,
    struct dmsg_error *error)
{
    const struct store_choice choice = {.state = state};
    queueing->program = program;
    queueing->context = context;
    int result = store_path_to_make(&queueing->path, &choice, name, error);
    return result < 0 ? result
                      : dmsg_outbox_open(&queueing->outbox, context, queueing->path, name, error);
}

static void say(struct queueing *queueing, const struct dmsg_outgoing *message, int64_t row)
{
    struct dmsg_buffer *out = &queueing->said;
    bool is_sealed = message->state == DMSG_OUTGOING_SEALED;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "recipient", message->recipient.text);
    if (is_sealed)
        json_member_text(out, "id", message->id);
    json_member_text(out, "topic", message->topic);
    json_member_number(out, "size", (int64_t)message->content.size);
    json_member_number(out, "row", row);
    json_member_bool(out, "sealed", is_sealed);
    dmsg_buffer_put_text(out, "}\n");
}

static void forget_batch(struct queueing *queueing)
{
    dmsg_outbox_rollback(queueing->outbox);
    dmsg_buffer_reset(&queueing->said);
    queueing->is_open = false;
    queueing->messages = queueing->octets = 0;
}

/* Nothing of the batch is kept. */
static int fail_batch(struct queueing *queueing, int code, struct dmsg_error *error)
{
    if (queueing->is_open && queueing->line > queueing->first_line)
        code = dmsg_fail_in(error, code, "lines %llu to %llu are not queued",
            (unsigned long long)queueing->first_line, (unsigned long long)queueing->line);
    forget_batch(queueing);
    return code;
}

int queueing_commit(struct queueing *queueing, struct dmsg_error *error)
{
    if (!queueing->is_open)
        return 0;
    int result = dmsg_outbox_commit(queueing->outbox, error);
    if (result < 0)
        return fail_batch(queueing, result, error);
    if (queueing->json)
        result = queueing->said.failed
                     ? dmsg_fail_memory(error)
                     : write_output(stdout, dmsg_buffer_span(&queueing->said), error);
    forget_batch(queueing);
    return result;
}

static int begin(struct queueing *queueing, struct dmsg_error *error)
{
    if (queueing->is_open)
        return 0;
    int result = dmsg_outbox_begin(queueing->outbox, true, error);
    queueing->is_open = result == 0;
    queueing->first_line = queueing->line;
    return result;
}

int queueing_put(struct queueing *queueing, const struct dmsg_outgoing *message, const char *kid,
    struct dmsg_error *error)
{
    int64_t row = 0;
    int result = begin(queueing, error);
    if (result == 0)
        result = dmsg_outbox_put(queueing->outbox, message, &row, error);
    if (result == DMSG_E_QUOTA) /* those before it stay */
        return result;
    if (result == 0 && kid != NULL)
        result = dmsg_outbox_note_issued(
            queueing->outbox, kid, message->expires_at + NOTE_MARGIN, error);
    if (result < 0)
        return fail_batch(queueing, result, error);
    if (queueing->json)
        say(queueing, message, row);
    queueing->messages++;
    queueing->octets += message->content.size;
    if (queueing->messages < BATCH_MESSAGES && queueing->octets < BATCH_OCTETS)
        return 0;
    return queueing_commit(queueing, error);
}

void queueing_done(struct queueing *queueing)
{
    dmsg_outbox_close(&queueing->outbox);
    dmsg_buffer_done(&queueing->said);
    free(queueing->path);
    *queueing = (struct queueing){0};
}
