/* Fields and certificates for people to read, and the same as JSON for scripts. */
#ifndef DANEMSG_CLI_DESCRIBE_H
#define DANEMSG_CLI_DESCRIBE_H

#include "common.h"

/* Characters shown of one value; a certificate of 8 KiB may be one long name. */
#define FIELD_VALUE_MAX 480

typedef void describe_put(struct dmsg_buffer *out, const X509 *certificate);

/* "  label        value\n", indent spaces before it, the values of all fields in one column. The
   value is escaped, broken at spaces into lines, and cut to FIELD_VALUE_MAX characters; "(none)"
   when it is empty. */
void describe_field(struct dmsg_buffer *out, int indent, const char *label, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void describe_certificate_field(struct dmsg_buffer *out, int indent, const char *label,
    describe_put *put, const X509 *certificate);

/* "9 years", "1 day", "3 hours": the largest unit that fits. */
void duration_text(char out[static 32], int64_t seconds);

/* Subject, issuer, SAN, validity and what is left of it, serial number, signature algorithm, and
   all extensions. */
void describe_certificate(
    struct dmsg_buffer *out, int indent, const X509 *certificate, int64_t now);

/* Their members, inside of an object that the caller opens and closes: doc/LOOKUP.md. */
void json_certificate(struct dmsg_buffer *out, X509 *certificate, const struct dmsg_name *name);

/* Appends `,"name":"2026-11-23T06:00:00Z"`. */
void json_member_time(struct dmsg_buffer *out, const char *name, int64_t seconds);

#endif
