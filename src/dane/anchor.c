/* Trust anchors: DS and DNSKEY records in presentation form (RFC 1035 section 5.1, RFC 4034
   sections 2.2 and 5.3), one a line, or over several lines within parentheses. */
#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/frame.h"
#include "dane/setup.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The root's file has 2 KiB; a file for every zone of a large site still fits. */
#define FILE_MAX (64 * 1024)
/* Two or three keys a zone, during a rollover, for the zones of one site. */
#define ANCHORS_MAX 32

/* Owner, TTL, class, type, four fields; keys are often cut into lines of 56 or so characters. */
#define WORDS_MAX 64

/* What Debian's dns-root-data keeps up to date. */
#define ROOT_ANCHOR_FILE "/usr/share/dns/root.key"

/* KSK-2017 and KSK-2024 as IANA publishes them (data.iana.org/root-anchors). */
static const char *const root_anchors[] = {
    ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
    ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
};

struct entry {
    struct dmsg_span words[WORDS_MAX];
    size_t count;
    unsigned line; /* where it begins */
    bool too_many;
    bool unclosed;   /* parentheses that do not match */
    bool continued;  /* begins with a blank: the owner of the line before is meant */
    bool distrusted; /* RFC 5011 state of a file that unbound keeps: not (yet) an anchor */
};

struct scan {
    struct dmsg_span rest;
    unsigned line;
};

/* unbound writes the state of a key behind it, ";;state=2 [  VALID  ]". 2 is valid, 3 valid though
   missing; a key that is still on trial or revoked is no anchor (RFC 5011 section 2). */
static bool comment_distrusts(struct dmsg_span comment)
{
    static const char mark[] = ";;state=";
    const size_t size = sizeof mark - 1;
    const uint8_t *found = memmem(comment.data, comment.size, mark, size);
    if (found == NULL || (size_t)(found - comment.data) + size >= comment.size)
        return false;
    uint8_t state = found[size];
    return state != '2' && state != '3';
}

static size_t length_until(struct dmsg_span text, const char *ends)
{
    size_t i = 0;
    while (i < text.size && text.data[i] != '\0' && strchr(ends, text.data[i]) == NULL)
        i++;
    return i;
}

static void skip(struct scan *scan, size_t size)
{
    scan->rest.data += size;
    scan->rest.size -= size;
}

static void add_word(struct entry *entry, struct scan *scan)
{
    size_t size = length_until(scan->rest, " \t\r\n;()");
    if (size == 0)
        size = 1; /* a NUL: no grammar below takes it */
    if (entry->count == WORDS_MAX)
        entry->too_many = true;
    else
        entry->words[entry->count++] = (struct dmsg_span){scan->rest.data, size};
    skip(scan, size - 1); /* the caller steps over one */
}

/* The next line, or lines held together by parentheses, that has words. False at the end. */
static bool next_entry(struct entry *entry, struct scan *scan)
{
    int depth = 0;
    *entry = (struct entry){.line = scan->line};
    for (; scan->rest.size > 0; skip(scan, 1)) {
        const uint8_t c = scan->rest.data[0];
        const size_t comment = c == ';' ? length_until(scan->rest, "\n") : 0;
        if (c == '\n') {
            scan->line++;
            if (depth > 0)
                continue;
            if (entry->count > 0 || entry->unclosed) {
                skip(scan, 1);
                break;
            }
            *entry = (struct entry){.line = scan->line};
        } else if (comment > 0) {
            entry->distrusted |= comment_distrusts((struct dmsg_span){scan->rest.data, comment});
            skip(scan, comment - 1);
        } else if (c == '(' || c == ')') {
            depth += c == '(' ? 1 : -1;
            entry->unclosed |= depth < 0 || depth > 1;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            entry->continued |= entry->count == 0 && depth == 0 && c != '\r';
        } else {
            add_word(entry, scan);
        }
    }
    entry->unclosed |= depth != 0;
    return entry->count > 0 || entry->unclosed;
}

static bool number_of(struct dmsg_span word, unsigned most, unsigned *out)
{
    unsigned value = 0;
    if (word.size == 0 || word.size > 9)
        return false;
    for (size_t i = 0; i < word.size; i++) {
        if (!isdigit(word.data[i]))
            return false;
        value = value * 10 + (unsigned)(word.data[i] - '0');
    }
    *out = value;
    return value <= most;
}

static bool word_is(struct dmsg_span word, const char *text)
{
    return word.size == strlen(text) && strncasecmp((const char *)word.data, text, word.size) == 0;
}

/* The rest of the words, run together: white space inside keys and digests means nothing. */
static bool join(char out[static DMSG_SETUP_TEXT_MAX], const struct entry *entry, size_t from)
{
    size_t size = 0;
    for (size_t i = from; i < entry->count; i++) {
        if (entry->words[i].size >= DMSG_SETUP_TEXT_MAX - size)
            return false;
        memcpy(out + size, entry->words[i].data, entry->words[i].size);
        size += entry->words[i].size;
    }
    out[size] = '\0';
    return size > 0;
}

static const char *judge_ds(const unsigned fields[static 3], const char *digest)
{
    /* RFC 4034 appendix A.2, RFC 4509, RFC 6605. */
    size_t size = strlen(digest);
    size_t expected = fields[2] == 1 ? 40 : fields[2] == 2 ? 64 : fields[2] == 4 ? 96 : 0;
    if (expected == 0)
        return "its digest type is not 1, 2 or 4";
    if (size != expected || strspn(digest, "0123456789abcdefABCDEF") != size)
        return "its digest is not hexadecimal of the type's length";
    return NULL;
}

