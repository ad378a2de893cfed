/* danemsg identity import: the certificate that a CA made of a signing request. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "typed.h"
#include "x509/certificate.h"
#include "x509/pem.h"
#include "x509/rollover.h"
#include "x509/save.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

/* The leaf, and as many issuers as a message carries (x5c). */
#define CERTIFICATES_MAX (1 + DMSG_ISSUERS_MAX)

struct identity_import {
    struct identity_options identity;
};

struct import {
    const struct invocation *self;
    const char *called; /* the file, in texts */
    struct own_files own;
    struct dmsg_folder folder;
    size_t count;
    struct dmsg_certificate certificates[CERTIFICATES_MAX]; /* the leaf first */
    const struct dmsg_identity_key *key;                    /* whose it is */
    struct dmsg_file place;
};

static void import_done(struct import *import)
{
    for (size_t i = 0; i < import->count; i++)
        dmsg_certificate_done(&import->certificates[i]);
    own_files_done(&import->own);
    dmsg_folder_done(&import->folder);
}

/* ------------------------------------------------------------------------------ what came in */

static int take_certificate(void *user, struct dmsg_span der, struct dmsg_error *error)
{
    struct import *import = user;
    if (import->count == CERTIFICATES_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "more than %d certificates: the leaf and at most %d issuers are of use (the root need "
            "not be among them)",
            CERTIFICATES_MAX, DMSG_ISSUERS_MAX);
    int result = dmsg_certificate_parse(&import->certificates[import->count], der, error);
    if (result == 0)
        import->count++;
    return result;
}

static int read_certificates(struct import *import, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done)
    struct dmsg_buffer text = {.limit = DMSG_CERTIFICATE_FILE_MAX};
    int result = read_input(&text, path, error);
    if (result < 0) /* which names the file */
        return result;
    result = dmsg_pem_read_certificates(dmsg_buffer_span(&text), take_certificate, import, error);
    return result < 0 ? dmsg_fail_in(error, result, "%s", import->called) : 0;
}

/* RFC 5280 section 6.1: each is issued and signed by the one behind it. */
static int check_order(const struct import *import, struct dmsg_error *error)
{
    for (size_t i = 1; i < import->count; i++) {
        X509 *subject = import->certificates[i - 1].x509, *issuer = import->certificates[i].x509;
        bool good = X509_check_issued(issuer, subject) == X509_V_OK &&
                    X509_verify(subject, import->certificates[i].key) == 1;
        ERR_clear_error();
        if (!good)
            return dmsg_fail(error, DMSG_E_CERTIFICATE,
                "%s: certificate %zu did not issue the one before it: the leaf comes first, then "
                "its issuer, then that one's",
                import->called, i + 1);
    }
    return 0;
}

/* ----------------------------------------------------------------------------- whose it is */

/* Keys were loaded in the order in which the list has their files. */
static int find_place(struct import *import, size_t index, struct dmsg_error *error)
{
    struct dmsg_file_list list;
    int result = dmsg_file_list_read(&list, import->own.folder, &import->own.name, error);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        if (!dmsg_file_is_key(list.files[i].kind) || index-- > 0)
            continue;
        import->place = list.files[i];
        import->place.kind = DMSG_FILE_CERTIFICATE;
        return 0;
    }
    return result < 0 ? result : dmsg_fail(error, DMSG_E_LOCAL, "the key files keep changing");
}

static int find_key(struct import *import, struct dmsg_error *error)
{
    const struct dmsg_certificate *leaf = &import->certificates[0];
    for (size_t i = 0; i < dmsg_identity_key_count(import->own.identity); i++) {
        import->key = dmsg_identity_key_get(import->own.identity, i);
        /* A key in a token does not always let itself be compared. */
        if (strcmp(import->key->kid, leaf->kid) == 0 && import->key->role != DMSG_KEY_OLD)
            return find_place(import, i, error);
    }
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "%s: the first certificate is of another key (kid %s) than the current and next ones of %s "
        "in %s, and nothing was written",
        import->called, leaf->kid, import->own.name.text, import->own.folder);
}

