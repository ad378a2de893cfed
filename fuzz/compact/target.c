/* The compact form: parts between dots and nothing else (RFC 7515 section 3.1, RFC 7516 section
   3.1). */
#include "target.h"

#include "forms.h"

unsigned long fuzz_accepted;

static size_t count_dots(struct dmsg_span text)
{
    size_t dots = 0;
    for (size_t i = 0; i < text.size; i++)
        dots += text.data[i] == '.';
    return dots;
}

static bool check(struct dmsg_span input, bool encrypted)
{
    struct fuzz_object object;
    bool flattened = fuzz_first_character(input) == '{';
    bool accepted = fuzz_object_parse(&object, input, encrypted);
    if (flattened)
        return false; /* the other target's */
    FUZZ_ASSERT(accepted == (count_dots(input) == (encrypted ? 4 : 2)));
    if (!accepted)
        return false;
    struct dmsg_buffer text = {0};
    fuzz_object_put(&text, &object, DMSG_FORM_COMPACT);
    FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&text), input));
    dmsg_buffer_done(&text);
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
