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
    bool replace;   /* the current key, certificate and request that are there; they are lost */
    bool set_owner; /* give files, and folders that are made, to this user; ignored if not root */
    uid_t owner;
};

/*
 * Writes NAME.key.pem, NAME.crt.pem or NAME.csr.pem, and NAME.enc.*, all 0600, as the current
 * identity of a name; makes the folder (0700) when it is missing. Without replace: DMSG_E_LOCAL
 * when any current file of the name is there, and nothing has changed. With replace, files of the
 * old current key that get no successor are removed; next and old keys stay.
 */
int dmsg_material_save(const char *folder, const struct dmsg_name *name,
    const struct dmsg_material *material, const struct dmsg_save_options *options,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
