#include "message/x5c.h"

#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static_assert(DMSG_PRESENTED_MAX == DMSG_JOSE_X5C_COUNT, "a header holds what may be presented");
static_assert(DMSG_X5C_DIGEST_SIZE == DMSG_PEER_ID_SIZE, "both are compared alike");

/* ------------------------------------------------------------------------------------- decoding */

/* Octets that hold a length before each certificate in scratch: so that a digest over all of it is
   that of one list only. */
#define LENGTH_SIZE 2
static_assert(DMSG_CERTIFICATE_MAX <= UINT16_MAX, "a length fits");

static int decode_one(struct dmsg_buffer *scratch, struct dmsg_span text, struct dmsg_error *error)
{
    static const uint8_t room[LENGTH_SIZE];
    size_t begin = scratch->size;
    dmsg_buffer_put(scratch, room, sizeof room);
    int decoded = dmsg_base64_take(scratch, text);
    if (scratch->failed)
        return dmsg_fail_memory(error);
    size_t size = scratch->size - begin - LENGTH_SIZE;
    if (decoded < 0 || size > DMSG_CERTIFICATE_MAX)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "x5c is not certificates in padded base64 (RFC 7515 section 4.1.6)");
    scratch->data[begin] = (uint8_t)(size >> 8);
    scratch->data[begin + 1] = (uint8_t)size;
    return 0;
}

int dmsg_x5c_decode(struct dmsg_presented *out, const struct dmsg_jose_header *header,
    struct dmsg_buffer *scratch, struct dmsg_error *error)
{
    dmsg_buffer_reset(scratch);
    for (size_t i = 0; i < header->x5c_count; i++) {
        int result = decode_one(scratch, header->x5c[i], error);
        if (result < 0)
            return result;
    }
    *out = (struct dmsg_presented){.count = header->x5c_count};
    const uint8_t *at = scratch->data;
    for (size_t i = 0; i < header->x5c_count; i++) {
        size_t size = (size_t)at[0] << 8 | at[1];
        out->certificates[i] = (struct dmsg_span){at + LENGTH_SIZE, size};
        at += LENGTH_SIZE + size;
    }
    return 0;
}

int dmsg_x5c_note(struct dmsg_message_parts *parts, const struct dmsg_jose_header *header,
    struct dmsg_buffer *scratch, struct dmsg_error *error)
{
    struct dmsg_presented presented;
    int result = dmsg_x5c_decode(&presented, header, scratch, error);
    if (result < 0)
        return result;
    if (EVP_Digest(scratch->data, scratch->size, parts->x5c, NULL, EVP_sha256(), NULL) != 1)
        return dmsg_fail_openssl(error, "a digest of the certificates in a message");
    parts->x5c_count = presented.count;
    return 0;
}

/* ------------------------------------------------------------------------------------ the cache */

static size_t slot_of(const struct dmsg_message_parts *parts)
{
    return ((size_t)parts->x5c[0] << 8 | parts->x5c[1]) % DMSG_X5C_SLOTS;
}

static void drop(struct dmsg_x5c_judgement **slot)
{
    if (*slot == NULL)
        return;
    dmsg_presented_done(&(*slot)->key);
    free(*slot);
    *slot = NULL;
}

const struct dmsg_x5c_judgement *dmsg_x5c_find(const struct dmsg_x5c_cache *cache,
    const struct dmsg_message *message, const struct dmsg_peer *peer, int64_t now)
{
    const struct dmsg_x5c_judgement *found = cache->slots[slot_of(&message->parts)];
    if (found == NULL || memcmp(found->x5c, message->parts.x5c, sizeof found->x5c) != 0 ||
        memcmp(found->peer, dmsg_peer_id(peer), sizeof found->peer) != 0 ||
        strcmp(found->key.kid, message->kid) != 0 || now < found->key.not_before ||
        now >= found->key.not_after)
        return NULL;
    return found;
}

