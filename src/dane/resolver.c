/*
 * The parent's side of the resolver process: questions with deadlines, and a process that may
 * hang, die or talk nonsense, and is then killed and started again.
 */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/resolver_internal.h"
#include "dane/setup.h"

#include <stdlib.h>
#include <string.h>

/* The longest time between two steps. */
#define IDLE_MS 60000

/* What the configuration may take of the setup frame; the rest is for the system's resolvers. */
#define SETUP_MAX (DMSG_FRAME_BODY_MAX - 4096)

static const struct dmsg_timing default_timing = {
    .question = 10000,
    .ping_after = 2000,
    .ping_wait = 4000,
    .pause_first = 100,
    .pause_most = 5000,
};

/* ------------------------------------------------------------------------------------ answering */

void dmsg_question_answer(struct dmsg_question *question, const struct dmsg_answer *answer)
{
    /* The slot is free before the call: the callback may ask. */
    dmsg_resolver_done *done = question->done;
    void *user = question->user;
    question->used = false;
    done(user, answer);
}

void dmsg_question_not_now(struct dmsg_question *question, const char *why)
{
    struct dmsg_answer answer = {
        .name = question->name, .canonical = question->name, .status = DMSG_DNS_NOT_NOW};
    dmsg_printable(answer.why, sizeof answer.why, dmsg_span_text(why));
    dmsg_question_answer(question, &answer);
}

/* ------------------------------------------------------------------------------------ listening */

static struct dmsg_question *find_question(struct dmsg_resolver *resolver, uint32_t id)
{
    for (size_t i = 0; id != 0 && i < DMSG_QUESTIONS_MAX; i++) {
        if (resolver->questions[i].used && resolver->questions[i].id == id)
            return &resolver->questions[i];
    }
    return NULL;
}

static bool given_out(const struct dmsg_resolver *resolver, uint32_t id)
{
    return id - resolver->first_id < resolver->next_id - resolver->first_id;
}

/* NULL, or what is wrong with the frame. */
static const char *hear_answer(struct dmsg_resolver *resolver, const struct dmsg_frame *frame)
{
    struct dmsg_answer answer;
    struct dmsg_question *question = find_question(resolver, frame->id);
    if (question == NULL) /* too late for its question, or never asked */
        return given_out(resolver, frame->id) ? NULL : "answered what was not asked";
    if (dmsg_answer_parse(&answer, &question->name, frame->body, NULL) < 0)
        return "gave a malformed answer";
    resolver->deaths = 0;
    dmsg_question_answer(question, &answer);
    return NULL;
}

static const char *hear_confined(struct dmsg_resolver *resolver, const struct dmsg_frame *frame)
{
    if (resolver->sandbox != -1 || frame->id != 0 || frame->body.size != 1 ||
        frame->body.data[0] > (DMSG_SANDBOX_SECCOMP | DMSG_SANDBOX_LANDLOCK))
        return "told of its sandbox in a way that is none";
    resolver->sandbox = frame->body.data[0];
    return NULL;
}

static const char *hear_frame(
    struct dmsg_resolver *resolver, const struct dmsg_frame *frame, char trouble[static 100])
{
    switch (frame->type) {
    case DMSG_FRAME_ANSWER:
        return hear_answer(resolver, frame);
    case DMSG_FRAME_PONG:
        if (frame->id != resolver->ping_id || frame->id == 0 || frame->body.size != 0)
            return "answered a ping that was not sent";
        resolver->ping_id = 0;
        return NULL;
    case DMSG_FRAME_CONFINED:
        return hear_confined(resolver, frame);
    case DMSG_FRAME_TROUBLE:
        dmsg_printable(trouble, 100, frame->body);
        return trouble;
    default:
        return "sent a frame that only it may get";
    }
}

