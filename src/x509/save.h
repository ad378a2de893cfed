/*
 * Writing the files of an identity, so that a crash leaves a set that can be loaded: everything is
 * on disk under temporary names before the first final name appears, the key comes first, and a
 * certificate never stands beside a key that is not its own.
 */
#ifndef DANEMSG_X509_SAVE_H
#define DANEMSG_X509_SAVE_H

#include "danemsg/name.h"
#include "x509/create.h"
#include "x509/files.h"

#include <sys/types.h>

struct dmsg_save_options {
    bool replace;   /* the role's key, certificate and request that are there; they are lost */
    bool set_owner; /* give files, and folders that are made, to this user; ignored if not root */
    uid_t owner;
    enum dmsg_key_role role; /* whose files they are; current or next */
};

/*
 * Writes NAME.key.pem (or NAME.key.uri), NAME.crt.pem or NAME.csr.pem, and NAME.enc.*, all 0600, as
 * the current identity of a name, or NAME.next.* as its next; makes the folder (0700) when it is
 * missing. Without replace: DMSG_E_LOCAL when any file of the name in that role is there, and
 * nothing has changed. With replace, files of the role's old key that get no successor are removed;
 * other roles' stay.
 */
int dmsg_material_save(const char *folder, const struct dmsg_name *name,
    const struct dmsg_material *material, const struct dmsg_save_options *options,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Writes one file of a name's, whole or not at all, 0600, in place of what is there. When root
 * does it, it belongs to whom the name's key file belongs.
 */
int dmsg_file_replace(const struct dmsg_folder *folder, const struct dmsg_name *name,
    const char *file, struct dmsg_span content, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Whose the name's current key file is. DMSG_E_LOCAL: there is none. */
int dmsg_file_owner(uid_t *out, const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
