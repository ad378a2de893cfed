#include "dane/publish_tsig.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

/* RFC 1035 section 4.1.1 and 3.1 */
#define HEADER_SIZE 12
#define WIRE_NAME_MAX 255
/* Names may be made of pointers (section 4.1.4); each must go back, and no name has more labels. */
#define POINTERS_MAX 127

#define TYPE_TSIG 250
#define CLASS_ANY 255
/* Seconds that clocks may differ (RFC 8945 section 10). */
#define FUDGE 300

struct dmsg_tsig_algorithm {
    const char *name;
    const char *digest;
};

static const struct dmsg_tsig_algorithm algorithms[] = {
    {"hmac-sha256", "SHA256"}, {"hmac-sha384", "SHA384"}, {"hmac-sha512", "SHA512"}};

const char *dmsg_tsig_algorithm_name(const struct dmsg_tsig_algorithm *algorithm)
{
    return algorithm->name;
}

const struct dmsg_tsig_algorithm *dmsg_tsig_algorithm_find(struct dmsg_span name)
{
    if (name.size > 0 && name.data[name.size - 1] == '.')
        name.size--;
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        size_t size = strlen(algorithms[i].name);
        if (name.size == size &&
            strncasecmp(algorithms[i].name, (const char *)name.data, size) == 0)
            return &algorithms[i];
    }
    return NULL;
}

static void put16(struct dmsg_buffer *out, unsigned value)
{
    dmsg_buffer_put_byte(out, (uint8_t)(value >> 8));
    dmsg_buffer_put_byte(out, (uint8_t)value);
}

static void put48(struct dmsg_buffer *out, int64_t value)
{
    put16(out, (unsigned)(value >> 32) & 0xffff);
    put16(out, (unsigned)(value >> 16) & 0xffff);
    put16(out, (unsigned)value & 0xffff);
}

/* A canonical name, uncompressed. */
static void put_name(struct dmsg_buffer *out, const char *name)
{
    while (*name != '\0') {
        size_t size = strcspn(name, ".");
        dmsg_buffer_put_byte(out, (uint8_t)size);
        dmsg_buffer_put(out, name, size);
        name += size + (name[size] == '.');
    }
    dmsg_buffer_put_byte(out, 0);
}

/* What a TSIG record says beside its signature. */
struct fields {
    int64_t time;
    unsigned fudge, original_id, error;
    struct dmsg_span mac, other;
};

/* RFC 8945 section 4.3: the request's MAC, the message without TSIG, the variables. */
static int make_mac(struct dmsg_tsig_mac *out, const struct dmsg_tsig_key *key,
    const struct dmsg_tsig_mac *request, struct dmsg_span message, const struct fields *fields,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    if (request != NULL) {
        put16(&text, (unsigned)request->size);
        dmsg_buffer_put(&text, request->octets, request->size);
    }
    dmsg_buffer_put_span(&text, message);
    put_name(&text, key->name);
    put16(&text, CLASS_ANY);
    put16(&text, 0); /* TTL */
    put16(&text, 0);
    put_name(&text, key->algorithm->name);
    put48(&text, fields->time);
    put16(&text, fields->fudge);
    put16(&text, fields->error);
    put16(&text, (unsigned)fields->other.size);
    dmsg_buffer_put_span(&text, fields->other);
    if (text.failed)
        return dmsg_fail_memory(error);
    if (EVP_Q_mac(NULL, "HMAC", NULL, key->algorithm->digest, NULL, key->secret, key->secret_size,
            text.data, text.size, out->octets, sizeof out->octets, &out->size) == NULL)
        return dmsg_fail_openssl(error, "computing an HMAC");
    return 0;
}

static unsigned get16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

