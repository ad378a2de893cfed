/*
 * The files of a rollover: after every single file operation, and after a failure of each, the
 * identity can be loaded with every key and its certificate, and the step can be completed. The
 * linker puts the functions below in the place of the system's (tests/unit/meson.build).
 */
#include "test_identity_support.h"

#include "base/fail.h"
#include "x509/mark.h"
#include "x509/rollover.h"
#include "x509/token.h"

#include <errno.h>
#include <sys/wait.h>

#define NOW 1800000000

/* ------------------------------------------------------------------------- failing on purpose */

static int operations_left = -1; /* before it happens; -1: never */
static bool dies;

/* True: this operation does not take place. */
static bool interrupted(void)
{
    if (operations_left < 0 || operations_left-- > 0)
        return false;
    if (dies)
        _exit(77);
    errno = EIO;
    return true;
}

int __real_linkat(int, const char *, int, const char *, int);
int __real_renameat(int, const char *, int, const char *);
int __real_renameat2(int, const char *, int, const char *, unsigned);
int __real_unlinkat(int, const char *, int);
int __wrap_linkat(int, const char *, int, const char *, int);
int __wrap_renameat(int, const char *, int, const char *);
int __wrap_renameat2(int, const char *, int, const char *, unsigned);
int __wrap_unlinkat(int, const char *, int);
int __wrap_fsync(int);

int __wrap_linkat(int from, const char *a, int to, const char *b, int flags)
{
    return interrupted() ? -1 : __real_linkat(from, a, to, b, flags);
}

int __wrap_renameat(int from, const char *a, int to, const char *b)
{
    return interrupted() ? -1 : __real_renameat(from, a, to, b);
}

int __wrap_renameat2(int from, const char *a, int to, const char *b, unsigned flags)
{
    return interrupted() ? -1 : __real_renameat2(from, a, to, b, flags);
}

int __wrap_unlinkat(int fd, const char *file, int flags)
{
    return interrupted() ? -1 : __real_unlinkat(fd, file, flags);
}

/* Whether the disk has it cannot be seen from here, and asking takes its time. */
int __wrap_fsync(int fd)
{
    (void)fd;
    return interrupted() ? -1 : 0;
}

/* --------------------------------------------------------------------------------- the scenes */

enum { WITHOUT_CERTIFICATE = 1, WITH_REQUEST = 2, IN_TOKEN = 4 };

static const struct scene {
    const char *what;
    enum dmsg_key_type current, next;
    int current_is, next_is;
} scenes[] = {
    {"P-256 to P-256", DMSG_KEY_P256, DMSG_KEY_P256, 0, 0},
    {"two key files to two", DMSG_KEY_ED25519, DMSG_KEY_ED25519, 0, 0},
    {"one to two", DMSG_KEY_P256, DMSG_KEY_ED25519, 0, 0},
    {"two to one", DMSG_KEY_ED25519, DMSG_KEY_P256, 0, 0},
    {"a request, not signed yet", DMSG_KEY_P256, DMSG_KEY_P256, 0, WITH_REQUEST},
    {"from a request", DMSG_KEY_P256, DMSG_KEY_P256, WITH_REQUEST, 0},
    {"bare keys", DMSG_KEY_P256, DMSG_KEY_P256, WITHOUT_CERTIFICATE, WITHOUT_CERTIFICATE},
    {"from a bare key", DMSG_KEY_P256, DMSG_KEY_ED25519, WITHOUT_CERTIFICATE, 0},
    {"to a bare key", DMSG_KEY_ED25519, DMSG_KEY_P256, 0, WITHOUT_CERTIFICATE},
    {"from a file to a token", DMSG_KEY_P256, DMSG_KEY_P256, 0, IN_TOKEN},
    {"from a token to a file", DMSG_KEY_P256, DMSG_KEY_P256, IN_TOKEN, 0},
    {"from token to token", DMSG_KEY_P256, DMSG_KEY_P256, IN_TOKEN, IN_TOKEN},
    {"from two files to a token", DMSG_KEY_ED25519, DMSG_KEY_P256, 0, IN_TOKEN},
    {"from a token to two files", DMSG_KEY_P256, DMSG_KEY_ED25519, IN_TOKEN, 0},
    {"bare keys, to a token", DMSG_KEY_P256, DMSG_KEY_P256, WITHOUT_CERTIFICATE,
        WITHOUT_CERTIFICATE | IN_TOKEN},
    {"bare keys, from a token", DMSG_KEY_P256, DMSG_KEY_P256, WITHOUT_CERTIFICATE | IN_TOKEN,
        WITHOUT_CERTIFICATE},
};

