#include "failures_run.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW 1700000000

/* 24 octets, so that their base64url stands in the JWS as it is. */
#define PAYLOAD "a payload that is secret"
#define PAYLOAD_BASE64URL "YSBwYXlsb2FkIHRoYXQgaXMgc2VjcmV0"

/* Stands in each output before anything is appended. */
#define BEFORE "BEFORE"

static int64_t now(void *user)
{
    (void)user;
    return NOW;
}

static bool synchronised(void *user)
{
    (void)user;
    return true;
}

const struct dmsg_context run_context = {.now = now, .synchronised = synchronised};
static const struct dmsg_policy policy = {.accept_any_poc = true};
static const char *const secrets[] = {PAYLOAD, PAYLOAD_BASE64URL, NULL};

/* ---------------------------------------------------------------------------------- the steps */

static struct dmsg_span appended(const struct dmsg_buffer *buffer)
{
    size_t skipped = strlen(BEFORE);
    return (struct dmsg_span){buffer->data + skipped, buffer->size - skipped};
}

static const struct dmsg_peer *sender(const struct run *run)
{
    const struct scenario *scenario = run->scenario;
    return scenario->peer != NULL ? *scenario->peer : scenario->from->peer;
}

static int new_sealer(struct run *run)
{
    return dmsg_sealer_new(&run->sealer, &run_context, run->scenario->from->identity, &run->error);
}

static int new_opener(struct run *run)
{
    const struct scenario *scenario = run->scenario;
    return dmsg_opener_new(&run->opener, &run_context,
        scenario->identity != NULL ? *scenario->identity : scenario->to->identity, &policy,
        &run->error);
}

static int seal(struct run *run)
{
    return dmsg_seal(
        run->sealer, &run->options, dmsg_span_text(PAYLOAD), &run->envelope, &run->error);
}

static int sign(struct run *run)
{
    return dmsg_sign(run->sealer, &run->options, dmsg_span_text(PAYLOAD), &run->jws, &run->error);
}

static int encrypt(struct run *run)
{
    return dmsg_encrypt(&run_context, &run->options, appended(&run->jws), &run->jwe, &run->error);
}

static int begin(struct run *run)
{
    return dmsg_open_begin(run->opener, appended(&run->envelope),
        dmsg_span_text(run->scenario->to->name.text), &run->message, &run->error);
}

static int resume(struct run *run)
{
    return dmsg_open_resume(run->opener, dmsg_buffer_span(&run->message.jws), run->message.id,
        (struct dmsg_span){0}, &run->resumed, &run->error);
}

static int finish(struct run *run)
{
    return dmsg_open_finish(run->opener, &run->message, sender(run), &run->error);
}

static int finish_resumed(struct run *run)
{
    return dmsg_open_finish(run->opener, &run->resumed, sender(run), &run->error);
}

static int decrypt(struct run *run)
{
    return dmsg_decrypt(run->opener, appended(&run->jwe), &run->plaintext, &run->error);
}

static int make_kid(struct run *run)
{
    return dmsg_jose_kid(run->kid, run->options.key->key, &run->error);
}

/* What a step appends to or fills in; and the refusals that a failure may look like which OpenSSL
   keeps to itself: the key is at fault, the octets are. */
