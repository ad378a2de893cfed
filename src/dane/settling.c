#include "dane/settling.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/peer_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct dmsg_settling {
    const struct dmsg_peer *peer;
    size_t count, answered;
    size_t keys[DMSG_AUTHORITY_CERTIFICATES_MAX]; /* of the peer, for each certificate asked for */
    char later[200];                              /* empty: nothing is to be hoped for */
    dmsg_settling_done *done;
    void *user;
};

static bool any_usable(const struct dmsg_peer *peer)
{
    for (size_t i = 0; i < peer->count; i++) {
        if (peer->keys[i].purposes != 0 || peer->keys[i].by_x5c)
            return true;
    }
    return false;
}

static void on_issuers(void *user, const struct dmsg_authority_answer *answer)
{
    struct dmsg_settling *settling = user;
    dmsg_peer_settle(settling->peer, settling->keys[answer->index], answer->issuers, answer->why);
    if (answer->issuers == NULL && answer->not_now)
        snprintf(settling->later, sizeof settling->later, "%.190s", answer->why);
    if (++settling->answered < settling->count)
        return;
    bool later = settling->later[0] != '\0' && !any_usable(settling->peer);
    settling->done(settling->user, settling->peer, later ? settling->later : NULL);
}

static void settle_rest(const struct dmsg_peer *peer, size_t from, const char *why)
{
    for (size_t i = dmsg_peer_open_key(peer, from); i < peer->count;
         i = dmsg_peer_open_key(peer, i + 1))
        dmsg_peer_settle(peer, i, NULL, why);
}

/* The first open keys; the others are settled. */
static struct dmsg_settling *new_settling(
    const struct dmsg_peer *peer, X509 *certificates[static DMSG_AUTHORITY_CERTIFICATES_MAX])
{
    struct dmsg_settling *settling = calloc(1, sizeof *settling);
    if (settling == NULL)
        return NULL;
    settling->peer = dmsg_peer_retain(peer);
    size_t key = dmsg_peer_open_key(peer, 0);
    for (; key < peer->count && settling->count < DMSG_AUTHORITY_CERTIFICATES_MAX;
         key = dmsg_peer_open_key(peer, key + 1)) {
        settling->keys[settling->count] = key;
        certificates[settling->count++] = peer->keys[key].certificate;
    }
    settle_rest(peer, key, "the name has too many such records");
    return settling;
}

void dmsg_settling_start(struct dmsg_settling **out, struct dmsg_authority *authority,
    const struct dmsg_peer *peer, int64_t deadline, dmsg_settling_done *done, void *user)
{
    X509 *certificates[DMSG_AUTHORITY_CERTIFICATES_MAX];
    struct dmsg_error error;
    DMSG_CLEANUP(dmsg_settling_free)
    struct dmsg_settling *settling = new_settling(peer, certificates);
    int result = settling != NULL ? 0 : dmsg_fail_memory(&error);
    if (result == 0) {
        settling->done = done;
        settling->user = user;
        result = dmsg_authority_ask(authority, &peer->name, certificates, settling->count, deadline,
            on_issuers, settling, &error);
    }
    if (result < 0) {
        settle_rest(peer, 0, error.text);
        bool later = result != DMSG_E_NAME && !any_usable(peer);
        done(user, peer, later ? error.text : NULL);
        return;
    }
    *out = settling;
    settling = NULL;
}

void dmsg_settling_free(struct dmsg_settling **settling)
{
    struct dmsg_settling *self = *settling;
    if (self == NULL)
        return;
    dmsg_peer_release(self->peer);
    free(self);
    *settling = NULL;
}
