#include "dane/bell.h"

#include "base/fail.h"
#include "base/monotonic.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

int dmsg_bell_open(struct dmsg_bell *bell, struct dmsg_error *error)
{
    struct epoll_event event = {.events = EPOLLIN};
    bell->fd = epoll_create1(EPOLL_CLOEXEC);
    bell->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (bell->fd < 0 || bell->timer < 0 ||
        epoll_ctl(bell->fd, EPOLL_CTL_ADD, bell->timer, &event) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "descriptors to wait for a process");
    return 0;
}

void dmsg_bell_done(struct dmsg_bell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    if (bell->timer >= 0)
        close(bell->timer);
    *bell = DMSG_BELL_NONE;
}

void dmsg_bell_set(struct dmsg_bell *bell, int64_t wait)
{
    int64_t not_zero = wait > 0 ? wait : 1; /* zero would disarm it */
    struct itimerspec when = {.it_value = dmsg_timespec(not_zero)};
    (void)timerfd_settime(bell->timer, 0, &when, NULL);
}

static void watch(struct dmsg_bell *bell, const struct dmsg_channel *channel, int operation)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (channel->out.size > 0)
        event.events |= EPOLLOUT;
    /* Cannot fail but for want of memory; then the timer still brings the next step. */
    (void)epoll_ctl(bell->fd, operation, channel->fd, &event);
}

void dmsg_bell_add(struct dmsg_bell *bell, const struct dmsg_channel *channel)
{
    watch(bell, channel, EPOLL_CTL_ADD);
}

void dmsg_bell_change(struct dmsg_bell *bell, const struct dmsg_channel *channel)
{
    watch(bell, channel, EPOLL_CTL_MOD);
}
