#include "own_keys.h"

#include "base/fail.h"
#include "dane/tlsa.h"

#include <string.h>

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

static int put_record(struct dmsg_buffer *out, const struct dmsg_name *name,
    const struct dmsg_identity_key *key, struct dmsg_error *error)
{
    struct dmsg_buffer rdata = {0};
    uint8_t selector = key->certificate != NULL ? 0 : 1;
    int result =
        dmsg_tlsa_encode(&rdata, DMSG_DANE_EE, selector, 0, key->certificate, key->key, error);
    if (result == 0) {
        dmsg_buffer_format(
            out, "%s. %d IN TLSA %d %d 0 ", name->text, RECORD_TTL, DMSG_DANE_EE, selector);
        for (size_t i = 3; i < rdata.size; i++) /* after the three fields */
            dmsg_buffer_format(out, "%02x", rdata.data[i]);
        dmsg_buffer_put_byte(out, '\n');
    }
    dmsg_buffer_done(&rdata);
    return result;
}

int own_keys_put_records(
    struct dmsg_buffer *out, const struct dmsg_identity *identity, struct dmsg_error *error)
{
    const struct dmsg_name *name = dmsg_identity_name(identity);
    const struct dmsg_identity_key *signing = dmsg_identity_current(identity, DMSG_FOR_SIGNATURES);
    int result = signing != NULL ? put_record(out, name, signing, error) : 0;
    for (size_t i = 0; result == 0 && i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        if (key->role == DMSG_KEY_CURRENT && key != signing)
            result = put_record(out, name, key, error);
    }
    if (result == 0 && out->failed)
        result = dmsg_fail_memory(error);
    return result;
}
