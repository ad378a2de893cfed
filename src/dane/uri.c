#include "dane/uri.h"

#include "base/fail.h"

#include <string.h>

#define SCHEME "dns:"
#define AUTHORITY "//"
#define QUERY "?type=TLSA"

static bool starts_with(struct dmsg_span text, const char *prefix)
{
    size_t size = strlen(prefix);
    return text.size >= size && memcmp(text.data, prefix, size) == 0;
}

static bool ends_with(struct dmsg_span text, const char *suffix)
{
    size_t size = strlen(suffix);
    return text.size >= size && memcmp(text.data + text.size - size, suffix, size) == 0;
}

/* One spelling each: RFC 4501 would also allow other cases, more query parts and escapes, which
   would only give one name many texts. What is left between the ends must be a name, and a name
   holds no '/', ':', '?', ';', '%', '@' or '#'. */
int dmsg_uri_parse(struct dmsg_name *out, struct dmsg_span uri, struct dmsg_error *error)
{
    struct dmsg_error why;
    if (!starts_with(uri, SCHEME))
        return dmsg_fail(error, DMSG_E_NAME, "a URI that does not begin with 'dns:' (RFC 4501)");
    uri.data += strlen(SCHEME);
    uri.size -= strlen(SCHEME);
    if (!ends_with(uri, QUERY))
        return dmsg_fail(error, DMSG_E_NAME, "a dns: URI that does not end with '?type=TLSA'");
    uri.size -= strlen(QUERY);
    if (starts_with(uri, AUTHORITY)) {
        uri.data += strlen(AUTHORITY);
        uri.size -= strlen(AUTHORITY);
    }
    if (memchr(uri.data, '/', uri.size) != NULL)
        return dmsg_fail(error, DMSG_E_NAME,
            "a dns: URI with an authority; a sender does not choose our resolver");
    if (dmsg_name_parse(out, uri, &why) < 0)
        return dmsg_fail(error, why.code, "a dns: URI that has %s", why.text);
    return 0;
}

void dmsg_uri_put(struct dmsg_buffer *out, const struct dmsg_name *name, enum dmsg_uri_form form)
{
    dmsg_buffer_put_text(out, SCHEME);
    if (form == DMSG_URI_POC)
        dmsg_buffer_put_text(out, AUTHORITY);
    dmsg_buffer_put(out, name->text, name->size);
    dmsg_buffer_put_text(out, QUERY);
}
