/* The folder of the root's trust anchors, seen from the parent: one keeper, good files only. */
#include "dane/trust.h"

#include "dane/frame.h"
#include "test.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char scratch[] = "/tmp/danemsg-trust-XXXXXX";
static char folder[sizeof scratch + 16], file[sizeof folder + 16];

/* unbound's own file, of a root that has one key. */
#define KEPT                                                                                       \
    "; autotrust trust anchor file\n;;id: . 1\n;;last_queried: %lld ;;x\n;;last_success: %lld "    \
    ";;x\n"                                                                                        \
    ".\t172800\tIN\tDNSKEY\t257 3 13 "                                                             \
    "mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+KkxLbxILfDLUT0rAK9iUzy1L53eKGQ== "    \
    ";{id = 1 (ksk), size = 256b} ;;state=2 [  VALID  ] ;;count=0 ;;lastchange=1 ;;x\n"

static void write_kept(int64_t age)
{
    long long at = (long long)(time(NULL) - age);
    FILE *out = fopen(file, "w");
    if (out == NULL)
        return;
    fprintf(out, KEPT, at, at);
    fclose(out);
}

static void write_text(const char *text)
{
    FILE *out = fopen(file, "w");
    if (out == NULL)
        return;
    fputs(text, out);
    fclose(out);
}

/* What a new process gets: the kind of its items, and how many of them are the kept key. */
struct given {
    size_t keep, anchors, kept_key;
};

static struct given put(struct dmsg_trust *trust, bool failed, int64_t now_ms)
{
    struct given given = {0};
    struct dmsg_buffer body = {0};
    struct dmsg_setup_item item;
    dmsg_trust_put(trust, &body, failed, now_ms);
    struct dmsg_span rest = dmsg_buffer_span(&body);
    while (dmsg_setup_take(&item, &rest, NULL) == 1) {
        given.keep += item.kind == DMSG_SETUP_KEEP && strcmp(item.text, "root.key") == 0;
        given.anchors += item.kind == DMSG_SETUP_ANCHOR;
        given.kept_key += strstr(item.text, "mdsswUyr3DPW132mOi8V9xESWE8jTo0dx") != NULL;
    }
    CHECK(rest.size == 0);
    dmsg_buffer_done(&body);
    return given;
}

static void clear(void)
{
    char lock[sizeof folder + 16];
    snprintf(lock, sizeof lock, "%s/lock", folder);
    unlink(file);
    unlink(lock);
    rmdir(folder);
}

static bool file_has(const char *words)
{
    char text[8192] = "";
    FILE *in = fopen(file, "r");
    if (in == NULL)
        return false;
    size_t size = fread(text, 1, sizeof text - 1, in);
    text[size] = '\0';
    fclose(in);
    return strstr(text, words) != NULL;
}

static void begins_with_what_the_system_knows(void)
{
    struct dmsg_trust trust;
    struct stat status;
    clear();
    REQUIRE(dmsg_trust_open(&trust, folder, false, NULL) == 0);
    struct given given = put(&trust, false, 1000);
    CHECK(given.keep == 1 && given.anchors == 0 && trust.note[0] == '\0');
    CHECK(stat(folder, &status) == 0 && (status.st_mode & 07777) == 0700);
    CHECK(stat(file, &status) == 0 && (status.st_mode & 07777) == 0600);
    CHECK(file_has(". IN D") && !file_has("mdsswUyr3DPW132mOi8V9xESWE8jTo0dx"));
    CHECK(strcmp(dmsg_trust_folder(&trust), folder) == 0);
    dmsg_trust_close(&trust);
}

static void keeps_a_good_file(void)
{
    struct dmsg_trust trust;
    clear();
    REQUIRE(dmsg_trust_open(&trust, folder, false, NULL) == 0);
    write_kept(89 * 86400);
    struct given given = put(&trust, false, 1000);
    CHECK(given.keep == 1 && trust.note[0] == '\0');
    CHECK(file_has("mdsswUyr3DPW132mOi8V9xESWE8jTo0dx"));
    CHECK(!dmsg_trust_wants_process(&trust, INT64_MAX));
    dmsg_trust_close(&trust);
}

/* Of a file that libunbound has not written yet, the age is when it was begun. */
static void keeps_what_it_has_begun(void)
{
    struct dmsg_trust trust;
    clear();
    REQUIRE(dmsg_trust_open(&trust, folder, false, NULL) == 0);
    (void)put(&trust, false, 1000);
    struct given given = put(&trust, false, 1000);
    CHECK_ROW(given.keep == 1 && trust.note[0] == '\0', "%s", trust.note);
    dmsg_trust_close(&trust);
}

