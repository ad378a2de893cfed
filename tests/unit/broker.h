/* A real mosquitto for one test: its own port on loopback, its own folder, ended by its id. */
#ifndef DANEMSG_TEST_BROKER_H
#define DANEMSG_TEST_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define BROKER_PROGRAM "/usr/sbin/mosquitto"

struct broker {
    pid_t pid; /* 0: not running */
    int port;
    char folder[64];
};

/* Why no broker can be had here, or NULL. */
const char *broker_missing(void);

/* Makes the folder and finds a port; runs nothing. */
bool broker_prepare(struct broker *broker);
/* The path of a file in the folder. */
void broker_path(const struct broker *broker, const char *name, char *out, size_t size);
/* Runs mosquitto with these lines of configuration for its one listener ("" for none); anybody
   may come unless they say otherwise. False when it does not listen within some seconds. */
bool broker_run(struct broker *broker, const char *lines);
/* Ends the program; the folder, and what it kept there, stays. */
void broker_halt(struct broker *broker);
/* Ends it and removes the folder. */
void broker_stop(struct broker *broker);

int listen_on_loopback(int *port);

#endif
