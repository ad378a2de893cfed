/* The two forms that a JWS or JWE is written in: compact, and flattened JSON. */
#ifndef DANEMSG_JOSE_FORM_H
#define DANEMSG_JOSE_FORM_H

#include "jose/jose.h"

/* A part: its member in the flattened form, and where its text goes. */
struct dmsg_form_part {
    const char *name;
    struct dmsg_span *text;
};

/* Most parts: those of a JWE. */
#define DMSG_FORM_PARTS_MAX 5

/*
 * Splits text into exactly these parts, in the compact form in this order, and says which form it
 * was. Parts are not decoded. what is "JWE" or "JWS", for the error's text. DMSG_E_FORMAT.
 */
int dmsg_form_split(enum dmsg_jose_form *form, const struct dmsg_form_part *parts, size_t count,
    struct dmsg_span text, const char *what, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Octets of the texts that stand around the parts. */
size_t dmsg_form_frame_size(const char *const *around, size_t count);

#endif
