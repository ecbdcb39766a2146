#include "base/pool.h"

#include <criterion/criterion.h>

#include <stdint.h>

Test(pool, memory_is_zeroed_and_aligned)
{
    for (size_t size = 0; size < 300; size++) {
        uint8_t *memory = pool_take(size, 3);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % POOL_ALIGNMENT, 0);
        for (size_t i = 0; i < size * 3; i++) {
            cr_assert_eq(memory[i], 0);
            memory[i] = 0xFF;
        }
        pool_give(memory);
    }
}

Test(pool, refuses_a_product_that_overflows)
{
    cr_assert_null(pool_take(SIZE_MAX / 2, 3));
    cr_assert_null(pool_take(SIZE_MAX, 1));
    cr_assert_null(pool_take((size_t)PTRDIFF_MAX, 1));
}

Test(pool, gives_back_nothing)
{
    void *nothing = NULL;
    pool_give(nothing);
    cr_assert_null(nothing);
}
