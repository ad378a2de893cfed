#include "dane/fetch.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/bell.h"
#include "dane/fetch_curl.h"
#include "dane/process.h"
#include "dane/program.h"

#include <stdlib.h>
#include <string.h>

/* The process ends a fetch by itself; so much later, which is for its start, it hangs. */
#define PATIENCE_MS (DMSG_FETCH_MS + 2000)

/* A fetch that was under way when a process died is tried in one more. */
#define ATTEMPTS_MAX 2

/* A process that died without having fetched anything is started again after this, doubled each
   time, at most so many times. */
#define PAUSE_MS 100
#define DOUBLINGS_MAX 6

/* Without a question for so long the process is ended: few names have need of it, and the next one
   reads the system's CA certificates anew. */
#define IDLE_MS 60000

struct question {
    bool used;
    uint32_t id; /* in the present process; 0: not sent to it */
    int attempts;
    int64_t deadline;
    struct dmsg_fetch fetch;
    dmsg_fetcher_done *done;
    void *user;
};

struct dmsg_fetcher {
    struct dmsg_program program;
    const struct dmsg_pins *pins;
    struct dmsg_process process;
    int64_t start_at; /* not before, when there is no process */
    int64_t used_at;  /* last */
    int deaths;       /* in a row */
    char why[160];    /* what ended the last process */
    uint32_t next_id;
    int patience;
    struct dmsg_bell bell;
    bool stepping;
    struct question questions[DMSG_FETCHES_MAX];
};

static bool running(const struct dmsg_fetcher *fetcher)
{
    return fetcher->process.pid > 0;
}

/* ------------------------------------------------------------------------------------ answering */

/* The slot is free before the call: the callback may ask. */
static void answer(struct question *question, const struct dmsg_fetched *fetched)
{
    struct question copy = *question;
    question->used = false;
    copy.done(copy.user, fetched);
}

static void answer_not_now(struct question *question, const char *why)
{
    struct dmsg_fetched fetched = {.status = DMSG_FETCH_NOT_NOW};
    dmsg_printable(fetched.why, sizeof fetched.why, dmsg_span_text(why));
    answer(question, &fetched);
}

/* The process is useless: ends it. What it had is asked once more of the next. */
static void bury(struct dmsg_fetcher *fetcher, const char *what)
{
    char how[64];
    dmsg_process_stop(&fetcher->process, how, sizeof how);
    snprintf(fetcher->why, sizeof fetcher->why, "the fetching process %.70s (%s)", what, how);
    int doublings = fetcher->deaths < DOUBLINGS_MAX ? fetcher->deaths : DOUBLINGS_MAX;
    fetcher->start_at = dmsg_now_ms() + (PAUSE_MS << doublings);
    fetcher->deaths++;
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        struct question *question = &fetcher->questions[i];
        if (!question->used || question->id == 0)
            continue;
        question->id = 0;
        if (question->attempts >= ATTEMPTS_MAX)
            answer_not_now(question, fetcher->why);
    }
}

/* ------------------------------------------------------------------------------------ listening */

/* NULL, or what is wrong with the answer. */
static const char *hear_answer(struct dmsg_fetcher *fetcher, const struct dmsg_frame *frame)
{
    struct dmsg_fetched fetched;
    struct question *question = NULL;
    for (size_t i = 0; frame->id != 0 && i < DMSG_FETCHES_MAX; i++) {
        if (fetcher->questions[i].used && fetcher->questions[i].id == frame->id)
            question = &fetcher->questions[i];
    }
    if (question == NULL)
        return "answered what was not asked";
    if (dmsg_fetched_parse(&fetched, frame->body, NULL) < 0)
        return "gave a malformed answer";
    fetcher->deaths = 0;
    answer(question, &fetched);
    return NULL;
}

static const char *hear_frame(
    struct dmsg_fetcher *fetcher, const struct dmsg_frame *frame, char trouble[static 100])
{
    if (frame->type == DMSG_FRAME_ANSWER)
        return hear_answer(fetcher, frame);
    if (frame->type != DMSG_FRAME_TROUBLE)
        return "sent a frame that only it may get";
    dmsg_printable(trouble, 100, frame->body);
    return trouble;
}

