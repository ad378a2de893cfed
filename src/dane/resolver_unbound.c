#include "dane/resolver_unbound.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/setup.h"
#include "dane/setup_read.h"
#include "dane/signatures.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unbound.h>

enum { TYPE_DNSKEY = 48, TYPE_TLSA = 52, CLASS_IN = 1 };
enum { RCODE_NOERROR = 0, RCODE_SERVFAIL = 2, RCODE_NXDOMAIN = 3 };

/* A name below a zone of our own that no one else can have (RFC 6761 section 6.4). */
#define PING_ZONE "ping.danemsg.invalid."

struct dmsg_unbound {
    struct ub_ctx *context;
    struct dmsg_span setup; /* borrowed */
    bool use_system;
    bool system, root_anchor;
};

/* One question: freed by its callback, or left to the process's end with the context. */
struct query {
    const struct dmsg_unbound *unbound;
    struct dmsg_name name;
    int64_t asked_at; /* dmsg_now_ms */
    dmsg_unbound_done *done;
    void *user;
};

static const struct {
    const char *name, *value;
} options[] = {
    /* Special-use names (RFC 6761, RFC 8375) are answered by libunbound itself, unsigned, unless
       told otherwise; a site may sign a private zone there. Not .onion: RFC 7686 section 2. */
    {"local-zone:", "test. transparent"},
    {"local-zone:", "example. transparent"},
    {"local-zone:", "invalid. transparent"},
    {"local-zone:", "localhost. transparent"},
    {"local-zone:", "local. transparent"},
    {"local-zone:", "internal. transparent"},
    {"local-zone:", "home.arpa. transparent"},
    {"local-zone:", PING_ZONE " static"},
    {"do-not-query-localhost:", "no"},

    /* A stranger chooses names that do not exist yet and must not make us believe for long that
       they do not: no denial is kept, nor made up out of others (RFC 8198), beyond this. */
    {"cache-max-negative-ttl:", "5"},
    {"aggressive-nsec:", "no"},
    /* Signatures count for an hour beyond their dates, for clocks that are not exact; libunbound
       alone would allow a day. */
    {"val-sig-skew-max:", "3600"},
    /* What failed is tried again soon: a zone mended, a server or the network back. */
    {"val-bogus-ttl:", "10"},
    {"infra-host-ttl:", "5"},
    {"infra-keep-probing:", "yes"},
    /* An answer or none within the ten seconds of a question, on slow links too. */
    {"unknown-server-time-limit:", "376"},
    {"infra-cache-max-rtt:", "2000"},
    {"outbound-msg-retry:", "3"},

    /* Small: a receiver's peers, not a site's whole traffic. */
    {"msg-cache-size:", "1m"},
    {"rrset-cache-size:", "2m"},
    {"key-cache-size:", "1m"},
    {"neg-cache-size:", "256k"},
    {"infra-cache-numhosts:", "1000"},
    {"outgoing-range:", "128"},

    /* What a hostile zone may make of one question: a chain of that many aliases, that many packets
       for each of its parts, no addresses looked up before they are needed, a bogus answer tried at
       that many other servers. More hashing than this makes an NSEC3 denial insecure (RFC 9276
       section 3.2). No ratelimit: questions are counted before they come here. */
    {"max-query-restarts:", "8"},
    {"max-sent-count:", "24"},
    {"target-fetch-policy:", "0 0 0 0 0"},
    {"val-max-restart:", "3"},
    {"val-nsec3-keysize-iterations:", "1024 50 2048 50 4096 50"},
    /* Somebody guesses ids: forget what may have come from him. */
    {"unwanted-reply-threshold:", "10000"},
    /* Servers that hold a connection open do not hold all of them. */
    {"outgoing-num-tcp:", "32"},

    /* Tells strangers nothing that the question itself does not. */
    {"trust-anchor-signaling:", "no"},
    {"qname-minimisation:", "yes"},
};

/* ----------------------------------------------------------------------------------- setting up */

static int fail_unbound(struct dmsg_error *error, const char *what, int code)
{
    return dmsg_fail(error, DMSG_E_INTERNAL, "libunbound: %.200s: %s", what, ub_strerror(code));
}

static int set_options(struct ub_ctx *context, struct dmsg_error *error)
{
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        int code = ub_ctx_set_option(context, options[i].name, options[i].value);
        if (code != 0)
            return fail_unbound(error, options[i].name, code);
    }
    return 0;
}

