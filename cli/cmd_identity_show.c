/* danemsg identity show: the files of an identity, and what they hold. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "describe.h"
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
        if (!dmsg_file_is_key(file.kind))
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

/* ---------------------------------------------------------------------------------- as text */

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
        if (shown->key->uri != NULL)
            describe_field(out, 2, "in hardware", "%s", shown->key->uri);
        describe_field(out, 2, "certificate", "%s",
            shown->key->certificate != NULL ? shown->certificate_file : "none yet");
        if (shown->key->certificate != NULL)
            describe_certificate(out, 2, shown->key->certificate, show->now);
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
    if (shown->key->uri != NULL)
        json_member_text(out, "uri", shown->key->uri);
    if (shown->key->certificate != NULL) {
        json_key(out, "certificate");
        dmsg_buffer_put_byte(out, '{');
        json_member_text(out, "file", shown->certificate_file);
        json_certificate(out, shown->key->certificate, &show->own.name);
        dmsg_buffer_put_byte(out, '}');
    }
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