int dmsg_tsig_sign(struct dmsg_buffer *message, const struct dmsg_tsig_key *key, int64_t now,
    struct dmsg_tsig_mac *mac, struct dmsg_error *error)
{
    struct fields fields = {.time = now, .fudge = FUDGE};
    if (message->size < HEADER_SIZE)
        return dmsg_fail(error, DMSG_E_INTERNAL, "a DNS message of %zu octets", message->size);
    fields.original_id = get16(message->data);
    int result = make_mac(mac, key, NULL, dmsg_buffer_span(message), &fields, error);
    if (result < 0)
        return result;
    put_name(message, key->name);
    put16(message, TYPE_TSIG);
    put16(message, CLASS_ANY);
    put16(message, 0); /* TTL */
    put16(message, 0);
    /* Name, time, fudge, MAC with its size, original ID, error, size of nothing. */
    put16(
        message, (unsigned)(strlen(key->algorithm->name) + 2 + 6 + 2 + 2 + mac->size + 2 + 2 + 2));
    put_name(message, key->algorithm->name);
    put48(message, fields.time);
    put16(message, fields.fudge);
    put16(message, (unsigned)mac->size);
    dmsg_buffer_put(message, mac->octets, mac->size);
    put16(message, fields.original_id);
    put16(message, 0); /* error */
    put16(message, 0); /* other data */
    if (message->failed)
        return dmsg_fail(error, DMSG_E_INTERNAL, "no room to sign a DNS message");
    unsigned additional = get16(message->data + 10) + 1;
    message->data[10] = (uint8_t)(additional >> 8);
    message->data[11] = (uint8_t)additional;
    return 0;
}

/* ----------------------------------------------------------------------------------- verifying */

/* A place in a message; failed is sticky. */
struct cursor {
    struct dmsg_span message;
    size_t at;
    bool failed;
};

static const uint8_t *take(struct cursor *cursor, size_t size)
{
    if (cursor->failed || cursor->message.size - cursor->at < size) {
        cursor->failed = true;
        return NULL;
    }
    const uint8_t *from = cursor->message.data + cursor->at;
    cursor->at += size;
    return from;
}

static unsigned take16(struct cursor *cursor)
{
    const uint8_t *from = take(cursor, 2);
    return from != NULL ? get16(from) : 0;
}

/* Appends the wire form of a name in lower case, and leaves the cursor behind it. */
static void take_name(struct cursor *cursor, struct dmsg_buffer *out)
{
    struct cursor reader = *cursor;
    bool jumped = false;
    for (int pointers = 0; pointers <= POINTERS_MAX;) {
        const uint8_t *length = take(&reader, 1);
        if (length == NULL)
            break;
        if (*length >= 0xc0) {
            unsigned to = (*length & 0x3fu) << 8;
            const uint8_t *low = take(&reader, 1);
            if (low == NULL || (to | *low) >= reader.at - 2)
                break;
            if (!jumped)
                cursor->at = reader.at;
            jumped = true;
            reader.at = to | *low;
            pointers++;
            continue;
        }
        const uint8_t *label = *length < 64 ? take(&reader, *length) : NULL;
        if (label == NULL)
            break;
        dmsg_buffer_put_byte(out, *length);
        for (size_t i = 0; i < *length; i++)
            dmsg_buffer_put_byte(out, (uint8_t)tolower(label[i]));
        if (out->failed)
            break;
        if (*length == 0) {
            if (!jumped)
                cursor->at = reader.at;
            return;
        }
    }
    cursor->failed = true;
}

/* Is the next name this one? */
static bool take_this_name(struct cursor *cursor, const char *name)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer found = {.limit = WIRE_NAME_MAX};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer wanted = {0};
    take_name(cursor, &found);
    put_name(&wanted, name);
    return !cursor->failed && !wanted.failed &&
           dmsg_span_equal(dmsg_buffer_span(&found), dmsg_buffer_span(&wanted));
}

static void skip_name(struct cursor *cursor)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer unused = {.limit = WIRE_NAME_MAX};
    take_name(cursor, &unused);
}

static void skip_record(struct cursor *cursor)
{
    skip_name(cursor);
    (void)take(cursor, 8); /* type, class, TTL */
    (void)take(cursor, take16(cursor));
}

/* Leaves the cursor at the last record of a message, if its additional section has one. */
static bool find_last(struct cursor *cursor)
{
    const uint8_t *header = take(cursor, HEADER_SIZE);
    if (header == NULL || get16(header + 10) == 0)
        return false;
    unsigned records = get16(header + 6) + get16(header + 8) + get16(header + 10);
    for (unsigned i = 0; i < get16(header + 4) && !cursor->failed; i++) {
        skip_name(cursor);
        (void)take(cursor, 4); /* type, class */
    }
    for (unsigned i = 1; i < records && !cursor->failed; i++)
        skip_record(cursor);
    return !cursor->failed;
}

