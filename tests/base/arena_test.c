#include "base/arena.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdint.h>
#include <string.h>

Test(arena, an_empty_one_can_be_reset_and_done)
{
    struct arena arena = {0};
    arena_reset(&arena);
    arena_done(&arena);
    arena_done(&arena);
    cr_assert_null(arena.first);
    cr_assert_eq(arena.total_bytes, 0);
}

Test(arena, memory_is_zeroed_also_after_a_reset)
{
    scoped(arena_done) struct arena arena = {0};
    for (int round = 0; round < 3; round++) {
        for (size_t size = 1; size < 200; size++) {
            uint8_t *memory = arena_take(&arena, size, 1);
            for (size_t i = 0; i < size; i++) {
                cr_assert_eq(memory[i], 0, "round %d, size %zu", round, size);
                memory[i] = 0xAA;
            }
        }
        arena_reset(&arena);
    }
}

Test(arena, a_rewound_one_uses_what_it_has_again)
{
    enum { COUNT = 5000, SIZE = 1000 };
    scoped(arena_done) struct arena arena = {0};
    static uint8_t *first[COUNT];
    arena_rewind(&arena);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            uint8_t *memory = arena_take(&arena, SIZE, 1);
            cr_assert(round == 0 || memory == first[i], "round %d, %d", round, i);
            cr_assert(memory[0] == 0 && memory[SIZE - 1] == 0);
            memset(memory, 0xAA, SIZE);
            first[i] = memory;
        }
        // What does not fit into a chunk that is there gets one of its own.
        (void)arena_take(&arena, (8 << 20) << round, 1);
        (void)arena_take(&arena, SIZE, 1);
        arena_rewind(&arena);
        cr_assert_eq(arena.total_bytes, 0);
    }
    // Of what nobody took since then nothing is kept.
    (void)arena_take(&arena, SIZE, 1);
    arena_rewind(&arena);
    cr_assert_eq(arena.current, arena.first);
    uint8_t *again = arena_take(&arena, SIZE, 1);
    cr_assert_eq(again, first[0]);
    memset(again, 0xAA, SIZE);
}

Test(arena, what_was_handed_out_keeps_its_place_and_value)
{
    enum { COUNT = 2000 };
    scoped(arena_done) struct arena arena = {0};
    static uint32_t *values[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = arena_array(&arena, i % 97 + 1, uint32_t);
        values[i][i % 97] = i;
    }
    for (uint32_t i = 0; i < COUNT; i++)
        cr_assert_eq(values[i][i % 97], i);
}

struct wide {
    _Alignas(64) uint8_t bytes[64];
};

Test(arena, every_type_is_aligned)
{
    scoped(arena_done) struct arena arena = {0};
    for (int i = 0; i < 300; i++) {
        (void)arena_text(&arena, "x");
        cr_assert_eq((uintptr_t)arena_new(&arena, struct wide) % 64, 0);
        (void)arena_text(&arena, "odd");
        cr_assert_eq((uintptr_t)arena_new(&arena, long double) % _Alignof(max_align_t), 0);
        (void)arena_text(&arena, "");
        cr_assert_eq((uintptr_t)arena_take(&arena, 1, 41) % _Alignof(max_align_t), 0);
    }
}

Test(arena, nothing_is_something_of_its_own)
{
    scoped(arena_done) struct arena arena = {0};
    void *a = arena_take(&arena, 0, 8);
    void *b = arena_take(&arena, 8, 0);
    cr_assert_neq(a, b);
}

Test(arena, large_requests_get_a_chunk_and_small_ones_go_on)
{
    scoped(arena_done) struct arena arena = {0};
    char *before = arena_text(&arena, "before");
    uint8_t *large = arena_take(&arena, 3 << 20, 1);
    large[(3 << 20) - 1] = 1;
    char *after = arena_text(&arena, "after");
    cr_assert_str_eq(before, "before");
    cr_assert_str_eq(after, "after");
    cr_assert_geq(arena.total_bytes, (size_t)3 << 20);
    arena_reset(&arena);
    cr_assert_eq(arena.total_bytes, 0);
}

Test(arena, copies_end_with_a_nul)
{
    scoped(arena_done) struct arena arena = {0};
    uint8_t raw[] = {'a', 0, 'b'};
    char *text = arena_text_of(&arena, bytes_of(raw, sizeof raw));
    cr_assert_eq(memcmp(text, "a\0b", 4), 0);
    struct bytes copy = arena_bytes(&arena, bytes_of(raw, sizeof raw));
    cr_assert_eq(copy.size, 3);
    cr_assert_neq(copy.data, raw);
    cr_assert_eq(copy.data[3], 0);
    cr_assert_str_eq(arena_text_of(&arena, bytes_of(NULL, 0)), "");
    cr_assert_eq(arena_bytes(&arena, bytes_of(NULL, 0)).size, 0);
}

Test(arena, formats_text_of_any_length)
{
    scoped(arena_done) struct arena arena = {0};
    for (int size = 0; size < 9000; size += 773) {
        char *text = arena_format(&arena, "%*d|%s", size, 7, "end");
        size_t expected = (size > 1 ? (size_t)size : 1) + 4;
        cr_assert_eq(strlen(text), expected);
        cr_assert_str_eq(text + expected - 5, "7|end");
    }
}

Test(arena, refuses_a_product_that_overflows, .signal = SIGABRT)
{
    struct arena arena = {0};
    (void)arena_take(&arena, SIZE_MAX / 2, 3);
}
