#include "service/receive.h"

#include "base/fail.h"
#include "service/internal.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds. Pauses before the broker is tried again; between purges of old ids; and how long
   reading may be put off while there is other work, well within any keepalive time. */
#define RECONNECT_FIRST 1000
#define RECONNECT_MOST 60000
#define PURGE_PAUSE 60000
#define PURGE_SLICE_PAUSE 20
#define READ_PAUSE 5000
/* Between two looks at the other receivers that share the store; well under their lease. */
#define TAKE_OVER_PAUSE 4000
/* A turn of the loop comes at least this often. */
#define TURN_MOST 60000

/* ------------------------------------------------------------------- what all parts need */

void dmsg_receiver_refuse(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const char *id, const struct dmsg_error *why, enum dmsg_log_level level)
{
    struct dmsg_event event = {.level = level,
        .code = why->code,
        .sender = sender->size > 0 ? sender : NULL,
        .id = id[0] != '\0' ? id : NULL,
        .text = why->text};
    dmsg_store_count_refused(receiver->config->store, why->code);
    dmsg_refusals_put(&receiver->refusals, dmsg_now_ms(), &event);
}

void dmsg_receiver_count(struct dmsg_receiver *receiver)
{
    const struct dmsg_store_counts *now = dmsg_store_counted(receiver->config->store);
    const struct dmsg_store_counts *before = &receiver->counted_before;
    receiver->state->accepted = (uint64_t)(now->accepted - before->accepted);
    for (int i = 0; i < DMSG_ERROR_COUNT; i++)
        receiver->state->refused[i] = (uint64_t)(now->refused[i] - before->refused[i]);
}

void dmsg_receiver_delay(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const struct dmsg_error *why, enum dmsg_log_level level)
{
    struct dmsg_event event = {
        .level = level, .code = why->code, .sender = sender, .text = why->text};
    dmsg_refusals_put(&receiver->delays, dmsg_now_ms(), &event);
}

void dmsg_receiver_note_poc(struct dmsg_receiver *receiver, const struct dmsg_message *message)
{
    struct dmsg_event event = {.level = DMSG_LOG_WARNING,
        .sender = &message->sender,
        .id = message->id,
        .text = "a verified proof of concept message: not addressed, not replay-protected"};
    dmsg_log_event(receiver->config->log, &event);
}

void dmsg_receiver_note_stale(struct dmsg_receiver *receiver, const struct dmsg_peer *peer)
{
    if (peer == NULL || !peer->stale)
        return;
    for (size_t i = 0; i < DMSG_STALE_NOTED; i++) {
        if (dmsg_name_equal(&receiver->stale[i], &peer->name))
            return;
    }
    receiver->stale[receiver->stale_count++ % DMSG_STALE_NOTED] = peer->name;
    struct dmsg_event event = {.level = DMSG_LOG_WARNING,
        .sender = &peer->name,
        .text = "verified with stale keys: their time in DNS is over, and DNS gives no answer now "
                "that would confirm them"};
    dmsg_log_event(receiver->config->log, &event);
}

enum dmsg_verdict dmsg_receiver_judge(const struct dmsg_receiver *receiver,
    const struct dmsg_message *message, int code, bool decisive)
{
    switch (code) {
    case DMSG_E_INTERNAL:
        return DMSG_FAILURE;
    case DMSG_E_DNS_TEMPORARY:
    case DMSG_E_DNS_BOGUS:
        return DMSG_WAIT_FOR_DNS;
    case DMSG_E_CERTIFICATE:
        /* Perhaps "not yet valid", by a clock that is not set yet. */
        if (decisive && !dmsg_context_synchronised(receiver->config->context))
            return DMSG_WAIT_FOR_DNS;
        return decisive ? DMSG_FINAL : DMSG_WAIT_FOR_TTL;
    case DMSG_E_DNS_INSECURE:
    case DMSG_E_NO_IDENTITY:
        return decisive ? DMSG_FINAL : DMSG_WAIT_FOR_TTL;
    default:
        /* v1 names its key by a hash of it, which another answer of DNS cannot change. poc names
           none, and the sender may have a new one. */
        return decisive || message->format == DMSG_FORMAT_V1 ? DMSG_FINAL : DMSG_WAIT_FOR_TTL;
    }
}

