#include "tools/mapping.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <stdio.h>

// Maps the first row of a text and holds what comes of it.
struct mapped {
    struct arena arena;
    struct buffer scratch;
    struct rows rows;
    struct mapping mapping;
    struct tally_event event;
    struct refusal refusal;
    bool is_mapped;
};

static void
mapped_done(struct mapped *mapped)
{
    rows_done(&mapped->rows);
    buffer_done(&mapped->scratch);
    arena_done(&mapped->arena);
}

static void
map_text(
    const char *text,
    enum rows_format format,
    const struct mapping_options *options,
    struct mapped *out)
{
    struct error error = {0};
    *out = (struct mapped){0};
    struct rows_options rows_options = {.format = format};
    cr_assert_eq(
        rows_open_bytes(bytes_text(text), &rows_options, &out->arena, &out->rows, &error),
        STATUS_OK);
    cr_assert_eq(
        mapping_make(options, &out->arena, &out->mapping, &error), STATUS_OK, "%s", error.text);
    if (format == ROWS_CSV)
        cr_assert_eq(
            mapping_check(&out->mapping, out->rows.header, out->rows.header_count, "file", &error),
            STATUS_OK,
            "%s",
            error.text);
    struct row row;
    cr_assert_eq(rows_next(&out->rows, &out->arena, &row, &error), STATUS_OK);
    cr_assert_neq(row.line, 0);
    out->is_mapped = mapping_apply(&out->mapping, &row, &out->arena, &out->event, &out->refusal);
}

static const char *const two_properties[] = {"generated=GeneratedTokens", "context=ContextTokens"};

Test(mapping, makes_one_event_of_a_trace_row)
{
    struct mapped mapped;
    map_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n",
        ROWS_CSV,
        &(struct mapping_options){
            .subject = "acme",
            .type = "llm_request",
            .time_column = "TIMESTAMP",
            .properties = {(const char **)(uintptr_t)two_properties, 2},
    },
        &mapped);
    cr_assert(mapped.is_mapped, "%s", mapped.refusal.reason);
    cr_assert_str_eq(mapped.event.subject, "acme");
    cr_assert_str_eq(mapped.event.type, "llm_request");
    cr_assert_null(mapped.event.value);
    cr_assert_null(mapped.event.id);
    char time[CLOCK_TEXT_MAX];
    clock_print(mapped.event.time_ns, time);
    cr_assert_str_eq(time, "2023-11-16T18:15:46.68059Z");
    cr_assert_eq(mapped.event.properties_count, 2);
    cr_assert_str_eq(mapped.event.properties[0].key, "context");
    cr_assert_str_eq(mapped.event.properties[0].text, "374");
    cr_assert_str_eq(mapped.event.properties[1].key, "generated");
    cr_assert_str_eq(mapped.event.properties[1].text, "44");
    mapped_done(&mapped);
}

Test(mapping, takes_columns_by_their_usual_names)
{
    struct mapped mapped;
    map_text(
        "{\"subject\":\"s\",\"type\":\"t\",\"value\":12345678901234567.5,\"time\":1700000000.25,"
        "\"id\":\"i\",\"source\":\"o\",\"a\":1,\"b\":0.1,\"c\":true,\"d\":null,\"e\":{\"f\":2},"
        "\"g\":0.12345678901234567890123}",
        ROWS_NDJSON,
        &(struct mapping_options){.has_all_properties = true},
        &mapped);
    cr_assert(mapped.is_mapped, "%s", mapped.refusal.reason);
    const struct tally_event *event = &mapped.event;
    cr_assert_str_eq(event->subject, "s");
    cr_assert_str_eq(event->type, "t");
    cr_assert_str_eq(event->value, "12345678901234567.5");
    cr_assert_eq(event->time_ns, 1700000000250000000);
    cr_assert_str_eq(event->id, "i");
    cr_assert_str_eq(event->source, "o");
    cr_assert_eq(event->properties_count, 6);
    static const int kinds[] = {
        TALLY_INT, TALLY_DOUBLE, TALLY_BOOL, TALLY_NULL, TALLY_MSGPACK, TALLY_TEXT};
    for (size_t i = 0; i < 6; i++)
        cr_assert_eq((int)event->properties[i].kind, kinds[i], "property %zu", i);
    static const uint8_t nested[] = {0x81, 0xa1, 'f', 0x02};
    cr_assert_eq(event->properties[4].msgpack.size, sizeof nested);
    cr_assert_arr_eq(event->properties[4].msgpack.data, nested, sizeof nested);
    cr_assert_str_eq(event->properties[5].text, "0.12345678901234567890123");
    mapped_done(&mapped);
}

