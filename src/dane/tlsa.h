/* TLSA records (RFC 6698 section 2.1, RFC 7218 for the words). Parsing is apart from judging. */
#ifndef DANEMSG_DANE_TLSA_H
#define DANEMSG_DANE_TLSA_H

#include "danemsg/error.h"
#include "danemsg/span.h"

#include <openssl/types.h>

enum dmsg_tlsa_usage {
    DMSG_PKIX_TA = 0,
    DMSG_PKIX_EE = 1,
    DMSG_DANE_TA = 2,
    DMSG_DANE_EE = 3,
    DMSG_PKIX_CD = 4, /* private use, as dane_discovery has it */
};

enum dmsg_tlsa_selector { DMSG_TLSA_CERT = 0, DMSG_TLSA_SPKI = 1 };
enum dmsg_tlsa_matching { DMSG_TLSA_FULL = 0, DMSG_TLSA_SHA256 = 1, DMSG_TLSA_SHA512 = 2 };

struct dmsg_tlsa {
    uint8_t usage, selector, matching_type;
    struct dmsg_span data; /* certificate association data, borrowed */
};

/* rdata in wire form. DMSG_E_FORMAT: shorter than 4 octets, over DMSG_TLSA_RDATA_MAX, a digest of
   the wrong length. Unknown usages, selectors and matching types parse; they are not usable. */
int dmsg_tlsa_parse(
    struct dmsg_tlsa *out, struct dmsg_span rdata, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the rdata in wire form. selector 0 needs a certificate, selector 1 takes the key (or the
   certificate's, when key is NULL). DMSG_E_USAGE for fields out of range, DMSG_E_SIZE for a record
   that readers would not take or that out has no room for. */
int dmsg_tlsa_encode(struct dmsg_buffer *out, uint8_t usage, uint8_t selector,
    uint8_t matching_type, const X509 *certificate, const EVP_PKEY *key,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Does the record name this certificate or key (both in DER)? An empty span never matches.
   1, 0, or a negative error. */
int dmsg_tlsa_match(const struct dmsg_tlsa *tlsa, struct dmsg_span certificate,
    struct dmsg_span public_key, struct dmsg_error *error) DMSG_MUST_CHECK;

/* As dmsg_tlsa_match, of a certificate, or with NULL of a key alone. */
int dmsg_tlsa_match_x509(const struct dmsg_tlsa *tlsa, const X509 *certificate, const EVP_PKEY *key,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* "DANE-EE", "Cert", "Full" ... (RFC 7218, and PKIX-CD), "unassigned" else. */
const char *dmsg_tlsa_usage_word(uint8_t usage);
const char *dmsg_tlsa_selector_word(uint8_t selector);
const char *dmsg_tlsa_matching_word(uint8_t matching_type);

#endif
