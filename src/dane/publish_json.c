#include "dane/publish_json.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/json.h"
#include "dane/publish_internal.h"

#include <ctype.h>
#include <string.h>

/* {"rrsets":[{"records":[{}]}]} */
#define DEPTH 6

static int fail_answer(struct dmsg_error *error, const char *fault)
{
    return dmsg_fail(error, DMSG_E_DNS_TEMPORARY, "its answer cannot be read (%s): is it PowerDNS?",
        fault != NULL ? fault : "something is missing");
}

static void begin(struct dmsg_json *json, const struct dmsg_buffer *answer)
{
    dmsg_json_init(json, answer->data, answer->size);
    json->most_depth = DEPTH;
}

struct dmsg_span dmsg_api_read_error(struct dmsg_buffer *answer)
{
    struct dmsg_json json;
    struct dmsg_span name, value, found = {0};
    dmsg_json_init(&json, answer->data, answer->size);
    dmsg_json_enter_object(&json);
    while (dmsg_json_next_member(&json, &name)) {
        if (!dmsg_span_equal_text(name, "error"))
            dmsg_json_skip(&json);
        else if (dmsg_json_string(&json, &value))
            found = value;
    }
    return dmsg_json_finish(&json) ? found : (struct dmsg_span){0};
}

/* --------------------------------------------------------------------------------------- zones */

/* What can stand in a path as it is. */
static bool id_usable(struct dmsg_span id)
{
    bool usable = id.size > 0 && id.size < DMSG_API_ZONE_SIZE;
    for (size_t i = 0; usable && i < id.size; i++)
        usable = isalnum(id.data[i]) || memchr("._-=", id.data[i], 4) != NULL;
    return usable;
}

/* "example.net." for "example.net"? */
static bool is_absolute(struct dmsg_span text, const char *name)
{
    size_t size = strlen(name);
    return text.size == size + 1 && text.data[size] == '.' &&
           strncasecmp((const char *)text.data, name, size) == 0;
}

static void read_zone(struct dmsg_json *json, struct dmsg_api_zone *zone, const char *wanted)
{
    struct dmsg_span member, id = {0}, name = {0}, kind = {0};
    dmsg_json_enter_object(json);
    while (dmsg_json_next_member(json, &member)) {
        if (dmsg_span_equal_text(member, "id"))
            (void)dmsg_json_string(json, &id);
        else if (dmsg_span_equal_text(member, "name"))
            (void)dmsg_json_string(json, &name);
        else if (dmsg_span_equal_text(member, "kind"))
            (void)dmsg_json_string(json, &kind);
        else
            dmsg_json_skip(json);
    }
    if (json->fault != NULL || !is_absolute(name, wanted) || !id_usable(id))
        return;
    memcpy(zone->id, id.data, id.size);
    zone->id[id.size] = '\0';
    zone->secondary =
        dmsg_span_equal_text(kind, "Slave") || dmsg_span_equal_text(kind, "Secondary");
}

int dmsg_api_read_zone(struct dmsg_api_zone *out, struct dmsg_buffer *answer, const char *zone,
    struct dmsg_error *error)
{
    struct dmsg_api_zone found = {0};
    struct dmsg_json json;
    begin(&json, answer);
    dmsg_json_enter_array(&json);
    while (dmsg_json_next_element(&json))
        read_zone(&json, &found, zone);
    if (!dmsg_json_finish(&json))
        return fail_answer(error, json.fault);
    *out = found;
    return 0;
}

/* ------------------------------------------------------------------------------------- records */

/* One RRset of an answer. */
struct rrset {
    struct dmsg_span name, type;
    int64_t ttl;
    bool disabled; /* one of its records is */
    size_t count;
    struct dmsg_span contents[DMSG_ANSWER_RECORDS_MAX + 1]; /* of those that are not disabled */
};

static bool read_bool(struct dmsg_json *json)
{
    while (json->next < json->end && isspace(*json->next))
        json->next++;
    bool value = json->next < json->end && *json->next == 't';
    dmsg_json_skip(json);
    return value;
}

