/*
 * The fetching process, from its parent's side: started with the first question, killed when it
 * hangs or talks nonsense, started again, and ended when nothing was asked for a while.
 */
#ifndef DANEMSG_DANE_FETCH_H
#define DANEMSG_DANE_FETCH_H

#include "dane/fetch_frame.h"

#include <sys/types.h>

struct dmsg_fetcher;

/* Called by dmsg_fetcher_step, once per fetch; fetched is borrowed for the call. */
typedef void dmsg_fetcher_done(void *user, const struct dmsg_fetched *fetched);

/* Borrows pins, which must live as long; copies the rest of config but its servers. */
int dmsg_fetcher_new(struct dmsg_fetcher **out, const struct dmsg_authority_config *config,
    const struct dmsg_pins *pins, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Ends the process. Nobody is called back. */
void dmsg_fetcher_free(struct dmsg_fetcher **fetcher);

/* As dmsg_resolver_fd and dmsg_resolver_step. */
int dmsg_fetcher_fd(const struct dmsg_fetcher *fetcher);
int dmsg_fetcher_step(struct dmsg_fetcher *fetcher, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The next step is due after so many milliseconds at the latest, whatever the fetcher itself wants:
   for whoever has deadlines of his own and the same descriptor. */
void dmsg_fetcher_hurry(struct dmsg_fetcher *fetcher, int64_t wait);

/* DMSG_E_QUOTA: DMSG_FETCHES_MAX are under way. Every accepted one is answered, if need be with
   DMSG_FETCH_NOT_NOW two seconds after its own time. */
int dmsg_fetcher_ask(struct dmsg_fetcher *fetcher, const struct dmsg_fetch *fetch,
    dmsg_fetcher_done *done, void *user, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The process itself, on descriptor 3. Does not return but for want of memory. */
int dmsg_fetch_main(void);

/* For tests: the process that fetches now, 0 while there is none; and milliseconds after which a
   fetch is given up and the process counts as one that hangs. */
pid_t dmsg_fetcher_process(const struct dmsg_fetcher *fetcher);
void dmsg_fetcher_set_patience(struct dmsg_fetcher *fetcher, int patience);

#endif