static void begins_anew(void)
{
    static const struct {
        const char *text;
        const char *note;
    } rows[] = {
        {NULL, "has not been confirmed for 90 days"},
        {"rubbish\n", "cannot be understood"},
        {"", "cannot be understood"},
        {". IN DNSKEY 257 3 13 mdsswUyr3DPW132mOi8V9xESWE8jTo0dxCjjnopKl+GqJxpVXckHAeF+Kkx"
         "LbxILfDLUT0rAK9iUzy1L53eKGQ== ;;state=1 [ ADDPEND ]\n",
            "cannot be understood"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_trust trust;
        clear();
        REQUIRE(dmsg_trust_open(&trust, folder, false, NULL) == 0);
        if (rows[i].text == NULL)
            write_kept(91 * 86400);
        else
            write_text(rows[i].text);
        struct given given = put(&trust, false, 1000);
        CHECK_ROW(given.keep == 1, "row %zu", i);
        CHECK_ROW(strstr(trust.note, rows[i].note) != NULL, "row %zu: %s", i, trust.note);
        CHECK_ROW(strstr(trust.note, file) != NULL, "row %zu: %s", i, trust.note);
        CHECK_ROW(file_has(". IN D") && !file_has("mdsswUyr3DPW132mOi8V9xESWE8jTo0dx"), "%zu", i);
        dmsg_trust_close(&trust);
    }
}

/* A second receiver, the process for strangers, and short commands. */
static void one_keeps_others_read(void)
{
    struct dmsg_trust keeper, second, reader;
    clear();
    REQUIRE(dmsg_trust_open(&keeper, folder, false, NULL) == 0);
    REQUIRE(dmsg_trust_open(&second, folder, false, NULL) == 0);
    REQUIRE(dmsg_trust_open(&reader, folder, true, NULL) == 0);
    write_kept(0);
    CHECK(put(&keeper, false, 1000).keep == 1);
    struct given given = put(&second, false, 1000);
    CHECK(given.keep == 0 && given.anchors == 1 && given.kept_key == 1);
    given = put(&reader, false, 1000);
    CHECK(given.keep == 0 && given.anchors == 1 && given.kept_key == 1);
    CHECK(dmsg_trust_folder(&second) == NULL && dmsg_trust_folder(&reader) == NULL);
    /* What is stale is not read either, and is left for the keeper to mend. */
    CHECK(!dmsg_trust_wants_process(&reader, 1000 + 3600000));
    write_kept(91 * 86400);
    CHECK(!dmsg_trust_wants_process(&reader, 1000 + 3600000 + 1));
    CHECK(dmsg_trust_wants_process(&reader, 1000 + 2 * 3600000));
    given = put(&reader, false, 1000);
    CHECK(given.keep == 0 && given.anchors >= 2 && given.kept_key == 0);
    CHECK(file_has("mdsswUyr3DPW132mOi8V9xESWE8jTo0dx"));
    dmsg_trust_close(&keeper);
    dmsg_trust_close(&second);
    REQUIRE(dmsg_trust_open(&second, folder, false, NULL) == 0);
    CHECK(put(&second, false, 1000).keep == 1); /* the lock ends with its owner */
    dmsg_trust_close(&second);
    dmsg_trust_close(&reader);
}

/* The process that kept it ended: the next one does not write, for an hour. */
static void rests_after_a_failure(void)
{
    struct dmsg_trust trust;
    clear();
    REQUIRE(dmsg_trust_open(&trust, folder, false, NULL) == 0);
    write_kept(0);
    CHECK(put(&trust, false, 1000).keep == 1);
    struct given given = put(&trust, true, 2000);
    CHECK(given.keep == 0 && given.kept_key == 1);
    CHECK(strstr(trust.note, folder) != NULL && strstr(trust.note, "hour") != NULL);
    CHECK(!dmsg_trust_wants_process(&trust, 2000 + 3600000 - 1));
    CHECK(dmsg_trust_wants_process(&trust, 2000 + 3600000));
    CHECK(put(&trust, true, 2000 + 3600000).keep == 1); /* the last one did not keep it */
    dmsg_trust_close(&trust);
}

static void reads_nothing_where_nothing_is(void)
{
    struct dmsg_trust trust;
    struct stat status;
    clear();
    REQUIRE(dmsg_trust_open(&trust, folder, true, NULL) == 0);
    struct given given = put(&trust, false, 1000);
    CHECK(given.keep == 0 && given.anchors >= 2 && trust.note[0] == '\0');
    CHECK(stat(folder, &status) < 0 && errno == ENOENT);
    dmsg_trust_close(&trust);
    REQUIRE(dmsg_trust_open(&trust, NULL, false, NULL) == 0);
    CHECK(put(&trust, false, 1000).anchors >= 2);
    dmsg_trust_close(&trust);
}

static void says_where_it_cannot_write(void)
{
    struct dmsg_trust trust;
    struct dmsg_error error;
    char below[sizeof scratch + 16];
    snprintf(below, sizeof below, "%s/no/trust", scratch);
    CHECK(dmsg_trust_open(&trust, below, false, &error) == DMSG_E_LOCAL);
    CHECK_ROW(strstr(error.text, below) != NULL, "%s", error.text);
    dmsg_trust_close(&trust);
    if (geteuid() == 0)
        SKIP("root may write everywhere");
    clear();
    CHECK(mkdir(folder, 0500) == 0);
    CHECK(dmsg_trust_open(&trust, folder, false, &error) == DMSG_E_LOCAL);
    CHECK_ROW(strstr(error.text, folder) != NULL, "%s", error.text);
    dmsg_trust_close(&trust);
}

int main(void)
{
    static const struct test tests[] = {TEST(begins_with_what_the_system_knows),
        TEST(keeps_a_good_file), TEST(keeps_what_it_has_begun), TEST(begins_anew),
        TEST(one_keeps_others_read), TEST(rests_after_a_failure),
        TEST(reads_nothing_where_nothing_is), TEST(says_where_it_cannot_write)};
    if (mkdtemp(scratch) == NULL)
        return 1;
    snprintf(folder, sizeof folder, "%s/trust", scratch);
    snprintf(file, sizeof file, "%s/root.key", folder);
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    clear();
    rmdir(scratch);
    return result;
}