static int make_pool(struct dmsg_receiver *receiver, struct dmsg_pool **out,
    const struct dmsg_identity *identity, struct dmsg_error *error)
{
    const struct dmsg_pool_config pool = {.context = receiver->config->context,
        .identity = identity,
        .policy = &receiver->policy,
        .threads = receiver->config->threads};
    return dmsg_pool_new(out, &pool, error);
}

bool dmsg_receiver_renew(struct dmsg_receiver *receiver, bool at_once)
{
    const struct dmsg_receive_config *config = receiver->config;
    struct dmsg_pool *pool = NULL;
    struct dmsg_error why;
    const struct dmsg_identity *fresh =
        config->identity_look != NULL ? config->identity_look(config->user, at_once) : NULL;
    if (fresh == NULL)
        return false;
    if (make_pool(receiver, &pool, fresh, &why) < 0) {
        config->identity_used(config->user, &why);
        return false;
    }
    dmsg_pool_free(&receiver->pool);
    receiver->pool = pool;
    config->identity_used(config->user, NULL);
    return true;
}

/* ------------------------------------------------------------------------------- reading */

/* The batch is not acknowledged: the broker sends it again on the next connection. */
static void give_up_batch(struct dmsg_receiver *receiver, const struct dmsg_error *why)
{
    struct dmsg_error named;
    dmsg_fail(
        &named, why->code, "messages could not be stored and are not acknowledged: %s", why->text);
    receiver->holding = true;
    dmsg_connection_lost(receiver, &named);
}

static int read_batch(struct dmsg_receiver *receiver, short revents, struct dmsg_error *error)
{
    struct dmsg_mqtt *mqtt = receiver->config->mqtt;
    struct dmsg_error why;
    uint64_t limit = receiver->config->count_limit;
    size_t batch = dmsg_intake_limit(receiver);
    if (limit != 0 && limit - receiver->delivered < batch)
        batch = (size_t)(limit - receiver->delivered);
    dmsg_mqtt_limit_batch(mqtt, batch < DMSG_OPEN_CHUNK ? batch : DMSG_OPEN_CHUNK);
    int count = dmsg_mqtt_read(mqtt, revents, &why);
    if (count > 0) {
        receiver->backlog = true;
        (void)dmsg_receiver_renew(receiver, false);
        int code = dmsg_intake(receiver, batch, &why);
        if (code < 0) {
            give_up_batch(receiver, &why);
            return 0;
        }
        dmsg_pending_note(receiver, dmsg_mqtt_batch_size(mqtt));
    }
    if (count >= 0 && dmsg_mqtt_acknowledge(mqtt, &why) < 0)
        count = DMSG_E_BROKER;
    if (count >= 0)
        return 0;
    if (dmsg_mqtt_taken_over(mqtt))
        return dmsg_fail(error, DMSG_E_BROKER, "%s", why.text);
    dmsg_connection_lost(receiver, &why);
    return 0;
}
/* ------------------------------------------------------------------------------- the loop */

static int64_t until(int64_t at, int64_t now, int64_t most)
{
    int64_t left = at - now;
    return left < 0 ? 0 : left < most ? left : most;
}

/* The caller has said what there was at the start. */
static void say_note(struct dmsg_receiver *receiver)
{
    const char *note = dmsg_discovery_note(receiver->config->discovery);
    if (strcmp(note, receiver->discovery_note) == 0)
        return;
    snprintf(receiver->discovery_note, sizeof receiver->discovery_note, "%s", note);
    dmsg_log_text(receiver->config->log, DMSG_LOG_WARNING, "%s", note);
}

static int64_t step_discovery(struct dmsg_receiver *receiver)
{
    struct dmsg_error why;
    int left = dmsg_discovery_step(receiver->config->discovery, &why);
    if (left < 0 && left != receiver->discovery_code)
        dmsg_log_text(receiver->config->log, DMSG_LOG_ERROR, "the resolver: %s", why.text);
    receiver->discovery_code = left < 0 ? left : 0;
    say_note(receiver);
    return left < 0 ? DMSG_ASK_FIRST : left;
}

