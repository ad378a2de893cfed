/*
 * danemsg identity new: a key, and a self-signed certificate or a signing request. And
 * create_selfsigned_id, create_id_csr, which make what the proof of concept's peers can read.
 */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "hardware.h"
#include "typed.h"
#include "x509/certificate.h"
#include "x509/create.h"
#include "x509/files.h"
#include "x509/rollover.h"
#include "x509/save.h"

/* 2026-01-01: a clock before it was never set, and a certificate made by it would look expired. */
#define CLOCK_PLAUSIBLE 1767225600

#define LIST_MAX 1024

struct identity_new {
    struct identity_options identity;
    const char *key;
    int64_t days; /* 0: DMSG_DAYS_DEFAULT */
    bool request;
    bool force;
    int64_t owner; /* 0: unchanged */
    struct dmsg_subject subject;
};

/* clang-format off */
#define FILE_OPTIONS                                                                               \
    {.name = "force", .kind = OPTION_FLAG, .at = offsetof(struct identity_new, force),             \
        .help = "replace the key that is there: it is lost"},                                      \
    {.name = "owner", .argument = "UID", .kind = OPTION_NUMBER,                                    \
        .at = offsetof(struct identity_new, owner), .most = UINT32_MAX - 1, .variable = "APP_UID", \
        .help = "give the files to this user, when root"}
/* clang-format on */

static const struct option own_options[] = {
    {.name = "key",
        .argument = "TYPE|URI",
        .kind = OPTION_TEXT,
        .at = offsetof(struct identity_new, key),
        .help = "p256 (default), p384, p521, ed25519, rsa2048, rsa3072, rsa4096; or the URI of a "
                "key that is in hardware already"},
    {.name = "days",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct identity_new, days),
        .least = 1,
        .most = DMSG_DAYS_MAX,
        .help = "validity of the certificate (default 3650)"},
    {.name = "csr",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_new, request),
        .help = "a signing request for a CA, in place of the certificate"},
    FILE_OPTIONS,
};

/* What the proof of concept's programs know. */
static const struct option poc_options[] = {
    FILE_OPTIONS,
};

/* ---------------------------------------------------------------------------- what is there */

static void list_files(
    char out[static LIST_MAX], const struct dmsg_file_list *list, const struct dmsg_name *name)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < list->count && used < LIST_MAX; i++) {
        char file[DMSG_FILE_NAME_SIZE];
        if (dmsg_file_name(file, name, list->files[i], NULL) < 0)
            continue;
        int written = snprintf(
            out + used, LIST_MAX - used, "%s%s", used > 0 ? ", " : "", file + name->size + 1);
        used += written > 0 ? (size_t)written : 0;
    }
}

/* 1 when there are files that are to be replaced. */
static int judge_existing(const struct invocation *self, const struct own_files *own, bool force,
    struct dmsg_error *error)
{
    struct dmsg_file_list list;
    char files[LIST_MAX];
    int result = dmsg_file_list_read(&list, own->folder, &own->name, error);
    if (result < 0 || list.count == 0)
        return result;
    list_files(files, &list, &own->name);
    if (!force)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "there is an identity of %s in %s already (%s). Replacing its key makes its record in "
            "DNS wrong, and what is encrypted to it unreadable; --force does it",
            own->name.text, own->folder, files);
    print_note(self->program, "replacing the identity of %s in %s (there were: %s)", own->name.text,
        own->folder, files);
    return 1;
}

/* No command moves keys meanwhile, and none was interrupted at it: it would be completed over the
   new one. */
static int lock_existing(
    struct dmsg_folder *folder, const struct own_files *own, struct dmsg_error *error)
{
    struct dmsg_rollover rollover = {0};
    int result = dmsg_rollover_lock(folder, own->folder, error);
    if (result == 0)
        result = dmsg_rollover_read(&rollover, folder, &own->name, error);
    if (result < 0)
        return result;
    if (rollover.phase == DMSG_ROLLOVER_SWITCHING || rollover.phase == DMSG_ROLLOVER_ABORTING)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "a rollover of %s was interrupted while it moved keys: `danemsg identity rollover "
            "status %s` completes it",
            own->name.text, own->name.text);
    return 0;
}

/* ------------------------------------------------------------------------------- the outcome */

static void put_key(struct dmsg_buffer *out, const struct own_files *own, const char *word,
    const EVP_PKEY *key, const char *kind, const X509 *certificate, const char *stem)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE], kid[DMSG_KEY_ID_SIZE], date[32];
    int64_t from, to;
    dmsg_key_describe(description, key);
    if (dmsg_key_id(kid, key, NULL) < 0)
        out->failed = true;
    else
        dmsg_buffer_format(out, "%s: %s %s, kid %s\n", own->name.text, description, word, kid);
    dmsg_buffer_format(out, "wrote %s/%s%s.key.%s\n", own->folder, own->name.text, stem, kind);
    if (certificate == NULL || dmsg_certificate_dates(&from, &to, certificate, NULL) < 0)
        return;
    time_text(date, to);
    dmsg_buffer_format(
        out, "wrote %s/%s%s.crt.pem, valid until %s\n", own->folder, own->name.text, stem, date);
}

