/* The calls into OpenSSL: each passes its arguments on, unless it is its turn to fail. */
#include "failures.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdint.h>

#define PEERS_OURS false
#define PEERS_PEERS true

/* Number and row of each. */

enum {
#define CALL(type, name, ...) INDEX_##name,
#define SPARE CALL
#define FALLBACK CALL
#define BEYOND CALL
#define CANNOT_FAIL(name) INDEX_##name,
#include "failures_calls.def"
#undef CALL
#undef CANNOT_FAIL
    COUNT
};
_Static_assert(COUNT < FAILURES_CALLS, "room for every call, and for the NULL after them");

struct failures_call failures_calls[FAILURES_CALLS] = {
#define ROW(type, function, whose, is_spare, is_fallback, is_beyond)                               \
    {.name = #function,                                                                            \
        .may_refuse = PEERS_##whose,                                                               \
        .can_fail = true,                                                                          \
        .spare = is_spare,                                                                         \
        .fallback = is_fallback,                                                                   \
        .beyond = is_beyond,                                                                       \
        .returns_int = __builtin_types_compatible_p(type, int)},
#define CALL(type, function, whose, ...) ROW(type, function, whose, false, false, false)
#undef SPARE
#define SPARE(type, function, whose, ...) ROW(type, function, whose, true, false, false)
#undef FALLBACK
#define FALLBACK(type, function, whose, ...) ROW(type, function, whose, false, true, false)
#undef BEYOND
#define BEYOND(type, function, whose, ...) ROW(type, function, whose, false, false, true)
#define CANNOT_FAIL(function) {.name = #function},
#include "failures_calls.def"
#undef CALL
#undef SPARE
#undef FALLBACK
#undef BEYOND
#undef CANNOT_FAIL
};

/* The functions in their place. The declarations make the compiler compare the types of the list
   with those of OpenSSL. */

#define DECLARE(name) extern __typeof__(name) __real_##name, __wrap_##name
#define OR_FAIL(type, name, call)                                                                  \
    switch (failures_now(&failures_calls[INDEX_##name])) {                                         \
    case FAIL_ZERO:                                                                                \
        return (type)0;                                                                            \
    case FAIL_MINUS_ONE:                                                                           \
        return (type)(intptr_t)-1;                                                                 \
    default:                                                                                       \
        return call;                                                                               \
    }

#define WRAP0(type, name, A)                                                                       \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A)                                                                          \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name())                                                       \
    }
#define WRAP1(type, name, A)                                                                       \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a)                                                                        \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a))                                                      \
    }
#define WRAP2(type, name, A, B)                                                                    \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b)                                                                   \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b))                                                   \
    }
#define WRAP3(type, name, A, B, C)                                                                 \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b, C c)                                                              \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b, c))                                                \
    }
#define WRAP4(type, name, A, B, C, D)                                                              \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b, C c, D d)                                                         \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b, c, d))                                             \
    }
#define WRAP5(type, name, A, B, C, D, E)                                                           \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b, C c, D d, E e)                                                    \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b, c, d, e))                                          \
    }
#define WRAP6(type, name, A, B, C, D, E, F)                                                        \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b, C c, D d, E e, F f)                                               \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b, c, d, e, f))                                       \
    }
#define WRAP7(type, name, A, B, C, D, E, F, G)                                                     \
    DECLARE(name);                                                                                 \
    type __wrap_##name(A a, B b, C c, D d, E e, F f, G g)                                          \
    {                                                                                              \
        OR_FAIL(type, name, __real_##name(a, b, c, d, e, f, g))                                    \
    }

#define CALL(type, name, whose, arity, ...) WRAP##arity(type, name, __VA_ARGS__)
#define SPARE CALL
#define FALLBACK CALL
#define BEYOND CALL
#define CANNOT_FAIL(name)
#include "failures_calls.def"
