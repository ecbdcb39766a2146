#include "tools/usage_late_print.h"

#include "base/clock.h"
#include "base/json.h"

#include <inttypes.h>

enum { COLUMNS_MAX = 3 + METER_DIMENSIONS_MAX + 4 };

static const char *
time_text(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    if (time_ns == INT64_MIN || time_ns == INT64_MAX)
        return NULL;
    (void)clock_print(time_ns, text);
    return arena_text(arena, text);
}

static const struct usage_row *
any_row(const struct usage_late_row *row)
{
    return row->has_now ? &row->now : &row->before;
}

// NULL: there is no such number.
struct late_texts {
    const char *since, *before, *now;
};

static struct late_texts
row_texts(const struct usage_late_row *row, struct arena *arena)
{
    char text[WIDE_TEXT_MAX];
    struct late_texts texts = {0};
    if (row->is_additive) {
        (void)usage_late_print(row, text);
        texts.since = arena_text(arena, text);
    }
    if (row->has_before) {
        (void)usage_row_print(&row->before, text);
        texts.before = arena_text(arena, text);
    }
    if (row->has_now) {
        (void)usage_row_print(&row->now, text);
        texts.now = arena_text(arena, text);
    }
    return texts;
}

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
row_write(
    const struct usage_late_printing *printing,
    const struct usage_late_row *row,
    struct arena *arena,
    struct json_out *out)
{
    const struct usage_row *any = any_row(row);
    const struct late_texts texts = row_texts(row, arena);
    json_begin(out, '{');
    json_key(out, "subject");
    json_string(out, any->subject);
    member_text(out, "from", time_text(any->from_ns, arena));
    member_text(out, "to", time_text(any->to_ns, arena));
    json_key(out, "dimensions");
    json_begin(out, '{');
    for (uint32_t i = 0; i < printing->query->group_by_count; i++) {
        json_key(out, printing->query->group_by[i]);
        json_string(out, any->dimensions[i]);
    }
    json_end(out, '}');
    member_text(out, "value", texts.since);
    member_text(out, "before", texts.before);
    member_text(out, "now", texts.now);
    json_key(out, "count");
    json_int(out, row->count);
    json_end(out, '}');
}

static void
write_json(
    const struct usage_late_printing *printing,
    const struct usage_late_result *result,
    struct arena *arena,
    struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    member_text(&out, "meter", result->meter.key);
    member_text(&out, "aggregation", aggregation_name(result->meter.aggregation));
    member_text(&out, "unit", result->meter.unit);
    json_key(&out, "since_cut");
    json_int(&out, printing->query->at_cut);
    member_text(&out, "from", time_text(printing->query->from_ns, arena));
    member_text(&out, "to", time_text(printing->query->to_ns, arena));
    json_key(&out, "rows");
    json_begin(&out, '[');
    for (size_t i = 0; i < result->count; i++)
        row_write(printing, &result->rows[i], arena, &out);
    json_end(&out, ']');
    json_end(&out, '}');
    buffer_text(buffer, "\n");
}

static void
write_table(
    const struct usage_late_printing *printing,
    const struct usage_late_result *result,
    struct arena *arena,
    struct buffer *buffer)
{
    struct table_column columns[COLUMNS_MAX] = {
        {"subject", TABLE_LEFT},
        {"from",    TABLE_LEFT},
        {"to",      TABLE_LEFT}
    };
    const uint32_t dimensions = printing->query->group_by_count;
    size_t count = 3;
    for (uint32_t i = 0; i < dimensions; i++)
        columns[count++] = (struct table_column){printing->query->group_by[i], TABLE_LEFT};
    columns[count++] = (struct table_column){result->meter.key, TABLE_RIGHT};
    columns[count++] = (struct table_column){"before", TABLE_RIGHT};
    columns[count++] = (struct table_column){"now", TABLE_RIGHT};
    columns[count++] = (struct table_column){"events", TABLE_RIGHT};
    struct table table = table_over(arena, columns, count);
    for (size_t i = 0; i < result->count; i++) {
        const struct usage_late_row *row = &result->rows[i];
        const struct usage_row *any = any_row(row);
        const struct late_texts texts = row_texts(row, arena);
        const char *cells[COLUMNS_MAX] = {
            arena_text_of(arena, any->subject),
            time_text(any->from_ns, arena),
            time_text(any->to_ns, arena),
        };
        for (uint32_t k = 0; k < dimensions; k++)
            cells[3 + k] = arena_text_of(arena, any->dimensions[k]);
        cells[3 + dimensions] = texts.since;
        cells[4 + dimensions] = texts.before;
        cells[5 + dimensions] = texts.now;
        cells[6 + dimensions] = arena_format(arena, "%" PRId64, row->count);
        table_row(&table, cells);
    }
    table_print(&table, printing->format, buffer);
}

void
usage_late_write(
    const struct usage_late_printing *printing,
    const struct usage_late_result *result,
    struct arena *arena,
    struct buffer *out)
{
    if (printing->is_json)
        write_json(printing, result, arena, out);
    else if (printing->format == TABLE_TEXT && result->count == 0)
        buffer_text(out, "nothing came since\n");
    else
        write_table(printing, result, arena, out);
}
