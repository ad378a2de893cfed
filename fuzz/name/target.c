/* Names: exactly those that the grammar of doc/PROTOCOL.md has, in one canonical form; and
   patterns of them. */
#include "target.h"

#include "danemsg/name.h"

#include <string.h>

unsigned long fuzz_accepted;

static bool is_letter_digit(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* The grammar once more, label by label. */
static bool is_name(struct dmsg_span text)
{
    size_t labels = 0, at = 0;
    if (text.size > 0 && text.data[text.size - 1] == '.')
        text.size--;
    while (at <= text.size) {
        size_t start = at;
        while (at < text.size && text.data[at] != '.') {
            if (!is_letter_digit(text.data[at]))
                return false;
            at++;
        }
        if (at == start || at - start > 63)
            return false;
        labels++;
        at++;
    }
    return labels >= 2 && text.size <= 253;
}

static void check_canonical(const struct dmsg_name *name, struct dmsg_span text)
{
    struct dmsg_name again;
    FUZZ_ASSERT(strlen(name->text) == name->size);
    FUZZ_ASSERT(
        text.size == name->size || (text.size == name->size + 1u && text.data[name->size] == '.'));
    for (size_t i = 0; i < name->size; i++) {
        uint8_t c = text.data[i];
        FUZZ_ASSERT(name->text[i] == (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c));
    }
    FUZZ_ASSERT(dmsg_name_parse(&again, dmsg_span_text(name->text), NULL) == 0);
    FUZZ_ASSERT(dmsg_name_equal(&again, name));
}

/* A wildcard stands for one label or more, never for none. */
static void check_wildcard(const struct dmsg_name *name)
{
    char text[2 + DMSG_NAME_TEXT];
    struct dmsg_pattern exact, wildcard;
    struct dmsg_name below;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_pattern_parse(&exact, dmsg_span_text(name->text), &error) == 0);
    FUZZ_ASSERT(!exact.wildcard && dmsg_pattern_match(&exact, name));
    snprintf(text, sizeof text, "*.%s", name->text);
    FUZZ_ASSERT(dmsg_pattern_parse(&wildcard, dmsg_span_text(text), &error) == 0);
    FUZZ_ASSERT(wildcard.wildcard && !dmsg_pattern_match(&wildcard, name));
    text[0] = 'x';
    if (dmsg_name_parse(&below, dmsg_span_text(text), NULL) == 0)
        FUZZ_ASSERT(dmsg_pattern_match(&wildcard, &below) && !dmsg_pattern_match(&exact, &below));
    text[1] = 'y'; /* "xyNAME" ends with the name, but at no label */
    if (dmsg_name_parse(&below, dmsg_span_text(text), NULL) == 0)
        FUZZ_ASSERT(!dmsg_pattern_match(&wildcard, &below) && !dmsg_pattern_match(&exact, &below));
}

static void check_pattern(struct dmsg_span input)
{
    struct dmsg_pattern pattern;
    struct dmsg_error error;
    bool wildcard = input.size > 2 && input.data[0] == '*' && input.data[1] == '.';
    const struct dmsg_span rest =
        wildcard ? (struct dmsg_span){input.data + 2, input.size - 2} : input;
    int result = dmsg_pattern_parse(&pattern, input, &error);
    FUZZ_ASSERT((result == 0) == is_name(rest));
    if (result == 0)
        FUZZ_ASSERT(pattern.wildcard == wildcard);
    else
        FUZZ_ASSERT(result == DMSG_E_USAGE && fuzz_is_printable(error.text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    struct dmsg_name name;
    struct dmsg_error error;
    int result = dmsg_name_parse(&name, input, &error);
    FUZZ_ASSERT((result == 0) == is_name(input));
    if (result == 0) {
        fuzz_accepted++;
        check_canonical(&name, input);
        check_wildcard(&name);
    } else {
        FUZZ_ASSERT(result == DMSG_E_NAME && error.code == DMSG_E_NAME);
        FUZZ_ASSERT(fuzz_is_printable(error.text));
    }
    check_pattern(input);
    return 0;
}
