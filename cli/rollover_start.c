/* danemsg identity rollover start: makes the next key and has both records published. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "hardware.h"
#include "own_keys.h"
#include "rollover.h"
#include "x509/certificate.h"
#include "x509/save.h"

#include <string.h>

/* What a current key is called, and what its successor is made as. */
static const struct {
    const char *description;
    enum dmsg_key_type type;
} successors[] = {
    {"EC P-256", DMSG_KEY_P256},
    {"EC P-384", DMSG_KEY_P384},
    {"EC P-521", DMSG_KEY_P521},
    {"Ed25519", DMSG_KEY_ED25519},
    {"RSA 2048", DMSG_KEY_RSA2048},
    {"RSA 3072", DMSG_KEY_RSA3072},
    {"RSA 4096", DMSG_KEY_RSA4096},
};

static int choose_type(
    const struct rollover_run *run, enum dmsg_key_type *out, struct dmsg_error *error)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    const struct dmsg_identity_key *current = dmsg_identity_key_get(run->own.identity, 0);
    if (run->options->key != NULL)
        return dmsg_key_type_parse(out, run->options->key, error);
    if (current->uri != NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "the current key is in hardware (%s), where none is made: say with --key which one of "
            "the token comes next, or of which type one in a file is to be",
            current->uri);
    dmsg_key_describe(description, current->key);
    for (size_t i = 0; i < COUNT(successors); i++) {
        if (strcmp(description, successors[i].description) == 0) {
            *out = successors[i].type;
            return 0;
        }
    }
    return dmsg_fail(error, DMSG_E_USAGE,
        "the current key is %s, which is not made here: choose another with --key", description);
}

/* --------------------------------------------------------------------------------- making it */

static int refuse_strange_files(const struct rollover_run *run, struct dmsg_error *error)
{
    struct dmsg_file_list list;
    char file[DMSG_FILE_NAME_SIZE];
    int result = dmsg_file_list_read(&list, run->own.folder, &run->own.name, error);
    for (size_t i = 0; result == 0 && i < list.count; i++) {
        if (list.files[i].role == DMSG_KEY_CURRENT)
            continue;
        result = dmsg_file_name(file, &run->own.name, list.files[i], error);
        if (result == 0)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "%s/%s is there, of which no rollover of danemsg's knows: move it away, if "
                "nothing is encrypted to it any more",
                run->own.folder, file);
    }
    return result;
}

/* There must be something to roll over from, seen by others. */
static int check_published(struct rollover_run *run, struct dmsg_error *error)
{
    const struct dmsg_peer_key *any[DMSG_PEER_KEYS_MAX];
    int result = rollover_look(run, error);
    if (result < 0)
        return result;
    int count = dmsg_peer_sender_keys(run->peer, (struct dmsg_span){0}, any, error);
    if (count == DMSG_E_NO_IDENTITY)
        return dmsg_fail_in(error, count, "no key to roll over from is published");
    if (!rollover_shows_all(run, DMSG_KEY_CURRENT))
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "DNS does not show the current key of %s: publish it first (`danemsg identity check` "
            "says what is missing)",
            run->own.name.text);
    return 0;
}

/* What is to be known of a key that is lost half-way is written before it: a state without files
   is made again, files without a state would be anybody's. */
static int write_next(
    struct rollover_run *run, const struct dmsg_material *made, struct dmsg_error *error)
{
    struct dmsg_save_options how = {.role = DMSG_KEY_NEXT, .replace = true};
    how.set_owner = dmsg_file_owner(&how.owner, &run->folder, &run->own.name, NULL) == 0;
    run->state = (struct dmsg_rollover){.phase = DMSG_ROLLOVER_MADE,
        .single_record = run->options->single_record,
        .encryption = made->encryption_key != NULL,
        .made_at = dmsg_context_now(&run->context),
        .ttl = run->peer->ttl};
    memcpy(run->state.old_kid, dmsg_identity_key_get(run->own.identity, 0)->kid, DMSG_KEY_ID_SIZE);
    int result = dmsg_key_id(run->state.new_kid, made->key, error);
    if (result == 0)
        result = rollover_save(run, error);
    return result == 0 ? dmsg_material_save(run->own.folder, &run->own.name, made, &how, error)
                       : result;
}

