#include "x509/save.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/pem.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE 0600
#define FOLDER_MODE 0700

/* Key, certificate or request, and the same for encryption. */
#define STAGED_MAX 4

/* ".new-" and 16 hexadecimal digits. */
#define TEMPORARY_SIZE 24

/* A file that is on disk under a temporary name, and then under its own. */
struct staged {
    char temporary[TEMPORARY_SIZE]; /* empty once renamed */
    char file[DMSG_FILE_NAME_SIZE];
    bool placed;
};

struct save {
    struct dmsg_folder folder;
    const struct dmsg_name *name;
    const struct dmsg_save_options *options;
    size_t count;
    struct staged files[STAGED_MAX]; /* the key first */
    bool done;
};

static bool give_away(const struct dmsg_save_options *options)
{
    return options->set_owner && geteuid() == 0;
}

/* Takes away what a failed save left behind; nothing that was there before. */
static void save_done(struct save *save)
{
    for (size_t i = 0; i < save->count; i++) {
        struct staged *staged = &save->files[i];
        if (staged->temporary[0] != '\0')
            (void)unlinkat(save->folder.fd, staged->temporary, 0);
        if (staged->placed && !save->done && !save->options->replace)
            (void)unlinkat(save->folder.fd, staged->file, 0);
    }
    dmsg_folder_done(&save->folder);
}

/* --------------------------------------------------------------------------------- folders */

static int make_folder(
    const char *path, const struct dmsg_save_options *options, struct dmsg_error *error)
{
    if (mkdir(path, FOLDER_MODE) < 0) {
        /* With EROFS or EACCES it may be there all the same; opening it will tell. */
        if (errno == EEXIST || errno == EROFS || errno == EACCES)
            return 0;
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "making the folder %s", path);
    }
    if (!give_away(options))
        return 0;
    DMSG_CLEANUP(dmsg_cleanup_fd)
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, options->owner, (gid_t)-1) < 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "giving the folder %s to user %u", path, (unsigned)options->owner);
    return 0;
}

