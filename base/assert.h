#pragma once
// Assertions that stay on in release builds: a wrong bill is worse than a stopped process.
//
//     must(batch != NULL);
//     assert_slow(cells_validate(cells));   // only in builds with ASSERT_SLOW

// Stops the process (SIGABRT) with file, line and text on standard error.
_Noreturn void must_fail(const char *file, int line, const char *text);

#define must(condition)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            must_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)

#ifdef ASSERT_SLOW
#define assert_slow(condition) must(condition)
#else
#define assert_slow(condition) ((void)sizeof(!(condition)))
#endif
