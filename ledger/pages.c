#include "ledger/pages.h"

#include "base/assert.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t LARGE_PAGE = 2U << 20;

void *
pages_take(size_t size)
{
    must(size > 0);
    void *pages = mmap(
        NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

// Takes a large page more than is asked for, so that the memory can begin with one, and gives back
// what lies before it and behind.
void *
pages_take_scattered(size_t size)
{
    must(size > 0 && size <= SIZE_MAX / 2);
    if (size < LARGE_PAGE)
        return pages_take(size);
    const size_t small_page = (size_t)sysconf(_SC_PAGESIZE);
    size_t whole = (size + small_page - 1) / small_page * small_page;
    uint8_t *taken = pages_take(whole + LARGE_PAGE);
    if (taken == NULL)
        return NULL;
    size_t before = (LARGE_PAGE - (uintptr_t)taken % LARGE_PAGE) % LARGE_PAGE;
    uint8_t *pages = taken + before;
    if (before > 0)
        pages_give(taken, before);
    pages_give(pages + whole, LARGE_PAGE - before);
    // Advice: without large pages it is slower, and as good.
    (void)madvise(pages, size, MADV_HUGEPAGE);
    return pages;
}

// A large page at a time: meanwhile nobody else can map memory.
void
pages_touch(void *pages, size_t size)
{
    const size_t small_page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *at = (uint8_t *)pages - (uintptr_t)pages % small_page;
    const uint8_t *end = (uint8_t *)pages + size;
    while (at < end) {
        const size_t left = (size_t)(end - at);
        const size_t step = left < LARGE_PAGE ? left : LARGE_PAGE;
        if (madvise(at, step, MADV_POPULATE_WRITE) != 0)
            return;
        at += step;
    }
}

void
pages_give(void *pages, size_t size)
{
    if (pages == NULL)
        return;
    int rc = munmap(pages, size);
    must(rc == 0);
}
