#include "tools/rows.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// The rows as text: line, then the fields or the flaw.
static void
rows_list(struct rows *rows, struct buffer *out)
{
    struct arena arena = {0};
    for (;;) {
        struct row row;
        struct error error = {0};
        arena_reset(&arena);
        cr_assert_eq(rows_next(rows, &arena, &row, &error), STATUS_OK, "%s", error.text);
        if (row.line == 0)
            break;
        buffer_format(out, "%d", (int)row.line);
        if (row.flaw)
            buffer_format(out, " (%s)", row.flaw);
        for (uint32_t i = 0; i < row.fields_count; i++) {
            const struct field *field = &row.fields[i];
            buffer_format(
                out,
                " %.*s:%d=%.*s",
                (int)field->name.size,
                (const char *)field->name.data,
                field->kind,
                (int)field->text.size,
                (const char *)field->text.data);
        }
        buffer_text(out, "\n");
    }
    buffer_u8(out, 0);
    arena_done(&arena);
}

static void
expect_rows(const char *text, enum rows_format format, const char *want)
{
    struct arena arena = {0};
    struct error error = {0};
    struct rows rows;
    struct rows_options options = {.format = format};
    struct buffer got = {0};
    cr_assert_eq(rows_open_bytes(bytes_text(text), &options, &arena, &rows, &error), STATUS_OK);
    rows_list(&rows, &got);
    cr_assert_str_eq((const char *)got.data, want);
    rows_done(&rows);
    buffer_done(&got);
    arena_done(&arena);
}

Test(rows, names_the_fields_of_csv_and_counts_lines)
{
    expect_rows(
        "\xef\xbb\xbf"
        "a,b\r\n1,2\r\n\r\n\"x\ny\",4\n5\n6,7,8\n9,",
        ROWS_CSV,
        "2 a:0=1 b:0=2\n"
        "4 a:0=x\ny b:0=4\n"
        "6 (another number of fields than the header)\n"
        "7 (another number of fields than the header)\n"
        "8 a:0=9 b:0=\n");
}

Test(rows, goes_on_after_a_flawed_row)
{
    expect_rows("a\n\"1\"x\n2\n", ROWS_CSV, "2 (text after a closing quote)\n3 a:0=2\n");
}

Test(rows, names_the_members_of_ndjson)
{
    expect_rows(
        "{\"a\":1.50,\"b\":\"x\",\"c\":null,\"d\":true,\"e\":{\"f\":[1]}}\n"
        "\n"
        "[1]\n"
        "{\"a\":}\r\n"
        "{\"a\":12345678901234567890123}",
        ROWS_NDJSON,
        "1 a:1=1.50 b:0=x c:3= d:2= e:4=\n"
        "3 (not a JSON object)\n"
        "4 (not JSON)\n"
        "5 a:1=12345678901234567890123\n");
}

Test(rows, says_that_a_csv_file_without_a_header_is_empty)
{
    struct arena arena = {0};
    struct error error = {0};
    struct rows rows;
    struct rows_options options = {.format = ROWS_CSV};
    cr_assert_eq(
        rows_open_bytes(bytes_text("\n\n"), &options, &arena, &rows, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "header"));
    arena_done(&arena);
}

// A record a little longer than may be, in a file, between two good ones.
static void
long_record_check(const char *header, const char *around, enum rows_format format, const char *want)
{
    char path[] = "/tmp/rows_test_XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    FILE *file = fdopen(fd, "w");
    fprintf(file, "%s", header);
    fprintf(file, around, "1");
    for (int size = 0; size < SOURCE_WINDOW_SIZE + 100; size++)
        fputc('x', file);
    fputc('\n', file);
    fprintf(file, around, "2");
    fclose(file);

    struct arena arena = {0};
    struct error error = {0};
    struct rows rows;
    struct buffer got = {0};
    struct rows_options options = {.format = format};
    cr_assert_eq(rows_open(path, &options, &arena, &rows, &error), STATUS_OK, "%s", error.text);
    rows_list(&rows, &got);
    cr_assert_str_eq((const char *)got.data, want);
    rows_done(&rows);
    unlink(path);
    buffer_done(&got);
    arena_done(&arena);
}

Test(rows, skips_a_record_longer_than_a_mebibyte)
{
    long_record_check("a\n", "%s\n", ROWS_CSV, "2 a:0=1\n3 (longer than 1 MiB)\n4 a:0=2\n");
    long_record_check("", "{\"a\":%s}\n", ROWS_NDJSON, "1 a:1=1\n2 (longer than 1 MiB)\n3 a:1=2\n");
}

Test(rows, tells_the_format_by_the_name)
{
    static const struct {
        const char *name;
        enum rows_format want;
    } names[] = {
        {"rows_a.csv",    ROWS_CSV   },
        {"rows_a.ndjson", ROWS_NDJSON},
        {"rows_a.JSONL",  ROWS_NDJSON},
        {"rows_a.txt",    ROWS_CSV   },
    };
    char folder[] = "/tmp/rows_test_XXXXXX";
    cr_assert_not_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder, names[i].name);
        FILE *file = fopen(path, "w");
        fputs(names[i].want == ROWS_CSV ? "a\n1\n" : "{\"a\":1}\n", file);
        fclose(file);
        struct arena arena = {0};
        struct error error = {0};
        struct rows rows;
        struct rows_options options = {0};
        cr_assert_eq(rows_open(path, &options, &arena, &rows, &error), STATUS_OK);
        cr_assert_eq(rows.format, names[i].want, "%s", names[i].name);
        rows_done(&rows);
        unlink(path);
        arena_done(&arena);
    }
    rmdir(folder);
}
