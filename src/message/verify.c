/* Step 8's judgement and step 9: the sender's key, from DNS or judged by DNS, and its signature
   (doc/PROTOCOL.md, "The receiver's decision, in order"). */
#include "base/fail.h"
#include "message/opener.h"

static struct dmsg_jws find_parts(const struct dmsg_message *message)
{
    const struct dmsg_message_parts *parts = &message->parts;
    const uint8_t *data = message->jws.data;
    struct dmsg_jws jws = {
        .form = parts->compact ? DMSG_FORM_COMPACT : DMSG_FORM_FLATTENED,
        .protected_header = {data + parts->header_at, parts->header_size},
        .payload = {data + parts->payload_at, parts->payload_size},
        .signature = {data + parts->signature_at, parts->signature_size},
    };
    if (parts->compact) /* "header.payload", as it stands */
        jws.signing_input = (struct dmsg_span){
            jws.protected_header.data, parts->header_size + 1 + parts->payload_size};
    return jws;
}

static int verify_with(struct dmsg_opener *opener, const struct dmsg_jws *jws,
    const struct dmsg_peer_key *peer_key, struct dmsg_error *error)
{
    struct dmsg_jose_key *key;
    int result =
        dmsg_keyring_get(&opener->senders, opener->jose, peer_key, DMSG_USE_VERIFY, &key, error);
    return result < 0 ? result : dmsg_jws_verify(key, jws, &opener->header, error);
}

/* The header as dmsg_jws_verify looks at it. */
static void recall_algorithm(struct dmsg_opener *opener, const struct dmsg_message *message)
{
    opener->header.present = DMSG_HAS_ALG;
    opener->header.alg = dmsg_span_text(message->parts.algorithm);
}

/* Any of the keys will do. That one could not be tried counts more than that others do not fit: it
   may be the right one. */
static int verify_with_any(struct dmsg_opener *opener, const struct dmsg_jws *jws,
    const struct dmsg_peer_key *const *keys, int count, struct dmsg_error *error)
{
    int result = DMSG_E_CERTIFICATE;
    for (int i = 0; i < count; i++) {
        struct dmsg_error latest;
        int tried = verify_with(opener, jws, keys[i], &latest);
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

/* The certificates that the message carries, beside a secure answer that does not give its key. */
static int verify_with_x5c(struct dmsg_opener *opener, const struct dmsg_jws *jws,
    const struct dmsg_peer *peer, const struct dmsg_message *message, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(opener->context);
    const struct dmsg_x5c_judgement *judged = dmsg_x5c_find(&opener->x5c, message, peer, now);
    if (judged == NULL) {
        struct dmsg_presented presented;
        int result = dmsg_jws_header_parse(&opener->header, jws, error);
        if (result == 0)
            result = dmsg_x5c_decode(&presented, &opener->header, &opener->scratch, error);
        if (result == 0)
            result = dmsg_x5c_judge(&opener->x5c, message, &presented, peer, now, &judged, error);
        recall_algorithm(opener, message);
        if (result < 0)
            return result;
    }
    if (judged->refusal.code != 0)
        return dmsg_fail(error, judged->refusal.code, "%s", judged->refusal.text);
    return verify_with(opener, jws, &judged->key, error);
}

static int verify(struct dmsg_opener *opener, const struct dmsg_jws *jws,
    const struct dmsg_peer *peer, const struct dmsg_message *message, struct dmsg_error *error)
{
    const struct dmsg_peer_key *keys[DMSG_PEER_KEYS_MAX];
    int count = dmsg_peer_sender_keys(peer, dmsg_span_text(message->kid), keys, error);
    if (count == DMSG_E_CERTIFICATE && message->parts.x5c_count > 0)
        return verify_with_x5c(opener, jws, peer, message, error);
    return count < 0 ? count : verify_with_any(opener, jws, keys, count, error);
}

int dmsg_open_finish(struct dmsg_opener *opener, struct dmsg_message *message,
    const struct dmsg_peer *peer, struct dmsg_error *error)
{
    message->verified = message->stale = false;
    dmsg_buffer_reset(&message->payload);
    if (message->jws.size == 0 || !dmsg_name_equal(&peer->name, &message->sender))
        return dmsg_fail(error, DMSG_E_INTERNAL, "keys of another name than the sender's");
    if (message->early)
        return dmsg_fail(error, DMSG_E_TIME, "from the future, by a clock here that is not set");
    struct dmsg_jws jws = find_parts(message);
    recall_algorithm(opener, message);
    int result = verify(opener, &jws, peer, message, error);
    if (result == 0)
        result = dmsg_jws_payload(&jws, &message->payload, error);
    message->verified = result == 0;
    message->stale = message->verified && peer->stale;
    return result;
}
