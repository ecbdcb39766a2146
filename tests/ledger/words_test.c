#include "ledger/words.h"

#include <criterion/criterion.h>

#include <stdio.h>

static uint32_t
number_of(struct words *words, const char *text)
{
    struct bytes bytes = bytes_text(text);
    return words_number(words, bytes, 0, words_hash(bytes, 0));
}

static struct words *
open_words(void)
{
    struct words *words = words_open();
    cr_assert_not_null(words);
    return words;
}

Test(words, a_string_is_a_word_when_it_comes_again)
{
    struct words *words = open_words();
    cr_assert_eq(number_of(words, "once"), WORD_NONE);
    cr_assert_eq(number_of(words, "twice"), WORD_NONE);
    cr_assert_eq(words_list(words)->count, 0);
    cr_assert_eq(number_of(words, "twice"), 0);
    cr_assert_eq(number_of(words, "once"), 1);
    cr_assert_eq(number_of(words, "twice"), 0);
    cr_assert_eq(words_list(words)->count, 2);
    struct word word = word_list_get(words_list(words), 0);
    cr_assert(bytes_equal(word.bytes, bytes_text("twice")));
    cr_assert_eq(word.count, 0);
    words_close(words);
}

Test(words, a_new_chapter_has_none_and_remembers_what_was_seen)
{
    struct words *words = open_words();
    (void)number_of(words, "aa");
    (void)number_of(words, "aa");
    (void)number_of(words, "bb");
    cr_assert_eq(number_of(words, "bb"), 1);
    words_reset(words);
    cr_assert_eq(words_list(words)->count, 0);
    cr_assert_eq(number_of(words, "bb"), 0);
    words_close(words);
}

// More chapters than there are stamps for them.
Test(words, no_chapter_sees_the_words_of_an_old_one)
{
    struct words *words = open_words();
    for (uint32_t chapter = 0; chapter < 65600; chapter++) {
        char text[16];
        (void)snprintf(text, sizeof text, "%u", chapter + 10);
        (void)number_of(words, text);
        cr_assert_eq(number_of(words, text), 0, "chapter %u", chapter);
        cr_assert_eq(words_list(words)->count, 1, "chapter %u", chapter);
        words_reset(words);
    }
    words_close(words);
}

Test(words, the_same_bytes_with_another_count_are_another_word)
{
    struct words *words = open_words();
    struct bytes bytes = bytes_text("\xa1k\x01");
    for (uint32_t i = 0; i < 2; i++) {
        (void)words_number(words, bytes, 1, words_hash(bytes, 1));
        (void)words_number(words, bytes, 3, words_hash(bytes, 3));
    }
    cr_assert_eq(words_number(words, bytes, 1, words_hash(bytes, 1)), 0);
    cr_assert_eq(words_number(words, bytes, 3, words_hash(bytes, 3)), 1);
    cr_assert_eq(word_list_get(words_list(words), 1).count, 3);
    words_close(words);
}

// Everything in one slot, one tag: only the bytes tell them apart.
Test(words, a_collision_of_hashes_is_no_confusion)
{
    struct words *words = open_words();
    const uint64_t hash = 0x123456789abcdef;
    static const char *const texts[] = {"aa", "bb", "aab", "aa\xff", "cc"};
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < 5; i++) {
            uint32_t number = words_number(words, bytes_text(texts[i]), 0, hash);
            if (number != WORD_NONE) {
                struct word word = word_list_get(words_list(words), number);
                cr_assert(bytes_equal(word.bytes, bytes_text(texts[i])), "%s", texts[i]);
            }
        }
    }
    cr_assert_eq(words_list(words)->count, 5);
    words_close(words);
}

Test(words, strings_too_short_or_too_long_are_none)
{
    struct words *words = open_words();
    static uint8_t text[WORD_SIZE_MAX + 1];
    static const size_t sizes[] = {0, 1, WORD_SIZE_MAX + 1};
    for (size_t i = 0; i < 3; i++) {
        struct bytes bytes = bytes_of(text, sizes[i]);
        for (int again = 0; again < 3; again++)
            cr_assert_eq(words_number(words, bytes, 0, words_hash(bytes, 0)), WORD_NONE);
    }
    struct bytes longest = bytes_of(text, WORD_SIZE_MAX);
    (void)words_number(words, longest, 0, words_hash(longest, 0));
    cr_assert_eq(words_number(words, longest, 0, words_hash(longest, 0)), 0);
    words_close(words);
}

Test(words, a_full_chapter_keeps_its_words_and_takes_no_more)
{
    struct words *words = open_words();
    char text[16];
    for (uint32_t i = 0; i < WORDS_MAX + 100; i++) {
        (void)snprintf(text, sizeof text, "w%u", i);
        (void)number_of(words, text);
        uint32_t number = number_of(words, text);
        cr_assert_eq(number, i < WORDS_MAX ? i : WORD_NONE, "%u", i);
    }
    cr_assert_eq(number_of(words, "w0"), 0);
    cr_assert_eq(number_of(words, "w65535"), 65535);
    words_close(words);
}

Test(words, their_bytes_are_bounded)
{
    struct words *words = open_words();
    static uint8_t text[WORD_SIZE_MAX];
    const uint32_t max = WORDS_SIZE_MAX / WORD_SIZE_MAX;
    for (uint32_t i = 0; i < max + 3; i++) {
        memcpy(text, &i, sizeof i);
        struct bytes bytes = bytes_of(text, sizeof text);
        uint64_t hash = words_hash(bytes, 0);
        (void)words_number(words, bytes, 0, hash);
        cr_assert_eq(words_number(words, bytes, 0, hash), i < max ? i : WORD_NONE, "%u", i);
    }
    cr_assert_eq(words_list(words)->bytes.size, WORDS_SIZE_MAX);
    words_close(words);
}
