/*
 * Climbing from certificates to self-signed CAs, over issuers that the cache knows or the fetching
 * process brings. A job is one name; its certificates are climbed from one after the other, since
 * they mostly have the same issuers.
 */
#include "dane/authority.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/authority_cache.h"
#include "x509/chain.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Names under way at once: as many as questions to a resolver. */
#define JOBS_MAX 256

struct job {
    struct dmsg_authority *authority;
    struct dmsg_name host;
    X509 *certificates[DMSG_AUTHORITY_CERTIFICATES_MAX];
    size_t count, index; /* index: the one that is climbed from */
    STACK_OF(X509) * issuers;
    struct dmsg_issuer *awaited; /* NULL: look for the next issuer */
    int fetches;
    int64_t deadline;
    dmsg_authority_done *done;
    void *user;
    struct job *next;
};

struct dmsg_authority {
    struct dmsg_pins pins;
    struct dmsg_fetcher *fetcher;
    struct dmsg_issuers issuers;
    struct job *jobs;
    size_t job_count;
    bool stepping;
};

/* -------------------------------------------------------------------------------------- one job */

static void let_go(struct job *job)
{
    if (job->awaited != NULL)
        job->awaited->waiting--;
    job->awaited = NULL;
}

static void free_job(struct job *job)
{
    let_go(job);
    dmsg_chain_free(&job->issuers);
    for (size_t i = 0; i < job->count; i++)
        X509_free(job->certificates[i]);
    free(job);
}

/* One certificate is done with; the job stands at the next one before anybody is called. */
static void tell(struct job *job, bool found, bool not_now, const char *why)
{
    STACK_OF(X509) *issuers = job->issuers;
    struct dmsg_authority_answer answer = {
        .index = job->index++, .issuers = found ? issuers : NULL, .not_now = not_now, .why = why};
    job->issuers = NULL;
    let_go(job);
    job->done(job->user, &answer);
    dmsg_chain_free(&issuers);
}

static void tell_none(struct job *job, const struct dmsg_issuer *issuer)
{
    char why[sizeof issuer->why + DMSG_NAME_TEXT + 64];
    snprintf(why, sizeof why, "the CA certificate of %s: %s", job->host.text, issuer->why);
    tell(job, false, issuer->not_now, why);
}

/* Whose issuer is wanted next. */
static X509 *top_of(const struct job *job)
{
    int height = job->issuers != NULL ? sk_X509_num(job->issuers) : 0;
    return height > 0 ? sk_X509_value(job->issuers, height - 1) : job->certificates[job->index];
}

static void on_fetched(void *user, const struct dmsg_fetched *fetched)
{
    dmsg_issuer_fill(user, fetched);
}

/* Lets the job wait for the issuer of what is on top, known or to be fetched; DMSG_E_CERTIFICATE,
   DMSG_E_QUOTA. */
static int await_issuer(struct job *job, struct dmsg_error *error)
{
    struct dmsg_authority *authority = job->authority;
    struct dmsg_fetch fetch = {.host = job->host};
    int result = dmsg_authority_key_id(fetch.aki, top_of(job), error);
    if (result < 0)
        return result;
    job->awaited = dmsg_issuer_find(&authority->issuers, &fetch);
    if (job->awaited == NULL) {
        if (job->fetches >= DMSG_AUTHORITY_FETCHES_MAX)
            return dmsg_fail(error, DMSG_E_CERTIFICATE,
                "its certificates need more than %d CA certificates", DMSG_AUTHORITY_FETCHES_MAX);
        struct dmsg_issuer *issuer = dmsg_issuer_add(&authority->issuers, &fetch);
        if (issuer == NULL)
            return dmsg_fail(error, DMSG_E_QUOTA, "too many CA certificates are being fetched");
        result = dmsg_fetcher_ask(authority->fetcher, &fetch, on_fetched, issuer, error);
        if (result < 0) {
            issuer->used = issuer->asked = false;
            return result;
        }
        job->fetches++;
        job->awaited = issuer;
    }
    job->awaited->waiting++;
    return 0;
}

static bool climbed_before(const struct job *job, X509 *certificate)
{
    int height = job->issuers != NULL ? sk_X509_num(job->issuers) : 0;
    for (int i = 0; i < height; i++) {
        if (X509_cmp(sk_X509_value(job->issuers, i), certificate) == 0)
            return true;
    }
    return false;
}

/* May this one stand above the top? NULL, or what is wrong. */
static const char *judge_step(const struct job *job, X509 *issuer)
{
    if (climbed_before(job, issuer))
        return "the issuers go round in a circle";
    if (X509_check_ca(issuer) != 1) /* 1: basicConstraints say so, RFC 5280 section 4.2.1.9 */
        return "what it has there is no CA certificate";
    if (X509_check_issued(issuer, top_of(job)) != X509_V_OK)
        return "what it has there is not the issuer's certificate";
    return NULL;
}

