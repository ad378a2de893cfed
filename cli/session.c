#include "session.h"

#include "base/fail.h"
#include "base/monotonic.h"

#include <poll.h>

/* Milliseconds for a broker to take a connection and a subscription. */
#define BEGIN_TIME 5000

/* What was read is not acknowledged: only while there is nothing may the rest leave. Packets come
   to a session that has its subscription already. */
static int turn(struct dmsg_mqtt *mqtt, const struct session_wait *wait, int64_t until,
    struct dmsg_error *error)
{
    int64_t left = until - dmsg_now_ms();
    int timeout = dmsg_mqtt_timeout(mqtt);
    if (left <= 0)
        return dmsg_fail(error, DMSG_E_TIMEOUT, "the broker does not answer");
    struct pollfd fds[] = {
        {.fd = dmsg_mqtt_fd(mqtt), .events = dmsg_mqtt_events(mqtt)},
        {.fd = wait->wake_fd, .events = POLLIN},
    };
    if (poll(fds, 2, timeout < left ? timeout : (int)left) < 0)
        fds[0].revents = 0; /* interrupted by a signal */
    int result = dmsg_mqtt_read(mqtt, fds[0].revents, error);
    if (result == 0)
        result = dmsg_mqtt_acknowledge(mqtt, error);
    return result == 0 ? dmsg_mqtt_subscribed(mqtt) : result > 0 ? 1 : result;
}

int session_begin(struct dmsg_mqtt *mqtt, const struct session_wait *wait, struct dmsg_error *error)
{
    int64_t until = dmsg_now_ms() + BEGIN_TIME;
    int result = dmsg_mqtt_reconnect(mqtt, error);
    while (result == 0) {
        if (wait->stop(wait->user))
            return 0;
        result = turn(mqtt, wait, until, error);
    }
    return result;
}
