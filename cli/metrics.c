#include "metrics.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* Milliseconds that a client has for its request and for taking the answer. */
#define CLIENT_TIME 5000

#define PATH "/metrics"

/* ------------------------------------------------------------------------------------- listening
 */

static int parse_address(struct sockaddr_storage *out, socklen_t *size, const char *text)
{
    char address[INET6_ADDRSTRLEN + 2];
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)out;
    const char *colon = strrchr(text, ':');
    size_t length = colon != NULL ? (size_t)(colon - text) : 0;
    unsigned port = 0;
    int end = 0;
    if (colon == NULL || length == 0 || length >= sizeof address ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
        sscanf(colon + 1, "%5u%n", &port, &end) != 1 || colon[1 + end] != '\0' || port > UINT16_MAX)
        return -1;
    memcpy(address, text, length);
    address[length] = '\0';
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *size = sizeof *v4;
        return 0;
    }
    if (address[0] != '[' || address[length - 1] != ']')
        return -1;
    address[length - 1] = '\0';
    if (inet_pton(AF_INET6, address + 1, &v6->sin6_addr) != 1)
        return -1;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *size = sizeof *v6;
    return 0;
}

static bool watch(const struct metrics *metrics, int fd, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(metrics->epoll_fd, operation, fd, &event) == 0;
}

int metrics_open(struct metrics *metrics, const char *address, struct dmsg_error *error)
{
    struct sockaddr_storage where;
    socklen_t size;
    int one = 1;
    for (size_t i = 0; i < METRICS_CLIENTS; i++)
        metrics->clients[i] = (struct metrics_client){.fd = -1};
    metrics->listener = metrics->timer = -1;
    if (parse_address(&where, &size, address) < 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--metrics wants a numeric address and a port, such as 127.0.0.1:9400 or [::1]:9400, "
            "not '%s'",
            address);
    metrics->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    metrics->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    metrics->listener = socket(where.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (metrics->epoll_fd < 0 || metrics->timer < 0 || metrics->listener < 0 ||
        setsockopt(metrics->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) < 0 ||
        bind(metrics->listener, (struct sockaddr *)&where, size) < 0 ||
        listen(metrics->listener, METRICS_CLIENTS) < 0 ||
        !watch(metrics, metrics->listener, EPOLLIN, EPOLL_CTL_ADD) ||
        !watch(metrics, metrics->timer, EPOLLIN, EPOLL_CTL_ADD)) {
        int result = dmsg_fail_errno(error, DMSG_E_LOCAL, "listening on %s (--metrics)", address);
        metrics_close(metrics);
        return result;
    }
    return 0;
}

static void close_client(struct metrics_client *client)
{
    dmsg_cleanup_fd(&client->fd);
    dmsg_buffer_done(&client->answer);
    *client = (struct metrics_client){.fd = -1};
}

void metrics_close(struct metrics *metrics)
{
    if (metrics->epoll_fd < 0)
        return;
    for (size_t i = 0; i < METRICS_CLIENTS; i++)
        close_client(&metrics->clients[i]);
    dmsg_cleanup_fd(&metrics->listener);
    dmsg_cleanup_fd(&metrics->timer);
    dmsg_cleanup_fd(&metrics->epoll_fd);
    metrics->epoll_fd = -1;
}

/* ------------------------------------------------------------------------------------- answering
 */

static void put_answer(struct dmsg_buffer *out, const char *status, struct dmsg_span body)
{
    dmsg_buffer_format(out,
        "HTTP/1.1 %s\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n",
        status, body.size);
    dmsg_buffer_put_span(out, body);
}

/* The first line is all that counts of a request (RFC 9112 section 3). */
static void make_answer(struct metrics_client *client, metrics_write *write, void *user)
{
    static const char get[] = "GET " PATH;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {0};
    const char *request = client->request;
    const char *behind = request + sizeof get - 1;
    if (strncmp(request, "GET ", 4) != 0) {
        put_answer(
            &client->answer, "405 Method Not Allowed\r\nAllow: GET", dmsg_span_text("only GET\n"));
    } else if (strncmp(request, get, sizeof get - 1) != 0 || (*behind != ' ' && *behind != '?')) {
        put_answer(
            &client->answer, "404 Not Found", dmsg_span_text("the figures are at " PATH "\n"));
    } else {
        write(user, &body);
        if (body.failed)
            put_answer(&client->answer, "500 Internal Server Error", (struct dmsg_span){0});
        else
            put_answer(&client->answer, "200 OK", dmsg_buffer_span(&body));
    }
}

/* True when the request is whole; an end without one closes. */
static bool read_request(struct metrics_client *client)
{
    size_t room = sizeof client->request - 1 - client->got;
    ssize_t got = room > 0 ? recv(client->fd, client->request + client->got, room, 0) : 0;
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        close_client(client);
        return false;
    }
    client->got += (size_t)got;
    client->request[client->got] = '\0';
    return strstr(client->request, "\r\n\r\n") != NULL;
}

