#include "dane/tlsa.h"
#include "describe.h"
#include "lookup.h"
#include "x509/certificate.h"

#include "base/cleanup.h"

#define INDENT 2

/* Octets of a digest that are shown: SHA-512. */
#define DIGEST_MAX 64

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

/* ---------------------------------------------------------------------------------- the request */

static void put_status(struct dmsg_buffer *out, const struct dmsg_peer *peer)
{
    if (peer->status == DMSG_DNS_SECURE)
        describe_field(
            out, INDENT, "DNS", "secure: signed with DNSSEC, and the signatures validated here");
    else
        describe_field(out, INDENT, "DNS", "%s: %s",
            peer->status == DMSG_DNS_NOT_NOW ? "no answer now" : dns_status_word(peer->status),
            peer->why);
}

static void put_times(struct dmsg_buffer *out, const struct lookup_view *view)
{
    const struct dmsg_peer *peer = view->peer;
    char asked[32], until[32], span[32];
    time_text(asked, peer->fetched_at);
    describe_field(out, INDENT, "asked", "%s%s%s%s", peer->via,
        peer->via[0] != '\0' ? ", at " : "at ", asked,
        peer->from_cache ? "; a cache on the way had it" : "");
    if (peer->status == DMSG_DNS_NOT_NOW || peer->status == DMSG_DNS_BOGUS)
        return;
    describe_field(out, INDENT, "TTL", "%u s%s", peer->ttl,
        peer->stale ? ", used beyond it since DNS gives no answer" : "");
    if (peer->signed_until == 0)
        return;
    time_text(until, peer->signed_until);
    if (view->now >= peer->signed_until) {
        describe_field(out, INDENT, "signed until",
            "%s, which has passed; signatures count for an hour longer, for clocks that are not "
            "exact",
            until);
        return;
    }
    duration_text(span, peer->signed_until - view->now);
    describe_field(out, INDENT, "signed until", "%s, another %s", until, span);
}

static void put_sandbox(struct dmsg_buffer *out, int held)
{
    static const char *const words[] = {
        "none: this system has neither seccomp nor Landlock for the process that asked",
        [DMSG_SANDBOX_SECCOMP] = "seccomp holds the process that asked; there is no Landlock",
        [DMSG_SANDBOX_LANDLOCK] = "Landlock holds the process that asked; there is no seccomp",
        [DMSG_SANDBOX_SECCOMP | DMSG_SANDBOX_LANDLOCK] =
            "seccomp and Landlock hold the process that asked"};
    if (held >= 0)
        describe_field(out, INDENT, "sandbox", "%s", words[held]);
}

static void put_counts(struct dmsg_buffer *out, const struct dmsg_peer *peer)
{
    size_t verify = lookup_count(peer, DMSG_FOR_SIGNATURES);
    size_t encrypt = lookup_count(peer, DMSG_FOR_ENCRYPTION);
    if (peer->count > 0 && (peer->status == DMSG_DNS_SECURE || verify + encrypt > 0))
        describe_field(out, INDENT, "TLSA records", "%zu: %zu can verify, %zu can be encrypted to",
            peer->count, verify, encrypt);
    else if (peer->count > 0)
        describe_field(out, INDENT, "TLSA records", "%zu, which nobody vouches for", peer->count);
    else if (peer->status == DMSG_DNS_SECURE && peer->oversized == 0)
        describe_field(out, INDENT, "TLSA records", "none, and DNS proves it: %s", peer->why);
    if (peer->oversized > 0)
        describe_field(out, INDENT, peer->count > 0 ? "" : "TLSA records",
            "%zu of over %d octets, not read", peer->oversized, DMSG_TLSA_RDATA_MAX);
    if (peer->count == DMSG_ANSWER_RECORDS_MAX)
        describe_field(out, INDENT, "", "more than these %d are not read", DMSG_ANSWER_RECORDS_MAX);
}

static void put_request(struct dmsg_buffer *out, const struct lookup_view *view)
{
    const struct dmsg_peer *peer = view->peer;
    put_status(out, peer);
    put_times(out, view);
    put_sandbox(out, view->sandbox);
    if (!dmsg_name_equal(&peer->name, &peer->canonical))
        describe_field(out, INDENT, "alias of", "%s (CNAME); the identity stays %s",
            peer->canonical.text, peer->name.text);
    put_counts(out, peer);
}

/* ----------------------------------------------------------------------------------- one record */

static void put_purpose(struct dmsg_buffer *out, const struct dmsg_peer_key *key, const char *label,
    enum dmsg_key_purpose purpose, const char *more)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer why = {0};
    bool can = lookup_can(key, purpose);
    lookup_put_reason(&why, key, purpose);
    out->failed |= why.failed;
    describe_field(out, INDENT, label, "%s%s: %.*s", can ? "yes" : "no", more, (int)why.size,
        (const char *)why.data);
}

static void put_digest(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    struct dmsg_tlsa tlsa;
    char text[2 * DIGEST_MAX + 1] = "";
    if (dmsg_tlsa_parse(&tlsa, key->rdata, NULL) < 0 || tlsa.matching_type == DMSG_TLSA_FULL ||
        tlsa.data.size > DIGEST_MAX)
        return;
    for (size_t i = 0; i < tlsa.data.size; i++)
        snprintf(text + 2 * i, 3, "%02x", tlsa.data.data[i]);
    describe_field(out, INDENT, "digest", "%s", text);
}

static void put_key(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    const EVP_PKEY *shown = lookup_shown_key(key);
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    if (shown == NULL)
        return;
    dmsg_key_describe(description, shown);
    describe_field(out, INDENT, "key", "%s", description);
    if (key->kid[0] != '\0')
        describe_field(out, INDENT, "kid", "%s", key->kid);
}

static void put_record(struct dmsg_buffer *out, const struct lookup_view *view, size_t index)
{
    const struct dmsg_peer_key *key = &view->peer->keys[index];
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer meaning = {0};
    lookup_put_meaning(&meaning, key);
    out->failed |= meaning.failed;
    dmsg_buffer_format(out, "\nrecord %zu of %zu: %u %u %u (%s, %s, %s), %zu octet%s\n", index + 1,
        view->peer->count, key->usage, key->selector, key->matching_type,
        dmsg_tlsa_usage_word(key->usage), dmsg_tlsa_selector_word(key->selector),
        dmsg_tlsa_matching_word(key->matching_type), key->rdata.size, plural(key->rdata.size));
    describe_field(out, INDENT, "meaning", "%.*s", (int)meaning.size, (const char *)meaning.data);
    if (key->purposes == 0 && !key->by_x5c) {
        describe_field(out, INDENT, "not usable", "%s", key->why);
    } else {
        put_purpose(out, key, "verifies", DMSG_FOR_SIGNATURES, "");
        put_purpose(out, key, "encrypts to", DMSG_FOR_ENCRYPTION,
            key == view->chosen ? ", and a sender takes this one" : "");
        if (key->why[0] != '\0' && !key->by_x5c)
            describe_field(out, INDENT, "note", "%s", key->why);
    }
    put_key(out, key);
    put_digest(out, key);
    if (key->certificate != NULL)
        describe_certificate(out, INDENT, key->certificate, view->now);
}

void lookup_text(struct dmsg_buffer *out, const struct lookup_view *view)
{
    dmsg_buffer_format(out, "%s\n", view->peer->name.text);
    put_request(out, view);
    for (size_t i = 0; i < view->peer->count; i++)
        put_record(out, view, i);
}
