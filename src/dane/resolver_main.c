/*
 * The resolver process. It has a socket on descriptor 3 and no file, no key and no secret; it
 * answers questions until the other end closes. What it is told there is judged as strictly as
 * what it tells is judged by the parent.
 */
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/confine.h"
#include "dane/fetch.h"
#include "dane/process.h"
#include "dane/resolver_unbound.h"
#include "dane/setup_read.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Twice what the parent has under way, for questions that it has given up. */
#define SLOTS_MAX 512

/* Before the parent's ten seconds: silence beyond those would mean that this process hangs. */
#define ANSWER_MS 9000

/* The system's resolvers were left, and nothing else answers either: try them again after this,
   for the network may be another one by now. */
#define RETURN_MS 60000

/* The system's resolvers get this long to show that they hand DNSSEC through. */
#define PROBE_MS 3000

/* 30,000 names took 8 MiB, and libraries, stacks and one arena take 30; a hostile zone gets no more
   than this out of the machine. Sockets: 128 questions to servers, and what the loop needs. A file
   of anchors has 2 KiB. */
#define MEMORY_MAX (256u * 1024 * 1024)
#define DESCRIPTORS_MAX 512
#define FILE_MAX (64 * 1024)

/* The root's keys are looked at this often, so that a rollover is noticed (RFC 5011 section 2.3:
   half of their TTL of two days, of which libunbound keeps one). Without it an idle process would
   not. */
#define REFRESH_MS (12 * 3600 * 1000)

/* Answers that may wait until the parent reads them: all questions at 64 KiB. */
#define OUT_MAX (32 * 1024 * 1024)

enum slot_state {
    SLOT_FREE,
    SLOT_HELD,     /* waits for the probe */
    SLOT_ASKED,    /* libunbound has it */
    SLOT_ANSWERED, /* out of time; libunbound still has it */
};

struct slot {
    enum slot_state state;
    uint32_t id;
    int64_t deadline;
    struct dmsg_name name;
    struct process *process;
};

enum probe_state {
    PROBE_NONE,   /* not needed, or done */
    PROBE_WANTED, /* with the next question */
    PROBE_ASKED,  /* questions are held until probe_deadline */
    PROBE_LATE,   /* they were let go, the answer is still to come */
    PROBE_FAILED, /* no answer: let them go, and probe again with the next ones */
    PROBE_BOGUS,  /* leave the system's resolvers */
    PROBE_RETURN, /* go back to them */
};

struct process {
    struct dmsg_channel channel;
    struct dmsg_unbound *unbound;
    struct dmsg_buffer setup;
    enum probe_state probe;
    int64_t probe_deadline;
    bool keeps;         /* the anchors, in a file */
    int64_t refresh_at; /* when the root's keys are looked at for that */
    int64_t left_at;    /* when the system's resolvers were left; 0: they were not */
    uint32_t ping_id;   /* of the ping that is under way, 0: none */
    struct slot slots[SLOTS_MAX];
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
    char text[100];
    if (result >= 0)
        return;
    snprintf(text, sizeof text, "gave up: %.80s", error->text);
    give_up(self, text);
}

/* ------------------------------------------------------------------------------------ questions */

static void send_answer(struct process *self, uint32_t id, const struct dmsg_answer *answer)
{
    struct dmsg_buffer body = {.limit = DMSG_FRAME_BODY_MAX};
    dmsg_answer_put(&body, answer);
    if (body.failed)
        give_up(self, "has no memory for an answer");
    dmsg_frame_put(&self->channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
}

static void send_not_now(struct process *self, uint32_t id, const char *why)
{
    struct dmsg_answer answer = {.status = DMSG_DNS_NOT_NOW};
    snprintf(answer.why, sizeof answer.why, "%s", why);
    send_answer(self, id, &answer);
}

static void note_failure(struct process *self)
{
    if (self->left_at != 0 && dmsg_now_ms() - self->left_at >= RETURN_MS)
        self->probe = PROBE_RETURN;
}

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct slot *slot = user;
    if (slot->state == SLOT_ASKED)
        send_answer(slot->process, slot->id, answer);
    slot->state = SLOT_FREE;
    if (answer->status == DMSG_DNS_NOT_NOW)
        note_failure(slot->process);
}

static void ask_slot(struct process *self, struct slot *slot)
{
    struct dmsg_error error;
    slot->state = SLOT_ASKED;
    must(self, dmsg_unbound_ask(self->unbound, &slot->name, on_answer, slot, &error), &error);
}

static void on_probe(void *user, const struct dmsg_answer *answer)
{
    struct process *self = user;
    if (answer->status == DMSG_DNS_BOGUS || answer->status == DMSG_DNS_INSECURE)
        self->probe = PROBE_BOGUS;
    else
        self->probe = answer->status == DMSG_DNS_SECURE ? PROBE_NONE : PROBE_FAILED;
}