static const struct step {
    const char *name;
    int (*go)(struct run *run);
    size_t output, message; /* offsets in struct run, 0 for none */
    int refusals[2];
} steps[] = {
    [STEP_NEW_SEALER] = {.name = "new_sealer", .go = new_sealer, .refusals = {DMSG_E_CERTIFICATE}},
    [STEP_NEW_OPENER] = {.name = "new_opener", .go = new_opener, .refusals = {DMSG_E_CERTIFICATE}},
    [STEP_SEAL] = {.name = "seal",
        .go = seal,
        .output = offsetof(struct run, envelope),
        .refusals = {DMSG_E_CERTIFICATE}},
    [STEP_BEGIN] = {.name = "begin",
        .go = begin,
        .message = offsetof(struct run, message),
        .refusals = {DMSG_E_DECRYPT}},
    [STEP_RESUME] = {.name = "resume", .go = resume, .message = offsetof(struct run, resumed)},
    [STEP_FINISH] = {.name = "finish",
        .go = finish,
        .message = offsetof(struct run, message),
        .refusals = {DMSG_E_CERTIFICATE, DMSG_E_SIGNATURE}},
    [STEP_FINISH_RESUMED] = {.name = "finish_resumed",
        .go = finish_resumed,
        .message = offsetof(struct run, resumed),
        .refusals = {DMSG_E_CERTIFICATE, DMSG_E_SIGNATURE}},
    [STEP_HALVES] = {.name = "sign", .go = sign, .output = offsetof(struct run, jws)},
    {.name = "encrypt",
        .go = encrypt,
        .output = offsetof(struct run, jwe),
        .refusals = {DMSG_E_CERTIFICATE}},
    {.name = "decrypt",
        .go = decrypt,
        .output = offsetof(struct run, plaintext),
        .refusals = {DMSG_E_DECRYPT}},
    {.name = "make_kid", .go = make_kid},
};
#define STEPS (sizeof steps / sizeof steps[0])

static void clear_buffer(struct dmsg_buffer *buffer)
{
    dmsg_buffer_reset(buffer);
    dmsg_buffer_put_text(buffer, BEFORE);
}

void run_clear(struct run *run)
{
    clear_buffer(&run->envelope);
    clear_buffer(&run->jws);
    clear_buffer(&run->jwe);
    clear_buffer(&run->plaintext);
    dmsg_message_done(&run->message);
    dmsg_message_done(&run->resumed);
    run->kid[0] = '\0';
}

void run_start(struct run *run, const struct scenario *scenario)
{
    *run = (struct run){.scenario = scenario};
    run->options = (struct dmsg_seal_options){.recipient = &scenario->to->name,
        .key = dmsg_peer_recipient_key(scenario->to->peer, NULL),
        .format = scenario->format,
        .certificates = scenario->certificates,
        .cbc = scenario->cbc};
    run_clear(run);
    ERR_clear_error();
    failures_watch(secrets);
}

int run_go_until(struct run *run, size_t step, size_t end)
{
    for (run->step = step; run->step < end; run->step++) {
        int result = steps[run->step].go(run);
        if (result < 0)
            return result;
    }
    return 0;
}

int run_go(struct run *run, size_t step)
{
    return run_go_until(run, step, run->scenario->halves ? STEPS : STEP_HALVES);
}

void run_end(struct run *run)
{
    dmsg_buffer_done(&run->envelope);
    dmsg_buffer_done(&run->jws);
    dmsg_buffer_done(&run->jwe);
    dmsg_buffer_done(&run->plaintext);
    dmsg_message_done(&run->message);
    dmsg_message_done(&run->resumed);
    dmsg_sealer_free(&run->sealer);
    dmsg_opener_free(&run->opener);
    failures_watch(NULL);
}

/* ---------------------------------------------------------------------------------- judgement */

static bool arrived(const struct dmsg_message *message)
{
    return message->verified && dmsg_span_equal_text(dmsg_buffer_span(&message->payload), PAYLOAD);
}

static const char *fault_of_success(const struct run *run)
{
    if (!arrived(&run->message) || !arrived(&run->resumed))
        return "the message did not arrive";
    if (strcmp(run->message.id, run->resumed.id) != 0)
        return "the message that was resumed has another id";
    if (!run->scenario->halves)
        return NULL;
    if (!dmsg_span_equal(appended(&run->plaintext), appended(&run->jws)))
        return "what was decrypted is not what was encrypted";
    return strcmp(run->kid, run->options.key->kid) == 0 ? NULL : "another kid";
}

