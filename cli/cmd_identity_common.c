#include "cmd_identity_common.h"

#include "x509/certificate.h"

#include <stdlib.h>

#define DAY 86400
#define WARN_DAYS 30
#define WARN_PART 10

#define SUBJECT_OPTION(member, word, text)                                                         \
    {                                                                                              \
        .name = "subject-" #member, .argument = "TEXT", .kind = OPTION_TEXT,                       \
        .at = offsetof(struct dmsg_subject, member), .variable = word, .help = text                \
    }

static const struct option subject_options[] = {
    SUBJECT_OPTION(country, "COUNTRY", "C of the subject, two letters"),
    SUBJECT_OPTION(state, "STATE", "ST of the subject"),
    SUBJECT_OPTION(locality, "LOCALITY", "L of the subject"),
    SUBJECT_OPTION(organization, "ORGANIZATION", "O of the subject"),
};
const struct option_group subject_group = {"Certificate", subject_options, COUNT(subject_options)};

void own_files_done(struct own_files *own)
{
    dmsg_identity_free(&own->identity);
    free(own->folder);
    own->folder = NULL;
}

int own_files_find_at(struct own_files *own, const struct invocation *self, int index,
    const struct identity_options *options, struct dmsg_error *error)
{
    int result = self->argument_count > index
                     ? name_from(&own->name, self->arguments[index], "name", error)
                     : own_name(&own->name, options, error);
    return result == 0 ? crypto_folder(&own->folder, options, error) : result;
}

int own_files_find(struct own_files *own, const struct invocation *self,
    const struct identity_options *options, struct dmsg_error *error)
{
    return own_files_find_at(own, self, 0, options, error);
}

int own_files_load(struct own_files *own, const struct invocation *self,
    const struct identity_options *options, const struct dmsg_context *context,
    struct dmsg_error *error)
{
    int result = own_files_find(own, self, options, error);
    if (result == 0)
        result = dmsg_identity_load(&own->identity, context, own->folder, &own->name, error);
    return result;
}

const char *role_word(enum dmsg_key_role role)
{
    static const char *const words[] = {
        [DMSG_KEY_CURRENT] = "current", [DMSG_KEY_NEXT] = "next", [DMSG_KEY_OLD] = "old"};
    return words[role];
}

const char *purpose_words(unsigned purposes)
{
    if (purposes == (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION))
        return "signs and decrypts";
    return purposes == DMSG_FOR_SIGNATURES ? "signs" : "decrypts";
}

static void put_clause(struct dmsg_buffer *out, const char *what, int64_t when)
{
    char date[32];
    time_text(date, when);
    dmsg_buffer_format(out, "%s%s %s", out->size > 0 ? "; " : "", what, date);
}

void put_warnings(struct dmsg_buffer *out, const struct dmsg_identity_key *key,
    const struct dmsg_name *name, int64_t now)
{
    int64_t from, to;
    if (key->certificate == NULL)
        return;
    if (dmsg_certificate_dates(&from, &to, key->certificate, NULL) == 0) {
        if (now > to)
            put_clause(out, "its certificate expired on", to);
        else if (to - now < WARN_DAYS * DAY && to - now < (to - from) / WARN_PART)
            put_clause(out, "its certificate expires on", to);
        if (now < from)
            put_clause(out, "its certificate is not valid before", from);
    }
    if (!dmsg_certificate_bears_name(key->certificate, name))
        dmsg_buffer_format(out, "%sits certificate does not bear the name %s (SAN dNSName)",
            out->size > 0 ? "; " : "", name->text);
}

void json_warnings(struct dmsg_buffer *out, const struct dmsg_identity_key *key,
    const struct dmsg_name *name, int64_t now)
{
    struct dmsg_buffer text = {0};
    put_warnings(&text, key, name, now);
    if (text.size > 0)
        json_member(out, "warning", dmsg_buffer_span(&text));
    out->failed |= text.failed;
    dmsg_buffer_done(&text);
}

void print_warnings(const char *program, const struct dmsg_identity *identity, int64_t now)
{
    for (size_t i = 0; i < dmsg_identity_key_count(identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(identity, i);
        struct dmsg_buffer text = {0};
        if (key->role == DMSG_KEY_CURRENT)
            put_warnings(&text, key, dmsg_identity_name(identity), now);
        if (text.size > 0 && !text.failed)
            print_note(program, "warning: own key %s: %.*s", key->kid, (int)text.size,
                (const char *)text.data);
        dmsg_buffer_done(&text);
    }
}

const char *own_key_wanted(const char *key)
{
    return key != NULL && key[0] == '/' && key == getenv("DANEMSG_KEY") ? NULL : key;
}

int status_of_poc(int code)
{
    return code == 0 ? 0 : 1;
}
