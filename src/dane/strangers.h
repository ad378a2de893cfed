/*
 * How many questions to DNS strangers may cause: by zone, so that one of them does not use up what
 * the others have, and all together. A zone is the last two labels of a name (dmsg_name_zone). The
 * table is of fixed size: two zones that share a place share a budget, and which ones do cannot be
 * chosen.
 */
#ifndef DANEMSG_DANE_STRANGERS_H
#define DANEMSG_DANE_STRANGERS_H

#include "danemsg/context.h"
#include "danemsg/name.h"

struct dmsg_strangers;

/* DMSG_E_INTERNAL: no memory or no randomness. */
int dmsg_strangers_new(struct dmsg_strangers **out, const struct dmsg_context *context,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_strangers_free(struct dmsg_strangers **strangers);

/* Takes one question about this name out of the budgets, now_ms being dmsg_now_ms(). DMSG_E_QUOTA:
   there is none left, and nothing was taken. */
int dmsg_strangers_take(struct dmsg_strangers *strangers, const struct dmsg_name *name,
    int64_t now_ms, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
