#include "sealing.h"

#include "base/fail.h"

static const struct option options_table[] = {
    {.name = "to",
        .argument = "NAME",
        .kind = OPTION_LIST,
        .at = offsetof(struct sealing_options, to),
        .help = "recipient (repeatable)"},
    {.letter = 't',
        .name = "topic",
        .argument = "TOPIC",
        .kind = OPTION_TEXT,
        .at = offsetof(struct sealing_options, topic),
        .help = "publish there (the recipient's name)"},
    {.name = "expires",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .least = 1,
        .at = offsetof(struct sealing_options, expires),
        .help = "how long it may be read, 30d at most (7d)"},
    {.name = "content-type",
        .argument = "TYPE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct sealing_options, content_type),
        .help = "media type of the payload"},
    {.name = "poc",
        .kind = OPTION_FLAG,
        .at = offsetof(struct sealing_options, poc),
        .help = "the Python proof of concept's format (RSA)"},
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct sealing_options, size_limit),
        .least = 1,
        .most = INPUT_MAX,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "on the wire (65536; --poc 4096)"},
};
const struct option_group sealing_group = {"Message", options_table, COUNT(options_table)};

static const struct option encryption_table[] = {
    {.name = "cbc",
        .kind = OPTION_FLAG,
        .at = offsetof(struct sealing_options, cbc),
        .help = "A256CBC-HS512 in place of A256GCM"},
};
const struct option_group encryption_group = {
    "Encryption", encryption_table, COUNT(encryption_table)};

int recipient_find(struct recipient *out, struct dmsg_discovery *discovery, const char *text,
    struct dmsg_error *error)
{
    struct recipient found = {0};
    int result = name_from(&found.name, text, "recipient", error);
    if (result < 0)
        return result;
    result = dmsg_discovery_find(discovery, &found.name, LOOKUP_TIMEOUT, &found.peer, error);
    if (result < 0)
        return dmsg_fail_in(error, result, "looking up %s", found.name.text);
    found.key = dmsg_peer_recipient_key(found.peer, error);
    if (found.key == NULL) {
        result = error->code;
        dmsg_peer_release(found.peer);
        return result;
    }
    *out = found;
    return 0;
}

void recipient_done(struct recipient *recipient)
{
    if (recipient->peer != NULL)
        dmsg_peer_release(recipient->peer);
    *recipient = (struct recipient){0};
}

/* ------------------------------------------------------------------------ own certificates */

static bool can_carry(const struct dmsg_identity *me, const struct sealing_options *options)
{
    const struct dmsg_identity_key *own = dmsg_identity_current(me, DMSG_FOR_SIGNATURES);
    return !options->poc && own != NULL && own->certificate != NULL;
}

void own_certificates_begin(struct dmsg_discovery *discovery, const struct dmsg_identity *me,
    const struct sealing_options *options)
{
    if (can_carry(me, options)) /* what goes wrong shows when the answer is wanted */
        (void)!dmsg_discovery_ask(discovery, dmsg_identity_name(me), NULL, NULL, NULL);
}

int own_certificates_end(size_t *out, struct dmsg_discovery *discovery,
    const struct dmsg_identity *me, const struct dmsg_sealer *sealer,
    const struct sealing_options *options, int patience, struct dmsg_error *error)
{
    const struct dmsg_peer *own = NULL;
    *out = 0;
    if (!can_carry(me, options))
        return 0;
    int result = dmsg_discovery_find(discovery, dmsg_identity_name(me), patience, &own, error);
    if (result == DMSG_E_INTERNAL)
        return result;
    result = dmsg_sealer_certificates(out, sealer, own, error);
    dmsg_peer_release(own);
    return result;
}

struct dmsg_seal_options seal_options(
    const struct sealing_options *options, const struct recipient *recipient)
{
    return (struct dmsg_seal_options){
        .recipient = &recipient->name,
        .key = recipient->key,
        .format = options->poc ? DMSG_FORMAT_POC : DMSG_FORMAT_V1,
        .cbc = options->cbc,
        .content_type = options->content_type,
        .topic = options->topic,
        .lifetime = options->expires,
        .size_limit = (size_t)options->size_limit,
    };
}
