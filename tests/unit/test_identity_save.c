/* Writing identity files: src/x509/save.h. */
#include "test_identity_support.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* An unprivileged user, for what root is never refused, and another one. */
#define NOBODY 65534
#define STRANGER 12345

static mode_t mode_of(const char *file)
{
    struct stat status;
    return lstat(path_of(file), &status) == 0 ? status.st_mode & 07777 : 0;
}

static void written_files_are_ours_alone(void)
{
    mode_t before = umask(0);
    folder_begin();
    CHECK(chmod(folder, 0755) == 0);
    CHECK(save(folder, DMSG_KEY_ED25519, true, &keep) == 0);
    CHECK(mode_of(NAME ".key.pem") == 0600);
    CHECK(mode_of(NAME ".csr.pem") == 0600);
    CHECK(mode_of(NAME ".enc.key.pem") == 0600);
    CHECK(mode_of(NAME ".enc.crt.pem") == 0600);
    CHECK(files_in(folder) == 4);
    CHECK(mode_of("") == 0755); /* a folder that was there stays as it was */
    folder_end();
    (void)umask(before);
}

static void makes_missing_folders(void)
{
    char below[PATH_SIZE];
    mode_t before = umask(0);
    folder_begin();
    snprintf(below, sizeof below, "%s/a/b//c/", folder);
    CHECK(save(below, DMSG_KEY_P256, false, &keep) == 0);
    CHECK(mode_of("a") == 0700 && mode_of("a/b") == 0700 && mode_of("a/b/c") == 0700);
    CHECK(files_in(below) == 2);
    put_file("file", dmsg_span_text("x"), 0600);
    snprintf(below, sizeof below, "%s/file/c", folder);
    CHECK(save(below, DMSG_KEY_P256, false, &keep) == DMSG_E_LOCAL);
    snprintf(below, sizeof below, "%s/file", folder);
    CHECK(save(below, DMSG_KEY_P256, false, &keep) == DMSG_E_LOCAL);
    folder_end();
    (void)umask(before);
}

static bool unchanged(const char *file, const struct dmsg_buffer *was)
{
    struct dmsg_buffer now = get_file(file);
    bool same = dmsg_span_equal(dmsg_buffer_span(&now), dmsg_buffer_span(was));
    dmsg_buffer_done(&now);
    return same && was->size > 0;
}

static void overwrites_only_when_told(void)
{
    static const char *const alone[] = {NAME ".key.pem", NAME ".crt.pem", NAME ".csr.pem",
        NAME ".key.uri", NAME ".enc.key.pem", NAME ".enc.crt.pem"};
    folder_begin();
    for (size_t i = 0; i < ROWS(alone); i++) {
        put_file(alone[i], dmsg_span_text("precious"), 0600);
        CHECK_ROW(save(folder, DMSG_KEY_P256, false, &keep) == DMSG_E_LOCAL, "%s", alone[i]);
        CHECK_ROW(strstr(last.text, alone[i]) != NULL, "%s: %s", alone[i], last.text);
        CHECK_ROW(files_in(folder) == 1, "%s", alone[i]);
        (void)unlink(path_of(alone[i]));
    }
    CHECK(symlink("nowhere", path_of(NAME ".key.pem")) == 0); /* nor through a dangling link */
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == DMSG_E_LOCAL);
    (void)unlink(path_of(NAME ".key.pem"));

    CHECK(save(folder, DMSG_KEY_ED25519, true, &keep) == 0);
    struct dmsg_buffer key = get_file(NAME ".key.pem");
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == DMSG_E_LOCAL);
    CHECK(unchanged(NAME ".key.pem", &key) && files_in(folder) == 4);
    put_pair(NAME ".old", "EC:prime256v1");
    CHECK(save(folder, DMSG_KEY_P256, false, &replace) == 0);
    CHECK(!unchanged(NAME ".key.pem", &key));
    CHECK(files_in(folder) == 4); /* key, certificate, and those of the old key */
    CHECK(mode_of(NAME ".old.key.pem") == 0600 && mode_of(NAME ".enc.key.pem") == 0);
    CHECK(loads_with(0, NULL));
    dmsg_buffer_done(&key);
    folder_end();
}

/* An old or next key alone does not stand in the way of a first current one. */
static void other_roles_stay(void)
{
    folder_begin();
    put_pair(NAME ".old", "EC:prime256v1");
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == 0);
    CHECK(loads_with(0, NULL) && files_in(folder) == 4);
    folder_end();
}

/* Runs a check in a process of its own, so that it can give up rights; true when it exits with 0.
 */
