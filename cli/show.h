/* Showing an accepted message: as a line, as JSON, or as mosquitto_sub's -F has it. */
#ifndef DANEMSG_CLI_SHOW_H
#define DANEMSG_CLI_SHOW_H

#include "common.h"
#include "danemsg/store.h"

/* "alice.example says: HELLO THERE", escaped; further lines are indented, so that no text can
   look like another sender's line. No newline at the end. */
void show_line(struct dmsg_buffer *out, const struct dmsg_record *record);

/* One object: payload as text when it is UTF-8, else payload_base64. */
void show_json(struct dmsg_buffer *out, const struct dmsg_record *record, bool pretty);

/*
 * %p payload, %t topic, %l its length, %x %X in hexadecimal, %I time of arrival (ISO 8601),
 * %U in seconds, %j JSON, %{sender} %{id} %{cty} %{format}, %%; and \n \r \t \e \0 \\.
 * DMSG_E_USAGE for anything else.
 */
int show_format(struct dmsg_buffer *out, const struct dmsg_record *record, const char *format,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
