/* What an opener keeps between messages. Belongs to one thread at a time. */
#ifndef DANEMSG_MESSAGE_OPENER_H
#define DANEMSG_MESSAGE_OPENER_H

#include "message/keyring.h"
#include "message/x5c.h"

/* Keys that one identity decrypts with: current, next and old, each perhaps of two kinds. */
#define OWN_KEYS_MAX 8

struct own_key {
    const struct dmsg_identity_key *identity_key;
    struct dmsg_jose_key *key;
    struct dmsg_jose *jose; /* of a key in hardware, whose context is another; else NULL */
};

struct dmsg_opener {
    const struct dmsg_context *context;
    const struct dmsg_identity *identity;
    const struct dmsg_policy *policy;
    struct dmsg_jose *jose;
    struct own_key own[OWN_KEYS_MAX];
    size_t own_count;
    struct dmsg_keyring senders;
    struct dmsg_x5c_cache x5c;
    struct dmsg_jose_header header; /* of the layer that is being read */
    struct dmsg_buffer scratch;     /* decoded parts: for the poc digest, of x5c */
};

#endif
