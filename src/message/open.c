#include "base/base64url.h"
#include "base/fail.h"
#include "dane/uri.h"
#include "danemsg/message.h"
#include "message/claims.h"
#include "message/opener.h"
#include "message/policy.h"
#include "message/wire.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

static const struct dmsg_name *own_name(const struct dmsg_opener *opener)
{
    return opener->identity != NULL ? dmsg_identity_name(opener->identity) : NULL;
}

static int prepare_own_keys(struct dmsg_opener *opener, struct dmsg_error *error)
{
    size_t count = opener->identity != NULL ? dmsg_identity_key_count(opener->identity) : 0;
    for (size_t i = 0; i < count && opener->own_count < OWN_KEYS_MAX; i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(opener->identity, i);
        struct own_key *own = &opener->own[opener->own_count];
        if ((key->purposes & DMSG_FOR_ENCRYPTION) == 0)
            continue;
        int result = key->uri != NULL ? dmsg_jose_new(&own->jose, key->context, error) : 0;
        if (result == 0)
            result = dmsg_jose_key_new(&own->key, own->jose != NULL ? own->jose : opener->jose,
                key->key, DMSG_USE_DECRYPT, error);
        if (result < 0)
            return result;
        own->identity_key = key;
        opener->own_count++;
    }
    if (opener->own_count == 0 && opener->identity != NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "%s has no key that may decrypt",
            dmsg_identity_name(opener->identity)->text);
    return 0;
}

int dmsg_opener_new(struct dmsg_opener **out, const struct dmsg_context *context,
    const struct dmsg_identity *identity, const struct dmsg_policy *policy,
    struct dmsg_error *error)
{
    struct dmsg_opener *opener = calloc(1, sizeof *opener);
    if (opener == NULL)
        return dmsg_fail_memory(error);
    opener->context = context;
    opener->identity = identity;
    opener->policy = policy;
    int result = dmsg_jose_new(&opener->jose, context, error);
    if (result == 0)
        result = prepare_own_keys(opener, error);
    if (result < 0) {
        dmsg_opener_free(&opener);
        return result;
    }
    *out = opener;
    return 0;
}

void dmsg_opener_free(struct dmsg_opener **opener)
{
    if (opener == NULL || *opener == NULL)
        return;
    for (size_t i = 0; i < OWN_KEYS_MAX; i++) {
        dmsg_jose_key_free(&(*opener)->own[i].key);
        dmsg_jose_free(&(*opener)->own[i].jose);
    }
    dmsg_keyring_done(&(*opener)->senders);
    dmsg_x5c_cache_done(&(*opener)->x5c);
    dmsg_jose_free(&(*opener)->jose);
    dmsg_buffer_done(&(*opener)->scratch);
    free(*opener);
    *opener = NULL;
}

/* ------------------------------------------------------------------------- steps 1, 2 and 3 */

static int check_size(const struct dmsg_opener *opener, struct dmsg_span envelope,
    struct dmsg_span topic, struct dmsg_error *error)
{
    size_t limit =
        opener->policy->size_limit != 0 ? opener->policy->size_limit : DMSG_MESSAGE_SIZE_MAX;
    if (envelope.size > limit)
        return dmsg_fail(error, DMSG_E_SIZE, "%zu octets; the limit is %zu (MAX_MESSAGE_SIZE)",
            envelope.size, limit);
    if (topic.size > DMSG_TOPIC_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "a topic of %zu octets; the limit is %d", topic.size,
            DMSG_TOPIC_MAX);
    return 0;
}

/* RFC 7516 section 4.1.11 and 4.1.12, and doc/PROTOCOL.md: what stands there must be right. */
static int check_addressed(const struct dmsg_opener *opener, struct dmsg_error *error)
{
    const struct dmsg_jose_header *header = &opener->header;
    const struct dmsg_name *me = own_name(opener);
    struct dmsg_name recipient;
    struct dmsg_error why;
    if ((header->present & DMSG_HAS_TYP) != 0 && !dmsg_span_equal_text(header->typ, DMSG_TYP_JWE))
        return dmsg_fail(error, DMSG_E_FORMAT, "the outer typ is not " DMSG_TYP_JWE);
    if ((header->present & DMSG_HAS_CTY) != 0 && !dmsg_span_equal_text(header->cty, DMSG_TYP_JWS))
        return dmsg_fail(error, DMSG_E_FORMAT, "the outer cty is not " DMSG_TYP_JWS);
    if ((header->present & DMSG_HAS_X5U) == 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "the outer header names no recipient (x5u)");
    if (dmsg_uri_parse(&recipient, header->x5u, &why) < 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "the recipient's x5u has %s", why.text);
    if (me == NULL || !dmsg_name_equal(&recipient, me))
        return dmsg_fail(error, DMSG_E_NOT_FOR_ME, "encrypted to %s, not to %s", recipient.text,
            me != NULL ? me->text : "anybody here");
    return 0;
}

