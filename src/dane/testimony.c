/* Does DNS speak for a certificate that somebody shows? Of any use: TLS, a signed file, a device.
 */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/presented.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"

#include <string.h>

/* A record that is usable by itself, or not, and means this certificate. */
static const struct dmsg_peer_key *find_record(
    const struct dmsg_peer *peer, const struct dmsg_certificate *leaf, bool usable)
{
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        struct dmsg_tlsa tlsa;
        if ((key->purposes != 0) == usable && dmsg_tlsa_parse(&tlsa, key->rdata, NULL) == 0 &&
            dmsg_tlsa_match_x509(&tlsa, leaf->x509, leaf->key, NULL) == 1)
            return key;
    }
    return NULL;
}

static int say_yes(struct dmsg_testimony *out, const struct dmsg_peer_key *key)
{
    out->usage = key->usage;
    out->selector = key->selector;
    out->matching_type = key->matching_type;
    memcpy(out->why, key->why, sizeof out->why);
    return 0;
}

static int say_no(const struct dmsg_peer *peer, const struct dmsg_certificate *leaf,
    const struct dmsg_error *why, struct dmsg_error *error)
{
    const struct dmsg_peer_key *useless = find_record(peer, leaf, false);
    struct dmsg_error answer;
    bool insecure = peer->status == DMSG_DNS_INSECURE;
    if (peer->count == 0 || peer->status == DMSG_DNS_BOGUS || peer->status == DMSG_DNS_NOT_NOW ||
        (insecure && useless == NULL)) {
        if (dmsg_peer_recipient_key(peer, &answer) == NULL) /* what is wrong with the answer */
            return dmsg_fail(error, answer.code, "%s", answer.text);
    }
    if (useless != NULL)
        return dmsg_fail(error, insecure ? DMSG_E_DNS_INSECURE : DMSG_E_CERTIFICATE,
            "no: the record %u %u %u of %s is of this certificate, but: %s", useless->usage,
            useless->selector, useless->matching_type, peer->name.text,
            useless->by_x5c ? why->text : useless->why);
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "no: none of the %zu TLSA record%s of %s speaks for this certificate", peer->count,
        peer->count == 1 ? "" : "s", peer->name.text);
}

int dmsg_peer_verify_certificate(struct dmsg_testimony *out, const struct dmsg_peer *peer,
    const struct dmsg_span *certificates, size_t count, int64_t now, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate leaf = {0};
    DMSG_CLEANUP(dmsg_presented_done) struct dmsg_peer_key by_chain = {0};
    struct dmsg_presented presented = {.count = count};
    struct dmsg_error why = {.text = ""};
    if (count == 0 || count > DMSG_PRESENTED_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "a certificate and at most %d issuers can be judged",
            DMSG_ISSUERS_MAX);
    int result = dmsg_certificate_parse(&leaf, certificates[0], error);
    if (result < 0)
        return result;
    memcpy(presented.certificates, certificates, count * sizeof *certificates);
    const struct dmsg_peer_key *key = find_record(peer, &leaf, true);
    if (key != NULL)
        return say_yes(out, key);
    if (dmsg_presented_judge(&by_chain, peer, &presented, leaf.kid, now, &why) == 0)
        return say_yes(out, &by_chain);
    return why.code == DMSG_E_INTERNAL ? dmsg_fail(error, why.code, "%s", why.text)
                                       : say_no(peer, &leaf, &why, error);
}
