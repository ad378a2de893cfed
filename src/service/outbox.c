#include "service/outbox.h"

#include "base/fail.h"
#include "service/outbox_internal.h"
#include "store/outbox.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Milliseconds. Before a broker that is away is tried again; for what is under way, at the end. */
#define RECONNECT_FIRST 200
#define RECONNECT_MOST 30000
#define END_PATIENCE 1000
/* Others' changes. What inotify(7) tells of is written, and committed when the disk has it: looked
   for after the first pause, and after twice as much each time, up to the longest. Without inotify
   that is the second one. */
#define LOOK_FIRST 5
#define LOOK_UNWATCHED 1000
#define LOOK_MOST 30000
/* Publishes before the broker is listened to again. */
#define PUBLISH_SLICE 64

/* ------------------------------------------------------------------------------------- saying */

void dmsg_publisher_refuse(struct dmsg_publisher *publisher, const struct dmsg_name *recipient,
    int64_t row, const struct dmsg_error *why)
{
    char text[DMSG_ERROR_TEXT + DMSG_NAME_TEXT + 64];
    if (row > 0)
        snprintf(text, sizeof text, "message %lld to %s: %s", (long long)row, recipient->text,
            why->text);
    else
        snprintf(text, sizeof text, "what is for %s waits: %s", recipient->text, why->text);
    const struct dmsg_event event = {.level = DMSG_LOG_WARNING, .code = why->code, .text = text};
    dmsg_refusals_put(&publisher->refusals, dmsg_now_ms(), &event);
    if (publisher->first_failure.code == 0)
        (void)dmsg_fail(&publisher->first_failure, why->code, "%s", text);
}

/* --------------------------------------------------------------------------------- publishing */

static bool has_room(const struct dmsg_publisher *publisher)
{
    if (publisher->one_by_one > 0)
        return publisher->count == 0;
    return publisher->count < DMSG_OUTBOX_WINDOW && publisher->octets < DMSG_OUTBOX_WINDOW_OCTETS;
}

static int publish_one(
    struct dmsg_publisher *publisher, const struct dmsg_outgoing *message, struct dmsg_error *error)
{
    struct dmsg_error why;
    int id = 0;
    int code = dmsg_mqtt_publish(publisher->mqtt, message->topic, message->content, message->qos,
        message->retain, &id, &why);
    if (code == 0)
        dmsg_publisher_remember(publisher, id, message);
    else if (code == DMSG_E_INTERNAL)
        return dmsg_fail(error, code, "%s", why.text);
    else if (dmsg_mqtt_connected(publisher->mqtt))
        return dmsg_publisher_put_off(publisher, &message->recipient, message->row, &why, error);
    return 0;
}

/* One that ends connections costs seconds each time: it comes after all that were not tried yet,
   and after those that failed before it did; in a single run once only. */
static int next(
    struct dmsg_publisher *publisher, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = publisher->config->outbox;
    if (publisher->one_by_one == 0)
        return dmsg_outbox_next(outbox, publisher->after, out, error);
    int code = dmsg_outbox_next_untried(outbox, publisher->after, out, error);
    return code != 0 || publisher->config->once ? code
                                                : dmsg_outbox_next_failed(outbox, out, error);
}

static int publish(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_outgoing message;
    for (int i = 0; i < PUBLISH_SLICE && !publisher->drained && has_room(publisher); i++) {
        int code = next(publisher, &message, error);
        if (code < 0)
            return code;
        if (code == 0)
            publisher->drained = true;
        if (code == 0 || !dmsg_mqtt_connected(publisher->mqtt))
            return 0;
        int64_t row = message.row;
        code = dmsg_publisher_is_under_way(publisher, row)
                   ? 0
                   : publish_one(publisher, &message, error);
        if (code < 0 || !dmsg_mqtt_connected(publisher->mqtt))
            return code;
        publisher->after = row;
    }
    return 0;
}

void dmsg_publisher_restart(struct dmsg_publisher *publisher)
{
    publisher->after = 0;
    publisher->drained = false;
    publisher->times_known = false;
}

/* ------------------------------------------------------------------------------------ the clock */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int drop_expired(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = publisher->config->outbox;
    struct dmsg_outgoing message;
    int64_t skip = 0;
    int more = 1;
    int code = dmsg_outbox_begin(outbox, false, error);
    for (int i = 0; code == 0 && more == 1 && i < DMSG_OUTBOX_WINDOW + DMSG_OUTBOX_SLICE; i++) {
        more = dmsg_outbox_expired(outbox, skip, &message, error);
        if (more < 0)
            code = more;
        else if (more == 1 && dmsg_publisher_is_under_way(publisher, message.row))
            skip++;
        else if (more == 1)
            code = dmsg_publisher_drop(publisher, &message, error);
    }
    return code < 0 ? code : dmsg_outbox_commit(outbox, error);
}

