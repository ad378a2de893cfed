#include "base/fail.h"
#include "service/internal.h"

#include <stdio.h>

/* The store is in trouble, or the resolver takes no question: milliseconds until the next try. */
#define TROUBLE_PAUSE 5000

/* -------------------------------------------------------------------------------- questions */

/* Only marks: the work is done in the loop. */
static void on_answer(void *user, const struct dmsg_peer *peer)
{
    struct dmsg_waiter *waiter = user;
    waiter->asked = false;
    dmsg_peer_release(waiter->peer);
    waiter->peer = dmsg_peer_retain(peer);
    dmsg_waiter_restart(waiter);
    dmsg_waiters_make_ready(waiter->waiters, waiter);
}

static void ask(struct dmsg_receiver *receiver, struct dmsg_waiter *waiter)
{
    struct dmsg_error why;
    int64_t now_ms = dmsg_now_ms();
    int code = dmsg_store_waiting_last(receiver->config->store, &waiter->asked_row, &why);
    if (code == 0)
        code =
            dmsg_discovery_ask(receiver->config->discovery, &waiter->name, on_answer, waiter, &why);
    waiter->asked = code == 0;
    if (code == 0)
        dmsg_pause_reset(&waiter->busy);
    if (code == DMSG_E_QUOTA) {
        dmsg_waiter_ask_in(
            waiter, dmsg_pause_take(&waiter->busy, receiver->config->context), now_ms);
    } else if (code < 0) {
        dmsg_waiter_ask_in(waiter, TROUBLE_PAUSE, now_ms);
        dmsg_receiver_delay(receiver, &waiter->name, &why, DMSG_LOG_ERROR);
    }
}

/* ------------------------------------------------------------------------- one waiting message */

/* Can this peer say anything about a message, or did DNS give no answer that counts? */
static bool has_answer(const struct dmsg_peer *peer)
{
    return peer != NULL && peer->status != DMSG_DNS_NOT_NOW && peer->status != DMSG_DNS_BOGUS;
}

/* Opens it with the peer's keys: 0 when verified, else the code and what is to follow from it. */
static int open_row(struct dmsg_receiver *receiver, const struct dmsg_waiter *waiter,
    const struct dmsg_record *record, enum dmsg_verdict *verdict, struct dmsg_error *why)
{
    struct dmsg_message *message = &receiver->woken;
    dmsg_buffer_reset(&receiver->topic);
    dmsg_buffer_put_span(&receiver->topic, record->topic);
    const char *poc_id = record->format == DMSG_FORMAT_POC ? record->id : NULL;
    int code = receiver->topic.failed ? dmsg_fail_memory(why)
                                      : dmsg_open_resume(dmsg_pool_opener(receiver->pool),
                                            record->content, poc_id, record->topic, message, why);
    *verdict = code == DMSG_E_INTERNAL ? DMSG_FAILURE : DMSG_FINAL;
    if (code < 0)
        return code;
    if (message->format == DMSG_FORMAT_POC &&
        dmsg_store_sent_v1(receiver->config->store, &message->sender))
        return dmsg_fail(
            why, DMSG_E_UNBOUND, "a proof of concept message of a sender that has sent v1 before");
    *verdict = DMSG_WAIT_FOR_DNS;
    if (message->early)
        return dmsg_fail(why, DMSG_E_TIME, "from the future, while our clock is not set yet");
    if (dmsg_waiter_kept(waiter, message->kid))
        return dmsg_fail(why, waiter->code, "behind an earlier message that waits");
    bool decisive = !waiter->peer->from_cache && record->row <= waiter->asked_row;
    code = dmsg_open_finish(dmsg_pool_opener(receiver->pool), message, waiter->peer, why);
    if (code < 0)
        *verdict = dmsg_receiver_judge(receiver, message, code, decisive);
    return code;
}

static int accept_row(struct dmsg_receiver *receiver, struct dmsg_error *why)
{
    int code = dmsg_store_accept(
        receiver->config->store, &receiver->woken, dmsg_buffer_span(&receiver->topic), why);
    if (code == 0)
        dmsg_pending_add(receiver, receiver->woken.payload.size + receiver->topic.size);
    if (code == 0 && receiver->woken.format == DMSG_FORMAT_POC)
        dmsg_receiver_note_poc(receiver, &receiver->woken);
    return code;
}

