/*
 * What is accepted and not delivered lies on our disk, and must not be lost: where delivery cannot
 * keep up, or has stopped, nothing more is read, and the broker keeps what comes. What is known of
 * the octets is never less than there are; the store is asked when that is over the limit.
 */
#include "service/internal.h"

/* Milliseconds between two looks while nothing is read. */
#define LOOK_PAUSE 1000
/* A connection that was left alone this long, in milliseconds, is not gone on with: the broker gave
   it up, or is about to, and sends again what lies in it. */
#define LEFT_ALONE 20000

void dmsg_pending_begin(struct dmsg_receiver *receiver)
{
    receiver->pending_octets = INT64_MAX;
}

void dmsg_pending_add(struct dmsg_receiver *receiver, size_t octets)
{
    int64_t more = (int64_t)octets + DMSG_RETAIN_OVERHEAD;
    if (receiver->pending_octets < INT64_MAX - more)
        receiver->pending_octets += more;
}

void dmsg_pending_note(struct dmsg_receiver *receiver, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dmsg_packet *packet = dmsg_mqtt_packet(receiver->config->mqtt, i);
        dmsg_pending_add(receiver, packet->payload.size + packet->topic.size);
    }
}

static void stop_reading(struct dmsg_receiver *receiver, int64_t now)
{
    dmsg_log_text(receiver->config->log, DMSG_LOG_WARNING,
        "%lld octets of messages are not delivered, which is too much: no more are taken from the "
        "broker until they are (`danemsg inbox list --undelivered` shows them)",
        (long long)receiver->pending_octets);
    receiver->full_since = now;
    receiver->state->held_back = true;
}

static void read_again(struct dmsg_receiver *receiver, int64_t now)
{
    dmsg_log_text(
        receiver->config->log, DMSG_LOG_INFO, "enough is delivered: messages are taken again");
    if (now - receiver->full_since >= LEFT_ALONE)
        dmsg_connection_renew(receiver);
    receiver->full_since = 0;
    receiver->state->held_back = false;
}

bool dmsg_pending_is_full(const struct dmsg_receiver *receiver)
{
    return receiver->full_since != 0;
}

void dmsg_pending_look(struct dmsg_receiver *receiver, int64_t now)
{
    int64_t limit = receiver->config->pending_limit;
    bool full = dmsg_pending_is_full(receiver);
    if (limit == 0 || (full ? now < receiver->pending_at : receiver->pending_octets <= limit))
        return;
    receiver->pending_at = now + LOOK_PAUSE;
    /* A store in trouble shows where it is written to. */
    if (dmsg_store_pending(receiver->config->store, &receiver->pending_octets, NULL) < 0)
        return;
    if (!full && receiver->pending_octets > limit)
        stop_reading(receiver, now);
    else if (full && receiver->pending_octets <= limit - limit / 4)
        read_again(receiver, now);
}