static int check_leaf(const struct import *import, struct dmsg_error *error)
{
    X509 *leaf = import->certificates[0].x509;
    struct dmsg_identity_key imported = *import->key;
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer warnings = {0};
    unsigned all = dmsg_key_purposes(imported.key, NULL),
             allowed = dmsg_key_purposes(imported.key, leaf);
    if (allowed == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "%s: its KeyUsage allows this key nothing: ask the CA for digitalSignature, and for "
            "keyAgreement (EC) or keyEncipherment (RSA)",
            import->called);
    imported.certificate = leaf;
    put_warnings(&warnings, &imported, &import->own.name, dmsg_context_now(&context));
    if (warnings.size > 0)
        print_note(import->self->program, "warning: %.*s; record usage 3 does not mind, 1 does",
            (int)warnings.size, (const char *)warnings.data);
    if (allowed != all)
        print_note(import->self->program, "warning: by its KeyUsage the key only %s from now on",
            purpose_words(allowed));
    return 0;
}

/* ---------------------------------------------------------------------------------- command */

static int write_certificates(const struct import *import, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char file[DMSG_FILE_NAME_SIZE], date[32];
    int result = dmsg_file_name(file, &import->own.name, import->place, error);
    for (size_t i = 0; result == 0 && i < import->count; i++)
        result = dmsg_pem_put_certificate(&text, import->certificates[i].x509, error);
    if (result == 0)
        result = dmsg_file_replace(
            &import->folder, &import->own.name, file, dmsg_buffer_span(&text), error);
    if (result < 0)
        return result;
    time_text(date, import->certificates[0].not_after);
    dmsg_buffer_format(&out, "wrote %s/%s, valid until %s, with %zu issuer%s\n", import->own.folder,
        file, date, import->count - 1, import->count == 2 ? "" : "s");
    dmsg_buffer_format(&out,
        import->place.role == DMSG_KEY_NEXT
            ? "next: `danemsg identity rollover start %s` publishes it\n"
            : "next: `danemsg identity publish %s`, or put what `danemsg "
              "identity tlsa` prints into DNS\n",
        import->own.name.text);
    return out.failed ? dmsg_fail_memory(error)
                      : write_typed(stdout, dmsg_buffer_span(&out), error);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_import *options = self->options;
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(import_done)
    struct import import = {.self = self, .folder = DMSG_FOLDER_NONE};
    const char *path = self->arguments[0];
    import.called = strcmp(path, "-") == 0 ? "standard input" : path;
    int result = own_files_find_at(&import.own, self, 1, &options->identity, error);
    if (result == 0)
        result = read_certificates(&import, path, error);
    if (result == 0)
        result = check_order(&import, error);
    if (result == 0)
        result = dmsg_rollover_lock(&import.folder, import.own.folder, error);
    if (result == 0)
        result = dmsg_identity_load(
            &import.own.identity, &context, import.own.folder, &import.own.name, error);
    if (result == 0)
        result = find_key(&import, error);
    if (result == 0)
        result = check_leaf(&import, error);
    return result == 0 ? write_certificates(&import, error) : result;
}

const struct command cmd_identity_import = {
    .name = "identity import",
    .arguments = "FILE [NAME]",
    .summary = "Put the certificate that a CA made of a signing request beside its key.",
    .notes =
        "FILE (- for standard input) is PEM: the certificate first, then at most three "
        "issuers, each of the one before. It must be of the current key, or of the next one of "
        "a rollover; the one that is there is replaced.",
    .example = "danemsg identity import alice.pem alice.example.net",
    .groups =
        (const struct group_use[]){
            {&identity_group, offsetof(struct identity_import, identity)}, {0}},
    .size = sizeof(struct identity_import),
    .least = 1,
    .most = 2,
    .run = run,
};
