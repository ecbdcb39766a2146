#include "tools/ledger_stat.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/table.h"
#include "ledger/stat.h"
#include "tools/command.h"

#include <inttypes.h>
#include <string.h>

struct settings {
    const char *data;
    const char *format;
    bool has_cells;
};

// clang-format off
static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings, "table", "table|json|tsv"),
    {.name = "cells",
     .type = OPTION_FLAG,
     .offset = offsetof(struct settings, has_cells),
     .help = "count the cells of each width; reads all their keys"},
    {.name = NULL},
};
// clang-format on

static const struct option_spec spec = {
    .program = "tally ledger stat",
    .summary = "Shows a ledger in figures.",
    .usage = "[options]",
    .details =
        "tail: blocks that are in the log and not yet in the cells on disk. reader: how many "
        "commits the\noldest reader of the log is behind, and its process. Rates are those of the "
        "minute before the last\nblock. Windows: cells of that width are made until, and kept "
        "from, these times.",
    .rows = rows,
};

static const char *const widths[STAT_WIDTHS] = {
    [CELL_QUARTER_HOUR] = "quarter-hour",
    [CELL_HOUR] = "hour",
    [CELL_DAY] = "day",
    [CELL_MONTH] = "month",
    [CELL_ZONE_DAY] = "day",
    [CELL_ZONE_MONTH] = "month",
};

static void
member_number(struct json_out *out, const char *key, uint64_t number)
{
    json_key(out, key);
    json_int(out, (int64_t)number);
}

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    member_text(out, key, text);
}

static void
member_block(struct json_out *out, const char *key, const struct stat_block *block)
{
    json_key(out, key);
    if (block->sequence == 0) {
        json_null(out);
        return;
    }
    json_begin(out, '{');
    member_number(out, "block", block->sequence);
    member_time(out, "arrival", block->arrival_ns);
    member_time(out, "time_min", block->time_min_ns);
    member_time(out, "time_max", block->time_max_ns);
    json_end(out, '}');
}

static const char *
zone_of(const struct horizons *horizons, const struct horizon *one)
{
    uint16_t number = one->kind.zone_number;
    return number == 0 ? "UTC" : horizons->zones[number - 1];
}

static void
stat_write_windows(const struct shard_stat *shard, bool has_cells, struct json_out *out)
{
    const struct horizons *horizons = shard->horizons;
    json_key(out, "windows");
    json_begin(out, '[');
    for (uint32_t i = 0; horizons != NULL && i < horizons->count; i++) {
        const struct horizon *one = &horizons->list[i];
        json_begin(out, '{');
        member_text(out, "width", widths[one->kind.width]);
        member_text(out, "zone", zone_of(horizons, one));
        if (one->kind.width != CELL_QUARTER_HOUR)
            member_time(out, "made_until", one->made_s * SECOND_NS);
        member_time(out, "kept_from", one->kept_s * SECOND_NS);
        json_end(out, '}');
    }
    json_end(out, ']');
    if (!has_cells)
        return;
    json_key(out, "cells_by_width");
    json_begin(out, '{');
    for (int width = CELL_QUARTER_HOUR; width <= CELL_MONTH; width++)
        member_number(out, widths[width], shard->cells_by_width[width]);
    member_number(out, "zone-day", shard->cells_by_width[CELL_ZONE_DAY]);
    member_number(out, "zone-month", shard->cells_by_width[CELL_ZONE_MONTH]);
    json_end(out, '}');
}

static uint64_t
tail_blocks(const struct shard_stat *shard)
{
    return shard->head > shard->position ? shard->head - shard->position : 0;
}

static void
stat_write_shard(
    const struct ledger_stat *stat,
    const struct shard_stat *shard,
    bool has_cells,
    struct json_out *out)
{
    json_begin(out, '{');
    member_number(out, "shard", shard->shard);
    member_number(out, "head", shard->head);
    member_number(out, "events", shard->events);
    member_number(out, "position", shard->position);
    member_number(out, "tail_blocks", tail_blocks(shard));
    member_number(out, "cells", shard->cells);
    member_number(out, "dedup_position", shard->dedup_position);
    member_number(out, "dedup_expired", shard->dedup_expired);
    member_number(out, "identities", shard->identities);
    member_number(out, "generations", shard->generations);
    member_number(out, "runs", shard->runs);
    member_number(out, "log_bytes", shard->log.used_bytes);
    member_number(out, "state_bytes", shard->state.used_bytes);
    member_number(out, "log_free_bytes", shard->log.free_bytes);
    member_number(out, "state_free_bytes", shard->state.free_bytes);
    member_number(out, "map_bytes", shard->log.map_size);
    member_number(out, "readers", shard->log.readers_used);
    member_number(out, "readers_max", shard->log.readers_max);
    member_number(out, "oldest_reader_commits", shard->log.oldest_reader_txns);
    member_number(out, "oldest_reader_pid", shard->log.oldest_reader_pid);
    member_block(out, "first_block", &shard->first);
    member_block(out, "last_block", &shard->last);
    member_number(out, "recent_events", shard->recent_events);
    member_number(out, "recent_bytes", shard->recent_bytes);
    stat_write_windows(shard, has_cells, out);
    json_key(out, "live_from");
    json_begin(out, '{');
    for (uint32_t i = 0; i < stat->meters_count; i++)
        member_number(out, stat->meters[i].key, shard->live_from[i]);
    json_end(out, '}');
    json_end(out, '}');
}

