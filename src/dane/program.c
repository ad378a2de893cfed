#include "dane/program.h"

#include "base/fail.h"
#include "dane/paths.h"

#include <stdlib.h>
#include <string.h>

static int add(struct dmsg_program *program, size_t at, const char *text, struct dmsg_error *error)
{
    program->arguments[at] = strdup(text);
    return program->arguments[at] == NULL ? dmsg_fail_memory(error) : 0;
}

int dmsg_program_copy(struct dmsg_program *out, const char *path, const char *const *arguments,
    const char *last, struct dmsg_error *error)
{
    const char *found = path != NULL ? path : DMSG_LIBEXEC "/danemsg-resolver";
    size_t count = 0;
    int result = 0;
    /* The process may start in another folder than this one. */
    if (found[0] != '/')
        out->path = realpath(found, NULL);
    if (out->path == NULL)
        out->path = strdup(found);
    if (out->path == NULL)
        return dmsg_fail_memory(error);
    for (; result == 0 && arguments != NULL && arguments[count] != NULL; count++) {
        if (count == DMSG_PROGRAM_ARGUMENTS_MAX)
            return dmsg_fail(error, DMSG_E_USAGE, "more than %d arguments for the resolver process",
                DMSG_PROGRAM_ARGUMENTS_MAX);
        result = add(out, count, arguments[count], error);
    }
    return result == 0 && last != NULL ? add(out, count, last, error) : result;
}

void dmsg_program_done(struct dmsg_program *program)
{
    free(program->path);
    for (size_t i = 0; i <= DMSG_PROGRAM_ARGUMENTS_MAX; i++)
        free(program->arguments[i]);
    *program = (struct dmsg_program){0};
}

/* C adds const to a pointer's target by itself, but not one level below. */
const char *const *dmsg_program_arguments(const struct dmsg_program *program)
{
    union {
        char *const *in;
        const char *const *out;
    } pointer = {.in = program->arguments};
    return pointer.out;
}
