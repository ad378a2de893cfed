/*
 * Messages: sealed to a DNS name, opened from one (doc/PROTOCOL.md).
 *
 * Seal: sign with one's own key, encrypt to the recipient's, found with danemsg/resolver.h:
 *
 *     dmsg_sealer_new(&sealer, &context, me, &error);
 *     struct dmsg_seal_options options = {.recipient = &bob, .key = bobs_key};
 *     dmsg_seal(sealer, &options, payload, &envelope, &error);
 *
 * Open: the receiver's decision in its order, in three steps, since DNS comes in between.
 *
 *     dmsg_opener_new(&opener, &context, me, &policy, &error);
 *     dmsg_open_begin(opener, envelope, topic, &message, &error);      steps 1 to 6, no network
 *     ... the sender's keys: dmsg_discovery_find(.., &message.sender, ..) ...
 *     dmsg_open_finish(opener, &message, peer, &error);                step 8's judgement, and 9
 *     ... message.payload is now the sender's; then remember message.id: steps 7 and 10 are
 *         the store's ...
 *     dmsg_message_done(&message);
 *
 * A sealer or opener belongs to one thread at a time; each has its own prepared contexts.
 */
#ifndef DANEMSG_MESSAGE_H
#define DANEMSG_MESSAGE_H

#include "danemsg/context.h"
#include "danemsg/identity.h"
#include "danemsg/name.h"
#include "danemsg/resolver.h"
#include "danemsg/span.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Octets of one message on the wire: the default limit, and the proof of concept's. */
#define DMSG_MESSAGE_SIZE_MAX 65536
#define DMSG_MESSAGE_SIZE_POC 4096

/* Seconds. A message lives 7 days unless told otherwise, 30 at most; a sender's clock may be
   5 minutes ahead of ours. */
#define DMSG_LIFE_DEFAULT (7 * 86400)
#define DMSG_LIFE_MAX (30 * 86400)
#define DMSG_CLOCK_SKEW 300

/* Longest cty (RFC 7515 section 4.1.10), and longest topic that MQTT can carry in our header. */
#define DMSG_CONTENT_TYPE_MAX 127
#define DMSG_TOPIC_MAX 1024

/* v1's jti is 22 characters; poc messages have base64url(SHA-256) over the JWE's parts, 43. */
#define DMSG_JTI_SIZE 22
#define DMSG_MESSAGE_ID_SIZE 44

enum dmsg_format { DMSG_FORMAT_V1, DMSG_FORMAT_POC };

/* -------------------------------------------------------------------------------------- seal */

struct dmsg_seal_options {
    const struct dmsg_name *recipient;
    const struct dmsg_peer_key *key; /* what to encrypt to (dmsg_peer_recipient_key) */
    enum dmsg_format format;
    bool cbc;                 /* A256CBC-HS512 in place of A256GCM; poc always has it */
    const char *content_type; /* printable ASCII, NULL for none; poc has none */
    const char *topic;        /* where it will be published; NULL or the recipient's name: there */
    int64_t lifetime;         /* seconds, 0: DMSG_LIFE_DEFAULT */
    size_t size_limit;        /* octets on the wire, 0: DMSG_MESSAGE_SIZE_MAX, or _POC in poc */
    /* How many of the own certificate and its issuers go along (x5c): 0 for none, more than there
       are for all. dmsg_sealer_certificates says how many readers need. poc carries none. */
    size_t certificates;
    char *id; /* DMSG_MESSAGE_ID_SIZE octets: gets the jti; NULL if not wanted */
};

struct dmsg_sealer;