static void purge(struct dmsg_receiver *receiver, int64_t now)
{
    struct dmsg_error why;
    if (now < receiver->purge_at)
        return;
    int code = dmsg_store_purge(receiver->config->store, &why);
    receiver->purge_at = now + (code == 1 ? PURGE_SLICE_PAUSE : PURGE_PAUSE);
    if (code < 0)
        dmsg_log_text(
            receiver->config->log, DMSG_LOG_ERROR, "forgetting what is old: %s", why.text);
}

/* What others have left is looked for as what was there at the start. */
static void take_over(struct dmsg_receiver *receiver, int64_t now)
{
    struct dmsg_error why;
    if (now < receiver->take_over_at || !dmsg_store_is_shared(receiver->config->store))
        return;
    int code = dmsg_store_take_over(receiver->config->store, &why);
    receiver->take_over_at = now + TAKE_OVER_PAUSE;
    if (code == 1) {
        dmsg_log_text(receiver->config->log, DMSG_LOG_INFO,
            "took over what a receiver that is gone has left");
        receiver->delivered_row = 0;
        receiver->backlog = true;
        code = dmsg_wake_load(receiver, &why);
    }
    if (code < 0 && receiver->take_over_code == 0)
        dmsg_log_text(receiver->config->log, DMSG_LOG_ERROR, "the shared store: %s", why.text);
    if (code == 0 && receiver->take_over_code != 0)
        dmsg_log_text(receiver->config->log, DMSG_LOG_INFO, "the shared store works again");
    receiver->take_over_code = code;
}

/* Other work comes before reading more, but the connection must be kept alive. */
static bool may_read(const struct dmsg_receiver *receiver, bool busy, int64_t now)
{
    if (receiver->holding || dmsg_pending_is_full(receiver) ||
        dmsg_mqtt_fd(receiver->config->mqtt) < 0 || dmsg_intake_pauses(receiver, now) != 0)
        return false;
    bool urgent = receiver->config->count_limit == 0 && now - receiver->read_at >= READ_PAUSE;
    return !busy || urgent;
}

static int64_t time_to_wait(const struct dmsg_receiver *receiver, bool reads, int64_t most)
{
    int64_t now = dmsg_now_ms();
    most = until(receiver->purge_at, now, most);
    if (dmsg_store_is_shared(receiver->config->store))
        most = until(receiver->take_over_at, now, most);
    if (receiver->stop_at != 0)
        most = until(receiver->stop_at, now, most);
    int64_t pause =
        dmsg_pending_is_full(receiver) ? receiver->pending_at : dmsg_intake_pauses(receiver, now);
    if (pause != 0)
        most = until(pause, now, most);
    else if (reads)
        most = until(now + dmsg_mqtt_timeout(receiver->config->mqtt), now, most);
    else
        most = until(receiver->reconnect_at, now, most);
    most = dmsg_waiters_due(&receiver->waiters, now, most);
    most = dmsg_deliver_due(receiver, now, most);
    most = dmsg_refusals_due(&receiver->delays, now, most);
    return dmsg_refusals_due(&receiver->refusals, now, most);
}

/* Sleeps until something happens; what poll said of the broker's connection. */
static short sleep_and_poll(struct dmsg_receiver *receiver, bool reads, int64_t timeout)
{
    const struct dmsg_receive_config *config = receiver->config;
    struct pollfd fds[] = {
        {.fd = reads ? dmsg_mqtt_fd(config->mqtt) : -1, .events = dmsg_mqtt_events(config->mqtt)},
        {.fd = dmsg_discovery_fd(config->discovery), .events = POLLIN},
        {.fd = config->wake_fd, .events = POLLIN},
        {.fd = dmsg_deliver_fd(receiver), .events = POLLIN},
    };
    return poll(fds, 4, (int)timeout) > 0 ? fds[0].revents : 0;
}

