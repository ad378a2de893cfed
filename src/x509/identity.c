#include "danemsg/identity.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/files.h"
#include "x509/mark.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

/* Three roles, each with a key for encryption beside it, and two to spare for keys that live
   elsewhere. */
#define KEYS_MAX 8

#define ANY_PURPOSE (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)

struct dmsg_identity {
    const struct dmsg_context *context;
    struct dmsg_name name;
    size_t count;
    struct dmsg_identity_key keys[KEYS_MAX];
};

static const char *const role_words[] = {
    [DMSG_KEY_CURRENT] = "current", [DMSG_KEY_NEXT] = "next", [DMSG_KEY_OLD] = "old"};

int dmsg_identity_new(struct dmsg_identity **out, const struct dmsg_context *context,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    if (name->size > DMSG_OWN_NAME_MAX)
        return dmsg_fail(error, DMSG_E_NAME, "an own name has at most %d characters, not %d",
            DMSG_OWN_NAME_MAX, name->size);
    struct dmsg_identity *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    made->context = context;
    made->name = *name;
    *out = made;
    return 0;
}

void dmsg_identity_free(struct dmsg_identity **identity)
{
    if (identity == NULL || *identity == NULL)
        return;
    for (size_t i = 0; i < (*identity)->count; i++) {
        EVP_PKEY_free((*identity)->keys[i].key);
        X509_free((*identity)->keys[i].certificate);
        for (size_t j = 0; j < (*identity)->keys[i].issuer_count; j++)
            X509_free((*identity)->keys[i].issuers[j]);
    }
    free(*identity);
    *identity = NULL;
}

static void cleanup_identity(struct dmsg_identity **identity)
{
    dmsg_identity_free(identity);
}

static bool belong_together(const EVP_PKEY *key, const EVP_PKEY *public_key)
{
    bool same = EVP_PKEY_eq(key, public_key) == 1;
    ERR_clear_error();
    return same;
}

/* purposes: those that the place of the key leaves to it. */
static int add(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, unsigned purposes, struct dmsg_error *error)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    struct dmsg_identity_key *added = &identity->keys[identity->count];
    if (identity->count == KEYS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "an identity has at most %d keys", KEYS_MAX);
    if (certificate != NULL && !belong_together(key, X509_get0_pubkey(certificate)))
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "key and certificate do not belong together");
    purposes &= dmsg_key_purposes(key, certificate);
    if (purposes == 0) {
        dmsg_key_describe(description, key);
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "there is no use for this %s key: RSA has 2048 to 8192 bits, EC one of P-256, P-384, "
            "P-521, X25519 is for encryption, Ed25519 for signatures, and a certificate's "
            "KeyUsage must allow it",
            description);
    }
    int status = dmsg_key_id(added->kid, key, error);
    if (status < 0 || EVP_PKEY_up_ref(key) != 1)
        return status < 0 ? status : dmsg_fail_openssl(error, "keeping a key");
    if (certificate != NULL)
        X509_up_ref(certificate);
    added->role = role;
    added->purposes = purposes;
    added->key = key;
    added->certificate = certificate;
    identity->count++;
    return 0;
}

int dmsg_identity_add(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, struct dmsg_error *error)
{
    return add(identity, role, key, certificate, ANY_PURPOSE, error);
}

int dmsg_identity_add_issuer(
    struct dmsg_identity *identity, size_t index, X509 *issuer, struct dmsg_error *error)
{
    struct dmsg_identity_key *key = index < identity->count ? &identity->keys[index] : NULL;
    if (key == NULL || key->certificate == NULL || key->issuer_count == DMSG_ISSUERS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE,
            "no certificate to add an issuer to, or it has %d already", DMSG_ISSUERS_MAX);
    X509 *before = key->issuer_count > 0 ? key->issuers[key->issuer_count - 1] : key->certificate;
    bool issued = X509_check_issued(issuer, before) == X509_V_OK;
    ERR_clear_error();
    if (!issued)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "it did not issue the certificate before it");
    X509_up_ref(issuer);
    key->issuers[key->issuer_count++] = issuer;
    return 0;
}

const struct dmsg_name *dmsg_identity_name(const struct dmsg_identity *identity)
{
    return &identity->name;
}

size_t dmsg_identity_key_count(const struct dmsg_identity *identity)
{
    return identity->count;
}

const struct dmsg_identity_key *dmsg_identity_key_get(
    const struct dmsg_identity *identity, size_t index)
{
    return index < identity->count ? &identity->keys[index] : NULL;
}

