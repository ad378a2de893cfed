/* Messages that wait for DNS, in every store: whose budget they are on, and for how long. */
#include "base/fail.h"
#include "store/change.h"

/* Budgets of unverified messages, step 7. Strangers have each zone's own, and all zones together
   this, so that many zones do not fill the disk either. */
static const struct dmsg_store_usage zone_budget = {DMSG_STRANGER_MESSAGES, DMSG_STRANGER_OCTETS};
static const struct dmsg_store_usage strangers_budget = {
    DMSG_STRANGERS_MESSAGES, DMSG_STRANGERS_OCTETS};
static const struct dmsg_store_usage trusted_budget = {DMSG_TRUSTED_MESSAGES, DMSG_TRUSTED_OCTETS};
static const struct dmsg_store_usage name_budget = {DMSG_NAME_MESSAGES, DMSG_NAME_OCTETS};

/* Checked in this order: what is one name's or one zone's is said first. */
static const struct budget {
    bool trusted;
    enum dmsg_store_whose whose;
    const struct dmsg_store_usage *budget;
    const char *name;
} budgets[] = {
    {true, DMSG_STORE_NAME, &name_budget, "budget of the sender"},
    {true, DMSG_STORE_TRUSTED, &trusted_budget, "budget of known senders"},
    {false, DMSG_STORE_ZONE, &zone_budget, "budget of the sender's zone"},
    {false, DMSG_STORE_STRANGERS, &strangers_budget, "budget of strangers"},
};

static int check_budget(struct dmsg_store *store, const struct dmsg_store_entry *entry,
    const struct budget *budget, struct dmsg_error *error)
{
    struct dmsg_store_usage used = {0};
    const struct dmsg_store_usage *most = budget->budget;
    int code = store->operations->usage(store, budget->whose, entry, &used, error);
    if (code < 0)
        return code;
    size_t octets = entry->message->jws.size + entry->topic.size;
    if (used.messages >= most->messages)
        return dmsg_fail(error, DMSG_E_QUOTA, "%s: %zu messages wait for DNS already", budget->name,
            used.messages);
    if (octets > most->octets || used.octets > most->octets - octets)
        return dmsg_fail(error, DMSG_E_QUOTA, "%s: the %zu octets that wait for DNS leave no room",
            budget->name, used.octets);
    return 0;
}

static int wait_new(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    int code = store->operations->waits(store, entry, error);
    if (code != 0)
        return code < 0 ? code : 0;
    for (size_t i = 0; code == 0 && i < sizeof budgets / sizeof budgets[0]; i++) {
        if (budgets[i].trusted == entry->trusted)
            code = check_budget(store, entry, &budgets[i], error);
    }
    return code < 0 ? code : store->operations->wait(store, entry, error);
}

int dmsg_store_wait(struct dmsg_store *store, const struct dmsg_message *message,
    struct dmsg_span topic, bool trusted, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    struct dmsg_store_entry entry = {.message = message,
        .topic = topic,
        .received_at = dmsg_context_now(store->context),
        .trusted = trusted,
        .zone = dmsg_name_zone(&message->sender)};
    int code = dmsg_store_change_begin(&change, store, true, error);
    if (code < 0)
        return code;
    return dmsg_store_change_end(&change, wait_new(store, &entry, error), error);
}

int dmsg_store_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error)
{
    return store->operations->waiting(store, sender, after, out, error);
}

int dmsg_store_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error)
{
    return store->operations->waiting_last(store, row, error);
}

int dmsg_store_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_store_change change;
    int code = dmsg_store_change_begin(&change, store, true, error);
    if (code < 0)
        return code;
    return dmsg_store_change_end(&change, store->operations->waited(store, row, error), error);
}

int dmsg_store_waiting_until(struct dmsg_store *store, int64_t row, int64_t asked_at,
    int64_t *until, struct dmsg_error *error)
{
    struct dmsg_store_deadline facts = {0};
    int code = store->operations->deadline(store, row, &facts, error);
    if (code < 0)
        return code;
    if (code == 0)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row is waiting");
    /* A message that came before it was written came while our clock was not set yet. */
    int64_t arrival = facts.received_at > facts.issued_at ? facts.received_at : facts.issued_at;
    int64_t limit =
        facts.format == DMSG_FORMAT_V1 ? facts.expires_at : facts.received_at + DMSG_POC_WAIT;
    int64_t patience = arrival + DMSG_STRANGER_WAIT;
    if (asked_at != 0 && patience < asked_at + DMSG_ASK_MARGIN)
        patience = asked_at + DMSG_ASK_MARGIN;
    *until = facts.trusted || limit < patience ? limit : patience;
    return 0;
}
