/* When a step of a rollover may be taken. */
#include "base/fail.h"
#include "dane/peer_internal.h"
#include "danemsg/message.h"
#include "issued.h"
#include "rollover.h"

#define DAY 86400
#define HOUR 3600
#define MINUTE 60

int64_t rollover_switch_at(const struct rollover_run *run)
{
    return run->state.seen_at + run->state.ttl + DMSG_PEER_LIFE_MIN;
}

int64_t rollover_delete_at(const struct rollover_run *run)
{
    return run->state.retracted_at + run->state.ttl + DMSG_PEER_LIFE_MIN + DMSG_LIFE_MAX;
}

/* What a sender elsewhere, or one that could not note it, signed with the old key is not known
   here. It lives for --lifetime at most; by default as long as messages do unless they are told
   otherwise, and without any note as long as any may. */
int64_t rollover_finish_at(const struct rollover_run *run, bool *noted)
{
    int64_t until = 0, lifetime = run->options->lifetime;
    struct dmsg_error why;
    int found = issued_until(run->options->state, &run->own.name, run->state.old_kid, &until, &why);
    if (found < 0) /* there may be notes that cannot be read: then no smaller number counts */
        print_error(run->program, &why);
    *noted = found == 1;
    if (lifetime == 0 && *noted)
        lifetime = DMSG_LIFE_DEFAULT;
    else if (lifetime == 0 || found < 0)
        lifetime = DMSG_LIFE_MAX;
    int64_t unknown = run->state.switched_at + lifetime;
    return *noted && until > unknown ? until : unknown;
}

void rollover_when(char out[static WHEN_SIZE], const struct rollover_run *run, int64_t at)
{
    char date[32];
    int64_t left = at - dmsg_context_now(&run->context);
    time_text(date, at);
    if (left <= 0)
        snprintf(out, WHEN_SIZE, "%s (now)", date);
    else if (left >= 2 * DAY)
        snprintf(out, WHEN_SIZE, "%s (in %lld days)", date, (long long)(left / DAY));
    else if (left >= 2 * HOUR)
        snprintf(out, WHEN_SIZE, "%s (in %lld hours)", date, (long long)(left / HOUR));
    else
        snprintf(out, WHEN_SIZE, "%s (in %lld minutes)", date,
            (long long)((left + MINUTE - 1) / MINUTE));
}

int rollover_not_yet(
    const struct rollover_run *run, int64_t until, const char *why, struct dmsg_error *error)
{
    char when[WHEN_SIZE];
    rollover_when(when, run, until);
    if (dmsg_context_synchronised(&run->context))
        print_note(run->program, "not yet, but from %s: %s", when, why);
    else
        print_note(run->program, "not yet: the clock of this machine is not set");
    /* Printed already, and it is no fault of DNS. */
    dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "%s", "");
    return DMSG_E_DNS_TEMPORARY;
}

bool rollover_is_time(const struct rollover_run *run, int64_t at)
{
    return dmsg_context_synchronised(&run->context) && dmsg_context_now(&run->context) >= at;
}
