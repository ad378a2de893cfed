/* danemsg identity publish: puts the records of an identity's keys into DNS. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "own_records.h"
#include "publishing.h"

#include <string.h>

struct identity_publish {
    struct identity_options identity;
    struct record_form form;
    struct publish_options publish;
    struct dns_options dns;
};

static int say(const struct own_files *own, size_t count, const struct published *published,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char seen[32];
    dmsg_buffer_format(&out, "%s: %s %zu record%s", own->name.text,
        published->changed ? "published" : "nothing to change,", count, count == 1 ? "" : "s");
    if (published->seen_at != 0) {
        time_text(seen, published->seen_at);
        dmsg_buffer_format(
            &out, ", seen%s at %s", published->secure ? " and validated" : ", unsigned,", seen);
    } else {
        dmsg_buffer_put_text(&out, ", not looked at from outside");
    }
    if (published->changed)
        dmsg_buffer_format(&out, "; caches may give the old answer for %u s more", published->ttl);
    dmsg_buffer_put_byte(&out, '\n');
    return out.failed ? dmsg_fail_memory(error)
                      : write_output(stdout, dmsg_buffer_span(&out), error);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_publish *options = self->options;
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    DMSG_CLEANUP(own_records_done) struct own_records records = {0};
    struct publishing publishing = {.program = self->program,
        .options = &options->publish,
        .dns = &options->dns,
        .name = &own.name};
    struct published published;
    int result = record_form_check(&options->form, error);
    if (result == 0)
        result = own_files_load(&own, self, &options->identity, &context, error);
    if (result == 0)
        result = own_records_make(
            &records, own.identity, &options->form, RECORDS_CURRENT | RECORDS_NEXT, error);
    if (result < 0)
        return result;
    memcpy(publishing.wanted, records.rdata, records.count * sizeof records.rdata[0]);
    publishing.wanted_count = records.count;
    publishing.identity = own.identity;
    result = publishing_apply(&publishing, &published, error);
    return result == 0 ? say(&own, records.count, &published, error) : result;
}

static const struct identity_publish defaults = {
    .publish = PUBLISH_DEFAULTS, .form = {.usage = DMSG_DANE_EE}};

const struct command cmd_identity_publish = {
    .name = "identity publish",
    .arguments = "[NAME]",
    .summary = "Put the records of an own identity's keys into DNS, and wait until they validate.",
    .example = "danemsg identity publish --rfc2136 192.0.2.53 --tsig alice.tsig\n"
               "danemsg identity publish --powerdns https://dns.example.net \\\n"
               "    --api-key api.key",
    .notes = "Refuses when records of other keys are there, unless --replace is given. A dynamic "
             "update changes all or nothing, and only what was read before; PowerDNS's API has no "
             "such guard against somebody who changes the same name in the same moment.",
    .groups =
        (const struct group_use[]){{&publish_group, offsetof(struct identity_publish, publish)},
            {&record_form_group, offsetof(struct identity_publish, form)},
            {&identity_group, offsetof(struct identity_publish, identity)},
            {&dns_group, offsetof(struct identity_publish, dns)}, {0}},
    .size = sizeof(struct identity_publish),
    .defaults = &defaults,
    .most = 1,
    .run = run,
};
