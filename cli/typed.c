#include "typed.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "common.h"

#include <stdlib.h>
#include <string.h>

#define VARIABLE "DANEMSG_TYPED_AS"

/* As texts quote a command; the quote tells it from the program's name in a sentence. */
#define QUOTED "`danemsg "

void put_typed(struct dmsg_buffer *out, struct dmsg_span text)
{
    const size_t size = sizeof QUOTED - 1;
    const char *typed = getenv(VARIABLE);
    while (typed != NULL && text.size > 0) {
        const uint8_t *found = memmem(text.data, text.size, QUOTED, size);
        if (found == NULL)
            break;
        size_t before = (size_t)(found - text.data);
        dmsg_buffer_put(out, text.data, before);
        dmsg_buffer_format(out, "`%s ", typed);
        text = (struct dmsg_span){found + size, text.size - before - size};
    }
    dmsg_buffer_put(out, text.data, text.size);
}

int write_typed(FILE *stream, struct dmsg_span text, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    put_typed(&out, text);
    return out.failed ? dmsg_fail_memory(error)
                      : write_output(stream, dmsg_buffer_span(&out), error);
}
