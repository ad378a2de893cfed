/*
 * Events. The library never prints: what happens while a service runs is handed to the caller's
 * function, with its facts apart, so that it can be shown as a line or as JSON.
 */
#ifndef DANEMSG_BASE_LOG_H
#define DANEMSG_BASE_LOG_H

#include "danemsg/name.h"

enum dmsg_log_level { DMSG_LOG_ERROR, DMSG_LOG_WARNING, DMSG_LOG_INFO, DMSG_LOG_DEBUG };

struct dmsg_event {
    enum dmsg_log_level level;
    int code;                       /* the refusal or failure, 0 if none */
    const struct dmsg_name *sender; /* NULL if not known; verified only if the text says so */
    const char *id;                 /* the message's id, NULL if not known */
    const char *text;               /* one line, printable ASCII */
};

struct dmsg_log {
    void (*write)(void *user, const struct dmsg_event *event); /* NULL: silence */
    void *user;
};

void dmsg_log_event(const struct dmsg_log *log, const struct dmsg_event *event);
void dmsg_log_text(const struct dmsg_log *log, enum dmsg_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
