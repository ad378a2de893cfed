/* danemsg identity show: the files of an identity, and what they hold. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "x509/certificate.h"
#include "x509/files.h"

struct identity_show {
    struct identity_options identity;
    bool json;
};

static const struct option own_options[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct identity_show, json),
        .help = "one JSON object"},
};

/* One key with the names of its files; the certificate's is empty without one. */
struct shown {
    const struct dmsg_identity_key *key;
    char key_file[DMSG_FILE_NAME_SIZE];
    char certificate_file[DMSG_FILE_NAME_SIZE];
};

struct show {
    struct own_files own;
    int64_t now;
    size_t count;
    struct shown keys[DMSG_FILES_MAX];
    char request[DMSG_FILE_NAME_SIZE]; /* the current CSR's file; empty without one */
};

/* Keys were loaded in the order in which the list has their files. */
static int match_files(struct show *show, struct dmsg_error *error)
{
    struct dmsg_file_list list;
    int result = dmsg_file_list_read(&list, show->own.folder, &show->own.name, error);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        struct dmsg_file file = list.files[i];
        if (file.kind == DMSG_FILE_REQUEST && file.role == DMSG_KEY_CURRENT && !file.encryption)
            result = dmsg_file_name(show->request, &show->own.name, file, error);
        if (file.kind != DMSG_FILE_KEY)
            continue;
        struct shown *shown = &show->keys[show->count];
        shown->key = dmsg_identity_key_get(show->own.identity, show->count);
        if (shown->key == NULL)
            break;
        result = dmsg_file_name(shown->key_file, &show->own.name, file, error);
        file.kind = DMSG_FILE_CERTIFICATE;
        if (result == 0 && shown->key->certificate != NULL)
            result = dmsg_file_name(shown->certificate_file, &show->own.name, file, error);
        show->count++;
    }
    return result;
}

static void put_usage(struct dmsg_buffer *out, const X509 *certificate, const char *none)
{
    struct dmsg_key_usage usage = {0};
    if (dmsg_certificate_key_usage(&usage, certificate, NULL) < 0 || !usage.present) {
        dmsg_buffer_put_text(out, none);
        return;
    }
    const char *comma = "";
    const struct {
        bool on;
        const char *word;
    } bits[] = {{usage.digital_signature, "digitalSignature"},
        {usage.key_encipherment, "keyEncipherment"}, {usage.key_agreement, "keyAgreement"}};
    for (size_t i = 0; i < COUNT(bits); i++) {
        if (bits[i].on) {
            dmsg_buffer_format(out, "%s%s", comma, bits[i].word);
            comma = ", ";
        }
    }
}

/* ---------------------------------------------------------------------------------- as text */

static void put_or_empty(
    struct dmsg_buffer *out, void (*put)(struct dmsg_buffer *, const X509 *), const X509 *from)
{
    size_t before = out->size;
    put(out, from);
    if (out->size == before)
        dmsg_buffer_put_text(out, "(empty)");
    dmsg_buffer_put_byte(out, '\n');
}

static void put_certificate(struct dmsg_buffer *out, const struct shown *shown)
{
    const X509 *certificate = shown->key->certificate;
    int64_t from = 0, to = 0;
    char first[32], last[32];
    if (certificate == NULL) {
        dmsg_buffer_put_text(out, "  certificate  none yet\n");
        return;
    }
    dmsg_buffer_format(out, "  certificate  %s\n    subject    ", shown->certificate_file);
    put_or_empty(out, dmsg_certificate_put_subject, certificate);
    dmsg_buffer_put_text(out, "    names      ");
    put_or_empty(out, dmsg_certificate_put_names, certificate);
    dmsg_buffer_put_text(out, "    issuer     ");
    put_or_empty(out, dmsg_certificate_put_issuer, certificate);
    if (dmsg_certificate_dates(&from, &to, certificate, NULL) == 0) {
        time_text(first, from);
        time_text(last, to);
        dmsg_buffer_format(out, "    valid      %s to %s\n", first, last);
    }
    dmsg_buffer_put_text(out, "    key usage  ");
    put_usage(out, certificate, "any");
    dmsg_buffer_put_byte(out, '\n');
}

