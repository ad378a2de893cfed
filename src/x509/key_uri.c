#include "x509/key_uri.h"

#include "base/fail.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

#define HANDLE "handle:"
#define PKCS11 "pkcs11:"

/* What ends an attribute: RFC 7512 section 2.3 has ';' in the path and '&' in the query; libraries
   take any. */
#define SEPARATORS ";?&"

/* A TPM's handles have 32 bits. */
#define HANDLE_DIGITS 8

bool dmsg_key_uri_is_one(const char *text)
{
    return strchr(text, ':') != NULL;
}

static bool has_scheme(const char *text, const char *scheme)
{
    return strncasecmp(text, scheme, strlen(scheme)) == 0;
}

static bool is_named(const char *attribute, size_t size, const char *name)
{
    size_t length = strlen(name);
    return size > length && attribute[length] == '=' && strncasecmp(attribute, name, length) == 0;
}

static bool is_one_of(const char *attribute, size_t size, const char *const *names)
{
    for (; *names != NULL; names++) {
        if (is_named(attribute, size, *names))
            return true;
    }
    return false;
}

/* Copies a pkcs11 URI without attributes of these names. What is left behind keeps its place, in
   the path or in the query. */
static void copy_without(char *out, const char *uri, const char *const *names)
{
    const char *from = uri + strlen(PKCS11);
    char separator = '\0';
    memcpy(out, uri, strlen(PKCS11));
    out += strlen(PKCS11);
    for (;;) {
        size_t size = strcspn(from, SEPARATORS);
        bool kept = !is_one_of(from, size, names);
        if (kept && separator != '\0')
            *out++ = separator;
        if (kept) {
            memcpy(out, from, size);
            out += size;
        }
        from += size;
        if (*from == '\0')
            break;
        /* The first of the path or of the query hands on what stood before it. */
        if (kept || *from == '?' || (separator != '\0' && separator != '?'))
            separator = *from;
        from++;
    }
    *out = '\0';
}

static int hexadecimal(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit = (char)(digit | 0x20);
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* RFC 3986 section 2.1. A NUL would end the text early. */
static bool decode(char *out, const char *from, size_t size)
{
    const char *end = from + size;
    while (from < end) {
        int octet = (unsigned char)*from++;
        if (octet == '%') {
            int high = end - from >= 2 ? hexadecimal(from[0]) : -1;
            int low = high >= 0 ? hexadecimal(from[1]) : -1;
            if (low < 0 || (octet = high * 16 + low) == 0)
                return false;
            from += 2;
        }
        *out++ = (char)octet;
    }
    *out = '\0';
    return true;
}

/* RFC 7512 section 2.3. What is none may be the rest of a PIN with a separator in it. */
static bool is_attribute(const char *text, size_t size)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    size_t name = strspn(text, others);
    return strspn(text, letters) > 0 && name < size && text[name] == '=';
}

/* Without either, libraries take the first key that they find. */
static const char *const object_names[] = {"object", "id", NULL};

static int read_attributes(struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    static const char name[] = "module-path";
    bool found = false;
    const char *from = uri->text + strlen(PKCS11);
    while (*from != '\0') {
        size_t size = strcspn(from, SEPARATORS);
        if (size > 0 && !is_attribute(from, size))
            return dmsg_fail(error, DMSG_E_LOCAL,
                "a pkcs11: URI consists of NAME=VALUE, and one part of this one does not: in a PIN "
                "';' is written %%3B, '?' %%3F, '&' %%26 and '%%' %%25");
        if (is_named(from, size, name) &&
            (!decode(uri->module, from + sizeof name, size - sizeof name) || uri->module[0] != '/'))
            return dmsg_fail(error, DMSG_E_LOCAL,
                "%s: its module-path is not a path from the root (RFC 7512 section 2.3)",
                uri->shown);
        found |= is_one_of(from, size, object_names);
        from += size;
        from += *from != '\0';
    }
    return found ? 0
                 : dmsg_fail(error, DMSG_E_LOCAL,
                       "%s does not say which key of the token it is: object=... or id=...",
                       uri->shown);
}

static int judge_pkcs11(struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    static const char *const secret[] = {"pin-value", NULL};
    static const char *const loader[] = {"module-path", "module-name", NULL};
    uri->kind = DMSG_KEY_URI_PKCS11;
    copy_without(uri->shown, uri->text, secret);
    copy_without(uri->object, uri->text, loader);
    return read_attributes(uri, error);
}

static int judge_handle(struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    const char *number = uri->text + strlen(HANDLE);
    size_t digits = 0;
    uri->kind = DMSG_KEY_URI_HANDLE;
    memcpy(uri->shown, uri->text, sizeof uri->shown);
    memcpy(uri->object, uri->text, sizeof uri->object);
    if (number[0] == '0' && (number[1] | 0x20) == 'x')
        digits = strspn(number + 2, "0123456789abcdefABCDEF");
    if (digits >= 1 && digits <= HANDLE_DIGITS && strcmp(number + 2 + digits, "?pass") == 0)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s: nobody is there to type the password of a TPM's key: make one without",
            uri->shown);
    if (digits < 1 || digits > HANDLE_DIGITS || number[2 + digits] != '\0')
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s is not the handle of a TPM's key, such as handle:0x81000001", uri->shown);
    return 0;
}

int dmsg_key_uri_parse(struct dmsg_key_uri *out, struct dmsg_span text, struct dmsg_error *error)
{
    *out = (struct dmsg_key_uri){0};
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= 0x20 || text.data[i] > 0x7e)
            return dmsg_fail(
                error, DMSG_E_LOCAL, "a key's URI is one line of printable ASCII without spaces");
    }
    if (text.size == 0 || text.size >= DMSG_KEY_URI_SIZE)
        return dmsg_fail(error, DMSG_E_LOCAL, "a key's URI has 1 to %d characters, not %zu",
            DMSG_KEY_URI_SIZE - 1, text.size);
    memcpy(out->text, text.data, text.size);
    int status;
    if (has_scheme(out->text, HANDLE))
        status = judge_handle(out, error);
    else if (has_scheme(out->text, PKCS11))
        status = judge_pkcs11(out, error);
    else /* whatever it is: it may hold a secret */
        status = dmsg_fail(error, DMSG_E_LOCAL,
            "a key's URI begins with handle: (a TPM's) or pkcs11: (RFC 7512), and this one does "
            "not");
    if (status < 0)
        dmsg_key_uri_done(out);
    return status;
}

void dmsg_key_uri_done(struct dmsg_key_uri *uri)
{
    OPENSSL_cleanse(uri, sizeof *uri);
}
