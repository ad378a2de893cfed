/* One DNS question over TCP (RFC 7766), bounded in time and size whatever the other side does. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/publish_internal.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

/* "ADDR%SCOPE" and a port, as dmsg_address_valid takes them. */
#define ADDRESS_TEXT 80

struct exchange {
    int fd;
    const char *server;
    int64_t deadline;
};

static void end_exchange(struct exchange *exchange)
{
    dmsg_cleanup_fd(&exchange->fd);
}

static int fail_errno(const struct exchange *exchange, const char *what, struct dmsg_error *error)
{
    return dmsg_fail_errno(
        error, DMSG_E_DNS_TEMPORARY, "%s the DNS server %s", what, exchange->server);
}

/* Waits until the socket is ready for it, or the time is over. */
static int wait_for(const struct exchange *exchange, short events, struct dmsg_error *error)
{
    for (;;) {
        int64_t left = exchange->deadline - dmsg_now_ms();
        struct pollfd fd = {.fd = exchange->fd, .events = events};
        if (left <= 0)
            return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
                "the DNS server %s does not answer over TCP; try again later", exchange->server);
        int ready = poll(&fd, 1, (int)left);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return fail_errno(exchange, "waiting for", error);
    }
}

static int connect_to(struct exchange *exchange, struct dmsg_error *error)
{
    char address[ADDRESS_TEXT];
    const struct addrinfo hints = {
        .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found;
    snprintf(address, sizeof address, "%s", exchange->server);
    char *port = strchr(address, '@');
    if (port != NULL)
        *port++ = '\0';
    if (getaddrinfo(address, port != NULL ? port : "53", &hints, &found) != 0)
        return dmsg_fail(error, DMSG_E_USAGE, "'%s' is no address", exchange->server);
    exchange->fd =
        socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    int result = exchange->fd < 0 ? -1 : connect(exchange->fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (result < 0 && (exchange->fd < 0 || errno != EINPROGRESS))
        return fail_errno(exchange, "connecting to", error);
    result = wait_for(exchange, POLLOUT, error);
    if (result < 0)
        return result;
    int failure = 0;
    socklen_t size = sizeof failure;
    if (getsockopt(exchange->fd, SOL_SOCKET, SO_ERROR, &failure, &size) < 0 || failure == 0)
        return 0;
    errno = failure;
    return fail_errno(exchange, "connecting to", error);
}

static int send_all(
    const struct exchange *exchange, struct dmsg_span data, struct dmsg_error *error)
{
    while (data.size > 0) {
        ssize_t done = send(exchange->fd, data.data, data.size, MSG_NOSIGNAL);
        if (done < 0 && errno != EAGAIN && errno != EINTR)
            return fail_errno(exchange, "asking", error);
        if (done > 0)
            data = (struct dmsg_span){data.data + done, data.size - (size_t)done};
        int result = data.size > 0 ? wait_for(exchange, POLLOUT, error) : 0;
        if (result < 0)
            return result;
    }
    return 0;
}

static int receive_all(
    const struct exchange *exchange, struct dmsg_buffer *out, size_t size, struct dmsg_error *error)
{
    uint8_t *to = dmsg_buffer_reserve(out, size);
    if (to == NULL)
        return dmsg_fail_memory(error);
    for (size_t got = 0; got < size;) {
        int result = wait_for(exchange, POLLIN, error);
        if (result < 0)
            return result;
        ssize_t more = recv(exchange->fd, to + got, size - got, 0);
        if (more == 0)
            return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
                "the DNS server %s closed the connection without an answer; its log may say why",
                exchange->server);
        if (more < 0 && errno != EAGAIN && errno != EINTR)
            return fail_errno(exchange, "listening to", error);
        got += more > 0 ? (size_t)more : 0;
    }
    out->size += size;
    return 0;
}

int dmsg_tcp_exchange(struct dmsg_buffer *answer, const char *server, struct dmsg_span question,
    int timeout, bool *sent, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer length = {0};
    DMSG_CLEANUP(end_exchange)
    struct exchange exchange = {.fd = -1, .server = server, .deadline = dmsg_now_ms() + timeout};
    *sent = false;
    dmsg_buffer_put_byte(&out, (uint8_t)(question.size >> 8));
    dmsg_buffer_put_byte(&out, (uint8_t)question.size);
    dmsg_buffer_put_span(&out, question);
    if (out.failed || question.size > UINT16_MAX)
        return dmsg_fail(error, DMSG_E_INTERNAL, "no room for a DNS message");
    int result = connect_to(&exchange, error);
    if (result < 0)
        return result;
    *sent = true;
    result = send_all(&exchange, dmsg_buffer_span(&out), error);
    if (result == 0)
        result = receive_all(&exchange, &length, 2, error);
    if (result == 0)
        result =
            receive_all(&exchange, answer, (size_t)length.data[0] << 8 | length.data[1], error);
    return result;
}
