#include "figures.h"

/* -------------------------------------------------------------------------------- of a receiver */

void put_refused(struct dmsg_buffer *out, const int64_t refused[static DMSG_ERROR_COUNT])
{
    json_key(out, "refused");
    dmsg_buffer_put_byte(out, '{');
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        if (refused[i] > 0)
            json_member_number(out, dmsg_error_word(-1 - i), refused[i]);
    }
    dmsg_buffer_put_byte(out, '}');
}

static void put_dns(struct dmsg_buffer *out, int64_t dns_at, enum dmsg_dns_status dns)
{
    json_member_text(out, "dns", dns_at != 0 ? dns_status_word(dns) : "not asked");
    json_member_number(out, "dns_at", dns_at);
}

static bool receiver_is_up(const void *user)
{
    const struct receiver_figures *figures = user;
    return figures->state->subscribed && !figures->state->held_back;
}

static const char *receiver_in_words(const void *user)
{
    const struct receiver_figures *figures = user;
    const struct dmsg_receive_state *state = figures->state;
    if (state->held_back)
        return FIGURES_HELD_BACK;
    return state->subscribed          ? FIGURES_SUBSCRIBED
           : state->broker[0] != '\0' ? state->broker
                                      : FIGURES_NOT_YET;
}

static void receiver_put_members(struct dmsg_buffer *out, const void *user)
{
    const struct receiver_figures *figures = user;
    const struct dmsg_receive_state *state = figures->state;
    int64_t refused[DMSG_ERROR_COUNT];
    for (int i = 0; i < DMSG_ERROR_COUNT; i++)
        refused[i] = (int64_t)state->refused[i];
    json_member_bool(out, "subscribed", state->subscribed);
    json_member_bool(out, "held_back", state->held_back);
    json_member_text(out, "broker", receiver_in_words(user));
    json_member_number(out, "broker_at", state->broker_at);
    put_dns(out, state->dns_at, state->dns);
    json_member_number(out, "accepted", (int64_t)state->accepted);
    json_member_number(out, "delivered", (int64_t)state->delivered);
    json_member_number(out, "failed", (int64_t)state->put_aside);
    put_refused(out, refused);
}

static void metric(
    struct dmsg_buffer *out, const char *name, const char *type, const char *help, int64_t value)
{
    metrics_head(out, name, type, help);
    metrics_value(out, name, NULL, NULL, value);
}

/* Of the database, so that they go on where they were after a restart. While it cannot be read they
   are left out: less than before would be taken for a restart from zero. */
static void write_counts(struct dmsg_buffer *out, struct dmsg_store *store)
{
    static const char refused[] = "danemsg_refused_total";
    struct dmsg_store_counts counts;
    if (store == NULL || dmsg_store_counts(store, &counts, NULL) < 0)
        return;
    metric(
        out, "danemsg_accepted_total", "counter", "Messages verified and stored.", counts.accepted);
    metric(out, "danemsg_delivered_total", "counter", "Messages handed out.", counts.delivered);
    metric(out, "danemsg_failed_total", "counter", "Messages put aside after ten tries.",
        counts.put_aside);
    metrics_head(out, refused, "counter", "Messages refused, by outcome.");
    for (int i = 0; i < DMSG_ERROR_COUNT; i++)
        metrics_value(out, refused, "outcome", dmsg_error_word(-1 - i), counts.refused[i]);
}

static void write_depths(struct dmsg_buffer *out, struct dmsg_store *store)
{
    static const char name[] = "danemsg_messages";
    struct dmsg_store_depths depths;
    if (store == NULL || dmsg_store_depths(store, &depths, NULL) < 0)
        return;
    metrics_head(out, name, "gauge", "Messages in the store, by what they wait for.");
    metrics_value(out, name, "state", "waiting", depths.waiting);
    metrics_value(out, name, "state", "undelivered", depths.undelivered);
    metrics_value(out, name, "state", "failed", depths.failed);
    metrics_value(out, name, "state", "delivered", depths.delivered);
}

