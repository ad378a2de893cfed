/* danemsg doctor: the files of the identity. */
#include "base/cleanup.h"
#include "cmd_identity_common.h"
#include "doctor.h"
#include "hardware.h"
#include "x509/files.h"
#include "x509/rollover.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define OTHERS_WRITE (S_IWGRP | S_IWOTH)

/* -------------------------------------------------------------------------------------- files */

/* Whoever may write there can put another key in place of ours. */
static void check_folder(struct doctor *doctor, const struct dmsg_folder *folder)
{
    struct stat facts;
    if (fstat(folder->fd, &facts) == 0 && (facts.st_mode & OTHERS_WRITE) != 0)
        doctor_warn(doctor, DMSG_E_LOCAL, "chmod go-w that folder",
            "others may replace the files in %s (mode %04o)", folder->path,
            (unsigned)facts.st_mode & 07777);
}

/* Reads one private key by itself, so that each has its own line; of one in hardware where it is:
   a token takes a wrong PIN a few times only. */
static bool check_key(struct doctor *doctor, const struct dmsg_folder *folder, const char *file,
    enum dmsg_file_kind kind)
{
    EVP_PKEY *key DMSG_CLEANUP(dmsg_cleanup_pkey) = NULL;
    DMSG_CLEANUP(dmsg_key_uri_done) struct dmsg_key_uri uri = {0};
    struct dmsg_error why;
    struct stat facts;
    int result = kind == DMSG_FILE_KEY_URI
                     ? dmsg_file_read_key_uri(&uri, folder, file, &why)
                     : dmsg_file_read_key(&key, &doctor->context, folder, file, &why);
    if (result < 0) {
        doctor_fail(doctor, why.code, NULL, "%s", why.text);
        return false;
    }
    if (fstatat(folder->fd, file, &facts, AT_SYMLINK_NOFOLLOW) == 0)
        doctor_ok(doctor, "%s/%s can be read by us alone (mode %04o, user %u)", folder->path, file,
            (unsigned)facts.st_mode & 07777, (unsigned)facts.st_uid);
    return true;
}

static void check_public(struct doctor *doctor, const struct dmsg_folder *folder, const char *file)
{
    struct stat facts;
    if (fstatat(folder->fd, file, &facts, 0) == 0 && (facts.st_mode & OTHERS_WRITE) != 0)
        doctor_warn(doctor, DMSG_E_LOCAL, "chmod go-w that file", "others may change %s/%s",
            folder->path, file);
}

/* True when there is a key and all of them can be read. */
static bool check_files(
    struct doctor *doctor, const struct dmsg_file_list *list, const struct dmsg_folder *folder)
{
    char file[DMSG_FILE_NAME_SIZE];
    bool any = false, good = true;
    for (size_t i = 0; i < list->count; i++) {
        enum dmsg_file_kind kind = list->files[i].kind;
        if (dmsg_file_name(file, &doctor->name, list->files[i], NULL) < 0)
            continue;
        any |= dmsg_file_is_key(kind);
        if (dmsg_file_is_key(kind))
            good = check_key(doctor, folder, file, kind) && good;
        else
            check_public(doctor, folder, file);
    }
    if (!any)
        doctor_fail(doctor, DMSG_E_LOCAL, "`danemsg identity new`, or the right --crypto-path",
            "there is no key of %s in %s", doctor->name.text, folder->path);
    return any && good;
}

/* Its certificate says nothing of what its token lets it do. */
static void try_token(struct doctor *doctor, const struct dmsg_identity_key *key)
{
    struct dmsg_error why;
    int result = 0;
    if ((key->purposes & DMSG_FOR_SIGNATURES) != 0)
        result = hardware_try_signing(key->key, key->context, &why);
    if (result < 0) {
        doctor_fail(doctor, result, "`danemsg identity rollover start` to another key",
            "%s key %s in hardware (%s) does not sign: %s", role_word(key->role), key->kid,
            key->uri, why.text);
        return;
    }
    if ((key->purposes & DMSG_FOR_ENCRYPTION) != 0)
        result = hardware_try_decryption(key->key, key->context, &why);
    if (result < 0)
        doctor_fail(doctor, result, "`danemsg identity rollover start` to another key",
            "%s key %s in hardware (%s) does not decrypt: %s", role_word(key->role), key->kid,
            key->uri, why.text);
    else
        doctor_ok(doctor, "%s key %s is in hardware (%s), where it %s", role_word(key->role),
            key->kid, key->uri, purpose_words(key->purposes));
}