static struct dmsg_material made[2]; /* current, next: created once, saved many times */
static struct dmsg_rollover rollover;

/* A token with the keys that say so. */
int __wrap_dmsg_token_key_load(struct dmsg_token_key *out, struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error);
int __wrap_dmsg_token_key_load(struct dmsg_token_key *out, struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    (void)tokens;
    for (int i = 0; i < 2; i++) {
        if (made[i].uri == NULL || strcmp(made[i].uri, uri->text) != 0)
            continue;
        EVP_PKEY_up_ref(made[i].key);
        *out = (struct dmsg_token_key){.key = made[i].key, .purposes = BOTH};
        return 0;
    }
    return dmsg_fail(error, DMSG_E_LOCAL, "not in the token: %s", uri->shown);
}

static bool make_keys(const struct scene *scene)
{
    struct dmsg_name name = name_of(NAME);
    for (int i = 0; i < 2; i++) {
        int is = i == 0 ? scene->current_is : scene->next_is;
        struct dmsg_creation wanted = {.name = &name,
            .type = i == 0 ? scene->current : scene->next,
            .days = 30,
            .request = (is & WITH_REQUEST) != 0};
        dmsg_material_done(&made[i]);
        if (dmsg_material_create(&made[i], &plain_context, &wanted, &last) < 0)
            return false;
        if (is & WITHOUT_CERTIFICATE) {
            X509_free(made[i].certificate);
            made[i].certificate = NULL;
        }
        if (is & IN_TOKEN)
            made[i].uri = strdup(i == 0 ? "handle:0x81000001" : "handle:0x81000002");
    }
    return true;
}

static struct dmsg_folder open_folder(void)
{
    struct dmsg_folder open = DMSG_FOLDER_NONE;
    CHECK(dmsg_rollover_lock(&open, folder, &last) == 0);
    return open;
}

/* A folder with current and next and a rollover that has been seen. */
static void scene_begin(const struct scene *scene)
{
    const struct dmsg_save_options roles[] = {{.role = DMSG_KEY_CURRENT}, {.role = DMSG_KEY_NEXT}};
    struct dmsg_name name = name_of(NAME);
    folder_begin();
    for (int i = 0; i < 2; i++)
        CHECK(dmsg_material_save(folder, &name, &made[i], &roles[i], &last) == 0);
    rollover = (struct dmsg_rollover){.phase = DMSG_ROLLOVER_STARTED,
        .encryption = scene->next == DMSG_KEY_ED25519,
        .made_at = NOW - 100,
        .seen_at = NOW - 90,
        .ttl = 60};
    CHECK(dmsg_key_id(rollover.old_kid, made[0].key, &last) == 0);
    CHECK(dmsg_key_id(rollover.new_kid, made[1].key, &last) == 0);
    struct dmsg_folder open = open_folder();
    CHECK(dmsg_rollover_write(&open, &name, &rollover, &last) == 0);
    dmsg_folder_done(&open);
}

static int step(bool aborts)
{
    struct dmsg_name name = name_of(NAME);
    struct dmsg_rollover found;
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder open = open_folder();
    CHECK(dmsg_rollover_read(&found, &open, &name, &last) == 1);
    int status = aborts ? dmsg_rollover_abort(&open, &name, &found, NOW, &last)
                        : dmsg_rollover_switch(&open, &name, &found, NOW, &last);
    if (status == 0)
        CHECK(found.phase == (aborts ? DMSG_ROLLOVER_RETRACTED : DMSG_ROLLOVER_SWITCHED));
    return status;
}

