/*
 * Dynamic updates (RFC 2136) with TSIG, over TCP. libldns writes messages and reads answers; it
 * reads only what the TSIG key has signed.
 */
/* clang-format off: ldns's headers name types that OpenSSL 3 calls deprecated. */
#undef OPENSSL_NO_DEPRECATED
#include <ldns/ldns.h>
/* clang-format on */

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/publish_internal.h"

#include <string.h>
#include <time.h>

/* Milliseconds for one question: a primary that signs a large zone as it changes takes seconds. */
#define TIMEOUT 20000

/* Fields of a SOA record (RFC 1035 section 3.3.13); the last is the negative TTL. */
#define SOA_FIELDS 7

/* In the header of a message (RFC 1035 section 4.1.1). */
#define IS_ANSWER 0x80
#define RCODE 0x0f

DMSG_DEFINE_CLEANUP(free_packet, ldns_pkt *, ldns_pkt_free)
DMSG_DEFINE_CLEANUP(free_list, ldns_rr_list *, ldns_rr_list_deep_free)
DMSG_DEFINE_CLEANUP(free_rdf, ldns_rdf *, ldns_rdf_deep_free)

static unsigned rcode_of(const struct dmsg_buffer *answer)
{
    return answer->data[3] & RCODE;
}

/* ------------------------------------------------------------------------------ what went wrong */

static const struct {
    unsigned rcode; /* RFC 1035 section 4.1.1, RFC 2136 section 2.2 */
    int code;
    const char *text;
} refusals[] = {
    {LDNS_RCODE_FORMERR, DMSG_E_LOCAL, "it could not read the question (FORMERR)"},
    {LDNS_RCODE_SERVFAIL, DMSG_E_DNS_TEMPORARY,
        "it failed (SERVFAIL): its log says why; try again later"},
    {LDNS_RCODE_NOTIMPL, DMSG_E_LOCAL,
        "it does no dynamic updates (NOTIMP): name the zone's primary server, and allow updates "
        "there"},
    {LDNS_RCODE_REFUSED, DMSG_E_LOCAL,
        "it refused (REFUSED): it must be the zone's primary server and let this TSIG key change "
        "TLSA records at the name"},
    {LDNS_RCODE_NXDOMAIN, DMSG_E_DNS_TEMPORARY,
        "the name went meanwhile (NXDOMAIN): nothing was changed; run it again"},
    {LDNS_RCODE_YXDOMAIN, DMSG_E_DNS_TEMPORARY,
        "the name came meanwhile (YXDOMAIN): nothing was changed; run it again"},
    {LDNS_RCODE_YXRRSET, DMSG_E_DNS_TEMPORARY,
        "other records came to be there meanwhile (YXRRSET): nothing was changed; run it again"},
    {LDNS_RCODE_NXRRSET, DMSG_E_DNS_TEMPORARY,
        "the records changed meanwhile (NXRRSET): nothing was changed; "
        "run it again"},
    {LDNS_RCODE_NOTAUTH, DMSG_E_LOCAL,
        "it is not the primary server of the zone, or does not know the TSIG key (NOTAUTH)"},
    {LDNS_RCODE_NOTZONE, DMSG_E_LOCAL, "the name is not inside the zone (NOTZONE)"},
};

static int fail_rcode(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    unsigned rcode, const char *hint, struct dmsg_error *error)
{
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        if (refusals[i].rcode == rcode)
            return dmsg_fail(error, refusals[i].code, "%s at the DNS server %s: %s%s", name->text,
                publisher->server, refusals[i].text, hint);
    }
    return dmsg_fail(error, DMSG_E_LOCAL, "%s at the DNS server %s: it refused with code %u%s",
        name->text, publisher->server, rcode, hint);
}

/* An answer that the key does not vouch for: what it says is only a hint for the person. */
static int fail_unverified(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_tsig_answer *tsig, unsigned rcode, struct dmsg_error *error)
{
    const char *key = publisher->tsig.name, *server = publisher->server;
    int size = (int)strlen(key) - 1; /* without its final dot */
    char hint[DMSG_NAME_TEXT + 64];
    if (tsig->error == DMSG_TSIG_BADKEY)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the DNS server %s does not know the TSIG key '%.*s' with %s, or does not allow it for "
            "%s (BADKEY): put the key into its configuration, or use the file that was made for it",
            server, size, key, dmsg_tsig_algorithm_name(publisher->tsig.algorithm), name->text);
    if (tsig->error == DMSG_TSIG_BADSIG)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the DNS server %s has another secret for the TSIG key '%.*s' (BADSIG): use the file "
            "that was made for it",
            server, size, key);
    if (tsig->error == DMSG_TSIG_BADTIME || tsig->verdict == DMSG_TSIG_UNTIMELY)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the clocks here and at the DNS server %s are more than five minutes apart (BADTIME): "
            "set them",
            server);
    if (rcode == LDNS_RCODE_NOERROR)
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "the answer of the DNS server %s is not signed with the TSIG key '%.*s', and not "
            "believed: is it the server that has the key?",
            server, size, key);
    snprintf(hint, sizeof hint, "; its answer is not signed with the TSIG key '%.*s'", size, key);
    return fail_rcode(publisher, name, rcode, hint, error);
}

