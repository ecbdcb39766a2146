#include "ledger/usage.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/ledger.h"
#include "ledger/usage_answer.h"

#include <stdlib.h>

enum status
reader_open(const char *dir, struct reader **out, struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_shape_read(dir, &conf, error);
    if (status)
        return status;
    must(conf.shards > 0 && conf.shards <= SHARDS_MAX);
    struct reader *reader = pool_take(1, sizeof *reader);
    if (reader == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a reader");
    reader->dir = arena_text(&reader->arena, dir);
    reader->shards = conf.shards;
    reader->views = pool_take(conf.shards, sizeof *reader->views);
    status = reader->views == NULL ? error_set(error, STATUS_NO_MEMORY, "no memory for a reader")
                                   : registry_open(dir, &reader->registry, error);
    if (status)
        reader_close(reader);
    else
        *out = reader;
    return status;
}

void
reader_close(struct reader *reader)
{
    if (reader == NULL)
        return;
    for (uint32_t i = 0; reader->views != NULL && i < reader->shards; i++)
        shard_view_done(&reader->views[i]);
    memory_client_close(reader->client);
    if (reader->registry != NULL)
        registry_close(reader->registry);
    zone_close(&reader->zone);
    pool_give(reader->views);
    arena_done(&reader->arena);
    pool_give(reader);
}

struct registry *
reader_registry(struct reader *reader)
{
    return reader->registry;
}

// Laying out a zone costs as much as a small query, so the last one stays.
enum status
reader_zone(struct reader *reader, const char *name, const struct zone **out, struct error *error)
{
    *out = NULL;
    if (name == NULL || strcmp(name, "UTC") == 0)
        return STATUS_OK;
    if (reader->zone == NULL || strcmp(zone_name(reader->zone), name) != 0) {
        struct zone *zone;
        enum status status = zone_open(bytes_text(name), &zone, error);
        if (status)
            return status;
        zone_close(&reader->zone);
        reader->zone = zone;
    }
    *out = reader->zone;
    return STATUS_OK;
}

// The rows of one shard, in the caller's arena.
static enum status
result_add_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct arena *arena,
    struct usage_row *out,
    bool *out_has_row,
    struct error *error)
{
    uint32_t count = rows->plan->group_by_count;
    struct usage_row row;
    enum status status = usage_rows_row(rows, sum, &row, out_has_row, error);
    if (status)
        return status;
    struct bytes *dimensions = arena_array(arena, count, struct bytes);
    for (uint32_t i = 0; i < count; i++)
        dimensions[i] = arena_bytes(arena, row.dimensions[i]);
    row.dimensions = dimensions;
    row.subject = arena_bytes(arena, row.subject);
    *out = row;
    return STATUS_OK;
}

// Grows by the shard: as many copies of the row headers as there are shards at worst, in an arena.
static enum status
result_add(
    struct usage_result *result,
    const struct usage_rows *rows,
    struct arena *arena,
    struct error *error)
{
    struct usage_row *all = arena_array(arena, result->count + rows->count, struct usage_row);
    size_t count = result->count;
    if (count > 0)
        memcpy(all, result->rows, count * sizeof *all);
    enum status status = STATUS_OK;
    for (size_t i = 0; i < rows->capacity && !status; i++) {
        bool has_row = false;
        if (rows->slots[i] != NULL)
            status = result_add_row(rows, rows->slots[i], arena, &all[count], &has_row, error);
        count += has_row;
    }
    if (status)
        return status;
    must(count <= result->count + rows->count);
    result->rows = all;
    result->count = count;
    return STATUS_OK;
}

static int
row_compare(const void *a, const void *b, void *context)
{
    const struct usage_row *left = a;
    const struct usage_row *right = b;
    const struct usage_plan *plan = context;
    int order = bytes_compare(left->subject, right->subject);
    if (order == 0)
        order = (left->from_ns > right->from_ns) - (left->from_ns < right->from_ns);
    for (uint32_t i = 0; i < plan->group_by_count && order == 0; i++)
        order = bytes_compare(left->dimensions[i], right->dimensions[i]);
    return order;
}

// Nothing is 0 calls and 0 distinct values of somebody, where all are counted in one row.
static void
result_add_zero(struct usage_result *result, const struct usage_plan *plan, struct arena *arena)
{
    enum aggregation aggregation = plan->meter->aggregation;
    bool counts = aggregation == AGGREGATION_COUNT || aggregation == AGGREGATION_UNIQUE_COUNT;
    if (result->count > 0 || !plan->is_merged || !counts || plan->group_by_count > 0 ||
        plan->window != USAGE_WINDOW_NONE)
        return;
    result->rows = arena_new(arena, struct usage_row);
    result->rows[0] =
        (struct usage_row){.from_ns = plan->from_ns, .to_ns = plan->to_ns, .denominator = 1};
    result->count = 1;
}

// Adds every shard's rows to the result, or to united when the query merges its subjects.
static enum status
query_shards(
    struct reader *reader,
    const struct usage_plan *plan,
    struct usage_rows *united,
    struct arena *arena,
    struct usage_result *result,
    struct error *error)
{
    scoped(arena_done) struct arena scratch = {0};
    enum status status = STATUS_OK;
    for (uint32_t shard = 0; shard < reader->shards && !status; shard++) {
        struct usage_plan part;
        if (!usage_plan_of_shard(plan, shard, reader->shards, arena, &part))
            continue;
        struct usage_rows rows = usage_rows_in(&scratch, &part);
        status = usage_answer_shard(reader, &part, shard, &rows, error);
        result->blocks_read += rows.blocks_read;
        if (status || rows.count == 0)
            continue;
        if (plan->is_merged)
            usage_rows_unite(united, &rows);
        else
            status = result_add(result, &rows, arena, error);
    }
    return status;
}

enum status
usage_query(
    struct reader *reader,
    const struct usage_query *query,
    struct arena *arena,
    struct usage_result *out,
    struct error *error)
{
    struct usage_result result = {0};
    struct usage_plan plan;
    const struct zone *zone = NULL;
    enum status status = registry_find(reader->registry, query->meter, arena, &result.meter, error);
    if (!status)
        status = reader_zone(reader, query->zone, &zone, error);
    if (!status)
        status = usage_plan_make(query, &result.meter, zone, arena, &plan, error);
    if (!status)
        status = usage_answer_has_cut(reader, query->at_cut, error);
    if (status)
        return status;
    scoped(arena_done) struct arena scratch = {0};
    struct usage_rows united = usage_rows_in(&scratch, &plan);
    status = query_shards(reader, &plan, &united, arena, &result, error);
    if (!status && united.count > 0)
        status = result_add(&result, &united, arena, error);
    if (status)
        return status;
    result_add_zero(&result, &plan, arena);
    if (result.count > 1)
        qsort_r(result.rows, result.count, sizeof *result.rows, row_compare, &plan);
    *out = result;
    return STATUS_OK;
}

bool
usage_window_parse(const char *text, enum usage_window *out)
{
    static const struct {
        const char *name;
        enum usage_window window;
    } names[] = {
        {"none",         USAGE_WINDOW_NONE        },
        {"minute",       USAGE_WINDOW_MINUTE      },
        {"quarter-hour", USAGE_WINDOW_QUARTER_HOUR},
        {"hour",         USAGE_WINDOW_HOUR        },
        {"day",          USAGE_WINDOW_DAY         },
        {"month",        USAGE_WINDOW_MONTH       },
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(text, names[i].name) == 0) {
            *out = names[i].window;
            return true;
        }
    }
    return false;
}
