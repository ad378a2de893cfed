#include "danemsg/identity.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/files.h"

#include <openssl/err.h>
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

struct loading {
    struct dmsg_identity *identity;
    struct dmsg_folder folder;
    enum dmsg_key_role role;
    bool encryption;
    char key[DMSG_FILE_NAME_SIZE], uri[DMSG_FILE_NAME_SIZE], certificate[DMSG_FILE_NAME_SIZE];
};

static int name_files(struct loading *loading, struct dmsg_error *error)
{
    const struct dmsg_name *name = &loading->identity->name;
    struct dmsg_file file = {loading->role, loading->encryption, DMSG_FILE_KEY};
    int status = dmsg_file_name(loading->key, name, file, error);
    file.kind = DMSG_FILE_KEY_URI;
    if (status == 0)
        status = dmsg_file_name(loading->uri, name, file, error);
    file.kind = DMSG_FILE_CERTIFICATE;
    if (status == 0)
        status = dmsg_file_name(loading->certificate, name, file, error);
    return status;
}

/* There is no key file: fine where none is needed and nothing points to one. */
static int explain_missing(const struct loading *loading, struct dmsg_error *error)
{
    const char *path = loading->folder.path;
    int uri = dmsg_file_present(&loading->folder, loading->uri, error);
    if (uri < 0)
        return uri;
    if (uri == 1)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s names a key in hardware, which this build cannot load: a key file %s is needed",
            path, loading->uri, loading->key);
    int certificate = dmsg_file_present(&loading->folder, loading->certificate, error);
    if (certificate < 0)
        return certificate;
    if (certificate == 1)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s is there without its key %s: bring the key back, or move the certificate away",
            path, loading->certificate, loading->key);
    if (loading->role == DMSG_KEY_CURRENT && !loading->encryption)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "there is no key %s/%s: `danemsg identity new` makes one", path, loading->key);
    return 0;
}

static int read_pair(const struct loading *loading, EVP_PKEY **key,
    struct dmsg_certificate *certificate, struct dmsg_error *error)
{
    int status =
        dmsg_file_read_key(key, loading->identity->context, &loading->folder, loading->key, error);
    if (status < 0)
        return status;
    int present = dmsg_file_present(&loading->folder, loading->certificate, error);
    if (present <= 0)
        return present;
    status = dmsg_file_read_certificate(certificate, &loading->folder, loading->certificate, error);
    if (status < 0)
        return status;
    if (!belong_together(*key, certificate->key))
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s and %s in %s do not belong together: the certificate is of another key; put the "
            "right one there, or move it away",
            loading->key, loading->certificate, loading->folder.path);
    return 0;
}

static int load_key(struct loading *loading, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *key = NULL;
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate certificate = {0};
    int status = name_files(loading, error);
    if (status < 0)
        return status;
    int present = dmsg_file_present(&loading->folder, loading->key, error);
    if (present < 0)
        return present;
    if (present == 0)
        return explain_missing(loading, error);
    status = read_pair(loading, &key, &certificate, error);
    if (status < 0)
        return status;
    unsigned purposes = loading->encryption ? DMSG_FOR_ENCRYPTION : ANY_PURPOSE;
    status = add(loading->identity, loading->role, key, certificate.x509, purposes, error);
    if (status < 0)
        return dmsg_fail_in(error, status, "the %s key %s/%s", role_words[loading->role],
            loading->folder.path, loading->key);
    return 0;
}

int dmsg_identity_load(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_name *name, struct dmsg_error *error)
{
    static const enum dmsg_key_role roles[] = {DMSG_KEY_CURRENT, DMSG_KEY_NEXT, DMSG_KEY_OLD};
    DMSG_CLEANUP(cleanup_identity) struct dmsg_identity *made = NULL;
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder open = DMSG_FOLDER_NONE;
    int status = dmsg_identity_new(&made, context, name, error);
    if (status == 0)
        status = dmsg_folder_open(&open, folder, error);
    for (size_t i = 0; status == 0 && i < 2 * sizeof roles / sizeof roles[0]; i++) {
        struct loading loading = {
            .identity = made, .folder = open, .role = roles[i / 2], .encryption = i % 2 == 1};
        status = load_key(&loading, error);
    }
    if (status < 0)
        return status;
    *out = made;
    made = NULL;
    return 0;
}