static int make_folders(
    const char *path, const struct dmsg_save_options *options, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *copy = strdup(path);
    if (copy == NULL)
        return dmsg_fail_memory(error);
    for (char *slash = strchr(copy + (copy[0] == '/'), '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int status = make_folder(copy, options, error);
        *slash = '/';
        if (status < 0)
            return status;
    }
    return make_folder(copy, options, error);
}

/* --------------------------------------------------------------------------------- staging */

static int write_all(int fd, struct dmsg_span content)
{
    while (content.size > 0) {
        ssize_t written = write(fd, content.data, content.size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        content.data += written;
        content.size -= (size_t)written;
    }
    return 0;
}

static int make_temporary(
    int *out, struct save *save, struct staged *staged, struct dmsg_error *error)
{
    uint64_t random;
    if (RAND_bytes((unsigned char *)&random, sizeof random) != 1)
        return dmsg_fail_openssl(error, "naming a temporary file");
    snprintf(
        staged->temporary, sizeof staged->temporary, ".new-%016llx", (unsigned long long)random);
    int fd = openat(save->folder.fd, staged->temporary,
        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        staged->temporary[0] = '\0';
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "making a file in %s", save->folder.path);
    }
    *out = fd;
    return 0;
}

/* The file that it will be is named in the next of save->files already. */
static int stage_named(struct save *save, struct dmsg_span content, struct dmsg_error *error)
{
    struct staged *staged = &save->files[save->count];
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = -1;
    int status = make_temporary(&fd, save, staged, error);
    if (status < 0)
        return status;
    save->count++;
    if (fchmod(fd, FILE_MODE) < 0 || write_all(fd, content) < 0 || fsync(fd) < 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "writing %s/%s", save->folder.path, staged->file);
    if (give_away(save->options) && fchown(fd, save->options->owner, (gid_t)-1) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "giving %s/%s to user %u", save->folder.path,
            staged->file, (unsigned)save->options->owner);
    return 0;
}

static int stage(struct save *save, bool encryption, enum dmsg_file_kind kind,
    struct dmsg_span content, struct dmsg_error *error)
{
    struct dmsg_file which = {save->options->role, encryption, kind};
    int status = dmsg_file_name(save->files[save->count].file, save->name, which, error);
    return status == 0 ? stage_named(save, content, error) : status;
}

/* uri: where the key is, when it is not one to be written; NULL otherwise. */
static int stage_key(
    struct save *save, bool encryption, EVP_PKEY *key, const char *uri, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer secret = {0};
    int status = 0;
    if (uri != NULL)
        dmsg_buffer_format(&secret, "%s\n", uri);
    else
        status = dmsg_pem_put_private_key(&secret, key, error);
    if (status == 0 && secret.failed)
        status = dmsg_fail_memory(error);
    return status < 0 ? status
                      : stage(save, encryption, uri != NULL ? DMSG_FILE_KEY_URI : DMSG_FILE_KEY,
                            dmsg_buffer_span(&secret), error);
}

static int stage_pair(struct save *save, bool encryption, EVP_PKEY *key, const char *uri,
    X509 *certificate, X509_REQ *request, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    enum dmsg_file_kind kind = request != NULL ? DMSG_FILE_REQUEST : DMSG_FILE_CERTIFICATE;
    int status = stage_key(save, encryption, key, uri, error);
    if (status == 0 && request != NULL)
        status = dmsg_pem_put_request(&text, request, error);
    else if (status == 0 && certificate != NULL)
        status = dmsg_pem_put_certificate(&text, certificate, error);
    if (status == 0 && text.size > 0)
        status = stage(save, encryption, kind, dmsg_buffer_span(&text), error);
    return status;
}

/* --------------------------------------------------------------------------------- placing */

/* Renames, and without replace only where nothing is. */
static int place(struct save *save, struct staged *staged, struct dmsg_error *error)
{
    int fd = save->folder.fd;
    unsigned flags = save->options->replace ? 0 : RENAME_NOREPLACE;
    int status = renameat2(fd, staged->temporary, fd, staged->file, flags);
    if (status < 0 && errno == EINVAL && flags != 0) { /* a file system that cannot promise it */
        int there = dmsg_file_present(&save->folder, staged->file, error);
        if (there < 0)
            return there;
        errno = EEXIST;
        status = there ? -1 : renameat(fd, staged->temporary, fd, staged->file);
    }
    if (status < 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "writing %s/%s", save->folder.path, staged->file);
    staged->temporary[0] = '\0';
    staged->placed = true;
    return 0;
}

static int remove_file(struct save *save, struct dmsg_file which, struct dmsg_error *error)
{
    char file[DMSG_FILE_NAME_SIZE];
    int status = dmsg_file_name(file, save->name, which, error);
    if (status < 0)
        return status;
    if (unlinkat(save->folder.fd, file, 0) < 0 && errno != ENOENT)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "removing %s/%s", save->folder.path, file);
    return 0;
}

/* Every file of the role but the key goes before the new key comes. */
static int remove_old(struct save *save, struct dmsg_error *error)
{
    int status = 0;
    for (unsigned i = 0; status == 0 && i < 2 * DMSG_FILE_KINDS; i++) {
        struct dmsg_file which = {
            save->options->role, i >= DMSG_FILE_KINDS, (enum dmsg_file_kind)(i % DMSG_FILE_KINDS)};
        if (which.encryption || !dmsg_file_is_key(which.kind))
            status = remove_file(save, which, error);
    }
    return status;
}

/* The key before was in hardware, and the new one is in a file, or the other way round. Until it is
   gone both are there, and nothing is loaded: nor is anything lost. */
static int remove_other_key(struct save *save, struct dmsg_error *error)
{
    char file[DMSG_FILE_NAME_SIZE];
    struct dmsg_file other = {save->options->role, false, DMSG_FILE_KEY};
    int status = dmsg_file_name(file, save->name, other, error);
    if (status < 0)
        return status;
    if (strcmp(file, save->files[0].file) == 0)
        other.kind = DMSG_FILE_KEY_URI;
    return remove_file(save, other, error);
}