/* What is wrong, or NULL. One read, which holds the largest answer several times; the descriptor
   stays readable when there is more. */
static const char *hear(struct dmsg_fetcher *fetcher, char trouble[static 100])
{
    struct dmsg_frame frame;
    struct dmsg_error why;
    int open = dmsg_channel_read(&fetcher->process.channel, NULL);
    int found = 0;
    while (open >= 0 && (found = dmsg_channel_take(&fetcher->process.channel, &frame, &why)) == 1) {
        const char *wrong = hear_frame(fetcher, &frame, trouble);
        if (wrong != NULL)
            return wrong;
    }
    if (open < 0)
        return "cannot be read";
    if (found < 0) {
        snprintf(trouble, 100, "sent %.90s", why.text);
        return trouble;
    }
    return open == 0 ? "went away" : NULL;
}

/* ------------------------------------------------------------------------------------- stepping */

static int start(struct dmsg_fetcher *fetcher, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {.limit = DMSG_FRAME_BODY_MAX};
    fetcher->process.called = "danemsg-fetcher";
    int result = dmsg_process_start(
        &fetcher->process, fetcher->program.path, dmsg_program_arguments(&fetcher->program), error);
    if (result < 0)
        return result;
    dmsg_pins_put(&body, fetcher->pins);
    dmsg_frame_put(&fetcher->process.channel.out, DMSG_FRAME_SETUP, 0, dmsg_buffer_span(&body));
    fetcher->process.channel.out.failed |= body.failed;
    dmsg_bell_add(&fetcher->bell, &fetcher->process.channel);
    return 0;
}

static size_t count_open(const struct dmsg_fetcher *fetcher)
{
    size_t count = 0;
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++)
        count += fetcher->questions[i].used;
    return count;
}

static void start_if_due(struct dmsg_fetcher *fetcher)
{
    struct dmsg_error error;
    if (running(fetcher) || count_open(fetcher) == 0 || dmsg_now_ms() < fetcher->start_at)
        return;
    if (start(fetcher, &error) < 0) {
        snprintf(fetcher->why, sizeof fetcher->why, "%.150s", error.text);
        fetcher->start_at = dmsg_now_ms() + PAUSE_MS;
    }
}

static void send_questions(struct dmsg_fetcher *fetcher)
{
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {.limit = DMSG_FRAME_BODY_MAX};
        struct question *question = &fetcher->questions[i];
        if (!question->used || question->id != 0)
            continue;
        question->id = fetcher->next_id++;
        if (question->id == 0)
            question->id = fetcher->next_id++;
        question->attempts++;
        dmsg_fetch_put(&body, &question->fetch);
        dmsg_frame_put(
            &fetcher->process.channel.out, DMSG_FRAME_ASK, question->id, dmsg_buffer_span(&body));
        fetcher->process.channel.out.failed |= body.failed;
    }
    /* An error shows again as the end of the stream, or as silence. */
    (void)!dmsg_channel_flush(&fetcher->process.channel, NULL);
    dmsg_bell_change(&fetcher->bell, &fetcher->process.channel);
}

/* What is out of time was not ended by the process, which therefore hangs. */
static void expire(struct dmsg_fetcher *fetcher)
{
    int64_t now = dmsg_now_ms();
    bool hangs = false;
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        struct question *question = &fetcher->questions[i];
        if (!question->used || now < question->deadline)
            continue;
        hangs |= question->id != 0;
        answer_not_now(question, running(fetcher) ? "the fetching process hangs" : fetcher->why);
    }
    if (hangs && running(fetcher))
        bury(fetcher, "hangs");
}