/* Is a file of the next key there? */
static int has_file(const struct rollover_run *run, bool encryption, enum dmsg_file_kind kind,
    struct dmsg_error *error)
{
    char file[DMSG_FILE_NAME_SIZE];
    int result = dmsg_file_name(
        file, &run->own.name, (struct dmsg_file){DMSG_KEY_NEXT, encryption, kind}, error);
    return result == 0 ? dmsg_file_present(&run->folder, file, error) : result;
}

/* 1, 0, or an error. The key is the first of the files that are written. */
static int is_complete(const struct rollover_run *run, struct dmsg_error *error)
{
    int result = has_file(run, false, DMSG_FILE_CERTIFICATE, error);
    if (result == 0)
        result = has_file(run, false, DMSG_FILE_REQUEST, error);
    if (result == 1 && run->state.encryption)
        result = has_file(run, true, DMSG_FILE_KEY, error);
    if (result == 1 && run->state.encryption)
        result = has_file(run, true, DMSG_FILE_CERTIFICATE, error);
    return result;
}

/* `start` was interrupted between the next key's files: nobody has seen that key, and another one
   is made. */
static int drop_incomplete(struct rollover_run *run, struct dmsg_error *error)
{
    if (run->state.phase != DMSG_ROLLOVER_MADE || run->state.offered || !rollover_has_next(run))
        return 0;
    int complete = is_complete(run, error);
    if (complete != 0)
        return complete < 0 ? complete : 0;
    print_note(run->program, "the next key was not written whole: making it again");
    int result = dmsg_rollover_end(&run->folder, &run->own.name, DMSG_KEY_NEXT, error);
    run->state = (struct dmsg_rollover){0};
    return result == 0 ? rollover_load(run, error) : result;
}

/* The key that --key names becomes the next one; one that this identity has is none. */
static int take_hardware(struct rollover_run *run, struct hardware *hardware,
    struct dmsg_creation *wanted, struct dmsg_error *error)
{
    char kid[DMSG_KEY_ID_SIZE];
    const struct dmsg_identity *me = run->own.identity;
    int result = hardware_find(hardware, run->options->key, &run->context, me, error);
    if (result == 0)
        result = dmsg_key_id(kid, hardware->key.key, error);
    for (size_t i = 0; result == 0 && i < dmsg_identity_key_count(me); i++) {
        if (strcmp(dmsg_identity_key_get(me, i)->kid, kid) == 0)
            result = dmsg_fail(error, DMSG_E_USAGE,
                "%s is the key that %s has already (kid %s): a rollover is to another",
                hardware->uri.shown, run->own.name.text, kid);
    }
    if (result < 0)
        return result;
    hardware_use(hardware, wanted, run->program);
    return 0;
}

static int make_and_write(struct rollover_run *run, struct dmsg_error *error)
{
    const struct rollover_options *options = run->options;
    DMSG_CLEANUP(hardware_done) struct hardware hardware = {0};
    DMSG_CLEANUP(dmsg_material_done) struct dmsg_material made = {0};
    struct dmsg_creation wanted = {.name = &run->own.name,
        .days = options->days != 0 ? (int)options->days : DMSG_DAYS_DEFAULT,
        .request = options->request,
        .subject = options->subject};
    bool in_token = options->key != NULL && dmsg_key_uri_is_one(options->key);
    int result = in_token ? 0 : choose_type(run, &wanted.type, error);
    if (result == 0)
        result = check_published(run, error);
    if (result == 0 && in_token)
        result = take_hardware(run, &hardware, &wanted, error);
    if (result == 0)
        result = dmsg_material_create(&made, &run->context, &wanted, error);
    if (result == 0)
        result = write_next(run, &made, error);
    if (result == 0)
        print_note(run->program, "wrote %s/%s.next.key.%s and what belongs to it, kid %s",
            run->own.folder, run->own.name.text, in_token ? "uri" : "pem", run->state.new_kid);
    return result;
}

