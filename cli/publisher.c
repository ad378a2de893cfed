#include "publisher.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "events.h"
#include "figures.h"
#include "queueing.h"
#include "receiver_state.h"
#include "sending.h"

#include <stdlib.h>
#include <unistd.h>

/* Seconds by which a message's exp may be later than what the outbox says of it. */
#define NOTE_MARGIN 60

struct publishing {
    const struct publisher_options *options;
    struct dmsg_name name;
    struct sending sending; /* what messages are sealed with, and the broker */
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    struct dmsg_outbox *outbox;
    int lock_fd;
    struct dmsg_outbox_state state;
    struct publisher_figures figures;
    char *status_path;
    struct housekeeping housekeeping;
};

/* ------------------------------------------------------------------------------------ callbacks */

/* How many certificates readers need is what DNS says of the own name, as far as it is known now;
   without an answer all go along, which costs octets only. */
static void count_certificates(struct sending *sending)
{
    const struct dmsg_name *name = dmsg_identity_name(reload_identity(&sending->reload));
    const struct dmsg_peer *own = dmsg_discovery_get(sending->discovery, name);
    size_t count = 0;
    if (own == NULL || own->expires_at <= dmsg_context_now(&sending->context))
        (void)!dmsg_discovery_ask(sending->discovery, name, NULL, NULL, NULL);
    if (dmsg_sealer_certificates(&count, sending->sealer, own, NULL) == 0)
        sending->certificates = count;
    dmsg_peer_release(own);
}

static void will_seal(void *user)
{
    struct publishing *publishing = user;
    sending_renew_sealer(&publishing->sending);
    count_certificates(&publishing->sending);
}

static int seal(void *user, const struct dmsg_outgoing *message, const struct dmsg_peer_key *key,
    int64_t lifetime, struct dmsg_buffer *envelope, char id[static DMSG_MESSAGE_ID_SIZE],
    struct dmsg_error *error)
{
    struct publishing *publishing = user;
    const struct sending *sending = &publishing->sending;
    const struct dmsg_identity_key *own =
        dmsg_identity_current(reload_identity(&sending->reload), DMSG_FOR_SIGNATURES);
    const struct dmsg_seal_options how = {.recipient = &message->recipient,
        .key = key,
        .format = message->format,
        .cbc = message->cbc,
        .content_type = message->content_type[0] != '\0' ? message->content_type : NULL,
        .topic = message->topic,
        .lifetime = lifetime,
        .size_limit = message->size_limit,
        .certificates = message->format == DMSG_FORMAT_V1 ? sending->certificates : 0,
        .id = id};
    int result = dmsg_outbox_note_issued(
        publishing->outbox, own->kid, message->expires_at + NOTE_MARGIN, error);
    return result < 0 ? result
                      : dmsg_seal(sending->sealer, &how, message->content, envelope, error);
}

static int mqtt_anew(void *user, struct dmsg_mqtt **out, struct dmsg_error *error)
{
    struct publishing *publishing = user;
    struct sending *sending = &publishing->sending;
    struct dmsg_mqtt *fresh = NULL;
    broker_dane_done(&sending->broker.dane);
    int result = broker_open(
        &fresh, &sending->broker, publishing->discovery, reload_identity(&sending->reload), error);
    if (result < 0)
        return result;
    dmsg_mqtt_free(&sending->mqtt);
    *out = sending->mqtt = fresh;
    return 0;
}

static bool stop(void *user)
{
    struct publishing *publishing = user;
    return !publishing->options->once && housekeeping_turn(&publishing->housekeeping);
}

/* ---------------------------------------------------------------------------------- preparing */

/* Two that publish from one outbox would publish everything twice. */
static int take_lock(struct publishing *publishing, struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result =
        state_file(&path, publishing->options->state, &publishing->name, "outbox.lock", error);
    if (result < 0)
        return result;
    return state_lock(&publishing->lock_fd, path, "publisher of the outbox", error);
}

