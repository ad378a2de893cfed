#include "issued.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Seconds to which the end of a life is rounded up: a 24th of it between these. */
#define ROUND_LEAST 10
#define ROUND_MOST 3600
#define ROUND_PART 24

/* Of commands too that have no --state. */
static const char *state_of(const char *state)
{
    const char *variable = getenv("DANEMSG_STATE");
    return state != NULL || variable == NULL || *variable == '\0' ? state : variable;
}

static int database_path(
    char **out, const char *state, const struct dmsg_name *name, struct dmsg_error *error)
{
    return state_file_path(out, state_of(state), name, "db", error);
}

static int open_store(struct issued *issued, const struct dmsg_name *name, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    if (issued->store != NULL)
        return 0;
    DMSG_CLEANUP(dmsg_cleanup_free) char *folder = NULL;
    int result = database_path(&path, issued->state, name, error);
    if (result == 0)
        result = state_folder(&folder, state_of(issued->state), error);
    if (result < 0)
        return result;
    return dmsg_store_open_sqlite(&issued->store, issued->context, path, name, error);
}

static int note(
    struct issued *issued, const struct dmsg_name *name, int64_t until, struct dmsg_error *error)
{
    int64_t known = 0;
    int result = open_store(issued, name, error);
    if (result == 0)
        result = dmsg_store_issued_until(issued->store, issued->kid, &known, error);
    if (result == 0 || (result == 1 && known < until))
        result = dmsg_store_note_issued(issued->store, issued->kid, until, error);
    if (result >= 0)
        issued->until = known > until ? known : until;
    return result < 0 ? result : 0;
}

/* A second more: the message is made after its note. */
static int64_t end_of_life(const struct dmsg_context *context, int64_t lifetime)
{
    if (lifetime == 0)
        lifetime = DMSG_LIFE_DEFAULT;
    int64_t round = lifetime / ROUND_PART;
    round = round < ROUND_LEAST ? ROUND_LEAST : round > ROUND_MOST ? ROUND_MOST : round;
    return (dmsg_context_now(context) + lifetime + round) / round * round;
}

void issued_note(struct issued *issued, const struct dmsg_identity *me, int64_t lifetime)
{
    const struct dmsg_identity_key *key = dmsg_identity_current(me, DMSG_FOR_SIGNATURES);
    int64_t until = end_of_life(issued->context, lifetime);
    struct dmsg_error error;
    if (key == NULL || issued->failed)
        return;
    if (strcmp(issued->kid, key->kid) != 0) {
        memcpy(issued->kid, key->kid, sizeof issued->kid);
        issued->until = 0;
    }
    if (until <= issued->until || note(issued, dmsg_identity_name(me), until, &error) == 0)
        return;
    issued->failed = true;
    print_note(issued->program,
        "warning: until when messages of this key live cannot be noted, which a rollover of the "
        "key wants to know: %s",
        error.text);
}

void issued_done(struct issued *issued)
{
    dmsg_store_close(&issued->store);
}

int issued_until(const char *state, const struct dmsg_name *name, const char *kid, int64_t *until,
    struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    struct dmsg_store *store = NULL;
    struct stat status;
    int result = database_path(&path, state, name, error);
    if (result < 0)
        return result;
    if (stat(path, &status) < 0)
        return errno == ENOENT ? 0 : dmsg_fail_errno(error, DMSG_E_LOCAL, "looking for %s", path);
    result = dmsg_store_show_sqlite(&store, &context, path, name, error);
    if (result == 0)
        result = dmsg_store_issued_until(store, kid, until, error);
    dmsg_store_close(&store);
    return result;
}
