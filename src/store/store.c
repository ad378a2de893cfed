#include "base/fail.h"
#include "store/change.h"

#include <string.h>

/* A clock that was set forward can forge at most this much of the time that lets ids be forgotten
   (doc/PROTOCOL.md, "The receiver's decision"). */
#define PURGE_AHEAD 86400

void dmsg_store_close(struct dmsg_store **store)
{
    if (store == NULL || *store == NULL)
        return;
    if ((*store)->in_transaction)
        dmsg_store_rollback(*store);
    (*store)->operations->close(*store);
    *store = NULL;
}

/* ---------------------------------------------------------------------------- transactions */

static void forget_counts(struct dmsg_store *store)
{
    store->counting = (struct dmsg_store_counts){0};
    store->has_counted = false;
}

static int begin(struct dmsg_store *store, bool durable, struct dmsg_error *error)
{
    if (store->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "a transaction of the store is open already");
    int code = store->operations->begin(store, durable, error);
    if (code < 0)
        return code;
    store->in_transaction = true;
    store->broken = false;
    forget_counts(store);
    return 0;
}

int dmsg_store_begin(struct dmsg_store *store, struct dmsg_error *error)
{
    return begin(store, true, error);
}

int dmsg_store_begin_relaxed(struct dmsg_store *store, struct dmsg_error *error)
{
    return begin(store, false, error);
}

void dmsg_store_rollback(struct dmsg_store *store)
{
    if (!store->in_transaction)
        return;
    store->operations->rollback(store);
    store->in_transaction = false;
}

/* One statement for each word of the transaction, none for a transaction without any. */
static int write_counts(struct dmsg_store *store, struct dmsg_error *error)
{
    const struct dmsg_store_counts *counting = &store->counting;
    int (*tally)(struct dmsg_store *, const char *, int64_t, struct dmsg_error *) =
        store->operations->tally;
    int code = 0;
    if (counting->accepted != 0)
        code = tally(store, DMSG_STORE_ACCEPTED, counting->accepted, error);
    if (code == 0 && counting->put_aside != 0)
        code = tally(store, DMSG_STORE_PUT_ASIDE, counting->put_aside, error);
    for (int i = 0; code == 0 && i < DMSG_ERROR_COUNT; i++) {
        if (counting->refused[i] != 0)
            code = tally(store, dmsg_error_word(-1 - i), counting->refused[i], error);
    }
    return code;
}

static void add_counts(struct dmsg_store_counts *sum, const struct dmsg_store_counts *more)
{
    sum->accepted += more->accepted;
    sum->put_aside += more->put_aside;
    for (int i = 0; i < DMSG_ERROR_COUNT; i++)
        sum->refused[i] += more->refused[i];
}

int dmsg_store_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    if (!store->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "no transaction of the store is open");
    if (store->broken) {
        dmsg_store_rollback(store);
        return dmsg_fail(error, DMSG_E_INTERNAL,
            "the store's transaction was rolled back, since a part of it failed");
    }
    int code = store->has_counted ? write_counts(store, error) : 0;
    if (code == 0)
        code = store->operations->commit(store, error);
    if (code < 0)
        store->operations->rollback(store);
    else if (store->has_counted)
        add_counts(&store->counted, &store->counting);
    store->in_transaction = false;
    return code;
}

/* A judgement about one message; all else means that the store itself is in trouble. */
static bool is_judgement(int code)
{
    return code == DMSG_E_REPLAY || code == DMSG_E_TIME || code == DMSG_E_QUOTA ||
           code == DMSG_E_USAGE;
}

int dmsg_store_change_begin(struct dmsg_store_change *change, struct dmsg_store *store,
    bool durable, struct dmsg_error *error)
{
    *change = (struct dmsg_store_change){store, !store->in_transaction};
    return change->own ? begin(store, durable, error) : 0;
}