/* Anywhere in the buffer's memory. */
static bool holds_secret(const struct dmsg_buffer *buffer)
{
    bool found = false;
    for (size_t i = 0; secrets[i] != NULL && buffer->data != NULL; i++)
        found |= memmem(buffer->data, buffer->capacity, secrets[i], strlen(secrets[i])) != NULL;
    return found;
}

static const void *part(const struct run *run, size_t offset)
{
    return (const char *)run + offset;
}

static const char *fault_of_output(const struct run *run, const struct step *step)
{
    const struct dmsg_buffer *output = part(run, step->output);
    if (step->output == 0)
        return NULL;
    if (!dmsg_span_equal_text(dmsg_buffer_span(output), BEFORE))
        return "something was appended";
    /* A JWS is no secret to whom its payload is none. */
    return step->go != sign && holds_secret(output) ? "a secret is left behind the output" : NULL;
}

static const char *fault_of_message(const struct run *run, const struct step *step)
{
    const struct dmsg_message *message = part(run, step->message);
    if (step->message == 0)
        return NULL;
    if (message->verified || message->payload.size > 0)
        return "a message was believed";
    if (holds_secret(&message->payload))
        return "a secret is left behind the payload";
    if ((step->go == begin || step->go == resume) && message->jws.size > 0)
        return "a JWS is left";
    return message->jws.size == 0 && holds_secret(&message->jws) ? "a JWS is left behind" : NULL;
}

static bool is_refusal(const struct run *run, int result)
{
    const int *refusals = steps[run->step].refusals;
    return result == refusals[0] || result == refusals[1];
}

bool run_is_silent(const struct run *run, int result)
{
    const struct failures_hit *hit = failures_hit();
    return result < 0 && hit->inside_openssl && !hit->told && is_refusal(run, result);
}

static bool is_expected(const struct run *run, int result)
{
    const struct failures_call *call = failures_hit()->call;
    return result == DMSG_E_INTERNAL || run_is_silent(run, result) ||
           (call != NULL && call->may_refuse && is_refusal(run, result));
}

static const char *fault_of_failure(const struct run *run, int result)
{
    const struct step *step = &steps[run->step];
    if (!failures_hit()->reached)
        return "it failed although nothing was made to fail";
    if (!is_expected(run, result))
        return "an error that this failure must not look like";
    if (run->error.code != result || run->error.text[0] == '\0')
        return "the error is not filled in";
    if ((step->go == new_sealer && run->sealer != NULL) ||
        (step->go == new_opener && run->opener != NULL))
        return "an out-parameter is set";
    const char *fault = fault_of_output(run, step);
    return fault != NULL ? fault : fault_of_message(run, step);
}

/* OpenSSL itself can do without much of its memory, a run only without some calls. */
static bool may_go_on(const struct run *run)
{
    const struct failures_hit *hit = failures_hit();
    return !hit->reached || hit->inside_openssl || run->scenario->several ||
           (hit->call != NULL && hit->call->spare);
}

const char *run_fault(const struct run *run, int result)
{
    if (ERR_peek_error() != 0)
        return "OpenSSL's errors are left in its queue";
    if (failures_spilled())
        return "a secret was freed unwiped";
    if (result < 0)
        return fault_of_failure(run, result);
    return may_go_on(run) ? fault_of_success(run) : "it succeeded all the same";
}

const char *run_step(const struct run *run)
{
    return run->step < STEPS ? steps[run->step].name : "the end";
}

const char *run_again(struct run *run)
{
    const struct step *step = &steps[run->step];
    /* A refusal of what a message carries is remembered for a minute. */
    if (run->scenario->certificates > 0 && run->error.code == DMSG_E_CERTIFICATE)
        return NULL;
    /* `failed` stays set until the buffer is reset (danemsg/span.h). */
    if (step->output != 0)
        clear_buffer((struct dmsg_buffer *)((char *)run + step->output));
    if (run_go(run, run->step) < 0)
        return "it fails afterwards too";
    return fault_of_success(run);
}
