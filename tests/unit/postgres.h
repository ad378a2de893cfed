/* A PostgreSQL server of the test's own: on a socket in a folder that is gone with it, without a
   port, as an unprivileged user. */
#ifndef DANEMSG_TESTS_POSTGRES_H
#define DANEMSG_TESTS_POSTGRES_H

/* Starts it when it is asked for first: the URL of an empty database, or NULL and in *why what is
   missing. It is stopped when the test ends. */
const char *postgres_url(const char **why);
/* Stops and starts it: all connections are gone. 0, or -1. */
int postgres_restart(void);

#endif