static void read_record(struct dmsg_json *json, struct rrset *set)
{
    struct dmsg_span member, content = {0};
    bool disabled = false;
    dmsg_json_enter_object(json);
    while (dmsg_json_next_member(json, &member)) {
        if (dmsg_span_equal_text(member, "content"))
            (void)dmsg_json_string(json, &content);
        else if (dmsg_span_equal_text(member, "disabled"))
            disabled = read_bool(json);
        else
            dmsg_json_skip(json);
    }
    set->disabled |= disabled;
    if (json->fault == NULL && !disabled && set->count < DMSG_ANSWER_RECORDS_MAX + 1)
        set->contents[set->count++] = content;
}

static void read_rrset(struct dmsg_json *json, struct rrset *set)
{
    struct dmsg_span member;
    dmsg_json_enter_object(json);
    while (dmsg_json_next_member(json, &member)) {
        if (dmsg_span_equal_text(member, "name")) {
            (void)dmsg_json_string(json, &set->name);
        } else if (dmsg_span_equal_text(member, "type")) {
            (void)dmsg_json_string(json, &set->type);
        } else if (dmsg_span_equal_text(member, "ttl")) {
            (void)dmsg_json_integer(json, &set->ttl);
        } else if (dmsg_span_equal_text(member, "records")) {
            dmsg_json_enter_array(json);
            while (dmsg_json_next_element(json))
                read_record(json, set);
        } else {
            dmsg_json_skip(json);
        }
    }
}

typedef int use_rrset(void *user, const struct rrset *set, struct dmsg_error *error);

static int each_rrset(struct dmsg_json *json, use_rrset *use, void *user, struct dmsg_error *error)
{
    int result = 0;
    dmsg_json_enter_array(json);
    while (dmsg_json_next_element(json)) {
        struct rrset set = {0};
        read_rrset(json, &set);
        if (json->fault == NULL && result == 0)
            result = use(user, &set, error);
    }
    return result;
}

/* The RRsets of an answer, one after the other. */
static int read_rrsets(
    struct dmsg_buffer *answer, use_rrset *use, void *user, struct dmsg_error *error)
{
    struct dmsg_json json;
    struct dmsg_span member;
    bool found = false;
    int used = 0;
    begin(&json, answer);
    dmsg_json_enter_object(&json);
    while (dmsg_json_next_member(&json, &member)) {
        if (dmsg_span_equal_text(member, "rrsets")) {
            found = true;
            used = each_rrset(&json, use, user, error);
        } else {
            dmsg_json_skip(&json);
        }
    }
    if (!dmsg_json_finish(&json) || !found)
        return fail_answer(error, json.fault);
    return used;
}

struct denial {
    const char *zone;
    uint32_t ttl;
};

/* "ns hostmaster serial refresh retry expire minimum" (RFC 2308 section 5). */
static int use_soa(void *user, const struct rrset *set, struct dmsg_error *error)
{
    struct denial *denial = user;
    (void)error;
    if (!is_absolute(set->name, denial->zone) || !dmsg_span_equal_text(set->type, "SOA") ||
        set->count != 1)
        return 0;
    struct dmsg_span content = set->contents[0];
    size_t at = content.size;
    int64_t minimum = 0, unit = 1;
    while (at > 0 && isdigit(content.data[at - 1]) && unit < INT64_C(10000000000)) {
        minimum += unit * (content.data[--at] - '0');
        unit *= 10;
    }
    int64_t ttl = minimum < set->ttl ? minimum : set->ttl;
    denial->ttl = ttl < UINT32_MAX ? (uint32_t)ttl : UINT32_MAX;
    return 0;
}

int dmsg_api_read_denial(
    uint32_t *out, struct dmsg_buffer *answer, const char *zone, struct dmsg_error *error)
{
    struct denial denial = {.zone = zone};
    int result = read_rrsets(answer, use_soa, &denial, error);
    if (result == 0)
        *out = denial.ttl;
    return result;
}

/* ------------------------------------------------------------------------------- TLSA as text */

static int digit_of(uint8_t c)
{
    const char *digits = "0123456789abcdef", *found = c != '\0' ? strchr(digits, tolower(c)) : NULL;
    return found != NULL ? (int)(found - digits) : -1;
}

