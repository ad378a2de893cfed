#include "base/fail.h"
#include "service/outbox_internal.h"

#include <stdlib.h>

static struct dmsg_under_way *under_way(struct dmsg_publisher *publisher, size_t index)
{
    return &publisher->ring[(publisher->first + index) % DMSG_OUTBOX_WINDOW];
}

bool dmsg_publisher_is_under_way(const struct dmsg_publisher *publisher, int64_t row)
{
    for (size_t i = 0; i < publisher->count; i++) {
        if (publisher->ring[(publisher->first + i) % DMSG_OUTBOX_WINDOW].row == row)
            return true;
    }
    return false;
}

void dmsg_publisher_remember(
    struct dmsg_publisher *publisher, int id, const struct dmsg_outgoing *message)
{
    *under_way(publisher, publisher->count++) = (struct dmsg_under_way){.id = id,
        .row = message->row,
        .size = message->content.size,
        .recipient = message->recipient};
    publisher->octets += message->content.size;
}

void dmsg_publisher_forget_oldest(struct dmsg_publisher *publisher)
{
    struct dmsg_under_way *oldest = under_way(publisher, 0);
    free(oldest->refused);
    publisher->octets -= oldest->size;
    *oldest = (struct dmsg_under_way){0};
    publisher->first = (publisher->first + 1) % DMSG_OUTBOX_WINDOW;
    publisher->count--;
}

void dmsg_publisher_forget_all(struct dmsg_publisher *publisher)
{
    while (publisher->count > 0)
        dmsg_publisher_forget_oldest(publisher);
}

int dmsg_publisher_put_off(struct dmsg_publisher *publisher, const struct dmsg_name *recipient,
    int64_t row, const struct dmsg_error *why, struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = publisher->config->outbox;
    int code = dmsg_outbox_begin(outbox, false, error);
    if (code == 0)
        code = dmsg_outbox_fail(outbox, row, why, error);
    if (code == 0)
        code = dmsg_outbox_commit(outbox, error);
    if (code == 0) {
        publisher->state->refused++;
        publisher->times_known = false;
        dmsg_publisher_refuse(publisher, recipient, row, why);
    }
    return code;
}

/* Marked first, and put on disk when the disk takes it. */
static void collect_refusals(struct dmsg_publisher *publisher)
{
    struct dmsg_error why;
    int id;
    while (dmsg_mqtt_refused(publisher->mqtt, &id, &why) != 0) {
        for (size_t i = 0; i < publisher->count; i++) {
            struct dmsg_under_way *sent = under_way(publisher, i);
            if (sent->id != id || sent->is_refused)
                continue;
            sent->is_refused = true;
            sent->refused = malloc(sizeof *sent->refused);
            if (sent->refused != NULL)
                *sent->refused = why;
            break;
        }
    }
}

static int settle_one(
    struct dmsg_publisher *publisher, const struct dmsg_under_way *sent, struct dmsg_error *error)
{
    static const struct dmsg_error refused = {DMSG_E_BROKER, "the broker refused the message"};
    const struct dmsg_error *why = sent->refused != NULL ? sent->refused : &refused;
    if (!sent->is_refused) {
        int removed = dmsg_outbox_remove(
            publisher->config->outbox, sent->row, DMSG_OUTGOING_PUBLISHED, error);
        return removed < 0 ? removed : 0;
    }
    return dmsg_outbox_fail(publisher->config->outbox, sent->row, why, error);
}

static void count_settled(struct dmsg_publisher *publisher, const struct dmsg_under_way *sent)
{
    if (sent->is_refused) {
        publisher->state->refused++;
        dmsg_publisher_refuse(publisher, &sent->recipient, sent->row,
            sent->refused != NULL ? sent->refused
                                  : &(struct dmsg_error){DMSG_E_BROKER, "refused by the broker"});
    } else {
        publisher->state->published++;
    }
}

int dmsg_publisher_settle(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    const struct dmsg_outbox_config *config = publisher->config;
    size_t done = 0;
    collect_refusals(publisher);
    while (done < publisher->count &&
           !dmsg_mqtt_is_in_flight(publisher->mqtt, under_way(publisher, done)->id))
        done++;
    if (done == 0)
        return 0;
    int code = dmsg_outbox_begin(config->outbox, false, error);
    for (size_t i = 0; code == 0 && i < done; i++)
        code = settle_one(publisher, under_way(publisher, i), error);
    if (code == 0)
        code = dmsg_outbox_commit(config->outbox, error);
    if (code < 0)
        return code;
    for (size_t i = 0; i < done; i++) {
        publisher->times_known &= !under_way(publisher, 0)->is_refused;
        count_settled(publisher, under_way(publisher, 0));
        dmsg_publisher_forget_oldest(publisher);
    }
    publisher->progress_at = dmsg_now_ms();
    publisher->futile = 0;
    if (publisher->one_by_one > 0 && --publisher->one_by_one == 0)
        dmsg_publisher_restart(publisher); /* by row again, from the first */
    dmsg_pause_reset(&publisher->pause);
    return 0;
}
