#include "people.h"

#include "dane/tlsa.h"

#include <stdio.h>
#include <stdlib.h>

static void must(int result, const struct dmsg_error *error)
{
    if (result == 0)
        return;
    fprintf(stderr, "making people: %s: %s\n", dmsg_error_word(error->code), error->text);
    exit(99);
}

static void put_record(struct dmsg_buffer *rdata, const X509 *certificate)
{
    struct dmsg_error error;
    must(dmsg_tlsa_encode(rdata, DMSG_DANE_EE, 0, 0, certificate, NULL, &error), &error);
}

struct person person_new(
    const struct dmsg_context *context, const char *name, enum dmsg_key_type type)
{
    struct person person = {0};
    struct dmsg_error error;
    struct dmsg_buffer rdata[2] = {0};
    struct dmsg_span spans[2];
    size_t count = 1;
    must(dmsg_name_parse(&person.name, dmsg_span_text(name), &error), &error);
    struct dmsg_creation wanted = {.name = &person.name, .type = type, .days = 30};
    must(dmsg_material_create(&person.material, context, &wanted, &error), &error);
    must(dmsg_identity_new(&person.identity, context, &person.name, &error), &error);
    must(dmsg_identity_add(person.identity, DMSG_KEY_CURRENT, person.material.key,
             person.material.certificate, &error),
        &error);
    put_record(&rdata[0], person.material.certificate);
    if (person.material.encryption_key != NULL) {
        must(dmsg_identity_add(person.identity, DMSG_KEY_CURRENT, person.material.encryption_key,
                 person.material.encryption_certificate, &error),
            &error);
        put_record(&rdata[count++], person.material.encryption_certificate);
    }
    for (size_t i = 0; i < count; i++)
        spans[i] = dmsg_buffer_span(&rdata[i]);
    person.peer = peer_of(context, name, spans, count);
    for (size_t i = 0; i < count; i++)
        dmsg_buffer_done(&rdata[i]);
    return person;
}

void person_done(struct person *person)
{
    dmsg_peer_release(person->peer);
    dmsg_identity_free(&person->identity);
    dmsg_material_done(&person->material);
}

static const struct dmsg_peer *judge(
    const struct dmsg_context *context, const struct dmsg_answer *answer)
{
    const struct dmsg_peer *peer = NULL;
    struct dmsg_error error;
    must(dmsg_peer_judge(&peer, context, NULL, answer, &error), &error);
    return peer;
}

const struct dmsg_peer *peer_of(const struct dmsg_context *context, const char *name,
    const struct dmsg_span *records, size_t count)
{
    static struct dmsg_answer answer;
    struct dmsg_error error;
    answer = (struct dmsg_answer){.status = DMSG_DNS_SECURE, .ttl = 3600, .count = count};
    must(dmsg_name_parse(&answer.name, dmsg_span_text(name), &error), &error);
    answer.canonical = answer.name;
    for (size_t i = 0; i < count; i++)
        answer.records[i] = records[i];
    return judge(context, &answer);
}

const struct dmsg_peer *peer_without(
    const struct dmsg_context *context, const char *name, enum dmsg_dns_status status)
{
    static struct dmsg_answer answer;
    struct dmsg_error error;
    answer = (struct dmsg_answer){.status = status, .ttl = 60};
    must(dmsg_name_parse(&answer.name, dmsg_span_text(name), &error), &error);
    answer.canonical = answer.name;
    return judge(context, &answer);
}