/* A number up to 255 and a space. */
static bool take_field(struct dmsg_span *text, struct dmsg_buffer *out)
{
    unsigned value = 0;
    size_t i = 0;
    while (i < text->size && i < 3 && isdigit(text->data[i]))
        value = value * 10 + (unsigned)(text->data[i++] - '0');
    if (i == 0 || i == text->size || text->data[i] != ' ' || value > UINT8_MAX)
        return false;
    dmsg_buffer_put_byte(out, (uint8_t)value);
    *text = (struct dmsg_span){text->data + i + 1, text->size - i - 1};
    return true;
}

/* "3 0 0 3082..." as rdata; the digits may stand in groups (RFC 6698 section 2.2). */
static bool put_rdata(struct dmsg_buffer *out, struct dmsg_span text)
{
    int high = -1;
    if (!take_field(&text, out) || !take_field(&text, out) || !take_field(&text, out))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        int digit = digit_of(text.data[i]);
        if (digit < 0 && text.data[i] != ' ')
            return false;
        if (digit >= 0 && high >= 0)
            dmsg_buffer_put_byte(out, (uint8_t)(high << 4 | digit));
        if (digit >= 0)
            high = high < 0 ? digit : -1;
    }
    return high < 0 && !out->failed;
}

struct reading {
    const struct dmsg_name *name;
    struct dmsg_record_set *out;
};

static int use_tlsa(void *user, const struct rrset *set, struct dmsg_error *error)
{
    const struct reading *reading = user;
    int result = 0;
    if (!is_absolute(set->name, reading->name->text))
        return 0;
    if (dmsg_span_equal_text(set->type, "CNAME"))
        return dmsg_fail_alias(reading->name, error);
    if (!dmsg_span_equal_text(set->type, "TLSA"))
        return 0;
    if (set->disabled) /* a change replaces the whole set */
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s has a TLSA record that is disabled in PowerDNS, and a change would lose it: enable "
            "it or take it out there",
            reading->name->text);
    for (size_t i = 0; result == 0 && i < set->count; i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer rdata = {.limit = UINT16_MAX};
        if (!put_rdata(&rdata, set->contents[i]))
            return fail_answer(error, "a TLSA record that is none");
        result = dmsg_record_set_add(reading->out, dmsg_buffer_span(&rdata), error);
    }
    reading->out->ttl = set->ttl < UINT32_MAX ? (uint32_t)set->ttl : UINT32_MAX;
    return result;
}

int dmsg_api_read_records(struct dmsg_record_set *out, struct dmsg_buffer *answer,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    struct reading reading = {name, out};
    /* Two digits of the answer make an octet. */
    int result = dmsg_record_set_begin(out, answer->size / 2 + 1, error);
    return result == 0 ? read_rrsets(answer, use_tlsa, &reading, error) : result;
}

/* ------------------------------------------------------------------------------------- changing */

void dmsg_api_put_change(
    struct dmsg_buffer *out, const struct dmsg_name *name, const struct dmsg_record_set *wanted)
{
    dmsg_buffer_format(out, "{\"rrsets\":[{\"name\":\"%s.\",\"type\":\"TLSA\",", name->text);
    if (wanted->count == 0) {
        dmsg_buffer_put_text(out, "\"changetype\":\"DELETE\"}]}");
        return;
    }
    dmsg_buffer_format(out, "\"changetype\":\"REPLACE\",\"ttl\":%u,\"records\":[", wanted->ttl);
    for (size_t i = 0; i < wanted->count; i++) {
        struct dmsg_span record = wanted->records[i];
        dmsg_buffer_format(out, "%s{\"disabled\":false,\"content\":\"%u %u %u ", i > 0 ? "," : "",
            record.data[0], record.data[1], record.data[2]);
        for (size_t octet = 3; octet < record.size; octet++)
            dmsg_buffer_format(out, "%02x", record.data[octet]);
        dmsg_buffer_put_text(out, "\"}");
    }
    dmsg_buffer_put_text(out, "]}]}");
}
