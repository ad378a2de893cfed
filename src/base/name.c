#include "danemsg/name.h"

#include "base/fail.h"

#include <string.h>

#define LABEL_MAX 63

/* The canonical form of one character, 0 if it has no place in a name. */
static char canonical(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_')
        return (char)c;
    return 0;
}

int dmsg_name_parse(struct dmsg_name *out, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_name name = {0};
    size_t label = 0;
    size_t dots = 0;

    if (text.size > 0 && text.data[text.size - 1] == '.')
        text.size--;
    if (text.size == 0)
        return dmsg_fail(error, DMSG_E_NAME, "an empty name");
    if (text.size >= DMSG_NAME_TEXT)
        return dmsg_fail(
            error, DMSG_E_NAME, "a name of %zu characters; RFC 1035 allows 253", text.size);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.') {
            if (label == 0)
                return dmsg_fail(error, DMSG_E_NAME, "a name with an empty label");
            label = 0;
            dots++;
            name.text[i] = '.';
            continue;
        }
        name.text[i] = canonical(text.data[i]);
        if (name.text[i] == 0)
            return dmsg_fail(error, DMSG_E_NAME,
                "a name with the octet 0x%02x; letters, digits, '-', '_' and dots make a name "
                "(write an internationalised one as its A-label)",
                text.data[i]);
        if (++label > LABEL_MAX)
            return dmsg_fail(error, DMSG_E_NAME, "a name with a label over 63 octets");
    }
    if (label == 0)
        return dmsg_fail(error, DMSG_E_NAME, "a name with an empty label");
    if (dots == 0)
        return dmsg_fail(error, DMSG_E_NAME, "a name of one label; an identity has at least two");
    name.size = (uint8_t)text.size;
    *out = name;
    return 0;
}

bool dmsg_name_equal(const struct dmsg_name *a, const struct dmsg_name *b)
{
    return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

struct dmsg_span dmsg_name_zone(const struct dmsg_name *name)
{
    size_t dots = 0;
    size_t start = name->size;
    while (start > 0 && !(name->text[start - 1] == '.' && ++dots == 2))
        start--;
    return (struct dmsg_span){(const uint8_t *)name->text + start, name->size - start};
}

int dmsg_pattern_parse(struct dmsg_pattern *out, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_pattern pattern = {0};
    struct dmsg_error why;
    if (text.size > 2 && text.data[0] == '*' && text.data[1] == '.') {
        pattern.wildcard = true;
        text.data += 2;
        text.size -= 2;
    }
    if (dmsg_name_parse(&pattern.name, text, &why) < 0)
        return dmsg_fail(
            error, DMSG_E_USAGE, "a pattern is a name or '*.' and a name; this has %s", why.text);
    *out = pattern;
    return 0;
}

bool dmsg_pattern_match(const struct dmsg_pattern *pattern, const struct dmsg_name *name)
{
    const struct dmsg_name *zone = &pattern->name;
    if (!pattern->wildcard)
        return dmsg_name_equal(zone, name);
    if (name->size < zone->size + 2)
        return false;
    const char *rest = name->text + name->size - zone->size;
    return rest[-1] == '.' && memcmp(rest, zone->text, zone->size) == 0;
}
