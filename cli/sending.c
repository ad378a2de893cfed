#include "sending.h"

#include "base/fail.h"

#include <poll.h>
#include <stdlib.h>

/* Publishes before the broker is listened to, when there is room for more: few enough that it is
   never idle, many enough that it costs little. */
#define LISTEN_EVERY 32
/* Milliseconds: pauses before a broker that was lost is tried again. */
#define RECONNECT_FIRST 200
#define RECONNECT_MOST 5000
/* Between two questions for a recipient's keys. */
#define ASK_PAUSE 30000
/* A payload that takes long enough to seal that a person wonders. */
#define LONG_SEALING ((size_t)8 * 1024 * 1024)

void sending_init(struct sending *sending, const char *program, const struct sealing_options *how)
{
    *sending = (struct sending){.program = program,
        .how = how,
        .pause = {.first = RECONNECT_FIRST, .most = RECONNECT_MOST}};
    progress_init(&sending->progress, program);
}

void sending_fail(struct sending *sending, const struct dmsg_error *error)
{
    progress_end(&sending->progress);
    print_error(sending->program, error);
    if (sending->first_failure == 0)
        sending->first_failure = error->code;
}

/* Which message an error is about, where that is not plain. */
static void fail_message(
    struct sending *sending, uint64_t line, size_t recipient, struct dmsg_error *error)
{
    const char *name = sending->recipients[recipient].name.text;
    if (line > 0)
        (void)dmsg_fail_in(error, error->code, "line %llu to %s", (unsigned long long)line, name);
    else
        (void)dmsg_fail_in(error, error->code, "to %s", name);
    sending_fail(sending, error);
}

/* ---------------------------------------------------------------------- what is under way */

static struct sent *sent_at(struct sending *sending, size_t index)
{
    return &sending->sent[(sending->first + index) % SENDING_WINDOW];
}

static void collect_refusals(struct sending *sending)
{
    struct dmsg_error error;
    int id;
    while (dmsg_mqtt_refused(sending->mqtt, &id, &error) != 0) {
        for (size_t i = 0; i < sending->sent_count; i++) {
            const struct sent *sent = sent_at(sending, i);
            if (sent->id == id) {
                fail_message(sending, sent->line, sent->recipient, &error);
                break;
            }
        }
    }
}

void sending_reap(struct sending *sending)
{
    collect_refusals(sending);
    while (sending->sent_count > 0) {
        const struct sent *oldest = sent_at(sending, 0);
        if (dmsg_mqtt_is_in_flight(sending->mqtt, oldest->id))
            return;
        sending->octets -= oldest->size;
        sending->first = (sending->first + 1) % SENDING_WINDOW;
        sending->sent_count--;
    }
}

static void remember(struct sending *sending, int id, size_t recipient)
{
    struct sent *sent = sent_at(sending, sending->sent_count++);
    *sent = (struct sent){
        .id = id, .line = sending->line, .recipient = recipient, .size = sending->envelope.size};
    sending->octets += sent->size;
}

static bool has_room(const struct sending *sending)
{
    return sending->sent_count < SENDING_WINDOW &&
           dmsg_mqtt_in_flight(sending->mqtt) < SENDING_WINDOW &&
           (sending->sent_count == 0 || sending->octets + sending->envelope.size <= SENDING_OCTETS);
}

/* --------------------------------------------------------------------- a broker that vanishes */

/* Those of quality of service 0 are not sent again. */
static void say_what_broke(struct sending *sending, size_t before)
{
    struct dmsg_error lost;
    size_t now = dmsg_mqtt_in_flight(sending->mqtt);
    if (now >= before)
        return;
    (void)dmsg_fail(&lost, DMSG_E_BROKER,
        "%zu message(s) of quality of service 0 may be lost with the connection", before - now);
    sending_fail(sending, &lost);
}

int sending_recover(struct sending *sending, struct dmsg_error *error)
{
    const struct dmsg_error lost = *error;
    int64_t until = dmsg_now_ms() + sending->wait;
    size_t before = dmsg_mqtt_in_flight(sending->mqtt);
    int result = lost.code;
    if (dmsg_mqtt_connected(sending->mqtt) || dmsg_mqtt_taken_over(sending->mqtt))
        return result;
    progress_end(&sending->progress);
    print_note(sending->program, "%s; connecting again", lost.text);
    for (int64_t left = sending->wait; left > 0; left = until - dmsg_now_ms()) {
        int64_t pause = dmsg_pause_take(&sending->pause, &sending->context);
        (void)poll(NULL, 0, (int)(pause < left ? pause : left));
        left = until - dmsg_now_ms();
        result = dmsg_mqtt_wait_connected(sending->mqtt, left > 0 ? (int)left : 1, error);
        if (result == 0) {
            dmsg_pause_reset(&sending->pause);
            say_what_broke(sending, before);
            return 0;
        }
    }
    if (result == DMSG_E_TIMEOUT)
        *error = lost;
    return error->code;
}

