/* danemsg lookup: everything DNS says about an identity, and why it is believed or not. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "lookup.h"

struct lookup {
    struct dns_options dns;
    bool json;
};

static const struct option own_options[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct lookup, json),
        .help = "one JSON object"},
};

static int show(const struct dmsg_peer *peer, const struct dmsg_discovery *discovery,
    const struct dmsg_context *context, bool json, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    struct dmsg_error why;
    const struct lookup_view view = {.peer = peer,
        .chosen = dmsg_peer_recipient_key(peer, &why),
        .now = dmsg_context_now(context),
        .sandbox = dmsg_discovery_sandbox(discovery)};
    (json ? lookup_json : lookup_text)(&out, &view);
    if (out.failed)
        return dmsg_fail_memory(error);
    int result = write_output(stdout, dmsg_buffer_span(&out), error);
    if (result < 0)
        return result;
    for (size_t i = 0; i < peer->count; i++) {
        if (peer->keys[i].purposes != 0 || peer->keys[i].by_x5c)
            return 0;
    }
    return dmsg_fail(error, why.code, "%s", why.text);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct lookup *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name;
    int result = name_from(&name, self->arguments[0], "name", error);
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &name, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = show(peer, discovery, &context, options->json, error);
    dmsg_peer_release(peer);
    dmsg_discovery_free(&discovery);
    return result;
}

const struct command cmd_lookup = {
    .name = "lookup",
    .arguments = "NAME",
    .summary = "Show what DNS says about a name, and why it is believed or not.",
    .example = "danemsg lookup alice.example.net",
    .notes =
        "Status 0: there is a usable record. 3: no such identity. 4: DNS has no answer now. 5: "
        "bogus or insecure. 6: there are records, but no usable one.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = (const struct group_use[]){{&dns_group, offsetof(struct lookup, dns)}, {0}},
    .size = sizeof(struct lookup),
    .least = 1,
    .most = 1,
    .run = run,
};
