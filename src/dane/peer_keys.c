/* Choosing among the judged keys of a name (doc/PROTOCOL.md, "Several records"), and what there is
   to say when none is for the purpose. */
#include "base/fail.h"
#include "danemsg/resolver.h"

#include <string.h>

/* Why there is no key for `purpose` in an answer that is what it is. */
static int fail_none(const struct dmsg_peer *peer, const char *purpose, struct dmsg_error *error)
{
    const char *name = peer->name.text;
    switch (peer->status) {
    case DMSG_DNS_NOT_NOW:
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "looking up the keys of %s: DNS has no answer now (%.200s); try again later", name,
            peer->why);
    case DMSG_DNS_BOGUS:
        return dmsg_fail(error, DMSG_E_DNS_BOGUS,
            "looking up the keys of %s: the answer does not validate (%.200s); the zone is broken "
            "or somebody forges it, nothing in it is believed",
            name, peer->why);
    case DMSG_DNS_INSECURE:
        return dmsg_fail(error, DMSG_E_DNS_INSECURE,
            "looking up the keys of %s: %.200s, so that anybody could have made the answer; the "
            "zone must be signed with DNSSEC",
            name, peer->why);
    case DMSG_DNS_SECURE:
        break;
    }
    if (peer->count == 0 && peer->oversized > 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "%s has no key %s: its %zu TLSA record%s over the limit of %d octets", name, purpose,
            peer->oversized, peer->oversized == 1 ? " is" : "s are", DMSG_TLSA_RDATA_MAX);
    if (peer->count == 0)
        return dmsg_fail(error, DMSG_E_NO_IDENTITY,
            "looking up the keys of %s: DNS proves that %.200s; is the name right, and its TLSA "
            "record published?",
            name, peer->why);
    const struct dmsg_peer_key *first = &peer->keys[0];
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "%s has %zu TLSA record%s, but no key %s; the first, %u %u %u: %s", name, peer->count,
        peer->count == 1 ? "" : "s", purpose, first->usage, first->selector, first->matching_type,
        first->purposes != 0 ? "its key is for another purpose" : first->why);
}

static bool better(const struct dmsg_peer_key *a, const struct dmsg_peer_key *b)
{
    if (a->not_before != b->not_before)
        return a->not_before > b->not_before;
    return strcmp(a->kid, b->kid) < 0;
}

const struct dmsg_peer_key *dmsg_peer_recipient_key(
    const struct dmsg_peer *peer, struct dmsg_error *error)
{
    const struct dmsg_peer_key *best = NULL;
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        if ((key->purposes & DMSG_FOR_ENCRYPTION) != 0 && (best == NULL || better(key, best)))
            best = key;
    }
    if (best == NULL)
        (void)!fail_none(peer, "to encrypt to", error);
    return best;
}

static bool has_key(
    const struct dmsg_peer_key *const *keys, int count, const struct dmsg_peer_key *key)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(keys[i]->kid, key->kid) == 0)
            return true;
    }
    return false;
}

int dmsg_peer_sender_keys(const struct dmsg_peer *peer, struct dmsg_span kid,
    const struct dmsg_peer_key *out[DMSG_PEER_KEYS_MAX], struct dmsg_error *error)
{
    int count = 0;
    bool any = false;
    for (size_t i = 0; i < peer->count && count < DMSG_PEER_KEYS_MAX; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        if ((key->purposes & DMSG_FOR_SIGNATURES) == 0)
            continue;
        any = true;
        bool wanted = kid.size == 0 || dmsg_span_equal_text(kid, key->kid);
        if (wanted && !has_key(out, count, key)) /* one key in two records is one key */
            out[count++] = key;
    }
    if (count > 0)
        return count;
    if (any)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "none of the %zu TLSA record%s of %s has the key that the message names by its kid",
            peer->count, peer->count == 1 ? "" : "s", peer->name.text);
    return fail_none(peer, "that may sign", error);
}