static void write_dns(struct dmsg_buffer *out, int64_t dns_at, const char *help)
{
    metric(out, "danemsg_dns_answer_timestamp_seconds", "gauge", help, dns_at);
}

static void receiver_write_metrics(void *user, struct dmsg_buffer *out)
{
    const struct receiver_figures *figures = user;
    const struct dmsg_receive_state *state = figures->state;
    metric(out, "danemsg_subscribed", "gauge", "1 while the broker sends us messages.",
        state->subscribed);
    metric(out, "danemsg_held_back", "gauge",
        "1 while none are taken, since too many are not delivered.", state->held_back);
    write_counts(out, figures->store);
    write_dns(out, state->dns_at, "When DNS last answered about a sender; 0: never.");
    write_depths(out, figures->store);
}

struct housekeeping_source receiver_figures_source(struct receiver_figures *figures)
{
    return (struct housekeeping_source){.is_up = receiver_is_up,
        .in_words = receiver_in_words,
        .put_members = receiver_put_members,
        .write_metrics = receiver_write_metrics,
        .user = figures};
}

/* ------------------------------------------------------------------------------- of a publisher */

static bool publisher_is_up(const void *user)
{
    const struct publisher_figures *figures = user;
    return figures->state->connected;
}

static const char *publisher_in_words(const void *user)
{
    const struct publisher_figures *figures = user;
    const struct dmsg_outbox_state *state = figures->state;
    return state->connected           ? "connected to the broker"
           : state->broker[0] != '\0' ? state->broker
                                      : FIGURES_NOT_YET;
}

static void publisher_put_members(struct dmsg_buffer *out, const void *user)
{
    const struct publisher_figures *figures = user;
    const struct dmsg_outbox_state *state = figures->state;
    json_member_bool(out, "connected", state->connected);
    json_member_text(out, "broker", publisher_in_words(user));
    json_member_number(out, "broker_at", state->broker_at);
    put_dns(out, state->dns_at, state->dns);
    json_member_number(out, "sealed", (int64_t)state->sealed);
    json_member_number(out, "published", (int64_t)state->published);
    json_member_number(out, "expired", (int64_t)state->expired);
    json_member_number(out, "refused_by_broker", (int64_t)state->refused);
}

/* As a receiver's: of the database, and left out while it cannot be read. */
static void write_outbox_counts(struct dmsg_buffer *out, struct dmsg_outbox *outbox)
{
    struct dmsg_outbox_counts counts;
    if (dmsg_outbox_counts(outbox, &counts, NULL) < 0)
        return;
    metric(out, "danemsg_published_total", "counter", "Messages that the broker acknowledged.",
        counts.published);
    metric(out, "danemsg_sealed_total", "counter", "Queued messages sealed, once DNS had the key.",
        counts.sealed);
    metric(out, "danemsg_expired_total", "counter", "Messages dropped unsent, since they expired.",
        counts.expired);
    metric(out, "danemsg_broker_refused_total", "counter", "Publishes that the broker refused.",
        counts.refused);
}

static void publisher_write_metrics(void *user, struct dmsg_buffer *out)
{
    const struct publisher_figures *figures = user;
    const struct dmsg_outbox_state *state = figures->state;
    int64_t queued = 0;
    metric(
        out, "danemsg_connected", "gauge", "1 while the broker takes messages.", state->connected);
    write_outbox_counts(out, figures->outbox);
    write_dns(out, state->dns_at, "When DNS last answered about a recipient; 0: never.");
    if (dmsg_outbox_count(figures->outbox, &queued, NULL) == 0)
        metric(out, "danemsg_outbox_messages", "gauge", "Messages in the outbox.", queued);
}

struct housekeeping_source publisher_figures_source(struct publisher_figures *figures)
{
    return (struct housekeeping_source){.is_up = publisher_is_up,
        .in_words = publisher_in_words,
        .put_members = publisher_put_members,
        .write_metrics = publisher_write_metrics,
        .user = figures};
}
