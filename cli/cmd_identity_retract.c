/* danemsg identity retract: takes the records of an identity's keys out of DNS. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "publishing.h"

struct identity_retract {
    struct identity_options identity;
    struct publish_options publish;
    struct dns_options dns;
};

static int say(const struct invocation *self, const struct own_files *own,
    const struct published *published, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    dmsg_buffer_format(&out, "%s: %s%s", own->name.text,
        published->changed ? "retracted" : "none of its records were there",
        published->seen_at != 0 ? ", and DNS proves it" : ", not looked at from outside");
    if (published->changed)
        dmsg_buffer_format(&out, "; caches may give the old answer for %u s more", published->ttl);
    dmsg_buffer_put_byte(&out, '\n');
    if (published->foreign > 0)
        print_note(self->program,
            "%zu record%s of other keys %s left there (--replace takes %s out)", published->foreign,
            published->foreign == 1 ? "" : "s", published->foreign == 1 ? "is" : "are",
            published->foreign == 1 ? "it" : "them");
    return out.failed ? dmsg_fail_memory(error)
                      : write_output(stdout, dmsg_buffer_span(&out), error);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct identity_retract *options = self->options;
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(own_files_done) struct own_files own = {0};
    struct publishing publishing = {.program = self->program,
        .options = &options->publish,
        .dns = &options->dns,
        .name = &own.name};
    struct published published;
    if (options->publish.ttl != 0)
        return dmsg_fail(error, DMSG_E_USAGE, "--ttl is for records that are put there");
    /* All records go with --replace: then it works without the keys too, when they are lost. */
    int result = options->publish.replace
                     ? own_files_find(&own, self, &options->identity, error)
                     : own_files_load(&own, self, &options->identity, &context, error);
    if (result < 0)
        return result;
    publishing.identity = own.identity;
    result = publishing_apply(&publishing, &published, error);
    return result == 0 ? say(self, &own, &published, error) : result;
}

static const struct identity_retract defaults = {.publish = {.wait = PUBLISH_WAIT}};

const struct command cmd_identity_retract = {
    .name = "identity retract",
    .arguments = "[NAME]",
    .summary =
        "Take the records of an own identity's keys out of DNS, and wait until that validates.",
    .example = "danemsg identity retract --rfc2136 192.0.2.53 --tsig alice.tsig",
    .notes = "Records of other keys stay, unless --replace is given; that needs no key files, and "
             "is for a device that was lost.",
    .groups =
        (const struct group_use[]){{&publish_group, offsetof(struct identity_retract, publish)},
            {&identity_group, offsetof(struct identity_retract, identity)},
            {&dns_group, offsetof(struct identity_retract, dns)}, {0}},
    .size = sizeof(struct identity_retract),
    .defaults = &defaults,
    .most = 1,
    .run = run,
};