/* Borrows context and identity. DMSG_E_CERTIFICATE: the identity cannot sign. */
int dmsg_sealer_new(struct dmsg_sealer **out, const struct dmsg_context *context,
    const struct dmsg_identity *identity, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_sealer_free(struct dmsg_sealer **sealer);

/*
 * How many certificates a message must carry so that readers can verify it, for
 * dmsg_seal_options.certificates: 0 when the own name publishes the signing key or its certificate
 * in full; 1 when it publishes their digest (usage 3); all that there are for usages 0, 1, 2, and
 * when DNS gives no answer now (own NULL, or not secure): then they cost octets only.
 */
int dmsg_sealer_certificates(size_t *out, const struct dmsg_sealer *sealer,
    const struct dmsg_peer *own, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the envelope (flattened JSON). DMSG_E_SIZE: over the limit, and the text says the
   largest payload that would fit; or the certificates are larger than a header may be.
   DMSG_E_USAGE: content type, topic or lifetime out of bounds, certificates that there are not. */
int dmsg_seal(struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_buffer *envelope,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The two halves of dmsg_seal: payload to JWS, and any plaintext to JWE. The second uses
   options' recipient, key, format, cbc and size_limit. */
int dmsg_sign(struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_buffer *jws, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_encrypt(const struct dmsg_context *context, const struct dmsg_seal_options *options,
    struct dmsg_span plaintext, struct dmsg_buffer *jwe, struct dmsg_error *error) DMSG_MUST_CHECK;

/* -------------------------------------------------------------------------------------- open */

/* Who may write, before any DNS query is made. Borrowed by the opener. */
struct dmsg_policy {
    const struct dmsg_pattern *allow; /* none: every name that verifies */
    size_t allow_count;
    const struct dmsg_pattern *accept_poc; /* senders whose proof of concept messages are read */
    size_t accept_poc_count;
    bool accept_any_poc; /* for tools that say themselves what is not checked */
    size_t size_limit;   /* octets on the wire, 0: DMSG_MESSAGE_SIZE_MAX */

    /* Has this sender sent v1 before? Then poc is refused. NULL: not known. Called from the
       opener's thread. */
    bool (*sent_v1)(void *user, const struct dmsg_name *sender);
    void *user;
};

/* SHA-256. */
#define DMSG_X5C_DIGEST_SIZE 32

/* Where the JWS's parts stand in dmsg_message.jws, its alg, and what the certificates in it are
   known by: for dmsg_open_finish, so that it need not read the JWS a second time. */
struct dmsg_message_parts {
    bool compact;
    size_t header_at, header_size, payload_at, payload_size, signature_at, signature_size;
    char algorithm[16];
    size_t x5c_count; /* certificates in the message (v1) */
    uint8_t x5c[DMSG_X5C_DIGEST_SIZE];
};

struct dmsg_message {
    enum dmsg_format format;
    struct dmsg_name sender;       /* claimed, until verified */
    struct dmsg_name recipient;    /* aud; empty in poc */
    char id[DMSG_MESSAGE_ID_SIZE]; /* jti, or the poc digest */
    char kid[DMSG_KEY_ID_SIZE];    /* the signing key's; empty in poc */
    int64_t issued_at, expires_at; /* iat, exp; poc: 0 and 0 */
    char content_type[DMSG_CONTENT_TYPE_MAX + 1];
    struct dmsg_buffer jws;     /* decrypted; not to be shown before verified */
    struct dmsg_buffer payload; /* empty until verified */
    bool verified;
    bool stale; /* verified with keys past their TTL (dmsg_peer.stale) */
    bool early; /* from the future, by a clock that is not set: wait, and open again */
    struct dmsg_message_parts parts;
};

struct dmsg_opener;

/*
 * Borrows context, identity and policy. DMSG_E_CERTIFICATE: the identity cannot decrypt.
 * With identity NULL it decrypts nothing and dmsg_open_resume compares neither audience nor topic:
 * for verifying what is addressed to others.
 */
int dmsg_opener_new(struct dmsg_opener **out, const struct dmsg_context *context,
    const struct dmsg_identity *identity, const struct dmsg_policy *policy,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_opener_free(struct dmsg_opener **opener);

/*
 * Steps 1 to 6. topic: what it was published on; an empty span skips that comparison (there was
 * no broker). message is overwritten; a zeroed one, or one used before, whose memory is reused.
 * While the clock is known not to be set, a message from the future is no error: it gets `early`,
 * waits, and is resumed later; dmsg_open_finish refuses it until then.
 * Errors: the words of steps 1 to 6, in their order. On an error message->jws is empty, but
 * sender, id and format say what was known by then (empty if nothing).
 */
int dmsg_open_begin(struct dmsg_opener *opener, struct dmsg_span envelope, struct dmsg_span topic,
    struct dmsg_message *message, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Steps 4 to 6 again for a message that waited for DNS, from its kept JWS and, for poc, its id. */
int dmsg_open_resume(struct dmsg_opener *opener, struct dmsg_span jws, const char *poc_id,
    struct dmsg_span topic, struct dmsg_message *message, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Step 8's judgement and step 9: verifies with the keys of the sender's name and fills in
 * payload. When DNS has no key of the message's kid, and the message carries certificates, they are
 * judged by the records of a secure answer; the opener keeps that judgement for the next message.
 * DMSG_E_DNS_*, DMSG_E_NO_IDENTITY, DMSG_E_CERTIFICATE: no key; with a peer from the cache the
 * caller asks afresh before it refuses. DMSG_E_SIGNATURE: none of them made it.
 */
int dmsg_open_finish(struct dmsg_opener *opener, struct dmsg_message *message,
    const struct dmsg_peer *peer, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Step 1 to 3 alone: appends what is inside the JWE, judged no further. */
int dmsg_decrypt(struct dmsg_opener *opener, struct dmsg_span envelope,
    struct dmsg_buffer *plaintext, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Wipes and frees what the message holds; the struct is then zeroed. */
void dmsg_message_done(struct dmsg_message *message);

#ifdef __cplusplus
}
#endif

#endif