static int open_housekeeping(struct publishing *publishing, struct dmsg_error *error)
{
    const struct publisher_options *options = publishing->options;
    if (options->once)
        return 0;
    int result = state_file(&publishing->status_path, options->state, &publishing->name,
        PUBLISHER_STATUS_SUFFIX, error);
    if (result < 0)
        return result;
    publishing->figures = (struct publisher_figures){&publishing->state, publishing->outbox};
    const struct housekeeping_config config = {.metrics = options->metrics,
        .status_path = publishing->status_path,
        .name = &publishing->name,
        .source = publisher_figures_source(&publishing->figures)};
    return housekeeping_open(&publishing->housekeeping, &config, error);
}

/* The resolver process first: it must not hold a key. */
static int prepare(struct publishing *publishing, struct dmsg_error *error)
{
    const struct publisher_options *options = publishing->options;
    struct sending *sending = &publishing->sending;
    struct broker *broker = &sending->broker;
    int result = own_name(&publishing->name, options->identity, error);
    if (result == 0)
        result = broker_read(broker, options->broker, sending->program, error);
    if (result == 0)
        result = open_outbox(&publishing->outbox, &sending->context, options->state,
            &publishing->name, options->once ? OUTBOX_CHANGE : OUTBOX_MAKE, error);
    if (result == 0)
        result = take_lock(publishing, error);
    if (result == 0)
        result = open_discovery(&publishing->discovery, &sending->context, options->dns, error);
    sending->discovery = publishing->discovery;
    if (result == 0)
        result = open_housekeeping(publishing, error);
    if (result == 0)
        result = own_identity(&publishing->me, &sending->context, options->identity, error);
    if (result == 0)
        result = dmsg_sealer_new(&sending->sealer, &sending->context, publishing->me, error);
    if (result == 0)
        result = reload_init(&sending->reload, sending->program, &sending->context,
            options->identity, publishing->me, error);
    broker->config.clean = true;
    return result < 0
               ? result
               : broker_open(&sending->mqtt, broker, publishing->discovery, publishing->me, error);
}

/* `danemsg outbox flush` from a timer: what was hopeless a while ago is tried now. */
static int hurry(struct dmsg_outbox *outbox, struct dmsg_error *error)
{
    int result = dmsg_outbox_begin(outbox, false, error);
    if (result == 0)
        result = dmsg_outbox_hurry(outbox, error);
    if (result == 0)
        return dmsg_outbox_commit(outbox, error);
    dmsg_outbox_rollback(outbox);
    return result;
}

static int publish(struct publishing *publishing, struct dmsg_error *error)
{
    const struct publisher_options *options = publishing->options;
    const struct sending *sending = &publishing->sending;
    const struct events events = {sending->program, options->broker->debug, options->log_json};
    const struct dmsg_log log = {events_write, (void *)(uintptr_t)&events};
    const struct dmsg_outbox_config config = {
        .context = &sending->context,
        .outbox = publishing->outbox,
        .mqtt = sending->mqtt,
        .discovery = publishing->discovery,
        .log = &log,
        .mqtt_anew = mqtt_anew,
        .will_seal = will_seal,
        .seal = seal,
        .stop = stop,
        .wake_fd = publishing->housekeeping.fd,
        .user = publishing,
        .once = options->once,
        .patience = options->wait * 1000,
        .state = &publishing->state,
    };
    int result = options->once ? hurry(publishing->outbox, error) : 0;
    return result < 0 ? result : dmsg_outbox_publish(&config, error);
}

static void done(struct publishing *publishing)
{
    sending_done(&publishing->sending);
    dmsg_outbox_close(&publishing->outbox);
    housekeeping_close(&publishing->housekeeping);
    free(publishing->status_path);
    dmsg_identity_free(&publishing->me);
    dmsg_discovery_free(&publishing->discovery);
    broker_done(&publishing->sending.broker);
    if (publishing->lock_fd > 0)
        close(publishing->lock_fd);
}

int publisher_run(
    const char *program, const struct publisher_options *options, struct dmsg_error *error)
{
    static const struct sealing_options as_queued = {0};
    struct publishing publishing = {.options = options, .housekeeping = HOUSEKEEPING_NONE};
    sending_init(&publishing.sending, program, &as_queued);
    int result = prepare(&publishing, error);
    if (result == 0)
        result = publish(&publishing, error);
    done(&publishing);
    return result;
}
