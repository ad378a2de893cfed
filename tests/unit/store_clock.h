/* A clock that a test sets, and names. */
#ifndef DANEMSG_TESTS_STORE_CLOCK_H
#define DANEMSG_TESTS_STORE_CLOCK_H

#include "danemsg/context.h"
#include "danemsg/name.h"

#include <stdlib.h>

#define START 1700000000

static int64_t fake_now = START;
static bool clock_is_set = true;

static int64_t read_clock(void *user)
{
    (void)user;
    return fake_now;
}

static bool read_synchronised(void *user)
{
    (void)user;
    return clock_is_set;
}

static const struct dmsg_context context = {.now = read_clock, .synchronised = read_synchronised};

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    if (dmsg_name_parse(&name, dmsg_span_text(text), NULL) < 0)
        abort();
    return name;
}

#endif
