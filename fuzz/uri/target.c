/* dns: URIs: a name between two fixed ends and nothing else, and back to the same text. */
#include "target.h"

#include "dane/uri.h"

#include <string.h>

unsigned long fuzz_accepted;

static bool cut(struct dmsg_span *text, const char *prefix)
{
    size_t size = strlen(prefix);
    if (text->size < size || memcmp(text->data, prefix, size) != 0)
        return false;
    *text = (struct dmsg_span){text->data + size, text->size - size};
    return true;
}

static bool cut_end(struct dmsg_span *text, const char *suffix)
{
    size_t size = strlen(suffix);
    if (text->size < size || memcmp(text->data + text->size - size, suffix, size) != 0)
        return false;
    text->size -= size;
    return true;
}

static void check_form(
    const struct dmsg_name *name, enum dmsg_uri_form form, struct dmsg_buffer *text)
{
    struct dmsg_name again;
    struct dmsg_error error;
    dmsg_uri_put(text, name, form);
    FUZZ_ASSERT(!text->failed);
    FUZZ_ASSERT(dmsg_uri_parse(&again, dmsg_buffer_span(text), &error) == 0);
    FUZZ_ASSERT(dmsg_name_equal(&again, name));
}

/* Capitals and one dot at the name's end are all that may differ from what we would write. */
static void check_text(const struct dmsg_name *name, bool poc, struct dmsg_span input)
{
    struct dmsg_buffer text = {0}, other = {0};
    check_form(name, poc ? DMSG_URI_POC : DMSG_URI_V1, &text);
    check_form(name, poc ? DMSG_URI_V1 : DMSG_URI_POC, &other);
    FUZZ_ASSERT(!dmsg_span_equal(dmsg_buffer_span(&text), dmsg_buffer_span(&other)));
    FUZZ_ASSERT(input.size == text.size || input.size == text.size + 1);
    dmsg_buffer_done(&text);
    dmsg_buffer_done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    struct dmsg_span middle = input;
    struct dmsg_name name, expected;
    struct dmsg_error error;
    bool framed = cut(&middle, "dns:") && cut_end(&middle, "?type=TLSA");
    bool poc = framed && cut(&middle, "//");
    bool good = framed && dmsg_name_parse(&expected, middle, NULL) == 0;
    int result = dmsg_uri_parse(&name, input, &error);
    FUZZ_ASSERT((result == 0) == good);
    if (result == 0) {
        fuzz_accepted++;
        FUZZ_ASSERT(dmsg_name_equal(&name, &expected));
        check_text(&name, poc, input);
    } else {
        FUZZ_ASSERT(result == DMSG_E_NAME && fuzz_is_printable(error.text));
    }
    return 0;
}
