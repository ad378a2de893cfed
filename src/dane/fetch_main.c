/*
 * The fetching process of PKIX-CD: a socket on descriptor 3, no key, and no file but the system's
 * CA certificates and what getaddrinfo reads. It connects to hosts that strangers choose, and what
 * it brings back is judged by the parent as a stranger's.
 */
#include "dane/fetch.h"

#include "base/fail.h"
#include "dane/confine.h"
#include "dane/fetch_curl.h"
#include "dane/fetch_trust.h"
#include "dane/process.h"

#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All answers that can be under way, and their frames. */
#define OUT_MAX (DMSG_FETCHES_MAX * (DMSG_FETCH_SIZE_MAX + 64))

/* libcurl with its libraries, the CA certificates once for each fetch (1 MiB parsed), and a thread
   for each name that is being looked up. */
#define MEMORY_MAX (512u * 1024 * 1024)
#define DESCRIPTORS_MAX 256
#define THREAD_STACK (256 * 1024)

struct process {
    struct dmsg_channel channel;
    struct dmsg_buffer trust;
    struct dmsg_https *https;
    struct dmsg_pins pins;
    bool ready; /* it has its setup */
};

/* Tells the parent why and ends. */
static _Noreturn void give_up(struct process *self, const char *what)
{
    dmsg_frame_put(&self->channel.out, DMSG_FRAME_TROUBLE, 0, dmsg_span_text(what));
    (void)!dmsg_channel_flush(&self->channel, NULL);
    _exit(1);
}

static void must(struct process *self, int result, const struct dmsg_error *error)
{
    if (result < 0)
        give_up(self, error->text);
}

static void send_answer(struct process *self, uint32_t id, const struct dmsg_fetched *fetched)
{
    struct dmsg_buffer body = {.limit = DMSG_FETCH_SIZE_MAX + 1};
    dmsg_fetched_put(&body, fetched);
    if (body.failed)
        give_up(self, "no memory for an answer");
    dmsg_frame_put(&self->channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
}

static void on_fetched(void *user, uint32_t id, const struct dmsg_fetched *fetched)
{
    send_answer(user, id, fetched);
}

static void hear_ask(struct process *self, const struct dmsg_frame *frame)
{
    struct dmsg_error error;
    struct dmsg_fetch fetch;
    const struct dmsg_pin *pin = NULL;
    if (frame->id == 0 || dmsg_fetch_parse(&fetch, frame->body, NULL) < 0)
        give_up(self, "was asked for what is no fetch");
    for (size_t i = 0; i < self->pins.count && pin == NULL; i++) {
        if (dmsg_name_equal(&self->pins.pins[i].host, &fetch.host))
            pin = &self->pins.pins[i];
    }
    if (dmsg_https_start(self->https, frame->id, &fetch, pin, &error) == 0)
        return;
    struct dmsg_fetched none = {.status = DMSG_FETCH_NOT_NOW};
    dmsg_printable(none.why, sizeof none.why, dmsg_span_text(error.text));
    send_answer(self, frame->id, &none);
}

/* ---------------------------------------------------------------------------------- setting up */

static void add_port(struct dmsg_confinement *profile, uint16_t port)
{
    if (profile->tcp_port_count < DMSG_CONFINE_PORTS_MAX)
        profile->tcp_ports[profile->tcp_port_count++] = port;
}

static void fill_profile(struct dmsg_confinement *profile, const struct dmsg_pins *pins)
{
    /* What getaddrinfo reads, and modules that it loads late. Not all of /etc: root may run this.
       A resolv.conf that is replaced is seen by the next process. */
    static const char *const files[] = {"/etc/resolv.conf", "/etc/hosts", "/etc/host.conf",
        "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/services", "/etc/protocols",
        "/etc/ld.so.cache", "/etc/localtime", "/run/systemd/resolve", "/lib", "/lib64", "/usr/lib",
        "/usr/lib64", NULL};
    *profile = (struct dmsg_confinement){.memory = MEMORY_MAX,
        .descriptors = DESCRIPTORS_MAX,
        .read = files,
        .looks_up_names = true};
    add_port(profile, 53); /* DNS over TCP (RFC 7766) */
    add_port(profile, 443);
    for (size_t i = 0; pins != NULL && i < pins->count; i++)
        add_port(profile, pins->pins[i].port);
}

/* A small stack for each look-up, and the modules of getaddrinfo loaded while that is possible. */
static void prepare_lookups(void)
{
    pthread_attr_t attributes;
    struct addrinfo *found = NULL;
    if (pthread_attr_init(&attributes) == 0) {
        if (pthread_attr_setstacksize(&attributes, THREAD_STACK) == 0)
            (void)pthread_setattr_default_np(&attributes);
        (void)pthread_attr_destroy(&attributes);
    }
    if (getaddrinfo("localhost", "443", NULL, &found) == 0)
        freeaddrinfo(found);
}

static void hear_setup(struct process *self, const struct dmsg_frame *frame)
{
    struct dmsg_confinement profile;
    if (self->ready || frame->id != 0 || dmsg_pins_parse(&self->pins, frame->body, NULL) < 0)
        give_up(self, "was set up in a way that is none");
    self->ready = true;
    fill_profile(&profile, &self->pins);
    (void)dmsg_confine_finish(&profile);
}

/* ------------------------------------------------------------------------------------ listening */

static void hear_frame(struct process *self, const struct dmsg_frame *frame)
{
    if (frame->type == DMSG_FRAME_SETUP)
        hear_setup(self, frame);
    else if (!self->ready)
        give_up(self, "was asked before it was set up");
    else if (frame->type == DMSG_FRAME_ASK)
        hear_ask(self, frame);
    else
        give_up(self, "got a frame that is not for it");
}

static void hear(struct process *self)
{
    struct dmsg_error error;
    struct dmsg_frame frame;
    if (dmsg_channel_read(&self->channel, &error) <= 0)
        _exit(0); /* nobody is left to answer to */
    int found;
    while ((found = dmsg_channel_take(&self->channel, &frame, &error)) == 1)
        hear_frame(self, &frame);
    must(self, found, &error);
}

int dmsg_fetch_main(void)
{
    struct process *self = calloc(1, sizeof *self);
    struct dmsg_confinement profile;
    struct dmsg_error error;
    if (self == NULL)
        return 1;
    fill_profile(&profile, NULL);
    dmsg_confine_start(&profile);
    dmsg_channel_init(&self->channel, DMSG_PROCESS_FD, OUT_MAX);
    prepare_lookups();
    self->trust.limit = DMSG_TRUST_MAX;
    must(self, dmsg_trust_read(&self->trust, &error), &error);
    must(self,
        dmsg_https_new(&self->https, dmsg_buffer_span(&self->trust), on_fetched, self, &error),
        &error);
    for (;;) {
        short events = (short)(POLLIN | (self->channel.out.size > 0 ? POLLOUT : 0));
        must(self, dmsg_https_turn(self->https, self->channel.fd, &events, &error), &error);
        if ((events & ~POLLOUT) != 0)
            hear(self);
        must(self, dmsg_channel_flush(&self->channel, &error), &error);
    }
}
