#include "base/fail.h"
#include "service/internal.h"

/* A failure of ours (memory, OpenSSL) while opening makes the whole batch come again; a message
   that causes it each time must not keep all others away. Before that one is given up, messages are
   taken one at a time, so that none but it is. */
#define INTERNAL_FAILURES_MAX 5
/* A stranger's first messages that come faster than DNS answers use up its budget, and honest ones
   would be refused. So many of them, and reading pauses until the answer, for so many milliseconds
   at most, and then not again for so long: a zone that is slow on purpose gains a tenth of our
   time. */
#define BURST_FROM 250
#define BURST_WAIT 500
#define BURST_PAUSE 5000
/* Larger buffers are not kept for the next message. */
#define BUFFER_KEPT 16384

/* ------------------------------------------------------- opening: no store, no network, pure */

static void open_one(struct dmsg_opener *opener, struct dmsg_item *item)
{
    const struct dmsg_packet *packet = &item->packet;
    int code;
    if (packet->cut) {
        dmsg_message_done(&item->message); /* what is there is of the chunk before */
        code =
            dmsg_fail(&item->error, DMSG_E_SIZE, "a packet over the limit that the broker knows");
    } else {
        code =
            dmsg_open_begin(opener, packet->payload, packet->topic, &item->message, &item->error);
    }
    item->fate = code < 0 ? DMSG_ITEM_REFUSED : DMSG_ITEM_OPENED;
}

static void verify_one(struct dmsg_opener *opener, struct dmsg_item *item)
{
    if (item->fate != DMSG_ITEM_OPENED || item->peer == NULL)
        return;
    int code = dmsg_open_finish(opener, &item->message, item->peer, &item->error);
    item->fate = code < 0 ? DMSG_ITEM_REFUSED : DMSG_ITEM_VERIFIED;
}

/* ----------------------------------------------------------- between the two: what is known */

static bool has_switched_to_v1(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    const struct dmsg_message *message = &item->message;
    if (message->format != DMSG_FORMAT_POC ||
        !dmsg_store_sent_v1(receiver->config->store, &message->sender))
        return false;
    dmsg_fail(&item->error, DMSG_E_UNBOUND,
        "a proof of concept message of a sender that has sent v1 before");
    item->fate = DMSG_ITEM_REFUSED;
    return true;
}

static void look_up_one(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    const struct dmsg_message *message = &item->message;
    if (item->fate != DMSG_ITEM_OPENED || has_switched_to_v1(receiver, item))
        return;
    if (!message->early)
        item->peer = dmsg_discovery_get(receiver->config->discovery, &message->sender);
    if (item->peer == NULL)
        item->fate = DMSG_ITEM_WAITS;
}

/* A cached answer never refuses for good. */
static void judge_one(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    if (item->fate != DMSG_ITEM_REFUSED || item->peer == NULL)
        return;
    bool decisive = !item->peer->from_cache;
    enum dmsg_verdict verdict =
        dmsg_receiver_judge(receiver, &item->message, item->error.code, decisive);
    if (verdict == DMSG_WAIT_FOR_DNS || verdict == DMSG_WAIT_FOR_TTL)
        item->fate = DMSG_ITEM_WAITS;
}

/* --------------------------------------------------------------------------------- storing */

/* Allow-listed, or verified before (doc/PROTOCOL.md step 7). */
static bool is_trusted(const struct dmsg_receiver *receiver, const struct dmsg_name *sender)
{
    const struct dmsg_policy *policy = &receiver->policy;
    for (size_t i = 0; i < policy->allow_count; i++) {
        if (dmsg_pattern_match(&policy->allow[i], sender))
            return true;
    }
    for (size_t i = 0; i < policy->accept_poc_count; i++) {
        if (dmsg_pattern_match(&policy->accept_poc[i], sender))
            return true;
    }
    return dmsg_store_verified_before(receiver->config->store, sender);
}

static int store_verified(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    /* Again: a message of the same chunk may have been the sender's first v1. */
    if (has_switched_to_v1(receiver, item))
        return DMSG_E_UNBOUND;
    int code = dmsg_store_accept(
        receiver->config->store, &item->message, item->packet.topic, &item->error);
    if (code == 0 && item->message.format == DMSG_FORMAT_POC)
        dmsg_receiver_note_poc(receiver, &item->message);
    if (code == 0)
        dmsg_receiver_note_stale(receiver, item->peer);
    return code;
}

/* No question about the sender has been answered yet. */
static bool is_unanswered(const struct dmsg_waiter *waiter)
{
    return waiter->asked || waiter->asked_row == 0;
}

static void note_burst(
    struct dmsg_receiver *receiver, struct dmsg_waiter *waiter, const struct dmsg_item *item)
{
    int64_t now = dmsg_now_ms();
    if (item->peer != NULL || item->message.early || !is_unanswered(waiter))
        return;
    if (++waiter->unanswered < BURST_FROM || now < receiver->burst_again_at)
        return;
    receiver->burst = waiter->name;
    receiver->burst_until = now + BURST_WAIT;
    receiver->burst_again_at = receiver->burst_until + BURST_PAUSE;
}

