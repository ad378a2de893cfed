#include "base/fail.h"
#include "service/internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* A message that fails this often is put aside: with pauses from a second on that double, after a
   quarter of an hour. */
#define FAILURES_MOST 10
#define RETRY_FIRST 1000
#define RETRY_MOST 600000

/* Senders that are paused one by one; when there are more, what is delivered to is in trouble and
   not they: then everybody waits. */
#define PAUSED_MOST 1000

/* Milliseconds before a store that is full or locked is tried again. */
#define STORE_PAUSE 2000

/* Milliseconds that a delivery under way gets when the receiver is to end. */
#define END_WAIT 10000

/* A sender whose message failed: its later ones must not overtake it. */
struct dmsg_paused {
    struct dmsg_name name;
    struct dmsg_pause pause;
    int64_t until; /* dmsg_now_ms() */
    bool over;     /* the pause; the message may be on its way, or about to be */
    struct dmsg_paused *next;
};

bool dmsg_deliver_is_enough(const struct dmsg_receiver *receiver)
{
    uint64_t limit = receiver->config->count_limit;
    return limit != 0 && receiver->delivered >= limit;
}

/* ---------------------------------------------------------------------------- paused senders */

static struct dmsg_paused **find_paused(
    struct dmsg_receiver *receiver, const struct dmsg_name *sender)
{
    struct dmsg_paused **at = &receiver->paused;
    while (*at != NULL && !dmsg_name_equal(&(*at)->name, sender))
        at = &(*at)->next;
    return at;
}

static bool must_wait(struct dmsg_receiver *receiver, const struct dmsg_name *sender)
{
    const struct dmsg_paused *paused = *find_paused(receiver, sender);
    return paused != NULL ? !paused->over : receiver->paused_count >= PAUSED_MOST;
}

static void drop_paused(struct dmsg_receiver *receiver, struct dmsg_paused **at)
{
    struct dmsg_paused *gone = *at;
    if (gone == NULL)
        return;
    *at = gone->next;
    free(gone);
    receiver->paused_count--;
    receiver->delivered_row = 0; /* whoever was passed over is found again */
}

/* False: no memory; then the message comes again without a pause. */
static bool pause_sender(struct dmsg_receiver *receiver, const struct dmsg_name *sender)
{
    struct dmsg_paused **at = find_paused(receiver, sender);
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL)
            return false;
        int64_t first = receiver->config->retry_pause;
        (*at)->name = *sender;
        (*at)->pause =
            (struct dmsg_pause){.first = first > 0 ? first : RETRY_FIRST, .most = RETRY_MOST};
        receiver->paused_count++;
    }
    (*at)->over = false;
    (*at)->until = dmsg_now_ms() + dmsg_pause_take(&(*at)->pause, receiver->config->context);
    return true;
}

/* Whose pause is over is looked for from the beginning. */
static void end_pauses(struct dmsg_receiver *receiver)
{
    int64_t now = dmsg_now_ms();
    for (struct dmsg_paused *paused = receiver->paused; paused != NULL; paused = paused->next) {
        if (paused->over || now < paused->until)
            continue;
        paused->over = true;
        receiver->delivered_row = 0;
        receiver->backlog = true;
    }
}

int64_t dmsg_deliver_due(const struct dmsg_receiver *receiver, int64_t now, int64_t most)
{
    if (receiver->store_at > now && receiver->store_at - now < most)
        most = receiver->store_at - now;
    for (const struct dmsg_paused *paused = receiver->paused; paused != NULL;
         paused = paused->next) {
        int64_t left = paused->until - now;
        if (!paused->over && left < most)
            most = left > 0 ? left : 0;
    }
    return most;
}

/* ------------------------------------------------------------------------- the store's trouble */

/* Said when it begins and when it is over. Nothing is handed out meanwhile: what cannot be marked
   would be delivered again after the next start. */
static void note_store(struct dmsg_receiver *receiver, int code, const struct dmsg_error *why)
{
    const struct dmsg_log *log = receiver->config->log;
    if (code >= 0 && receiver->store_at != 0)
        dmsg_log_text(log, DMSG_LOG_INFO, "the store works again; delivery goes on");
    else if (code < 0 && receiver->store_at == 0)
        dmsg_log_text(log, DMSG_LOG_ERROR,
            "the store fails, delivery waits until it works again: %s", why->text);
    receiver->store_at = code < 0 ? dmsg_now_ms() + STORE_PAUSE : 0;
}

/* By itself, not with others: after a crash only what was on its way is delivered again. */
static bool mark(struct dmsg_receiver *receiver, int64_t row)
{
    struct dmsg_error why;
    int code = dmsg_store_delivered(receiver->config->store, row, &why);
    if (code == DMSG_E_USAGE)
        code = 0; /* marked already: by the receiver that took it over while we were cut off */
    receiver->unmarked_row = code < 0 ? row : 0;
    note_store(receiver, code, &why);
    return code == 0;
}

/* False while the store is in trouble. */
static bool store_is_ready(struct dmsg_receiver *receiver)
{
    if (dmsg_now_ms() < receiver->store_at)
        return false;
    return receiver->unmarked_row == 0 || mark(receiver, receiver->unmarked_row);
}

/* ------------------------------------------------------------------------ deliveries under way */

static void log_delivery(const struct dmsg_receiver *receiver, enum dmsg_log_level level,
    const struct dmsg_error *why, const char *what)
{
    struct dmsg_error text;
    dmsg_fail(&text, why->code, "%s: %s", what, why->text);
    struct dmsg_event event = {.level = level,
        .sender = &receiver->running_sender,
        .id = receiver->running_id,
        .text = text.text};
    dmsg_log_event(receiver->config->log, &event);
}

