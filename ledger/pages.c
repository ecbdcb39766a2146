#include "ledger/pages.h"

#include "base/assert.h"

#include <sys/mman.h>

void *
pages_take(size_t size)
{
    must(size > 0);
    void *pages = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void
pages_give(void *pages, size_t size)
{
    if (pages == NULL)
        return;
    int rc = munmap(pages, size);
    must(rc == 0);
}