/* In which role a key is (the first), with its certificate if there is one; -1 for none. */
static int role_of(
    const struct dmsg_identity *identity, const EVP_PKEY *key, const X509 *certificate)
{
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *own = dmsg_identity_key_get(identity, i);
        if (EVP_PKEY_eq(own->key, key) != 1)
            continue;
        if ((certificate == NULL) != (own->certificate == NULL) ||
            (certificate != NULL && X509_cmp(certificate, own->certificate) != 0))
            return -1;
        return (int)own->role;
    }
    return -1;
}

struct roles {
    int key, encryption; /* -1: not there, -2: there is none to be there */
};

static struct roles roles_of(const struct dmsg_identity *identity, const struct dmsg_material *of)
{
    return (struct roles){role_of(identity, of->key, of->certificate),
        of->encryption_key == NULL
            ? -2
            : role_of(identity, of->encryption_key, of->encryption_certificate)};
}

/* Everything is there; with done also where it belongs. */
static bool is_whole(bool done, bool aborts)
{
    struct dmsg_identity *identity;
    if (load(&identity) != 0)
        return false;
    struct roles first = roles_of(identity, &made[0]), next = roles_of(identity, &made[1]);
    bool good = first.key >= 0 && next.key >= 0 && first.encryption != -1 &&
                next.encryption != -1 &&
                dmsg_identity_current(identity, DMSG_FOR_SIGNATURES) != NULL;
    int end_first = aborts ? DMSG_KEY_CURRENT : DMSG_KEY_OLD;
    int end_next = aborts ? DMSG_KEY_OLD : DMSG_KEY_CURRENT;
    if (done)
        good = good && first.key == end_first && next.key == end_next &&
               (first.encryption == -2 || first.encryption == end_first) &&
               (next.encryption == -2 || next.encryption == end_next);
    dmsg_identity_free(&identity);
    return good;
}

static size_t files_of(const struct dmsg_material *of)
{
    size_t certificate = of->certificate != NULL, request = of->request != NULL;
    return 1 + certificate + request + (of->encryption_key != NULL ? 2 : 0);
}

static bool is_done(bool aborts)
{
    return is_whole(true, aborts) &&
           files_in(folder) == files_of(&made[0]) + files_of(&made[1]) + 1; /* NAME.rollover */
}

/* ------------------------------------------------------------------------------------- tests */

