#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void
must_fail(const char *file, int line, const char *text)
{
    // dprintf: one write, and no lock of stdio that the failing thread may hold.
    (void)dprintf(STDERR_FILENO, "%s:%d: assertion failed: %s\n", file, line, text);
    abort();
}
