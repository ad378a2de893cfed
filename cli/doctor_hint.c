#include "doctor_hint.h"

#include "base/cleanup.h"
#include "broker.h"
#include "common.h"

#include <string.h>

#define HINT "`danemsg doctor` looks for the cause"

/* Which errors a check explains, in commands that have its options at all. */
static const struct {
    int code;
    const struct option_group *group;
} explained[] = {
    {DMSG_E_BROKER, &broker_group},     /* broker, limits, subscription */
    {DMSG_E_DNS_TEMPORARY, &dns_group}, /* resolver, answer */
    {DMSG_E_DNS_BOGUS, &dns_group},     /* clock, trust-anchor, resolver, signatures */
    {DMSG_E_DNS_INSECURE, &dns_group},  /* trust-anchor, answer */
    {DMSG_E_TIME, &dns_group},          /* clock */
    {DMSG_E_LOCAL, &identity_group},    /* identity, state, disk, store, receiver */
};

/* Of the whole program: set once, at its start. */
static const struct invocation *running;
static bool said;

static const void *group_options(const struct option_group *group)
{
    for (const struct group_use *use = running->command->groups; use != NULL && use->group != NULL;
         use++) {
        if (use->group == group)
            return (const char *)running->options + use->at;
    }
    return NULL;
}

static const char *own_text(const char *name)
{
    for (size_t i = 0; i < running->command->option_count; i++) {
        const struct option *option = &running->command->options[i];
        if (option->name != NULL && strcmp(option->name, name) == 0 && option->kind == OPTION_TEXT)
            return *(const char *const *)((const char *)running->options + option->at);
    }
    return NULL;
}

/* Files that a doctor looks at are in the identity's folder or in that of the state; an input file,
   for instance, is not. */
static bool names_a_folder(const char *text)
{
    char *crypto DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *state DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    const struct identity_options *identity = group_options(&identity_group);
    const struct dns_options *dns = group_options(&dns_group);
    const char *option = own_text("state");
    if (option == NULL)
        option = getenv("DANEMSG_STATE");
    return (crypto_folder(&crypto, identity, NULL) == 0 && strstr(text, crypto) != NULL) ||
           (state_path(&state, option, NULL) == 0 && strstr(text, state) != NULL) ||
           (dns != NULL && dns->trust_anchor != NULL && strstr(text, dns->trust_anchor) != NULL);
}

/* A step of a rollover before its time ends like this too, and nothing is wrong then. */
static bool only_waits(int code)
{
    return code == DMSG_E_DNS_TEMPORARY && strcmp(running->command->name, "identity rollover") == 0;
}

static bool is_explained(int code)
{
    if (only_waits(code))
        return false;
    for (size_t i = 0; i < COUNT(explained); i++) {
        if (explained[i].code == code)
            return group_options(explained[i].group) != NULL;
    }
    return false;
}

/* What the own name lacks in DNS: answer, record. Of others' names `lookup` tells. */
static bool is_of_own_name(int code)
{
    const char *name = running->command->name;
    return (code == DMSG_E_NO_IDENTITY || code == DMSG_E_CERTIFICATE) &&
           (strcmp(name, "identity check") == 0 || strcmp(name, "receive") == 0);
}

static void hint(const char *program, const struct dmsg_error *error)
{
    if (said || (!is_explained(error->code) && !is_of_own_name(error->code)) ||
        (error->code == DMSG_E_LOCAL && !names_a_folder(error->text)))
        return;
    said = true;
    print_note(program, HINT);
}

void doctor_hint_begin(const struct invocation *self)
{
    bool wanted = !self->command->link && strcmp(self->command->name, "doctor") != 0;
    running = wanted ? self : NULL;
    print_after_errors(wanted ? hint : NULL);
}

const char *doctor_hint_event(int code)
{
    if (said || running == NULL || code == DMSG_E_LOCAL || !is_explained(code))
        return NULL;
    said = true;
    return HINT;
}