int sending_listen(struct sending *sending, int most, struct dmsg_error *error)
{
    sending->unheard = 0;
    if (sending->queueing != NULL)
        return queueing_commit(sending->queueing, error);
    int result = broker_step(sending->mqtt, most, error);
    sending_reap(sending);
    return result == DMSG_E_BROKER ? sending_recover(sending, error) : result;
}

/* ---------------------------------------------------------------------------------- publishing */

static int make_room(struct sending *sending, struct dmsg_error *error)
{
    int64_t until = dmsg_now_ms() + sending->wait;
    int result = 0;
    if (sending->unheard >= LISTEN_EVERY)
        result = sending_listen(sending, 0, error);
    while (result == 0 && !has_room(sending)) {
        size_t before = dmsg_mqtt_in_flight(sending->mqtt);
        result = sending_listen(sending, SENDING_LOOK_PAUSE, error);
        int64_t now = dmsg_now_ms();
        if (dmsg_mqtt_in_flight(sending->mqtt) < before)
            until = now + sending->wait;
        if (result == 0 && now >= until)
            return dmsg_fail(error, DMSG_E_TIMEOUT, "the broker has acknowledged nothing for %d s",
                sending->wait / 1000);
    }
    return result;
}

static int print_json(struct sending *sending, const struct recipient *recipient, const char *id,
    const char *topic, struct dmsg_error *error)
{
    struct dmsg_buffer line = {0};
    dmsg_buffer_put_byte(&line, '{');
    json_member_text(&line, "recipient", recipient->name.text);
    json_member_text(&line, "id", id);
    json_member_text(&line, "topic", topic);
    json_member_number(&line, "size", (int64_t)sending->envelope.size);
    dmsg_buffer_put_text(&line, "}\n");
    int result = line.failed ? dmsg_fail_memory(error)
                             : write_output(stdout, dmsg_buffer_span(&line), error);
    dmsg_buffer_done(&line);
    return result;
}

/* Publishes the envelope, on a new connection if that is what it takes. */
static int publish_envelope(
    struct sending *sending, const char *topic, size_t recipient, struct dmsg_error *error)
{
    int id = 0;
    int result = make_room(sending, error);
    while (result == 0) {
        result = dmsg_mqtt_publish(sending->mqtt, topic, dmsg_buffer_span(&sending->envelope),
            sending->qos, sending->retain, &id, error);
        if (result != DMSG_E_BROKER)
            break;
        result = sending_recover(sending, error);
    }
    if (result == 0) {
        remember(sending, id, recipient);
        sending->unheard++;
    }
    return result;
}

void sending_renew_sealer(struct sending *sending)
{
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_error why;
    size_t certificates = 0;
    const struct dmsg_identity *fresh = reload_look(&sending->reload, false);
    if (fresh == NULL)
        return;
    progress_end(&sending->progress);
    if (dmsg_sealer_new(&sealer, &sending->context, fresh, &why) < 0) {
        reload_refuse(&sending->reload, &why);
        return;
    }
    /* What DNS said of our name may be older than the new key. */
    if (dmsg_sealer_certificates(&certificates, sealer, NULL, &why) == 0 && !sending->how->poc)
        sending->certificates = certificates;
    dmsg_sealer_free(&sending->sealer);
    sending->sealer = sealer;
    reload_use(&sending->reload);
}

/* Without a usable key in the answer the one of before goes on serving: who retracts a key keeps it
   for what is on its way. */
static void take_newer(void *user, const struct dmsg_peer *peer)
{
    struct recipient *recipient = user;
    const struct dmsg_peer_key *key = dmsg_peer_recipient_key(peer, NULL);
    recipient->asked = false;
    recipient->ask_at = dmsg_now_ms() + ASK_PAUSE;
    if (key == NULL)
        return;
    dmsg_peer_release(recipient->peer);
    recipient->peer = dmsg_peer_retain(peer);
    recipient->key = key;
}

/* A key that a cache would have forgotten is asked for again, and used until the answer comes. */
static void renew_recipient(struct sending *sending, struct recipient *recipient)
{
    if (!recipient->asked && dmsg_now_ms() >= recipient->ask_at &&
        dmsg_context_now(&sending->context) >= recipient->peer->expires_at) {
        recipient->ask_at = dmsg_now_ms() + ASK_PAUSE;
        recipient->asked = dmsg_discovery_ask(sending->discovery, &recipient->name, take_newer,
                               recipient, NULL) == 0;
    }
    if (recipient->asked && dmsg_discovery_step(sending->discovery, NULL) < 0)
        recipient->asked = false;
}

