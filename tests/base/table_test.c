#include "base/table.h"

#include <criterion/criterion.h>

static const struct table_column columns[] = {
    {"meter", TABLE_LEFT },
    {"usage", TABLE_RIGHT},
    {"unit",  TABLE_LEFT },
};

static const char *
text_of(const struct table *table, enum table_format format, struct buffer *buffer)
{
    buffer_reset(buffer);
    table_print(table, format, buffer);
    buffer_u8(buffer, 0);
    return (const char *)buffer->data;
}

Test(table, aligns_columns)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer buffer = {0};
    struct table table = table_over(&arena, columns, 3);
    cr_assert_str_eq(text_of(&table, TABLE_TEXT, &buffer), "meter  usage  unit\n");
    table_row(&table, (const char *[]){"tokens", "12", "tokens"});
    table_row(
        &table,
        (const char *[]){
            "gr\xC3\xB6\xC3\x9F"
            "e",
            "1234567",
            NULL});
    table_row(&table, (const char *[]){"", "", "a\tb\nc"});
    cr_assert_eq(table.rows_count, 3);
    cr_assert_str_eq(
        text_of(&table, TABLE_TEXT, &buffer),
        "meter     usage  unit\n"
        "tokens       12  tokens\n"
        "gr\xC3\xB6\xC3\x9F"
        "e   1234567  \n"
        "                 a b c\n");
}

Test(table, prints_tab_separated_values)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer buffer = {0};
    struct table table = table_over(&arena, columns, 3);
    table_row(&table, (const char *[]){"a\tb", "1\n2", "c\\d\r"});
    table_row(&table, (const char *[]){NULL, "", " "});
    cr_assert_str_eq(
        text_of(&table, TABLE_TSV, &buffer),
        "meter\tusage\tunit\n"
        "a\\tb\t1\\n2\tc\\\\d\\r\n"
        "\t\t \n");
}

Test(table, keeps_copies_of_its_cells)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer buffer = {0};
    struct table table = table_over(&arena, columns, 1);
    char cell[] = "one";
    table_row(&table, (const char *[]){cell});
    memcpy(cell, "two", 3);
    table_row(&table, (const char *[]){cell});
    cr_assert_str_eq(text_of(&table, TABLE_TSV, &buffer), "meter\none\ntwo\n");
}

Test(table, knows_its_formats)
{
    enum table_format format = TABLE_TSV;
    cr_assert(table_format_parse("table", &format) && format == TABLE_TEXT);
    cr_assert(table_format_parse("tsv", &format) && format == TABLE_TSV);
    cr_assert(table_format_parse("text", &format) && format == TABLE_TEXT);
    cr_assert_not(table_format_parse("json", &format));
}
