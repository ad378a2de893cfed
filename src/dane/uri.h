/* dns: URIs (RFC 4501) as x5u has them: dns:NAME?type=TLSA, and the proof of concept's
   dns://NAME?type=TLSA, where the name stands in the authority's place. */
#ifndef DANEMSG_DANE_URI_H
#define DANEMSG_DANE_URI_H

#include "danemsg/name.h"

enum dmsg_uri_form { DMSG_URI_V1, DMSG_URI_POC };

/* DMSG_E_NAME: an authority, port, class, escape, fragment, another type, or no good name. */
int dmsg_uri_parse(
    struct dmsg_name *out, struct dmsg_span uri, struct dmsg_error *error) DMSG_MUST_CHECK;

void dmsg_uri_put(struct dmsg_buffer *out, const struct dmsg_name *name, enum dmsg_uri_form form);

#endif
