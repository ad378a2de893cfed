/* Reading an identity from its files. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/files.h"
#include "x509/identity_internal.h"
#include "x509/mark.h"

#include <fcntl.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *const role_words[] = {
    [DMSG_KEY_CURRENT] = "current", [DMSG_KEY_NEXT] = "next", [DMSG_KEY_OLD] = "old"};

static void cleanup_identity(struct dmsg_identity **identity)
{
    dmsg_identity_free(identity);
}

/* A key and a certificate for each of the three roles, and for encryption beside them. */
#define SLOTS 6
/* While a rollover moves files, a look at one after the other may miss a key. */
#define LOAD_TRIES 5

struct slot {
    enum dmsg_key_role role;
    bool encryption;
    char key_file[DMSG_FILE_NAME_SIZE];
    bool is_uri; /* the file says where the key is */
    char certificate_file[DMSG_FILE_NAME_SIZE];
    EVP_PKEY *key;                       /* NULL without one */
    struct dmsg_token_key in_token;      /* what else there is to it then; its key is taken */
    char *uri;                           /* without its PIN */
    struct dmsg_certificate certificate; /* its x509 is NULL without one */
    STACK_OF(X509) * issuers;            /* that follow it in its file; NULL: none */
};

struct loading {
    struct dmsg_identity *identity;
    struct dmsg_folder folder;
    struct slot slots[SLOTS];
};

static void loading_done(struct loading *loading)
{
    for (size_t i = 0; i < SLOTS; i++) {
        EVP_PKEY_free(loading->slots[i].key);
        dmsg_token_key_done(&loading->slots[i].in_token);
        free(loading->slots[i].uri);
        dmsg_certificate_done(&loading->slots[i].certificate);
        dmsg_chain_free(&loading->slots[i].issuers);
    }
}

static int name_file(char out[static DMSG_FILE_NAME_SIZE], const struct loading *loading,
    const struct slot *slot, enum dmsg_file_kind kind, struct dmsg_error *error)
{
    struct dmsg_file file = {slot->role, slot->encryption, kind};
    return dmsg_file_name(out, &loading->identity->name, file, error);
}

/* Half-way through a rollover (x509/rollover.h) the file of the key before may stand beside the new
   one of the other kind, and is in the old role already. */
static bool is_left_over(
    const struct loading *loading, const struct slot *slot, enum dmsg_file_kind kind)
{
    char file[DMSG_FILE_NAME_SIZE], old_file[DMSG_FILE_NAME_SIZE];
    struct slot old_slot = {.role = DMSG_KEY_OLD, .encryption = slot->encryption};
    struct stat here, old;
    int fd = loading->folder.fd;
    return slot->role == DMSG_KEY_CURRENT && name_file(file, loading, slot, kind, NULL) == 0 &&
           name_file(old_file, loading, &old_slot, kind, NULL) == 0 &&
           fstatat(fd, file, &here, AT_SYMLINK_NOFOLLOW) == 0 &&
           fstatat(fd, old_file, &old, AT_SYMLINK_NOFOLLOW) == 0 && here.st_dev == old.st_dev &&
           here.st_ino == old.st_ino;
}

static int refuse_both(
    const struct loading *loading, const struct slot *slot, struct dmsg_error *error)
{
    char uri_file[DMSG_FILE_NAME_SIZE];
    int status = name_file(uri_file, loading, slot, DMSG_FILE_KEY_URI, error);
    return status < 0 ? status
                      : dmsg_fail(error, DMSG_E_LOCAL,
                            "%s and %s are both in %s: a key is in a file or in hardware; move "
                            "the one away that is not the key",
                            slot->key_file, uri_file, loading->folder.path);
}

/* 1 and the file that the slot's key is loaded by, 0 without one: then the name that it would have.
 */