static void restart_all(struct dmsg_publisher *publisher)
{
    dmsg_publisher_restart(publisher);
    publisher->ask_ended = false;
    publisher->ask_after = (struct dmsg_name){0};
}

/* Notices what others have put in, what a pause ended for, and what has expired. */
static int look(struct dmsg_publisher *publisher, bool woken, struct dmsg_error *error)
{
    const struct dmsg_outbox_config *config = publisher->config;
    bool changed = false;
    int64_t now = dmsg_context_now(config->context), now_ms = dmsg_now_ms();
    int code = 0;
    if (woken || now_ms >= publisher->look_at) {
        code = dmsg_outbox_changed(config->outbox, &changed, error);
        publisher->look_pause =
            woken ? LOOK_FIRST
                  : least(2 * publisher->look_pause,
                        dmsg_outbox_fd(config->outbox) >= 0 ? LOOK_MOST : LOOK_UNWATCHED);
        publisher->look_at = now_ms + publisher->look_pause;
    }
    if (code == 0 && publisher->times_known && now >= publisher->expires_at) {
        code = drop_expired(publisher, error);
        publisher->times_known = false;
    }
    if (changed || (publisher->times_known && now >= publisher->due_at))
        restart_all(publisher);
    if (code < 0 || publisher->times_known)
        return code;
    code = dmsg_outbox_times(config->outbox, &publisher->due_at, &publisher->expires_at, error);
    publisher->times_known = code == 0;
    /* What is under way is not dropped: looked at again, not at once. */
    if (publisher->expires_at <= now && publisher->count > 0)
        publisher->expires_at = now + 1;
    return code;
}

/* -------------------------------------------------------------------------------- the loop */

/* Milliseconds until something is to be done without anything having happened. */
static int64_t time_to_wait(const struct dmsg_publisher *publisher)
{
    const struct dmsg_outbox_config *config = publisher->config;
    int64_t now = dmsg_now_ms(), wait = publisher->look_at - now;
    bool is_well = now >= publisher->trouble_at && publisher->stop_at == 0;
    if (is_well && (dmsg_publisher_can_seal(publisher) ||
                       (publisher->state->connected && !publisher->drained && has_room(publisher))))
        return 0;
    if (now < publisher->trouble_at)
        wait = least(wait, publisher->trouble_at - now);
    else if (publisher->times_known) {
        int64_t at = least(publisher->due_at, publisher->expires_at);
        int64_t left = at - dmsg_context_now(config->context);
        if (left < LOOK_MOST / 1000)
            wait = least(wait, left * 1000);
    }
    if (dmsg_mqtt_fd(publisher->mqtt) >= 0)
        wait = least(wait, dmsg_mqtt_timeout(publisher->mqtt));
    else
        wait = least(wait, publisher->reconnect_at - now);
    if (config->once)
        wait = least(wait, publisher->progress_at + config->patience - now);
    if (publisher->stop_at != 0)
        wait = least(wait, publisher->stop_at - now);
    wait = least(wait, publisher->discovery_left);
    wait = dmsg_refusals_due(&publisher->refusals, now, wait);
    return wait < 0 ? 0 : wait;
}

static int wait_and_hear(struct dmsg_publisher *publisher, bool *woken, struct dmsg_error *error)
{
    const struct dmsg_outbox_config *config = publisher->config;
    struct dmsg_error why;
    /* What is not read now must not wake it. */
    bool reads = dmsg_now_ms() >= publisher->trouble_at && publisher->stop_at == 0;
    struct pollfd wait[] = {
        {.fd = dmsg_mqtt_fd(publisher->mqtt), .events = dmsg_mqtt_events(publisher->mqtt)},
        {.fd = reads ? dmsg_discovery_fd(config->discovery) : -1, .events = POLLIN},
        {.fd = reads ? dmsg_outbox_fd(config->outbox) : -1, .events = POLLIN},
        {.fd = config->wake_fd, .events = POLLIN}};
    if (poll(wait, sizeof wait / sizeof wait[0], (int)time_to_wait(publisher)) < 0 &&
        errno != EINTR)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for broker and outbox");
    *woken = wait[2].revents != 0;
    if (wait[0].fd < 0)
        return 0;
    int code = dmsg_mqtt_read(publisher->mqtt, wait[0].revents, &why);
    if (code >= 0)
        code = dmsg_mqtt_acknowledge(publisher->mqtt, &why);
    if (code < 0 && dmsg_mqtt_taken_over(publisher->mqtt))
        return dmsg_fail(error, code, "%s", why.text);
    if (code < 0)
        dmsg_publisher_lost(publisher, &why);
    return 0;
}