static void start_probe(struct process *self)
{
    struct dmsg_error error;
    self->probe = PROBE_ASKED;
    self->probe_deadline = dmsg_now_ms() + PROBE_MS;
    must(self, dmsg_unbound_probe(self->unbound, on_probe, self, &error), &error);
}

static void hear_ask(struct process *self, const struct dmsg_frame *frame)
{
    struct slot *slot = NULL;
    struct dmsg_name name;
    if (frame->id == 0 || dmsg_ask_parse(&name, frame->body, NULL) < 0)
        give_up(self, "was asked for what is no name");
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (self->slots[i].state == SLOT_FREE)
            slot = &self->slots[i];
        else if (self->slots[i].id == frame->id)
            give_up(self, "was asked twice with one id");
    }
    if (slot == NULL) {
        send_not_now(self, frame->id, "too many slow names are being asked for");
        return;
    }
    *slot = (struct slot){.id = frame->id,
        .deadline = dmsg_now_ms() + ANSWER_MS,
        .name = name,
        .process = self,
        .state = SLOT_HELD};
}

static bool any_held(const struct process *self)
{
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (self->slots[i].state == SLOT_HELD)
            return true;
    }
    return false;
}

/* Questions are held until the probe is answered or late: one probe for those that are there, since
   a resolver that refuses does so at once. */
static void release_held(struct process *self)
{
    if (self->probe == PROBE_WANTED && any_held(self))
        start_probe(self);
    if (self->probe == PROBE_ASKED && dmsg_now_ms() >= self->probe_deadline)
        self->probe = PROBE_LATE;
    if (self->probe != PROBE_NONE && self->probe != PROBE_LATE && self->probe != PROBE_FAILED)
        return;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (self->slots[i].state == SLOT_HELD)
            ask_slot(self, &self->slots[i]);
    }
    if (self->probe == PROBE_FAILED)
        self->probe = PROBE_WANTED;
}

static void expire(struct process *self)
{
    int64_t now = dmsg_now_ms();
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        struct slot *slot = &self->slots[i];
        if (now < slot->deadline || (slot->state != SLOT_HELD && slot->state != SLOT_ASKED))
            continue;
        send_not_now(self, slot->id, "the name servers did not answer in time");
        slot->state = slot->state == SLOT_HELD ? SLOT_FREE : SLOT_ANSWERED;
        note_failure(self);
    }
}

static void on_ping(void *user, const struct dmsg_answer *answer)
{
    struct process *self = user;
    (void)answer;
    dmsg_frame_put(&self->channel.out, DMSG_FRAME_PONG, self->ping_id, (struct dmsg_span){NULL, 0});
    self->ping_id = 0;
}

static void ping(struct process *self)
{
    struct dmsg_error error;
    must(self, dmsg_unbound_ping(self->unbound, on_ping, self, &error), &error);
}

/* ----------------------------------------------------------------------------------- setting up */

static void set_up(struct process *self, bool use_system)
{
    struct dmsg_error error;
    int result =
        dmsg_unbound_new(&self->unbound, dmsg_buffer_span(&self->setup), use_system, &error);
    must(self, result, &error);
    self->probe = dmsg_unbound_can_probe(self->unbound) ? PROBE_WANTED : PROBE_NONE;
}

/* The system's resolvers strip signatures, so that the authoritative servers are asked from now on,
   or they are to be tried again. What was asked meanwhile is asked again. */
static void change_resolvers(struct process *self, bool use_system)
{
    dmsg_unbound_free(&self->unbound);
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        if (self->slots[i].state == SLOT_ASKED)
            self->slots[i].state = SLOT_HELD;
        else if (self->slots[i].state == SLOT_ANSWERED)
            self->slots[i].state = SLOT_FREE;
    }
    set_up(self, use_system);
    self->left_at = use_system ? 0 : dmsg_now_ms();
    if (self->ping_id != 0)
        ping(self);
}

static const struct dmsg_confinement profile = {
    .memory = MEMORY_MAX, .descriptors = DESCRIPTORS_MAX, .file_size = FILE_MAX};

_Static_assert((int)DMSG_CONFINED_BY_SECCOMP == DMSG_SANDBOX_SECCOMP &&
                   (int)DMSG_CONFINED_BY_LANDLOCK == DMSG_SANDBOX_LANDLOCK,
    "what is known here is what the parent is told");

/* Before libunbound starts its thread, which it does with the first question. */
static void confine(struct process *self)
{
    struct dmsg_confinement whole = profile;
    dmsg_setup_ports(&whole, dmsg_buffer_span(&self->setup));
    self->keeps = dmsg_setup_keeps(dmsg_buffer_span(&self->setup));
    if (self->keeps)
        whole.write_folder = ".";
    uint8_t held = (uint8_t)dmsg_confine_finish(&whole);
    dmsg_frame_put(&self->channel.out, DMSG_FRAME_CONFINED, 0, (struct dmsg_span){&held, 1});
}

