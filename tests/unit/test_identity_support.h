/* A folder of identity files for one test, made and taken away again. */
#ifndef DANEMSG_TEST_IDENTITY_SUPPORT_H
#define DANEMSG_TEST_IDENTITY_SUPPORT_H

#include "test_x509_support.h"

#include "x509/files.h"
#include "x509/pem.h"
#include "x509/save.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIGN DMSG_FOR_SIGNATURES
#define ENCRYPT DMSG_FOR_ENCRYPTION
#define BOTH (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)

#define NAME "alice.example"
#define PATH_SIZE 512

static char folder[64];

static const char *path_of(const char *file)
{
    static char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%.400s", folder, file);
    return path;
}

static inline int remove_one(
    const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status, (void)type, (void)where;
    return remove(path);
}

static inline void remove_all(const char *path)
{
    (void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static inline void folder_begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/danemsg-test-XXXXXX");
    if (mkdtemp(folder) == NULL)
        abort();
}

static inline void folder_end(void)
{
    remove_all(folder);
}

static inline size_t files_in(const char *path)
{
    size_t count = 0;
    DIR *open = opendir(path);
    struct dirent *entry;
    while (open != NULL && (entry = readdir(open)) != NULL)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (open != NULL)
        closedir(open);
    return count;
}

static inline void put_file(const char *file, struct dmsg_span content, mode_t mode)
{
    (void)unlink(path_of(file));
    int fd = open(path_of(file), O_WRONLY | O_CREAT | O_EXCL, 0600);
    CHECK(fd >= 0 && write(fd, content.data, content.size) == (ssize_t)content.size);
    CHECK(fchmod(fd, mode) == 0);
    close(fd);
}

static inline struct dmsg_buffer get_file(const char *file)
{
    struct dmsg_buffer out = {0};
    uint8_t bytes[8192];
    int fd = open(path_of(file), O_RDONLY);
    ssize_t size = fd < 0 ? 0 : read(fd, bytes, sizeof bytes);
    dmsg_buffer_put(&out, bytes, size > 0 ? (size_t)size : 0);
    if (fd >= 0)
        close(fd);
    return out;
}

static inline void put_key(const char *file, const EVP_PKEY *key)
{
    struct dmsg_buffer text = {0};
    CHECK(dmsg_pem_put_private_key(&text, key, NULL) == 0);
    put_file(file, dmsg_buffer_span(&text), 0600);
    dmsg_buffer_done(&text);
}

static inline void put_certificate(const char *file, X509 *certificate)
{
    struct dmsg_buffer text = {0};
    CHECK(dmsg_pem_put_certificate(&text, certificate, NULL) == 0);
    put_file(file, dmsg_buffer_span(&text), 0600);
    dmsg_buffer_done(&text);
}

static inline void put_pair(const char *stem, const char *kind)
{
    char file[PATH_SIZE];
    EVP_PKEY *key = key_of(kind), *signer = key_of("EC:prime256v1");
    X509 *certificate = certificate_of(&(struct wanted_certificate){.key = key, .signer = signer});
    snprintf(file, sizeof file, "%s.key.pem", stem);
    put_key(file, key);
    snprintf(file, sizeof file, "%s.crt.pem", stem);
    put_certificate(file, certificate);
    X509_free(certificate);
    EVP_PKEY_free(signer);
    EVP_PKEY_free(key);
}

static struct dmsg_error last;

static inline int load(struct dmsg_identity **out)
{
    struct dmsg_name name = name_of(NAME);
    *out = NULL;
    last = (struct dmsg_error){0};
    return dmsg_identity_load(out, &plain_context, folder, &name, &last);
}

/* Only whether it loads; a text that must be in the error's, or NULL. */
static inline bool loads_with(int status, const char *text)
{
    struct dmsg_identity *identity;
    int got = load(&identity);
    bool good = got == status && (got == 0) == (identity != NULL) &&
                (text == NULL || strstr(last.text, text) != NULL);
    if (!good)
        printf("# %d (%s), wanted %d (%s)\n", got, last.text, status, text ? text : "");
    dmsg_identity_free(&identity);
    return good;
}

static inline int save(const char *where, enum dmsg_key_type type, bool request,
    const struct dmsg_save_options *options)
{
    struct dmsg_name name = name_of(NAME);
    struct dmsg_creation wanted = {.name = &name, .type = type, .days = 30, .request = request};
    struct dmsg_material made = {0};
    if (dmsg_material_create(&made, &plain_context, &wanted, &last) < 0)
        return 1;
    int status = dmsg_material_save(where, &name, &made, options, &last);
    dmsg_material_done(&made);
    return status;
}

static const struct dmsg_save_options keep, replace = {.replace = true};

#endif