static bool in_child(int (*run)(void))
{
    int status = 1;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        _exit(run());
    return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

/* No room on the disk: files may have no octets at all. */
static int save_without_room(void)
{
    static const struct rlimit nothing = {0, 0};
    signal(SIGXFSZ, SIG_IGN);
    (void)setrlimit(RLIMIT_FSIZE, &nothing);
    return save(folder, DMSG_KEY_P256, false, &replace) == DMSG_E_LOCAL ? 0 : 1;
}

static void a_full_disk_changes_nothing(void)
{
    folder_begin();
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == 0);
    struct dmsg_buffer key = get_file(NAME ".key.pem");
    struct dmsg_buffer certificate = get_file(NAME ".crt.pem");
    CHECK(in_child(save_without_room));
    CHECK(unchanged(NAME ".key.pem", &key) && unchanged(NAME ".crt.pem", &certificate));
    CHECK(files_in(folder) == 2);
    dmsg_buffer_done(&key);
    dmsg_buffer_done(&certificate);
    folder_end();
}

static int as_nobody(void)
{
    if (setegid(NOBODY) < 0 || seteuid(NOBODY) < 0)
        return 2;
    if (!loads_with(DMSG_E_LOCAL, NAME ".key.pem")) /* root's, 0600 */
        return 3;
    return save(folder, DMSG_KEY_P256, false, &replace) == DMSG_E_LOCAL ? 0 : 4;
}

static int owner_loads(void)
{
    if (setegid(NOBODY) < 0 || seteuid(NOBODY) < 0)
        return 2;
    return loads_with(0, NULL) ? 0 : 3;
}

/* An unprivileged user whom the kernel lets read every file all the same. */
static int reads_everything(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct rights[2] = {
        {.effective = 1u << CAP_DAC_OVERRIDE, .permitted = 1u << CAP_DAC_OVERRIDE}};
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 || setresuid(NOBODY, NOBODY, NOBODY) < 0 ||
        syscall(SYS_capset, &header, rights) < 0)
        return 2;
    return loads_with(DMSG_E_LOCAL, "belongs to user 12345") ? 0 : 3;
}

/* To be able to open a stranger's key does not make it ours. */
static void a_strangers_key_is_refused(void)
{
    if (geteuid() != 0)
        SKIP("only root can give files away");
    folder_begin();
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == 0);
    CHECK(chown(path_of(NAME ".key.pem"), STRANGER, (gid_t)-1) == 0);
    CHECK(in_child(reads_everything));
    CHECK(loads_with(0, NULL)); /* root: it can have given it away itself */
    folder_end();
}

static void files_can_be_given_away(void)
{
    struct stat status;
    const struct dmsg_save_options given = {.set_owner = true, .owner = NOBODY};
    char below[PATH_SIZE];
    if (geteuid() != 0)
        SKIP("only root can give files away");
    folder_begin();
    CHECK(chmod(folder, 0755) == 0);
    CHECK(save(folder, DMSG_KEY_P256, false, &keep) == 0);
    CHECK(in_child(as_nobody));
    remove_all(folder);
    snprintf(below, sizeof below, "%s/below", folder);
    CHECK(save(below, DMSG_KEY_P256, false, &given) == 0);
    CHECK(stat(below, &status) == 0 && status.st_uid == NOBODY);
    CHECK(stat(folder, &status) == 0 && status.st_uid == NOBODY);
    snprintf(folder + strlen(folder), sizeof folder - strlen(folder), "/below");
    CHECK(stat(path_of(NAME ".key.pem"), &status) == 0 && status.st_uid == NOBODY);
    CHECK(stat(path_of(NAME ".crt.pem"), &status) == 0 && status.st_uid == NOBODY);
    CHECK(in_child(owner_loads));
    CHECK(loads_with(0, NULL)); /* root itself */
    *strrchr(folder, '/') = '\0';
    folder_end();
}

static void names_are_checked_again(void)
{
    static const char *const bad[] = {"../../etc/passwd", "a/b.example", "Alice.example",
        "alice.example.", "alice", "", ".alice.example", "*.example", "a..example"};
    char file[DMSG_FILE_NAME_SIZE];
    for (size_t i = 0; i < ROWS(bad); i++) {
        struct dmsg_name name = {.size = (uint8_t)strlen(bad[i])};
        snprintf(name.text, sizeof name.text, "%s", bad[i]);
        CHECK_ROW(
            dmsg_file_name(file, &name, (struct dmsg_file){0}, NULL) == DMSG_E_NAME, "%s", bad[i]);
        struct dmsg_identity *identity = NULL;
        CHECK_ROW(dmsg_identity_load(&identity, &plain_context, "/", &name, NULL) == DMSG_E_NAME,
            "%s", bad[i]);
    }
    struct dmsg_name name = name_of(NAME);
    struct dmsg_file next = {DMSG_KEY_NEXT, true, DMSG_FILE_CERTIFICATE};
    CHECK(dmsg_file_name(file, &name, next, NULL) == 0);
    CHECK(strcmp(file, NAME ".next.enc.crt.pem") == 0);
}

TEST_MAIN(TEST(written_files_are_ours_alone), TEST(makes_missing_folders),
    TEST(overwrites_only_when_told), TEST(other_roles_stay), TEST(a_full_disk_changes_nothing),
    TEST(a_strangers_key_is_refused), TEST(files_can_be_given_away), TEST(names_are_checked_again))