size_t dmsg_intake_limit(const struct dmsg_receiver *receiver)
{
    return receiver->one_by_one > 0 ? 1 : DMSG_BATCH_MAX;
}

int64_t dmsg_intake_pauses(const struct dmsg_receiver *receiver, int64_t now)
{
    if (now >= receiver->burst_until)
        return 0;
    const struct dmsg_waiter *waiter = dmsg_waiters_find(&receiver->waiters, &receiver->burst);
    return waiter != NULL && is_unanswered(waiter) ? receiver->burst_until : 0;
}

static int store_waiting(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    const struct dmsg_message *message = &item->message;
    bool trusted = is_trusted(receiver, &message->sender);
    int code = dmsg_store_wait(
        receiver->config->store, message, item->packet.topic, trusted, &item->error);
    if (code < 0)
        return code;
    bool is_new = dmsg_waiters_find(&receiver->waiters, &message->sender) == NULL;
    /* One from the future may be anybody's, and holds no honest one back. */
    struct dmsg_waiter *waiter =
        dmsg_waiters_add(&receiver->waiters, &message->sender, message->early ? "" : message->kid);
    if (waiter == NULL)
        return dmsg_fail_memory(&item->error);
    if (!trusted)
        note_burst(receiver, waiter, item);
    /* What the cache said already is not asked for again before its time. */
    if (is_new && item->peer != NULL && !item->try_cache) {
        waiter->code = item->error.code;
        dmsg_waiter_ask_after(waiter, item->peer->expires_at, dmsg_now_ms(),
            dmsg_context_now(receiver->config->context));
        struct dmsg_error why;
        dmsg_fail(
            &why, item->error.code, "waits until DNS may be asked again: %s", item->error.text);
        dmsg_receiver_delay(receiver, &message->sender, &why, DMSG_LOG_INFO);
    }
    if (item->try_cache && !waiter->asked) {
        waiter->try_cache = true;
        dmsg_waiters_make_ready(&receiver->waiters, waiter);
    }
    return 0;
}

/* An earlier message of the same key waits, which this one must not overtake. */
static bool is_behind(const struct dmsg_receiver *receiver, const struct dmsg_message *message)
{
    const struct dmsg_waiter *waiter = dmsg_waiters_find(&receiver->waiters, &message->sender);
    return waiter != NULL && dmsg_waiter_holds(waiter, message->kid);
}

/* After a failure of ours: the message failed alone, and often. */
static bool may_give_up(struct dmsg_receiver *receiver, const struct dmsg_item *item)
{
    if (item->fate != DMSG_ITEM_REFUSED || ++receiver->internal_failures < INTERNAL_FAILURES_MAX)
        return false;
    receiver->gave_up = receiver->one_by_one > 0;
    if (!receiver->gave_up)
        receiver->one_by_one = DMSG_BATCH_MAX;
    return receiver->gave_up;
}

static int store_one(struct dmsg_receiver *receiver, struct dmsg_item *item)
{
    int code = item->error.code;
    bool verified = item->fate == DMSG_ITEM_VERIFIED;
    item->try_cache = verified && is_behind(receiver, &item->message);
    if (item->fate == DMSG_ITEM_WAITS || item->try_cache)
        code = store_waiting(receiver, item);
    /* Rather out of order than refused for want of room to wait. */
    if (verified && (!item->try_cache || code == DMSG_E_QUOTA))
        code = store_verified(receiver, item);
    if (code == 0)
        return 0;
    if (code == DMSG_E_INTERNAL && !may_give_up(receiver, item))
        return code;
    /* A broker sends again what it is not sure of: that is no attack. */
    enum dmsg_log_level level = code != DMSG_E_REPLAY   ? DMSG_LOG_WARNING
                                : item->packet.retained ? DMSG_LOG_DEBUG
                                                        : DMSG_LOG_INFO;
    dmsg_receiver_refuse(receiver, &item->message.sender, item->message.id, &item->error, level);
    return 0;
}

/* ----------------------------------------------------------------------------- a whole batch */

static void trim(struct dmsg_buffer *buffer)
{
    if (buffer->capacity > BUFFER_KEPT)
        dmsg_buffer_done(buffer);
    else
        dmsg_buffer_reset(buffer);
}

/* A sender may have a key of ours that we do not: the next one of a rollover begun just now. */
static void open_with_new_keys(
    struct dmsg_receiver *receiver, struct dmsg_item *items, size_t count)
{
    bool strange = false;
    for (size_t i = 0; i < count; i++)
        strange |= items[i].fate == DMSG_ITEM_REFUSED && items[i].error.code == DMSG_E_NOT_FOR_ME;
    if (!strange || !dmsg_receiver_renew(receiver, true))
        return;
    for (size_t i = 0; i < count; i++) {
        if (items[i].fate == DMSG_ITEM_REFUSED)
            open_one(dmsg_pool_opener(receiver->pool), &items[i]);
    }
}

