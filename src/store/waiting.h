/* What the stores that are databases know of waiting messages: what makes two of them the same, and
   what a budget is found by. */
#ifndef DANEMSG_STORE_WAITING_H
#define DANEMSG_STORE_WAITING_H

#include "base/fail.h"
#include "store/backend.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

struct dmsg_waiting_digest {
    uint8_t octets[32];
};

static inline int dmsg_waiting_digest(
    struct dmsg_waiting_digest *out, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    const struct dmsg_buffer *jws = &entry->message->jws;
    if (EVP_Digest(jws->data, jws->size, out->octets, NULL, EVP_sha256(), NULL) != 1)
        return dmsg_fail_openssl(error, "hashing a message that waits");
    return 0;
}

static inline struct dmsg_span dmsg_waiting_digest_span(const struct dmsg_waiting_digest *digest)
{
    return (struct dmsg_span){digest->octets, sizeof digest->octets};
}

/* One letter, and a name or zone. */
struct dmsg_budget_key {
    char text[DMSG_NAME_TEXT + 1];
};

static inline struct dmsg_budget_key dmsg_budget_key(
    enum dmsg_store_whose whose, const char *sender, const char *zone)
{
    static const char letters[] = {[DMSG_STORE_TRUSTED] = 'T',
        [DMSG_STORE_NAME] = 'n',
        [DMSG_STORE_STRANGERS] = 'S',
        [DMSG_STORE_ZONE] = 'z'};
    struct dmsg_budget_key key;
    snprintf(key.text, sizeof key.text, "%c%s", letters[whose],
        whose == DMSG_STORE_NAME   ? sender
        : whose == DMSG_STORE_ZONE ? zone
                                   : "");
    return key;
}

#endif
