#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void dmsg_log_event(const struct dmsg_log *log, const struct dmsg_event *event)
{
    if (log != NULL && log->write != NULL)
        log->write(log->user, event);
}

void dmsg_log_text(const struct dmsg_log *log, enum dmsg_log_level level, const char *format, ...)
{
    char text[2 * DMSG_ERROR_TEXT];
    va_list arguments;
    if (log == NULL || log->write == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    struct dmsg_event event = {.level = level, .text = text};
    log->write(log->user, &event);
}