static void
stat_write_json(const struct ledger_stat *stat, bool has_cells, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    json_key(&out, "shards");
    json_begin(&out, '[');
    for (uint32_t i = 0; i < stat->shards_count; i++)
        stat_write_shard(stat, &stat->shards[i], has_cells, &out);
    json_end(&out, ']');
    json_key(&out, "meters");
    json_begin(&out, '[');
    for (uint32_t i = 0; i < stat->meters_count; i++) {
        json_begin(&out, '{');
        member_text(&out, "key", stat->meters[i].key);
        member_number(&out, "id", stat->meters[i].id);
        member_number(&out, "version", stat->meters[i].version);
        json_end(&out, '}');
    }
    json_end(&out, ']');
    json_end(&out, '}');
    buffer_text(buffer, "\n");
}

static const char *
number(struct arena *arena, uint64_t value)
{
    return arena_format(arena, "%" PRIu64, value);
}

static void
stat_write_shards(
    const struct ledger_stat *stat,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    static const struct table_column columns[] = {
        {"shard",       TABLE_RIGHT},
        {"blocks",      TABLE_RIGHT},
        {"events",      TABLE_RIGHT},
        {"cells at",    TABLE_RIGHT},
        {"tail",        TABLE_RIGHT},
        {"cells",       TABLE_RIGHT},
        {"ids on disk", TABLE_RIGHT},
        {"generations", TABLE_RIGHT},
        {"log bytes",   TABLE_RIGHT},
        {"free",        TABLE_RIGHT},
        {"state bytes", TABLE_RIGHT},
        {"map bytes",   TABLE_RIGHT},
        {"readers",     TABLE_RIGHT},
        {"reader",      TABLE_RIGHT},
        {"its pid",     TABLE_RIGHT},
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < stat->shards_count; i++) {
        const struct shard_stat *shard = &stat->shards[i];
        const char *const cells[] = {
            number(arena, shard->shard),
            number(arena, shard->head),
            number(arena, shard->events),
            number(arena, shard->position),
            number(arena, tail_blocks(shard)),
            number(arena, shard->cells),
            number(arena, shard->identities),
            number(arena, shard->generations),
            number(arena, shard->log.used_bytes),
            number(arena, shard->log.free_bytes),
            number(arena, shard->state.used_bytes),
            number(arena, shard->log.map_size),
            number(arena, shard->log.readers_used),
            number(arena, shard->log.oldest_reader_txns),
            number(arena, shard->log.oldest_reader_pid),
        };
        table_row(&table, cells);
    }
    table_print(&table, format, out);
}

// "0:1 1:27": the first block that the meter's cells cover, per shard.
static const char *
live_text(const struct ledger_stat *stat, uint32_t meter, struct arena *arena)
{
    const char *text = "";
    for (uint32_t i = 0; i < stat->shards_count; i++)
        text = arena_format(
            arena, "%s%s%u:%" PRIu64, text, i > 0 ? " " : "", i, stat->shards[i].live_from[meter]);
    return text;
}

static void
stat_write_meters(
    const struct ledger_stat *stat,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    static const struct table_column columns[] = {
        {"meter",                 TABLE_LEFT },
        {"version",               TABLE_RIGHT},
        {"live from shard:block", TABLE_LEFT },
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < stat->meters_count; i++) {
        const char *const cells[] = {
            stat->meters[i].key,
            number(arena, stat->meters[i].version),
            live_text(stat, i, arena),
        };
        table_row(&table, cells);
    }
    table_print(&table, format, out);
}

static const char *
moment(struct arena *arena, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    return arena_text(arena, text);
}