static void put_text(struct dmsg_buffer *out, const struct show *show)
{
    dmsg_buffer_format(out, "%s in %s\n", show->own.name.text, show->own.folder);
    for (size_t i = 0; i < show->count; i++) {
        const struct shown *shown = &show->keys[i];
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer warnings = {0};
        dmsg_key_describe(description, shown->key->key);
        dmsg_buffer_format(out, "%s key: %s, %s\n  kid          %s\n  key file     %s\n",
            role_word(shown->key->role), description, purpose_words(shown->key->purposes),
            shown->key->kid, shown->key_file);
        put_certificate(out, shown);
        put_warnings(&warnings, shown->key, &show->own.name, show->now);
        if (warnings.size > 0) {
            dmsg_buffer_put_text(out, "  warning      ");
            dmsg_buffer_put_span(out, dmsg_buffer_span(&warnings));
            dmsg_buffer_put_byte(out, '\n');
        }
    }
    if (show->request[0] != '\0')
        dmsg_buffer_format(out, "signing request: %s\n", show->request);
}

/* ---------------------------------------------------------------------------------- as JSON */

static void json_put(struct dmsg_buffer *out, const char *name,
    void (*put)(struct dmsg_buffer *, const X509 *), const X509 *from)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put(&text, from);
    out->failed |= text.failed;
    json_member(out, name, dmsg_buffer_span(&text));
}

static void put_plain_usage(struct dmsg_buffer *out, const X509 *certificate)
{
    put_usage(out, certificate, "");
}

static void json_certificate(
    struct dmsg_buffer *out, const struct shown *shown, const struct dmsg_name *name)
{
    X509 *certificate = shown->key->certificate;
    int64_t from = 0, to = 0;
    json_key(out, "certificate");
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "file", shown->certificate_file);
    json_put(out, "subject", dmsg_certificate_put_subject, certificate);
    json_put(out, "names", dmsg_certificate_put_names, certificate);
    json_put(out, "issuer", dmsg_certificate_put_issuer, certificate);
    if (dmsg_certificate_dates(&from, &to, certificate, NULL) == 0) {
        json_member_number(out, "not_before", from);
        json_member_number(out, "not_after", to);
    }
    json_put(out, "key_usage", put_plain_usage, certificate);
    json_member_bool(out, "bears_name", dmsg_certificate_bears_name(certificate, name));
    dmsg_buffer_put_byte(out, '}');
}

static void json_one(struct dmsg_buffer *out, const struct show *show, const struct shown *shown)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    dmsg_key_describe(description, shown->key->key);
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "role", role_word(shown->key->role));
    json_member_text(out, "key", description);
    json_member_text(out, "kid", shown->key->kid);
    json_member_bool(out, "signs", (shown->key->purposes & DMSG_FOR_SIGNATURES) != 0);
    json_member_bool(out, "decrypts", (shown->key->purposes & DMSG_FOR_ENCRYPTION) != 0);
    json_member_text(out, "key_file", shown->key_file);
    if (shown->key->certificate != NULL)
        json_certificate(out, shown, &show->own.name);
    json_warnings(out, shown->key, &show->own.name, show->now);
    dmsg_buffer_put_byte(out, '}');
}

static void put_json(struct dmsg_buffer *out, const struct show *show)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "name", show->own.name.text);
    json_member_text(out, "folder", show->own.folder);
    json_key(out, "keys");
    dmsg_buffer_put_byte(out, '[');
    for (size_t i = 0; i < show->count; i++) {
        if (i > 0)
            dmsg_buffer_put_byte(out, ',');
        json_one(out, show, &show->keys[i]);
    }
    dmsg_buffer_put_byte(out, ']');
    if (show->request[0] != '\0')
        json_member_text(out, "request_file", show->request);
    dmsg_buffer_put_text(out, "}\n");
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_show *options = self->options;
    const struct dmsg_context context = {0};
    struct show show = {.now = dmsg_context_now(&context)};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    int result = own_files_load(&show.own, self, &options->identity, &context, error);
    if (result == 0)
        result = match_files(&show, error);
    if (result == 0 && options->json)
        put_json(&out, &show);
    else if (result == 0)
        put_text(&out, &show);
    own_files_done(&show.own);
    if (result == 0 && out.failed)
        result = dmsg_fail_memory(error);
    return result == 0 ? write_output(stdout, dmsg_buffer_span(&out), error) : result;
}

const struct command cmd_identity_show = {
    .name = "identity show",
    .arguments = "[NAME]",
    .summary = "Show keys, key ids, certificates and files of an own identity.",
    .example = "danemsg identity show alice.example.net",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups =
        (const struct group_use[]){
            {&identity_group, offsetof(struct identity_show, identity)}, {0}},
    .size = sizeof(struct identity_show),
    .most = 1,
    .run = run,
};