/* One step up with an issuer that has been fetched. */
static void climb(struct job *job)
{
    const struct dmsg_issuer *issuer = job->awaited;
    char why[DMSG_NAME_TEXT + 96];
    if (issuer->certificate == NULL) {
        tell_none(job, issuer);
        return;
    }
    X509 *certificate = issuer->certificate;
    const char *wrong = judge_step(job, certificate);
    if (wrong == NULL && dmsg_chain_add(&job->issuers, certificate, NULL) < 0) {
        tell(job, false, true, "no memory for a chain");
        return;
    }
    let_go(job);
    if (wrong == NULL && X509_self_signed(certificate, 0) == 1) {
        tell(job, true, false, "");
        return;
    }
    if (wrong == NULL && sk_X509_num(job->issuers) == DMSG_AUTHORITY_LEVELS_MAX)
        wrong = "there is no self-signed CA within 4 levels";
    if (wrong == NULL)
        return;
    snprintf(why, sizeof why, "the CA certificate of %s: %s", job->host.text, wrong);
    tell(job, false, false, why);
}

/* Does what can be done now; false when it has to wait. */
static bool advance(struct job *job, int64_t now)
{
    struct dmsg_error error;
    if (job->awaited != NULL && !job->awaited->asked) {
        climb(job);
        ERR_clear_error();
        return true;
    }
    if (now >= job->deadline) {
        tell(job, false, true, "the CA certificates took too long to fetch");
        return true;
    }
    if (job->awaited != NULL)
        return false;
    int result = await_issuer(job, &error);
    if (result < 0)
        tell(job, false, result != DMSG_E_CERTIFICATE, error.text);
    return true;
}

/* ------------------------------------------------------------------------------------- stepping */

static void end_job(struct dmsg_authority *authority, struct job *job)
{
    struct job **at = &authority->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    authority->job_count--;
    free_job(job);
}

/* A callback may add a job, in front, and take none away. */
static void advance_all(struct dmsg_authority *authority)
{
    struct job *next;
    for (struct job *job = authority->jobs; job != NULL; job = next) {
        while (job->index < job->count && advance(job, dmsg_now_ms())) {
        }
        next = job->next;
        if (job->index == job->count)
            end_job(authority, job);
    }
}

int dmsg_authority_step(struct dmsg_authority *authority, struct dmsg_error *error)
{
    if (authority->stepping)
        return dmsg_fail(error, DMSG_E_USAGE, "the authority was stepped from within a callback");
    authority->stepping = true;
    int wait = dmsg_fetcher_step(authority->fetcher, error);
    if (wait >= 0) {
        advance_all(authority);
        /* New fetches leave now; what they cost of time counts from now on. */
        wait = dmsg_fetcher_step(authority->fetcher, error);
    }
    authority->stepping = false;
    int64_t now = dmsg_now_ms();
    for (const struct job *job = authority->jobs; wait > 0 && job != NULL; job = job->next) {
        if (job->awaited == NULL) /* it was asked for from within a callback */
            wait = 0;
        else if (job->deadline - now < wait)
            wait = job->deadline > now ? (int)(job->deadline - now) : 0;
    }
    if (wait >= 0)
        dmsg_fetcher_hurry(authority->fetcher, wait);
    return wait;
}

int dmsg_authority_fd(const struct dmsg_authority *authority)
{
    return dmsg_fetcher_fd(authority->fetcher);
}

int dmsg_authority_ask(struct dmsg_authority *authority, const struct dmsg_name *name,
    X509 *const *certificates, size_t count, int64_t deadline, dmsg_authority_done *done,
    void *user, struct dmsg_error *error)
{
    struct dmsg_name host;
    if (count == 0 || count > DMSG_AUTHORITY_CERTIFICATES_MAX)
        return dmsg_fail(error, DMSG_E_USAGE,
            "the issuers of %zu certificates were asked for, "
            "where 1 to %d are possible",
            count, DMSG_AUTHORITY_CERTIFICATES_MAX);
    int result = dmsg_authority_host(&host, name, error);
    if (result < 0)
        return result;
    if (authority->job_count >= JOBS_MAX)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "the CA certificates of %d names are being fetched already", JOBS_MAX);
    struct job *job = calloc(1, sizeof *job);
    if (job == NULL)
        return dmsg_fail_memory(error);
    *job = (struct job){.authority = authority,
        .host = host,
        .count = count,
        .deadline = deadline,
        .done = done,
        .user = user,
        .next = authority->jobs};
    for (size_t i = 0; i < count; i++) {
        X509_up_ref(certificates[i]);
        job->certificates[i] = certificates[i];
    }
    authority->jobs = job;
    authority->job_count++;
    dmsg_fetcher_hurry(authority->fetcher, 0);
    return 0;
}

/* --------------------------------------------------------------------------------- new and free */

int dmsg_authority_new(struct dmsg_authority **out, const struct dmsg_context *context,
    const struct dmsg_authority_config *config, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_authority_free)
    struct dmsg_authority *authority = calloc(1, sizeof *authority);
    int result = 0;
    if (authority == NULL)
        return dmsg_fail_memory(error);
    authority->issuers.context = context;
    for (size_t i = 0; i < config->server_count && result == 0; i++)
        result = dmsg_pins_add(&authority->pins, dmsg_span_text(config->servers[i]), error);
    if (result == 0)
        result = dmsg_fetcher_new(&authority->fetcher, config, &authority->pins, error);
    if (result < 0)
        return result;
    *out = authority;
    authority = NULL;
    return 0;
}

void dmsg_authority_free(struct dmsg_authority **authority)
{
    struct dmsg_authority *self = *authority;
    if (self == NULL)
        return;
    dmsg_fetcher_free(&self->fetcher); /* from here on nobody is called back */
    while (self->jobs != NULL)
        end_job(self, self->jobs);
    dmsg_issuers_done(&self->issuers);
    free(self);
    *authority = NULL;
}
