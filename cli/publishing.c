#include "publishing.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/publish.h"
#include "own_records.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds between look-ups: a zone that is signed as it changes shows the change at once,
   secondaries and caches take longer. */
#define PAUSE_FIRST 250
#define PAUSE_MOST 10000

static const struct option publish_option_table[] = {
    {.name = "rfc2136",
        .argument = "ADDR[@PORT]",
        .kind = OPTION_TEXT,
        .at = offsetof(struct publish_options, server),
        .help = "dynamic update at the zone's primary server"},
    {.name = "tsig",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct publish_options, tsig),
        .help = "with --rfc2136: the key, as `tsig-keygen` writes it, 0600"},
    {.name = "powerdns",
        .argument = "URL",
        .kind = OPTION_TEXT,
        .at = offsetof(struct publish_options, powerdns),
        .help = "a PowerDNS server's API: https://HOST[:PORT]"},
    {.name = "api-key",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct publish_options, api_key),
        .help = "with --powerdns: a file that holds its key, 0600"},
    {.name = "ttl",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct publish_options, ttl),
        .least = 1,
        .help = "how long caches may keep the records (3600)"},
    {.name = "replace",
        .kind = OPTION_FLAG,
        .at = offsetof(struct publish_options, replace),
        .help = "take out records of other keys too"},
    {.name = "wait",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct publish_options, wait),
        .help = "until a validated look-up shows it (5m); 0: do not wait"},
};
const struct option_group publish_group = {
    "Publishing", publish_option_table, COUNT(publish_option_table)};

bool publishing_possible(const struct publish_options *options)
{
    return options->server != NULL || options->powerdns != NULL;
}

static int check_options(const struct publish_options *options, struct dmsg_error *error)
{
    if ((options->server == NULL) == (options->powerdns == NULL))
        return dmsg_fail(error, DMSG_E_USAGE,
            "give one way to publish: --rfc2136 ADDR --tsig FILE, or --powerdns URL --api-key "
            "FILE");
    if ((options->server == NULL) != (options->tsig == NULL))
        return dmsg_fail(error, DMSG_E_USAGE, "--rfc2136 and --tsig go together");
    if ((options->powerdns == NULL) != (options->api_key == NULL))
        return dmsg_fail(error, DMSG_E_USAGE, "--powerdns and --api-key go together");
    if (options->ttl > RECORD_TTL_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "--ttl is at most %d seconds", RECORD_TTL_MAX);
    return 0;
}

/* ------------------------------------------------------------------------------------- deciding */

static bool is_listed(const struct dmsg_span *list, size_t count, struct dmsg_span record)
{
    for (size_t i = 0; i < count; i++) {
        if (dmsg_span_equal(list[i], record))
            return true;
    }
    return false;
}

/* What becomes of a record that is there. */
enum fate { STAYS, GOES, FOREIGN };

static enum fate fate_of(const struct publishing *publishing, struct dmsg_span record)
{
    bool retracting = publishing->wanted_count == 0;
    const struct dmsg_identity_key *key =
        publishing->identity != NULL ? own_records_match(publishing->identity, record) : NULL;
    if (is_listed(publishing->wanted, publishing->wanted_count, record))
        return STAYS;
    if (publishing->options->replace || is_listed(publishing->ours, publishing->ours_count, record))
        return GOES;
    if (key == NULL)
        return FOREIGN;
    /* What an old key signed is still to be verified: a rollover says when that is over. */
    return key->role == DMSG_KEY_OLD && !retracting ? STAYS : GOES;
}

static int fail_foreign(const struct publishing *publishing, struct dmsg_span record, size_t count,
    struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_LOCAL,
        "%s holds %zu record%s that %s not of its keys here (%u %u %u, %zu octets%s): nothing was "
        "changed. `danemsg lookup %s` shows what is there; --replace takes it out",
        publishing->name->text, count, count == 1 ? "" : "s", count == 1 ? "is" : "are",
        record.data[0], record.data[1], record.data[2], record.size, count == 1 ? "" : " and more",
        publishing->name->text);
}

static int keep(struct dmsg_record_set *set, struct dmsg_span record, struct dmsg_error *error)
{
    if (set->count == DMSG_ANSWER_RECORDS_MAX)
        return dmsg_fail(error, DMSG_E_LOCAL, "no reader takes more than %d records at a name",
            DMSG_ANSWER_RECORDS_MAX);
    set->records[set->count++] = record;
    return 0;
}