int dmsg_store_change_end(struct dmsg_store_change *change, int code, struct dmsg_error *error)
{
    if (code < 0 && !is_judgement(code))
        change->store->broken = true;
    if (!change->own)
        return code;
    if (code < 0) {
        dmsg_store_rollback(change->store);
        return code;
    }
    int committed = dmsg_store_commit(change->store, error);
    return committed < 0 ? committed : code;
}

/* ------------------------------------------------------------------------------ acceptance */

static int accept_new(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    const struct dmsg_message *message = entry->message;
    struct dmsg_store_sender sender = {0};
    int code = store->operations->sender(store, &message->sender, entry->zone, &sender, error);
    if (code < 0)
        return code;
    if (message->format == DMSG_FORMAT_V1 && message->expires_at < sender.purged_until)
        return dmsg_fail(error, DMSG_E_TIME,
            "it expires before the time up to which ids were forgotten, so that a replay could not "
            "be told");
    code = store->operations->remember(store, entry, error);
    if (code < 0)
        return code;
    if (code == 0)
        return dmsg_fail(error, DMSG_E_REPLAY, "a message with this id was accepted before");
    return store->operations->keep(store, entry, error);
}

static struct dmsg_store_entry entry_of(
    const struct dmsg_store *store, const struct dmsg_message *message, struct dmsg_span topic)
{
    struct dmsg_store_entry entry = {.message = message,
        .topic = topic,
        .received_at = dmsg_context_now(store->context),
        .zone = dmsg_name_zone(&message->sender)};
    entry.until = message->format == DMSG_FORMAT_V1 ? message->expires_at
                                                    : entry.received_at + DMSG_POC_REMEMBER;
    return entry;
}

int dmsg_store_expect(struct dmsg_store *store, const struct dmsg_message *const *messages,
    size_t count, struct dmsg_error *error)
{
    struct dmsg_store_entry entries[DMSG_EXPECT_MAX];
    if (store->operations->expect == NULL || !store->in_transaction || count > DMSG_EXPECT_MAX)
        return 0;
    for (size_t i = 0; i < count; i++)
        entries[i] = entry_of(store, messages[i], (struct dmsg_span){0});
    int code = store->operations->expect(store, entries, count, error);
    store->broken |= code < 0;
    return code;
}

int dmsg_store_accept(struct dmsg_store *store, const struct dmsg_message *message,
    struct dmsg_span topic, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    if (!message->verified)
        return dmsg_fail(error, DMSG_E_USAGE, "only a verified message can be accepted");
    struct dmsg_store_entry entry = entry_of(store, message, topic);
    int code = dmsg_store_change_begin(&change, store, true, error);
    if (code < 0)
        return code;
    code = accept_new(store, &entry, error);
    if (code == 0) {
        store->counting.accepted++;
        store->has_counted = true;
    }
    return dmsg_store_change_end(&change, code, error);
}

int dmsg_store_next(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    return store->operations->next(store, after, out, error);
}

bool dmsg_store_delivers_within(const struct dmsg_store *store)
{
    return store->operations->can_note != NULL && store->operations->can_note(store);
}

int dmsg_store_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    if (store->operations->note != NULL && store->operations->note(store, row))
        return 0;
    int code = dmsg_store_change_begin(&change, store, false, error);
    if (code < 0)
        return code;
    return dmsg_store_change_end(&change, store->operations->delivered(store, row, error), error);
}

int dmsg_store_failed(struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    int code = dmsg_store_change_begin(&change, store, false, error);
    if (code < 0)
        return code;
    code = store->operations->failed(store, row, most, error);
    if (code == 1) {
        store->counting.put_aside++;
        store->has_counted = true;
    }
    return dmsg_store_change_end(&change, code, error);
}

int dmsg_store_kept(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    return store->operations->kept(store, after, out, error);
}

bool dmsg_store_sent_v1(struct dmsg_store *store, const struct dmsg_name *sender)
{
    struct dmsg_store_sender facts = {0};
    /* A store in trouble must not open the door to what cannot be told from a replay. */
    return store->operations->sender(store, sender, dmsg_name_zone(sender), &facts, NULL) < 0 ||
           facts.sent_v1;
}

