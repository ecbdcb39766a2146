#include "tools/csv.h"

#include <criterion/criterion.h>

#include <stdio.h>

enum { FIELDS_MAX = 8 };

// What is read of a text: records between '|' bars, fields between '^' marks, flaws in parentheses.
static void
text_read(const char *text, char delimiter, size_t piece_size, char out[512])
{
    uint8_t room[512];
    size_t size = strlen(text);
    memcpy(room, text, size);
    struct csv csv = csv_start(delimiter);
    size_t at = 0;
    size_t seen = 0;
    size_t used = 0;
    out[0] = 0;
    for (;;) {
        enum csv_result result = csv_scan(&csv, bytes_of(room + at, seen - at), seen == size);
        if (result == CSV_END)
            break;
        if (result == CSV_MORE) {
            seen = seen + piece_size < size ? seen + piece_size : size;
            continue;
        }
        used += (size_t)snprintf(out + used, 512 - used, "|%u:", csv.line_count);
        if (csv.flaw) {
            used += (size_t)snprintf(out + used, 512 - used, "(%s)", csv_flaw_text(csv.flaw));
        } else {
            struct bytes fields[FIELDS_MAX];
            cr_assert_leq(csv.field_count, FIELDS_MAX);
            csv_split(&csv, room + at, fields);
            for (uint32_t i = 0; i < csv.field_count; i++)
                used += (size_t)snprintf(
                    out + used,
                    512 - used,
                    "%s%.*s",
                    i > 0 ? "^" : "",
                    (int)fields[i].size,
                    (const char *)fields[i].data);
        }
        at += csv.size;
        csv_restart(&csv);
    }
    cr_assert_eq(at, size, "all bytes belong to records");
}

struct reading {
    const char *text;
    char delimiter;
    const char *want;
};

static const struct reading readings[] = {
    {"",                ',',  ""                                                         },
    {"a,b\n",           ',',  "|1:a^b"                                                   },
    {"a,b",             ',',  "|0:a^b"                                                   },
    {"a,b\r\nc,d\r\n",  ',',  "|1:a^b|1:c^d"                                             },
    {"a;b\n",           ';',  "|1:a^b"                                                   },
    {"a\tb\n",          '\t', "|1:a^b"                                                   },
    {"a,b\n",           ';',  "|1:a,b"                                                   },
    {",\n",             ',',  "|1:^"                                                     },
    {",,",              ',',  "|0:^^"                                                    },
    {"\n\n",            ',',  "|1:|1:"                                                   },
    {"\"a\",b\n",       ',',  "|1:a^b"                                                   },
    {"\"a,b\",c\n",     ',',  "|1:a,b^c"                                                 },
    {"\"a\nb\",c\nd\n", ',',  "|2:a\nb^c|1:d"                                            },
    {"\"a\r\nb\"\r\n",  ',',  "|2:a\r\nb"                                                },
    {"\"a\"\"b\"\n",    ',',  "|1:a\"b"                                                  },
    {"\"\"\"\"\n",      ',',  "|1:\""                                                    },
    {"\"\"\n",          ',',  "|1:"                                                      },
    {"\"\",\"\"",       ',',  "|0:^"                                                     },
    {"a,\"b\"",         ',',  "|0:a^b"                                                   },
    {"a,\"b\"\r\n",     ',',  "|1:a^b"                                                   },
    {"a\rb\n",          ',',  "|1:a\rb"                                                  },
    {" \"a\"\n",        ',',  "|1:(a quote inside an unquoted field)"                    },
    {"a\"b,c\nd\n",     ',',  "|1:(a quote inside an unquoted field)|1:d"                },
    {"\"a\"b,c\nd\n",   ',',  "|1:(text after a closing quote)|1:d"                      },
    {"\"a\"\rb\nd\n",   ',',  "|1:(text after a closing quote)|1:d"                      },
    {"\"a\" ,b\n",      ',',  "|1:(text after a closing quote)"                          },
    {"\"a\n",           ',',  "|1:(a quote is not closed before the end of the file)"    },
    {"a\n\"",           ',',  "|1:a|0:(a quote is not closed before the end of the file)"},
    {"\"a\"\"\nb",      ',',  "|1:(a quote is not closed before the end of the file)"    },
};

Test(csv, reads_what_rfc_4180_says_in_pieces_of_any_size)
{
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) {
        const struct reading *row = &readings[i];
        for (size_t piece = 1; piece <= strlen(row->text) + 1; piece++) {
            char got[512];
            text_read(row->text, row->delimiter, piece, got);
            cr_assert_str_eq(got, row->want, "row %zu in pieces of %zu: %s", i, piece, got);
        }
    }
}

Test(csv, tells_an_empty_line_from_an_empty_quoted_field)
{
    struct csv csv = csv_start(',');
    cr_assert_eq(csv_scan(&csv, bytes_text("\r\n"), false), CSV_RECORD);
    cr_assert(csv_is_blank(&csv));
    csv_restart(&csv);
    cr_assert_eq(csv_scan(&csv, bytes_text("\"\"\n"), false), CSV_RECORD);
    cr_assert_not(csv_is_blank(&csv));
}

Test(csv, refuses_one_field_too_many)
{
    static uint8_t text[CSV_FIELDS_MAX + 2];
    for (uint32_t count = CSV_FIELDS_MAX; count <= CSV_FIELDS_MAX + 1; count++) {
        memset(text, ',', sizeof text);
        text[count - 1] = '\n';
        struct csv csv = csv_start(',');
        cr_assert_eq(csv_scan(&csv, bytes_of(text, count), false), CSV_RECORD);
        cr_assert_eq(csv.field_count, count);
        cr_assert_eq(csv.flaw, count > CSV_FIELDS_MAX ? CSV_TOO_MANY_FIELDS : CSV_FINE);
    }
}

Test(csv, goes_on_in_a_record_whose_beginning_was_thrown_away)
{
    struct csv csv = csv_start(',');
    cr_assert_eq(csv_scan(&csv, bytes_text("\"long\nlong"), false), CSV_MORE);
    csv_overflow(&csv);
    struct bytes rest = bytes_text("\nend\",x\nnext\n");
    cr_assert_eq(csv_scan(&csv, rest, false), CSV_RECORD);
    cr_assert_eq(csv.flaw, CSV_TOO_LONG);
    cr_assert_eq(csv.line_count, 3);
    cr_assert_eq(csv.size, strlen("\nend\",x\n"));
}
