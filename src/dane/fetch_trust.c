#include "dane/fetch_trust.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <dirent.h>
#include <fcntl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define READ_CHUNK 65536

static void read_file(struct dmsg_buffer *out, int folder, const char *path)
{
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    for (;;) {
        uint8_t *to = dmsg_buffer_reserve(out, READ_CHUNK);
        ssize_t got = to != NULL ? read(fd, to, READ_CHUNK) : 0;
        if (got <= 0)
            break;
        out->size += (size_t)got;
    }
    dmsg_buffer_put_byte(out, '\n'); /* a file may lack the last line's end */
}

/* "5ed36f99.0", as openssl-rehash(1) names certificates; revocation lists have an r. */
static bool hashed(const char *name)
{
    return strspn(name, "0123456789abcdef") == 8 && name[8] == '.' && name[9] != '\0' &&
           strspn(name + 9, "0123456789") == strlen(name + 9);
}

static void read_folder(struct dmsg_buffer *out, const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (hashed(entry->d_name))
            read_file(out, dirfd(folder), entry->d_name);
    }
    (void)closedir(folder);
}

/* As X509_STORE_set_default_paths has it: several folders with colons between them. */
static void read_folders(struct dmsg_buffer *out, const char *paths)
{
    char *copy DMSG_CLEANUP(dmsg_cleanup_free) = strdup(paths);
    char *rest = NULL;
    if (copy == NULL) {
        out->failed = true;
        return;
    }
    for (char *path = strtok_r(copy, ":", &rest); path != NULL; path = strtok_r(NULL, ":", &rest))
        read_folder(out, path);
}

int dmsg_trust_read(struct dmsg_buffer *out, struct dmsg_error *error)
{
    const char *file = getenv(X509_get_default_cert_file_env());
    const char *folders = getenv(X509_get_default_cert_dir_env());
    size_t before = out->size;
    read_file(out, AT_FDCWD, file != NULL ? file : X509_get_default_cert_file());
    if (folders != NULL)
        read_folders(out, folders);
    else if (file == NULL && out->size == before)
        read_folders(out, X509_get_default_cert_dir());
    if (out->failed)
        return dmsg_fail(error, DMSG_E_SIZE, "more than %zu octets of CA certificates", out->limit);
    if (out->size == before)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "this system has no CA certificates: install ca-certificates, or set SSL_CERT_FILE");
    return 0;
}
