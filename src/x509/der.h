/*
 * DER (X.690): a cursor over values, with a sticky error that is looked at once, at the end.
 *
 *     struct dmsg_der outer = {.rest = bytes}, inner;
 *     dmsg_der_enter(&outer, DMSG_DER_SEQUENCE, &inner);
 *     dmsg_der_take(&inner, DMSG_DER_INTEGER, &whole, NULL);
 *     if (outer.failed || inner.failed)
 *         ...
 *
 * It knows where values start and end, not what they mean: that is OpenSSL's work, which is more
 * lenient than DER allows in what it takes as a length.
 */
#ifndef DANEMSG_X509_DER_H
#define DANEMSG_X509_DER_H

#include "danemsg/span.h"

enum dmsg_der_tag {
    DMSG_DER_ANY = 0, /* end-of-contents, which DER does not have: free to mean "any tag" */
    DMSG_DER_INTEGER = 0x02,
    DMSG_DER_BIT_STRING = 0x03,
    DMSG_DER_SEQUENCE = 0x30,
    DMSG_DER_CONTEXT_0 = 0xa0,
};

struct dmsg_der {
    struct dmsg_span rest;
    bool failed;
};

/* Moves over the next value, whose tag must be `tag`; *whole (if not NULL) gets the value with
   its tag and length, *content what is in it. Both are empty once failed. */
void dmsg_der_take(
    struct dmsg_der *der, uint8_t tag, struct dmsg_span *whole, struct dmsg_span *content);

/* As take, and a cursor over the content. */
void dmsg_der_enter(struct dmsg_der *der, uint8_t tag, struct dmsg_der *inner);

/* Moves over the next value if it has this tag. */
void dmsg_der_skip_optional(struct dmsg_der *der, uint8_t tag);

/* Exactly one value, every length in it definite and in its shortest form (X.690 section 10.1),
   every constructed value holding whole values, nested no deeper than a certificate needs. */
bool dmsg_der_well_formed(struct dmsg_span bytes);

#endif
