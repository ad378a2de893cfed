/* danemsg identity rollover switch, finish, abort. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "rollover.h"

#include <string.h>

/* What is printed to be pasted is not in DNS yet; when it is, the same command goes on. */
static int wait_for_hand(struct rollover_run *run, const char *what, const struct record_list *list,
    size_t first, struct dmsg_error *error)
{
    print_note(run->program, "%s", what);
    int result = rollover_print_records(run, list, first, error);
    if (result < 0)
        return result;
    print_note(run->program, "then run this command again");
    dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "%s", "");
    return DMSG_E_DNS_TEMPORARY;
}

static int check_phase(const struct rollover_run *run, bool before_switch, struct dmsg_error *error)
{
    enum dmsg_rollover_phase phase = run->state.phase;
    const char *name = run->own.name.text;
    if (phase == DMSG_ROLLOVER_NONE)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "no rollover of %s is under way: `danemsg identity rollover start %s` begins one", name,
            name);
    if (before_switch && phase > DMSG_ROLLOVER_STARTED)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the rollover of %s is past that (%s): `danemsg identity rollover finish %s`", name,
            dmsg_rollover_word(phase), name);
    if (!before_switch && phase <= DMSG_ROLLOVER_STARTED)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the rollover of %s has not come to its switch (%s): `danemsg identity rollover switch "
            "%s`, or `abort`",
            name, dmsg_rollover_word(phase), name);
    if (before_switch && !rollover_has_next(run))
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s.next.key.* is not the key of this rollover (%s): bring it back, or `danemsg "
            "identity rollover start %s` makes another",
            run->own.folder, name, run->state.new_kid, name);
    return 0;
}

/* ------------------------------------------------------------------------------------ switch */

/* With a single record DNS changes first: what is signed between that and the change of files is
   what a peer with the old answer can still read. */
static int swap_record(struct rollover_run *run, struct dmsg_error *error)
{
    DMSG_CLEANUP(record_list_done) struct record_list list = {0};
    struct published published = {0};
    int result = rollover_look(run, error);
    if (result == 0)
        result = rollover_add_records(run, DMSG_KEY_NEXT, &list, error);
    size_t next = list.count;
    run->state.offered = true;
    if (result == 0)
        result = rollover_save(run, error);
    if (result < 0)
        return result;
    if (publishing_possible(&run->options->publish)) {
        result = rollover_add_records(run, DMSG_KEY_CURRENT, &list, error);
        if (result == 0)
            result = rollover_publish(run, &list, next, &published, error);
        if (published.ttl > run->state.ttl)
            run->state.ttl = published.ttl;
        return result;
    }
    if (rollover_shows_all(run, DMSG_KEY_NEXT))
        return 0;
    return wait_for_hand(
        run, "DNS needs this in place of the record that is there:", &list, 0, error);
}

static int check_time(struct rollover_run *run, struct dmsg_error *error)
{
    int result = rollover_observe(run, error);
    if (result < 0 && !run->options->now)
        return result;
    if (!run->options->now && run->state.phase == DMSG_ROLLOVER_MADE) {
        print_note(run->program,
            "not yet: DNS does not show the record of the next key (`danemsg identity rollover "
            "start %s` publishes it)",
            run->own.name.text);
        dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "%s", "");
        return DMSG_E_DNS_TEMPORARY;
    }
    bool time =
        run->state.phase == DMSG_ROLLOVER_STARTED && rollover_is_time(run, rollover_switch_at(run));
    if (time)
        return 0;
    if (!run->options->now)
        return rollover_not_yet(run, rollover_switch_at(run),
            "caches may still hold an answer without the next key", error);
    print_note(run->program,
        "switching now: until caches have the new record, peers cannot verify what is signed; "
        "danemsg lets such messages wait, the proof of concept refuses them");
    return 0;
}

int rollover_switch(struct rollover_run *run, struct dmsg_error *error)
{
    bool single = run->state.single_record;
    int result = check_phase(run, true, error);
    if (result == 0)
        result = single ? swap_record(run, error) : check_time(run, error);
    if (result == 0)
        result = dmsg_rollover_switch(
            &run->folder, &run->own.name, &run->state, dmsg_context_now(&run->context), error);
    if (result == 0 && single) {
        run->state.phase = DMSG_ROLLOVER_RETRACTED;
        run->state.retracted_at = dmsg_context_now(&run->context);
        result = rollover_save(run, error);
    }
    if (result == 0)
        result = rollover_load(run, error);
    if (result < 0)
        return result;
    print_note(
        run->program, "%s signs with %s from now on", run->own.name.text, run->state.new_kid);
    return rollover_say_next(run, error);
}