/* ----------------------------------------------------------------------------------- questions */

static int put_signed(struct dmsg_buffer *out, struct dmsg_tsig_mac *mac,
    const struct dmsg_publisher *publisher, const ldns_pkt *packet, struct dmsg_error *error)
{
    uint8_t *wire = NULL;
    size_t size;
    if (ldns_pkt2wire(&wire, packet, &size) != LDNS_STATUS_OK)
        return dmsg_fail(error, DMSG_E_INTERNAL, "writing a DNS message");
    dmsg_buffer_put(out, wire, size);
    LDNS_FREE(wire);
    if (out->failed)
        return dmsg_fail_memory(error);
    return dmsg_tsig_sign(out, &publisher->tsig, time(NULL), mac, error);
}

/* Asks; an answer that comes back is the server's, signed with the key. */
static int ask(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    ldns_pkt *packet, struct dmsg_buffer *answer, bool *sent, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer question = {.limit = UINT16_MAX};
    struct dmsg_tsig_mac mac;
    struct dmsg_tsig_answer tsig;
    ldns_pkt_set_random_id(packet);
    int result = put_signed(&question, &mac, publisher, packet, error);
    if (result == 0)
        result = dmsg_tcp_exchange(
            answer, publisher->server, dmsg_buffer_span(&question), TIMEOUT, sent, error);
    if (result == 0)
        result = dmsg_tsig_verify(
            &tsig, dmsg_buffer_span(answer), &publisher->tsig, time(NULL), &mac, error);
    if (result < 0)
        return result;
    bool ours = memcmp(answer->data, question.data, 2) == 0 && (answer->data[2] & IS_ANSWER) != 0;
    if (!ours || tsig.verdict != DMSG_TSIG_GOOD || tsig.error != 0)
        return fail_unverified(publisher, name, &tsig, rcode_of(answer), error);
    return 0;
}

/* ------------------------------------------------------------------------------------- reading */

/* owner: the name, or that of its zone. */
static int ask_for(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const ldns_rdf *owner, ldns_rr_type type, ldns_pkt **out, struct dmsg_error *error)
{
    ldns_rdf *owned = ldns_rdf_clone(owner); /* the packet's */
    DMSG_CLEANUP(free_packet) ldns_pkt *packet = NULL;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
    bool sent;
    if (owned != NULL)
        packet = ldns_pkt_query_new(owned, type, LDNS_RR_CLASS_IN, 0);
    if (packet == NULL) {
        ldns_rdf_deep_free(owned);
        return dmsg_fail_memory(error);
    }
    ldns_pkt_set_edns_do(packet, true);
    int result = ask(publisher, name, packet, &answer, &sent, error);
    if (result < 0)
        return result;
    unsigned rcode = rcode_of(&answer);
    if (rcode != LDNS_RCODE_NOERROR && rcode != LDNS_RCODE_NXDOMAIN)
        return fail_rcode(publisher, name, rcode, "", error);
    if (ldns_wire2pkt(out, answer.data, answer.size) != LDNS_STATUS_OK)
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "the answer of the DNS server %s cannot be read", publisher->server);
    return 0;
}

/* The SOA record of the zone that holds a name: of the answer at the zone's apex, else the one that
   denies the question (RFC 2308 section 2). NULL: the server does not have the zone. */
static const ldns_rr *find_soa(const ldns_pkt *packet, const ldns_rdf *name)
{
    const ldns_rr_list *sections[] = {ldns_pkt_answer(packet), ldns_pkt_authority(packet)};
    for (size_t s = 0; ldns_pkt_aa(packet) && s < 2; s++) {
        for (size_t i = 0; i < ldns_rr_list_rr_count(sections[s]); i++) {
            const ldns_rr *rr = ldns_rr_list_rr(sections[s], i);
            const ldns_rdf *owner = ldns_rr_owner(rr);
            if (ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == SOA_FIELDS &&
                (ldns_dname_compare(owner, name) == 0 || ldns_dname_is_subdomain(name, owner)))
                return rr;
        }
    }
    return NULL;
}

static bool is_at(const ldns_rr *rr, ldns_rr_type type, const ldns_rdf *name)
{
    return ldns_rr_get_type(rr) == type && ldns_dname_compare(ldns_rr_owner(rr), name) == 0;
}

