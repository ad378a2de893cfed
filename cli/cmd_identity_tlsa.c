/* danemsg identity tlsa: the records to publish. And generate_tlsa, the proof of concept's. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "own_keys.h"
#include "own_records.h"
#include "x509/files.h"

#include <openssl/x509v3.h>

#define USAGE_NOT_GIVEN (-1)

struct identity_tlsa {
    struct identity_options identity;
    struct record_form form;
    int64_t ttl;
    const char *ca;
    bool zone_line;
    bool fields;
};

static const struct option own_options[] = {
    {.name = "zone-line",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_tlsa, zone_line),
        .help = "a line of a zone file: NAME. 3600 IN TLSA 3 0 0 DATA"},
    {.name = "fields",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_tlsa, fields),
        .help = "what a provider's form asks for: 3 0 0 DATA (default)"},
    {.name = "ca",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct identity_tlsa, ca),
        .help = "of this CA's certificate (PEM): --usage 2 (default), or 0"},
    {.name = "ttl",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct identity_tlsa, ttl),
        .least = 1,
        .help = "with --zone-line: how long caches may keep it (3600)"},
};

/* What stands before each record. */
static void put_before(char *out, size_t size, const struct invocation *self,
    const struct identity_tlsa *options, const struct dmsg_name *name)
{
    out[0] = '\0';
    if (self->command->link)
        snprintf(out, size, "TLSA record for %s: ", name->text);
    else if (options->zone_line)
        snprintf(out, size, "%s. %d IN TLSA ", name->text,
            options->ttl != 0 ? (int)options->ttl : RECORD_TTL);
}

/* The record of a CA's certificate, the first one in its file. */
static int make_ca_record(
    struct own_records *out, const struct identity_tlsa *options, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_chain_free) STACK_OF(X509) *certificates = NULL;
    int result = dmsg_file_read_issuers(&certificates, options->ca, error);
    if (result < 0)
        return result;
    X509 *ca = sk_X509_value(certificates, 0);
    if (X509_check_ca(ca) != 1)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "%s is not a CA's certificate (basicConstraints CA:TRUE, and keyCertSign)",
            options->ca);
    result = dmsg_tlsa_encode(&out->octets, (uint8_t)options->form.usage,
        (uint8_t)options->form.selector, (uint8_t)options->form.matching_type, ca, NULL, error);
    if (result == 0)
        out->rdata[out->count++] = dmsg_buffer_span(&out->octets);
    return result;
}

static int make_records(struct own_records *out, struct own_files *own,
    const struct invocation *self, const struct identity_tlsa *options, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    int result = 0;
    if (options->ca != NULL) {
        if (options->zone_line) /* else nobody wants to know whose it is */
            result = own_files_find(own, self, &options->identity, error);
        return result == 0 ? make_ca_record(out, options, error) : result;
    }
    result = own_files_load(own, self, &options->identity, &context, error);
    return result == 0
               ? own_records_make(out, own->identity, &options->form, RECORDS_CURRENT, error)
               : result;
}

static int print_records(
    const struct invocation *self, const struct identity_tlsa *options, struct dmsg_error *error)
{
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    DMSG_CLEANUP(own_records_done) struct own_records records = {0};
    char before[DMSG_NAME_TEXT + sizeof "TLSA record for : 2147483647 IN TLSA "];
    int result = make_records(&records, &own, self, options, error);
    if (result < 0)
        return result;
    put_before(before, sizeof before, self, options, &own.name);
    own_records_put(&out, before, &records);
    result = out.failed ? dmsg_fail_memory(error) : 0;
    return result == 0 ? write_output(stdout, dmsg_buffer_span(&out), error) : result;
}

/* 3 of an identity's own, 2 of a CA's. */
static int check_form(struct identity_tlsa *options, struct dmsg_error *error)
{
    struct record_form *form = &options->form;
    if (form->usage == USAGE_NOT_GIVEN)
        form->usage = options->ca != NULL ? DMSG_DANE_TA : DMSG_DANE_EE;
    if (options->ca == NULL)
        return record_form_check(form, error);
    if (form->usage != DMSG_DANE_TA && form->usage != DMSG_PKIX_TA)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--ca goes with --usage 2 (DANE-TA), or 0 (PKIX-TA) for one of the system's CAs");
    return 0;
}

static void note(const struct invocation *self, const struct identity_tlsa *options)
{
    if (options->ca != NULL)
        print_note(self->program,
            "nobody can encrypt to a CA, and only messages that carry the certificate and its "
            "issuers can be verified by it: put those behind the certificate in NAME.crt.pem");
    else if (options->form.matching_type != 0)
        print_note(self->program,
            "nobody can encrypt to a digest, and only messages that carry the certificate can be "
            "verified by it");
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct identity_tlsa *options = self->options;
    if (options->zone_line && options->fields)
        return dmsg_fail(error, DMSG_E_USAGE, "--zone-line and --fields exclude each other");
    if (options->ttl != 0 && !options->zone_line)
        return dmsg_fail(error, DMSG_E_USAGE, "--ttl goes with --zone-line");
    if (options->ttl > RECORD_TTL_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "--ttl is at most %d seconds", RECORD_TTL_MAX);
    int result = check_form(options, error);
    if (result == 0)
        result = print_records(self, options, error);
    if (result == 0)
        note(self, options);
    return result;
}

static int run_generate(struct invocation *self, struct dmsg_error *error)
{
    return print_records(self, self->options, error);
}

static const struct identity_tlsa defaults = {.form = {.usage = USAGE_NOT_GIVEN}};
static const struct identity_tlsa generate_defaults = {.form = {.usage = DMSG_DANE_EE}};

const struct command cmd_identity_tlsa = {
    .name = "identity tlsa",
    .arguments = "[NAME]",
    .summary = "Print the TLSA record(s) to publish at the name, one per line, signing key first.",
    .example = "danemsg identity tlsa alice.example.net --zone-line",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = (const struct group_use[]){{&record_form_group, offsetof(struct identity_tlsa, form)},
        {&identity_group, offsetof(struct identity_tlsa, identity)}, {0}},
    .size = sizeof(struct identity_tlsa),
    .defaults = &defaults,
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
    .defaults = &generate_defaults,
    .link = true,
    .run = run_generate,
    .exit_status = status_of_poc,
};
