/* danemsg lookup: everything DNS says about an identity, and why it is believed or not. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "common.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"

#include <openssl/objects.h>
#include <openssl/x509v3.h>

/* Extensions told of one certificate: a hostile one could hold thousands. */
#define EXTENSIONS_MAX 32
#define EXTENSION_NAME_MAX 80
#define EXTENSION_VALUE_MAX 120

struct lookup {
    struct dns_options dns;
    bool json;
};

static const struct option own_options[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct lookup, json),
        .help = "one JSON object"},
};

static void put_hex(struct dmsg_buffer *out, struct dmsg_span octets)
{
    for (size_t i = 0; i < octets.size; i++)
        dmsg_buffer_format(out, "%02x", octets.data[i]);
}

/* The public key that a record shows, usable or not; borrowed, NULL when there is none. */
static const EVP_PKEY *shown_key(const struct dmsg_peer_key *key)
{
    if (key->key != NULL || key->certificate == NULL)
        return key->key;
    return X509_get0_pubkey(key->certificate);
}

/* --------------------------------------------------------------------------------- extensions */

/* What the ones that decide say, one line; the others are only named. */
static void put_extension_value(struct dmsg_buffer *out, int nid, X509_EXTENSION *extension)
{
    if (nid != NID_key_usage && nid != NID_basic_constraints && nid != NID_ext_key_usage)
        return;
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *bio = BIO_new(BIO_s_mem());
    char value[EXTENSION_VALUE_MAX];
    if (bio == NULL || X509V3_EXT_print(bio, extension, 0, 0) != 1)
        return;
    int size = BIO_read(bio, value, sizeof value - 1);
    dmsg_buffer_put_byte(out, ' ');
    for (int i = 0; i < size; i++)
        dmsg_buffer_put_byte(out, (uint8_t)(value[i] >= 0x20 && value[i] <= 0x7e ? value[i] : '?'));
}

/* "basicConstraints CA:FALSE (critical); subjectKeyIdentifier". */
static void put_extensions(struct dmsg_buffer *out, const X509 *certificate)
{
    int count = X509_get_ext_count(certificate);
    for (int i = 0; i < count && i < EXTENSIONS_MAX; i++) {
        X509_EXTENSION *extension = X509_get_ext(certificate, i);
        const ASN1_OBJECT *object = X509_EXTENSION_get_object(extension);
        int nid = OBJ_obj2nid(object);
        char name[EXTENSION_NAME_MAX] = "unknown";
        if (nid != NID_undef)
            snprintf(name, sizeof name, "%s", OBJ_nid2sn(nid));
        else
            (void)OBJ_obj2txt(name, sizeof name, object, 1);
        dmsg_buffer_format(out, "%s%s", i > 0 ? "; " : "", name);
        put_extension_value(out, nid, extension);
        if (X509_EXTENSION_get_critical(extension))
            dmsg_buffer_put_text(out, " (critical)");
    }
    if (count > EXTENSIONS_MAX)
        dmsg_buffer_format(out, "; and %d more", count - EXTENSIONS_MAX);
}

/* ------------------------------------------------------------------------------------ as text */

static void put_line(struct dmsg_buffer *out, const char *name,
    void (*put)(struct dmsg_buffer *, const X509 *), const X509 *from)
{
    dmsg_buffer_format(out, "  %-12s ", name);
    size_t before = out->size;
    put(out, from);
    if (out->size == before)
        dmsg_buffer_put_text(out, "(none)");
    dmsg_buffer_put_byte(out, '\n');
}

static void put_certificate(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    char first[32], last[32];
    put_line(out, "subject", dmsg_certificate_put_subject, key->certificate);
    put_line(out, "names", dmsg_certificate_put_names, key->certificate);
    put_line(out, "issuer", dmsg_certificate_put_issuer, key->certificate);
    time_text(first, key->not_before);
    time_text(last, key->not_after);
    dmsg_buffer_format(out, "  %-12s %s to %s\n", "valid", first, last);
    put_line(out, "extensions", put_extensions, key->certificate);
}

