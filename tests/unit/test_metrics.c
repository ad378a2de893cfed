/* The figures over HTTP: one request a connection, bounded. */
#include "cli/metrics.h"
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

static int written;

static void write_figures(void *user, struct dmsg_buffer *out)
{
    (void)user;
    written++;
    metrics_head(out, "danemsg_refused_total", "counter", "Messages that were refused.");
    metrics_value(out, "danemsg_refused_total", "word", "format", 3);
    metrics_value(out, "danemsg_up", NULL, NULL, 1);
}

static const char figures[] = "# HELP danemsg_refused_total Messages that were refused.\n"
                              "# TYPE danemsg_refused_total counter\n"
                              "danemsg_refused_total{word=\"format\"} 3\n"
                              "danemsg_up 1\n";

static int connect_to(const struct metrics *metrics)
{
    struct sockaddr_in where;
    socklen_t size = sizeof where;
    if (getsockname(metrics->listener, (struct sockaddr *)&where, &size) < 0)
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&where, size) < 0 ? -1 : fd;
}

static void serve(struct metrics *metrics)
{
    struct pollfd ready = {.fd = metrics->epoll_fd, .events = POLLIN};
    while (poll(&ready, 1, 50) == 1)
        metrics_serve(metrics, write_figures, NULL);
}

/* What comes back until the other end closes; empty when it just closed. */
static const char *answer_to(struct metrics *metrics, const char *request, size_t size)
{
    static char answer[8192];
    size_t got = 0;
    int fd = connect_to(metrics);
    if (fd < 0 || send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size)
        return "not sent";
    serve(metrics);
    for (;;) {
        ssize_t more = recv(fd, answer + got, sizeof answer - 1 - got, MSG_DONTWAIT);
        if (more < 0 && errno == EAGAIN)
            return "not closed";
        if (more <= 0)
            break;
        got += (size_t)more;
    }
    close(fd);
    answer[got] = '\0';
    return answer;
}

#define ANSWER(metrics, text) answer_to(metrics, text, sizeof(text) - 1)

static void answers(void)
{
    struct metrics metrics = METRICS_NONE;
    struct dmsg_error error = {0};
    char whole[1024];
    int size = snprintf(whole, sizeof whole,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
        sizeof figures - 1, figures);
    REQUIRE(size > 0 && metrics_open(&metrics, "127.0.0.1:0", &error) == 0);
    written = 0;
    CHECK(strcmp(ANSWER(&metrics, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n"), whole) == 0);
    CHECK(strcmp(ANSWER(&metrics, "GET /metrics?x=1 HTTP/1.0\r\n\r\n"), whole) == 0);
    CHECK(written == 2);
    static const struct {
        const char *request, *starts;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"GET /metrics2 HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"GET /metrics/x HTTP/1.1\r\n\r\n", "HTTP/1.1 404 "},
        {"POST /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
        {"get /metrics HTTP/1.1\r\n\r\n", "HTTP/1.1 405 "},
        {"\r\n\r\n", "HTTP/1.1 405 "},
        {"GET /metrics HTTP/1.1\r\n", "not closed"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *answer = answer_to(&metrics, rows[i].request, strlen(rows[i].request));
        CHECK_ROW(
            strncmp(answer, rows[i].starts, strlen(rows[i].starts)) == 0, "%zu: %s", i, answer);
    }
    CHECK(written == 2);
    metrics_close(&metrics);
    CHECK(metrics.epoll_fd == -1);
}

static void is_bounded(void)
{
    struct metrics metrics = METRICS_NONE;
    struct dmsg_error error = {0};
    char endless[METRICS_REQUEST_MAX + 100];
    int silent[METRICS_CLIENTS + 1];
    memset(endless, 'x', sizeof endless);
    REQUIRE(metrics_open(&metrics, "127.0.0.1:0", &error) == 0);
    CHECK(answer_to(&metrics, endless, sizeof endless)[0] == '\0');

    /* Who says nothing keeps others out, until there is room again. */
    for (int i = 0; i <= METRICS_CLIENTS; i++)
        silent[i] = connect_to(&metrics);
    serve(&metrics);
    CHECK(strcmp(ANSWER(&metrics, "GET /metrics HTTP/1.1\r\n\r\n"), "not closed") == 0);
    for (int i = 0; i <= METRICS_CLIENTS; i++)
        close(silent[i]);
    serve(&metrics);
    CHECK(strncmp(ANSWER(&metrics, "GET /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 200 ", 13) == 0);

    /* A client whose time is up is put out. */
    int slow = connect_to(&metrics);
    serve(&metrics);
    for (int i = 0; i < METRICS_CLIENTS; i++)
        metrics.clients[i].deadline = 0;
    metrics_serve(&metrics, write_figures, NULL);
    char octet;
    CHECK(recv(slow, &octet, 1, MSG_DONTWAIT) == 0);
    close(slow);
    metrics_close(&metrics);
}

static void refuses_addresses(void)
{
    static const struct {
        const char *address;
        int code;
    } rows[] = {
        {"127.0.0.1:0", 0},
        {"[::1]:0", 0},
        {"", DMSG_E_USAGE},
        {":9400", DMSG_E_USAGE},
        {"127.0.0.1", DMSG_E_USAGE},
        {"127.0.0.1:", DMSG_E_USAGE},
        {"127.0.0.1:x", DMSG_E_USAGE},
        {"127.0.0.1:-1", DMSG_E_USAGE},
        {"127.0.0.1:70000", DMSG_E_USAGE},
        {"127.0.0.1:100000", DMSG_E_USAGE},
        {"localhost:9400", DMSG_E_USAGE},
        {"::1:9400", DMSG_E_USAGE},
        {"[::1:9400", DMSG_E_USAGE},
        {"[]:9400", DMSG_E_USAGE},
        {"192.0.2.1:9400", DMSG_E_LOCAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct metrics metrics = METRICS_NONE;
        struct dmsg_error error = {0};
        int code = metrics_open(&metrics, rows[i].address, &error);
        /* A machine without IPv6 cannot listen there. */
        bool no_ipv6 = rows[i].address[0] == '[' && code == DMSG_E_LOCAL;
        CHECK_ROW(code == rows[i].code || no_ipv6, "%s: %s", rows[i].address, error.text);
        CHECK((metrics.epoll_fd >= 0) == (code == 0));
        metrics_close(&metrics);
    }
}

TEST_MAIN(TEST(answers), TEST(is_bounded), TEST(refuses_addresses))
