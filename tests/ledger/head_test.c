#include "ledger/head.h"

#include "base/clock.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
    char dir[64];
    char path[80];
};

static void
place_make(struct place *place)
{
    temp_dir_make(place->dir);
    (void)snprintf(place->path, sizeof place->path, "%s/head", place->dir);
}

static void
write_file(const char *path, const void *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, data, size), (ssize_t)size);
    close(fd);
}

Test(head, says_what_was_written_last)
{
    struct place place;
    struct head_file head;
    struct head_place place_read;
    struct error error = {0};
    place_make(&place);
    succeed(head_make(place.path, &error), &error);
    succeed(head_read(place.path, &place_read, &error), &error);
    cr_assert_eq(place_read.state, HEAD_WRITTEN);
    cr_assert_eq(place_read.sequence, 0);
    succeed(head_open(place.path, &head, &error), &error);
    for (uint64_t i = 1; i < 5; i++) {
        succeed(head_write(&head, i, i * 7, &error), &error);
        succeed(head_read(place.path, &place_read, &error), &error);
        cr_assert_eq(place_read.sequence, i);
        cr_assert_eq(place_read.checksum, i * 7);
    }
    head_close(&head);
    succeed(head_make(place.path, &error), &error);
    succeed(head_read(place.path, &place_read, &error), &error);
    cr_assert_eq(place_read.sequence, 4, "making it again leaves it");
    temp_dir_remove(place.dir);
}

// While a ledger is made nothing says yet that it is there, and a power cut may leave anything of
// it.
Test(head, is_made_over_what_a_crash_left_of_one)
{
    static const uint8_t zeros[64];
    static const size_t sizes[] = {0, 1, 31, 32, 33, 64};
    struct place place;
    struct head_place place_read;
    struct error error = {0};
    place_make(&place);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        write_file(place.path, zeros, sizes[i]);
        succeed(head_make(place.path, &error), &error);
        succeed(head_read(place.path, &place_read, &error), &error);
        cr_assert_eq(place_read.state, HEAD_WRITTEN);
        cr_assert_eq(place_read.sequence, 0);
    }
    temp_dir_remove(place.dir);
}

Test(head, syncs_once_a_second)
{
    struct place place;
    struct head_file head;
    struct error error = {0};
    place_make(&place);
    succeed(head_make(place.path, &error), &error);
    succeed(head_open(place.path, &head, &error), &error);
    succeed(head_sync(&head, 5 * SECOND_NS, &error), &error);
    cr_assert_eq(head.synced_ns, 0, "nothing to sync");
    succeed(head_write(&head, 1, 1, &error), &error);
    succeed(head_sync(&head, 5 * SECOND_NS, &error), &error);
    cr_assert_not(head.is_dirty);
    cr_assert_eq(head.synced_ns, 5 * SECOND_NS);
    succeed(head_write(&head, 2, 1, &error), &error);
    succeed(head_sync(&head, 6 * SECOND_NS - 1, &error), &error);
    cr_assert(head.is_dirty, "too early");
    succeed(head_sync(&head, 6 * SECOND_NS, &error), &error);
    cr_assert_not(head.is_dirty);
    head_close(&head);
    temp_dir_remove(place.dir);
}

Test(head, an_empty_file_is_an_operators_word)
{
    struct place place;
    struct head_place place_read;
    struct error error = {0};
    place_make(&place);
    write_file(place.path, "", 0);
    succeed(head_read(place.path, &place_read, &error), &error);
    cr_assert_eq(place_read.state, HEAD_EMPTY);
    cr_assert_eq(place_read.sequence, 0);
    temp_dir_remove(place.dir);
}

Test(head, refuses_a_missing_one_and_every_flipped_bit_and_length)
{
    struct place place;
    struct head_file head;
    struct head_place place_read;
    struct error error = {0};
    uint8_t bytes[33] = {0};
    place_make(&place);
    cr_assert_eq(head_read(place.path, &place_read, &error), STATUS_CORRUPT);
    cr_assert_not_null(strstr(error.text, "head is missing: restore"), "%s", error.text);
    cr_assert_eq(head_open(place.path, &head, &error), STATUS_CORRUPT);
    succeed(head_make(place.path, &error), &error);
    succeed(head_open(place.path, &head, &error), &error);
    succeed(head_write(&head, 300, 12345, &error), &error);
    head_close(&head);
    int fd = open(place.path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(read(fd, bytes, sizeof bytes), 32);
    close(fd);
    for (size_t bit = 0; bit < 256; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        write_file(place.path, bytes, 32);
        cr_assert_eq(head_read(place.path, &place_read, &error), STATUS_CORRUPT, "bit %zu", bit);
        cr_assert_not_null(strstr(error.text, "head is damaged: restore"), "%s", error.text);
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    for (size_t size = 1; size <= 33; size++) {
        write_file(place.path, bytes, size);
        enum status expected = size == 32 ? STATUS_OK : STATUS_CORRUPT;
        cr_assert_eq(head_read(place.path, &place_read, &error), expected, "%zu bytes", size);
    }
    temp_dir_remove(place.dir);
}
