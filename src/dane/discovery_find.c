/* Discovery for callers that wait: asking, and stepping until the answer is there. */
#include "base/fail.h"
#include "base/monotonic.h"
#include "danemsg/resolver.h"

#include <errno.h>
#include <poll.h>

struct found {
    const struct dmsg_peer *peer;
};

static void on_found(void *user, const struct dmsg_peer *peer)
{
    struct found *found = user;
    found->peer = dmsg_peer_retain(peer);
}

static int wait_for(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    const struct found *found, int timeout, struct dmsg_error *error)
{
    int64_t deadline = dmsg_now_ms() + (timeout > 0 ? timeout : 0);
    for (;;) {
        int wait = dmsg_discovery_step(discovery, error);
        if (wait < 0 || found->peer != NULL)
            return wait < 0 ? wait : 0;
        int64_t left = deadline - dmsg_now_ms();
        if (left <= 0)
            return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
                "looking up the keys of %s: no answer within %d ms; try again later", name->text,
                timeout);
        struct pollfd fd = {.fd = dmsg_discovery_fd(discovery), .events = POLLIN};
        if (poll(&fd, 1, left < wait ? (int)left : wait) < 0 && errno != EINTR)
            return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for the resolver");
    }
}

int dmsg_discovery_find_fresh(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    int timeout, const struct dmsg_peer **out, struct dmsg_error *error)
{
    struct found found = {0};
    int result = dmsg_discovery_ask(discovery, name, on_found, &found, error);
    if (result < 0)
        return result;
    result = wait_for(discovery, name, &found, timeout, error);
    if (result < 0) {
        dmsg_discovery_forget(discovery, name, &found);
        return result;
    }
    *out = found.peer;
    return 0;
}

int dmsg_discovery_find(struct dmsg_discovery *discovery, const struct dmsg_name *name, int timeout,
    const struct dmsg_peer **out, struct dmsg_error *error)
{
    const struct dmsg_peer *cached = dmsg_discovery_get(discovery, name);
    if (cached == NULL)
        return dmsg_discovery_find_fresh(discovery, name, timeout, out, error);
    *out = cached;
    return 0;
}