/* What is wrong, or NULL: reads until there is nothing more, within bounds. */
static const char *hear(struct dmsg_resolver *resolver, char trouble[static 100])
{
    struct dmsg_error why;
    for (int reads = 0; reads < 64; reads++) {
        struct dmsg_frame frame;
        size_t before = resolver->process.channel.in.size - resolver->process.channel.taken;
        int open = dmsg_channel_read(&resolver->process.channel, NULL);
        if (open < 0)
            return "cannot be read";
        bool more = resolver->process.channel.in.size > before;
        int found;
        while ((found = dmsg_channel_take(&resolver->process.channel, &frame, &why)) == 1) {
            resolver->heard_at = dmsg_now_ms();
            const char *wrong = hear_frame(resolver, &frame, trouble);
            if (wrong != NULL)
                return wrong;
        }
        if (found < 0) {
            snprintf(trouble, 100, "sent %.90s", why.text);
            return trouble;
        }
        if (open == 0)
            return "went away";
        if (!more)
            break;
    }
    return NULL;
}

static bool any_sent(const struct dmsg_resolver *resolver)
{
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        if (resolver->questions[i].used && resolver->questions[i].id != 0)
            return true;
    }
    return false;
}

static int64_t silent_since(const struct dmsg_resolver *resolver)
{
    if (resolver->ping_id == 0 || resolver->heard_at > resolver->pinged_at)
        return resolver->heard_at;
    return resolver->pinged_at;
}

/* A ping goes all the way through the process's resolver, so that its answer says that all of it
   still works; only with questions open is silence suspicious. */
static const char *check_hang(struct dmsg_resolver *resolver)
{
    int64_t now = dmsg_now_ms();
    if (!any_sent(resolver))
        return NULL;
    int64_t silence = now - silent_since(resolver);
    if (resolver->ping_id != 0)
        return silence >= resolver->timing.ping_wait ? "hangs" : NULL;
    if (silence >= resolver->timing.ping_after)
        dmsg_life_ping(resolver);
    return NULL;
}

static void expire(struct dmsg_resolver *resolver)
{
    int64_t now = dmsg_now_ms();
    char why[300];
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        struct dmsg_question *question = &resolver->questions[i];
        if (!question->used || now < question->deadline)
            continue;
        snprintf(why, sizeof why, "no answer within %d seconds%s%s",
            resolver->timing.question / 1000, dmsg_life_running(resolver) ? "" : ": ",
            dmsg_life_running(resolver) ? "" : resolver->why);
        dmsg_question_not_now(question, why);
    }
}

/* ------------------------------------------------------------------------------------- stepping */

static int64_t next_step(const struct dmsg_resolver *resolver)
{
    int64_t now = dmsg_now_ms();
    int64_t at = now + IDLE_MS;
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        if (resolver->questions[i].used && resolver->questions[i].deadline < at)
            at = resolver->questions[i].deadline;
    }
    int64_t other = at;
    if (resolver->reload)
        other = now;
    else if (!dmsg_life_running(resolver))
        other = resolver->start_at;
    else if (any_sent(resolver))
        other = silent_since(resolver) +
                (resolver->ping_id != 0 ? resolver->timing.ping_wait : resolver->timing.ping_after);
    if (other < at)
        at = other;
    return at > now ? at - now : 0;
}

/* Lets the descriptor become readable when the next step is due. */
static int arm(struct dmsg_resolver *resolver)
{
    int64_t wait = next_step(resolver);
    dmsg_bell_set(&resolver->bell, wait);
    return (int)wait;
}

int dmsg_resolver_step(struct dmsg_resolver *resolver, struct dmsg_error *error)
{
    char trouble[100];
    if (resolver->stepping)
        return dmsg_fail(error, DMSG_E_USAGE, "the resolver was stepped from within a callback");
    resolver->stepping = true;
    if (dmsg_life_running(resolver)) {
        const char *wrong = hear(resolver, trouble);
        if (wrong == NULL)
            wrong = check_hang(resolver);
        if (wrong != NULL)
            dmsg_life_bury(resolver, wrong);
    }
    dmsg_life_reload(resolver);
    expire(resolver);
    dmsg_life_start_if_due(resolver);
    if (dmsg_life_running(resolver))
        dmsg_life_flush(resolver);
    resolver->stepping = false;
    return arm(resolver);
}

int dmsg_resolver_fd(const struct dmsg_resolver *resolver)
{
    return resolver->bell.fd;
}

