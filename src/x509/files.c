#include "x509/files.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OTHERS_MAY_ANYTHING (S_IRWXG | S_IRWXO)

static const char *const role_parts[] = {
    [DMSG_KEY_CURRENT] = "", [DMSG_KEY_NEXT] = ".next", [DMSG_KEY_OLD] = ".old"};

static const char *const kind_parts[] = {[DMSG_FILE_KEY] = ".key.pem",
    [DMSG_FILE_KEY_URI] = ".key.uri",
    [DMSG_FILE_CERTIFICATE] = ".crt.pem",
    [DMSG_FILE_REQUEST] = ".csr.pem"};

int dmsg_file_name(char out[static DMSG_FILE_NAME_SIZE], const struct dmsg_name *name,
    struct dmsg_file file, struct dmsg_error *error)
{
    struct dmsg_name again;
    struct dmsg_span text = {(const uint8_t *)name->text, name->size};
    int status = dmsg_name_parse(&again, text, error);
    if (status < 0)
        return status;
    if (!dmsg_name_equal(&again, name) || name->size > DMSG_OWN_NAME_MAX)
        return dmsg_fail(error, DMSG_E_NAME,
            "the name cannot be a file name: it is not in canonical form, or over %d characters",
            DMSG_OWN_NAME_MAX);
    snprintf(out, DMSG_FILE_NAME_SIZE, "%.*s%s%s%s", DMSG_OWN_NAME_MAX, name->text,
        role_parts[file.role], file.encryption ? ".enc" : "", kind_parts[file.kind]);
    return 0;
}

int dmsg_folder_open(struct dmsg_folder *out, const char *path, struct dmsg_error *error)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening the folder of identities, %s", path);
    *out = (struct dmsg_folder){fd, path};
    return 0;
}

void dmsg_folder_done(struct dmsg_folder *folder)
{
    if (folder->fd >= 0)
        close(folder->fd);
    folder->fd = -1;
}

int dmsg_file_present(const struct dmsg_folder *folder, const char *file, struct dmsg_error *error)
{
    struct stat status;
    if (fstatat(folder->fd, file, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    if (errno == ENOENT)
        return 0;
    return dmsg_fail_errno(error, DMSG_E_LOCAL, "looking for %s/%s", folder->path, file);
}

int dmsg_file_list_read(struct dmsg_file_list *out, const char *path, const struct dmsg_name *name,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    struct dmsg_file_list found = {0};
    char file[DMSG_FILE_NAME_SIZE];
    struct stat status;
    if (stat(path, &status) < 0 && errno == ENOENT) {
        *out = found;
        return 0;
    }
    int result = dmsg_folder_open(&folder, path, error);
    for (unsigned i = 0; result >= 0 && i < DMSG_FILES_MAX; i++) {
        struct dmsg_file which = {(enum dmsg_key_role)(i / (2 * DMSG_FILE_KINDS)),
            i / DMSG_FILE_KINDS % 2 == 1, (enum dmsg_file_kind)(i % DMSG_FILE_KINDS)};
        result = dmsg_file_name(file, name, which, error);
        if (result == 0)
            result = dmsg_file_present(&folder, file, error);
        if (result == 1)
            found.files[found.count++] = which;
    }
    if (result < 0)
        return result;
    *out = found;
    return 0;
}

/* ---------------------------------------------------------------------------------- reading */

static int check_secret(const struct stat *status, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error)
{
    uid_t self = geteuid();
    if ((status->st_mode & OTHERS_MAY_ANYTHING) != 0)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the key file is open to others (mode %04o): run chmod 600 %s/%s",
            (unsigned)status->st_mode & 07777, folder->path, file);
    if (self != 0 && status->st_uid != self && status->st_uid != 0)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the key file belongs to user %u, and not to us (%u): run chown %u %s/%s",
            (unsigned)status->st_uid, (unsigned)self, (unsigned)self, folder->path, file);
    return 0;
}

/* Opens a regular file; a FIFO in its place does not block. */
static int open_file(int *out, const struct dmsg_folder *folder, const char *file, bool secret,
    struct dmsg_error *error)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (secret ? O_NOFOLLOW : 0);
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = openat(folder->fd, file, flags);
    struct stat status;
    if (fd < 0 && errno == ELOOP)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "a key is not read through a symbolic link: put the file itself at %s/%s", folder->path,
            file);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening %s/%s", folder->path, file);
    if (fstat(fd, &status) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "looking at %s/%s", folder->path, file);
    if (!S_ISREG(status.st_mode))
        return dmsg_fail(error, DMSG_E_LOCAL, "%s/%s is not a regular file", folder->path, file);
    int result = secret ? check_secret(&status, folder, file, error) : 0;
    if (result < 0)
        return result;
    *out = fd;
    fd = -1;
    return 0;
}

/* Appends the whole file, at most out->limit octets. */
static int read_file(struct dmsg_buffer *out, const struct dmsg_folder *folder, const char *file,
    bool secret, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = -1;
    int result = open_file(&fd, folder, file, secret, error);
    if (result < 0)
        return result;
    for (;;) {
        uint8_t *to = dmsg_buffer_reserve(out, 1);
        if (to == NULL)
            break;
        size_t room = out->capacity - out->size;
        if (room > out->limit - out->size)
            room = out->limit - out->size;
        ssize_t got = read(fd, to, room);
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading %s/%s", folder->path, file);
        if (got > 0)
            out->size += (size_t)got;
    }
    return dmsg_fail(error, DMSG_E_LOCAL,
        "%s/%s is over %zu octets, too long for what it should be", folder->path, file,
        out->limit - 1);
}

