/* danemsg seal: sign and encrypt standard input, no broker. */
#include "base/fail.h"
#include "issued.h"
#include "sealing.h"

struct seal {
    struct sealing_options sealing;
    struct identity_options identity;
    struct dns_options dns;
};

static int seal(const struct invocation *self, const struct dmsg_context *context,
    struct dmsg_discovery *discovery, struct dmsg_buffer *envelope, struct dmsg_error *error)
{
    const struct seal *options = self->options;
    struct issued issued = {.program = self->program, .context = context};
    struct dmsg_identity *me = NULL;
    struct dmsg_sealer *sealer = NULL;
    struct recipient recipient = {0};
    size_t certificates = 0;
    struct dmsg_buffer payload = {.limit = INPUT_MAX};
    int result = own_identity(&me, context, &options->identity, error);
    if (result == 0)
        result = dmsg_sealer_new(&sealer, context, me, error);
    if (result == 0)
        own_certificates_begin(discovery, me, &options->sealing);
    if (result == 0)
        result = recipient_find(&recipient, discovery, options->sealing.to.items[0], error);
    if (result == 0)
        result = own_certificates_end(
            &certificates, discovery, me, sealer, &options->sealing, OWN_PATIENCE_BESIDE, error);
    if (result == 0)
        result = read_input(&payload, "-", error);
    if (result == 0) {
        struct dmsg_seal_options how = seal_options(&options->sealing, &recipient);
        how.certificates = certificates;
        issued_note(&issued, me, how.lifetime);
        result = dmsg_seal(sealer, &how, dmsg_buffer_span(&payload), envelope, error);
    }
    dmsg_buffer_done(&payload);
    recipient_done(&recipient);
    issued_done(&issued);
    dmsg_sealer_free(&sealer);
    dmsg_identity_free(&me);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct seal *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_buffer envelope = {0};
    if (options->sealing.to.count != 1)
        return dmsg_fail(error, DMSG_E_USAGE, "seal wants one --to NAME");
    int result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = seal(self, &context, discovery, &envelope, error);
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&envelope), error);
    dmsg_buffer_done(&envelope);
    dmsg_discovery_free(&discovery);
    return result;
}

const struct command cmd_seal = {
    .name = "seal",
    .arguments = "< PAYLOAD > ENVELOPE",
    .summary = "Sign and encrypt standard input to a name; no broker.",
    .example = "danemsg seal --to bob.example.net < report.pdf > report.jwe",
    .groups = (const struct group_use[]){{&sealing_group, offsetof(struct seal, sealing)},
        {&encryption_group, offsetof(struct seal, sealing)},
        {&identity_group, offsetof(struct seal, identity)},
        {&dns_group, offsetof(struct seal, dns)}, {0}},
    .size = sizeof(struct seal),
    .run = run,
};