/* Sealed, or as it is: then it is tried whether it could be signed at all. */
static int queue(struct sending *sending, const struct recipient *recipient,
    const struct dmsg_seal_options *how, struct dmsg_span payload, struct dmsg_error *error)
{
    const struct dmsg_identity_key *own =
        dmsg_identity_current(reload_identity(&sending->reload), DMSG_FOR_SIGNATURES);
    bool is_sealed = recipient->key != NULL;
    int64_t now = dmsg_context_now(&sending->context);
    int result = is_sealed ? dmsg_seal(sending->sealer, how, payload, &sending->envelope, error)
                           : dmsg_sign(sending->sealer, how, payload, &sending->envelope, error);
    if (result < 0)
        return result;
    const struct dmsg_outgoing message = {.recipient = recipient->name,
        .state = is_sealed ? DMSG_OUTGOING_SEALED : DMSG_OUTGOING_OPEN,
        .queued_at = now,
        .expires_at = now + (how->lifetime != 0 ? how->lifetime : DMSG_LIFE_DEFAULT),
        .format = how->format,
        .cbc = how->cbc,
        .retain = sending->retain,
        .qos = sending->qos,
        .size_limit = how->size_limit,
        .id = is_sealed ? how->id : "",
        .content_type = how->content_type != NULL ? how->content_type : "",
        .topic = how->topic != NULL ? how->topic : recipient->name.text,
        .content = is_sealed ? dmsg_buffer_span(&sending->envelope) : payload};
    sending->queueing->line = sending->line;
    return queueing_put(sending->queueing, &message, is_sealed ? own->kid : NULL, error);
}

static int publish(
    struct sending *sending, size_t index, struct dmsg_span payload, struct dmsg_error *error)
{
    struct recipient *recipient = &sending->recipients[index];
    renew_recipient(sending, recipient);
    struct dmsg_seal_options how = seal_options(sending->how, recipient);
    char id[DMSG_MESSAGE_ID_SIZE] = "";
    if (how.topic == NULL)
        how.topic = sending->broker.topic; /* of the URL */
    const char *topic = how.topic != NULL ? how.topic : recipient->name.text;
    how.id = id;
    how.certificates = sending->certificates;
    if (sending->text && how.content_type == NULL && how.format == DMSG_FORMAT_V1)
        how.content_type = "text/plain;charset=utf-8";
    dmsg_buffer_reset(&sending->envelope);
    if (payload.size >= LONG_SEALING)
        progress_say(&sending->progress, "signing and encrypting");
    sending_renew_sealer(sending);
    if (sending->queueing != NULL)
        return queue(sending, recipient, &how, payload, error);
    issued_note(&sending->issued, reload_identity(&sending->reload), how.lifetime);
    int result = dmsg_seal(sending->sealer, &how, payload, &sending->envelope, error);
    if (result == 0)
        result = publish_envelope(sending, topic, index, error);
    if (result == 0 && sending->json)
        result = print_json(sending, recipient, id, topic, error);
    return result;
}

int sending_publish(struct sending *sending, struct dmsg_span payload, struct dmsg_error *error)
{
    for (size_t i = 0; i < sending->recipient_count; i++) {
        struct dmsg_error one;
        if (sending->recipients[i].key == NULL && !sending->recipients[i].waits)
            continue;
        int result = publish(sending, i, payload, &one);
        if (result == DMSG_E_QUOTA && sending->line > 0)
            (void)dmsg_fail_in(&one, result, "line %llu and those after it are not queued",
                (unsigned long long)sending->line);
        if (result == DMSG_E_BROKER || result == DMSG_E_TIMEOUT || result == DMSG_E_LOCAL ||
            result == DMSG_E_QUOTA)
            return dmsg_fail(error, result, "%s", one.text);
        if (result < 0 && sending->line > 0)
            fail_message(sending, sending->line, i, &one);
        else if (result < 0)
            sending_fail(sending, &one);
    }
    return 0;
}

void sending_done(struct sending *sending)
{
    for (size_t i = 0; i < sending->recipient_count; i++)
        recipient_done(&sending->recipients[i]);
    free(sending->recipients);
    dmsg_buffer_done(&sending->envelope);
    dmsg_mqtt_free(&sending->mqtt);
    dmsg_sealer_free(&sending->sealer);
    reload_done(&sending->reload);
    issued_done(&sending->issued);
}