static void send_answer(struct metrics_client *client)
{
    struct dmsg_buffer *answer = &client->answer;
    while (client->sent < answer->size) {
        ssize_t sent = send(
            client->fd, answer->data + client->sent, answer->size - client->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN)
            return;
        if (sent < 0)
            break;
        client->sent += (size_t)sent;
    }
    close_client(client);
}

static void serve_client(
    struct metrics *metrics, struct metrics_client *client, metrics_write *write, void *user)
{
    if (client->answer.size == 0) {
        if (!read_request(client))
            return;
        make_answer(client, write, user);
        if (client->answer.failed || !watch(metrics, client->fd, EPOLLOUT, EPOLL_CTL_MOD)) {
            close_client(client);
            return;
        }
    }
    send_answer(client);
}

/* ------------------------------------------------------------------------------------ the clients
 */

static struct metrics_client *find_client(struct metrics *metrics, int fd)
{
    for (size_t i = 0; i < METRICS_CLIENTS; i++) {
        if (metrics->clients[i].fd == fd)
            return &metrics->clients[i];
    }
    return NULL;
}

static void accept_clients(struct metrics *metrics)
{
    struct metrics_client *client;
    while ((client = find_client(metrics, -1)) != NULL) {
        int fd = accept4(metrics->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        client->fd = fd;
        client->deadline = dmsg_now_ms() + CLIENT_TIME;
        if (!watch(metrics, fd, EPOLLIN, EPOLL_CTL_ADD))
            close_client(client);
    }
}

/* Ends who takes too long, sets the timer for the next, and listens while there is room. */
static void look_after_clients(struct metrics *metrics)
{
    int64_t now = dmsg_now_ms(), next = INT64_MAX;
    for (size_t i = 0; i < METRICS_CLIENTS; i++) {
        struct metrics_client *client = &metrics->clients[i];
        if (client->fd >= 0 && now >= client->deadline)
            close_client(client);
        if (client->fd >= 0 && client->deadline < next)
            next = client->deadline;
    }
    struct itimerspec due = {0};
    if (next != INT64_MAX) {
        due.it_value = dmsg_timespec(next - now);
        due.it_value.tv_nsec++; /* zero would disarm it */
    }
    (void)timerfd_settime(metrics->timer, 0, &due, NULL);
    bool room = find_client(metrics, -1) != NULL;
    (void)watch(metrics, metrics->listener, room ? EPOLLIN : 0, EPOLL_CTL_MOD);
}

void metrics_serve(struct metrics *metrics, metrics_write *write, void *user)
{
    struct epoll_event events[METRICS_CLIENTS + 2];
    uint64_t ignored;
    int count = epoll_wait(metrics->epoll_fd, events, METRICS_CLIENTS + 2, 0);
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd;
        struct metrics_client *client = find_client(metrics, fd);
        if (fd == metrics->listener)
            accept_clients(metrics);
        else if (fd == metrics->timer)
            (void)!read(metrics->timer, &ignored, sizeof ignored);
        else if (client != NULL)
            serve_client(metrics, client, write, user);
    }
    look_after_clients(metrics);
}

/* ------------------------------------------------------------------------------------ the figures
 */

void metrics_head(struct dmsg_buffer *out, const char *name, const char *type, const char *help)
{
    dmsg_buffer_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_value(struct dmsg_buffer *out, const char *name, const char *label,
    const char *label_value, int64_t value)
{
    if (label != NULL)
        dmsg_buffer_format(out, "%s{%s=\"%s\"} %lld\n", name, label, label_value, (long long)value);
    else
        dmsg_buffer_format(out, "%s %lld\n", name, (long long)value);
}