Test(mapping, refuses_a_row_with_a_reason)
{
    static const struct {
        const char *row;
        const char *want;
    } rows[] = {
        {"s,t,1,2023-11-16T00:00:00Z,i,x",      NULL                                      },
        {"s,t,1,2023-11-16,i,x",                NULL                                      },
        {"s,t,1,1700000000,i,x",                NULL                                      },
        {"s,t,-1.5e3,1700000000.123456789,i,x", NULL                                      },
        {"s,t,1,1700000000,i,",                 NULL                                      },
        {",t,1,1700000000,i,x",                 "no subject"                              },
        {"s,,1,1700000000,i,x",                 "no type"                                 },
        {"s,t,,1700000000,i,x",                 "the value is not a number"               },
        {"s,t,abc,1700000000,i,x",              "the value is not a number"               },
        {"s,t,nan,1700000000,i,x",              "the value is not a number"               },
        {"s,t,1 ,1700000000,i,x",               "the value is not a number"               },
        {"s,t,1e19,1700000000,i,x",             "the value is out of range"               },
        {"s,t,1,,i,x",                          "the time is not a time"                  },
        {"s,t,1,yesterday,i,x",                 "the time is not a time"                  },
        {"s,t,1,2023-13-01,i,x",                "the time is not a time"                  },
        {"s,t,1,1700000000000,i,x",             "the time is not between 1970 and 2106"   },
        {"s,t,1,-1,i,x",                        "the time is not between 1970 and 2106"   },
        {"s,t,1,1969-12-31,i,x",                "the time is not between 1970 and 2106"   },
        {"s,t,1,4294967295,i,x",                NULL                                      },
        {"s,t,1,4294967296,i,x",                "the time is not between 1970 and 2106"   },
        {"s,t,1,1e30,i,x",                      "the time is not between 1970 and 2106"   },
        {"s,t,1,0,i,x",                         "the time is zero"                        },
        {"s,t,1,1700000000,,x",                 "no id"                                   },
        {"s,t",                                 "another number of fields than the header"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "subject,type,value,time,key,x\n%s\n", rows[i].row);
        struct mapped mapped;
        map_text(
            text,
            ROWS_CSV,
            &(struct mapping_options){.id_column = "key", .has_all_properties = true},
            &mapped);
        cr_assert_eq(mapped.is_mapped, rows[i].want == NULL, "%s", rows[i].row);
        if (rows[i].want)
            cr_assert_str_eq(mapped.refusal.reason, rows[i].want, "%s", rows[i].row);
        mapped_done(&mapped);
    }
}

Test(mapping, refuses_texts_of_the_envelope_one_byte_too_long)
{
    static const struct {
        const char *column;
        size_t size_max;
    } rules[] = {
        {"subject", 255},
        {"type",    100},
        {"id",      128},
        {"source",  255}
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        for (size_t extra = 0; extra <= 1; extra++) {
            char longest[300] = {0};
            char text[1024];
            memset(longest, 'x', rules[i].size_max + extra);
            snprintf(text, sizeof text, "u,v,%s\ns,t,%s\n", rules[i].column, longest);
            struct mapping_options options = {
                .subject_column = i == 0 ? NULL : "u", .type_column = i == 1 ? NULL : "v"};
            struct mapped mapped;
            map_text(text, ROWS_CSV, &options, &mapped);
            cr_assert_eq(mapped.is_mapped, extra == 0, "%s + %zu", rules[i].column, extra);
            mapped_done(&mapped);
        }
    }
}

static struct hash128
hash_of(const char *text, enum rows_format format, const struct mapping_options *options)
{
    struct mapped mapped;
    map_text(text, format, options, &mapped);
    cr_assert(mapped.is_mapped, "%s", mapped.refusal.reason);
    struct hash128 hash = mapping_hash(&mapped.event, &mapped.scratch);
    mapped_done(&mapped);
    return hash;
}