/* It goes on waiting, unless its time is up: 1 when it stays. */
static int keep_row(struct dmsg_receiver *receiver, struct dmsg_waiter *waiter,
    const struct dmsg_record *record, enum dmsg_verdict verdict, const struct dmsg_error *why)
{
    int64_t until = 0;
    int64_t asked_at = verdict == DMSG_WAIT_FOR_TTL ? waiter->peer->expires_at : waiter->ask_after;
    int code =
        dmsg_store_waiting_until(receiver->config->store, record->row, asked_at, &until, NULL);
    if (code < 0)
        return code;
    if (dmsg_context_now(receiver->config->context) >= until) {
        dmsg_receiver_refuse(receiver, &record->sender, record->id, why, DMSG_LOG_WARNING);
        return 0;
    }
    waiter->kept++;
    waiter->kept_for_ttl |= verdict == DMSG_WAIT_FOR_TTL;
    if (why->code != 0)
        waiter->code = why->code;
    bool in_order = record->format == DMSG_FORMAT_V1 && why->code != DMSG_E_TIME;
    code = dmsg_waiter_keep(waiter, in_order ? record->kid : "");
    return code < 0 ? code : 1;
}

/* 0, or a failure of the store or of ours, after which nothing of the slice counts. */
static int work_on_row(
    struct dmsg_receiver *receiver, struct dmsg_waiter *waiter, const struct dmsg_record *record)
{
    struct dmsg_error why;
    enum dmsg_verdict verdict = DMSG_WAIT_FOR_DNS;
    int code = dmsg_fail(
        &why, waiter->code, "%s, and its time to wait is up", dmsg_error_meaning(waiter->code));
    if (has_answer(waiter->peer))
        code = open_row(receiver, waiter, record, &verdict, &why);
    else if (waiter->peer != NULL)
        code = dmsg_fail(&why,
            waiter->peer->status == DMSG_DNS_BOGUS ? DMSG_E_DNS_BOGUS : DMSG_E_DNS_TEMPORARY,
            "no keys of the sender: %s", waiter->peer->why);
    if (code == 0) {
        verdict = DMSG_FINAL;
        code = accept_row(receiver, &why);
        if (code == 0)
            dmsg_receiver_note_stale(receiver, waiter->peer);
    }
    if (code == DMSG_E_INTERNAL || verdict == DMSG_FAILURE)
        return DMSG_E_INTERNAL;
    if (verdict != DMSG_FINAL) {
        int kept = keep_row(receiver, waiter, record, verdict, &why);
        if (kept != 0)
            return kept < 0 ? kept : 0;
    } else if (code < 0) {
        dmsg_receiver_refuse(receiver, &record->sender, record->id, &why,
            code == DMSG_E_REPLAY ? DMSG_LOG_INFO : DMSG_LOG_WARNING);
    }
    return dmsg_store_waited(receiver->config->store, record->row, NULL);
}

/* --------------------------------------------------------------------- all of one sender's */

/* One transaction: 1 when the sender's last row was reached, 0 when there are more. */
static int work_on_slice(
    struct dmsg_receiver *receiver, struct dmsg_waiter *waiter, struct dmsg_error *error)
{
    struct dmsg_store *store = receiver->config->store;
    int64_t until = dmsg_now_ms() + DMSG_SLICE_TIME;
    int64_t row = waiter->cursor;
    /* Undone by a power cut, it waits again. Hundreds of senders must not wait for the disk. */
    int found = dmsg_store_begin_relaxed(store, error);
    if (found < 0)
        return found;
    for (int i = 0; i < DMSG_SLICE_ROWS && dmsg_now_ms() < until; i++) {
        struct dmsg_record record;
        found = dmsg_store_waiting(store, &waiter->name, row, &record, error);
        if (found != 1)
            break;
        row = record.row;
        if (work_on_row(receiver, waiter, &record) < 0)
            found = dmsg_fail(error, DMSG_E_INTERNAL, "the store or memory failed");
        if (found < 0)
            break;
    }
    if (found < 0) {
        dmsg_store_rollback(store);
        return found;
    }
    int code = dmsg_store_commit(store, error);
    if (code < 0)
        return code;
    dmsg_receiver_count(receiver);
    waiter->cursor = row;
    return found == 0;
}

/* When to ask again: what the cache may not refuse, when it has forgotten; what DNS could not
   tell, after a pause. */
