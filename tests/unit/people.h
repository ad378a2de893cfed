/* People for tests: identities with keys in memory, and their peers as DNS would show them. */
#ifndef DANEMSG_TEST_PEOPLE_H
#define DANEMSG_TEST_PEOPLE_H

#include "danemsg/context.h"
#include "danemsg/identity.h"
#include "danemsg/resolver.h"
#include "x509/create.h"

struct person {
    struct dmsg_name name;
    struct dmsg_identity *identity;
    struct dmsg_material material;
    const struct dmsg_peer *peer;
};

/* Makes a person with keys of a type and a peer with its `3 0 0` records. Exits on failure: a test
   without people is none. */
struct person person_new(
    const struct dmsg_context *context, const char *name, enum dmsg_key_type type);

/* The same name with other keys: an impostor, or a rollover. */
void person_done(struct person *person);

/* A peer of a name with any records (rdata), as a secure answer gives it. */
const struct dmsg_peer *peer_of(const struct dmsg_context *context, const char *name,
    const struct dmsg_span *records, size_t count);

/* An answer without records and of another status. */
const struct dmsg_peer *peer_without(
    const struct dmsg_context *context, const char *name, enum dmsg_dns_status status);

#endif
