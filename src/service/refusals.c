#include "service/refusals.h"

#include <inttypes.h>
#include <stdio.h>

static void summarise(struct dmsg_refusals *refusals, int index)
{
    char text[100];
    int code = -1 - index;
    if (refusals->words[index].hidden > 0) {
        snprintf(text, sizeof text, "%" PRIu64 " more %s: %s", refusals->words[index].hidden,
            refusals->what, dmsg_error_word(code));
        struct dmsg_event event = {.level = DMSG_LOG_WARNING, .code = code, .text = text};
        dmsg_log_event(refusals->log, &event);
    }
    refusals->words[index].shown = 0;
    refusals->words[index].hidden = 0;
}

void dmsg_refusals_put(struct dmsg_refusals *refusals, int64_t now, const struct dmsg_event *event)
{
    int index = -1 - event->code;
    if (index < 0 || index >= DMSG_ERROR_COUNT)
        return;
    if (now - refusals->words[index].began >= DMSG_REFUSALS_SECOND) {
        summarise(refusals, index);
        refusals->words[index].began = now;
    }
    if (refusals->words[index].shown == DMSG_REFUSALS_SHOWN) {
        refusals->words[index].hidden++;
        return;
    }
    refusals->words[index].shown++;
    dmsg_log_event(refusals->log, event);
}

void dmsg_refusals_flush(struct dmsg_refusals *refusals, int64_t now, bool all)
{
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        bool passed = now - refusals->words[i].began >= DMSG_REFUSALS_SECOND;
        if (refusals->words[i].hidden > 0 && (all || passed))
            summarise(refusals, i);
    }
}

int64_t dmsg_refusals_due(const struct dmsg_refusals *refusals, int64_t now, int64_t most)
{
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        int64_t left = refusals->words[i].began + DMSG_REFUSALS_SECOND - now;
        if (refusals->words[i].hidden > 0 && left < most)
            most = left < 0 ? 0 : left;
    }
    return most;
}
