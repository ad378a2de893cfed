/* danemsg sign, verify, encrypt, decrypt: the steps of seal and open by themselves. */
#include "base/fail.h"
#include "danemsg/message.h"
#include "issued.h"
#include "sealing.h"

struct steps {
    struct sealing_options sealing;
    struct identity_options identity;
    struct dns_options dns;
};

/* A signed message is as large as an envelope at most. */
static size_t step_limit(const struct steps *options)
{
    return options->sealing.size_limit != 0 ? (size_t)options->sealing.size_limit
                                            : DMSG_MESSAGE_SIZE_MAX;
}

static int sign(struct invocation *self, struct dmsg_error *error)
{
    const struct steps *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_identity *me = NULL;
    struct dmsg_sealer *sealer = NULL;
    struct recipient recipient = {0};
    size_t certificates = 0;
    struct issued issued = {.program = self->program, .context = &context};
    struct dmsg_buffer payload = {.limit = step_limit(options)}, jws = {0};
    if (options->sealing.to.count != 1)
        return dmsg_fail(
            error, DMSG_E_USAGE, "sign wants one --to NAME: a signature is for one recipient");
    int result = name_from(&recipient.name, options->sealing.to.items[0], "recipient", error);
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = own_identity(&me, &context, &options->identity, error);
    if (result == 0)
        result = dmsg_sealer_new(&sealer, &context, me, error);
    if (result == 0)
        own_certificates_begin(discovery, me, &options->sealing);
    if (result == 0)
        result = read_input(&payload, "-", error);
    if (result == 0)
        result = own_certificates_end(
            &certificates, discovery, me, sealer, &options->sealing, OWN_PATIENCE_ALONE, error);
    if (result == 0) {
        struct dmsg_seal_options how = seal_options(&options->sealing, &recipient);
        how.certificates = certificates;
        issued_note(&issued, me, how.lifetime);
        result = dmsg_sign(sealer, &how, dmsg_buffer_span(&payload), &jws, error);
    }
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&jws), error);
    issued_done(&issued);
    dmsg_buffer_done(&jws);
    dmsg_buffer_done(&payload);
    dmsg_sealer_free(&sealer);
    dmsg_identity_free(&me);
    dmsg_discovery_free(&discovery);
    return result;
}

static int encrypt(struct invocation *self, struct dmsg_error *error)
{
    const struct steps *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    struct recipient recipient = {0};
    struct dmsg_buffer plaintext = {.limit = INPUT_MAX}, jwe = {0};
    if (options->sealing.to.count != 1)
        return dmsg_fail(error, DMSG_E_USAGE, "encrypt wants one --to NAME");
    int result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = recipient_find(&recipient, discovery, options->sealing.to.items[0], error);
    if (result == 0)
        result = read_input(&plaintext, "-", error);
    if (result == 0) {
        struct dmsg_seal_options how = seal_options(&options->sealing, &recipient);
        result = dmsg_encrypt(&context, &how, dmsg_buffer_span(&plaintext), &jwe, error);
    }
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&jwe), error);
    dmsg_buffer_done(&jwe);
    dmsg_buffer_done(&plaintext);
    recipient_done(&recipient);
    dmsg_discovery_free(&discovery);
    return result;
}

static int decrypt(struct invocation *self, struct dmsg_error *error)
{
    const struct steps *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_policy policy = {.size_limit = (size_t)options->sealing.size_limit};
    struct dmsg_identity *me = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_buffer envelope = {.limit = step_limit(options)}, plaintext = {0};
    int result = own_identity(&me, &context, &options->identity, error);
    if (result == 0)
        result = dmsg_opener_new(&opener, &context, me, &policy, error);
    if (result == 0)
        result = read_input(&envelope, "-", error);
    if (result == 0)
        result =
            dmsg_decrypt(opener, without_line_end(dmsg_buffer_span(&envelope)), &plaintext, error);
    if (result == 0) {
        print_note(self->program, "decrypted; not checked: who wrote it, for whom, when, whether "
                                  "it was seen before");
        result = write_payload(dmsg_buffer_span(&plaintext), error);
    }
    dmsg_buffer_done(&plaintext);
    dmsg_buffer_done(&envelope);
    dmsg_opener_free(&opener);
    dmsg_identity_free(&me);
    return result;
}