static void take_fields(struct cursor *cursor, struct fields *out)
{
    out->time = (int64_t)take16(cursor) << 32;
    out->time |= (int64_t)take16(cursor) << 16;
    out->time |= take16(cursor);
    out->fudge = take16(cursor);
    out->mac.size = take16(cursor);
    out->mac.data = take(cursor, out->mac.size);
    out->original_id = take16(cursor);
    out->error = take16(cursor);
    out->other.size = take16(cursor);
    out->other.data = take(cursor, out->other.size);
    cursor->failed |= cursor->at != cursor->message.size;
}

/* Reads the record at the cursor, the last of its message. *ours: by our key and algorithm. */
static bool take_tsig(
    struct cursor *cursor, const struct dmsg_tsig_key *key, bool *ours, struct fields *out)
{
    *ours = take_this_name(cursor, key->name);
    if (take16(cursor) != TYPE_TSIG)
        return false;
    bool is_plain = take16(cursor) == CLASS_ANY;
    (void)take(cursor, 4); /* TTL */
    size_t length = take16(cursor);
    cursor->failed |= length != cursor->message.size - cursor->at;
    *ours = take_this_name(cursor, key->algorithm->name) && *ours && is_plain;
    take_fields(cursor, out);
    return !cursor->failed;
}

/* The message as it was before it was signed: original ID, one additional record fewer. */
static int unsign(struct dmsg_buffer *out, struct dmsg_span message, size_t size,
    const struct fields *fields, struct dmsg_error *error)
{
    dmsg_buffer_put(out, message.data, size);
    if (out->failed)
        return dmsg_fail_memory(error);
    unsigned additional = get16(message.data + 10) - 1;
    out->data[0] = (uint8_t)(fields->original_id >> 8);
    out->data[1] = (uint8_t)fields->original_id;
    out->data[10] = (uint8_t)(additional >> 8);
    out->data[11] = (uint8_t)additional;
    return 0;
}

static int judge(struct dmsg_tsig_answer *out, struct dmsg_span message, size_t size,
    const struct dmsg_tsig_key *key, const struct fields *fields, int64_t now,
    const struct dmsg_tsig_mac *request, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer bare = {0};
    struct dmsg_tsig_mac mac;
    int result = unsign(&bare, message, size, fields, error);
    if (result == 0)
        result = make_mac(&mac, key, request, dmsg_buffer_span(&bare), fields, error);
    if (result < 0)
        return result;
    if (fields->mac.size != mac.size || CRYPTO_memcmp(fields->mac.data, mac.octets, mac.size) != 0)
        out->verdict = DMSG_TSIG_WRONG;
    else if (now - fields->time > FUDGE || fields->time - now > FUDGE)
        out->verdict = DMSG_TSIG_UNTIMELY;
    else
        out->verdict = DMSG_TSIG_GOOD;
    return 0;
}

int dmsg_tsig_verify(struct dmsg_tsig_answer *out, struct dmsg_span message,
    const struct dmsg_tsig_key *key, int64_t now, const struct dmsg_tsig_mac *request,
    struct dmsg_error *error)
{
    struct cursor cursor = {.message = message};
    struct dmsg_tsig_answer answer = {.verdict = DMSG_TSIG_MISSING};
    struct fields fields;
    bool ours;
    if (find_last(&cursor)) {
        size_t before = cursor.at;
        if (take_tsig(&cursor, key, &ours, &fields)) {
            answer.error = fields.error;
            if (fields.mac.size > 0)
                answer.verdict = DMSG_TSIG_WRONG;
            int result = ours && fields.mac.size > 0
                             ? judge(&answer, message, before, key, &fields, now, request, error)
                             : 0;
            if (result < 0)
                return result;
        }
    }
    if (message.size < HEADER_SIZE)
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "the answer is not a DNS message");
    *out = answer;
    return 0;
}