/* Exit status of a process that takes the step and dies before its nth operation. */
static int step_and_die(int nth, bool aborts)
{
    int status = -1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        operations_left = nth;
        dies = true;
        _exit(step(aborts) == 0 ? 0 : 1);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void kill_everywhere(const struct scene *scene, bool aborts)
{
    int ended = 77;
    for (int nth = 0; ended == 77; nth++) {
        scene_begin(scene);
        ended = step_and_die(nth, aborts);
        CHECK_ROW(is_whole(false, aborts), "%s, killed before operation %d: %s", scene->what, nth,
            last.text);
        if (ended != 77) { /* it came to its end */
            CHECK_ROW(ended == 0 && nth > 5, "%s: %d", scene->what, ended);
            CHECK_ROW(is_done(aborts), "%s", scene->what);
        } else {
            CHECK_ROW(step(aborts) == 0, "%s, %d: %s", scene->what, nth, last.text);
            CHECK_ROW(is_whole(true, aborts), "%s, completed after %d", scene->what, nth);
        }
        folder_end();
    }
}

static void fail_everywhere(const struct scene *scene, bool aborts)
{
    int status = DMSG_E_LOCAL;
    for (int nth = 0; status < 0; nth++) {
        scene_begin(scene);
        operations_left = nth;
        status = step(aborts);
        operations_left = -1;
        CHECK_ROW(status == 0 || status == DMSG_E_LOCAL, "%s, %d", scene->what, nth);
        CHECK_ROW(is_whole(false, aborts), "%s, failed at %d: %s", scene->what, nth, last.text);
        CHECK_ROW(status == 0 || step(aborts) == 0, "%s, %d: %s", scene->what, nth, last.text);
        CHECK_ROW(is_done(aborts), "%s, completed after %d", scene->what, nth);
        folder_end();
    }
}

static void a_switch_survives_everything(void)
{
    for (size_t i = 0; i < ROWS(scenes); i++) {
        CHECK(make_keys(&scenes[i]));
        kill_everywhere(&scenes[i], false);
        fail_everywhere(&scenes[i], false);
    }
}

static void an_abort_survives_everything(void)
{
    for (size_t i = 0; i < ROWS(scenes); i++) {
        CHECK(make_keys(&scenes[i]));
        kill_everywhere(&scenes[i], true);
        fail_everywhere(&scenes[i], true);
    }
}

/* The certificate of the old key must not be left without it. */
static void an_end_survives_everything(void)
{
    struct dmsg_name name = name_of(NAME);
    CHECK(make_keys(&scenes[1]));
    int status = DMSG_E_LOCAL;
    for (int nth = 0; status < 0; nth++) {
        scene_begin(&scenes[1]);
        CHECK(step(false) == 0);
        struct dmsg_folder open = open_folder();
        operations_left = nth;
        status = dmsg_rollover_end(&open, &name, DMSG_KEY_OLD, &last);
        operations_left = -1;
        CHECK_ROW(loads_with(0, NULL), "%d", nth);
        CHECK_ROW(dmsg_rollover_end(&open, &name, DMSG_KEY_OLD, &last) == 0, "%d", nth);
        CHECK_ROW(files_in(folder) == files_of(&made[1]), "%d", nth);
        dmsg_folder_done(&open);
        folder_end();
    }
}

static void an_old_key_is_not_overwritten(void)
{
    CHECK(make_keys(&scenes[0]));
    scene_begin(&scenes[0]);
    put_pair(NAME ".old", "EC:prime256v1");
    struct dmsg_buffer key = get_file(NAME ".old.key.pem");
    CHECK(step(false) == DMSG_E_LOCAL && strstr(last.text, "not finished") != NULL);
    CHECK(step(true) == DMSG_E_LOCAL);
    struct dmsg_buffer after = get_file(NAME ".old.key.pem");
    CHECK(key.size == after.size && memcmp(key.data, after.data, key.size) == 0);
    dmsg_buffer_done(&key);
    dmsg_buffer_done(&after);
    folder_end();
}

static void one_command_at_a_time(void)
{
    struct dmsg_folder other = DMSG_FOLDER_NONE;
    folder_begin();
    struct dmsg_folder open = open_folder();
    CHECK(dmsg_rollover_lock(&other, folder, &last) == DMSG_E_LOCAL);
    CHECK(strstr(last.text, "another command") != NULL);
    dmsg_folder_done(&open);
    CHECK(dmsg_rollover_lock(&other, folder, &last) == 0);
    dmsg_folder_done(&other);
    CHECK(dmsg_rollover_lock(&other, "/nonexistent", &last) == DMSG_E_LOCAL);
    folder_end();
}

/* ---------------------------------------------------------------------------- NAME.rollover */

#define KID "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define LINES(phase, single, kid, made)                                                            \
    "danemsg rollover 1\nphase " phase "\nsingle-record " single                                   \
    "\nencryption-key no\noffered yes\nold-key " kid "\nnew-key " KID "\nmade " made               \
    "\nseen 0\nswitched 0\nretracted 0\nttl 3600\n"

static void only_what_we_write_is_read(void)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {LINES("started", "no", KID, "1800000000"), 1},
        {LINES("aborting", "yes", KID, "0"), 1},
        {LINES("none", "no", KID, "0"), DMSG_E_LOCAL},
        {LINES("gone", "no", KID, "0"), DMSG_E_LOCAL},
        {LINES("started", "maybe", KID, "0"), DMSG_E_LOCAL},
        {LINES("started", "no", "short", "0"), DMSG_E_LOCAL},
        {LINES("started", "no", KID, "-1"), DMSG_E_LOCAL},
        {LINES("started", "no", KID, "1x"), DMSG_E_LOCAL},
        {LINES("started", "no", KID, "99999999999999999999"), DMSG_E_LOCAL},
        {LINES("started", "no", KID, "0") "more 1\n", DMSG_E_LOCAL},
        {"danemsg rollover 2\n", DMSG_E_LOCAL},
        {"danemsg rollover 1", DMSG_E_LOCAL},
        {"", DMSG_E_LOCAL},
    };
    struct dmsg_name name = name_of(NAME);
    struct dmsg_rollover found;
    folder_begin();
    struct dmsg_folder open = open_folder();
    CHECK(dmsg_rollover_read(&found, &open, &name, &last) == 0);
    for (size_t i = 0; i < ROWS(rows); i++) {
        put_file(NAME ".rollover", dmsg_span_text(rows[i].text), 0600);
        CHECK_ROW(
            dmsg_rollover_read(&found, &open, &name, &last) == rows[i].status, "%s", rows[i].text);
    }
    struct dmsg_buffer large = {0};
    while (large.size < 5000)
        dmsg_buffer_put_text(&large, "danemsg rollover 1\n");
    put_file(NAME ".rollover", dmsg_buffer_span(&large), 0600);
    CHECK(dmsg_rollover_read(&found, &open, &name, &last) == DMSG_E_LOCAL);
    dmsg_buffer_done(&large);
    dmsg_folder_done(&open);
    folder_end();
}