/* "ZONE=ADDR". The zone is asked there even if it lies in one that libunbound answers itself. */
static int add_stub(struct ub_ctx *context, char *text, struct dmsg_error *error)
{
    char local[DMSG_ZONE_TEXT + sizeof " transparent"];
    char zone[DMSG_ZONE_TEXT];
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return dmsg_fail(error, DMSG_E_FORMAT, "a stub without a server");
    *equals = '\0';
    if (dmsg_zone_parse(zone, dmsg_span_text(text), error) < 0 ||
        !dmsg_address_valid(dmsg_span_text(equals + 1)))
        return dmsg_fail(error, DMSG_E_FORMAT, "a stub that is none");
    snprintf(local, sizeof local, "%s transparent", zone);
    int code = ub_ctx_set_option(context, "local-zone:", local);
    if (code == 0) /* it may delegate to where shut_in forbids */
        code = ub_ctx_set_option(context, "private-domain:", zone);
    if (code == 0)
        code = ub_ctx_set_stub(context, zone, equals + 1, 0);
    return code == 0 ? 0 : fail_unbound(error, "a stub", code);
}

static int add_server(struct ub_ctx *context, const char *address, struct dmsg_error *error)
{
    if (!dmsg_address_valid(dmsg_span_text(address)))
        return dmsg_fail(error, DMSG_E_FORMAT, "a server that has no address");
    int code = ub_ctx_set_fwd(context, address);
    return code == 0 ? 0 : fail_unbound(error, "a server", code);
}

/* A stranger's zone has no business in the networks that only this host reaches (RFC 1918, RFC
   6598, RFC 4193, the loopback and link-local ones, multicast, what a NAT64 gateway would make of
   an address there): its name servers' addresses there are not used. */
static int shut_in(struct ub_ctx *context, struct dmsg_error *error)
{
    static const char *const networks[] = {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10",
        "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3",
        "::1/128", "::ffff:0:0/96", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"};
    for (size_t i = 0; i < sizeof networks / sizeof networks[0]; i++) {
        int code = ub_ctx_set_option(context, "private-address:", networks[i]);
        if (code != 0)
            return fail_unbound(error, "private-address:", code);
    }
    return 0;
}

static int add_item(struct dmsg_unbound *unbound, struct dmsg_setup_item *item, bool use_system,
    struct dmsg_error *error)
{
    int code;
    switch (item->kind) {
    case DMSG_SETUP_STUB:
        return add_stub(unbound->context, item->text, error);
    case DMSG_SETUP_SYSTEM:
        if (!use_system)
            return 0;
        unbound->system = true;
        return add_server(unbound->context, item->text, error);
    case DMSG_SETUP_SERVER:
        return add_server(unbound->context, item->text, error);
    case DMSG_SETUP_ANCHOR:
        unbound->root_anchor |= item->text[0] == '.';
        code = ub_ctx_add_ta(unbound->context, item->text);
        return code == 0 ? 0 : fail_unbound(error, "a trust anchor", code);
    case DMSG_SETUP_KEEP:
        unbound->root_anchor = true;
        code = ub_ctx_add_ta_autr(unbound->context, item->text);
        return code == 0 ? 0 : fail_unbound(error, "a kept trust anchor", code);
    case DMSG_SETUP_FOR_STRANGERS:
        return shut_in(unbound->context, error);
    }
    return dmsg_fail(error, DMSG_E_FORMAT, "a setup item of no kind");
}

static int add_items(
    struct dmsg_unbound *unbound, struct dmsg_span setup, bool use_system, struct dmsg_error *error)
{
    struct dmsg_setup_item item;
    int more;
    size_t count = 0;
    while ((more = dmsg_setup_take(&item, &setup, error)) == 1) {
        if (++count > DMSG_SETUP_ITEMS_MAX)
            return dmsg_fail(
                error, DMSG_E_FORMAT, "more than %d setup items", DMSG_SETUP_ITEMS_MAX);
        int result = add_item(unbound, &item, use_system, error);
        if (result < 0)
            return result;
    }
    return more;
}

int dmsg_unbound_new(
    struct dmsg_unbound **out, struct dmsg_span setup, bool use_system, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_unbound_free) struct dmsg_unbound *unbound = calloc(1, sizeof *unbound);
    if (unbound == NULL)
        return dmsg_fail_memory(error);
    unbound->setup = setup;
    unbound->use_system = use_system;
    unbound->context = ub_ctx_create();
    if (unbound->context == NULL)
        return dmsg_fail(error, DMSG_E_INTERNAL, "libunbound: no memory for a context");
    ub_ctx_debugout(unbound->context, NULL); /* what it has to say comes with the answers */
    int result = set_options(unbound->context, error);
    if (result == 0)
        result = add_items(unbound, setup, use_system, error);
    if (result < 0)
        return result;
    int code = ub_ctx_async(unbound->context, 1);
    if (code != 0)
        return fail_unbound(error, "a thread", code);
    *out = unbound;
    unbound = NULL;
    return 0;
}

