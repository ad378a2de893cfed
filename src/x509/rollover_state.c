/* NAME.rollover: a text of our own, read as strictly as it is written. */
#include "x509/rollover.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/save.h"

#include <errno.h>
#include <string.h>

/* NAME.rollover: a dozen short lines. */
#define STATE_FILE_MAX 4096
#define STATE_FIRST_LINE "danemsg rollover 1"

static const char *const phase_words[] = {
#define PHASE_WORD(name, word) word,
    DMSG_ROLLOVER_PHASES(PHASE_WORD)
#undef PHASE_WORD
};

const char *dmsg_rollover_word(enum dmsg_rollover_phase phase)
{
    return phase_words[phase];
}

enum field_kind { FIELD_PHASE, FIELD_BOOL, FIELD_KID, FIELD_NUMBER };

static const struct field {
    const char *word;
    enum field_kind kind;
    size_t at;
} fields[] = {
    {"phase", FIELD_PHASE, offsetof(struct dmsg_rollover, phase)},
    {"single-record", FIELD_BOOL, offsetof(struct dmsg_rollover, single_record)},
    {"encryption-key", FIELD_BOOL, offsetof(struct dmsg_rollover, encryption)},
    {"offered", FIELD_BOOL, offsetof(struct dmsg_rollover, offered)},
    {"old-key", FIELD_KID, offsetof(struct dmsg_rollover, old_kid)},
    {"new-key", FIELD_KID, offsetof(struct dmsg_rollover, new_kid)},
    {"made", FIELD_NUMBER, offsetof(struct dmsg_rollover, made_at)},
    {"seen", FIELD_NUMBER, offsetof(struct dmsg_rollover, seen_at)},
    {"switched", FIELD_NUMBER, offsetof(struct dmsg_rollover, switched_at)},
    {"retracted", FIELD_NUMBER, offsetof(struct dmsg_rollover, retracted_at)},
    {"ttl", FIELD_NUMBER, offsetof(struct dmsg_rollover, ttl)},
};
#define FIELD_COUNT (sizeof fields / sizeof fields[0])

static void put_field(struct dmsg_buffer *out, const struct field *field, const void *rollover)
{
    const char *at = (const char *)rollover + field->at;
    dmsg_buffer_format(out, "%s ", field->word);
    switch (field->kind) {
    case FIELD_PHASE:
        dmsg_buffer_put_text(out, phase_words[*(const enum dmsg_rollover_phase *)(const void *)at]);
        break;
    case FIELD_BOOL:
        dmsg_buffer_put_text(out, *(const bool *)at ? "yes" : "no");
        break;
    case FIELD_KID:
        dmsg_buffer_put_text(out, at);
        break;
    case FIELD_NUMBER:
        dmsg_buffer_format(out, "%lld", (long long)*(const int64_t *)(const void *)at);
        break;
    }
    dmsg_buffer_put_byte(out, '\n');
}

static bool read_phase(enum dmsg_rollover_phase *out, const char *value)
{
    for (unsigned i = 1; i < DMSG_ROLLOVER_PHASE_COUNT; i++) {
        if (strcmp(value, phase_words[i]) == 0) {
            *out = (enum dmsg_rollover_phase)i;
            return true;
        }
    }
    return false;
}

static bool read_number(int64_t *out, const char *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0)
        return false;
    *out = number;
    return true;
}

static bool read_field(const struct field *field, void *rollover, const char *value)
{
    char *at = (char *)rollover + field->at;
    switch (field->kind) {
    case FIELD_PHASE:
        return read_phase((enum dmsg_rollover_phase *)(void *)at, value);
    case FIELD_BOOL:
        *(bool *)at = strcmp(value, "yes") == 0;
        return strcmp(value, "yes") == 0 || strcmp(value, "no") == 0;
    case FIELD_KID:
        if (strlen(value) != DMSG_KEY_ID_SIZE - 1)
            return false;
        memcpy(at, value, DMSG_KEY_ID_SIZE);
        return true;
    case FIELD_NUMBER:
        return read_number((int64_t *)(void *)at, value);
    }
    return false;
}

/* Every field once, in the order of the table: what we wrote ourselves needs no more freedom. */
static bool parse(struct dmsg_rollover *out, char *text)
{
    char *rest = text;
    const char *line = strsep(&rest, "\n");
    if (strcmp(line, STATE_FIRST_LINE) != 0)
        return false;
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        size_t size = strlen(fields[i].word);
        line = rest != NULL ? strsep(&rest, "\n") : "";
        if (strncmp(line, fields[i].word, size) != 0 || line[size] != ' ' ||
            !read_field(&fields[i], out, line + size + 1))
            return false;
    }
    return rest != NULL && *rest == '\0';
}

static int name_state_file(
    char out[static DMSG_FILE_NAME_SIZE], const struct dmsg_name *name, struct dmsg_error *error)
{
    static const char kind[] = ".key.pem";
    int status = dmsg_file_name(out, name, (struct dmsg_file){.kind = DMSG_FILE_KEY}, error);
    if (status == 0) {
        size_t stem = strlen(out) - (sizeof kind - 1);
        snprintf(out + stem, DMSG_FILE_NAME_SIZE - stem, ".rollover");
    }
    return status;
}

int dmsg_rollover_read(struct dmsg_rollover *out, const struct dmsg_folder *folder,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = STATE_FILE_MAX};
    struct dmsg_rollover found = {0};
    char file[DMSG_FILE_NAME_SIZE];
    int status = name_state_file(file, name, error);
    if (status == 0)
        status = dmsg_file_present(folder, file, error);
    if (status <= 0)
        return status;
    status = dmsg_file_read_text(&text, folder, file, error);
    if (status < 0)
        return status;
    dmsg_buffer_put_byte(&text, '\0');
    if (text.failed || strlen((const char *)text.data) != text.size - 1 ||
        !parse(&found, (char *)text.data))
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s/%s is not as this version writes it: bring it back, or move it and the "
            "NAME.next.* and NAME.old.* files away",
            folder->path, file);
    *out = found;
    return 1;
}

int dmsg_rollover_write(const struct dmsg_folder *folder, const struct dmsg_name *name,
    const struct dmsg_rollover *rollover, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    char file[DMSG_FILE_NAME_SIZE];
    int status = name_state_file(file, name, error);
    if (status < 0)
        return status;
    dmsg_buffer_put_text(&text, STATE_FIRST_LINE "\n");
    for (size_t i = 0; i < FIELD_COUNT; i++)
        put_field(&text, &fields[i], rollover);
    if (text.failed)
        return dmsg_fail_memory(error);
    return dmsg_file_replace(folder, name, file, dmsg_buffer_span(&text), error);
}

int dmsg_rollover_forget(
    const struct dmsg_folder *folder, const struct dmsg_name *name, struct dmsg_error *error)
{
    char file[DMSG_FILE_NAME_SIZE];
    int status = name_state_file(file, name, error);
    if (status == 0 && unlinkat(folder->fd, file, 0) < 0 && errno != ENOENT)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "removing %s/%s", folder->path, file);
    return status;
}
