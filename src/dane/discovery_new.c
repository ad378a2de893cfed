/* Making and ending discovery: its children, each with a descriptor in the one epoll. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/discovery_internal.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Lets the whole's descriptor become readable with this one. */
static int watch(struct dmsg_discovery *discovery, int fd, struct dmsg_error *error)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(discovery->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a descriptor for discovery");
    return 0;
}

static int start_resolver(struct dmsg_resolver **out, struct dmsg_discovery *discovery,
    const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    int result = dmsg_resolver_new(out, config, error);
    return result < 0 ? result : watch(discovery, dmsg_resolver_fd(*out), error);
}

/* A process of its own, which only reads what the other one keeps up to date. */
static int start_strangers(struct dmsg_discovery *discovery,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    struct dmsg_resolver_config resolver = config->resolver;
    resolver.trust_read_only = true;
    resolver.for_strangers = true;
    discovery->is_listed = config->is_listed;
    discovery->user = config->user;
    int result = dmsg_strangers_new(&discovery->budget, discovery->context, error);
    return result < 0 ? result : start_resolver(&discovery->strangers, discovery, &resolver, error);
}

static int start_authority(struct dmsg_discovery *discovery,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    struct dmsg_authority_config authority = {.servers = config->authorities,
        .server_count = config->authority_count,
        .program = config->resolver.program,
        .program_arguments = config->resolver.program_arguments};
    int result = dmsg_authority_new(&discovery->authority, discovery->context, &authority, error);
    return result < 0 ? result : watch(discovery, dmsg_authority_fd(discovery->authority), error);
}

int dmsg_discovery_new(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_discovery_free)
    struct dmsg_discovery *discovery = calloc(1, sizeof *discovery);
    if (discovery == NULL)
        return dmsg_fail_memory(error);
    discovery->context = context;
    discovery->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (discovery->epoll < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a descriptor for discovery");
    const struct dmsg_cache_config cache = {.context = context,
        .serve_stale = config->serve_stale,
        .judge = dmsg_discovery_judge,
        .user = discovery};
    int result = dmsg_judge_new(&discovery->judge, config->ca_file, config->pkix_cd, error);
    if (result == 0)
        result = dmsg_cache_new(&discovery->cache, &cache, error);
    if (result == 0)
        result = start_resolver(&discovery->resolver, discovery, &config->resolver, error);
    if (result == 0 && config->is_listed != NULL)
        result = start_strangers(discovery, config, error);
    if (result == 0 && config->pkix_cd)
        result = start_authority(discovery, config, error);
    if (result < 0)
        return result;
    *out = discovery;
    discovery = NULL;
    return 0;
}

const char *dmsg_discovery_note(const struct dmsg_discovery *discovery)
{
    return dmsg_resolver_note(discovery->resolver);
}

int dmsg_discovery_sandbox(const struct dmsg_discovery *discovery)
{
    int held = dmsg_resolver_sandbox(discovery->resolver);
    int strangers = discovery->strangers != NULL ? dmsg_resolver_sandbox(discovery->strangers) : -1;
    return held < 0 ? strangers : strangers < 0 ? held : held & strangers;
}

void dmsg_discovery_free(struct dmsg_discovery **discovery)
{
    struct dmsg_discovery *self = *discovery;
    if (self == NULL)
        return;
    dmsg_resolver_free(&self->resolver); /* from here on nobody is called back */
    dmsg_resolver_free(&self->strangers);
    dmsg_authority_free(&self->authority);
    while (self->pending != NULL) {
        struct dmsg_pending *pending = self->pending;
        self->pending = pending->next;
        dmsg_pending_free(pending);
    }
    dmsg_strangers_free(&self->budget);
    dmsg_cache_free(&self->cache);
    dmsg_judge_free(&self->judge);
    if (self->epoll >= 0)
        close(self->epoll);
    free(self);
    *discovery = NULL;
}
