#include "own_records.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <openssl/crypto.h>

/* Octets of rdata before the data (RFC 6698 section 2.1). */
#define FIELDS 3

static const struct option form_options[] = {
    {.name = "usage",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct record_form, usage),
        .most = DMSG_PKIX_CD,
        .help = "3 DANE-EE (default), 1 PKIX-EE, 4 PKIX-CD"},
    {.name = "selector",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct record_form, selector),
        .most = 1,
        .help = "0 the certificate (default), 1 the bare key"},
    {.name = "matching-type",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct record_form, matching_type),
        .most = 2,
        .help = "0 in full (default), 1 its SHA-256, 2 its SHA-512"},
};
const struct option_group record_form_group = {"Records", form_options, COUNT(form_options)};

int record_form_check(const struct record_form *form, struct dmsg_error *error)
{
    if (form->usage == DMSG_DANE_TA || form->usage == DMSG_PKIX_TA)
        return dmsg_fail(error, DMSG_E_USAGE,
            "usage %d (%s) is for a CA's certificate (`danemsg identity tlsa --ca FILE`); an "
            "identity's own is 3, 1 or 4",
            (int)form->usage, dmsg_tlsa_usage_word((uint8_t)form->usage));
    return 0;
}

static int add(struct own_records *records, const struct dmsg_identity_key *key,
    const struct record_form *form, struct dmsg_error *error)
{
    bool bare = form->selector == RECORD_SELECTOR_BEST ? key->certificate == NULL
                                                       : form->selector == DMSG_TLSA_SPKI;
    size_t before = records->octets.size;
    if (!bare && key->certificate == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the key %s has no certificate yet: put it beside the key (NAME.crt.pem), or publish "
            "the bare key with --selector 1",
            key->kid);
    int result = dmsg_tlsa_encode(&records->octets, (uint8_t)form->usage,
        bare ? DMSG_TLSA_SPKI : DMSG_TLSA_CERT, (uint8_t)form->matching_type, key->certificate,
        key->key, error);
    if (result == 0)
        records->rdata[records->count++].size = records->octets.size - before;
    return result;
}

/* In three passes: the signing key, the other current ones, the rest. */
static unsigned pass_of(
    const struct dmsg_identity_key *key, const struct dmsg_identity_key *signing)
{
    if (key->role != DMSG_KEY_CURRENT)
        return 2;
    return key == signing ? 0 : 1;
}

int own_records_make(struct own_records *out, const struct dmsg_identity *identity,
    const struct record_form *form, unsigned roles, struct dmsg_error *error)
{
    const struct dmsg_identity_key *signing = dmsg_identity_current(identity, DMSG_FOR_SIGNATURES);
    DMSG_CLEANUP(own_records_done) struct own_records records = {0};
    int result = 0;
    for (unsigned pass = 0; pass < 3; pass++) {
        for (size_t i = 0; result == 0 && i < dmsg_identity_key_count(identity); i++) {
            const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
            if ((roles & 1u << key->role) != 0 && pass_of(key, signing) == pass)
                result = add(&records, key, form, error);
        }
    }
    if (result < 0)
        return result;
    const uint8_t *at = records.octets.data; /* it no longer moves */
    for (size_t i = 0; i < records.count; i++) {
        records.rdata[i].data = at;
        at += records.rdata[i].size;
    }
    *out = records;
    records = (struct own_records){0};
    return 0;
}

void own_records_done(struct own_records *records)
{
    dmsg_buffer_done(&records->octets);
    records->count = 0;
}

void own_records_put(struct dmsg_buffer *out, const char *before, const struct own_records *records)
{
    for (size_t i = 0; i < records->count; i++) {
        struct dmsg_span rdata = records->rdata[i];
        dmsg_buffer_format(out, "%s%d %d %d ", before, rdata.data[0], rdata.data[1], rdata.data[2]);
        for (size_t octet = FIELDS; octet < rdata.size; octet++)
            dmsg_buffer_format(out, "%02x", rdata.data[octet]);
        dmsg_buffer_put_byte(out, '\n');
    }
}

/* ---------------------------------------------------------------------------------- recognising */

static void cleanup_octets(unsigned char **octets)
{
    OPENSSL_free(*octets);
}

/* The key of a whole certificate, of which the identity may have another one by now. */
static bool certifies(const struct dmsg_tlsa *tlsa, const EVP_PKEY *key)
{
    const unsigned char *data = tlsa->data.data;
    X509 *certificate DMSG_CLEANUP(dmsg_cleanup_x509) = NULL;
    if (tlsa->matching_type != DMSG_TLSA_FULL || tlsa->selector != DMSG_TLSA_CERT)
        return false;
    certificate = d2i_X509(NULL, &data, (long)tlsa->data.size);
    const EVP_PKEY *found = certificate != NULL ? X509_get0_pubkey(certificate) : NULL;
    return found != NULL && EVP_PKEY_eq(found, key) == 1;
}

static bool is_of(const struct dmsg_tlsa *tlsa, const struct dmsg_identity_key *key)
{
    unsigned char *certificate DMSG_CLEANUP(cleanup_octets) = NULL;
    unsigned char *spki DMSG_CLEANUP(cleanup_octets) = NULL;
    int size = key->certificate != NULL ? i2d_X509(key->certificate, &certificate) : 0;
    int spki_size = i2d_PUBKEY(key->key, &spki);
    if (size < 0 || spki_size <= 0)
        return false;
    return dmsg_tlsa_match(tlsa, (struct dmsg_span){certificate, (size_t)size},
               (struct dmsg_span){spki, (size_t)spki_size}, NULL) == 1 ||
           certifies(tlsa, key->key);
}

bool own_records_match_key(const struct dmsg_identity_key *key, struct dmsg_span rdata)
{
    struct dmsg_tlsa tlsa;
    return dmsg_tlsa_parse(&tlsa, rdata, NULL) == 0 && is_of(&tlsa, key);
}

const struct dmsg_identity_key *own_records_match(
    const struct dmsg_identity *identity, struct dmsg_span rdata)
{
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        if (own_records_match_key(key, rdata))
            return key;
    }
    return NULL;
}
