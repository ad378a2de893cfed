/* The flattened JSON form (RFC 7515 section 7.2.2, RFC 7516 section 7.2.2), read by hand for speed:
   where all parts can be decoded, jansson sees the same object, and the other way round. */
#include "target.h"

#include "forms.h"

#include <string.h>
#ifdef FUZZ_JANSSON
#include <jansson.h>
#endif

unsigned long fuzz_accepted;

#ifdef FUZZ_JANSSON
static bool has_parts(json_t *root, const struct fuzz_object *object)
{
    if (json_object_size(root) != object->count)
        return false;
    for (size_t i = 0; i < object->count; i++) {
        const json_t *value = json_object_get(root, object->names[i]);
        if (!json_is_string(value) || json_string_length(value) != object->parts[i].size ||
            memcmp(json_string_value(value), object->parts[i].data, object->parts[i].size) != 0)
            return false;
    }
    return true;
}

static bool has_names(json_t *root, bool encrypted)
{
    static const char *const jws[] = {"protected", "payload", "signature"};
    static const char *const jwe[] = {"protected", "encrypted_key", "iv", "ciphertext", "tag"};
    size_t count = encrypted ? 5 : 3;
    if (!json_is_object(root) || json_object_size(root) != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!json_is_string(json_object_get(root, encrypted ? jwe[i] : jws[i])))
            return false;
    }
    return true;
}

/* object: NULL when it was refused. */
static void ask_jansson(struct dmsg_span input, const struct fuzz_object *object, bool encrypted)
{
    json_t *root = json_loadb((const char *)input.data, input.size, JSON_REJECT_DUPLICATES, NULL);
    if (object != NULL && fuzz_object_is_decodable(object))
        FUZZ_ASSERT(root != NULL && has_parts(root, object));
    /* We take no escapes, which no base64url has. */
    bool escapes = input.size > 0 && memchr(input.data, '\\', input.size) != NULL;
    if (root != NULL && !escapes)
        FUZZ_ASSERT(has_names(root, encrypted) == (object != NULL));
    json_decref(root);
}
#endif

static bool check(struct dmsg_span input, bool encrypted)
{
    struct fuzz_object object;
    bool accepted = fuzz_object_parse(&object, input, encrypted);
    if (fuzz_first_character(input) != '{')
        return false; /* the other target's */
    FUZZ_ASSERT(!accepted || object.form == DMSG_FORM_FLATTENED);
#ifdef FUZZ_JANSSON
    ask_jansson(input, accepted ? &object : NULL, encrypted);
#endif
    if (!accepted)
        return false;
    fuzz_object_check_again(&object, encrypted);
    return fuzz_object_is_decodable(&object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    bool jws = check(input, false), jwe = check(input, true);
    FUZZ_ASSERT(!jws || !jwe);
    fuzz_accepted += jws || jwe;
    return 0;
}
