#include "events.h"

#include "base/cleanup.h"
#include "common.h"
#include "doctor_hint.h"
#include "typed.h"

static const char *level_word(enum dmsg_log_level level)
{
    static const char *const words[] = {[DMSG_LOG_ERROR] = "error",
        [DMSG_LOG_WARNING] = "warning",
        [DMSG_LOG_INFO] = "info",
        [DMSG_LOG_DEBUG] = "debug"};
    return words[level];
}

static bool has_sender(const struct dmsg_event *event)
{
    return event->sender != NULL && event->sender->size > 0;
}

static bool has_id(const struct dmsg_event *event)
{
    return event->id != NULL && event->id[0] != '\0';
}

static void write_line(const struct events *events, const struct dmsg_event *event)
{
    const char *word = event->code != 0 ? dmsg_error_word(event->code) : "";
    char from[DMSG_NAME_TEXT + 64] = "";
    if (has_sender(event))
        snprintf(from, sizeof from, " (%s %s%s%s)", event->code != 0 ? "says it is from" : "from",
            event->sender->text, has_id(event) ? ", id " : "", has_id(event) ? event->id : "");
    print_note(events->program, "%s%s%s%s", word, word[0] != '\0' ? ": " : "", event->text, from);
}

static void write_json(const struct events *events, const struct dmsg_event *event)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer line = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put_typed(&text, dmsg_span_text(event->text));
    json_event_begin(&line, events->program, level_word(event->level),
        event->code != 0 ? dmsg_error_word(event->code) : "");
    json_member(&line, "text", dmsg_buffer_span(&text));
    if (has_sender(event))
        json_member_text(&line, "sender", event->sender->text);
    if (has_id(event))
        json_member_text(&line, "id", event->id);
    dmsg_buffer_put_text(&line, "}\n");
    if (!line.failed && !text.failed)
        (void)fwrite(line.data, 1, line.size, stderr);
}

static void write_event(const struct events *events, const struct dmsg_event *event)
{
    if (events->json)
        write_json(events, event);
    else
        write_line(events, event);
}

void events_write(void *user, const struct dmsg_event *event)
{
    const struct events *events = user;
    if (event->level == DMSG_LOG_DEBUG && !events->debug)
        return;
    write_event(events, event);
    const char *hint = has_sender(event) ? NULL : doctor_hint_event(event->code);
    if (hint != NULL)
        write_event(events, &(struct dmsg_event){.level = DMSG_LOG_INFO, .text = hint});
}