static void
stat_write_logs(
    const struct ledger_stat *stat,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    static const struct table_column columns[] = {
        {"shard",       TABLE_RIGHT},
        {"first block", TABLE_RIGHT},
        {"came",        TABLE_LEFT },
        {"last block",  TABLE_RIGHT},
        {"came",        TABLE_LEFT },
        {"events/s",    TABLE_RIGHT},
        {"bytes/s",     TABLE_RIGHT},
    };
    struct table table = table_over(arena, columns, sizeof columns / sizeof columns[0]);
    for (uint32_t i = 0; i < stat->shards_count; i++) {
        const struct shard_stat *shard = &stat->shards[i];
        bool has_blocks = shard->head > 0;
        const char *const cells[] = {
            number(arena, shard->shard),
            has_blocks ? number(arena, shard->first.sequence) : "",
            has_blocks ? moment(arena, shard->first.arrival_ns) : "",
            has_blocks ? number(arena, shard->last.sequence) : "",
            has_blocks ? moment(arena, shard->last.arrival_ns) : "",
            number(arena, shard->recent_events / STAT_RECENT_S),
            number(arena, shard->recent_bytes / STAT_RECENT_S),
        };
        table_row(&table, cells);
    }
    table_print(&table, format, out);
}

static void
stat_write_horizons(
    const struct ledger_stat *stat,
    const struct settings *settings,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    static const struct table_column columns[] = {
        {"shard",      TABLE_RIGHT},
        {"window",     TABLE_LEFT },
        {"zone",       TABLE_LEFT },
        {"made until", TABLE_LEFT },
        {"kept from",  TABLE_LEFT },
        {"cells",      TABLE_RIGHT},
    };
    // The last column is there when they were counted; those of zones of one width together.
    size_t count = sizeof columns / sizeof columns[0] - !settings->has_cells;
    struct table table = table_over(arena, columns, count);
    for (uint32_t i = 0; i < stat->shards_count; i++) {
        const struct shard_stat *shard = &stat->shards[i];
        uint32_t kinds = shard->horizons != NULL ? shard->horizons->count : 0;
        for (uint32_t j = 0; j < kinds; j++) {
            const struct horizon *one = &shard->horizons->list[j];
            bool is_derived = one->kind.width != CELL_QUARTER_HOUR;
            const char *const cells[] = {
                number(arena, shard->shard),
                widths[one->kind.width],
                zone_of(shard->horizons, one),
                is_derived ? moment(arena, one->made_s * SECOND_NS) : "",
                moment(arena, one->kept_s * SECOND_NS),
                number(arena, shard->cells_by_width[one->kind.width]),
            };
            table_row(&table, cells);
        }
    }
    table_print(&table, format, out);
}

static void
stat_write_tables(
    const struct ledger_stat *stat,
    const struct settings *settings,
    enum table_format format,
    struct arena *arena,
    struct buffer *out)
{
    stat_write_shards(stat, format, arena, out);
    buffer_text(out, "\n");
    stat_write_logs(stat, format, arena, out);
    buffer_text(out, "\n");
    stat_write_horizons(stat, settings, format, arena, out);
    buffer_text(out, "\n");
    stat_write_meters(stat, format, arena, out);
}

static int
stat_print(const struct settings *settings, struct arena *arena)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct ledger_stat stat;
    struct error error = {0};
    enum table_format format = TABLE_TEXT;
    bool is_json = strcmp(settings->format, "json") == 0;
    if (!is_json && !table_format_parse(settings->format, &format)) {
        (void)error_set(&error, STATUS_INVALID, "--format is table, json or tsv");
        return command_usage_error("ledger stat", &error);
    }
    enum status status = stat_read(settings->data, arena, &stat, &error);
    if (!status && settings->has_cells)
        status = stat_count_cells(settings->data, &stat, &error);
    if (status)
        return command_failed("ledger stat", &error);
    if (is_json)
        stat_write_json(&stat, settings->has_cells, &buffer);
    else
        stat_write_tables(&stat, settings, format, arena, &buffer);
    bool is_written = !buffer_failed(&buffer) &&
                      fwrite(buffer.data, 1, buffer.size, stdout) == buffer.size &&
                      fflush(stdout) == 0;
    return is_written ? EXIT_OK : EXIT_FAILED;
}

int
ledger_stat_run(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest;
    struct error error = {0};
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return command_usage_error("ledger stat", &error);
    case OPTION_RUN: break;
    }
    return stat_print(&settings, &arena);
}

void
ledger_stat_help(FILE *out)
{
    (void)fprintf(out, "  %-8s %s\n", "stat", spec.summary);
}