static void note_failure(struct dmsg_receiver *receiver, const struct dmsg_error *why)
{
    struct dmsg_error trouble;
    struct dmsg_paused **paused = find_paused(receiver, &receiver->running_sender);
    int aside =
        dmsg_store_failed(receiver->config->store, receiver->running_row, FAILURES_MOST, &trouble);
    if (aside == 1) {
        log_delivery(receiver, DMSG_LOG_ERROR, why,
            "not delivered and put aside as failed (`danemsg inbox list` shows it)");
        drop_paused(receiver, paused);
        receiver->state->put_aside++;
        return;
    }
    log_delivery(receiver, DMSG_LOG_WARNING, why, "not delivered, tried again after a pause");
    if (aside < 0)
        log_delivery(receiver, DMSG_LOG_ERROR, &trouble, "counting that failure");
    if (!pause_sender(receiver, &receiver->running_sender))
        receiver->delivered_row = 0;
}

static void note_success(struct dmsg_receiver *receiver)
{
    receiver->delivered++;
    receiver->state->delivered++;
    (void)mark(receiver, receiver->running_row);
    drop_paused(receiver, find_paused(receiver, &receiver->running_sender));
}

/* True when nothing is under way any more. */
static bool take_end(struct dmsg_receiver *receiver)
{
    struct dmsg_error why;
    if (receiver->running_row == 0)
        return true;
    int code = receiver->config->delivery_end(receiver->config->user, &why);
    if (code == 0)
        return false;
    if (code > 0)
        note_success(receiver);
    else
        note_failure(receiver, &why);
    receiver->running_row = 0;
    return true;
}

int dmsg_deliver_fd(const struct dmsg_receiver *receiver)
{
    return receiver->running_row != 0 ? receiver->config->delivery_fd(receiver->config->user) : -1;
}

void dmsg_deliver_end(struct dmsg_receiver *receiver)
{
    int64_t until = dmsg_now_ms() + END_WAIT;
    while (!take_end(receiver)) {
        int64_t left = until - dmsg_now_ms();
        if (left <= 0)
            return;
        struct pollfd fd = {.fd = dmsg_deliver_fd(receiver), .events = POLLIN};
        (void)poll(&fd, 1, (int)left);
    }
    if (receiver->unmarked_row != 0 && !mark(receiver, receiver->unmarked_row))
        dmsg_log_text(receiver->config->log, DMSG_LOG_ERROR,
            "a delivered message could not be marked, and is delivered again after the next start");
}

void dmsg_deliver_done(struct dmsg_receiver *receiver)
{
    while (receiver->paused != NULL)
        drop_paused(receiver, &receiver->paused);
}

/* --------------------------------------------------------------------------------- a slice of it
 */

/* 1: nothing more for now, since something would have to be waited for. */
static int deliver_one(struct dmsg_receiver *receiver, const struct dmsg_record *record,
    bool at_once, struct dmsg_error *error)
{
    receiver->delivered_row = record->row;
    if (must_wait(receiver, &record->sender))
        return 0;
    int64_t row = record->row; /* the record is the store's, and gone after the next call */
    struct dmsg_name sender = record->sender;
    memcpy(receiver->running_id, record->id, sizeof receiver->running_id);
    int code = receiver->config->deliver(receiver->config->user, record, at_once, error);
    if (code == 0) {
        receiver->delivered++;
        receiver->state->delivered++;
        (void)mark(receiver, row);
    } else if (code == DMSG_DELIVERY_RUNS) {
        receiver->running_row = row;
        receiver->running_sender = sender;
    } else {
        receiver->delivered_row = row - 1;
    }
    return code < 0 ? code : code != 0;
}

int dmsg_deliver(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    const struct dmsg_receive_config *config = receiver->config;
    int64_t until = dmsg_now_ms() + DMSG_SLICE_TIME;
    struct dmsg_record record;
    struct dmsg_error why;
    int code = 0, found = 1;
    end_pauses(receiver);
    if (!take_end(receiver) || !store_is_ready(receiver)) {
        receiver->backlog = false; /* its end, or dmsg_deliver_due, wakes the loop */
        return 0;
    }
    for (int i = 0; code == 0 && i < DMSG_SLICE_ROWS && dmsg_now_ms() < until &&
                    receiver->unmarked_row == 0 && !dmsg_deliver_is_enough(receiver);
         i++) {
        found = dmsg_store_next(config->store, receiver->delivered_row, &record, &why);
        if (found < 0 || receiver->store_at != 0)
            note_store(receiver, found, &why);
        if (found == 1)
            code = deliver_one(receiver, &record, false, error);
        else
            break;
    }
    receiver->backlog = found == 1 && receiver->running_row == 0 && receiver->store_at == 0 &&
                        !dmsg_deliver_is_enough(receiver);
    return code < 0 ? code : 0;
}

bool dmsg_deliver_overlaps(const struct dmsg_receiver *receiver)
{
    const struct dmsg_receive_config *config = receiver->config;
    return config->delivery_end == NULL && config->count_limit == 0 && receiver->store_at == 0 &&
           receiver->unmarked_row == 0 && dmsg_store_delivers_within(config->store);
}

/* What goes wrong here goes wrong again in dmsg_deliver, and is told there. */
bool dmsg_deliver_meanwhile(struct dmsg_receiver *receiver)
{
    struct dmsg_record record;
    int code = 0;
    for (int i = 0; code == 0 && i < DMSG_SLICE_ROWS && dmsg_deliver_overlaps(receiver); i++) {
        if (dmsg_store_next(receiver->config->store, receiver->delivered_row, &record, NULL) != 1)
            return true;
        code = deliver_one(receiver, &record, true, NULL);
    }
    return code == 0;
}
