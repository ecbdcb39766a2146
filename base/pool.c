#include "base/pool.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *
pool_take(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total) || total > PTRDIFF_MAX - POOL_ALIGNMENT)
        return NULL;
    // aligned_alloc wants a multiple of the alignment.
    size_t rounded = (total + POOL_ALIGNMENT) / POOL_ALIGNMENT * POOL_ALIGNMENT;
    void *memory = aligned_alloc(POOL_ALIGNMENT, rounded);
    if (memory != NULL)
        memset(memory, 0, rounded);
    return memory;
}

void
pool_give(void *memory)
{
    free(memory);
}
