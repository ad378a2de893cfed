/* danemsg send: waits until the broker has all. */
#include "base/fail.h"
#include "sending.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* How far the octets of what is under way have come. */
struct flush {
    uint64_t begin, last; /* octets of this connection */
    uint64_t farthest;    /* of any since an acknowledgement */
    size_t open;          /* messages without one */
    int64_t until;        /* the connection has to come further by then */
    int64_t lost_until;   /* and one of them further than those before */
};

/* Octets that the broker's host has of this connection, TLS included; 0 when nobody knows. */
static uint64_t octets_there(const struct sending *sending)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    int fd = dmsg_mqtt_fd(sending->mqtt);
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 ? info.tcpi_bytes_acked : 0;
}

static void begin(struct flush *flush, const struct sending *sending)
{
    flush->begin = flush->last = octets_there(sending);
    flush->open = dmsg_mqtt_in_flight(sending->mqtt);
    flush->until = dmsg_now_ms() + sending->wait;
}

static void look(struct flush *flush, const struct sending *sending)
{
    uint64_t there = octets_there(sending);
    int64_t until = dmsg_now_ms() + sending->wait;
    size_t open = dmsg_mqtt_in_flight(sending->mqtt);
    bool acknowledged = open < flush->open;
    if (there > flush->last || acknowledged)
        flush->until = until;
    if (there - flush->begin > flush->farthest || acknowledged) {
        flush->farthest = there - flush->begin;
        flush->lost_until = until;
    }
    flush->last = there > flush->last ? there : flush->last;
    flush->open = open;
}

/* A broker that takes the connection, and ends it whenever the message comes, has a reason that no
   further connection mends. */
static int go_on(struct flush *flush, struct sending *sending, struct dmsg_error *error)
{
    const struct dmsg_error lost = *error;
    if (dmsg_now_ms() >= flush->lost_until)
        return dmsg_fail(error, DMSG_E_BROKER,
            "%s, each time before it has acknowledged a message: it may be too large for it, or on "
            "a topic that it does not let us publish on",
            lost.text);
    int result = sending_recover(sending, error);
    if (result == 0)
        begin(flush, sending);
    return result;
}

int sending_flush(struct sending *sending, struct dmsg_error *error)
{
    if (sending->queueing != NULL)
        return queueing_commit(sending->queueing, error);
    struct flush flush = {.lost_until = dmsg_now_ms() + sending->wait};
    size_t total = sending->octets;
    int result = 0;
    begin(&flush, sending);
    while (dmsg_mqtt_in_flight(sending->mqtt) > 0) {
        result = dmsg_mqtt_wait_flushed(sending->mqtt, SENDING_LOOK_PAUSE, error);
        sending_reap(sending);
        if (result == DMSG_E_BROKER)
            result = go_on(&flush, sending, error);
        if (result == DMSG_E_USAGE)
            result = dmsg_fail(
                error, DMSG_E_BROKER, "the broker sends messages that nobody subscribed to");
        if (result < 0 && result != DMSG_E_TIMEOUT)
            break;
        look(&flush, sending);
        progress_show(&sending->progress, "sending", flush.last - flush.begin, total);
        if (result == DMSG_E_TIMEOUT && dmsg_now_ms() >= flush.until)
            break;
    }
    progress_end(&sending->progress);
    return dmsg_mqtt_in_flight(sending->mqtt) == 0 ? 0 : result;
}

/* Which of many lines, for a second try; of one message it is plain. */
void sending_say_what_is_open(struct sending *sending)
{
    uint64_t first = 0, last = 0;
    size_t count = 0;
    if (sending->mqtt == NULL)
        return;
    for (size_t i = 0; i < sending->sent_count; i++) {
        const struct sent *sent = &sending->sent[(sending->first + i) % SENDING_WINDOW];
        if (!dmsg_mqtt_is_in_flight(sending->mqtt, sent->id))
            continue;
        first = count++ == 0 ? sent->line : first;
        last = sent->line;
    }
    if (count > 0 && last > 0)
        print_note(sending->program,
            "%zu message(s) of lines %llu to %llu are without the broker's acknowledgement; it may "
            "have them",
            count, (unsigned long long)first, (unsigned long long)last);
}