static int work(struct dmsg_publisher *publisher, bool woken, struct dmsg_error *error)
{
    int code = dmsg_publisher_settle(publisher, error);
    if (code == 0)
        code = look(publisher, woken, error);
    if (code == 0 && publisher->stop_at == 0)
        code = dmsg_publisher_seal(publisher, error);
    if (code == 0 && publisher->stop_at == 0)
        code = publish(publisher, error);
    if (code == 0)
        publisher->said[0] = '\0';
    return code;
}

/* The disk or the resolver: a service waits for it, who runs once is told. */
static int suffer(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    dmsg_outbox_rollback(publisher->config->outbox);
    if (publisher->config->once)
        return error->code;
    dmsg_publisher_say_once(publisher, publisher->said, error);
    publisher->trouble_at = dmsg_now_ms() + DMSG_OUTBOX_TROUBLE_PAUSE;
    restart_all(publisher);
    return 0;
}

static int give_up(const struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    if (!publisher->state->connected)
        return dmsg_fail(error, DMSG_E_BROKER, "%s",
            publisher->state->broker[0] != '\0' ? publisher->state->broker
                                                : "the broker does not answer");
    return dmsg_fail(error, DMSG_E_TIMEOUT, "no progress for %lld s",
        (long long)publisher->config->patience / 1000);
}

/* Once: 1 when it is at its end, with the outcome in *error. */
static int is_over(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    int64_t left = 0;
    struct dmsg_error why = {0};
    bool all_tried = publisher->count == 0 && publisher->drained && !dmsg_publisher_asks(publisher);
    bool patient = dmsg_now_ms() - publisher->progress_at < publisher->config->patience;
    error->code = 0;
    if (!all_tried && patient)
        return 0;
    int code = dmsg_outbox_count(publisher->config->outbox, &left, error);
    if (code < 0)
        return 1;
    if (!all_tried)
        (void)give_up(publisher, &why);
    else
        why = publisher->first_failure;
    if (left > 0)
        (void)dmsg_fail(error, why.code != 0 ? why.code : DMSG_E_BROKER,
            "%lld message(s) are left in the outbox%s%s", (long long)left,
            why.code != 0 ? "; " : "", why.text);
    else if (why.code != 0)
        *error = why;
    return 1;
}

static bool is_stopped(struct dmsg_publisher *publisher)
{
    const struct dmsg_outbox_config *config = publisher->config;
    int64_t now = dmsg_now_ms();
    if (publisher->stop_at == 0 && config->stop != NULL && config->stop(config->user))
        publisher->stop_at = now + END_PATIENCE;
    return publisher->stop_at != 0 && (publisher->count == 0 || now >= publisher->stop_at ||
                                          !dmsg_mqtt_connected(publisher->mqtt));
}

static int run(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    bool woken = true;
    int code = 0;
    while (code == 0 && !is_stopped(publisher)) {
        code = dmsg_publisher_connect(publisher, error);
        if (code == 0 && dmsg_now_ms() >= publisher->trouble_at)
            code = work(publisher, woken, error);
        if (code < 0)
            code = suffer(publisher, error);
        if (code == 0 && publisher->config->once && is_over(publisher, error) == 1)
            return error->code;
        dmsg_refusals_flush(&publisher->refusals, dmsg_now_ms(), false);
        if (code == 0)
            code = wait_and_hear(publisher, &woken, error);
    }
    return code;
}

int dmsg_outbox_publish(const struct dmsg_outbox_config *config, struct dmsg_error *error)
{
    struct dmsg_error why = {0};
    struct dmsg_publisher *publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL)
        return dmsg_fail_memory(error);
    publisher->config = config;
    publisher->mqtt = config->mqtt;
    publisher->state = config->state != NULL ? config->state : &publisher->own_state;
    publisher->pause = (struct dmsg_pause){.first = RECONNECT_FIRST, .most = RECONNECT_MOST};
    publisher->refusals = (struct dmsg_refusals){.log = config->log, .what = "messages"};
    publisher->progress_at = dmsg_now_ms();
    int code = run(publisher, &why);
    dmsg_refusals_flush(&publisher->refusals, dmsg_now_ms(), true);
    dmsg_publisher_forget_all(publisher);
    dmsg_publisher_seal_done(publisher);
    free(publisher);
    return code < 0 ? dmsg_fail(error, code, "%s", why.text) : 0;
}