Test(mapping, hashes_what_the_row_means)
{
    static const struct {
        const char *text;
        bool is_same;
    } rows[] = {
        {"subject,type,value,time,a,b\ns,t,1,1700000000,x,y\n",          true },
        {"b,a,time,value,type,subject\ny,x,1700000000,1,t,s\n",          true },
        {"subject,type,value,time,a,b\ns,t,1.0,1700000000,x,y\n",        true },
        {"subject,type,time,a,b\ns,t,2023-11-14T22:13:20Z,x,y\n",        true },
        {"subject,type,value,time,a,b,c\ns,t,1,1700000000,x,y,\n",       true },
        {"subject,type,value,time,a,b\ns,t,2,1700000000,x,y\n",          false},
        {"subject,type,value,time,a,b\nz,t,1,1700000000,x,y\n",          false},
        {"subject,type,value,time,a,b\ns,z,1,1700000000,x,y\n",          false},
        {"subject,type,value,time,a,b\ns,t,1,1700000001,x,y\n",          false},
        {"subject,type,value,time,a,b\ns,t,1,1700000000,xy,\n",          false},
        {"subject,type,value,time,a,c\ns,t,1,1700000000,x,y\n",          false},
        {"subject,type,value,time,source,a,b\ns,t,1,1700000000,o,x,y\n", false},
    };
    struct mapping_options options = {.has_all_properties = true};
    struct hash128 first = hash_of(rows[0].text, ROWS_CSV, &options);
    for (size_t i = 1; i < sizeof rows / sizeof rows[0]; i++) {
        struct hash128 hash = hash_of(rows[i].text, ROWS_CSV, &options);
        bool is_same = hash.low == first.low && hash.high == first.high;
        cr_assert_eq(is_same, rows[i].is_same, "%s", rows[i].text);
    }
}

Test(mapping, refuses_options_that_make_no_sense)
{
    static const char *const bad_properties[] = {
        "=x", "a=", "", "subject=x", "type", "id=x", "source=x", "value=x", "time=x"};
    struct arena arena = {0};
    struct mapping mapping;
    struct error error;
    for (size_t i = 0; i < sizeof bad_properties / sizeof bad_properties[0]; i++) {
        const char *items[] = {bad_properties[i]};
        struct mapping_options options = {
            .properties = {items, 1}
        };
        cr_assert_eq(
            mapping_make(&options, &arena, &mapping, &error),
            STATUS_INVALID,
            "%s",
            bad_properties[i]);
    }
    const char *twice[] = {"a=x", "a=y"};
    struct mapping_options options = {
        .properties = {twice, 2}
    };
    cr_assert_eq(mapping_make(&options, &arena, &mapping, &error), STATUS_INVALID);
    options = (struct mapping_options){.subject = "s", .subject_column = "c"};
    cr_assert_eq(mapping_make(&options, &arena, &mapping, &error), STATUS_INVALID);
    options = (struct mapping_options){.subject = ""};
    cr_assert_eq(mapping_make(&options, &arena, &mapping, &error), STATUS_INVALID);
    arena_done(&arena);
}

Test(mapping, names_the_column_that_a_file_lacks)
{
    struct arena arena = {0};
    struct mapping mapping;
    struct error error;
    struct bytes header[] = {bytes_text("user"), bytes_text("tokens")};
    const char *properties[] = {"context=ContextTokens"};
    static const struct {
        struct mapping_options options;
        const char *want;
    } rows[] = {
        {{.type = "t"},                                               "subject"},
        {{.subject_column = "user"},                                  "type"   },
        {{.subject_column = "usr", .type = "t"},                      "`usr`"  },
        {{.subject_column = "user", .type = "t", .time_column = "x"}, "`x`"    },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        cr_assert_eq(mapping_make(&rows[i].options, &arena, &mapping, &error), STATUS_OK);
        cr_assert_eq(mapping_check(&mapping, header, 2, "f.csv", &error), STATUS_INVALID);
        cr_assert_not_null(strstr(error.text, rows[i].want), "%s", error.text);
    }
    struct mapping_options options = {
        .subject_column = "user", .type = "t", .properties = {properties, 1}
    };
    cr_assert_eq(mapping_make(&options, &arena, &mapping, &error), STATUS_OK);
    cr_assert_eq(mapping_check(&mapping, header, 2, "f.csv", &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, "it has user, tokens"), "%s", error.text);
    arena_done(&arena);
}