static const struct own_key *find_own_key(const struct dmsg_opener *opener, struct dmsg_span kid)
{
    for (size_t i = 0; i < opener->own_count; i++) {
        if (dmsg_span_equal_text(kid, opener->own[i].identity_key->kid))
            return &opener->own[i];
    }
    return NULL;
}

/* Without kid (poc) each own key whose algorithm it is gets a try. What a fitting key says counts
   more than that another does not fit, and most of all that one could not be tried: it may be the
   right one. */
static int decrypt_with_any(struct dmsg_opener *opener, const struct dmsg_jwe *jwe,
    struct dmsg_buffer *plaintext, struct dmsg_error *error)
{
    int result = DMSG_E_ALGORITHM;
    for (size_t i = 0; i < opener->own_count; i++) {
        struct dmsg_error latest;
        int tried = dmsg_jwe_decrypt(opener->own[i].key, jwe, &opener->header, plaintext, &latest);
        if (tried == 0)
            return 0;
        if (i == 0 || result == DMSG_E_ALGORITHM || tried == DMSG_E_INTERNAL) {
            result = tried;
            if (error != NULL)
                *error = latest;
        }
    }
    return result;
}

static int decrypt(struct dmsg_opener *opener, const struct dmsg_jwe *jwe,
    struct dmsg_buffer *plaintext, struct dmsg_error *error)
{
    if ((opener->header.present & DMSG_HAS_KID) == 0)
        return decrypt_with_any(opener, jwe, plaintext, error);
    const struct own_key *own = find_own_key(opener, opener->header.kid);
    if (own == NULL)
        return dmsg_fail(error, DMSG_E_NOT_FOR_ME,
            "encrypted to a key (kid) that %s does not have here", own_name(opener)->text);
    return dmsg_jwe_decrypt(own->key, jwe, &opener->header, plaintext, error);
}

static int open_envelope(struct dmsg_opener *opener, struct dmsg_span envelope,
    struct dmsg_span topic, struct dmsg_jwe *jwe, struct dmsg_buffer *plaintext,
    struct dmsg_error *error)
{
    int result = check_size(opener, envelope, topic, error);
    if (result == 0)
        result = dmsg_jwe_parse(jwe, envelope, error);
    if (result == 0)
        result = dmsg_jwe_header_parse(&opener->header, jwe, error);
    if (result == 0)
        result = check_addressed(opener, error);
    return result < 0 ? result : decrypt(opener, jwe, plaintext, error);
}

int dmsg_decrypt(struct dmsg_opener *opener, struct dmsg_span envelope,
    struct dmsg_buffer *plaintext, struct dmsg_error *error)
{
    struct dmsg_jwe jwe;
    return open_envelope(opener, envelope, (struct dmsg_span){0}, &jwe, plaintext, error);
}

/* ------------------------------------------------------------------------- steps 4, 5 and 6 */

static int judge_sender(
    struct dmsg_opener *opener, struct dmsg_message *message, struct dmsg_error *error)
{
    struct dmsg_name sender;
    int result = dmsg_uri_parse(&sender, opener->header.x5u, error);
    if (result < 0)
        return dmsg_fail_in(error, result, "the sender's x5u");
    message->sender = sender;
    return dmsg_policy_judge(opener->policy, &sender, message->format, error);
}

/* Where a part of the JWS stands, so that it is found again when the buffer has moved. */
static void note_part(
    const struct dmsg_message *message, struct dmsg_span part, size_t *at, size_t *size)
{
    *at = (size_t)(part.data - message->jws.data);
    *size = part.size;
}

static int note_parts(struct dmsg_message *message, const struct dmsg_jws *jws,
    struct dmsg_span algorithm, struct dmsg_error *error)
{
    struct dmsg_message_parts *parts = &message->parts;
    /* The header parser let only names of the table pass, and they are short. */
    if (algorithm.size >= sizeof parts->algorithm)
        return dmsg_fail(error, DMSG_E_ALGORITHM, "an alg of %zu characters", algorithm.size);
    memcpy(parts->algorithm, algorithm.data, algorithm.size);
    parts->compact = jws->form == DMSG_FORM_COMPACT;
    note_part(message, jws->protected_header, &parts->header_at, &parts->header_size);
    note_part(message, jws->payload, &parts->payload_at, &parts->payload_size);
    note_part(message, jws->signature, &parts->signature_at, &parts->signature_size);
    return 0;
}