bool dmsg_store_verified_before(struct dmsg_store *store, const struct dmsg_name *sender)
{
    struct dmsg_store_sender facts = {0};
    return store->operations->sender(store, sender, dmsg_name_zone(sender), &facts, NULL) == 0 &&
           facts.verified;
}

/* ------------------------------------------------------------------------ shared by several */

bool dmsg_store_is_shared(const struct dmsg_store *store)
{
    return store->operations->take_over != NULL;
}

int dmsg_store_take_over(struct dmsg_store *store, struct dmsg_error *error)
{
    if (store->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "taking over is a transaction of its own");
    return store->operations->take_over != NULL ? store->operations->take_over(store, error) : 0;
}

/* ----------------------------------------------------------------------------------- purge */

int dmsg_store_purge(struct dmsg_store *store, struct dmsg_error *error)
{
    int64_t newest_issued = 0;
    int64_t purged_until = 0;
    if (store->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "the store is purged outside of transactions");
    int code = store->operations->times(store, &newest_issued, &purged_until, error);
    if (code < 0)
        return code;
    int64_t now = dmsg_context_now(store->context);
    int64_t limit = newest_issued + PURGE_AHEAD;
    if (limit > now)
        limit = now;
    if (newest_issued == 0 || limit < purged_until)
        limit = purged_until;
    int ids = store->operations->purge(store, limit, now, error);
    if (ids < 0)
        return ids;
    /* By a clock that is not set nothing is too old. */
    int64_t before =
        dmsg_context_synchronised(store->context) ? now - store->retain_time : INT64_MIN;
    int messages = store->operations->retain(store, before, store->retain_octets, error);
    return messages < 0 ? messages : ids | messages;
}

void dmsg_store_retain(struct dmsg_store *store, int64_t seconds, int64_t octets)
{
    store->retain_time = seconds;
    store->retain_octets = octets;
}

int dmsg_store_discard(struct dmsg_store *store, int64_t before, struct dmsg_error *error)
{
    if (store->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "messages are discarded outside of transactions");
    return store->operations->retain(store, before, INT64_MAX, error);
}

/* ----------------------------------------------------------------------------- notes */

int dmsg_store_note_issued(
    struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    int code = dmsg_store_change_begin(&change, store, true, error);
    if (code < 0)
        return code;
    return dmsg_store_change_end(
        &change, store->operations->note_issued(store, kid, expires_at, error), error);
}

int dmsg_store_depths(
    struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error)
{
    return store->operations->depths(store, out, error);
}

int dmsg_store_pending(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error)
{
    return store->operations->pending(store, octets, error);
}

int dmsg_store_issued_until(
    struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error)
{
    return store->operations->issued_until(store, kid, until, error);
}

/* ---------------------------------------------------------------------------------- counts */

void dmsg_store_count_refused(struct dmsg_store *store, int code)
{
    if (!store->in_transaction || code >= 0 || code < -DMSG_ERROR_COUNT)
        return;
    store->counting.refused[-1 - code]++;
    store->has_counted = true;
}

void dmsg_store_take_count(struct dmsg_store_counts *out, const char *word, int64_t count)
{
    int code = dmsg_error_code_of(word);
    if (strcmp(word, DMSG_STORE_ACCEPTED) == 0) {
        out->accepted += count;
        out->delivered += count;
    } else if (strcmp(word, DMSG_STORE_PUT_ASIDE) == 0) {
        out->put_aside += count;
        out->delivered -= count;
    } else if (strcmp(word, DMSG_STORE_UNDELIVERED) == 0) {
        out->delivered -= count;
    } else if (code < 0) {
        out->refused[-1 - code] += count;
    }
}

int dmsg_store_counts(
    struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error)
{
    struct dmsg_store_counts counts = {0};
    int code = store->operations->counts(store, &counts, error);
    if (code == 0)
        *out = counts;
    return code;
}

const struct dmsg_store_counts *dmsg_store_counted(const struct dmsg_store *store)
{
    return &store->counted;
}