const struct dmsg_identity_key *dmsg_identity_current(
    const struct dmsg_identity *identity, enum dmsg_key_purpose purpose)
{
    const struct dmsg_identity_key *found = NULL;
    for (size_t i = 0; i < identity->count; i++) {
        const struct dmsg_identity_key *key = &identity->keys[i];
        if (key->role != DMSG_KEY_CURRENT || (key->purposes & purpose) == 0)
            continue;
        /* A key made for nothing else goes before one that also does. */
        if (found == NULL || (found->purposes != purpose && key->purposes == purpose))
            found = key;
    }
    return found;
}

/* ---------------------------------------------------------------------------------- loading */

/* A key and a certificate for each of the three roles, and for encryption beside them. */
#define SLOTS 6
/* While a rollover moves files, a look at one after the other may miss a key. */
#define LOAD_TRIES 5

struct slot {
    enum dmsg_key_role role;
    bool encryption;
    char key_file[DMSG_FILE_NAME_SIZE], uri_file[DMSG_FILE_NAME_SIZE];
    char certificate_file[DMSG_FILE_NAME_SIZE];
    EVP_PKEY *key;                       /* NULL without one */
    struct dmsg_certificate certificate; /* its x509 is NULL without one */
    STACK_OF(X509) * issuers;            /* that follow it in its file; NULL: none */
};

struct loading {
    const struct dmsg_context *context;
    const struct dmsg_name *name;
    struct dmsg_folder folder;
    struct slot slots[SLOTS];
};

static void loading_done(struct loading *loading)
{
    for (size_t i = 0; i < SLOTS; i++) {
        EVP_PKEY_free(loading->slots[i].key);
        dmsg_certificate_done(&loading->slots[i].certificate);
        dmsg_chain_free(&loading->slots[i].issuers);
    }
}

static int name_files(const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    struct dmsg_file file = {slot->role, slot->encryption, DMSG_FILE_KEY};
    int status = dmsg_file_name(slot->key_file, loading->name, file, error);
    file.kind = DMSG_FILE_KEY_URI;
    if (status == 0)
        status = dmsg_file_name(slot->uri_file, loading->name, file, error);
    file.kind = DMSG_FILE_CERTIFICATE;
    if (status == 0)
        status = dmsg_file_name(slot->certificate_file, loading->name, file, error);
    return status;
}

/* There is no key file: fine where none is needed and nothing points to one. */
static int explain_missing(
    const struct loading *loading, const struct slot *slot, struct dmsg_error *error)
{
    const char *path = loading->folder.path;
    int uri = dmsg_file_present(&loading->folder, slot->uri_file, error);
    if (uri < 0)
        return uri;
    if (uri == 1)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s names a key in hardware, which this build cannot load: a key file %s is needed",
            path, slot->uri_file, slot->key_file);
    if (slot->role == DMSG_KEY_CURRENT && !slot->encryption && slot->certificate.x509 == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "there is no key %s/%s: `danemsg identity new` makes one", path, slot->key_file);
    return 0;
}

static int read_slot(const struct loading *loading, struct slot *slot, struct dmsg_error *error)
{
    int status = name_files(loading, slot, error);
    int present = status < 0 ? status : dmsg_file_present(&loading->folder, slot->key_file, error);
    if (present == 1) {
        status = dmsg_file_read_key(
            &slot->key, loading->context, &loading->folder, slot->key_file, error);
        if (status < 0)
            return status;
    }
    if (present >= 0)
        present = dmsg_file_present(&loading->folder, slot->certificate_file, error);
    if (present == 1)
        present = dmsg_file_read_chain(
            &slot->certificate, &slot->issuers, &loading->folder, slot->certificate_file, error);
    if (present < 0)
        return present;
    return slot->key == NULL ? explain_missing(loading, slot, error) : 0;
}

static bool is_of(const struct slot *certificate, const struct slot *key)
{
    return certificate->certificate.x509 != NULL && key->key != NULL &&
           certificate->encryption == key->encryption &&
           belong_together(key->key, certificate->certificate.key);
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

static int add_slot(struct dmsg_identity *identity, const struct loading *loading,
    const struct slot *slot, struct dmsg_error *error)
{
    if (slot->key == NULL)
        return 0;
    const struct slot *at = find_certificate(loading, slot);
    X509 *certificate = at != NULL ? at->certificate.x509 : NULL;
    unsigned purposes = slot->encryption ? DMSG_FOR_ENCRYPTION : ANY_PURPOSE;
    int status = add(identity, slot->role, slot->key, certificate, purposes, error);
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
    struct loading loading = {
        .context = identity->context, .name = &identity->name, .folder = folder};
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

int dmsg_identity_load(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_name *name, struct dmsg_error *error)
{
    int status = 1;
    for (int i = 0; status == 1 && i < LOAD_TRIES; i++) {
        DMSG_CLEANUP(cleanup_identity) struct dmsg_identity *made = NULL;
        status = dmsg_identity_new(&made, context, name, error);
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
