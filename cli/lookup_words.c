#include "dane/tlsa.h"
#include "lookup.h"
#include "x509/certificate.h"

#include <openssl/x509.h>

/* What a record of this usage holds, and who must vouch for it (RFC 6698 section 2.1.1; RFC 7671
   section 5; PKIX-CD). */
static const struct {
    const char *owner, *rule;
} usages[] = {
    [DMSG_PKIX_TA] = {"an issuer's",
        "messages bring a chain that contains it, and a CA of this system must vouch for them"},
    [DMSG_PKIX_EE] = {"this name's own", "a CA of this system must vouch for it as well"},
    [DMSG_DANE_TA] = {"an issuer's", "messages bring a chain that ends at it"},
    [DMSG_DANE_EE] = {"this name's own", "DNS alone vouches for it"},
    [DMSG_PKIX_CD] = {"this name's own", "a CA that the name's authority serves must vouch for it"},
};

void lookup_put_meaning(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    static const char *const digests[] = {"", "the SHA-256 of ", "the SHA-512 of "};
    static const char *const selected[] = {"certificate", "public key"};
    if (key->usage >= COUNT(usages) || key->selector >= COUNT(selected) ||
        key->matching_type >= COUNT(digests))
        dmsg_buffer_put_text(out, "nothing that is known here");
    else
        dmsg_buffer_format(out, "%s%s %s; %s", digests[key->matching_type],
            usages[key->usage].owner, selected[key->selector], usages[key->usage].rule);
}

const EVP_PKEY *lookup_shown_key(const struct dmsg_peer_key *key)
{
    if (key->key != NULL || key->certificate == NULL)
        return key->key;
    return X509_get0_pubkey(key->certificate);
}

bool lookup_can(const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose)
{
    return (key->purposes & (unsigned)purpose) != 0 ||
           (key->by_x5c && purpose == DMSG_FOR_SIGNATURES);
}

size_t lookup_count(const struct dmsg_peer *peer, enum dmsg_key_purpose purpose)
{
    size_t count = 0;
    for (size_t i = 0; i < peer->count; i++)
        count += lookup_can(&peer->keys[i], purpose);
    return count;
}

static bool names_an_issuer(const struct dmsg_peer_key *key)
{
    return key->usage == DMSG_PKIX_TA || key->usage == DMSG_DANE_TA;
}

static void put_why(struct dmsg_buffer *out, const struct dmsg_peer_key *key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE] = "";
    struct dmsg_key_usage usage = {0};
    dmsg_key_describe(description, key->key);
    if (key->certificate == NULL)
        dmsg_buffer_format(out, "an %s key", description);
    else if (dmsg_certificate_key_usage(&usage, key->certificate, NULL) == 0 && usage.present)
        dmsg_buffer_put_text(out, "its KeyUsage allows it");
    else
        dmsg_buffer_put_text(out, "its certificate has no KeyUsage that forbids it");
}

static void put_why_not(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE] = "";
    dmsg_key_describe(description, key->key);
    if ((dmsg_key_purposes(key->key, NULL) & (unsigned)purpose) == 0)
        dmsg_buffer_format(out, "an %s key cannot %s", description,
            purpose == DMSG_FOR_SIGNATURES ? "sign" : "be encrypted to");
    else
        dmsg_buffer_put_text(out, "its KeyUsage does not allow it");
}

static void put_by_x5c(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose)
{
    if (purpose != DMSG_FOR_SIGNATURES)
        dmsg_buffer_put_text(out, names_an_issuer(key)
                                      ? "it names an issuer, not a key of this name"
                                  : key->matching_type == DMSG_TLSA_FULL
                                      ? "no CA can vouch for a key without its certificate"
                                      : "a digest is no key");
    else if (key->usage == DMSG_DANE_EE)
        dmsg_buffer_put_text(out, "messages that bring the certificate (x5c)");
    else
        dmsg_buffer_put_text(out, "messages that bring the certificate and its chain (x5c)");
}

void lookup_put_reason(
    struct dmsg_buffer *out, const struct dmsg_peer_key *key, enum dmsg_key_purpose purpose)
{
    if (key->by_x5c)
        put_by_x5c(out, key, purpose);
    else if (key->purposes == 0 || key->key == NULL)
        dmsg_buffer_put_text(out, key->why);
    else if (lookup_can(key, purpose))
        put_why(out, key);
    else
        put_why_not(out, key, purpose);
}
