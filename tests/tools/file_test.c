#include "tools/file.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static struct arena arena;

static void
begin(void)
{
    snprintf(folder, sizeof folder, "/tmp/file_test_XXXXXX");
    cr_assert_not_null(mkdtemp(folder));
}

static void
end(void)
{
    folder_remove(folder);
    struct stat info;
    cr_expect_lt(stat(folder, &info), 0, "folder_remove leaves nothing");
    arena_done(&arena);
}

TestSuite(file, .init = begin, .fini = end);

Test(file, reads_back_what_was_written_with_its_mode)
{
    struct error error;
    struct bytes text;
    const char *path = arena_format(&arena, "%s/a", folder);
    mode_t old = umask(0077);
    cr_assert_eq(file_write(path, 0644, bytes_text("one"), &error), STATUS_OK);
    umask(old);
    cr_assert_eq(file_write(path, 0600, bytes_text("two\n"), &error), STATUS_OK);
    cr_assert_eq(file_read(path, &arena, &text, &error), STATUS_OK);
    cr_assert(bytes_equal(text, bytes_text("two\n")));
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 0777, 0600);
    cr_assert_eq(file_size(path), 4);
}

Test(file, says_what_is_not_there_and_what_is_too_long)
{
    struct error error;
    struct bytes text;
    const char *path = arena_format(&arena, "%s/a", folder);
    cr_assert_eq(file_read(path, &arena, &text, &error), STATUS_NOT_FOUND);
    cr_assert_eq(file_size(path), 0);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < FILE_READ_MAX; i++)
        fputc('x', file);
    fclose(file);
    cr_assert_eq(file_read(path, &arena, &text, &error), STATUS_FULL);
}

Test(file, gives_the_tail_of_a_log)
{
    struct error error;
    const char *path = arena_format(&arena, "%s/log", folder);
    cr_assert_eq(file_write(path, 0600, bytes_text("old\nnew line\n"), &error), STATUS_OK);
    cr_assert_str_eq(file_tail(path, 4, 100, &arena), "new line\n");
    cr_assert_str_eq(file_tail(path, 0, 5, &arena), "line\n");
    cr_assert_str_eq(file_tail("/nowhere/log", 0, 5, &arena), "");
}

Test(file, makes_folders_once)
{
    struct error error;
    const char *path = arena_format(&arena, "%s/b", folder);
    mode_t old = umask(0077);
    cr_assert_eq(folder_make(path, 02751, &error), STATUS_OK);
    umask(old);
    struct stat info;
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 02751);
    cr_assert_eq(folder_make(path, 0700, &error), STATUS_OK);
    cr_assert_eq(stat(path, &info), 0);
    cr_assert_eq(info.st_mode & 07777, 02751, "a folder that is there stays as it is");
    const char *file = arena_format(&arena, "%s/c", folder);
    cr_assert_eq(file_write(file, 0600, bytes_text(""), &error), STATUS_OK);
    cr_assert_eq(folder_make(file, 0700, &error), STATUS_INVALID);
    cr_assert_eq(folder_make("/nowhere/b", 0700, &error), STATUS_IO);
}

Test(file, counts_what_files_take_on_disk)
{
    struct error error;
    const char *path = arena_format(&arena, "%s/sparse", folder);
    int64_t before = folder_disk_bytes(folder);
    FILE *file = fopen(path, "w");
    cr_assert_eq(ftruncate(fileno(file), 1 << 30), 0);
    fclose(file);
    cr_assert_lt(folder_disk_bytes(folder) - before, 1 << 20);
    static uint8_t block[256 * 1024];
    path = arena_format(&arena, "%s/full", folder);
    cr_assert_eq(file_write(path, 0600, bytes_of(block, sizeof block), &error), STATUS_OK);
    cr_assert_geq(folder_disk_bytes(folder) - before, (int64_t)sizeof block);
}
