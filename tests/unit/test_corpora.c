/*
 * Replays the corpora of fuzz/ through the fuzz targets: what fuzzing once found worth keeping is
 * looked at in every run, with every compiler and sanitizer. A target that finds a fault ends the
 * program; what is judged here is the corpus itself.
 */
#include "test.h"

#include <dirent.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Kept small, so that replaying takes no time and a checkout no space. */
#define FILES_MAX 180
#define SIZE_MAX_OF_ONE 16384

#define FOLDER_MAX 4096

#define TARGETS(X)                                                                                 \
    X(base64url)                                                                                   \
    X(certificate)                                                                                 \
    X(compact)                                                                                     \
    X(envelope)                                                                                    \
    X(flattened)                                                                                   \
    X(frame)                                                                                       \
    X(json_header)                                                                                 \
    X(name)                                                                                        \
    X(publish)                                                                                     \
    X(tlsa)                                                                                        \
    X(uri)

#define DECLARE(name)                                                                              \
    int fuzz_run_##name(const uint8_t *data, size_t size);                                         \
    extern unsigned long fuzz_accepted_##name;
TARGETS(DECLARE)

typedef int target(const uint8_t *data, size_t size);

static bool is_named_by_content(const char *name, const uint8_t *data, size_t size)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char expected[2 * EVP_MAX_MD_SIZE + 1] = "";
    size_t digest_size = 0;
    if (EVP_Q_digest(NULL, "SHA1", NULL, data, size, digest, &digest_size) != 1)
        return false;
    for (size_t i = 0; i < digest_size; i++)
        snprintf(expected + 2 * i, 3, "%02x", digest[i]);
    return strcmp(name, expected) == 0;
}

/* Memory of exactly the file's size, so that a sanitizer sees every octet beyond it. */
static uint8_t *read_file(const char *path, size_t *size)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &about) != 0 || about.st_size > SIZE_MAX_OF_ONE) {
        if (file != NULL)
            fclose(file);
        return NULL;
    }
    *size = (size_t)about.st_size;
    uint8_t *data = malloc(*size > 0 ? *size : 1);
    if (data != NULL && fread(data, 1, *size, file) != *size) {
        free(data);
        data = NULL;
    }
    fclose(file);
    return data;
}

static void replay_file(target *run, const char *folder, const char *name)
{
    char path[FOLDER_MAX + 256 + 2];
    size_t size = 0;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    uint8_t *data = read_file(path, &size);
    CHECK_ROW(data != NULL, "%s: cannot be read, or over %d octets", path, SIZE_MAX_OF_ONE);
    if (data == NULL)
        return;
    CHECK_ROW(is_named_by_content(name, data, size), "%s: not named by its content", path);
    CHECK_ROW(run(data, size) == 0, "%s", path);
    free(data);
}

static void replay(target *run, const char *name, const unsigned long *accepted)
{
    char path[FOLDER_MAX];
    const char *source = getenv("DANEMSG_SOURCE");
    unsigned long files = 0;
    snprintf(path, sizeof path, "%s/fuzz/%s/corpus", source != NULL ? source : ".", name);
    DIR *folder = opendir(path);
    CHECK_ROW(folder != NULL, "%s: cannot be opened", path);
    if (folder == NULL)
        return;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] == '.')
            continue;
        replay_file(run, path, entry->d_name);
        files++;
    }
    closedir(folder);
    printf("# %s: %lu files, accepted %lu times\n", name, files, *accepted);
    CHECK_ROW(files <= FILES_MAX, "%s: %lu files, at most %d are wanted", path, files, FILES_MAX);
    CHECK_ROW(*accepted > 0, "%s: no input is accepted", path);
    CHECK_ROW(*accepted < files, "%s: no input is refused", path);
}

#define DEFINE(name)                                                                               \
    static void replay_##name(void)                                                                \
    {                                                                                              \
        replay(fuzz_run_##name, #name, &fuzz_accepted_##name);                                     \
    }
TARGETS(DEFINE)

#define ROW(name) TEST(replay_##name),
TEST_MAIN(TARGETS(ROW))