static void put_next_step(struct dmsg_buffer *out, const struct invocation *self,
    const struct own_files *own, bool request)
{
    const char *name = own->name.text;
    if (request)
        dmsg_buffer_format(out,
            "wrote %s/%s.csr.pem\n"
            "next: have a CA sign it, and `danemsg identity import FILE %s` what it makes\n",
            own->folder, name, name);
    if (self->command->link)
        dmsg_buffer_format(
            out, "%s: generate_tlsa prints the record to publish\n", request ? "then" : "next");
    else
        dmsg_buffer_format(out,
            "%s: publish in DNS what `danemsg identity tlsa %s` prints%s; `danemsg identity check "
            "%s` tells when it is seen\n",
            request ? "then" : "next", name,
            request ? " (with --selector 1 it needs no certificate)" : "", name);
}

static int report(const struct invocation *self, const struct own_files *own,
    const struct dmsg_material *made, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    bool two = made->encryption_key != NULL;
    put_key(&text, own, two ? "for signatures" : "for signatures and encryption", made->key,
        made->uri != NULL ? "uri" : "pem", made->certificate, "");
    if (two)
        put_key(&text, own, "for encryption", made->encryption_key, "pem",
            made->encryption_certificate, ".enc");
    put_next_step(&text, self, own, made->request != NULL);
    return text.failed ? dmsg_fail_memory(error)
                       : write_typed(stdout, dmsg_buffer_span(&text), error);
}

/* ----------------------------------------------------------------------------------- commands */

static int make(const struct invocation *self, const struct own_files *own, enum dmsg_key_type type,
    bool request, struct dmsg_error *error)
{
    const struct identity_new *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_creation wanted = {.name = &own->name,
        .type = type,
        .days = options->days != 0 ? (int)options->days : DMSG_DAYS_DEFAULT,
        .request = request,
        .subject = options->subject};
    struct dmsg_save_options how = {.replace = options->force,
        .set_owner = options->owner != 0,
        .owner = (uid_t)options->owner};
    DMSG_CLEANUP(hardware_done) struct hardware hardware = {0};
    DMSG_CLEANUP(dmsg_material_done) struct dmsg_material made = {0};
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    if (dmsg_context_now(&context) < CLOCK_PLAUSIBLE)
        print_note(self->program, "the clock is not set: the certificate will have its dates");
    int result = judge_existing(self, own, options->force, error);
    if (result > 0)
        result = lock_existing(&folder, own, error);
    if (result == 0 && options->key != NULL && dmsg_key_uri_is_one(options->key))
        result = hardware_find(&hardware, options->key, &context, NULL, error);
    if (result == 0 && hardware.key.key != NULL)
        hardware_use(&hardware, &wanted, self->program);
    if (result == 0)
        result = dmsg_material_create(&made, &context, &wanted, error);
    if (result == 0)
        result = dmsg_material_save(own->folder, &own->name, &made, &how, error);
    return result == 0 ? report(self, own, &made, error) : result;
}

static int run_as(
    const struct invocation *self, enum dmsg_key_type type, bool request, struct dmsg_error *error)
{
    const struct identity_new *options = self->options;
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    int result = own_files_find(&own, self, &options->identity, error);
    return result == 0 ? make(self, &own, type, request, error) : result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct identity_new *options = self->options;
    enum dmsg_key_type type = DMSG_KEY_P256;
    options->key = own_key_wanted(options->key);
    if (options->request && options->days != 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--days does not go with --csr: the CA says how long its certificate is valid");
    bool typed = options->key != NULL && !dmsg_key_uri_is_one(options->key);
    int result = typed ? dmsg_key_type_parse(&type, options->key, error) : 0;
    return result == 0 ? run_as(self, type, options->request, error) : result;
}

static int run_selfsigned(struct invocation *self, struct dmsg_error *error)
{
    return run_as(self, DMSG_KEY_RSA2048, false, error);
}

static int run_csr(struct invocation *self, struct dmsg_error *error)
{
    return run_as(self, DMSG_KEY_RSA2048, true, error);
}

static const struct group_use groups[] = {
    {&identity_group, offsetof(struct identity_new, identity)},
    {&subject_group, offsetof(struct identity_new, subject)}, {0}};

const struct command cmd_identity_new = {
    .name = "identity new",
    .arguments = "[NAME]",
    .summary = "Make a key and a self-signed certificate for a name of one's own, or a CSR.",
    .example = "danemsg identity new alice.example.net",
    .notes =
        "An ed25519 identity gets an X25519 key beside it (NAME.enc.*), for encryption. Peers "
        "that run the proof of concept can read RSA keys only. A key in a TPM or a PKCS #11 "
        "token is one that is there already: handle:0x81000001, or "
        "pkcs11:token=...;object=...?pin-source=file:/PATH; NAME.key.uri then says where it is.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = groups,
    .size = sizeof(struct identity_new),
    .most = 1,
    .run = run,
};

const struct command cmd_create_selfsigned_id = {
    .name = "create_selfsigned_id",
    .arguments = "",
    .summary = "Make an RSA-2048 key and a self-signed certificate (danemsg identity new).",
    .example = "IDENTITY_NAME=bob.example.net CRYPTO_PATH=/crypto create_selfsigned_id",
    .options = poc_options,
    .option_count = COUNT(poc_options),
    .groups = groups,
    .size = sizeof(struct identity_new),
    .link = true,
    .run = run_selfsigned,
    .exit_status = status_of_poc,
};

const struct command cmd_create_id_csr = {
    .name = "create_id_csr",
    .arguments = "",
    .summary = "Make an RSA-2048 key and a signing request (danemsg identity new --csr).",
    .example = "IDENTITY_NAME=alice.example.net CRYPTO_PATH=/crypto create_id_csr",
    .options = poc_options,
    .option_count = COUNT(poc_options),
    .groups = groups,
    .size = sizeof(struct identity_new),
    .link = true,
    .run = run_csr,
    .exit_status = status_of_poc,
};