static bool has_alias(const ldns_pkt *packet, const ldns_rdf *name)
{
    const ldns_rr_list *answer = ldns_pkt_answer(packet);
    for (size_t i = 0; i < ldns_rr_list_rr_count(answer); i++) {
        if (is_at(ldns_rr_list_rr(answer, i), LDNS_RR_TYPE_CNAME, name))
            return true;
    }
    return false;
}

/* The zone of a name. */
static int find_zone(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    ldns_rdf **zone, struct dmsg_error *error)
{
    DMSG_CLEANUP(free_packet) ldns_pkt *packet = NULL;
    DMSG_CLEANUP(free_rdf) ldns_rdf *wanted = ldns_dname_new_frm_str(name->text);
    int result = wanted == NULL
                     ? dmsg_fail_memory(error)
                     : ask_for(publisher, name, wanted, LDNS_RR_TYPE_SOA, &packet, error);
    if (result < 0)
        return result;
    const ldns_rr *soa = find_soa(packet, wanted);
    if (has_alias(packet, wanted))
        return dmsg_fail_alias(name, error);
    if (soa == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the DNS server %s has no zone with %s in it: name the primary server of the zone",
            publisher->server, name->text);
    *zone = ldns_rdf_clone(ldns_rr_owner(soa));
    return *zone == NULL ? dmsg_fail_memory(error) : 0;
}

/* How long a zone lets a denial live (RFC 2308 section 5). Asked at its apex, since the record
   that denies a question for SOA may have a TTL of 0 (section 6). */
static int read_denial(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const ldns_rdf *zone, uint32_t *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(free_packet) ldns_pkt *packet = NULL;
    int result = ask_for(publisher, name, zone, LDNS_RR_TYPE_SOA, &packet, error);
    const ldns_rr *soa = result == 0 ? find_soa(packet, zone) : NULL;
    if (soa != NULL) {
        uint32_t minimum = ldns_rdf2native_int32(ldns_rr_rdf(soa, SOA_FIELDS - 1));
        *out = minimum < ldns_rr_ttl(soa) ? minimum : ldns_rr_ttl(soa);
    }
    return result;
}

/* Copies the rdata of one record. */
static int add_record(struct dmsg_record_set *set, const ldns_rr *rr, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer rdata = {0};
    for (size_t i = 0; i < ldns_rr_rd_count(rr); i++)
        dmsg_buffer_put(
            &rdata, ldns_rdf_data(ldns_rr_rdf(rr, i)), ldns_rdf_size(ldns_rr_rdf(rr, i)));
    return rdata.failed ? dmsg_fail_memory(error)
                        : dmsg_record_set_add(set, dmsg_buffer_span(&rdata), error);
}

/* Made from a wildcard's records, as their signature tells (RFC 4035 section 5.3.4)? Then none are
   at the name itself, and an update sees none. */
static bool is_from_wildcard(const ldns_rr *rr, const ldns_rdf *owner)
{
    const ldns_rdf *labels = is_at(rr, LDNS_RR_TYPE_RRSIG, owner) ? ldns_rr_rrsig_labels(rr) : NULL;
    return labels != NULL && ldns_rdf2native_int8(labels) < ldns_dname_label_count(owner);
}

static int read_records(const struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(free_packet) ldns_pkt *packet = NULL;
    DMSG_CLEANUP(free_rdf) ldns_rdf *owner = ldns_dname_new_frm_str(name->text);
    bool wildcard = false;
    int result = owner == NULL ? dmsg_fail_memory(error)
                               : ask_for(publisher, name, owner, LDNS_RR_TYPE_TLSA, &packet, error);
    for (size_t i = 0; result == 0 && i < ldns_rr_list_rr_count(ldns_pkt_answer(packet)); i++) {
        const ldns_rr *rr = ldns_rr_list_rr(ldns_pkt_answer(packet), i);
        wildcard |= is_from_wildcard(rr, owner);
        if (!is_at(rr, LDNS_RR_TYPE_TLSA, owner))
            continue;
        out->ttl = ldns_rr_ttl(rr);
        result = add_record(out, rr, error);
    }
    if (wildcard)
        out->count = out->ttl = 0;
    return result;
}

int dmsg_update_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(free_rdf) ldns_rdf *zone = NULL;
    int result = find_zone(publisher, name, &zone, error);
    if (result == 0)
        result = dmsg_record_set_begin(out, UINT16_MAX, error);
    if (result == 0)
        result = read_denial(publisher, name, zone, &out->negative_ttl, error);
    return result == 0 ? read_records(publisher, name, out, error) : result;
}

/* ------------------------------------------------------------------------------------- changing */

/* A record of an update: of class ANY or NONE it says what is to go or what must not be there
   (RFC 2136 sections 2.4 and 2.5). rdata may be empty. */