static void what_is_written_is_read_again(void)
{
    struct dmsg_name name = name_of(NAME);
    struct dmsg_rollover found, wanted = {.phase = DMSG_ROLLOVER_SWITCHED,
                                    .single_record = true,
                                    .encryption = true,
                                    .old_kid = KID,
                                    .new_kid = KID,
                                    .made_at = 1,
                                    .seen_at = 2,
                                    .switched_at = 3,
                                    .retracted_at = 4,
                                    .ttl = 5};
    folder_begin();
    struct dmsg_folder open = open_folder();
    CHECK(dmsg_rollover_write(&open, &name, &wanted, &last) == 0);
    CHECK(dmsg_rollover_read(&found, &open, &name, &last) == 1);
    CHECK(found.phase == wanted.phase && found.single_record && found.encryption);
    CHECK(strcmp(found.old_kid, KID) == 0 && strcmp(found.new_kid, KID) == 0);
    CHECK(found.made_at == 1 && found.seen_at == 2 && found.switched_at == 3);
    CHECK(found.retracted_at == 4 && found.ttl == 5 && files_in(folder) == 1);
    dmsg_folder_done(&open);
    folder_end();
}

/* ------------------------------------------------------------------------------------- marks */

static void a_change_shows(void)
{
    struct dmsg_name name = name_of(NAME);
    uint64_t before, after;
    folder_begin();
    put_pair(NAME, "EC:prime256v1");
    CHECK(dmsg_files_mark(&before, folder, &name, &last) == 0);
    put_pair("other.example", "EC:prime256v1");
    CHECK(dmsg_files_mark(&after, folder, &name, &last) == 0 && after == before);
    put_pair(NAME ".next", "EC:prime256v1");
    CHECK(dmsg_files_mark(&after, folder, &name, &last) == 0 && after != before);
    CHECK(dmsg_files_mark(&before, folder, &name, &last) == 0 && after == before);
    CHECK(unlink(path_of(NAME ".next.crt.pem")) == 0);
    CHECK(dmsg_files_mark(&after, folder, &name, &last) == 0 && after != before);
    folder_end();
    CHECK(dmsg_files_mark(&after, folder, &name, &last) == DMSG_E_LOCAL);
    dmsg_material_done(&made[0]);
    dmsg_material_done(&made[1]);
}

TEST_MAIN(TEST(a_switch_survives_everything), TEST(an_abort_survives_everything),
    TEST(an_end_survives_everything), TEST(an_old_key_is_not_overwritten),
    TEST(one_command_at_a_time), TEST(only_what_we_write_is_read),
    TEST(what_is_written_is_read_again), TEST(a_change_shows))
