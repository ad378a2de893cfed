/* danemsg identity rollover status: what waits for what, and the same line after each step. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "rollover.h"
#include "typed.h"

#include <string.h>

struct step {
    const char *command; /* NULL: none */
    const char *why;     /* what is waited for, or what it does */
    int64_t at;          /* 0: at any time */
};

static void find_step(const struct rollover_run *run, struct step *out)
{
    bool noted;
    *out = (struct step){0};
    switch (run->state.phase) {
    case DMSG_ROLLOVER_NONE:
    case DMSG_ROLLOVER_PHASE_COUNT:
        break;
    case DMSG_ROLLOVER_MADE:
        if (rollover_needs_certificate(run))
            *out = (struct step){"start", "after `danemsg identity import` of the certificate", 0};
        else if (run->state.single_record)
            *out = (struct step){"switch", "swaps record and key at once", 0};
        else
            *out =
                (struct step){"switch", "when DNS has shown the next key's record for its TTL", 0};
        break;
    case DMSG_ROLLOVER_STARTED:
        *out =
            (struct step){"switch", "every cache then has both records", rollover_switch_at(run)};
        break;
    case DMSG_ROLLOVER_SWITCHED:
        out->command = "finish";
        out->why = "what the old key signed has then expired, and its record goes";
        out->at = rollover_finish_at(run, &noted);
        break;
    case DMSG_ROLLOVER_RETRACTED:
        *out = (struct step){"finish",
            "what was sealed to the old key has then expired, and its private key is deleted",
            rollover_delete_at(run)};
        break;
    case DMSG_ROLLOVER_ABORTING:
    case DMSG_ROLLOVER_SWITCHING:
        *out = (struct step){"status", "completes what was interrupted", 0};
        break;
    }
}

static void put_step(
    struct dmsg_buffer *out, const struct rollover_run *run, const struct step *step)
{
    char when[WHEN_SIZE];
    if (step->command == NULL)
        return;
    dmsg_buffer_format(
        out, "next: `danemsg identity rollover %s %s`", step->command, run->own.name.text);
    if (step->at != 0) {
        rollover_when(when, run, step->at);
        dmsg_buffer_format(out, " from %s", when);
    }
    dmsg_buffer_format(out, ": %s\n", step->why);
}

int rollover_say_next(const struct rollover_run *run, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    struct step step;
    find_step(run, &step);
    put_step(&out, run, &step);
    if (out.failed)
        return dmsg_fail_memory(error);
    (void)!write_typed(stderr, dmsg_buffer_span(&out), NULL);
    return 0;
}

/* ------------------------------------------------------------------------------------ status */

static const char *shown_words(const struct rollover_run *run, enum dmsg_key_role role)
{
    if (run->peer == NULL)
        return "DNS was not asked";
    if (run->peer->status != DMSG_DNS_SECURE)
        return "DNS says nothing to be believed";
    return rollover_shows_all(run, role)   ? "in DNS"
           : rollover_shows_any(run, role) ? "in DNS in part"
                                           : "not in DNS";
}

static void put_text(
    struct dmsg_buffer *out, const struct rollover_run *run, const struct step *step)
{
    const struct dmsg_rollover *state = &run->state;
    char when[WHEN_SIZE];
    dmsg_buffer_format(out, "%s: %s%s\n", run->own.name.text,
        state->phase == DMSG_ROLLOVER_NONE ? "no rollover under way"
                                           : dmsg_rollover_word(state->phase),
        state->single_record ? ", single record" : "");
    for (size_t i = 0; i < dmsg_identity_key_count(run->own.identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(run->own.identity, i);
        dmsg_buffer_format(out, "%s key %s (%s): %s\n", role_word(key->role), key->kid,
            purpose_words(key->purposes), shown_words(run, key->role));
    }
    const struct {
        const char *what;
        int64_t at;
    } times[] = {{"made", state->made_at}, {"both seen in DNS", state->seen_at},
        {"switched", state->switched_at}, {"old record gone", state->retracted_at}};
    for (size_t i = 0; i < COUNT(times); i++) {
        if (times[i].at == 0)
            continue;
        time_text(when, times[i].at);
        dmsg_buffer_format(out, "%s %s\n", times[i].what, when);
    }
    put_step(out, run, step);
}

static void put_time(struct dmsg_buffer *out, const char *name, int64_t at)
{
    if (at != 0)
        json_member_number(out, name, at);
}

static void put_json(
    struct dmsg_buffer *out, const struct rollover_run *run, const struct step *step)
{
    const struct dmsg_rollover *state = &run->state;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "name", run->own.name.text);
    json_member_text(out, "phase", dmsg_rollover_word(state->phase));
    if (state->phase != DMSG_ROLLOVER_NONE) {
        json_member_bool(out, "single_record", state->single_record);
        json_member_text(out, "old_kid", state->old_kid);
        json_member_text(out, "new_kid", state->new_kid);
        json_member_number(out, "ttl", state->ttl);
    }
    put_time(out, "made_at", state->made_at);
    put_time(out, "seen_at", state->seen_at);
    put_time(out, "switched_at", state->switched_at);
    put_time(out, "retracted_at", state->retracted_at);
    json_key(out, "in_dns");
    dmsg_buffer_put_byte(out, '{');
    for (enum dmsg_key_role role = DMSG_KEY_CURRENT; role <= DMSG_KEY_OLD; role++)
        json_member_bool(out, role_word(role), rollover_shows_all(run, role));
    dmsg_buffer_put_byte(out, '}');
    if (step->command != NULL) {
        json_member_text(out, "next", step->command);
        json_member_text(out, "why", step->why);
        put_time(out, "from", step->at);
    }
    dmsg_buffer_put_text(out, "}\n");
}

/* DNS that does not answer, or a folder that cannot be written, keeps nobody from looking. */
int rollover_status(struct rollover_run *run, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    struct dmsg_error why;
    struct step step;
    if (rollover_observe(run, &why) < 0)
        print_error(run->program, &why);
    find_step(run, &step);
    if (run->options->json)
        put_json(&out, run, &step);
    else
        put_text(&out, run, &step);
    if (out.failed)
        return dmsg_fail_memory(error);
    return write_typed(stdout, dmsg_buffer_span(&out), error);
}
