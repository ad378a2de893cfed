#include "dane/tlsa.h"
#include "describe.h"
#include "lookup.h"
#include "x509/certificate.h"

#include "base/cleanup.h"

typedef void put_words(struct dmsg_buffer *out, const struct dmsg_peer_key *key);

static void put_verifies(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    lookup_put_reason(out, key, DMSG_FOR_SIGNATURES);
}

static void put_encrypts(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    lookup_put_reason(out, key, DMSG_FOR_ENCRYPTION);
}

static void put_rdata(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    for (size_t i = 0; i < key->rdata.size; i++)
        dmsg_buffer_format(out, "%02x", key->rdata.data[i]);
}

static void json_words(
    struct dmsg_buffer *out, const char *name, put_words *put, const struct dmsg_peer_key *key)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put(&text, key);
    out->failed |= text.failed;
    json_member(out, name, dmsg_buffer_span(&text));
}

static void json_key_of(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    const EVP_PKEY *shown = lookup_shown_key(key);
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    if (shown == NULL)
        return;
    dmsg_key_describe(description, shown);
    json_member_text(out, "key", description);
    json_member_number(out, "key_bits", EVP_PKEY_get_bits(shown));
    if (key->kid[0] != '\0')
        json_member_text(out, "kid", key->kid);
}

static void json_record(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, const struct lookup_view *view)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "usage", key->usage);
    json_member_number(out, "selector", key->selector);
    json_member_number(out, "matching_type", key->matching_type);
    json_member_text(out, "usage_word", dmsg_tlsa_usage_word(key->usage));
    json_member_text(out, "selector_word", dmsg_tlsa_selector_word(key->selector));
    json_member_text(out, "matching_type_word", dmsg_tlsa_matching_word(key->matching_type));
    json_words(out, "meaning", lookup_put_meaning, key);
    json_member_bool(out, "verifies", lookup_can(key, DMSG_FOR_SIGNATURES));
    json_words(out, "verifies_why", put_verifies, key);
    json_member_bool(out, "by_x5c", key->by_x5c);
    json_member_bool(out, "encrypts_to", lookup_can(key, DMSG_FOR_ENCRYPTION));
    json_words(out, "encrypts_to_why", put_encrypts, key);
    json_member_bool(out, "chosen", key == view->chosen);
    json_member_text(out, "why", key->why);
    json_key_of(out, key);
    if (key->certificate != NULL) {
        json_key(out, "certificate");
        dmsg_buffer_put_byte(out, '{');
        json_certificate(out, key->certificate, &view->peer->name);
        dmsg_buffer_put_byte(out, '}');
    }
    json_member_number(out, "octets", (int64_t)key->rdata.size);
    json_words(out, "rdata", put_rdata, key);
    dmsg_buffer_put_byte(out, '}');
}

static void json_sandbox(struct dmsg_buffer *out, unsigned held)
{
    json_key(out, "sandbox");
    dmsg_buffer_put_byte(out, '{');
    json_member_bool(out, "seccomp", (held & DMSG_SANDBOX_SECCOMP) != 0);
    json_member_bool(out, "landlock", (held & DMSG_SANDBOX_LANDLOCK) != 0);
    dmsg_buffer_put_byte(out, '}');
}

void lookup_json(struct dmsg_buffer *out, const struct lookup_view *view)
{
    const struct dmsg_peer *peer = view->peer;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "name", peer->name.text);
    json_member_text(out, "canonical", peer->canonical.text);
    json_member_text(out, "status", dns_status_word(peer->status));
    json_member_text(out, "why", peer->why);
    json_member_text(out, "via", peer->via);
    json_member_bool(out, "exists", peer->exists);
    json_member_bool(out, "nxdomain", peer->nxdomain);
    json_member_number(out, "ttl", peer->ttl);
    json_member_time(out, "asked_at", peer->fetched_at);
    json_member_time(out, "expires_at", peer->expires_at);
    if (peer->signed_until != 0)
        json_member_time(out, "signed_until", peer->signed_until);
    json_member_bool(out, "from_cache", peer->from_cache);
    json_member_bool(out, "stale", peer->stale);
    if (view->sandbox >= 0)
        json_sandbox(out, (unsigned)view->sandbox);
    json_member_number(out, "oversized", (int64_t)peer->oversized);
    json_key(out, "records");
    dmsg_buffer_put_byte(out, '[');
    for (size_t i = 0; i < peer->count; i++) {
        dmsg_buffer_put_text(out, i > 0 ? "," : "");
        json_record(out, &peer->keys[i], view);
    }
    dmsg_buffer_put_text(out, "]}\n");
}