static int find_key_file(const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    char uri_file[DMSG_FILE_NAME_SIZE];
    int status = name_file(slot->key_file, loading, slot, DMSG_FILE_KEY, error);
    if (status == 0)
        status = name_file(uri_file, loading, slot, DMSG_FILE_KEY_URI, error);
    int pem = status < 0 ? status : dmsg_file_present(&loading->folder, slot->key_file, error);
    int uri = pem < 0 ? pem : dmsg_file_present(&loading->folder, uri_file, error);
    if (uri < 0)
        return uri;
    if (pem == 1 && uri == 1) {
        pem = !is_left_over(loading, slot, DMSG_FILE_KEY);
        uri = !is_left_over(loading, slot, DMSG_FILE_KEY_URI);
        if (pem == uri)
            return refuse_both(loading, slot, error);
    }
    slot->is_uri = uri == 1;
    if (slot->is_uri)
        memcpy(slot->key_file, uri_file, sizeof uri_file);
    return pem | uri;
}

static int read_token_key(
    const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_key_uri_done) struct dmsg_key_uri uri = {0};
    struct dmsg_identity *identity = loading->identity;
    int status = dmsg_file_read_key_uri(&uri, &loading->folder, slot->key_file, error);
    if (status == 0 && identity->tokens == NULL)
        status = dmsg_tokens_new(&identity->tokens, error);
    if (status < 0)
        return status;
    slot->uri = strdup(uri.shown);
    if (slot->uri == NULL)
        return dmsg_fail_memory(error);
    status = dmsg_token_key_load(&slot->in_token, identity->tokens, &uri, error);
    return status < 0 ? dmsg_fail_in(error, status, "%s/%s", loading->folder.path, slot->key_file)
                      : 0;
}

static int read_key(const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    int present = find_key_file(loading, slot, error);
    if (present <= 0)
        return present;
    if (!slot->is_uri)
        return dmsg_file_read_key(
            &slot->key, loading->identity->context, &loading->folder, slot->key_file, error);
    int status = read_token_key(loading, slot, error);
    slot->key = slot->in_token.key;
    slot->in_token.key = NULL;
    return status;
}

static int read_slot(const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    int status = read_key(loading, slot, error);
    if (status == 0)
        status = name_file(slot->certificate_file, loading, slot, DMSG_FILE_CERTIFICATE, error);
    int present =
        status < 0 ? status : dmsg_file_present(&loading->folder, slot->certificate_file, error);
    if (present == 1)
        present = dmsg_file_read_chain(
            &slot->certificate, &slot->issuers, &loading->folder, slot->certificate_file, error);
    if (present < 0)
        return present;
    /* Fine where no key is needed. */
    if (slot->key == NULL && slot->role == DMSG_KEY_CURRENT && !slot->encryption &&
        slot->certificate.x509 == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "there is no key %s/%s: `danemsg identity new` makes one", loading->folder.path,
            slot->key_file);
    return 0;
}

static bool is_of(const struct slot *certificate, const struct slot *key)
{
    return certificate->certificate.x509 != NULL && key->key != NULL &&
           certificate->encryption == key->encryption &&
           dmsg_identity_pair(key->key, certificate->certificate.key);
}

/* A certificate without its key is a mistake of whoever put it there. Half-way through a rollover
   (x509/rollover.h) its key is in another role. */
static int check_certificate(
    const struct loading *loading, const struct slot *slot, struct dmsg_error *error)
{
    const char *path = loading->folder.path;
    if (slot->certificate.x509 == NULL)
        return 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (is_of(slot, &loading->slots[i]))
            return 0;
    }
    if (slot->key == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s is there without its key %s: bring the key back, or move the certificate away",
            path, slot->certificate_file, slot->key_file);
    return dmsg_fail(error, DMSG_E_LOCAL,
        "%s and %s in %s do not belong together: the certificate is of another key; put the "
        "right one there, or move it away",
        slot->key_file, slot->certificate_file, path);
}

/* The key's certificate: beside it, or in another role. */
static const struct slot *find_certificate(const struct loading *loading, const struct slot *key)
{
    if (is_of(key, key))
        return key;
    for (size_t i = 0; i < SLOTS; i++) {
        if (is_of(&loading->slots[i], key))
            return &loading->slots[i];
    }
    return NULL;
}

static int add_issuers(
    struct dmsg_identity *identity, const STACK_OF(X509) * issuers, struct dmsg_error *error)
{
    int status = 0;
    for (int i = 0; status == 0 && i < sk_X509_num(issuers); i++)
        status = dmsg_identity_add_issuer(
            identity, identity->count - 1, sk_X509_value(issuers, i), error);
    return status;
}