static int refuse_existing(const struct save *save, struct dmsg_error *error)
{
    struct dmsg_file_list list;
    char file[DMSG_FILE_NAME_SIZE];
    int status = dmsg_file_list_read(&list, save->folder.path, save->name, error);
    if (status < 0)
        return status;
    size_t found = 0;
    while (found < list.count && list.files[found].role != save->options->role)
        found++;
    if (found == list.count)
        return 0;
    status = dmsg_file_name(file, save->name, list.files[found], error);
    if (status < 0)
        return status;
    return dmsg_fail(error, DMSG_E_LOCAL, "%s/%s is there already, and nothing was written",
        save->folder.path, file);
}

static int sync_folder(const struct save *save, struct dmsg_error *error)
{
    if (fsync(save->folder.fd) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing the folder %s", save->folder.path);
    return 0;
}

static int place_all(struct save *save, struct dmsg_error *error)
{
    int status = save->options->replace ? remove_old(save, error) : refuse_existing(save, error);
    for (size_t i = 0; status == 0 && i < save->count; i++) {
        status = place(save, &save->files[i], error);
        if (status == 0 && i == 0 && save->options->replace)
            status = remove_other_key(save, error);
    }
    if (status == 0)
        status = sync_folder(save, error);
    save->done = status == 0;
    return status;
}

int dmsg_material_save(const char *folder, const struct dmsg_name *name,
    const struct dmsg_material *material, const struct dmsg_save_options *options,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(save_done)
    struct save save = {.folder = DMSG_FOLDER_NONE, .name = name, .options = options};
    int status = make_folders(folder, options, error);
    if (status == 0)
        status = dmsg_folder_open(&save.folder, folder, error);
    if (status == 0)
        status = stage_pair(&save, false, material->key, material->uri, material->certificate,
            material->request, error);
    if (status == 0 && material->encryption_key != NULL)
        status = stage_pair(&save, true, material->encryption_key, NULL,
            material->encryption_certificate, NULL, error);
    if (status == 0)
        status = place_all(&save, error);
    return status;
}

/* -------------------------------------------------------------------------------- one file */

int dmsg_file_owner(uid_t *out, const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_error *error)
{
    char file[DMSG_FILE_NAME_SIZE];
    struct stat found;
    int status = dmsg_file_name(file, name, (struct dmsg_file){.kind = DMSG_FILE_KEY_URI}, error);
    if (status == 0)
        status = dmsg_file_present(folder, file, error);
    if (status == 0)
        status = dmsg_file_name(file, name, (struct dmsg_file){.kind = DMSG_FILE_KEY}, error);
    if (status < 0)
        return status;
    if (fstatat(folder->fd, file, &found, AT_SYMLINK_NOFOLLOW) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "looking for %s/%s", folder->path, file);
    *out = found.st_uid;
    return 0;
}

int dmsg_file_replace(const struct dmsg_folder *folder, const struct dmsg_name *name,
    const char *file, struct dmsg_span content, struct dmsg_error *error)
{
    struct dmsg_save_options options = {.replace = true};
    DMSG_CLEANUP(save_done)
    struct save save = {.folder = DMSG_FOLDER_NONE, .name = name, .options = &options};
    save.folder = (struct dmsg_folder){fcntl(folder->fd, F_DUPFD_CLOEXEC, 0), folder->path};
    if (save.folder.fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening %s", folder->path);
    options.set_owner = dmsg_file_owner(&options.owner, folder, name, NULL) == 0;
    snprintf(save.files[0].file, sizeof save.files[0].file, "%s", file);
    int status = stage_named(&save, content, error);
    if (status == 0)
        status = place(&save, &save.files[0], error);
    return status == 0 ? sync_folder(&save, error) : status;
}