/* The set that is to be there afterwards; borrows its records. */
static int decide(struct dmsg_record_set *out, size_t *foreign, const struct publishing *publishing,
    const struct dmsg_record_set *before, struct dmsg_error *error)
{
    bool retracting = publishing->wanted_count == 0;
    struct dmsg_span first_foreign = {0};
    struct dmsg_record_set after = {.ttl = (uint32_t)publishing->options->ttl};
    int result = 0;
    *foreign = 0;
    for (size_t i = 0; i < publishing->wanted_count; i++)
        after.records[after.count++] = publishing->wanted[i];
    for (size_t i = 0; result == 0 && i < before->count; i++) {
        struct dmsg_span record = before->records[i];
        enum fate fate = fate_of(publishing, record);
        if (fate == FOREIGN && (*foreign)++ == 0)
            first_foreign = record;
        bool stays = fate == STAYS || (fate == FOREIGN && retracting);
        if (stays && !is_listed(publishing->wanted, publishing->wanted_count, record))
            result = keep(&after, record, error);
    }
    if (result == 0 && *foreign > 0 && !retracting)
        result = fail_foreign(publishing, first_foreign, *foreign, error);
    if (result < 0)
        return result;
    if (retracting)
        after.ttl = before->ttl; /* what is another's stays as it is */
    dmsg_record_set_sort(&after);
    *out = after;
    return 0;
}

static bool is_there(const struct dmsg_record_set *before, const struct dmsg_record_set *after)
{
    return dmsg_record_set_equal(before, after) && (after->count == 0 || before->ttl == after->ttl);
}

/* -------------------------------------------------------------------------------------- waiting */

struct watch {
    const struct publishing *publishing;
    const struct dmsg_record_set *wanted;
    int64_t begun, deadline; /* milliseconds */
    bool on_terminal;
    enum dmsg_dns_status status; /* of the last look-up */
    bool same;                   /* it showed the wanted records, whatever its status */
    char seen[300];              /* in words */
};

static void compare(struct watch *watch, const struct dmsg_peer *peer)
{
    size_t right = 0;
    for (size_t i = 0; i < peer->count; i++)
        right += dmsg_record_set_holds(watch->wanted, peer->keys[i].rdata);
    watch->status = peer->status;
    watch->same = peer->status != DMSG_DNS_NOT_NOW && peer->status != DMSG_DNS_BOGUS &&
                  right == peer->count && right == watch->wanted->count;
    const char *status = dns_status_word(peer->status);
    if (peer->why[0] != '\0')
        snprintf(watch->seen, sizeof watch->seen, "%s: %s", status, peer->why);
    else if (peer->count == 0)
        snprintf(watch->seen, sizeof watch->seen, "%s: %s", status,
            peer->nxdomain ? "no such name" : "no TLSA record");
    else
        snprintf(watch->seen, sizeof watch->seen, "%s: %zu of the %zu records, %zu other%s", status,
            right, watch->wanted->count, peer->count - right, peer->count - right == 1 ? "" : "s");
}

/* With a resolver of its own, whose cache knows nothing of before. */
static int look(struct watch *watch, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    const struct dmsg_peer *peer = NULL;
    int64_t left = watch->deadline - dmsg_now_ms();
    int timeout = left > LOOKUP_TIMEOUT ? LOOKUP_TIMEOUT : left > 0 ? (int)left : 0;
    int result = open_discovery(&discovery, &context, watch->publishing->dns, error);
    if (result < 0)
        return result;
    struct dmsg_error why;
    result = dmsg_discovery_find_fresh(discovery, watch->publishing->name, timeout, &peer, &why);
    if (result == 0) {
        compare(watch, peer);
    } else if (result == DMSG_E_DNS_TEMPORARY) {
        watch->status = DMSG_DNS_NOT_NOW;
        watch->same = false;
        if (watch->seen[0] == '\0') /* else an earlier look-up tells more */
            snprintf(watch->seen, sizeof watch->seen, "not-now: no answer");
    }
    dmsg_peer_release(peer);
    dmsg_discovery_free(&discovery);
    return result == 0 || result == DMSG_E_DNS_TEMPORARY ? 0
                                                         : dmsg_fail(error, result, "%s", why.text);
}

