#include "own_keys.h"

#include "base/fail.h"
#include "dane/presented.h"
#include "own_records.h"
#include "x509/certificate.h"

#include <string.h>

/* Seconds: a weekend. */
#define WARN_SIGNATURES (2 * 86400)

bool own_keys_signatures_end_soon(const struct dmsg_peer *peer, int64_t now)
{
    return peer->status == DMSG_DNS_SECURE && peer->signed_until != 0 &&
           peer->signed_until - now < WARN_SIGNATURES;
}

static bool speaks_for(const struct dmsg_peer *peer, const struct dmsg_identity_key *key)
{
    for (size_t i = 0; i < peer->count; i++) {
        if (peer->keys[i].purposes != 0 && strcmp(peer->keys[i].kid, key->kid) == 0)
            return true;
    }
    return false;
}

int own_keys_check(
    const struct dmsg_identity *identity, const struct dmsg_peer *peer, struct dmsg_error *error)
{
    const struct dmsg_peer_key *any[DMSG_PEER_KEYS_MAX];
    const char *name = dmsg_identity_name(identity)->text;
    int count = dmsg_peer_sender_keys(peer, (struct dmsg_span){0}, any, error);
    /* No answer, or none to be believed, says nothing about which keys are there. */
    if (count < 0 && count != DMSG_E_CERTIFICATE)
        return count;
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        if (key->role == DMSG_KEY_CURRENT && !speaks_for(peer, key))
            return dmsg_fail(error, DMSG_E_CERTIFICATE,
                "no usable record of %s is for the key here (kid %s)", name, key->kid);
    }
    return 0;
}

int own_key_check_carried(char fields[static RECORD_FIELDS_SIZE],
    const struct dmsg_identity_key *key, const struct dmsg_peer *peer, int64_t now,
    struct dmsg_error *error)
{
    struct dmsg_presented presented = {0};
    struct dmsg_peer_key judged = {0};
    struct dmsg_buffer der[DMSG_PRESENTED_MAX] = {{0}};
    int result = 0;
    if (key->certificate == NULL || (key->purposes & DMSG_FOR_SIGNATURES) == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "it has no certificate that could go along");
    for (size_t i = 0; result == 0 && i < 1 + key->issuer_count; i++) {
        result = dmsg_certificate_put_der(
            &der[i], i == 0 ? key->certificate : key->issuers[i - 1], error);
        presented.certificates[presented.count++] = dmsg_buffer_span(&der[i]);
    }
    if (result == 0)
        result = dmsg_presented_judge(&judged, peer, &presented, key->kid, now, error);
    if (result == 0)
        snprintf(fields, RECORD_FIELDS_SIZE, "%u %u %u", judged.usage, judged.selector,
            judged.matching_type);
    dmsg_presented_done(&judged);
    for (size_t i = 0; i < DMSG_PRESENTED_MAX; i++)
        dmsg_buffer_done(&der[i]);
    return result;
}

int own_keys_check_sender(const struct dmsg_identity *identity, const struct dmsg_peer *peer,
    int64_t now, struct dmsg_error *error)
{
    char fields[RECORD_FIELDS_SIZE];
    int result = own_keys_check(identity, peer, error);
    if (result != DMSG_E_CERTIFICATE)
        return result;
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        if (key->role == DMSG_KEY_CURRENT && !speaks_for(peer, key) &&
            own_key_check_carried(fields, key, peer, now, NULL) < 0)
            return result;
    }
    return 0;
}

int own_keys_put_records(
    struct dmsg_buffer *out, const struct dmsg_identity *identity, struct dmsg_error *error)
{
    const struct record_form best = {.usage = DMSG_DANE_EE, .selector = RECORD_SELECTOR_BEST};
    struct own_records records = {0};
    char before[DMSG_NAME_TEXT + sizeof ". 2147483647 IN TLSA "];
    int result = own_records_make(&records, identity, &best, RECORDS_CURRENT, error);
    if (result < 0)
        return result;
    snprintf(
        before, sizeof before, "%s. %d IN TLSA ", dmsg_identity_name(identity)->text, RECORD_TTL);
    own_records_put(out, before, &records);
    own_records_done(&records);
    return out->failed ? dmsg_fail_memory(error) : 0;
}
