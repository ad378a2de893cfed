/* What only RSA has: its blinding, which lasts from message to message, and a TPM's exponent. */
#ifndef DANEMSG_TEST_FAILURES_RSA_H
#define DANEMSG_TEST_FAILURES_RSA_H

#include "danemsg/context.h"
#include "jose/jose.h"

/* Each allocation fails while the blinding of a key is made anew, and then no result may be wrong,
   neither this one nor those after it. How many there were, or -1 and what is wrong in fault. */
long rsa_fail_blinding(const struct dmsg_context *context, EVP_PKEY *key, enum dmsg_jose_use use,
    char *fault, size_t size);

/* A TPM says 0 where it means 65537, so that such a key is looked at a second time; here it stays
   refused, whatever fails. How many points there were, or -1 and what is wrong in fault. */
long rsa_fail_exponent(const struct dmsg_context *context, EVP_PKEY *key, char *fault, size_t size);

#endif