static void hear_setup(struct process *self, const struct dmsg_frame *frame)
{
    if (self->unbound != NULL || frame->id != 0)
        give_up(self, "was set up twice");
    dmsg_buffer_put_span(&self->setup, frame->body);
    if (self->setup.failed)
        give_up(self, "has no memory for its setup");
    set_up(self, true);
    confine(self);
}

static void on_refresh(void *user, const struct dmsg_answer *answer)
{
    (void)user;
    (void)answer; /* libunbound has written down what there was to learn */
}

static void refresh_if_due(struct process *self)
{
    struct dmsg_error error;
    if (!self->keeps || dmsg_now_ms() < self->refresh_at)
        return;
    self->refresh_at = dmsg_now_ms() + REFRESH_MS;
    must(self, dmsg_unbound_probe(self->unbound, on_refresh, self, &error), &error);
}

/* ------------------------------------------------------------------------------------ listening */

static void hear_ping(struct process *self, const struct dmsg_frame *frame)
{
    if (self->ping_id != 0 || frame->id == 0 || frame->body.size != 0)
        give_up(self, "was pinged in a way that is none");
    self->ping_id = frame->id;
    ping(self);
}

static void hear_frame(struct process *self, const struct dmsg_frame *frame)
{
    if (self->unbound == NULL && frame->type != DMSG_FRAME_SETUP)
        give_up(self, "was asked before it was set up");
    if (frame->type == DMSG_FRAME_SETUP)
        hear_setup(self, frame);
    else if (frame->type == DMSG_FRAME_ASK)
        hear_ask(self, frame);
    else if (frame->type == DMSG_FRAME_PING)
        hear_ping(self, frame);
    else
        give_up(self, "got a frame that only it may send");
}

static void hear(struct process *self)
{
    struct dmsg_error error;
    struct dmsg_frame frame;
    int open = dmsg_channel_read(&self->channel, &error);
    if (open <= 0)
        _exit(0); /* nobody is left to answer to */
    int found;
    while ((found = dmsg_channel_take(&self->channel, &frame, &error)) == 1)
        hear_frame(self, &frame);
    must(self, found, &error);
}

static int timeout_of(const struct process *self)
{
    int64_t now = dmsg_now_ms();
    int64_t at = INT64_MAX;
    for (size_t i = 0; i < SLOTS_MAX; i++) {
        const struct slot *slot = &self->slots[i];
        bool waits = slot->state == SLOT_HELD || slot->state == SLOT_ASKED;
        if (waits && slot->deadline < at)
            at = slot->deadline;
    }
    if (self->probe == PROBE_ASKED && self->probe_deadline < at)
        at = self->probe_deadline;
    if (self->keeps && self->refresh_at < at)
        at = self->refresh_at;
    if (at == INT64_MAX)
        return -1;
    return at > now ? (int)(at - now) : 0;
}

static void turn(struct process *self)
{
    struct dmsg_error error;
    struct pollfd fds[2] = {
        {.fd = self->channel.fd,
            .events = (short)(POLLIN | (self->channel.out.size > 0 ? POLLOUT : 0))},
        {.fd = self->unbound != NULL ? dmsg_unbound_fd(self->unbound) : -1, .events = POLLIN},
    };
    if (poll(fds, 2, timeout_of(self)) < 0)
        return;
    if (fds[1].revents != 0)
        must(self, dmsg_unbound_process(self->unbound, &error), &error);
    if (self->probe == PROBE_BOGUS || self->probe == PROBE_RETURN)
        change_resolvers(self, self->probe == PROBE_RETURN);
    if ((fds[0].revents & ~POLLOUT) != 0)
        hear(self);
    if (self->unbound != NULL)
        release_held(self);
    refresh_if_due(self);
    expire(self);
    int sent = dmsg_channel_flush(&self->channel, &error);
    if (sent < 0 && !self->channel.out.failed)
        _exit(0); /* nobody is left to answer to */
    must(self, sent, &error);
}

int dmsg_resolver_main(int argc, char **argv)
{
    int type = 0;
    socklen_t size = sizeof type;
    if (getsockopt(DMSG_PROCESS_FD, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_STREAM) {
        fprintf(stderr, "%s: started by danemsg, and of no use by itself\n", argv[0]);
        return 1;
    }
    if (argc > 1 && strcmp(argv[argc - 1], DMSG_FETCH_ARGUMENT) == 0)
        return dmsg_fetch_main();
    struct process *self = calloc(1, sizeof *self);
    if (self == NULL)
        return 1;
    dmsg_confine_start(&profile);
    dmsg_channel_init(&self->channel, DMSG_PROCESS_FD, OUT_MAX);
    for (;;)
        turn(self);
}