static int verify_input(struct invocation *self, struct dmsg_opener *opener,
    struct dmsg_discovery *discovery, struct dmsg_message *message, struct dmsg_error *error)
{
    const struct steps *options = self->options;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_buffer jws = {.limit = step_limit(options)};
    int result = read_input(&jws, "-", error);
    if (result == 0)
        result = dmsg_open_resume(opener, without_line_end(dmsg_buffer_span(&jws)), "",
            (struct dmsg_span){0}, message, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &message->sender, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = dmsg_open_finish(opener, message, peer, error);
    if (peer != NULL)
        dmsg_peer_release(peer);
    dmsg_buffer_done(&jws);
    return result;
}

static int verify(struct invocation *self, struct dmsg_error *error)
{
    const struct steps *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_policy policy = {.accept_any_poc = true};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_message message = {0};
    int result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = dmsg_opener_new(&opener, &context, NULL, &policy, error);
    if (result == 0)
        result = verify_input(self, opener, discovery, &message, error);
    if (result == 0) {
        if (message.format == DMSG_FORMAT_V1)
            print_note(self->program,
                "signed by %s for %s; not checked: whether that is you, whether it was seen before",
                message.sender.text, message.recipient.text);
        else
            print_note(self->program,
                "signed by %s (proof of concept); not checked, for it does not say: for whom, "
                "when, whether it was seen before",
                message.sender.text);
        result = write_payload(dmsg_buffer_span(&message.payload), error);
    }
    dmsg_message_done(&message);
    dmsg_opener_free(&opener);
    dmsg_discovery_free(&discovery);
    return result;
}

static const struct option size_table[] = {
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct steps, sealing.size_limit),
        .least = 1,
        .most = INPUT_MAX,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "largest input (65536)"},
};

const struct command cmd_sign = {
    .name = "sign",
    .arguments = "< PAYLOAD > JWS",
    .summary = "Sign standard input for a recipient, without encrypting it.",
    .example = "echo hello | danemsg sign --to bob.example.net | danemsg inspect",
    .groups = (const struct group_use[]){{&sealing_group, offsetof(struct steps, sealing)},
        {&identity_group, offsetof(struct steps, identity)},
        {&dns_group, offsetof(struct steps, dns)}, {0}},
    .size = sizeof(struct steps),
    .run = sign,
};

const struct command cmd_verify = {
    .name = "verify",
    .arguments = "< JWS > PAYLOAD",
    .summary = "Verify a signed message with the keys of its signer's name.",
    .notes = "Says on stderr who signed and what was not checked.",
    .example = "danemsg verify < message.jws",
    .options = size_table,
    .option_count = COUNT(size_table),
    .groups = (const struct group_use[]){{&dns_group, offsetof(struct steps, dns)}, {0}},
    .size = sizeof(struct steps),
    .run = verify,
};

static const struct option encrypt_table[] = {
    {.name = "to",
        .argument = "NAME",
        .kind = OPTION_LIST,
        .at = offsetof(struct steps, sealing.to),
        .help = "recipient"},
    {.name = "poc",
        .kind = OPTION_FLAG,
        .at = offsetof(struct steps, sealing.poc),
        .help = "the Python proof of concept's header (RSA)"},
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct steps, sealing.size_limit),
        .least = 1,
        .most = INPUT_MAX,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "on the wire (65536; --poc 4096)"},
};

const struct command cmd_encrypt = {
    .name = "encrypt",
    .arguments = "< PLAINTEXT > JWE",
    .summary = "Encrypt standard input to a name, without signing it.",
    .example = "danemsg sign --to bob.example.net < note |\n"
               "    danemsg encrypt --to bob.example.net",
    .options = encrypt_table,
    .option_count = COUNT(encrypt_table),
    .groups = (const struct group_use[]){{&encryption_group, offsetof(struct steps, sealing)},
        {&dns_group, offsetof(struct steps, dns)}, {0}},
    .size = sizeof(struct steps),
    .run = encrypt,
};

const struct command cmd_decrypt = {
    .name = "decrypt",
    .arguments = "< JWE > PLAINTEXT",
    .summary = "Decrypt standard input, without verifying what is inside.",
    .notes = "Says on stderr what was not checked.",
    .example = "danemsg decrypt < message.jwe | danemsg inspect",
    .options = size_table,
    .option_count = COUNT(size_table),
    .groups = (const struct group_use[]){{&identity_group, offsetof(struct steps, identity)}, {0}},
    .size = sizeof(struct steps),
    .run = decrypt,
};