int dmsg_file_read_key(EVP_PKEY **out, const struct dmsg_context *context,
    const struct dmsg_folder *folder, const char *file, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = DMSG_KEY_FILE_MAX + 1};
    int status = read_file(&text, folder, file, true, error);
    if (status < 0)
        return status;
    status = dmsg_pem_read_private_key(out, context, dmsg_buffer_span(&text), error);
    return status < 0 ? dmsg_fail_in(error, status, "%s/%s", folder->path, file) : 0;
}

/* Of a file anywhere. */
static int read_path(
    struct dmsg_buffer *out, const char *path, bool secret, struct dmsg_error *error)
{
    const char *slash = strrchr(path, '/');
    size_t size = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    char *parent DMSG_CLEANUP(dmsg_cleanup_free) = size > 0 ? strndup(path, size) : strdup(".");
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    if (parent == NULL)
        return dmsg_fail_memory(error);
    folder = (struct dmsg_folder){open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent};
    if (folder.fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening the folder %s", parent);
    return read_file(out, &folder, slash != NULL ? slash + 1 : path, secret, error);
}

int dmsg_file_read_secret(struct dmsg_buffer *out, const char *path, struct dmsg_error *error)
{
    return read_path(out, path, true, error);
}

int dmsg_file_read_secret_in(struct dmsg_buffer *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error)
{
    return read_file(out, folder, file, true, error);
}

int dmsg_file_read_text(struct dmsg_buffer *out, const struct dmsg_folder *folder, const char *file,
    struct dmsg_error *error)
{
    return read_file(out, folder, file, false, error);
}

static int parse_one(struct dmsg_certificate *out, struct dmsg_span text, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer der = {0};
    int status = dmsg_pem_read_certificate(&der, text, error);
    return status == 0 ? dmsg_certificate_parse(out, dmsg_buffer_span(&der), error) : status;
}

int dmsg_file_read_certificate(struct dmsg_certificate *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done)
    struct dmsg_buffer text = {.limit = DMSG_CERTIFICATE_FILE_MAX + 1};
    int status = read_file(&text, folder, file, false, error);
    if (status < 0)
        return status;
    status = parse_one(out, dmsg_buffer_span(&text), error);
    return status < 0 ? dmsg_fail_in(error, status, "%s/%s", folder->path, file) : 0;
}

/* ----------------------------------------------------------------------------------- chains */

static int take_certificate(void *user, struct dmsg_span der, struct dmsg_error *error)
{
    STACK_OF(X509) **chain = user;
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate certificate = {0};
    int status = dmsg_certificate_parse(&certificate, der, error);
    if (status < 0) /* a local file, whatever is wrong with it */
        return dmsg_fail_in(error, status == DMSG_E_INTERNAL ? status : DMSG_E_LOCAL,
            "its certificate number %d", *chain != NULL ? sk_X509_num(*chain) + 1 : 1);
    return dmsg_chain_add(chain, certificate.x509, error);
}

static int check_order(const STACK_OF(X509) * chain, struct dmsg_error *error)
{
    int count = sk_X509_num(chain);
    if (count > 1 + DMSG_ISSUERS_MAX)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "it has %d certificates: keep the own one and at most %d issuers", count,
            DMSG_ISSUERS_MAX);
    for (int i = 1; i < count; i++) {
        if (X509_check_issued(sk_X509_value(chain, i), sk_X509_value(chain, i - 1)) != X509_V_OK)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "its certificate number %d is not the issuer of the one before: the own "
                "certificate comes first, then the one that issued it, and so on",
                i + 1);
    }
    return 0;
}

int dmsg_file_read_chain(struct dmsg_certificate *leaf, STACK_OF(X509) * *issuers,
    const struct dmsg_folder *folder, const char *file, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done)
    struct dmsg_buffer text = {.limit = DMSG_CERTIFICATE_FILE_MAX + 1};
    DMSG_CLEANUP(dmsg_chain_free) STACK_OF(X509) *chain = NULL;
    int status = read_file(&text, folder, file, false, error);
    if (status < 0)
        return status;
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate first = {0};
    status = parse_one(&first, dmsg_buffer_span(&text), error);
    if (status == 0)
        status =
            dmsg_pem_read_certificates(dmsg_buffer_span(&text), take_certificate, &chain, error);
    if (status == 0)
        status = check_order(chain, error);
    if (status < 0)
        return dmsg_fail_in(error, status, "%s/%s", folder->path, file);
    X509_free(sk_X509_shift(chain));
    *leaf = first;
    first = (struct dmsg_certificate){0};
    if (sk_X509_num(chain) > 0) {
        *issuers = chain;
        chain = NULL;
    }
    return 0;
}

int dmsg_file_read_issuers(STACK_OF(X509) * *out, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done)
    struct dmsg_buffer text = {.limit = DMSG_ISSUERS_FILE_MAX + 1};
    DMSG_CLEANUP(dmsg_chain_free) STACK_OF(X509) *chain = NULL;
    int status = read_path(&text, path, false, error);
    if (status < 0)
        return status;
    status = dmsg_pem_read_certificates(dmsg_buffer_span(&text), take_certificate, &chain, error);
    if (status < 0)
        return dmsg_fail_in(error, status, "%s", path);
    *out = chain;
    chain = NULL;
    return 0;
}
