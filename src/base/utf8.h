/* Text: UTF-8 (RFC 3629), and showing a peer's text without letting it act. */
#ifndef DANEMSG_BASE_UTF8_H
#define DANEMSG_BASE_UTF8_H

#include "danemsg/span.h"

/* Length 1 to 4 of the well-formed UTF-8 sequence at data, 0 if there is none (overlong forms,
   surrogates and values over U+10FFFF are none). The code point goes to *point if not NULL. */
size_t dmsg_utf8_next(struct dmsg_span text, uint32_t *point);

bool dmsg_utf8_valid(struct dmsg_span text);

/*
 * Appends text so that it cannot move a cursor, hide or reorder: control characters other than
 * newline (C0, DEL, C1), bidi controls, zero-width and line/paragraph separators, tags and
 * unassigned-by-design code points become \u{XXXX}, bytes that are not UTF-8 become \xXX.
 * A backslash stays as it is. With one_line a newline becomes \n and a tab \t.
 */
void dmsg_text_escape(struct dmsg_buffer *out, struct dmsg_span text, bool one_line);

/* Appends a JSON string with quotes (RFC 8259), ASCII only; bytes that are not UTF-8 become
   U+FFFD. */
void dmsg_json_put_string(struct dmsg_buffer *out, struct dmsg_span text);

#endif