/* What was made is let go of before it is loaded: a token may have one user at a time. */
static int make_next(struct rollover_run *run, struct dmsg_error *error)
{
    int result = make_and_write(run, error);
    return result == 0 ? rollover_load(run, error) : result;
}

/* ------------------------------------------------------------------------------ publishing it */

static int note_published(
    struct rollover_run *run, const struct published *published, struct dmsg_error *error)
{
    if (published->ttl > run->state.ttl)
        run->state.ttl = published->ttl;
    if (published->seen_at != 0 && dmsg_context_synchronised(&run->context)) {
        run->state.seen_at = published->seen_at;
        run->state.phase = DMSG_ROLLOVER_STARTED;
    }
    return rollover_save(run, error);
}

static int paste_both(struct rollover_run *run, const struct record_list *list, size_t first,
    struct dmsg_error *error)
{
    /* Who pastes knows the TTL that the old record had; a cache on the way shows less. */
    if (run->options->publish.ttl > run->state.ttl)
        run->state.ttl = run->options->publish.ttl;
    int result = rollover_save(run, error);
    if (result == 0)
        result = rollover_observe(run, error);
    if (result < 0 || run->state.phase == DMSG_ROLLOVER_STARTED)
        return result;
    print_note(run->program,
        "DNS needs this beside the record%s that %s there, which stay%s:", first == 1 ? "" : "s",
        first == 1 ? "is" : "are", first == 1 ? "s" : "");
    return rollover_print_records(run, list, first, error);
}

static int publish_both(struct rollover_run *run, struct dmsg_error *error)
{
    DMSG_CLEANUP(record_list_done) struct record_list list = {0};
    struct published published = {0};
    int result = rollover_add_records(run, DMSG_KEY_CURRENT, &list, error);
    size_t current = list.count;
    if (result == 0)
        result = rollover_add_records(run, DMSG_KEY_NEXT, &list, error);
    run->state.offered = true;
    if (result == 0 && !publishing_possible(&run->options->publish))
        return paste_both(run, &list, current, error);
    if (result == 0)
        result = rollover_save(run, error);
    if (result < 0)
        return result;
    /* What is in DNS but not seen in time counts as well: its TTL is that of the answer of before.
     */
    result = rollover_publish(run, &list, list.count, &published, error);
    int noted = note_published(run, &published, result < 0 ? NULL : error);
    return result < 0 ? result : noted;
}

/* They are for a key that is there already. */
static int refuse_options(const struct rollover_run *run, struct dmsg_error *error)
{
    const struct rollover_options *options = run->options;
    if (options->key == NULL && options->days == 0 && !options->request &&
        options->single_record == run->state.single_record)
        return 0;
    return dmsg_fail(error, DMSG_E_LOCAL,
        "a rollover of %s is under way, and its key is made: without --key, --days and --csr, and "
        "with or without --single-record as before, `start` goes on with it; `abort` ends it",
        run->own.name.text);
}

int rollover_start(struct rollover_run *run, struct dmsg_error *error)
{
    const char *name = run->own.name.text;
    int result;
    if (run->state.phase > DMSG_ROLLOVER_STARTED)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the last rollover of %s is not finished: `danemsg identity rollover finish %s`, and "
            "`status` says when",
            name, name);
    result = drop_incomplete(run, error);
    if (result < 0)
        return result;
    if (rollover_has_next(run)) {
        result = refuse_options(run, error);
        if (result == 0)
            result = rollover_look(run, error);
    } else {
        result = refuse_strange_files(run, error);
        if (result == 0)
            result = make_next(run, error);
    }
    if (result < 0)
        return result;
    if (run->state.phase == DMSG_ROLLOVER_MADE && !run->state.single_record &&
        !rollover_needs_certificate(run))
        result = publish_both(run, error);
    return result == 0 ? rollover_say_next(run, error) : result;
}