/* The key just added lives in a token: its operations are done there. */
static void note_token(struct dmsg_identity *identity, struct slot *slot)
{
    struct dmsg_identity_key *added = &identity->keys[identity->count - 1];
    struct dmsg_context *context = &identity->elsewhere[identity->count - 1];
    *context = *identity->context;
    context->library = slot->in_token.library;
    context->properties = slot->in_token.properties;
    added->context = context;
    added->uri = slot->uri;
    slot->uri = NULL;
}

static int add_slot(struct dmsg_identity *identity, const struct loading *loading,
    struct slot *slot, struct dmsg_error *error)
{
    if (slot->key == NULL)
        return 0;
    const struct slot *at = find_certificate(loading, slot);
    X509 *certificate = at != NULL ? at->certificate.x509 : NULL;
    unsigned purposes = slot->encryption ? DMSG_FOR_ENCRYPTION : DMSG_ANY_PURPOSE;
    if (slot->is_uri)
        purposes &= slot->in_token.purposes;
    int status =
        dmsg_identity_add_for(identity, slot->role, slot->key, certificate, purposes, error);
    if (status == 0 && slot->is_uri)
        note_token(identity, slot);
    if (status == 0 && at != NULL)
        status = add_issuers(identity, at->issuers, error);
    if (status < 0)
        return dmsg_fail_in(error, status, "the %s key %s/%s", role_words[slot->role],
            loading->folder.path, slot->key_file);
    return 0;
}

static int load_once(
    struct dmsg_identity *identity, struct dmsg_folder folder, struct dmsg_error *error)
{
    static const enum dmsg_key_role roles[] = {DMSG_KEY_CURRENT, DMSG_KEY_NEXT, DMSG_KEY_OLD};
    DMSG_CLEANUP(loading_done)
    struct loading loading = {.identity = identity, .folder = folder};
    int status = 0;
    for (size_t i = 0; status == 0 && i < SLOTS; i++) {
        loading.slots[i].role = roles[i / 2];
        loading.slots[i].encryption = i % 2 == 1;
        status = read_slot(&loading, &loading.slots[i], error);
    }
    for (size_t i = 0; status == 0 && i < SLOTS; i++)
        status = check_certificate(&loading, &loading.slots[i], error);
    for (size_t i = 0; status == 0 && i < SLOTS; i++)
        status = add_slot(identity, &loading, &loading.slots[i], error);
    return status;
}

/* 1 when the files changed meanwhile, and what was read, or why it could not be, says little. */
static int load_and_compare(
    struct dmsg_identity *identity, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    uint64_t before, after;
    int status = dmsg_files_mark(&before, path, &identity->name, error);
    if (status == 0)
        status = dmsg_folder_open(&folder, path, error);
    if (status < 0)
        return status;
    status = load_once(identity, folder, error);
    bool changed = dmsg_files_mark(&after, path, &identity->name, NULL) < 0 || before != after;
    return changed ? 1 : status;
}

/* tokens: in use already, or NULL. */
static int load(struct dmsg_identity **out, const struct dmsg_context *context, const char *folder,
    const struct dmsg_name *name, struct dmsg_tokens *tokens, struct dmsg_error *error)
{
    int status = 1;
    for (int i = 0; status == 1 && i < LOAD_TRIES; i++) {
        DMSG_CLEANUP(cleanup_identity) struct dmsg_identity *made = NULL;
        status = dmsg_identity_new(&made, context, name, error);
        if (status == 0 && tokens != NULL)
            made->tokens = dmsg_tokens_share(tokens);
        if (status == 0)
            status = load_and_compare(made, folder, error);
        if (status == 0) {
            *out = made;
            made = NULL;
        }
    }
    if (status == 1)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "the files of %s in %s keep changing", name->text, folder);
    return status;
}

int dmsg_identity_load(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_name *name, struct dmsg_error *error)
{
    return load(out, context, folder, name, NULL, error);
}

int dmsg_identity_load_again(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_identity *before, struct dmsg_error *error)
{
    return load(out, context, folder, &before->name, before->tokens, error);
}