static void show_progress(const struct watch *watch, bool last)
{
    if (!watch->on_terminal)
        return;
    if (last)
        fprintf(stderr, "\r\033[K");
    else
        fprintf(stderr, "\r\033[K%s: waiting for DNS to show it, %lld s%s%.40s",
            watch->publishing->program, (long long)(dmsg_now_ms() - watch->begun) / 1000,
            watch->seen[0] != '\0' ? ": " : "", watch->seen);
    fflush(stderr);
}

static void pause_for(int64_t milliseconds)
{
    const struct timespec pause = dmsg_timespec(milliseconds);
    nanosleep(&pause, NULL);
}

static int watch_until_seen(struct watch *watch, struct dmsg_error *error)
{
    for (int64_t pause = PAUSE_FIRST;; pause = pause * 2 < PAUSE_MOST ? pause * 2 : PAUSE_MOST) {
        show_progress(watch, false);
        int result = look(watch, error);
        int64_t left = watch->deadline - dmsg_now_ms();
        if (result < 0 || watch->same || left <= 0)
            return result;
        pause_for(pause < left ? pause : left);
    }
}

/* Are there records, and all of a usage that its certificates vouch for, without DNSSEC? */
static bool stands_alone(const struct dmsg_record_set *set)
{
    for (size_t i = 0; i < set->count; i++) {
        if (set->records[i].data[0] != DMSG_PKIX_CD)
            return false;
    }
    return set->count > 0;
}

static int wait_until_seen(const struct publishing *publishing,
    const struct dmsg_record_set *wanted, struct published *out, struct dmsg_error *error)
{
    struct watch watch = {.publishing = publishing, .wanted = wanted, .begun = dmsg_now_ms()};
    watch.deadline = watch.begun + publishing->options->wait * 1000;
    watch.on_terminal = isatty(STDERR_FILENO) == 1;
    int result = watch_until_seen(&watch, error);
    show_progress(&watch, true);
    if (result < 0)
        return result;
    const char *done = out->changed ? "the change was made" : "there was nothing to change";
    if (!watch.same)
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "%s: %s at the server, and after %lld s a look-up does not show it yet (%s). The old "
            "answer may live in caches for %u s; `danemsg lookup %s` looks again",
            publishing->name->text, done, (long long)publishing->options->wait, watch.seen,
            out->ttl, publishing->name->text);
    out->secure = watch.status == DMSG_DNS_SECURE;
    if (!out->secure && !stands_alone(wanted))
        return dmsg_fail(error, DMSG_E_DNS_INSECURE,
            "%s: %s at the server and is seen, but nobody will believe it: the zone is not signed, "
            "or below no trust anchor",
            publishing->name->text, done);
    out->seen_at = time(NULL);
    return 0;
}

/* --------------------------------------------------------------------------------------- command
 */

static int change(const struct publishing *publishing, struct dmsg_publisher *publisher,
    struct dmsg_record_set *before, struct published *out, struct dmsg_error *error)
{
    struct dmsg_record_set after;
    int result = dmsg_publisher_read(publisher, publishing->name, before, error);
    if (result == 0)
        result = decide(&after, &out->foreign, publishing, before, error);
    if (result < 0)
        return result;
    out->ttl = before->ttl > before->negative_ttl ? before->ttl : before->negative_ttl;
    if (!is_there(before, &after)) {
        result = dmsg_publisher_change(publisher, publishing->name, before, &after, error);
        out->changed = result == 0;
    }
    if (result == 0 && publishing->options->wait > 0)
        result = wait_until_seen(publishing, &after, out, error);
    return result;
}

int publishing_apply(
    const struct publishing *publishing, struct published *out, struct dmsg_error *error)
{
    const struct publish_options *options = publishing->options;
    const struct dmsg_publisher_config config = {
        options->server, options->tsig, options->powerdns, options->api_key};
    DMSG_CLEANUP(dmsg_publisher_free) struct dmsg_publisher *publisher = NULL;
    DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set before = {0};
    *out = (struct published){0};
    int result = check_options(options, error);
    if (result == 0)
        result = dmsg_publisher_new(&publisher, &config, error);
    return result == 0 ? change(publishing, publisher, &before, out, error) : result;
}
