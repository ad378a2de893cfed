/*
 * Transaction signatures (RFC 8945) with HMAC, and the file that holds their key. An answer is
 * verified over its octets, before anything else reads it; the secret is in no other library.
 */
#ifndef DANEMSG_DANE_PUBLISH_TSIG_H
#define DANEMSG_DANE_PUBLISH_TSIG_H

#include "dane/setup.h"

/* A key file has some 100 octets; comments may make it longer. */
#define DMSG_TSIG_FILE_MAX 16384
/* Octets of a secret. RFC 8945 section 8 wants them as long as the digest; fewer than 16 can be
   guessed, and HMAC hashes more than its block down. */
#define DMSG_TSIG_SECRET_MIN 16
#define DMSG_TSIG_SECRET_MAX 512
#define DMSG_TSIG_MAC_MAX 64

struct dmsg_tsig_algorithm;

struct dmsg_tsig_key {
    char name[DMSG_ZONE_TEXT]; /* canonical, with its final dot */
    const struct dmsg_tsig_algorithm *algorithm;
    size_t secret_size;
    uint8_t secret[DMSG_TSIG_SECRET_MAX];
};

/*
 * BIND's form, comments included: key "name" { algorithm hmac-sha256; secret "base64"; };
 * DMSG_E_LOCAL: another form, more than one key, an algorithm other than HMAC-SHA256, 384 and 512.
 */
int dmsg_tsig_key_parse(
    struct dmsg_tsig_key *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;
/* As parse; and a file that others can read is refused. */
int dmsg_tsig_key_read(
    struct dmsg_tsig_key *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Wipes. */
void dmsg_tsig_key_done(struct dmsg_tsig_key *key);

/* "hmac-sha256" */
const char *dmsg_tsig_algorithm_name(const struct dmsg_tsig_algorithm *algorithm);
/* In any case of letters, with or without a final dot; NULL when there is none. */
const struct dmsg_tsig_algorithm *dmsg_tsig_algorithm_find(struct dmsg_span name);

struct dmsg_tsig_mac {
    size_t size;
    uint8_t octets[DMSG_TSIG_MAC_MAX];
};

/* Appends the TSIG record to a DNS message; now: seconds since 1970. mac: what the answer is bound
   to. */
int dmsg_tsig_sign(struct dmsg_buffer *message, const struct dmsg_tsig_key *key, int64_t now,
    struct dmsg_tsig_mac *mac, struct dmsg_error *error) DMSG_MUST_CHECK;

enum dmsg_tsig_verdict {
    DMSG_TSIG_GOOD,    /* made with the key, for this request, now */
    DMSG_TSIG_MISSING, /* not signed, or an empty signature beside an error */
    DMSG_TSIG_WRONG,   /* signed with another key, or altered */
    DMSG_TSIG_UNTIMELY /* right but for its time */
};

/* RFC 8945 section 3 */
enum { DMSG_TSIG_BADSIG = 16, DMSG_TSIG_BADKEY = 17, DMSG_TSIG_BADTIME = 18 };

struct dmsg_tsig_answer {
    enum dmsg_tsig_verdict verdict;
    unsigned error; /* as the record has it, 0 for none; a hint unless the verdict is good */
};

/* DMSG_E_DNS_TEMPORARY: not a DNS message. */
int dmsg_tsig_verify(struct dmsg_tsig_answer *out, struct dmsg_span message,
    const struct dmsg_tsig_key *key, int64_t now, const struct dmsg_tsig_mac *request,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