static void put_record(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, size_t number, bool chosen)
{
    struct dmsg_tlsa tlsa;
    dmsg_buffer_format(out, "record %zu: %u %u %u (%s, %s, %s), %zu octets\n", number, key->usage,
        key->selector, key->matching_type, dmsg_tlsa_usage_word(key->usage),
        dmsg_tlsa_selector_word(key->selector), dmsg_tlsa_matching_word(key->matching_type),
        key->rdata.size);
    dmsg_buffer_format(out, "  %-12s %s\n  %-12s %s%s\n", "verifies",
        (key->purposes & DMSG_FOR_SIGNATURES) != 0 ? "yes" : "no", "encrypts to",
        (key->purposes & DMSG_FOR_ENCRYPTION) != 0 ? "yes" : "no",
        chosen ? ", and a sender would choose this one" : "");
    if (key->why[0] != '\0')
        dmsg_buffer_format(out, "  %-12s %s\n", key->purposes != 0 ? "note" : "why not", key->why);
    if (shown_key(key) != NULL) {
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        dmsg_key_describe(description, shown_key(key));
        dmsg_buffer_format(out, "  %-12s %s\n", "key", description);
    }
    if (key->kid[0] != '\0')
        dmsg_buffer_format(out, "  %-12s %s\n", "kid", key->kid);
    if (key->certificate != NULL)
        put_certificate(out, key);
    if (dmsg_tlsa_parse(&tlsa, key->rdata, NULL) == 0 && tlsa.matching_type != DMSG_TLSA_FULL &&
        tlsa.data.size <= 64) {
        dmsg_buffer_format(out, "  %-12s ", "digest");
        put_hex(out, tlsa.data);
        dmsg_buffer_put_byte(out, '\n');
    }
}

static void put_text(
    struct dmsg_buffer *out, const struct dmsg_peer *peer, const struct dmsg_peer_key *chosen)
{
    dmsg_buffer_format(out, "%s\n  %-12s %s%s%s\n", peer->name.text, "DNS",
        dns_status_word(peer->status), peer->status == DMSG_DNS_SECURE ? ", validated here" : ": ",
        peer->status == DMSG_DNS_SECURE ? "" : peer->why);
    if (!dmsg_name_equal(&peer->name, &peer->canonical))
        dmsg_buffer_format(out, "  %-12s %s\n", "alias of", peer->canonical.text);
    dmsg_buffer_format(out, "  %-12s %zu", "TLSA records", peer->count);
    if (peer->count > 0 && peer->status != DMSG_DNS_BOGUS)
        dmsg_buffer_format(out, ", for %u seconds", peer->ttl);
    if (peer->count == 0 && peer->status == DMSG_DNS_SECURE)
        dmsg_buffer_format(out, ": %s", peer->why);
    dmsg_buffer_put_byte(out, '\n');
    for (size_t i = 0; i < peer->count; i++)
        put_record(out, &peer->keys[i], i + 1, &peer->keys[i] == chosen);
}

/* ------------------------------------------------------------------------------------ as JSON */

static void json_put(struct dmsg_buffer *out, const char *name,
    void (*put)(struct dmsg_buffer *, const X509 *), const X509 *from)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put(&text, from);
    out->failed |= text.failed;
    json_member(out, name, dmsg_buffer_span(&text));
}

static void json_certificate(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, const struct dmsg_name *name)
{
    json_key(out, "certificate");
    dmsg_buffer_put_byte(out, '{');
    json_put(out, "subject", dmsg_certificate_put_subject, key->certificate);
    json_put(out, "names", dmsg_certificate_put_names, key->certificate);
    json_put(out, "issuer", dmsg_certificate_put_issuer, key->certificate);
    json_member_number(out, "not_before", key->not_before);
    json_member_number(out, "not_after", key->not_after);
    json_put(out, "extensions", put_extensions, key->certificate);
    json_member_bool(out, "bears_name", dmsg_certificate_bears_name(key->certificate, name));
    dmsg_buffer_put_byte(out, '}');
}

