/* store: a PostgreSQL host that does not answer must not be what a receiver's time is spent on. */
#include "base/monotonic.h"
#include "store/postgresql_link.h"
#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A port of loopback; on which nobody answers, or which refuses. */
static int silent_port(uint16_t *port, bool listening)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0 ||
        (listening && listen(fd, 16) < 0))
        return -1;
    *port = ntohs(address.sin_port);
    return fd;
}

static struct dmsg_pq *link_to(uint16_t port)
{
    char url[80];
    struct dmsg_pq *pq = NULL;
    struct dmsg_error error;
    snprintf(url, sizeof url, "postgresql://u:secret@127.0.0.1:%u/d?connect_timeout=2", port);
    struct dmsg_pq_config config = {.url = url};
    if (dmsg_pq_new(&pq, &config, &error) < 0)
        printf("# %s\n", error.text);
    return pq;
}

static size_t count_connections(int listener)
{
    size_t count = 0;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0; close(fd))
        count++;
    return count;
}

/* Asks until the time is over, as a receiver does with every batch; how many tries were real, by
   their text. */
static size_t ask_for(struct dmsg_pq *pq, int64_t milliseconds)
{
    struct dmsg_error error;
    size_t tries = 0;
    for (int64_t until = dmsg_now_ms() + milliseconds; dmsg_now_ms() < until; poll(NULL, 0, 5)) {
        CHECK(dmsg_pq_ready(pq, &error) == DMSG_E_INTERNAL);
        CHECK(strstr(error.text, "secret") == NULL);
        tries += strstr(error.text, "after a pause") == NULL;
    }
    return tries;
}

static void a_silent_host_is_asked_seldom(void)
{
    uint16_t port;
    int listener = silent_port(&port, true);
    struct dmsg_error error;
    REQUIRE(listener >= 0);
    struct dmsg_pq *pq = link_to(port);
    if (pq == NULL)
        SKIP("libpq is not here");
    int64_t began = dmsg_now_ms();
    CHECK(dmsg_pq_ready(pq, &error) == DMSG_E_INTERNAL);
    CHECK(strstr(error.text, "not there: ") != NULL);
    CHECK(dmsg_now_ms() - began >= 1000); /* it was waited for, so that the pause is ten times it */
    CHECK(ask_for(pq, DMSG_PQ_PAUSE + 200) == 0);
    CHECK(count_connections(listener) == 1);
    dmsg_pq_free(&pq);
    close(listener);
}

static void one_that_refuses_is_asked_again(void)
{
    uint16_t port;
    int bound = silent_port(&port, false);
    REQUIRE(bound >= 0);
    struct dmsg_pq *pq = link_to(port);
    if (pq == NULL)
        SKIP("libpq is not here");
    int64_t began = dmsg_now_ms();
    size_t tries = ask_for(pq, DMSG_PQ_PAUSE / 2);
    CHECK(tries == 1 || dmsg_now_ms() - began >= DMSG_PQ_PAUSE); /* it was kept from asking */
    began = dmsg_now_ms();
    for (tries = 0; tries == 0 && dmsg_now_ms() - began < 60 * DMSG_PQ_PAUSE;)
        tries = ask_for(pq, DMSG_PQ_PAUSE);
    CHECK(tries >= 1);
    dmsg_pq_free(&pq);
    close(bound);
}

TEST_MAIN(TEST(a_silent_host_is_asked_seldom), TEST(one_that_refuses_is_asked_again))
