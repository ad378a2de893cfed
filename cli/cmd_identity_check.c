/* danemsg identity check: does validated DNS speak for the keys in the files? */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "cmd_identity_common.h"
#include "dane/tlsa.h"
#include "own_keys.h"
#include "x509/certificate.h"

#include <openssl/crypto.h>
#include <string.h>

struct identity_check {
    struct identity_options identity;
    struct dns_options dns;
    bool json;
};

static const struct option own_options[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_check, json),
        .help = "one JSON object"},
};

/* What was found; outcome.code is 0 when DNS speaks for every current key. */
struct finding {
    const struct own_files *own;
    const struct dmsg_peer *peer;
    struct dmsg_error outcome;
    int64_t now;
};

/* The first usable record of a key, NULL without one. */
static const struct dmsg_peer_key *record_of(
    const struct dmsg_peer *peer, const struct dmsg_identity_key *key)
{
    for (size_t i = 0; i < peer->count; i++) {
        if (peer->keys[i].purposes != 0 && strcmp(peer->keys[i].kid, key->kid) == 0)
            return &peer->keys[i];
    }
    return NULL;
}

/* Signatures that are not renewed in time make every record useless, however good it is. */
static bool ends_soon(const struct finding *finding)
{
    return own_keys_signatures_end_soon(finding->peer, finding->now);
}

static void put_whereabouts(
    struct dmsg_buffer *out, const struct finding *finding, const struct dmsg_identity_key *key)
{
    char fields[RECORD_FIELDS_SIZE];
    struct dmsg_error why;
    const struct dmsg_peer_key *record = record_of(finding->peer, key);
    if (record != NULL)
        dmsg_buffer_format(
            out, "in DNS as %u %u %u", record->usage, record->selector, record->matching_type);
    else if (finding->peer->status != DMSG_DNS_SECURE)
        dmsg_buffer_put_text(out, "DNS says nothing to be believed");
    else if (own_key_check_carried(fields, key, finding->peer, finding->now, &why) == 0)
        dmsg_buffer_format(out,
            "in DNS by %s: messages carry its certificate (x5c), and nobody can encrypt to it",
            fields);
    else if (finding->peer->count == 0 || (key->purposes & DMSG_FOR_SIGNATURES) == 0)
        dmsg_buffer_put_text(out, "not in DNS");
    else
        dmsg_buffer_format(
            out, "not in DNS, and not by what messages can carry (x5c): %s", why.text);
}

/* ---------------------------------------------------------------------------------- as text */

static void put_key(
    struct dmsg_buffer *out, const struct finding *finding, const struct dmsg_identity_key *key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer warnings = {0};
    dmsg_key_describe(description, key->key);
    dmsg_buffer_format(out, "%s key %s (%s, kid %s): ", role_word(key->role), description,
        purpose_words(key->purposes), key->kid);
    put_whereabouts(out, finding, key);
    dmsg_buffer_put_byte(out, '\n');
    if (key->uri != NULL)
        dmsg_buffer_format(out, "  in hardware: %s%s\n", key->uri,
            key->purposes != DMSG_FOR_SIGNATURES ? ""
            : dmsg_identity_current(finding->own->identity, DMSG_FOR_ENCRYPTION) != NULL
                ? ", which only signs: another key decrypts what comes"
                : ", which only signs: what comes cannot be decrypted");
    put_warnings(&warnings, key, &finding->own->name, finding->now);
    if (warnings.size > 0) {
        dmsg_buffer_put_text(out, "  warning: ");
        dmsg_buffer_put_span(out, dmsg_buffer_span(&warnings));
        dmsg_buffer_put_byte(out, '\n');
    }
}

static int put_text(
    struct dmsg_buffer *out, const struct finding *finding, struct dmsg_error *error)
{
    const struct dmsg_identity *identity = finding->own->identity;
    const struct dmsg_peer *peer = finding->peer;
    dmsg_buffer_format(out, "%s: DNS is %s, %zu record%s\n", finding->own->name.text,
        dns_status_word(peer->status), peer->count, peer->count == 1 ? "" : "s");
    if (ends_soon(finding)) {
        char date[32];
        time_text(date, peer->signed_until);
        dmsg_buffer_format(out,
            "  warning: the zone's signatures over this answer end on %s: see that the zone is "
            "signed again before, unless its server signs as it answers\n",
            date);
    }
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++)
        put_key(out, finding, dmsg_identity_key_get(identity, i));
    if (finding->outcome.code == 0) {
        dmsg_buffer_put_text(out, "in step with DNS\n");
        return 0;
    }
    dmsg_buffer_put_text(out, "to publish:\n");
    return own_keys_put_records(out, identity, error);
}

/* ---------------------------------------------------------------------------------- as JSON */

