#include "reload.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "x509/mark.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_PAUSE 1000

int reload_init(struct reload *reload, const char *program, const struct dmsg_context *context,
    const struct identity_options *options, const struct dmsg_identity *first,
    struct dmsg_error *error)
{
    /* Without a mark the first look reads the files once more: they may have changed between. */
    *reload = (struct reload){.program = program, .context = context, .first = first};
    reload->looked_at = dmsg_now_ms();
    return crypto_folder(&reload->folder, options, error);
}

const struct dmsg_identity *reload_identity(const struct reload *reload)
{
    return reload->used != NULL ? reload->used : reload->first;
}

static void say(struct reload *reload, const struct dmsg_error *why)
{
    if (strcmp(reload->said, why->text) == 0)
        return;
    memcpy(reload->said, why->text, sizeof reload->said);
    print_note(reload->program, "keys changed on disk, those of before stay in use: %s", why->text);
}

static bool same_certificate(const X509 *a, const X509 *b)
{
    return a == NULL || b == NULL ? a == b : X509_cmp(a, b) == 0;
}

static bool same_keys(const struct dmsg_identity *a, const struct dmsg_identity *b)
{
    size_t count = dmsg_identity_key_count(a);
    if (count != dmsg_identity_key_count(b))
        return false;
    for (size_t i = 0; i < count; i++) {
        const struct dmsg_identity_key *one = dmsg_identity_key_get(a, i);
        const struct dmsg_identity_key *other = dmsg_identity_key_get(b, i);
        if (one->role != other->role || strcmp(one->kid, other->kid) != 0 ||
            !same_certificate(one->certificate, other->certificate) ||
            one->issuer_count != other->issuer_count)
            return false;
        for (size_t j = 0; j < one->issuer_count; j++) {
            if (!same_certificate(one->issuers[j], other->issuers[j]))
                return false;
        }
    }
    return true;
}

const struct dmsg_identity *reload_look(struct reload *reload, bool at_once)
{
    const struct dmsg_identity *used = reload_identity(reload);
    struct dmsg_error why;
    uint64_t mark;
    int64_t now = dmsg_now_ms();
    if (reload->folder == NULL || (!at_once && now - reload->looked_at < LOOK_PAUSE))
        return NULL;
    reload->looked_at = now;
    const struct dmsg_name *name = dmsg_identity_name(used);
    int result = dmsg_files_mark(&mark, reload->folder, name, &why);
    if (result == 0 && mark == reload->mark)
        return NULL;
    dmsg_identity_free(&reload->fresh);
    if (result == 0)
        result =
            dmsg_identity_load_again(&reload->fresh, reload->context, reload->folder, used, &why);
    if (result < 0) {
        /* Not usable as they are: a wrong PIN least of all, since tokens lock themselves. */
        reload->mark = result == DMSG_E_CERTIFICATE ? mark : 0;
        say(reload, &why);
        return NULL;
    }
    reload->mark = mark;
    if (same_keys(used, reload->fresh))
        dmsg_identity_free(&reload->fresh);
    return reload->fresh;
}

void reload_use(struct reload *reload)
{
    dmsg_identity_free(&reload->used);
    reload->used = reload->fresh;
    reload->fresh = NULL;
    reload->said[0] = '\0';
    const struct dmsg_identity_key *key = dmsg_identity_current(reload->used, DMSG_FOR_SIGNATURES);
    print_note(reload->program, "keys changed on disk, and are in use%s%s",
        key != NULL ? "; what is signed is signed with " : "", key != NULL ? key->kid : "");
}

void reload_refuse(struct reload *reload, const struct dmsg_error *why)
{
    dmsg_identity_free(&reload->fresh);
    reload->mark = 0;
    say(reload, why);
}

void reload_done(struct reload *reload)
{
    dmsg_identity_free(&reload->fresh);
    dmsg_identity_free(&reload->used);
    free(reload->folder);
    reload->folder = NULL;
}
