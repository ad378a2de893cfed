#include "dane/authority_cache.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/pem.h"

#include <stdio.h>
#include <string.h>

static bool same(const struct dmsg_fetch *a, const struct dmsg_fetch *b)
{
    return dmsg_name_equal(&a->host, &b->host) && strcmp(a->aki, b->aki) == 0;
}

static void empty(struct dmsg_issuer *issuer)
{
    X509_free(issuer->certificate);
    *issuer = (struct dmsg_issuer){0};
}

/* Fetched in the future: the clock was set back, and the rest of the life is unknown. */
static bool expired(const struct dmsg_issuers *issuers, const struct dmsg_issuer *issuer)
{
    int64_t now = dmsg_context_now(issuers->context);
    return !issuer->asked && (now >= issuer->expires_at || now < issuer->fetched_at);
}

struct dmsg_issuer *dmsg_issuer_find(struct dmsg_issuers *issuers, const struct dmsg_fetch *fetch)
{
    for (size_t i = 0; i < DMSG_ISSUERS_CACHED_MAX; i++) {
        struct dmsg_issuer *issuer = &issuers->issuers[i];
        if (!issuer->used || !same(&issuer->fetch, fetch))
            continue;
        if (issuer->waiting > 0 || !expired(issuers, issuer)) {
            issuer->last_use = ++issuers->uses;
            return issuer;
        }
        empty(issuer);
    }
    return NULL;
}

struct dmsg_issuer *dmsg_issuer_add(struct dmsg_issuers *issuers, const struct dmsg_fetch *fetch)
{
    struct dmsg_issuer *place = NULL;
    for (size_t i = 0; i < DMSG_ISSUERS_CACHED_MAX; i++) {
        struct dmsg_issuer *issuer = &issuers->issuers[i];
        if (issuer->used && (issuer->asked || issuer->waiting > 0))
            continue;
        if (place == NULL || issuer->last_use < place->last_use)
            place = issuer;
    }
    if (place == NULL)
        return NULL;
    empty(place);
    place->among = issuers;
    place->used = place->asked = true;
    place->fetch = *fetch;
    place->last_use = ++issuers->uses;
    return place;
}

/* RFC 7468 section 2: what stands before the first boundary and behind the last is explanation. A
   second certificate would leave open which one is meant. */
static int parse(X509 **out, struct dmsg_span text, struct dmsg_error *error)
{
    static const char boundary[] = "-----BEGIN ";
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer der = {.limit = DMSG_CERTIFICATE_MAX};
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate certificate = {0};
    size_t size = sizeof boundary - 1;
    const uint8_t *first = memmem(text.data, text.size, boundary, size);
    if (first == NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "what it has there is not PEM");
    const uint8_t *rest = first + size;
    if (memmem(rest, text.size - (size_t)(rest - text.data), boundary, size) != NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "what it has there is more than one object");
    if (dmsg_pem_read_certificate(&der, text, NULL) < 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "what it has there is no certificate in PEM");
    int result = dmsg_certificate_parse(&certificate, dmsg_buffer_span(&der), error);
    if (result < 0)
        return result;
    *out = certificate.x509;
    certificate.x509 = NULL;
    return 0;
}

void dmsg_issuer_fill(struct dmsg_issuer *issuer, const struct dmsg_fetched *fetched)
{
    struct dmsg_error error = {.text = ""};
    int result = 0;
    if (fetched->status == DMSG_FETCH_CONTENT)
        result = parse(&issuer->certificate, fetched->content, &error);
    issuer->asked = false;
    issuer->not_now = fetched->status == DMSG_FETCH_NOT_NOW || result == DMSG_E_INTERNAL;
    snprintf(issuer->why, sizeof issuer->why, "%.190s", result < 0 ? error.text : fetched->why);
    issuer->fetched_at = dmsg_context_now(issuer->among->context);
    issuer->expires_at =
        issuer->fetched_at +
        (issuer->certificate != NULL ? DMSG_ISSUER_LIFE : DMSG_ISSUER_FAILURE_LIFE);
}

void dmsg_issuers_done(struct dmsg_issuers *issuers)
{
    for (size_t i = 0; i < DMSG_ISSUERS_CACHED_MAX; i++)
        empty(&issuers->issuers[i]);
}
