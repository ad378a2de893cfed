/* The program that makes the first corpora. */
#ifndef DANEMSG_FUZZ_SEEDS_H
#define DANEMSG_FUZZ_SEEDS_H

#include "parties.h"

/* Writes an input to FOLDER/TARGET/corpus/SHA1 and counts it. */
void seed_save(const char *target, struct dmsg_span input);

/* Real messages, and what they are made of: envelope, compact, flattened, json_header, base64url.
 */
void seed_messages(struct fuzz_parties *parties);

#endif
