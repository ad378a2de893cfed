#include "dane/publish.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/publish_internal.h"
#include "x509/files.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------------------------- record sets */

static int compare_records(const void *left, const void *right)
{
    const struct dmsg_span *a = left, *b = right;
    size_t shorter = a->size < b->size ? a->size : b->size;
    int order = shorter > 0 ? memcmp(a->data, b->data, shorter) : 0;
    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

void dmsg_record_set_sort(struct dmsg_record_set *set)
{
    size_t kept = 0;
    qsort(set->records, set->count, sizeof set->records[0], compare_records);
    for (size_t i = 0; i < set->count; i++) {
        if (kept == 0 || !dmsg_span_equal(set->records[kept - 1], set->records[i]))
            set->records[kept++] = set->records[i];
    }
    set->count = kept;
}

bool dmsg_record_set_equal(const struct dmsg_record_set *a, const struct dmsg_record_set *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++) {
        if (!dmsg_span_equal(a->records[i], b->records[i]))
            return false;
    }
    return true;
}

bool dmsg_record_set_holds(const struct dmsg_record_set *set, struct dmsg_span record)
{
    for (size_t i = 0; i < set->count; i++) {
        if (dmsg_span_equal(set->records[i], record))
            return true;
    }
    return false;
}

int dmsg_record_set_begin(struct dmsg_record_set *set, size_t octets, struct dmsg_error *error)
{
    *set = (struct dmsg_record_set){.octets.limit = octets};
    return dmsg_buffer_reserve(&set->octets, octets) == NULL ? dmsg_fail_memory(error) : 0;
}

int dmsg_record_set_add(
    struct dmsg_record_set *set, struct dmsg_span record, struct dmsg_error *error)
{
    size_t at = set->octets.size;
    if (set->count == DMSG_ANSWER_RECORDS_MAX)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "more than %d TLSA records are there, too many to change: take some out by hand",
            DMSG_ANSWER_RECORDS_MAX);
    dmsg_buffer_put_span(&set->octets, record);
    if (set->octets.failed)
        return dmsg_fail(error, DMSG_E_INTERNAL, "more octets of records than there is room for");
    set->records[set->count++] = (struct dmsg_span){set->octets.data + at, record.size};
    return 0;
}

int dmsg_fail_alias(const struct dmsg_name *name, struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_LOCAL,
        "%s is an alias (CNAME), which can have no other records: publish at the name that it "
        "points to, or take the alias out",
        name->text);
}

int dmsg_fail_unsure(struct dmsg_error *error, const struct dmsg_error *why)
{
    return dmsg_fail(error, why->code,
        "%s; whether the change was made is not known: run it again, which is harmless", why->text);
}

void dmsg_record_set_done(struct dmsg_record_set *set)
{
    dmsg_buffer_done(&set->octets);
    set->count = 0;
}

/* ------------------------------------------------------------------------------------ publisher */

void dmsg_publisher_free(struct dmsg_publisher **publisher)
{
    struct dmsg_publisher *self = *publisher;
    if (self == NULL)
        return;
    free(self->server);
    free(self->powerdns);
    dmsg_tsig_key_done(&self->tsig);
    dmsg_buffer_done(&self->secret);
    free(self);
    *publisher = NULL;
}

static int use_server(struct dmsg_publisher *publisher, const struct dmsg_publisher_config *config,
    struct dmsg_error *error)
{
    if (!dmsg_address_valid(dmsg_span_text(config->server)))
        return dmsg_fail(error, DMSG_E_USAGE,
            "'%s' is no DNS server: write the primary's numeric address, ADDR or ADDR@PORT",
            config->server);
    if (config->tsig_file == NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "a dynamic update wants a TSIG key, and no file of one was given (BIND's "
            "`tsig-keygen NAME` makes it)");
    publisher->server = strdup(config->server);
    if (publisher->server == NULL)
        return dmsg_fail_memory(error);
    return dmsg_tsig_key_read(&publisher->tsig, config->tsig_file, error);
}

/* One line of printable characters: anything else could end the header that it goes into. */
static int read_api_key(struct dmsg_buffer *out, const char *path, struct dmsg_error *error)
{
    out->limit = DMSG_API_KEY_MAX + 1;
    /* The value is not shown: who takes it for the key itself should not find it in a log. */
    if (access(path, F_OK) < 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "the file that should hold the API's key cannot be found");
    int result = dmsg_file_read_secret(out, path, error);
    if (result < 0)
        return result;
    while (out->size > 0 && memchr("\r\n", out->data[out->size - 1], 2) != NULL)
        out->size--;
    bool usable = out->size > 0;
    for (size_t i = 0; i < out->size; i++)
        usable = usable && out->data[i] > ' ' && out->data[i] < 0x7f;
    if (!usable)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s does not hold an API key: one line of printable characters", path);
    dmsg_buffer_put_byte(out, 0);
    return out->failed ? dmsg_fail_memory(error) : 0;
}

static int use_powerdns(struct dmsg_publisher *publisher,
    const struct dmsg_publisher_config *config, struct dmsg_error *error)
{
    int result = dmsg_powerdns_check(config->powerdns, error);
    if (result < 0)
        return result;
    if (config->key_file == NULL)
        return dmsg_fail(
            error, DMSG_E_USAGE, "PowerDNS's API wants a key, and no file of one was given");
    publisher->powerdns = strdup(config->powerdns);
    if (publisher->powerdns == NULL)
        return dmsg_fail_memory(error);
    size_t size = strlen(publisher->powerdns);
    while (size > 0 && publisher->powerdns[size - 1] == '/')
        publisher->powerdns[--size] = '\0';
    return read_api_key(&publisher->secret, config->key_file, error);
}

int dmsg_publisher_new(struct dmsg_publisher **out, const struct dmsg_publisher_config *config,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_publisher_free) struct dmsg_publisher *publisher = NULL;
    if ((config->server == NULL) == (config->powerdns == NULL))
        return dmsg_fail(error, DMSG_E_USAGE,
            "publishing wants one way: a server for dynamic updates, or PowerDNS's API");
    publisher = calloc(1, sizeof *publisher);
    if (publisher == NULL)
        return dmsg_fail_memory(error);
    int result = config->server != NULL ? use_server(publisher, config, error)
                                        : use_powerdns(publisher, config, error);
    if (result < 0)
        return result;
    *out = publisher;
    publisher = NULL;
    return 0;
}

int dmsg_publisher_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set set = {0};
    int result = publisher->server != NULL ? dmsg_update_read(publisher, name, &set, error)
                                           : dmsg_powerdns_read(publisher, name, &set, error);
    if (result < 0)
        return result;
    dmsg_record_set_sort(&set);
    *out = set;
    set.octets = (struct dmsg_buffer){0};
    return 0;
}

int dmsg_publisher_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error)
{
    return publisher->server != NULL ? dmsg_update_change(publisher, name, before, wanted, error)
                                     : dmsg_powerdns_change(publisher, name, before, wanted, error);
}