/* Messages that are opened together: one of the two halves of receiver->items. */
struct chunk {
    struct dmsg_item *items;
    size_t first, size; /* in the batch */
};

/* The threads of the pool begin with the packets behind a chunk, if there are any. */
static struct chunk begin_chunk(
    struct dmsg_receiver *receiver, const struct chunk *before, size_t count)
{
    struct chunk chunk = {.items = receiver->items[before->items == receiver->items[0]],
        .first = before->first + before->size};
    chunk.size = count - chunk.first < DMSG_OPEN_CHUNK ? count - chunk.first : DMSG_OPEN_CHUNK;
    for (size_t i = 0; i < chunk.size; i++) {
        chunk.items[i].packet = *dmsg_mqtt_packet(receiver->config->mqtt, chunk.first + i);
        chunk.items[i].peer = NULL;
    }
    dmsg_pool_start(receiver->pool, open_one, chunk.items, chunk.size);
    return chunk;
}

/* How many packets there are for the next chunk too. After a chunk that was not full all has been
   read that there was: the batch ends, rather than growing with what trickles in. */
static size_t read_ahead(struct dmsg_receiver *receiver, const struct chunk *chunk, size_t limit)
{
    size_t wanted = chunk->first + 2 * DMSG_OPEN_CHUNK;
    if (chunk->size < DMSG_OPEN_CHUNK || dmsg_intake_pauses(receiver, dmsg_now_ms()) != 0)
        wanted = 0;
    return dmsg_mqtt_read_more(receiver->config->mqtt, wanted < limit ? wanted : limit);
}

static void verify_chunk(struct dmsg_receiver *receiver, struct dmsg_item *items, size_t size)
{
    dmsg_pool_finish(receiver->pool);
    open_with_new_keys(receiver, items, size);
    for (size_t i = 0; i < size; i++)
        look_up_one(receiver, &items[i]);
    dmsg_pool_start(receiver->pool, verify_one, items, size);
    dmsg_pool_finish(receiver->pool);
}

/* What was verified is about to be stored: a store that is far away is asked about all of it at
   once. */
static int announce(struct dmsg_receiver *receiver, const struct dmsg_item *items, size_t size,
    struct dmsg_error *error)
{
    const struct dmsg_message *messages[DMSG_OPEN_CHUNK];
    size_t verified = 0;
    for (size_t i = 0; i < size; i++) {
        if (items[i].fate == DMSG_ITEM_VERIFIED)
            messages[verified++] = &items[i].message;
    }
    return dmsg_store_expect(receiver->config->store, messages, verified, error);
}

static int store_chunk(
    struct dmsg_receiver *receiver, struct dmsg_item *items, size_t size, struct dmsg_error *error)
{
    int code = announce(receiver, items, size, error);
    for (size_t i = 0; i < size; i++) {
        struct dmsg_item *item = &items[i];
        judge_one(receiver, item);
        if (code == 0 && (code = store_one(receiver, item)) < 0 && error != NULL)
            *error = item->error;
        dmsg_peer_release(item->peer);
        trim(&item->message.jws);
        trim(&item->message.payload);
    }
    return code;
}

/* While the pool's other threads open a chunk, this one reads the next packets, delivers what was
   stored in earlier batches, and stores the chunk before. */
static int take_batch(struct dmsg_receiver *receiver, size_t limit, struct dmsg_error *error)
{
    struct chunk none = {.items = receiver->items[1]};
    size_t count = dmsg_mqtt_batch_size(receiver->config->mqtt);
    struct chunk chunk = begin_chunk(receiver, &none, count);
    bool keeps_up = true;
    int code = 0;
    while (code == 0 && chunk.size > 0) {
        struct chunk opened = chunk;
        count = read_ahead(receiver, &opened, limit);
        keeps_up = keeps_up && dmsg_deliver_meanwhile(receiver);
        verify_chunk(receiver, opened.items, opened.size);
        chunk = begin_chunk(receiver, &opened, count);
        code = store_chunk(receiver, opened.items, opened.size, error);
    }
    dmsg_pool_finish(receiver->pool); /* of a chunk that is in vain */
    receiver->flooded = count >= limit && keeps_up;
    return code;
}

int dmsg_intake(struct dmsg_receiver *receiver, size_t limit, struct dmsg_error *error)
{
    struct dmsg_store *store = receiver->config->store;
    receiver->gave_up = false;
    int code = dmsg_store_begin(store, error);
    if (code == 0)
        code = take_batch(receiver, limit, error);
    if (code < 0) {
        dmsg_store_rollback(store);
        return code;
    }
    code = dmsg_store_commit(store, error);
    dmsg_receiver_count(receiver);
    if (code == 0 && receiver->one_by_one > 0 && !receiver->gave_up)
        receiver->one_by_one--;
    else if (code == 0)
        receiver->one_by_one = receiver->internal_failures = 0;
    return code;
}
