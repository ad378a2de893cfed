/* danemsg identity tlsa: the records to publish. And generate_tlsa, the proof of concept's. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "dane/tlsa.h"
#include "own_keys.h"

/* Octets of rdata before the data (RFC 6698 section 2.1). */
#define FIELDS 3

struct identity_tlsa {
    struct identity_options identity;
    int64_t usage; /* 0: not given */
    int64_t selector, matching_type;
    bool zone_line;
    bool fields;
};

static const struct option own_options[] = {
    {.name = "usage",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct identity_tlsa, usage),
        .least = DMSG_PKIX_EE,
        .most = DMSG_PKIX_CD,
        .help = "3 DANE-EE (default), 1 PKIX-EE, 4 PKIX-CD"},
    {.name = "selector",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct identity_tlsa, selector),
        .most = 1,
        .help = "0 the certificate (default), 1 the bare key"},
    {.name = "matching-type",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct identity_tlsa, matching_type),
        .most = 2,
        .help = "0 in full (default), 1 its SHA-256, 2 its SHA-512"},
    {.name = "zone-line",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_tlsa, zone_line),
        .help = "a line of a zone file: NAME. 3600 IN TLSA 3 0 0 DATA"},
    {.name = "fields",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_tlsa, fields),
        .help = "what a provider's form asks for: 3 0 0 DATA (default)"},
};

static int put_record(struct dmsg_buffer *out, const struct identity_tlsa *options,
    const char *before, const struct dmsg_identity_key *key, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer rdata = {0};
    uint8_t usage = options->usage != 0 ? (uint8_t)options->usage : DMSG_DANE_EE;
    if (options->selector == 0 && key->certificate == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the key %s has no certificate yet: put it beside the key (NAME.crt.pem), or publish "
            "the bare key with --selector 1",
            key->kid);
    int result = dmsg_tlsa_encode(&rdata, usage, (uint8_t)options->selector,
        (uint8_t)options->matching_type, key->certificate, key->key, error);
    if (result < 0)
        return result;
    dmsg_buffer_format(out, "%s%d %d %d ", before, rdata.data[0], rdata.data[1], rdata.data[2]);
    for (size_t i = FIELDS; i < rdata.size; i++)
        dmsg_buffer_format(out, "%02x", rdata.data[i]);
    dmsg_buffer_put_byte(out, '\n');
    return 0;
}

/* Of every current key, the one that signs first. */
static int put_records(struct dmsg_buffer *out, const struct identity_tlsa *options,
    const char *before, const struct dmsg_identity *identity, struct dmsg_error *error)
{
    const struct dmsg_identity_key *signing = dmsg_identity_current(identity, DMSG_FOR_SIGNATURES);
    int result = signing != NULL ? put_record(out, options, before, signing, error) : 0;
    for (size_t i = 0; result == 0 && i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        if (key->role == DMSG_KEY_CURRENT && key != signing)
            result = put_record(out, options, before, key, error);
    }
    return result == 0 && out->failed ? dmsg_fail_memory(error) : result;
}

static int print_records(
    const struct invocation *self, const struct identity_tlsa *options, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char before[DMSG_NAME_TEXT + sizeof "TLSA record for : 3600 IN TLSA "] = "";
    int result = own_files_load(&own, self, &options->identity, &context, error);
    if (result < 0)
        return result;
    if (self->command->link)
        snprintf(before, sizeof before, "TLSA record for %s: ", own.name.text);
    else if (options->zone_line)
        snprintf(before, sizeof before, "%s. %d IN TLSA ", own.name.text, RECORD_TTL);
    result = put_records(&out, options, before, own.identity, error);
    return result == 0 ? write_output(stdout, dmsg_buffer_span(&out), error) : result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_tlsa *options = self->options;
    if (options->zone_line && options->fields)
        return dmsg_fail(error, DMSG_E_USAGE, "--zone-line and --fields exclude each other");
    if (options->usage == DMSG_DANE_TA)
        return dmsg_fail(error, DMSG_E_USAGE,
            "usage 2 (DANE-TA) is for a CA's certificate; an identity's own is 3, 1 or 4");
    int result = print_records(self, options, error);
    if (result == 0 && options->matching_type != 0)
        print_note(self->program,
            "nobody can encrypt to a digest, and only messages that carry the certificate can be "
            "verified by it");
    return result;
}

static int run_generate(struct invocation *self, struct dmsg_error *error)
{
    return print_records(self, self->options, error);
}

const struct command cmd_identity_tlsa = {
    .name = "identity tlsa",
    .arguments = "[NAME]",
    .summary = "Print the TLSA record(s) to publish at the name, one per line, signing key first.",
    .example = "danemsg identity tlsa alice.example.net --zone-line",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups =
        (const struct group_use[]){
            {&identity_group, offsetof(struct identity_tlsa, identity)}, {0}},
    .size = sizeof(struct identity_tlsa),
    .most = 1,
    .run = run,
};

const struct command cmd_generate_tlsa = {
    .name = "generate_tlsa",
    .arguments = "",
    .summary = "Print the TLSA record to publish (danemsg identity tlsa).",
    .example = "IDENTITY_NAME=alice.example.net CRYPTO_PATH=/crypto generate_tlsa",
    .groups =
        (const struct group_use[]){
            {&identity_group, offsetof(struct identity_tlsa, identity)}, {0}},
    .size = sizeof(struct identity_tlsa),
    .link = true,
    .run = run_generate,
    .exit_status = status_of_poc,
};