/* What the keys are, once all of them are read together with their certificates. */
static void load(struct doctor *doctor)
{
    struct dmsg_error why;
    if (dmsg_identity_load(&doctor->me, &doctor->context, doctor->folder, &doctor->name, &why) <
        0) {
        doctor_fail(doctor, why.code, NULL, "%s", why.text);
        return;
    }
    for (size_t i = 0; i < dmsg_identity_key_count(doctor->me); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(doctor->me, i);
        char description[DMSG_KEY_DESCRIPTION_SIZE];
        dmsg_key_describe(description, key->key);
        doctor_ok(doctor, "%s key %s, %s, kid %s%s", role_word(key->role), description,
            purpose_words(key->purposes), key->kid,
            key->certificate != NULL ? ", with its certificate" : "");
        if (key->uri != NULL)
            try_token(doctor, key);
    }
}

void doctor_identity(struct doctor *doctor)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    struct dmsg_file_list list;
    struct dmsg_error why;
    int result = dmsg_folder_open(&folder, doctor->folder, &why);
    if (result == 0)
        result = dmsg_file_list_read(&list, doctor->folder, &doctor->name, &why);
    if (result < 0) {
        doctor_fail(
            doctor, result, "`danemsg identity new`, or the right --crypto-path", "%s", why.text);
        return;
    }
    check_folder(doctor, &folder);
    if (check_files(doctor, &list, &folder))
        load(doctor);
}

/* ------------------------------------------------------------------------------- certificates */

void doctor_certificate(struct doctor *doctor)
{
    int64_t now = dmsg_context_now(&doctor->context);
    for (size_t i = 0; i < dmsg_identity_key_count(doctor->me); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(doctor->me, i);
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
        char until[32];
        int64_t from, to;
        put_warnings(&text, key, &doctor->name, now);
        if (text.size > 0)
            doctor_warn(doctor, DMSG_E_CERTIFICATE, "`danemsg identity rollover start`",
                "%s key %s: %.*s", role_word(key->role), key->kid, (int)text.size,
                (const char *)text.data);
        else if (key->certificate == NULL)
            doctor_ok(doctor, "%s key %s has none, and a record of the bare key needs none",
                role_word(key->role), key->kid);
        else if (dmsg_certificate_dates(&from, &to, key->certificate, NULL) == 0) {
            time_text(until, to);
            doctor_ok(doctor, "%s key %s: bears the name, valid until %s", role_word(key->role),
                key->kid, until);
        }
    }
}

/* ----------------------------------------------------------------------------------- rollover */

static bool has_role(const struct doctor *doctor, enum dmsg_key_role role)
{
    for (size_t i = 0; i < dmsg_identity_key_count(doctor->me); i++) {
        if (dmsg_identity_key_get(doctor->me, i)->role == role)
            return true;
    }
    return false;
}

void doctor_rollover(struct doctor *doctor)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    struct dmsg_rollover rollover;
    struct dmsg_error why;
    int found = dmsg_folder_open(&folder, doctor->folder, &why);
    if (found == 0)
        found = dmsg_rollover_read(&rollover, &folder, &doctor->name, &why);
    if (found < 0)
        doctor_fail(doctor, found, NULL, "%s", why.text);
    else if (found == 1 && (rollover.phase == DMSG_ROLLOVER_SWITCHING ||
                               rollover.phase == DMSG_ROLLOVER_ABORTING))
        doctor_warn(doctor, DMSG_E_LOCAL, "repeat that step of `danemsg identity rollover`",
            "one was interrupted while it was %s", dmsg_rollover_word(rollover.phase));
    else if (found == 1)
        doctor_ok(doctor,
            "one is under way (%s): `danemsg identity rollover status` says what is "
            "next",
            dmsg_rollover_word(rollover.phase));
    else if (has_role(doctor, DMSG_KEY_NEXT) || has_role(doctor, DMSG_KEY_OLD))
        doctor_warn(doctor, DMSG_E_LOCAL,
            "`danemsg identity rollover start` goes on with a next key; move old files away",
            "there are %s.%s.* files and no rollover", doctor->name.text,
            has_role(doctor, DMSG_KEY_NEXT) ? "next" : "old");
    else
        doctor_ok(doctor, "none is under way");
}
