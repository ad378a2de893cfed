/* The life of the resolver process, seen from its parent: started, set up, ended, started again. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/resolver_internal.h"
#include "dane/setup.h"

/* A question that ended a process is asked of one more. */
#define ATTEMPTS_MAX 2

/* Restarts in a row after which the pause grows no more: 2^6 times the first. */
#define DOUBLINGS_MAX 6

/* How often the system's resolvers are looked at. */
#define SYSTEM_CHECK_MS 1000

bool dmsg_life_running(const struct dmsg_resolver *resolver)
{
    return resolver->process.pid > 0;
}

static int64_t pause_of(const struct dmsg_resolver *resolver)
{
    int doublings = resolver->deaths - 2;
    if (doublings < 0)
        return 0;
    if (doublings > DOUBLINGS_MAX)
        doublings = DOUBLINGS_MAX;
    int64_t pause = (int64_t)resolver->timing.pause_first << doublings;
    return pause < resolver->timing.pause_most ? pause : resolver->timing.pause_most;
}

void dmsg_life_bury(struct dmsg_resolver *resolver, const char *what)
{
    char how[64];
    dmsg_process_stop(&resolver->process, how, sizeof how);
    snprintf(resolver->why, sizeof resolver->why, "the resolver process %.120s (%s)", what, how);
    resolver->deaths++;
    resolver->start_at = dmsg_now_ms() + pause_of(resolver);
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        struct dmsg_question *question = &resolver->questions[i];
        if (!question->used || question->id == 0)
            continue;
        question->id = 0;
        if (question->attempts >= ATTEMPTS_MAX)
            dmsg_question_not_now(question, resolver->why);
    }
}

void dmsg_life_flush(struct dmsg_resolver *resolver)
{
    size_t before = resolver->process.channel.out.size;
    /* An error shows again as the end of the stream, or as silence. */
    (void)!dmsg_channel_flush(&resolver->process.channel, NULL);
    if (before != 0)
        dmsg_bell_change(&resolver->bell, &resolver->process.channel);
}

static uint32_t new_id(struct dmsg_resolver *resolver)
{
    uint32_t id = resolver->next_id++;
    if (resolver->next_id == 0)
        resolver->next_id = 1;
    return id;
}

void dmsg_life_send(struct dmsg_resolver *resolver, struct dmsg_question *question)
{
    question->id = new_id(resolver);
    question->attempts++;
    dmsg_frame_put(&resolver->process.channel.out, DMSG_FRAME_ASK, question->id,
        dmsg_span_text(question->name.text));
}

static void send_setup(struct dmsg_resolver *resolver)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {.limit = DMSG_FRAME_BODY_MAX};
    dmsg_buffer_put_span(&body, dmsg_buffer_span(&resolver->setup));
    if (resolver->use_system)
        dmsg_setup_put_system(&body, resolver->system_file);
    if (resolver->root)
        dmsg_trust_put(&resolver->trust, &body, resolver->deaths > 0, dmsg_now_ms());
    if (body.failed)
        resolver->process.channel.out.failed = true;
    dmsg_frame_put(&resolver->process.channel.out, DMSG_FRAME_SETUP, 0, dmsg_buffer_span(&body));
}

void dmsg_life_ping(struct dmsg_resolver *resolver)
{
    resolver->ping_id = new_id(resolver);
    resolver->pinged_at = dmsg_now_ms();
    dmsg_frame_put(&resolver->process.channel.out, DMSG_FRAME_PING, resolver->ping_id,
        (struct dmsg_span){NULL, 0});
}

static struct dmsg_stamp read_stamp(const char *path)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return (struct dmsg_stamp){0};
    return (struct dmsg_stamp){
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = status.st_size,
        .changed = status.st_mtim,
    };
}

static bool same_stamp(const struct dmsg_stamp *a, const struct dmsg_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec;
}

int dmsg_life_start(struct dmsg_resolver *resolver, struct dmsg_error *error)
{
    resolver->stamp = read_stamp(resolver->system_file);
    resolver->reload = false;
    resolver->process.folder = dmsg_trust_folder(&resolver->trust);
    int result = dmsg_process_start(&resolver->process, resolver->program.path,
        dmsg_program_arguments(&resolver->program), error);
    if (result < 0)
        return result;
    resolver->first_id = resolver->next_id;
    resolver->ping_id = 0;
    resolver->sandbox = -1;
    resolver->heard_at = dmsg_now_ms();
    send_setup(resolver);
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        if (resolver->questions[i].used)
            dmsg_life_send(resolver, &resolver->questions[i]);
    }
    dmsg_bell_add(&resolver->bell, &resolver->process.channel);
    dmsg_life_flush(resolver);
    return 0;
}

void dmsg_life_start_if_due(struct dmsg_resolver *resolver)
{
    struct dmsg_error error;
    if (dmsg_life_running(resolver) || dmsg_now_ms() < resolver->start_at)
        return;
    if (dmsg_life_start(resolver, &error) < 0) {
        snprintf(resolver->why, sizeof resolver->why, "%.250s", error.text);
        resolver->deaths++;
        resolver->start_at = dmsg_now_ms() + pause_of(resolver) + resolver->timing.pause_first;
    }
}

/* The system has other resolvers now, for the network changed: a new process, and nobody's fault.
 */
void dmsg_life_reload(struct dmsg_resolver *resolver)
{
    if (!resolver->reload)
        return;
    resolver->reload = false;
    dmsg_process_stop(&resolver->process, NULL, 0);
    resolver->start_at = 0;
    for (size_t i = 0; i < DMSG_QUESTIONS_MAX; i++) {
        struct dmsg_question *question = &resolver->questions[i];
        if (question->used && question->id != 0) {
            question->id = 0;
            question->attempts--;
        }
    }
}

void dmsg_life_check_system(struct dmsg_resolver *resolver)
{
    int64_t now = dmsg_now_ms();
    resolver->reload |= resolver->root && dmsg_trust_wants_process(&resolver->trust, now);
    if (!resolver->use_system || now - resolver->stamped_at < SYSTEM_CHECK_MS)
        return;
    resolver->stamped_at = now;
    struct dmsg_stamp stamp = read_stamp(resolver->system_file);
    resolver->reload |= !same_stamp(&stamp, &resolver->stamp);
}