static const char *judge_dnskey(const unsigned fields[static 3], const char *key)
{
    struct dmsg_buffer octets = {0};
    int decoded = dmsg_base64_take(&octets, dmsg_span_text(key));
    size_t size = octets.size;
    dmsg_buffer_done(&octets);
    if ((fields[0] & 0x0100) == 0 || fields[1] != 3)
        return "it is no zone key: flags 256 or 257 and protocol 3 (RFC 4034 section 2.1)";
    if (decoded < 0 || size < 32)
        return "its key is not base64";
    return NULL;
}

#define FLAG_REVOKED 0x0080 /* RFC 5011 section 7 */

/* One record: [TTL] [class] type and its data, the owner already read. Appends it, or says why
   not. *used is false for a key that RFC 5011 says is no anchor. */
static const char *put_anchor(
    struct dmsg_buffer *body, const char *zone, const struct entry *entry, bool *used)
{
    char data[DMSG_SETUP_TEXT_MAX];
    char text[DMSG_SETUP_TEXT_MAX + DMSG_ZONE_TEXT + 64];
    unsigned fields[3], ttl;
    size_t at = 1;
    while (at < entry->count && at < 3 &&
           (word_is(entry->words[at], "IN") || number_of(entry->words[at], UINT32_MAX, &ttl)))
        at++;
    bool ds = at < entry->count && word_is(entry->words[at], "DS");
    bool dnskey = at < entry->count && word_is(entry->words[at], "DNSKEY");
    if (!ds && !dnskey)
        return "it is neither DS nor DNSKEY";
    if (entry->count < at + 5 || !number_of(entry->words[at + 1], UINT16_MAX, &fields[0]) ||
        !number_of(entry->words[at + 2], UINT8_MAX, &fields[1]) ||
        !number_of(entry->words[at + 3], UINT8_MAX, &fields[2]) || !join(data, entry, at + 4))
        return "three numbers and a key or digest should follow its type";
    const char *why = ds ? judge_ds(fields, data) : judge_dnskey(fields, data);
    if (why != NULL)
        return why;
    *used = !entry->distrusted && !(dnskey && (fields[0] & FLAG_REVOKED) != 0);
    int size = snprintf(text, sizeof text, "%s IN %s %u %u %u %s", zone, ds ? "DS" : "DNSKEY",
        fields[0], fields[1], fields[2], data);
    if (size > DMSG_SETUP_TEXT_MAX)
        return "it is too long";
    if (*used)
        dmsg_setup_put(body, DMSG_SETUP_ANCHOR, text);
    return NULL;
}

static const char *judge_entry(struct dmsg_buffer *body, const struct entry *entry, bool *used)
{
    char zone[DMSG_ZONE_TEXT];
    if (entry->too_many || entry->unclosed)
        return "its parentheses do not match, or it has too many words";
    if (entry->words[0].data[0] == '$')
        return word_is(entry->words[0], "$TTL") ? NULL : "only $TTL is understood of directives";
    if (entry->continued || dmsg_zone_parse(zone, entry->words[0], NULL) < 0)
        return "it does not begin with the name of a zone";
    return put_anchor(body, zone, entry, used);
}

static int put_text(
    struct dmsg_buffer *body, struct dmsg_span text, const char *path, struct dmsg_error *error)
{
    struct scan scan = {.rest = text, .line = 1};
    struct entry entry;
    size_t count = 0;
    while (next_entry(&entry, &scan)) {
        bool used = false;
        const char *why = judge_entry(body, &entry, &used);
        if (why != NULL)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "the trust anchor file %s, line %u: %s. Write DS or DNSKEY records, such as "
                "\". IN DS 20326 8 2 E06D...\"",
                path, entry.line, why);
        count += used;
        if (count > ANCHORS_MAX || body->failed)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "the trust anchor file %s has more than %d anchors, or too long ones", path,
                ANCHORS_MAX);
    }
    if (count == 0)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "the trust anchor file %s has no DS or DNSKEY record", path);
    return 0;
}

static int read_file(struct dmsg_buffer *out, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_file) FILE *file = fopen(path, "re");
    if (file == NULL)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading the trust anchor file %s", path);
    uint8_t *to = dmsg_buffer_reserve(out, FILE_MAX + 1);
    if (to == NULL)
        return dmsg_fail_memory(error);
    errno = 0;
    out->size = fread(to, 1, FILE_MAX + 1, file);
    if (ferror(file))
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading the trust anchor file %s", path);
    if (out->size > FILE_MAX)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "the trust anchor file %s is over %d KiB", path, FILE_MAX / 1024);
    return 0;
}

static int put_file(struct dmsg_buffer *body, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    size_t before = body->size;
    int result = read_file(&text, path, error);
    if (result == 0)
        result = put_text(body, dmsg_buffer_span(&text), path, error);
    if (result < 0)
        body->size = before;
    return result;
}

int dmsg_setup_put_anchors(struct dmsg_buffer *body, const char *path, struct dmsg_error *error)
{
    if (path != NULL)
        return put_file(body, path, error);
    if (put_file(body, ROOT_ANCHOR_FILE, NULL) == 0)
        return 0;
    for (size_t i = 0; i < sizeof root_anchors / sizeof root_anchors[0]; i++)
        dmsg_setup_put(body, DMSG_SETUP_ANCHOR, root_anchors[i]);
    return 0;
}
