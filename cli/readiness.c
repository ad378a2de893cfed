#include "readiness.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "own_keys.h"
#include "reload.h"
#include "x509/mark.h"

#include <poll.h>
#include <string.h>

/* Pauses, in milliseconds, before a file, the broker or DNS is looked at again. */
#define PAUSE_FIRST 1000
#define PAUSE_MOST 5000
#define PAUSE_MOST_DNS 60000

/* What was said last, since the same trouble is said once and not in every turn. */
struct turn {
    char said[DMSG_ERROR_TEXT];
    int pause, most;
};

static bool is_stopped(const struct readiness *readiness)
{
    return readiness->stop(readiness->user);
}

/* Says what is wrong, and sleeps unless told to stop. 1 to go on, 0 when stopped. */
static int try_later(const struct readiness *readiness, struct turn *turn, struct dmsg_error *error)
{
    struct pollfd wait = {.fd = readiness->wake_fd, .events = POLLIN};
    int64_t left = readiness->deadline - dmsg_now_ms();
    readiness->waits(readiness->user, error);
    if (strcmp(turn->said, error->text) != 0)
        print_error(readiness->program, error);
    snprintf(turn->said, sizeof turn->said, "%s", error->text);
    turn->pause = turn->pause == 0               ? PAUSE_FIRST
                  : turn->pause * 2 < turn->most ? turn->pause * 2
                                                 : turn->most;
    if (readiness->deadline != 0 && left <= 0)
        return dmsg_fail(error, DMSG_E_TIMEOUT, "the time is over, and the receiver has not begun");
    if (readiness->deadline != 0 && left < turn->pause)
        turn->pause = (int)left;
    /* wake_fd also tells of time for other work, which is done in is_stopped(). */
    int64_t now = dmsg_now_ms(), until = now + turn->pause;
    for (; now < until && !is_stopped(readiness); now = dmsg_now_ms())
        (void)poll(&wait, 1, (int)(until - now));
    return !is_stopped(readiness);
}

/* The mark of the files, one of which says where a key in hardware is; 0 without such. */
static uint64_t token_mark(const struct readiness *readiness)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_name name;
    struct dmsg_file_list list;
    uint64_t mark = 0;
    bool in_token = false;
    if (own_name(&name, readiness->identity, NULL) < 0 ||
        crypto_folder(&folder, readiness->identity, NULL) < 0 ||
        dmsg_file_list_read(&list, folder, &name, NULL) < 0)
        return 0;
    for (size_t i = 0; i < list.count; i++)
        in_token |= list.files[i].kind == DMSG_FILE_KEY_URI;
    return in_token && dmsg_files_mark(&mark, folder, &name, NULL) == 0 ? mark : 0;
}

/* A token that does not take its PIN is not asked again before the files say another: it would lock
   itself. */
static int wait_for_identity(
    const struct readiness *readiness, struct dmsg_identity **out, struct dmsg_error *error)
{
    struct turn turn = {.most = PAUSE_MOST};
    uint64_t tried = token_mark(readiness);
    int result = own_identity(out, readiness->context, readiness->identity, error);
    if (result == DMSG_E_LOCAL)
        print_note(
            readiness->program, "waiting for an identity (`danemsg identity new` makes one)");
    while (result == DMSG_E_LOCAL || (result == DMSG_E_CERTIFICATE && tried != 0)) {
        do {
            int later = try_later(readiness, &turn, error);
            if (later <= 0)
                return later;
        } while (result == DMSG_E_CERTIFICATE && token_mark(readiness) == tried);
        tried = token_mark(readiness);
        result = own_identity(out, readiness->context, readiness->identity, error);
    }
    return result;
}

static int ask_dns(
    const struct readiness *readiness, const struct dmsg_identity *me, struct dmsg_error *error)
{
    const struct dmsg_peer *peer = NULL;
    int result = dmsg_discovery_find_fresh(
        readiness->discovery, dmsg_identity_name(me), LOOKUP_TIMEOUT, &peer, error);
    if (result == 0) {
        result = own_keys_check(me, peer, error);
        dmsg_peer_release(peer);
    }
    return result;
}

static int print_records(
    const struct readiness *readiness, const struct dmsg_identity *me, struct dmsg_error *error)
{
    struct dmsg_buffer records = {0};
    int result = own_keys_put_records(&records, me, error);
    if (result == 0) {
        print_note(readiness->program,
            "DNS needs this of you, in a signed zone (see `danemsg identity tlsa`):");
        fprintf(stderr, "%.*s", (int)records.size, (const char *)records.data);
    }
    dmsg_buffer_done(&records);
    return result;
}

/* By a clock that nobody has set yet no signature in DNS holds, and there is nothing to publish. */
static bool clock_is_to_blame(const struct readiness *readiness, const struct dmsg_error *why)
{
    return why->code == DMSG_E_DNS_BOGUS && !dmsg_context_synchronised(readiness->context);
}

