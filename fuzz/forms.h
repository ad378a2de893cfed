/* What the targets of the compact and of the flattened form share. */
#ifndef DANEMSG_FUZZ_FORMS_H
#define DANEMSG_FUZZ_FORMS_H

#include "jose/jose.h"

#define FUZZ_PARTS_MAX 5

/* A JWS or JWE taken apart, its parts in the order of the compact form. */
struct fuzz_object {
    const char *const *names;
    struct dmsg_span parts[FUZZ_PARTS_MAX];
    size_t count;
    enum dmsg_jose_form form;
};

/* Parses text as a JWE or a JWS; the error's code and text are judged here. */
bool fuzz_object_parse(struct fuzz_object *out, struct dmsg_span text, bool encrypted);

bool fuzz_object_equal(const struct fuzz_object *a, const struct fuzz_object *b);

/* True when every part is base64url without a fault. */
bool fuzz_object_is_decodable(const struct fuzz_object *object);

/* Writes the parts in a form. */
void fuzz_object_put(
    struct dmsg_buffer *out, const struct fuzz_object *object, enum dmsg_jose_form form);

/* The first character that is not white space, -1 for none: '{' begins the flattened form. */
int fuzz_first_character(struct dmsg_span text);

/* Written in either form, an object whose parts can be decoded is read as the same one again, and
   its payload too. */
void fuzz_object_check_again(const struct fuzz_object *object, bool encrypted);

#endif
