#include "base/fail.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct description {
    const char *word;
    int status;
    const char *meaning;
};

static const struct description descriptions[DMSG_ERROR_COUNT] = {
#define DESCRIPTION(name, word, status, meaning) {word, status, meaning},
    DMSG_ERRORS(DESCRIPTION)
#undef DESCRIPTION
};

static const struct description *find(int code)
{
    if (code >= 0 || code < -DMSG_ERROR_COUNT)
        return NULL;
    return &descriptions[-1 - code];
}

const char *dmsg_error_word(int code)
{
    const struct description *found = find(code);
    return found != NULL ? found->word : "ok";
}

const char *dmsg_error_meaning(int code)
{
    const struct description *found = find(code);
    return found != NULL ? found->meaning : "done";
}

int dmsg_error_exit_status(int code)
{
    const struct description *found = find(code);
    return found != NULL ? found->status : 0;
}

int dmsg_error_code_of(const char *word)
{
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        if (strcmp(descriptions[i].word, word) == 0)
            return -1 - i;
    }
    return 0;
}

static void make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            *text = '?';
    }
}

__attribute__((format(printf, 3, 0))) static int fill(
    struct dmsg_error *error, int code, const char *format, va_list arguments)
{
    char text[DMSG_ERROR_TEXT];
    if (error == NULL)
        return code;
    vsnprintf(text, sizeof text, format, arguments);
    make_printable(text);
    error->code = code;
    memcpy(error->text, text, sizeof text);
    return code;
}

int dmsg_fail(struct dmsg_error *error, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    code = fill(error, code, format, arguments);
    va_end(arguments);
    return code;
}

int dmsg_fail_memory(struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_INTERNAL, "out of memory");
}

int dmsg_fail_openssl(struct dmsg_error *error, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int code =
        dmsg_fail(error, DMSG_E_INTERNAL, "%s: OpenSSL says %s", what, reason ? reason : "nothing");
    ERR_clear_error();
    return code;
}

bool dmsg_openssl_lacked_memory(void)
{
    bool lacked = false;
    for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error())
        lacked |= ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return lacked;
}

int dmsg_fail_errno(struct dmsg_error *error, int code, const char *format, ...)
{
    int saved = errno;
    char what[DMSG_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return dmsg_fail(error, code, "%s: %s", what, strerror(saved));
}

int dmsg_fail_in(struct dmsg_error *error, int code, const char *format, ...)
{
    char prefix[DMSG_ERROR_TEXT];
    char text[DMSG_ERROR_TEXT];
    va_list arguments;
    if (error == NULL)
        return code;
    va_start(arguments, format);
    vsnprintf(prefix, sizeof prefix, format, arguments);
    va_end(arguments);
    memcpy(text, error->text, sizeof text);
    return dmsg_fail(error, code, "%s: %s", prefix, text);
}