static void json_one(
    struct dmsg_buffer *out, const struct finding *finding, const struct dmsg_identity_key *key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE], fields[RECORD_FIELDS_SIZE] = "";
    const struct dmsg_peer_key *record = record_of(finding->peer, key);
    bool carried = record == NULL &&
                   own_key_check_carried(fields, key, finding->peer, finding->now, NULL) == 0;
    dmsg_key_describe(description, key->key);
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "role", role_word(key->role));
    json_member_text(out, "key", description);
    json_member_text(out, "kid", key->kid);
    if (key->uri != NULL)
        json_member_text(out, "uri", key->uri);
    json_member_bool(out, "in_dns", record != NULL);
    json_member_bool(out, "by_x5c", carried);
    if (record != NULL)
        snprintf(fields, sizeof fields, "%u %u %u", record->usage, record->selector,
            record->matching_type);
    if (fields[0] != '\0')
        json_member_text(out, "record", fields);
    json_warnings(out, key, &finding->own->name, finding->now);
    dmsg_buffer_put_byte(out, '}');
}

static void json_publish(struct dmsg_buffer *out, struct dmsg_span lines)
{
    json_key(out, "publish");
    dmsg_buffer_put_byte(out, '[');
    for (const char *comma = ""; lines.size > 0; comma = ",") {
        const uint8_t *newline = memchr(lines.data, '\n', lines.size);
        size_t size = newline != NULL ? (size_t)(newline - lines.data) : lines.size;
        dmsg_buffer_put_text(out, comma);
        dmsg_json_put_string(out, (struct dmsg_span){lines.data, size});
        size += newline != NULL;
        lines = (struct dmsg_span){lines.data + size, lines.size - size};
    }
    dmsg_buffer_put_byte(out, ']');
}

static int put_json(
    struct dmsg_buffer *out, const struct finding *finding, struct dmsg_error *error)
{
    const struct dmsg_identity *identity = finding->own->identity;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer lines = {0};
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "name", finding->own->name.text);
    json_member_text(out, "result", dmsg_error_word(finding->outcome.code));
    if (finding->outcome.code != 0)
        json_member_text(out, "text", finding->outcome.text);
    json_member_text(out, "dns", dns_status_word(finding->peer->status));
    json_member_number(out, "records", (int64_t)finding->peer->count);
    json_member_number(out, "ttl", finding->peer->ttl);
    if (finding->peer->signed_until != 0)
        json_member_number(out, "signed_until", finding->peer->signed_until);
    json_member_bool(out, "signatures_end_soon", ends_soon(finding));
    json_key(out, "keys");
    dmsg_buffer_put_byte(out, '[');
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        if (i > 0)
            dmsg_buffer_put_byte(out, ',');
        json_one(out, finding, dmsg_identity_key_get(identity, i));
    }
    dmsg_buffer_put_byte(out, ']');
    int result = finding->outcome.code != 0 ? own_keys_put_records(&lines, identity, error) : 0;
    if (result == 0 && lines.size > 0)
        json_publish(out, dmsg_buffer_span(&lines));
    dmsg_buffer_put_text(out, "}\n");
    return result;
}

/* ---------------------------------------------------------------------------------- command */

static int report(const struct finding *finding, bool json, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    int result = json ? put_json(&out, finding, error) : put_text(&out, finding, error);
    if (result == 0 && out.failed)
        result = dmsg_fail_memory(error);
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&out), error);
    if (result == 0 && finding->outcome.code != 0)
        *error = finding->outcome;
    return result == 0 ? finding->outcome.code : result;
}

static int check(const struct invocation *self, struct dmsg_discovery *discovery,
    const struct dmsg_context *context, struct dmsg_error *error)
{
    const struct identity_check *options = self->options;
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    struct finding finding = {.own = &own, .now = dmsg_context_now(context)};
    int result = own_files_load(&own, self, &options->identity, context, error);
    if (result == 0)
        result =
            dmsg_discovery_find_fresh(discovery, &own.name, LOOKUP_TIMEOUT, &finding.peer, error);
    if (result < 0)
        return result;
    if (own_keys_check_sender(own.identity, finding.peer, finding.now, &finding.outcome) == 0)
        finding.outcome.code = 0;
    result = report(&finding, options->json, error);
    dmsg_peer_release(finding.peer);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_check *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    int result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = check(self, discovery, &context, error);
    dmsg_discovery_free(&discovery);
    return result;
}

const struct command cmd_identity_check = {
    .name = "identity check",
    .arguments = "[NAME]",
    .summary = "Ask DNS, validating, whether it speaks for every current key of an own identity.",
    .example = "danemsg identity check alice.example.net",
    .notes = "When it does not, the record to publish is printed, and the exit status says why.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups =
        (const struct group_use[]){{&identity_group, offsetof(struct identity_check, identity)},
            {&dns_group, offsetof(struct identity_check, dns)}, {0}},
    .size = sizeof(struct identity_check),
    .most = 1,
    .run = run,
};
