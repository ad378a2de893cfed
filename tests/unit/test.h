/*
 * The smallest test frame: a table of named functions, TAP on stdout.
 *
 *     static void refuses_padding(void) { CHECK(decode("QQ==") < 0); }
 *     TEST_MAIN(TEST(refuses_padding))
 *
 * CHECK records the first failure of its test with file and line and goes on; SKIP ends the test.
 */
#ifndef DANEMSG_TEST_H
#define DANEMSG_TEST_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct test {
    const char *name;
    void (*run)(void);
};

static bool test_failed;
static char test_skipped[200];

__attribute__((format(printf, 3, 4), unused)) static void test_fail(
    const char *file, int line, const char *format, ...)
{
    va_list arguments;
    test_failed = true;
    printf("# %s:%d: ", file, line);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            test_fail(__FILE__, __LINE__, "not so: %s", #condition);                               \
    } while (0)

/* As CHECK, with a text that says which row of a table it was. */
#define CHECK_ROW(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_fail(__FILE__, __LINE__, "not so: %s", #condition);                               \
            test_fail(__FILE__, __LINE__, __VA_ARGS__);                                            \
        }                                                                                          \
    } while (0)

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_fail(__FILE__, __LINE__, "not so: %s", #condition);                               \
            return;                                                                                \
        }                                                                                          \
    } while (0)

#define SKIP(...)                                                                                  \
    do {                                                                                           \
        snprintf(test_skipped, sizeof test_skipped, __VA_ARGS__);                                  \
        return;                                                                                    \
    } while (0)

static int test_run(const struct test *tests, size_t count)
{
    bool any_failed = false;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        test_failed = false;
        test_skipped[0] = '\0';
        tests[i].run();
        printf("%s %zu - %s%s%s\n", test_failed ? "not ok" : "ok", i + 1, tests[i].name,
            test_skipped[0] ? " # SKIP " : "", test_skipped);
        fflush(stdout);
        any_failed |= test_failed;
    }
    return any_failed;
}

/* Its system calls are not all of the kernel's. */
static inline bool test_in_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
}

#define TEST(function)                                                                             \
    {                                                                                              \
        .name = #function, .run = function                                                         \
    }

#define TEST_MAIN(...)                                                                             \
    int main(void)                                                                                 \
    {                                                                                              \
        static const struct test tests[] = {__VA_ARGS__};                                          \
        return test_run(tests, sizeof tests / sizeof tests[0]);                                    \
    }

#endif
