/* Whose turn it is to fail; and the allocations, of our code through --wrap and of OpenSSL through
   its own hook. */
#include "failures.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum failures_kind armed;
static long wanted, counted;
static struct failures_hit hit;

static long live, live_in_openssl;
static const char *const *watched;
static bool spilled;

void failures_arm(enum failures_kind kind, long n)
{
    armed = kind;
    wanted = n;
    counted = 0;
    hit = (struct failures_hit){.what = "nothing"};
}

void failures_disarm(void)
{
    armed = FAIL_NOTHING;
}

const struct failures_hit *failures_hit(void)
{
    return &hit;
}

static bool fail_memory(const char *file, int line, bool inside_openssl)
{
    if (armed != FAIL_MEMORY || ++counted != wanted)
        return false;
    hit.reached = true;
    hit.inside_openssl = inside_openssl;
    snprintf(
        hit.what, sizeof hit.what, "allocation %ld, %s:%d", wanted, file != NULL ? file : "", line);
    return true;
}

enum failures_kind failures_now(struct failures_call *call)
{
    bool can = armed == FAIL_ZERO || (armed == FAIL_MINUS_ONE && call->returns_int);
    if (!can || ++counted != wanted)
        return FAIL_NOTHING;
    call->failed++;
    hit.reached = true;
    hit.call = call;
    snprintf(hit.what, sizeof hit.what, "call %ld, %s = %d", wanted, call->name,
        armed == FAIL_ZERO ? 0 : -1);
    return armed;
}

/* ------------------------------------------------------------- what OpenSSL tells of a failure */

extern __typeof__(ERR_get_error) __real_ERR_get_error, __wrap_ERR_get_error;
extern __typeof__(ERR_clear_error) __real_ERR_clear_error, __wrap_ERR_clear_error;
extern __typeof__(ERR_pop_to_mark) __real_ERR_pop_to_mark, __wrap_ERR_pop_to_mark;

static unsigned long listen_to(unsigned long code)
{
    hit.told |= code != 0 && ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE;
    return code;
}

unsigned long __wrap_ERR_get_error(void)
{
    return listen_to(__real_ERR_get_error());
}

void __wrap_ERR_clear_error(void)
{
    while (listen_to(__real_ERR_get_error()) != 0)
        continue;
    __real_ERR_clear_error();
}

int __wrap_ERR_pop_to_mark(void)
{
    listen_to(ERR_peek_last_error());
    return __real_ERR_pop_to_mark();
}

/* ------------------------------------------------------------------------------ our own code */

long failures_live(void)
{
    return live;
}

void failures_watch(const char *const *secrets)
{
    watched = secrets;
    spilled = false;
}

bool failures_spilled(void)
{
    return spilled;
}

static void look_into(void *block)
{
    for (size_t i = 0; watched != NULL && watched[i] != NULL; i++)
        spilled |= memmem(block, malloc_usable_size(block), watched[i], strlen(watched[i])) != NULL;
}

extern __typeof__(malloc) __real_malloc, __wrap_malloc;
extern __typeof__(calloc) __real_calloc, __wrap_calloc;
extern __typeof__(realloc) __real_realloc, __wrap_realloc;
extern __typeof__(strdup) __real_strdup, __wrap_strdup;
extern __typeof__(strndup) __real_strndup, __wrap_strndup;
extern __typeof__(free) __real_free, __wrap_free;

static void *count(void *made)
{
    live += made != NULL;
    return made;
}

static bool fail_ours(const char *function)
{
    return fail_memory(function, 0, false);
}

/* Not zero, as a program cannot rely on it, and not undefined, as look_into looks into it. */
#define FRESH 0xa5

void *__wrap_malloc(size_t size)
{
    void *made = fail_ours("malloc") ? NULL : count(__real_malloc(size));
    return made != NULL ? memset(made, FRESH, size) : NULL;
}

void *__wrap_calloc(size_t number, size_t size)
{
    return fail_ours("calloc") ? NULL : count(__real_calloc(number, size));
}

void *__wrap_realloc(void *old, size_t size)
{
    if (fail_ours("realloc"))
        return NULL;
    if (old != NULL) {
        look_into(old);
        live--;
    }
    return count(__real_realloc(old, size));
}

char *__wrap_strdup(const char *text)
{
    return fail_ours("strdup") ? NULL : count(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t size)
{
    return fail_ours("strndup") ? NULL : count(__real_strndup(text, size));
}

void __wrap_free(void *block)
{
    if (block == NULL)
        return;
    look_into(block);
    live--;
    __real_free(block);
}

/* ----------------------------------------------------------------------------------- OpenSSL */

long failures_live_in_openssl(void)
{
    return live_in_openssl;
}

/* No memory for a size of 0, as OpenSSL's own functions have it. */
static void *openssl_malloc(size_t size, const char *file, int line)
{
    if (size == 0 || fail_memory(file, line, true))
        return NULL;
    void *made = __real_malloc(size);
    live_in_openssl += made != NULL;
    return made;
}

static void openssl_free(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    live_in_openssl -= block != NULL;
    __real_free(block);
}

static void *openssl_realloc(void *old, size_t size, const char *file, int line)
{
    if (size == 0)
        openssl_free(old, file, line);
    if (size == 0 || fail_memory(file, line, true))
        return NULL;
    live_in_openssl += old == NULL;
    return __real_realloc(old, size);
}

bool failures_install(void)
{
    return CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) == 1;
}
