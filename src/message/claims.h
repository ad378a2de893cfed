/* Steps 4 and 6: which format an inner header speaks, and what it claims (doc/PROTOCOL.md). */
#ifndef DANEMSG_MESSAGE_CLAIMS_H
#define DANEMSG_MESSAGE_CLAIMS_H

#include "danemsg/message.h"
#include "jose/jose.h"

/* v1 or poc; checks what the format requires to be there and how it must look, and copies id, kid,
   times and content type into message. DMSG_E_FORMAT. */
int dmsg_claims_read(struct dmsg_message *message, const struct dmsg_jose_header *header,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* v1: aud, topic, times; copies aud into message. DMSG_E_AUDIENCE, DMSG_E_TIME. recipient NULL:
   aud and topic are not compared. topic: an empty span is not compared. */
int dmsg_claims_judge(struct dmsg_message *message, const struct dmsg_jose_header *header,
    const struct dmsg_name *recipient, struct dmsg_span topic, const struct dmsg_context *context,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