static int64_t next_step(const struct dmsg_fetcher *fetcher)
{
    int64_t now = dmsg_now_ms();
    int64_t at = now + IDLE_MS;
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        if (fetcher->questions[i].used && fetcher->questions[i].deadline < at)
            at = fetcher->questions[i].deadline;
    }
    if (!running(fetcher) && count_open(fetcher) > 0 && fetcher->start_at < at)
        at = fetcher->start_at;
    return at > now ? at - now : 0;
}

void dmsg_fetcher_hurry(struct dmsg_fetcher *fetcher, int64_t wait)
{
    dmsg_bell_set(&fetcher->bell, wait);
}

int dmsg_fetcher_step(struct dmsg_fetcher *fetcher, struct dmsg_error *error)
{
    char trouble[100];
    if (fetcher->stepping)
        return dmsg_fail(error, DMSG_E_USAGE, "the fetcher was stepped from within a callback");
    fetcher->stepping = true;
    const char *wrong = running(fetcher) ? hear(fetcher, trouble) : NULL;
    if (wrong != NULL)
        bury(fetcher, wrong);
    expire(fetcher);
    if (count_open(fetcher) > 0)
        fetcher->used_at = dmsg_now_ms();
    else if (running(fetcher) && dmsg_now_ms() - fetcher->used_at >= IDLE_MS)
        dmsg_process_stop(&fetcher->process, NULL, 0);
    start_if_due(fetcher);
    if (running(fetcher))
        send_questions(fetcher);
    fetcher->stepping = false;
    int64_t wait = next_step(fetcher);
    dmsg_fetcher_hurry(fetcher, wait);
    return (int)wait;
}

int dmsg_fetcher_fd(const struct dmsg_fetcher *fetcher)
{
    return fetcher->bell.fd;
}

int dmsg_fetcher_ask(struct dmsg_fetcher *fetcher, const struct dmsg_fetch *fetch,
    dmsg_fetcher_done *done, void *user, struct dmsg_error *error)
{
    for (size_t i = 0; i < DMSG_FETCHES_MAX; i++) {
        if (fetcher->questions[i].used)
            continue;
        fetcher->questions[i] = (struct question){.used = true,
            .deadline = dmsg_now_ms() + fetcher->patience,
            .fetch = *fetch,
            .done = done,
            .user = user};
        dmsg_fetcher_hurry(fetcher, 0);
        return 0;
    }
    return dmsg_fail(
        error, DMSG_E_QUOTA, "%d CA certificates are being fetched already", DMSG_FETCHES_MAX);
}

/* --------------------------------------------------------------------------------- new and free */

int dmsg_fetcher_new(struct dmsg_fetcher **out, const struct dmsg_authority_config *config,
    const struct dmsg_pins *pins, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_fetcher_free) struct dmsg_fetcher *fetcher = calloc(1, sizeof *fetcher);
    if (fetcher == NULL)
        return dmsg_fail_memory(error);
    fetcher->bell = DMSG_BELL_NONE;
    fetcher->pins = pins;
    fetcher->patience = PATIENCE_MS;
    fetcher->next_id = 1;
    snprintf(fetcher->why, sizeof fetcher->why, "the fetching process has not started");
    int result = dmsg_program_copy(
        &fetcher->program, config->program, config->program_arguments, DMSG_FETCH_ARGUMENT, error);
    if (result == 0)
        result = dmsg_bell_open(&fetcher->bell, error);
    if (result < 0)
        return result;
    *out = fetcher;
    fetcher = NULL;
    return 0;
}

void dmsg_fetcher_free(struct dmsg_fetcher **fetcher)
{
    struct dmsg_fetcher *self = *fetcher;
    if (self == NULL)
        return;
    dmsg_process_stop(&self->process, NULL, 0);
    dmsg_bell_done(&self->bell);
    dmsg_program_done(&self->program);
    free(self);
    *fetcher = NULL;
}

pid_t dmsg_fetcher_process(const struct dmsg_fetcher *fetcher)
{
    return fetcher->process.pid;
}

void dmsg_fetcher_set_patience(struct dmsg_fetcher *fetcher, int patience)
{
    fetcher->patience = patience;
}
