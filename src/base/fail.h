/* Making errors. The text is made where the fault is seen. */
#ifndef DANEMSG_BASE_FAIL_H
#define DANEMSG_BASE_FAIL_H

#include "danemsg/error.h"

#include <stdbool.h>

/* Fills error (if not NULL) and returns code: `return dmsg_fail(error, DMSG_E_FORMAT, "...")`.
   Non-printable and non-ASCII bytes of the text become '?'. */
int dmsg_fail(struct dmsg_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Memory ran out; returns DMSG_E_INTERNAL. */
int dmsg_fail_memory(struct dmsg_error *error);

/* An OpenSSL call that cannot fail on a peer's data did: returns DMSG_E_INTERNAL, with the newest
   OpenSSL error's reason, and clears OpenSSL's error queue. */
int dmsg_fail_openssl(struct dmsg_error *error, const char *what);

/* Empties OpenSSL's error queue: was want of memory among its errors? Then nothing need be wrong
   with a peer's octets. */
bool dmsg_openssl_lacked_memory(void);

/* errno in words; returns code. */
int dmsg_fail_errno(struct dmsg_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the text of an error that is passed on; returns its code. */
int dmsg_fail_in(struct dmsg_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