/* ------------------------------------------------------------------------------------ finish */

/* Takes the records of a role out: 0 when DNS does not show them any more. */
static int take_out(struct rollover_run *run, enum dmsg_key_role role, struct dmsg_error *error)
{
    DMSG_CLEANUP(record_list_done) struct record_list list = {0};
    struct published published = {0};
    int result = rollover_look(run, error);
    if (result == 0 && !rollover_shows_all(run, DMSG_KEY_CURRENT))
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "DNS does not show the current key of %s, so nothing is taken out: publish it first",
            run->own.name.text);
    if (result == 0)
        result = rollover_add_records(run, DMSG_KEY_CURRENT, &list, error);
    size_t current = list.count;
    bool shown = result == 0 && rollover_shows_any(run, role);
    if (run->peer != NULL && run->peer->ttl > run->state.ttl)
        run->state.ttl = run->peer->ttl;
    if (shown)
        result = rollover_add_records(run, role, &list, error);
    if (result < 0 || !shown)
        return result;
    if (!publishing_possible(&run->options->publish))
        return wait_for_hand(run, "to be taken out of DNS:", &list, current, error);
    result = rollover_publish(run, &list, current, &published, error);
    if (published.ttl > run->state.ttl)
        run->state.ttl = published.ttl;
    return result;
}

static int retract_old(struct rollover_run *run, struct dmsg_error *error)
{
    bool noted;
    int64_t at = rollover_finish_at(run, &noted);
    bool time = run->state.single_record || rollover_is_time(run, at);
    if (!time && !run->options->now)
        return rollover_not_yet(run, at,
            noted ? "messages that the old key signed have not expired"
                  : "messages that the old key signed may not have expired, for no note of them is "
                    "here",
            error);
    if (!time)
        print_note(run->program,
            "taking the old record out now: what the old key signed and is not read yet will be "
            "refused");
    int result = take_out(run, DMSG_KEY_OLD, error);
    if (result < 0)
        return result;
    run->state.phase = DMSG_ROLLOVER_RETRACTED;
    run->state.retracted_at = dmsg_context_now(&run->context);
    result = rollover_save(run, error);
    return result == 0 ? rollover_say_next(run, error) : result;
}

static int delete_old(struct rollover_run *run, struct dmsg_error *error)
{
    int64_t at = rollover_delete_at(run);
    bool time = rollover_is_time(run, at);
    if (!time && !run->options->now)
        return rollover_not_yet(run, at,
            "the old private key is kept for messages that are sealed to it; then this command "
            "deletes it",
            error);
    if (!time)
        print_note(run->program,
            "deleting the old private key now: what is sealed to it and is not read yet cannot be "
            "read any more");
    int result = dmsg_rollover_end(&run->folder, &run->own.name, DMSG_KEY_OLD, error);
    if (result == 0)
        print_note(
            run->program, "the old key of %s is deleted, the rollover is over", run->own.name.text);
    return result;
}

int rollover_finish(struct rollover_run *run, struct dmsg_error *error)
{
    int result = check_phase(run, false, error);
    if (result < 0)
        return result;
    return run->state.phase == DMSG_ROLLOVER_SWITCHED ? retract_old(run, error)
                                                      : delete_old(run, error);
}

/* ------------------------------------------------------------------------------------- abort */

/* Who saw the next key's record may have sealed to it: then its private key is kept as an old one.
 */
int rollover_abort(struct rollover_run *run, struct dmsg_error *error)
{
    int result = check_phase(run, true, error);
    if (result == 0 && run->state.offered)
        result = take_out(run, DMSG_KEY_NEXT, error);
    if (result < 0)
        return result;
    if (!run->state.offered || run->options->now) {
        if (run->state.offered)
            print_note(run->program,
                "deleting the next key now: what is sealed to it already cannot be read");
        result = dmsg_rollover_end(&run->folder, &run->own.name, DMSG_KEY_NEXT, error);
        if (result == 0)
            print_note(run->program, "the next key of %s is deleted", run->own.name.text);
        return result;
    }
    result = dmsg_rollover_abort(
        &run->folder, &run->own.name, &run->state, dmsg_context_now(&run->context), error);
    return result == 0 ? rollover_say_next(run, error) : result;
}