struct line {
    ldns_rr_class class;
    ldns_rr_type type;
    uint32_t ttl;
    struct dmsg_span rdata;
};

static int push(ldns_rr_list *list, const struct dmsg_name *name, const struct line *line,
    struct dmsg_error *error)
{
    ldns_rr *rr = ldns_rr_new();
    ldns_rdf *owner = ldns_dname_new_frm_str(name->text);
    ldns_rdf *rdata = line->rdata.size > 0 ? ldns_rdf_new_frm_data(LDNS_RDF_TYPE_UNKNOWN,
                                                 line->rdata.size, line->rdata.data)
                                           : NULL;
    if (rr == NULL || owner == NULL || (line->rdata.size > 0 && rdata == NULL)) {
        ldns_rr_free(rr);
        ldns_rdf_deep_free(owner);
        ldns_rdf_deep_free(rdata);
        return dmsg_fail_memory(error);
    }
    ldns_rr_set_owner(rr, owner);
    ldns_rr_set_type(rr, line->type);
    ldns_rr_set_class(rr, line->class);
    ldns_rr_set_ttl(rr, line->ttl);
    bool pushed = (rdata == NULL || ldns_rr_push_rdf(rr, rdata)) && ldns_rr_list_push_rr(list, rr);
    if (!pushed)
        ldns_rr_free(rr);
    return pushed ? 0 : dmsg_fail_memory(error);
}

static int push_set(ldns_rr_list *list, const struct dmsg_name *name,
    const struct dmsg_record_set *set, uint32_t ttl, struct dmsg_error *error)
{
    int result = 0;
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        const struct line line = {LDNS_RR_CLASS_IN, LDNS_RR_TYPE_TLSA, ttl, set->records[i]};
        result = push(list, name, &line, error);
    }
    return result;
}

/* The set is still what it was; and there is no alias, beside which a server drops what is added
   without a word (RFC 2136 section 3.4.2.2). */
static int push_prerequisites(ldns_rr_list *list, const struct dmsg_name *name,
    const struct dmsg_record_set *before, struct dmsg_error *error)
{
    const struct line no_alias = {.class = LDNS_RR_CLASS_NONE, .type = LDNS_RR_TYPE_CNAME};
    const struct line no_set = {.class = LDNS_RR_CLASS_NONE, .type = LDNS_RR_TYPE_TLSA};
    int result = push(list, name, &no_alias, error);
    if (result == 0 && before->count == 0)
        return push(list, name, &no_set, error);
    return result == 0 ? push_set(list, name, before, 0, error) : result;
}

/* Updates are processed in their order, all or none (RFC 2136 section 3.4). */
static int push_updates(ldns_rr_list *list, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error)
{
    const struct line clear = {.class = LDNS_RR_CLASS_ANY, .type = LDNS_RR_TYPE_TLSA};
    int result = before->count > 0 ? push(list, name, &clear, error) : 0;
    return result == 0 ? push_set(list, name, wanted, wanted->ttl, error) : result;
}

static int make_update(ldns_pkt **out, const ldns_rdf *zone, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(free_list) ldns_rr_list *prerequisites = ldns_rr_list_new();
    DMSG_CLEANUP(free_list) ldns_rr_list *updates = ldns_rr_list_new();
    ldns_rdf *owned = ldns_rdf_clone(zone); /* the packet's */
    int result = 0;
    if (prerequisites == NULL || updates == NULL || owned == NULL)
        result = dmsg_fail_memory(error);
    if (result == 0)
        result = push_prerequisites(prerequisites, name, before, error);
    if (result == 0)
        result = push_updates(updates, name, before, wanted, error);
    if (result == 0)
        *out = ldns_update_pkt_new(owned, LDNS_RR_CLASS_IN, prerequisites, updates, NULL);
    if (result == 0 && *out == NULL)
        result = dmsg_fail_memory(error);
    if (result < 0)
        ldns_rdf_deep_free(owned);
    return result;
}

int dmsg_update_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(free_rdf) ldns_rdf *zone = NULL;
    DMSG_CLEANUP(free_packet) ldns_pkt *packet = NULL;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
    struct dmsg_error why;
    bool sent = false;
    int result = find_zone(publisher, name, &zone, error);
    if (result == 0)
        result = make_update(&packet, zone, name, before, wanted, error);
    if (result < 0)
        return result;
    result = ask(publisher, name, packet, &answer, &sent, &why);
    if (sent && result == DMSG_E_DNS_TEMPORARY)
        return dmsg_fail_unsure(error, &why);
    if (result < 0)
        return dmsg_fail(error, result, "%s", why.text);
    unsigned rcode = rcode_of(&answer);
    return rcode == LDNS_RCODE_NOERROR ? 0 : fail_rcode(publisher, name, rcode, "", error);
}