void dmsg_unbound_free(struct dmsg_unbound **unbound)
{
    if (*unbound == NULL)
        return;
    if ((*unbound)->context != NULL)
        ub_ctx_delete((*unbound)->context);
    free(*unbound);
    *unbound = NULL;
}

int dmsg_unbound_fd(const struct dmsg_unbound *unbound)
{
    return ub_fd(unbound->context);
}

int dmsg_unbound_process(struct dmsg_unbound *unbound, struct dmsg_error *error)
{
    int code = ub_process(unbound->context);
    return code == 0 ? 0 : fail_unbound(error, "reading answers", code);
}

bool dmsg_unbound_can_probe(const struct dmsg_unbound *unbound)
{
    return unbound->system && unbound->root_anchor;
}

/* -------------------------------------------------------------------------------------- answers */

/* A key only ever comes out of SECURE: no error, an answer or a proven denial, validated here. */
static enum dmsg_dns_status status_of(int error, const struct ub_result *result)
{
    if (error != 0 || result == NULL)
        return DMSG_DNS_NOT_NOW;
    if (result->bogus)
        return DMSG_DNS_BOGUS;
    if (result->rcode != RCODE_NOERROR && result->rcode != RCODE_NXDOMAIN)
        return DMSG_DNS_NOT_NOW;
    return result->secure ? DMSG_DNS_SECURE : DMSG_DNS_INSECURE;
}

static int compare_spans(const void *left, const void *right)
{
    const struct dmsg_span *a = left, *b = right;
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);
    if (order != 0)
        return order;
    return (a->size > b->size) - (a->size < b->size);
}

/* The first DMSG_ANSWER_RECORDS_MAX by their rdata; oversized ones are counted, repetitions left
   out. The answers of a zone come in any order, and everybody shall see the same ones. */
static void take_records(struct dmsg_answer *answer, const struct ub_result *result)
{
    size_t count = 0, all = 0;
    while (result->data[all] != NULL)
        all++;
    struct dmsg_span *records = calloc(all > 0 ? all : 1, sizeof *records);
    if (records == NULL) {
        answer->status = DMSG_DNS_NOT_NOW;
        return;
    }
    for (size_t i = 0; i < all; i++) {
        if (result->len[i] > 0 && result->len[i] <= DMSG_TLSA_RDATA_MAX)
            records[count++] =
                (struct dmsg_span){(const uint8_t *)result->data[i], (size_t)result->len[i]};
        else if (result->len[i] > 0 && answer->oversized < UINT8_MAX)
            answer->oversized++;
    }
    qsort(records, count, sizeof *records, compare_spans);
    for (size_t i = 0; i < count && answer->count < DMSG_ANSWER_RECORDS_MAX; i++) {
        if (i == 0 || compare_spans(&records[i - 1], &records[i]) != 0)
            answer->records[answer->count++] = records[i];
    }
    free(records);
}

static void explain(struct dmsg_answer *answer, int error, const struct ub_result *result)
{
    char text[sizeof answer->why];
    if (answer->status == DMSG_DNS_BOGUS)
        snprintf(text, sizeof text, "%s",
            result->why_bogus != NULL ? result->why_bogus
                                      : "the DNSSEC signatures do not validate");
    else if (answer->status != DMSG_DNS_NOT_NOW)
        return;
    else if (error != 0 || result == NULL)
        snprintf(text, sizeof text, "libunbound: %s", ub_strerror(error));
    else
        snprintf(text, sizeof text,
            "the name servers do not answer, or nothing that can be used (rcode %d%s)%s%s",
            result->rcode, result->rcode == RCODE_SERVFAIL ? ", SERVFAIL" : "",
            result->why_bogus != NULL ? ": " : "",
            result->why_bogus != NULL ? result->why_bogus : "");
    dmsg_printable(answer->why, sizeof answer->why, dmsg_span_text(text));
}