static void plan_question(struct dmsg_receiver *receiver, struct dmsg_waiter *waiter)
{
    const struct dmsg_context *context = receiver->config->context;
    if (waiter->kept_for_ttl && !waiter->peer->stale)
        dmsg_waiter_ask_after(
            waiter, waiter->peer->expires_at, dmsg_now_ms(), dmsg_context_now(context));
    else
        dmsg_waiter_ask_in(waiter, dmsg_pause_take(&waiter->pause, context), dmsg_now_ms());
}

static void finish_pass(struct dmsg_receiver *receiver, struct dmsg_waiter *waiter)
{
    if (waiter->peer != NULL) {
        receiver->state->dns_at = dmsg_context_now(receiver->config->context);
        receiver->state->dns = waiter->peer->status;
    }
    if (waiter->kept == 0) {
        dmsg_waiters_remove(&receiver->waiters, waiter);
        return;
    }
    if (waiter->peer != NULL) {
        struct dmsg_error why;
        dmsg_fail(&why, waiter->code, "%zu message%s of this sender wait%s: %s%s", waiter->kept,
            waiter->kept == 1 ? "" : "s", waiter->kept == 1 ? "s" : "",
            dmsg_context_synchronised(receiver->config->context)
                ? ""
                : "the clock of this machine is not set yet: ",
            waiter->peer->why[0] != '\0' ? waiter->peer->why : dmsg_error_meaning(waiter->code));
        dmsg_receiver_delay(receiver, &waiter->name, &why, DMSG_LOG_WARNING);
        plan_question(receiver, waiter);
        dmsg_peer_release(waiter->peer);
        waiter->peer = NULL;
    } else {
        waiter->look_at = dmsg_now_ms() + DMSG_LOOK_MOST;
    }
    dmsg_waiter_settle(waiter);
    dmsg_waiter_restart(waiter);
}

static void work_on(struct dmsg_receiver *receiver, struct dmsg_waiter *waiter)
{
    struct dmsg_error error;
    int64_t now_ms = dmsg_now_ms();
    if (waiter->asked)
        return; /* the answer makes it ready again */
    if (waiter->peer == NULL && waiter->try_cache)
        waiter->peer = dmsg_discovery_get(receiver->config->discovery, &waiter->name);
    waiter->try_cache = false;
    if (waiter->peer == NULL) {
        int64_t now = dmsg_context_now(receiver->config->context);
        if (dmsg_waiter_may_ask(waiter, now_ms, now)) {
            ask(receiver, waiter);
            return;
        }
        if (now_ms < waiter->look_at)
            return;
    }
    int code = work_on_slice(receiver, waiter, &error);
    if (code == 1) {
        finish_pass(receiver, waiter);
    } else if (code == 0) {
        dmsg_waiters_make_ready(&receiver->waiters, waiter);
    } else {
        dmsg_receiver_delay(receiver, &waiter->name, &error, DMSG_LOG_ERROR);
        dmsg_waiter_restart(waiter);
        waiter->look_at = now_ms + TROUBLE_PAUSE;
    }
}

bool dmsg_wake(struct dmsg_receiver *receiver)
{
    int64_t now_ms = dmsg_now_ms();
    dmsg_waiters_scan(&receiver->waiters, now_ms, dmsg_context_now(receiver->config->context));
    while (receiver->waiters.ready != NULL && dmsg_now_ms() - now_ms < DMSG_SLICE_TIME)
        work_on(receiver, dmsg_waiters_take_ready(&receiver->waiters));
    return receiver->waiters.ready != NULL;
}

/* ----------------------------------------------------------------------------- start and end */

int dmsg_wake_load(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    struct dmsg_record record = {0};
    int found = 1;
    while (found == 1) {
        found = dmsg_store_waiting(receiver->config->store, NULL, record.row, &record, error);
        if (found == 1 && dmsg_waiters_add(&receiver->waiters, &record.sender, record.kid) == NULL)
            return dmsg_fail_memory(error);
    }
    return found;
}

void dmsg_wake_end(struct dmsg_receiver *receiver)
{
    for (struct dmsg_waiter *waiter = receiver->waiters.first; waiter != NULL;
         waiter = waiter->next) {
        if (waiter->asked)
            dmsg_discovery_forget(receiver->config->discovery, &waiter->name, waiter);
    }
    dmsg_waiters_done(&receiver->waiters);
}