static int say_in_step(
    const struct readiness *readiness, const struct dmsg_identity *me, struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = crypto_folder(&folder, readiness->identity, error);
    if (result < 0)
        return result;
    size_t size = strlen(folder);
    bool in_token = dmsg_identity_key_get(me, 0)->uri != NULL;
    print_note(readiness->program, "Reading %s%s%s.key.%s", folder,
        size > 0 && folder[size - 1] == '/' ? "" : "/", dmsg_identity_name(me)->text,
        in_token ? "uri" : "pem");
    return 0;
}

/* What the owner is to do about `why`, which DNS says of the identity. */
static int advise(const struct readiness *readiness, const struct dmsg_identity *me, bool *told,
    struct dmsg_error *why)
{
    struct dmsg_error error;
    if (clock_is_to_blame(readiness, why)) {
        (void)dmsg_fail_in(why, why->code, "the clock of this machine is not set yet");
        return 0;
    }
    if (*told)
        return 0;
    *told = true;
    if (print_records(readiness, me, &error) == 0)
        return 0;
    *why = error;
    return why->code;
}

static bool is_for_good(int code)
{
    return code == DMSG_E_USAGE || code == DMSG_E_LOCAL || code == DMSG_E_INTERNAL;
}

/* While DNS does not speak for the identity yet. */
struct standing {
    struct reload reload; /* keys may be mended meanwhile */
    bool told, begun;     /* the record to publish; the session */
    struct dmsg_error lost;
};

/* 1: the broker keeps what comes, or is asked again later; 0: stopped. */
static int begin_session(
    const struct readiness *readiness, struct standing *standing, struct dmsg_error *error)
{
    if (standing->begun)
        return 1;
    int result =
        readiness->begin_session(readiness->user, reload_identity(&standing->reload), error);
    standing->begun = result == 1;
    if (result >= 0 || is_for_good(result))
        return result;
    if (strcmp(standing->lost.text, error->text) != 0)
        print_note(readiness->program,
            "no session at the broker yet, and what is sent now is lost: %s", error->text);
    standing->lost = *error;
    return 1;
}

/* 1 to ask DNS again, 0 when stopped. */
static int stand_by(const struct readiness *readiness, struct standing *standing, struct turn *turn,
    struct dmsg_error *error)
{
    struct dmsg_error trouble;
    int result = advise(readiness, reload_identity(&standing->reload), &standing->told, error);
    if (result < 0)
        return result;
    result = begin_session(readiness, standing, &trouble);
    if (result < 0)
        *error = trouble;
    if (result <= 0)
        return result;
    turn->most = standing->begun ? PAUSE_MOST_DNS : PAUSE_MOST;
    result = try_later(readiness, turn, error);
    if (result > 0 && reload_look(&standing->reload, true) != NULL) {
        reload_use(&standing->reload);
        standing->told = false;
    }
    return result;
}

static int ask_until_in_step(
    const struct readiness *readiness, struct standing *standing, struct dmsg_error *error)
{
    struct turn turn = {0};
    const struct dmsg_identity *me = reload_identity(&standing->reload);
    int result = ask_dns(readiness, me, error);
    while (result != 0 && result != DMSG_E_DNS_TEMPORARY) {
        int again =
            result == DMSG_E_INTERNAL ? result : stand_by(readiness, standing, &turn, error);
        if (again <= 0)
            return again;
        me = reload_identity(&standing->reload);
        result = ask_dns(readiness, me, error);
    }
    if (result == 0)
        return say_in_step(readiness, me, error);
    print_note(readiness->program, "own record not checked: %s", error->text);
    return 0;
}

/* *me is replaced by keys that came after it. */
static int wait_for_record(
    const struct readiness *readiness, struct dmsg_identity **me, struct dmsg_error *error)
{
    struct standing standing = {0};
    int result = reload_init(
        &standing.reload, readiness->program, readiness->context, readiness->identity, *me, error);
    if (result < 0)
        return result;
    result = ask_until_in_step(readiness, &standing, error);
    if (standing.reload.used != NULL) {
        dmsg_identity_free(me);
        *me = standing.reload.used;
        standing.reload.used = NULL;
    }
    reload_done(&standing.reload);
    return result;
}

int readiness_wait(
    const struct readiness *readiness, struct dmsg_identity **out, struct dmsg_error *error)
{
    struct dmsg_identity *me = NULL;
    int result = wait_for_identity(readiness, &me, error);
    if (result == 0 && me != NULL)
        result = wait_for_record(readiness, &me, error);
    if (result < 0 || is_stopped(readiness))
        dmsg_identity_free(&me);
    *out = me;
    return result;
}