int dmsg_x5c_judge(struct dmsg_x5c_cache *cache, const struct dmsg_message *message,
    const struct dmsg_presented *presented, const struct dmsg_peer *peer, int64_t now,
    const struct dmsg_x5c_judgement **out, struct dmsg_error *error)
{
    struct dmsg_x5c_judgement *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    int result =
        dmsg_presented_judge(&made->key, peer, presented, message->kid, now, &made->refusal);
    if (result == DMSG_E_INTERNAL) {
        result = dmsg_fail(error, result, "%s", made->refusal.text);
        free(made);
        return result;
    }
    if (result < 0) {
        made->key.not_before = now;
        made->key.not_after = now + DMSG_X5C_REFUSAL_LIFE;
        memcpy(made->key.kid, message->kid, sizeof made->key.kid);
    }
    memcpy(made->x5c, message->parts.x5c, sizeof made->x5c);
    memcpy(made->peer, dmsg_peer_id(peer), sizeof made->peer);
    struct dmsg_x5c_judgement **slot = &cache->slots[slot_of(&message->parts)];
    drop(slot);
    *slot = made;
    *out = made;
    return 0;
}

void dmsg_x5c_cache_done(struct dmsg_x5c_cache *cache)
{
    for (size_t i = 0; i < DMSG_X5C_SLOTS; i++)
        drop(&cache->slots[i]);
}

/* ------------------------------------------------------------------------------------- one's own
 */

int dmsg_x5c_put(struct dmsg_buffer *out, const struct dmsg_identity_key *own, size_t count,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer der = {0};
    dmsg_buffer_put_text(out, "\"x5c\":[");
    for (size_t i = 0; i < count && i < 1 + own->issuer_count; i++) {
        dmsg_buffer_reset(&der);
        int result =
            dmsg_certificate_put_der(&der, i == 0 ? own->certificate : own->issuers[i - 1], error);
        if (result < 0)
            return result;
        dmsg_buffer_put_text(out, i == 0 ? "\"" : ",\"");
        dmsg_base64_put(out, dmsg_buffer_span(&der));
        dmsg_buffer_put_byte(out, '"');
    }
    dmsg_buffer_put_byte(out, ']');
    return out->failed ? dmsg_fail_memory(error) : 0;
}

/* By one record alone; full: readers find in it whatever they need. */
static int needed_by(size_t *out, bool *full, const struct dmsg_identity_key *own,
    const struct dmsg_peer_key *record, struct dmsg_error *error)
{
    struct dmsg_tlsa tlsa;
    if (dmsg_tlsa_parse(&tlsa, record->rdata, NULL) < 0)
        return 0;
    size_t all = 1 + own->issuer_count, needed = 0;
    if (tlsa.usage == DMSG_PKIX_TA || tlsa.usage == DMSG_DANE_TA)
        needed = all; /* which issuer it fits may be known to readers alone */
    int fits = dmsg_tlsa_match_x509(&tlsa, own->certificate, own->key, error);
    bool whole = tlsa.matching_type == DMSG_TLSA_FULL;
    if (fits == 1 && tlsa.usage == DMSG_DANE_EE)
        needed = whole ? 0 : 1;
    else if (fits == 1 && tlsa.usage == DMSG_PKIX_EE) /* readers may lack the issuers */
        needed = whole && tlsa.selector == DMSG_TLSA_CERT && all == 1 ? 0 : all;
    *full |= fits == 1 && whole && tlsa.usage == DMSG_DANE_EE;
    *out = needed > *out ? needed : *out;
    return fits < 0 ? fits : 0;
}

int dmsg_x5c_needed(size_t *out, const struct dmsg_identity_key *own, const struct dmsg_peer *peer,
    struct dmsg_error *error)
{
    size_t needed = 0;
    bool full = false;
    int result = 0;
    for (size_t i = 0; result == 0 && peer != NULL && i < peer->count; i++)
        result = needed_by(&needed, &full, own, &peer->keys[i], error);
    if (result < 0)
        return result;
    if (peer == NULL || peer->status != DMSG_DNS_SECURE)
        needed = 1 + own->issuer_count;
    *out = full || own->certificate == NULL ? 0 : needed;
    return 0;
}