int dmsg_resolver_ask(struct dmsg_resolver *resolver, const struct dmsg_name *name,
    dmsg_resolver_done *done, void *user, struct dmsg_error *error)
{
    struct dmsg_question *question = NULL;
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX && question == NULL; i++) {
        if (!resolver->questions[i].used)
            question = &resolver->questions[i];
    }
    if (question == NULL)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "%d DNS questions are under way already; ask again when some are answered",
            DMSG_QUESTIONS_MAX);
    *question = (struct dmsg_question){.used = true,
        .deadline = dmsg_now_ms() + resolver->timing.question,
        .name = *name,
        .done = done,
        .user = user};
    dmsg_life_check_system(resolver);
    if (dmsg_life_running(resolver) && !resolver->reload) {
        if (!any_sent(resolver)) /* silence before there was a question says nothing */
            resolver->heard_at = dmsg_now_ms();
        dmsg_life_send(resolver, question);
        dmsg_life_flush(resolver);
    }
    (void)arm(resolver);
    return 0;
}

/* --------------------------------------------------------------------------------- new and free */

/* It is asked for everything, then; libunbound would prefer the system's resolvers to it. */
static bool has_root_stub(const struct dmsg_resolver_config *config)
{
    bool found = false;
    for (size_t i = 0; i < config->stub_count; i++)
        found |= strncmp(config->stubs[i], ".=", 2) == 0;
    return found;
}

int dmsg_resolver_new(
    struct dmsg_resolver **out, const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_resolver_free) struct dmsg_resolver *resolver = calloc(1, sizeof *resolver);
    if (resolver == NULL)
        return dmsg_fail_memory(error);
    resolver->bell = DMSG_BELL_NONE;
    resolver->timing = default_timing;
    resolver->system_file = DMSG_RESOLV_CONF;
    resolver->use_system = config->server_count == 0 && !has_root_stub(config);
    resolver->root = config->trust_anchor == NULL;
    resolver->trust.lock = -1;
    resolver->setup.limit = SETUP_MAX;
    resolver->next_id = 1;
    snprintf(resolver->why, sizeof resolver->why, "the resolver process has not started");
    int result = dmsg_program_copy(
        &resolver->program, config->program, config->program_arguments, NULL, error);
    if (result == 0)
        result = dmsg_setup_make(&resolver->setup, config, error);
    if (result == 0 && config->for_strangers)
        dmsg_setup_put(&resolver->setup, DMSG_SETUP_FOR_STRANGERS, "yes");
    if (result == 0 && resolver->root)
        result =
            dmsg_trust_open(&resolver->trust, config->trust_folder, config->trust_read_only, error);
    if (result == 0)
        result = dmsg_bell_open(&resolver->bell, error);
    if (result == 0)
        result = dmsg_life_start(resolver, error);
    if (result < 0)
        return result;
    (void)arm(resolver);
    *out = resolver;
    resolver = NULL;
    return 0;
}

void dmsg_resolver_free(struct dmsg_resolver **resolver)
{
    struct dmsg_resolver *self = *resolver;
    if (self == NULL)
        return;
    dmsg_process_stop(&self->process, NULL, 0);
    dmsg_bell_done(&self->bell);
    dmsg_buffer_done(&self->setup);
    dmsg_trust_close(&self->trust);
    dmsg_program_done(&self->program);
    free(self);
    *resolver = NULL;
}

void dmsg_timing_set(struct dmsg_resolver *resolver, const struct dmsg_timing *timing)
{
    resolver->timing = *timing;
}

const char *dmsg_resolver_note(const struct dmsg_resolver *resolver)
{
    return resolver->trust.note;
}

int dmsg_resolver_sandbox(const struct dmsg_resolver *resolver)
{
    return resolver->sandbox;
}

pid_t dmsg_process_of(const struct dmsg_resolver *resolver)
{
    return resolver->process.pid;
}

void dmsg_system_file_set(struct dmsg_resolver *resolver, const char *path)
{
    resolver->system_file = path;
    resolver->stamped_at = 0;
}