static int turn(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    int64_t now = dmsg_now_ms();
    int64_t most = step_discovery(receiver);
    bool busy = dmsg_wake(receiver);
    bool floods = receiver->flooded && !busy && dmsg_deliver_overlaps(receiver);
    int code = floods ? 0 : dmsg_deliver(receiver, error);
    if (code < 0 || dmsg_deliver_is_enough(receiver))
        return code;
    busy |= receiver->backlog && !floods;
    purge(receiver, now);
    take_over(receiver, now);
    dmsg_refusals_flush(&receiver->refusals, now, false);
    dmsg_refusals_flush(&receiver->delays, now, false);
    dmsg_pending_look(receiver, now);
    bool subscribed = receiver->state->subscribed;
    if (!dmsg_pending_is_full(receiver))
        dmsg_connection_keep(receiver);
    /* Whoever shows the state sees it in `stop`. */
    bool hurries = busy || floods || receiver->state->subscribed != subscribed;
    bool reads = may_read(receiver, busy, now);
    int64_t timeout =
        hurries ? 0 : time_to_wait(receiver, reads, until(now + most, now, TURN_MOST));
    short revents = sleep_and_poll(receiver, reads, timeout);
    receiver->flooded &= reads && revents != 0;
    if (!reads)
        return 0;
    receiver->read_at = dmsg_now_ms();
    return read_batch(receiver, revents, error);
}

/* What was acknowledged is delivered before the end, for the store may forget it; where that takes
   time, only what is under way. */
static int deliver_rest(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    int code = 0;
    dmsg_deliver_end(receiver);
    while (code == 0 && receiver->backlog && receiver->config->delivery_end == NULL)
        code = dmsg_deliver(receiver, error);
    return code;
}

static int run(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    const struct dmsg_receive_config *config = receiver->config;
    int code = 0;
    while (code == 0) {
        if (dmsg_deliver_is_enough(receiver))
            return 0;
        if (config->stop != NULL && config->stop(config->user))
            return deliver_rest(receiver, error);
        if (receiver->stop_at != 0 && dmsg_now_ms() >= receiver->stop_at) {
            code = deliver_rest(receiver, error);
            return code < 0 || dmsg_deliver_is_enough(receiver)
                       ? code
                       : dmsg_fail(error, DMSG_E_TIMEOUT, "%d seconds are over", config->timeout);
        }
        code = turn(receiver, error);
    }
    dmsg_deliver_end(receiver); /* its outcome counts, whatever else went wrong */
    return code;
}

/* ---------------------------------------------------------------------------- start and end */

static void end(struct dmsg_receiver *receiver)
{
    int64_t now = dmsg_now_ms();
    dmsg_wake_end(receiver);
    dmsg_deliver_done(receiver);
    dmsg_refusals_flush(&receiver->refusals, now, true);
    dmsg_refusals_flush(&receiver->delays, now, true);
    for (size_t i = 0; i < 2 * DMSG_OPEN_CHUNK; i++)
        dmsg_message_done(&receiver->items[i % 2][i / 2].message);
    dmsg_message_done(&receiver->woken);
    dmsg_buffer_done(&receiver->topic);
    dmsg_pool_free(&receiver->pool);
    free(receiver);
}

int dmsg_receive(const struct dmsg_receive_config *config, struct dmsg_error *error)
{
    struct dmsg_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL)
        return dmsg_fail_memory(error);
    receiver->config = config;
    receiver->state = config->state != NULL ? config->state : &receiver->own_state;
    *receiver->state = (struct dmsg_receive_state){0};
    receiver->policy = *config->policy;
    receiver->policy.sent_v1 = NULL;
    receiver->refusals = (struct dmsg_refusals){.log = config->log, .what = "refused"};
    receiver->delays = (struct dmsg_refusals){.log = config->log, .what = "waiting"};
    receiver->pause = (struct dmsg_pause){.first = RECONNECT_FIRST, .most = RECONNECT_MOST};
    if (config->timeout > 0)
        receiver->stop_at = dmsg_now_ms() + (int64_t)config->timeout * 1000;
    snprintf(receiver->discovery_note, sizeof receiver->discovery_note, "%s",
        dmsg_discovery_note(config->discovery));
    dmsg_waiters_init(&receiver->waiters);
    dmsg_pending_begin(receiver);
    receiver->counted_before = *dmsg_store_counted(config->store);
    int code = make_pool(receiver, &receiver->pool, config->identity, error);
    if (code == 0)
        code = dmsg_wake_load(receiver, error);
    if (code == 0)
        code = run(receiver, error);
    end(receiver);
    return code;
}
