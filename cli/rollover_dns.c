/* What DNS says of the keys of a rollover, and changing it. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/tlsa.h"
#include "rollover.h"

struct shape {
    uint8_t usage, selector, matching_type;
};

void record_list_done(struct record_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        dmsg_buffer_done(&list->octets[i]);
    list->count = 0;
}

int rollover_look(struct rollover_run *run, struct dmsg_error *error)
{
    const struct dmsg_peer_key *any[DMSG_PEER_KEYS_MAX];
    if (run->peer != NULL)
        dmsg_peer_release(run->peer);
    run->peer = NULL;
    int result = dmsg_discovery_find_fresh(
        run->discovery, &run->own.name, LOOKUP_TIMEOUT, &run->peer, error);
    if (result < 0)
        return result;
    /* Which keys are there is the steps' to judge; that nothing can be believed is not. */
    int count = dmsg_peer_sender_keys(run->peer, (struct dmsg_span){0}, any, error);
    return count < 0 && count != DMSG_E_CERTIFICATE && count != DMSG_E_NO_IDENTITY ? count : 0;
}

static const struct dmsg_peer_key *find_record(
    const struct dmsg_peer *peer, const struct dmsg_identity_key *key)
{
    for (size_t i = 0; peer != NULL && peer->status == DMSG_DNS_SECURE && i < peer->count; i++) {
        if (own_records_match_key(key, peer->keys[i].rdata))
            return &peer->keys[i];
    }
    return NULL;
}

/* How many keys a role has, and how many of them DNS shows. */
static size_t count_shown(const struct rollover_run *run, enum dmsg_key_role role, size_t *shown)
{
    size_t count = 0;
    *shown = 0;
    for (size_t i = 0; i < dmsg_identity_key_count(run->own.identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(run->own.identity, i);
        if (key->role != role)
            continue;
        count++;
        *shown += find_record(run->peer, key) != NULL;
    }
    return count;
}

bool rollover_shows_all(const struct rollover_run *run, enum dmsg_key_role role)
{
    size_t shown, count = count_shown(run, role, &shown);
    return count > 0 && shown == count;
}

bool rollover_shows_any(const struct rollover_run *run, enum dmsg_key_role role)
{
    size_t shown;
    (void)count_shown(run, role, &shown);
    return shown > 0;
}

/* As the current key for the same purpose is published, so is its successor. */
static struct shape shape_of(const struct rollover_run *run, const struct dmsg_identity_key *key)
{
    bool signs = (key->purposes & DMSG_FOR_SIGNATURES) != 0;
    const struct dmsg_identity_key *current =
        dmsg_identity_current(run->own.identity, signs ? DMSG_FOR_SIGNATURES : DMSG_FOR_ENCRYPTION);
    const struct dmsg_peer_key *record = current != NULL ? find_record(run->peer, current) : NULL;
    if (record == NULL)
        return (struct shape){DMSG_DANE_EE, DMSG_TLSA_CERT, DMSG_TLSA_FULL};
    return (struct shape){record->usage, record->selector, record->matching_type};
}

static int add_record(const struct rollover_run *run, const struct dmsg_identity_key *key,
    struct record_list *list, struct dmsg_error *error)
{
    const struct dmsg_peer_key *published = find_record(run->peer, key);
    struct shape shape = shape_of(run, key);
    struct dmsg_buffer *rdata = &list->octets[list->count];
    if (list->count == DMSG_PEER_KEYS_MAX)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "more records than readers look at (%d)", DMSG_PEER_KEYS_MAX);
    list->count++;
    if (published != NULL) { /* as it stands, or it would be another's to the publisher */
        dmsg_buffer_put_span(rdata, published->rdata);
        return rdata->failed ? dmsg_fail_memory(error) : 0;
    }
    if (key->certificate == NULL && shape.selector == DMSG_TLSA_CERT)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the key %s has no certificate yet, and its record would hold that: `danemsg identity "
            "import FILE %s` brings in what the CA made of the request",
            key->kid, run->own.name.text);
    return dmsg_tlsa_encode(
        rdata, shape.usage, shape.selector, shape.matching_type, key->certificate, key->key, error);
}

bool rollover_needs_certificate(const struct rollover_run *run)
{
    for (size_t i = 0; i < dmsg_identity_key_count(run->own.identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(run->own.identity, i);
        if (key->role == DMSG_KEY_NEXT && key->certificate == NULL &&
            shape_of(run, key).selector == DMSG_TLSA_CERT)
            return true;
    }
    return false;
}

int rollover_add_records(struct rollover_run *run, enum dmsg_key_role role,
    struct record_list *list, struct dmsg_error *error)
{
    int result = 0;
    for (int pass = 0; pass < 2; pass++) { /* who signs first */
        for (size_t i = 0; result == 0 && i < dmsg_identity_key_count(run->own.identity); i++) {
            const struct dmsg_identity_key *key = dmsg_identity_key_get(run->own.identity, i);
            bool signs = (key->purposes & DMSG_FOR_SIGNATURES) != 0;
            if (key->role == role && signs == (pass == 0))
                result = add_record(run, key, list, error);
        }
    }
    return result;
}

int rollover_publish(struct rollover_run *run, const struct record_list *list, size_t wanted,
    struct published *out, struct dmsg_error *error)
{
    struct publishing publishing = {.program = run->program,
        .options = &run->options->publish,
        .dns = &run->options->dns,
        .name = &run->own.name,
        .identity = run->own.identity};
    for (size_t i = 0; i < list->count; i++) {
        struct dmsg_span rdata = dmsg_buffer_span(&list->octets[i]);
        publishing.ours[publishing.ours_count++] = rdata;
        if (i < wanted)
            publishing.wanted[publishing.wanted_count++] = rdata;
    }
    return publishing_apply(&publishing, out, error);
}

int rollover_print_records(const struct rollover_run *run, const struct record_list *list,
    size_t first, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char before[DMSG_NAME_TEXT + sizeof ". 2147483647 IN TLSA "];
    struct own_records records = {0};
    for (size_t i = first; i < list->count; i++)
        records.rdata[records.count++] = dmsg_buffer_span(&list->octets[i]);
    snprintf(before, sizeof before, "%s. %u IN TLSA ", run->own.name.text,
        (unsigned)run->options->publish.ttl);
    own_records_put(&out, before, &records);
    if (out.failed)
        return dmsg_fail_memory(error);
    return write_output(stdout, dmsg_buffer_span(&out), error);
}

int rollover_observe(struct rollover_run *run, struct dmsg_error *error)
{
    struct dmsg_rollover *state = &run->state;
    const struct dmsg_rollover before = *state;
    int result = rollover_look(run, error);
    if (result < 0 || (state->phase != DMSG_ROLLOVER_MADE && state->phase != DMSG_ROLLOVER_STARTED))
        return result;
    bool shown = rollover_shows_all(run, DMSG_KEY_NEXT);
    /* What is left of a TTL in a cache between here and the server says less than the TTL. */
    if (run->peer->ttl > state->ttl)
        state->ttl = run->peer->ttl;
    if (shown && state->phase == DMSG_ROLLOVER_MADE &&
        dmsg_context_synchronised(&run->context)) { /* else it would not be the time of it */
        state->seen_at = dmsg_context_now(&run->context);
        state->offered = true;
        state->phase = DMSG_ROLLOVER_STARTED;
    } else if (!shown) { /* the time begins anew when it is back */
        state->seen_at = 0;
        state->phase = DMSG_ROLLOVER_MADE;
    }
    bool same = before.phase == state->phase && before.ttl == state->ttl;
    return same ? 0 : rollover_save(run, error);
}