/* Whole seconds are counted, from a moment that is not known. */
#define LAG 1

/* What is older than its question was in a cache. The proofs of a denial may be in libunbound's own
   one for another name's sake, which says nothing of this name; whether a resolver that was asked
   had the denial cannot be told from that, and is assumed. */
static void read_signatures(
    struct dmsg_answer *answer, struct dmsg_span packet, const struct query *query)
{
    struct dmsg_signatures read;
    dmsg_signatures_read(&read, packet, time(NULL));
    uint32_t age = read.records_age;
    const struct dmsg_unbound *unbound = query->unbound;
    if (dmsg_setup_forwards(unbound->setup, unbound->use_system, &query->name) &&
        read.proofs_age > age)
        age = read.proofs_age;
    answer->signed_until = read.until;
    if (age > (dmsg_now_ms() - query->asked_at) / 1000 + LAG)
        answer->cached_for = read.left > 0 ? read.left : 1;
}

static void make_answer(struct dmsg_answer *answer, int error, const struct ub_result *result,
    const struct query *query)
{
    answer->status = status_of(error, result);
    explain(answer, error, result);
    if (answer->status == DMSG_DNS_NOT_NOW)
        return;
    answer->ttl = result->ttl > 0 ? (uint32_t)result->ttl : 0;
    answer->nxdomain = result->rcode == RCODE_NXDOMAIN;
    if (result->canonname != NULL) /* else, or when it is no name as ours, the name itself */
        (void)!dmsg_name_parse(&answer->canonical, dmsg_span_text(result->canonname), NULL);
    if (!answer->nxdomain && result->havedata && result->data != NULL)
        take_records(answer, result);
    struct dmsg_span packet = {
        result->answer_packet, result->answer_len > 0 ? (size_t)result->answer_len : 0};
    if (answer->status == DMSG_DNS_SECURE && packet.data != NULL)
        read_signatures(answer, packet, query);
}

static void on_result(void *user, int error, struct ub_result *result)
{
    struct query *query = user;
    struct dmsg_answer answer = {.name = query->name, .canonical = query->name};
    make_answer(&answer, error, result, query);
    dmsg_setup_via(answer.via, query->unbound->setup, query->unbound->use_system, &query->name);
    query->done(query->user, &answer);
    ub_resolve_free(result);
    free(query);
}

static int ask(struct dmsg_unbound *unbound, const char *text, int type,
    const struct dmsg_name *name, dmsg_unbound_done *done, void *user, struct dmsg_error *error)
{
    struct query *query = calloc(1, sizeof *query);
    if (query == NULL)
        return dmsg_fail_memory(error);
    if (name != NULL)
        query->name = *name;
    query->unbound = unbound;
    query->asked_at = dmsg_now_ms();
    query->done = done;
    query->user = user;
    int code = ub_resolve_async(unbound->context, text, type, CLASS_IN, query, on_result, NULL);
    if (code == 0)
        return 0;
    free(query);
    return fail_unbound(error, "asking", code);
}

int dmsg_unbound_ask(struct dmsg_unbound *unbound, const struct dmsg_name *name,
    dmsg_unbound_done *done, void *user, struct dmsg_error *error)
{
    char absolute[DMSG_NAME_TEXT + 1];
    snprintf(absolute, sizeof absolute, "%s.", name->text);
    return ask(unbound, absolute, TYPE_TLSA, name, done, user, error);
}

int dmsg_unbound_ping(
    struct dmsg_unbound *unbound, dmsg_unbound_done *done, void *user, struct dmsg_error *error)
{
    return ask(unbound, PING_ZONE, TYPE_TLSA, NULL, done, user, error);
}

int dmsg_unbound_probe(
    struct dmsg_unbound *unbound, dmsg_unbound_done *done, void *user, struct dmsg_error *error)
{
    return ask(unbound, ".", TYPE_DNSKEY, NULL, done, user, error);
}