static void json_record(struct dmsg_buffer *out, const struct dmsg_peer_key *key,
    const struct dmsg_name *name, bool chosen)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "usage", key->usage);
    json_member_number(out, "selector", key->selector);
    json_member_number(out, "matching_type", key->matching_type);
    json_member_text(out, "usage_word", dmsg_tlsa_usage_word(key->usage));
    json_member_text(out, "selector_word", dmsg_tlsa_selector_word(key->selector));
    json_member_text(out, "matching_type_word", dmsg_tlsa_matching_word(key->matching_type));
    json_member_bool(out, "verifies", (key->purposes & DMSG_FOR_SIGNATURES) != 0);
    json_member_bool(out, "encrypts_to", (key->purposes & DMSG_FOR_ENCRYPTION) != 0);
    json_member_bool(out, "chosen", chosen);
    json_member_text(out, "why", key->why);
    if (shown_key(key) != NULL) {
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        dmsg_key_describe(description, shown_key(key));
        json_member_text(out, "key", description);
    }
    if (key->kid[0] != '\0')
        json_member_text(out, "kid", key->kid);
    if (key->certificate != NULL)
        json_certificate(out, key, name);
    json_key(out, "rdata");
    dmsg_buffer_put_byte(out, '"');
    put_hex(out, key->rdata);
    dmsg_buffer_put_text(out, "\"}");
}

static void put_json(
    struct dmsg_buffer *out, const struct dmsg_peer *peer, const struct dmsg_peer_key *chosen)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "name", peer->name.text);
    json_member_text(out, "canonical", peer->canonical.text);
    json_member_text(out, "status", dns_status_word(peer->status));
    json_member_text(out, "why", peer->why);
    json_member_bool(out, "exists", peer->exists);
    json_member_bool(out, "nxdomain", peer->nxdomain);
    json_member_number(out, "ttl", peer->ttl);
    json_key(out, "records");
    dmsg_buffer_put_byte(out, '[');
    for (size_t i = 0; i < peer->count; i++) {
        if (i > 0)
            dmsg_buffer_put_byte(out, ',');
        json_record(out, &peer->keys[i], &peer->name, &peer->keys[i] == chosen);
    }
    dmsg_buffer_put_text(out, "]}\n");
}

static int show(const struct dmsg_peer *peer, bool json, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    struct dmsg_error why;
    const struct dmsg_peer_key *chosen = dmsg_peer_recipient_key(peer, &why);
    (json ? put_json : put_text)(&out, peer, chosen);
    if (out.failed)
        return dmsg_fail_memory(error);
    int result = write_output(stdout, dmsg_buffer_span(&out), error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < peer->count; i++) {
        if (peer->keys[i].purposes != 0)
            return 0;
    }
    return dmsg_fail(error, why.code, "%s", why.text);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct lookup *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name;
    int result = name_from(&name, self->arguments[0], "name", error);
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &name, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = show(peer, options->json, error);
    dmsg_peer_release(peer);
    dmsg_discovery_free(&discovery);
    return result;
}

const struct command cmd_lookup = {
    .name = "lookup",
    .arguments = "NAME",
    .summary = "Show what DNS says about an identity, and why it is believed or not.",
    .example = "danemsg lookup alice.example.net",
    .notes = "Status 0: there is a usable key. 3: no such identity. 4: DNS has no answer now.\n"
             "5: bogus or insecure. 6: there are records, but no usable key.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = (const struct group_use[]){{&dns_group, offsetof(struct lookup, dns)}, {0}},
    .size = sizeof(struct lookup),
    .least = 1,
    .most = 1,
    .run = run,
};