static int judge_jws(struct dmsg_opener *opener, struct dmsg_message *message,
    struct dmsg_span topic, struct dmsg_error *error)
{
    struct dmsg_jws jws;
    int result = dmsg_jws_parse(&jws, dmsg_buffer_span(&message->jws), error);
    if (result == 0)
        result = dmsg_jws_header_parse(&opener->header, &jws, error);
    if (result == 0)
        result = note_parts(message, &jws, opener->header.alg, error);
    if (result == 0)
        result = dmsg_claims_read(message, &opener->header, error);
    if (result == 0 && message->format == DMSG_FORMAT_V1 && opener->header.x5c_count > 0)
        result = dmsg_x5c_note(&message->parts, &opener->header, &opener->scratch, error);
    if (result == 0)
        result = judge_sender(opener, message, error);
    if (result == 0 && message->format == DMSG_FORMAT_V1)
        result = dmsg_claims_judge(
            message, &opener->header, own_name(opener), topic, opener->context, error);
    return result;
}

/* ------------------------------------------------------------------------------ poc messages */

static int hash_part(EVP_MD_CTX *hash, struct dmsg_buffer *scratch, struct dmsg_span part)
{
    uint8_t length[8];
    dmsg_buffer_reset(scratch);
    if (dmsg_base64url_take(scratch, part) < 0)
        return -1;
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)(scratch->size >> (8 * (sizeof length - 1 - i)));
    return EVP_DigestUpdate(hash, length, sizeof length) == 1 &&
                   EVP_DigestUpdate(hash, scratch->data, scratch->size) == 1
               ? 0
               : -1;
}

/* A poc message has no id: SHA-256 over the decoded, length-prefixed parts of its JWE, which
   nobody can change without its tag failing, unlike the JSON around them. */
static int make_poc_id(struct dmsg_opener *opener, char id[static DMSG_MESSAGE_ID_SIZE],
    const struct dmsg_jwe *jwe, struct dmsg_error *error)
{
    const struct dmsg_span parts[] = {
        jwe->protected_header, jwe->encrypted_key, jwe->iv, jwe->ciphertext, jwe->tag};
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    EVP_MD *sha256 = EVP_MD_fetch(opener->context->library, "SHA256", opener->context->properties);
    int result = hash != NULL && sha256 != NULL && EVP_DigestInit_ex(hash, sha256, NULL) == 1;
    for (size_t i = 0; result == 1 && i < sizeof parts / sizeof parts[0]; i++)
        result = hash_part(hash, &opener->scratch, parts[i]) == 0;
    result = result == 1 && EVP_DigestFinal_ex(hash, digest, NULL) == 1;
    EVP_MD_CTX_free(hash);
    EVP_MD_free(sha256);
    if (result != 1)
        return dmsg_fail_openssl(error, "hashing a proof of concept message");
    dmsg_base64url_encode(id, (struct dmsg_span){digest, 32});
    id[DMSG_MESSAGE_ID_SIZE - 1] = '\0';
    return 0;
}

/* ------------------------------------------------------------------------------- the interface */

/* Forgets what a message said, keeps the memory of its buffers. */
static void clear(struct dmsg_message *message)
{
    struct dmsg_buffer jws = message->jws, payload = message->payload;
    dmsg_buffer_reset(&jws);
    dmsg_buffer_reset(&payload);
    *message = (struct dmsg_message){.jws = jws, .payload = payload};
}

int dmsg_open_begin(struct dmsg_opener *opener, struct dmsg_span envelope, struct dmsg_span topic,
    struct dmsg_message *message, struct dmsg_error *error)
{
    struct dmsg_jwe jwe;
    clear(message);
    int result = open_envelope(opener, envelope, topic, &jwe, &message->jws, error);
    if (result == 0)
        result = judge_jws(opener, message, topic, error);
    if (result == 0 && message->format == DMSG_FORMAT_POC)
        result = make_poc_id(opener, message->id, &jwe, error);
    if (result < 0)
        dmsg_buffer_reset(&message->jws);
    return result;
}

int dmsg_open_resume(struct dmsg_opener *opener, struct dmsg_span jws, const char *poc_id,
    struct dmsg_span topic, struct dmsg_message *message, struct dmsg_error *error)
{
    clear(message);
    dmsg_buffer_put_span(&message->jws, jws);
    int result =
        message->jws.failed ? dmsg_fail_memory(error) : judge_jws(opener, message, topic, error);
    if (result == 0 && message->format == DMSG_FORMAT_POC)
        snprintf(message->id, sizeof message->id, "%s", poc_id);
    if (result < 0)
        dmsg_buffer_reset(&message->jws);
    return result;
}

void dmsg_message_done(struct dmsg_message *message)
{
    if (message == NULL)
        return;
    dmsg_buffer_done(&message->jws);
    dmsg_buffer_done(&message->payload);
    *message = (struct dmsg_message){0};
}
