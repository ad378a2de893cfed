/* The CA certificates of this system, as OpenSSL would find them, but read at once: the process
   that uses them can open no file later. */
#ifndef DANEMSG_DANE_FETCH_TRUST_H
#define DANEMSG_DANE_FETCH_TRUST_H

#include "danemsg/error.h"
#include "danemsg/span.h"

/* Octets that are read: a distribution's bundle has 220 KiB. */
#define DMSG_TRUST_MAX (8 * 1024 * 1024)

/* Appends PEM: the file that SSL_CERT_FILE names or OpenSSL has built in, and the hashed folder of
   SSL_CERT_DIR; the built-in folder only where there is no file, since it holds the same.
   DMSG_E_LOCAL: there is none at all. DMSG_E_SIZE: more than out's limit. */
int dmsg_trust_read(struct dmsg_buffer *out, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
