#include "x509/der.h"

/* The deepest value of a certificate outside of extensions is at 6 (an attribute's value in a
   name); OCTET STRINGs are not looked into. */
#define DEPTH_MAX 12

/* Lengths of up to 2^24 - 1, far over every limit of ours. */
#define LENGTH_OCTETS_MAX 3

#define CONSTRUCTED 0x20
#define HIGH_TAG_NUMBER 0x1f

static void fail(struct dmsg_der *der)
{
    der->failed = true;
    der->rest = (struct dmsg_span){0};
}

/* Octets of tag and length, and the length; 0 when there is no header as DER wants it. */
static size_t read_header(struct dmsg_span in, size_t *length)
{
    if (in.size < 2 || in.data[0] == 0 || (in.data[0] & HIGH_TAG_NUMBER) == HIGH_TAG_NUMBER)
        return 0;
    uint8_t first = in.data[1];
    if (first < 0x80) {
        *length = first;
        return 2;
    }
    size_t octets = first & 0x7fu;
    if (octets == 0 || octets > LENGTH_OCTETS_MAX || in.size < 2 + octets || in.data[2] == 0)
        return 0;
    size_t value = 0;
    for (size_t i = 0; i < octets; i++)
        value = value << 8 | in.data[2 + i];
    if (value < 0x80)
        return 0;
    *length = value;
    return 2 + octets;
}

void dmsg_der_take(
    struct dmsg_der *der, uint8_t tag, struct dmsg_span *whole, struct dmsg_span *content)
{
    size_t length = 0;
    size_t header = der->failed ? 0 : read_header(der->rest, &length);
    if (header == 0 || length > der->rest.size - header ||
        (tag != DMSG_DER_ANY && der->rest.data[0] != tag)) {
        fail(der);
        header = length = 0;
    }
    if (whole != NULL)
        *whole = (struct dmsg_span){der->rest.data, header + length};
    if (content != NULL)
        *content = (struct dmsg_span){header != 0 ? der->rest.data + header : NULL, length};
    if (header != 0)
        der->rest =
            (struct dmsg_span){der->rest.data + header + length, der->rest.size - header - length};
}

void dmsg_der_enter(struct dmsg_der *der, uint8_t tag, struct dmsg_der *inner)
{
    *inner = (struct dmsg_der){0};
    dmsg_der_take(der, tag, NULL, &inner->rest);
    inner->failed = der->failed;
}

void dmsg_der_skip_optional(struct dmsg_der *der, uint8_t tag)
{
    if (der->rest.size > 0 && der->rest.data[0] == tag)
        dmsg_der_take(der, tag, NULL, NULL);
}

static bool well_formed(struct dmsg_span values, int depth)
{
    struct dmsg_der der = {.rest = values};
    while (der.rest.size > 0) {
        bool constructed = (der.rest.data[0] & CONSTRUCTED) != 0;
        struct dmsg_span content;
        dmsg_der_take(&der, DMSG_DER_ANY, NULL, &content);
        if (der.failed)
            return false;
        if (constructed && (depth == DEPTH_MAX || !well_formed(content, depth + 1)))
            return false;
    }
    return true;
}

bool dmsg_der_well_formed(struct dmsg_span bytes)
{
    struct dmsg_der der = {.rest = bytes};
    dmsg_der_take(&der, DMSG_DER_ANY, NULL, NULL);
    return !der.failed && der.rest.size == 0 && well_formed(bytes, 0);
}
