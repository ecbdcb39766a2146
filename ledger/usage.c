#include "ledger/usage.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"
#include "ledger/ledger.h"
#include "ledger/memory.h"
#include "ledger/usage_scan.h"

#include <stdlib.h>

// How a shard answers. With a state snapshot at position P, and L the first block that the meter's
// cells cover:
//
//   off the quarter hours, or L unknown:        log [1, head]
//   a cell is of no use (usage_rows_cell):      log [1, head]
//   tallyd answers, its flushed == P:           cells(P) + its cells + log [1, L)
//   tallyd answers, a flush came in between:    again, on a new snapshot
//   tallyd is away (or busy, or has too many):  cells(P) + log [max(L, P + 1), head] + log [1, L)
//
// A meter that was never flushed has no L on disk and no cells there; then L is what tallyd says.
//
// Each is the fold of a prefix of the shard's log that holds every event acked before the question:
// the head is taken after the snapshot, and tallyd answers between two groups. The log alone is
// always right; the rest is there for speed.

enum {
    ATTEMPTS_MAX = 100,
    ATTEMPTS_BEFORE_HOLD = 3,  // then a long walk keeps its snapshot rather than never end
};

struct reader {
    struct arena arena;  // dir
    const char *dir;
    uint32_t shards;
    struct registry *registry;
    struct shard_view *views;
    struct memory_client *client;  // NULL: not connected
    struct zone *zone;             // the last one that was asked for, or NULL
};

enum status
reader_open(const char *dir, struct reader **out, struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_conf_read(dir, &conf, error);
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
static enum status
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

// One shard's part of an answer.
struct shard_answer {
    struct reader *reader;
    struct usage_scan scan;
    bool may_ask;    // whether tallyd is still worth asking
    bool needs_log;  // the cells were tried, and cannot answer
};

static void
reader_hang_up(struct reader *reader)
{
    memory_client_close(reader->client);
    reader->client = NULL;
}

// False: answer without tallyd. A connection that tallyd closed (it was restarted) is made anew,
// once.
static bool
answer_ask(struct shard_answer *answer, struct memory_reply *out)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct reader *reader = answer->reader;
    const struct memory_request request = {
        .shard = answer->scan.view->shard,
        .meter_id = plan->meter->id,
        // A list comes out of one answer about all, so that it shows one moment.
        .subject = plan->subjects_count == 1 ? plan->subjects[0] : bytes_of(NULL, 0),
        .from_s = plan->from_s,
        .to_s = plan->to_s,
    };
    bool was_connected = reader->client != NULL;
    struct error error;
    for (int i = 0; i < 2 && answer->may_ask; i++) {
        if (reader->client == NULL && memory_client_open(reader->dir, &reader->client, &error))
            break;
        enum status status = memory_ask(reader->client, &request, out, &error);
        if (!status)
            return true;
        if (status == STATUS_FULL)
            break;
        reader_hang_up(reader);
        if (status != STATUS_CLOSED || !was_connected)
            break;
    }
    answer->may_ask = false;
    return false;
}

static enum status
answer_head(
    const struct shard_answer *answer, uint64_t position, uint64_t *out, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(answer->scan.view->log);
    uint64_t head = 0;
    enum status status = log_head(&log, &head, error);
    if (!status && head < position)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "the cells are at block %llu, the log ends at %llu",
            (unsigned long long)position,
            (unsigned long long)head);
    if (status)
        return error_prefix(error, "shard %u", answer->scan.view->shard);
    *out = head;
    return STATUS_OK;
}

static enum status
answer_log(
    const struct shard_answer *answer,
    uint64_t position,
    uint64_t live_from,
    uint64_t tail_from,
    struct error *error)
{
    uint64_t head = 0;
    enum status status = answer_head(answer, position, &head, error);
    if (!status && live_from > 1)
        status = usage_scan_log(&answer->scan, 1, live_from - 1, error);
    if (!status && tail_from > 0)
        status = usage_scan_log(&answer->scan, tail_from, head, error);
    return status;
}

static enum status
answer_reply(struct shard_answer *answer, struct memory_reply *reply, struct error *error)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct cell_key key;
    struct cell_group group;
    struct cell_state state;
    while (memory_reply_next(reply, plan->meter->aggregation, &key, &group, &state)) {
        bool has_groups =
            group.count == plan->meter->dimensions_count || (state.flags & CELL_CAPPED) != 0;
        bool is_ours = key.meter_id == plan->meter->id && key.start_s >= plan->from_s &&
                       key.start_s < plan->to_s && has_groups;
        if (!is_ours)
            return error_set(error, STATUS_CORRUPT, "tallyd answered another question");
        if (usage_plan_wants(plan, key.subject))
            (void)usage_rows_cell(answer->scan.rows, &key, &group, &state);
    }
    if (cursor_failed(&reply->cells))
        return error_set(error, STATUS_CORRUPT, "tallyd's answer is damaged");
    return STATUS_OK;
}

// The cells of a snapshot, or of none when the meter has no cells on disk yet, and what came after
// it. STATUS_BUSY: try again on a new one.
static enum status
answer_cells(struct shard_answer *answer, struct tx *state, uint64_t live_from, struct error *error)
{
    uint64_t position = answer->scan.position;
    struct memory_reply reply = {0};
    bool has_reply = answer_ask(answer, &reply);
    if (has_reply && reply.flushed != position)
        return error_set(error, STATUS_BUSY, "the cells were flushed meanwhile");
    uint64_t covered_from = has_reply ? reply.live_from : live_from;
    bool is_covered = covered_from > 0 && (live_from == 0 || live_from == covered_from);
    if (!is_covered) {
        tx_done(state);
        return answer_log(answer, position, 0, 1, error);
    }
    enum status status = has_reply ? answer_reply(answer, &reply, error) : STATUS_OK;
    if (!status && live_from > 0)
        status = usage_scan_cells(&answer->scan, state, error);
    if (status)
        return status;
    tx_done(state);
    uint64_t tail_from = covered_from > position ? covered_from : position + 1;
    return answer_log(answer, position, covered_from, has_reply ? 0 : tail_from, error);
}

static enum status
answer_try(struct shard_answer *answer, struct error *error)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct usage_scan *scan = &answer->scan;
    uint64_t live_from = 0;
    scan->position = 0;
    if (scan->view->state == NULL)
        return answer_log(answer, 0, 0, 1, error);
    scoped(tx_done) struct tx state = tx_read(scan->view->state);
    enum status status = state_position(&state, &scan->position, error);
    if (!status)
        status = state_live_from(&state, plan->meter->id, &live_from, error);
    if (status)
        return error_prefix(error, "shard %u", scan->view->shard);
    if (plan->is_aligned && !answer->needs_log)
        return answer_cells(answer, &state, live_from, error);
    tx_done(&state);
    return answer_log(answer, scan->position, 0, 1, error);
}

// Fills rows, whose arena is emptied before each attempt, with one shard's part of the answer.
static enum status
answer_shard(
    struct reader *reader,
    const struct usage_plan *plan,
    uint32_t shard,
    struct usage_rows *rows,
    struct error *error)
{
    struct shard_view *view = &reader->views[shard];
    struct arena *arena = rows->arena;
    arena_reset(arena);
    *rows = usage_rows_in(arena, plan);
    enum status status = shard_view_open(reader->dir, shard, view, error);
    if (status || view->log == NULL || plan->from_ns == plan->to_ns)
        return status;
    struct shard_answer answer = {
        .reader = reader,
        .scan = {.plan = plan, .view = view, .rows = rows},
        .may_ask = true,
    };
    // The last attempt asks nobody but the log, which has the answer whatever is flushed.
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        arena_reset(arena);
        *rows = usage_rows_in(arena, plan);
        answer.scan.holds_snapshot = attempt > ATTEMPTS_BEFORE_HOLD;
        answer.needs_log = answer.needs_log || attempt == ATTEMPTS_MAX;
        status = answer_try(&answer, error);
        if (!status && rows->needs_log)
            answer.needs_log = true;
        else if (status != STATUS_BUSY)
            break;
    }
    return status;
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
        status = answer_shard(reader, &part, shard, &rows, error);
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

// False: on_total wants no more.
static enum status
totals_emit(
    const struct usage_rows *rows,
    usage_total_fn on_total,
    void *context,
    bool *out_goes_on,
    struct error *error)
{
    for (size_t i = 0; i < rows->capacity; i++) {
        struct usage_row row;
        bool has_row = false;
        if (rows->slots[i] == NULL)
            continue;
        enum status status = usage_rows_row(rows, rows->slots[i], &row, &has_row, error);
        if (status)
            return status;
        if (has_row && !on_total(context, row.subject, &row)) {
            *out_goes_on = false;
            return STATUS_OK;
        }
    }
    return STATUS_OK;
}

// The contract has 7 parameters, one of them the error.
enum status
usage_totals(  // NOLINT(readability-function-size)
    struct reader *reader,
    const char *meter,
    int64_t from_ns,
    int64_t to_ns,
    usage_total_fn on_total,
    void *context,
    struct error *error)
{
    const struct usage_query query = {.meter = meter, .from_ns = from_ns, .to_ns = to_ns};
    scoped(arena_done) struct arena arena = {0};
    scoped(arena_done) struct arena scratch = {0};
    struct meter found;
    struct usage_plan plan;
    enum status status = registry_find(reader->registry, meter, &arena, &found, error);
    if (!status)
        status = usage_plan_make(&query, &found, NULL, &arena, &plan, error);
    if (status)
        return status;
    struct usage_rows rows = usage_rows_in(&scratch, &plan);
    bool goes_on = true;
    for (uint32_t shard = 0; shard < reader->shards && goes_on && !status; shard++) {
        status = answer_shard(reader, &plan, shard, &rows, error);
        if (!status)
            status = totals_emit(&rows, on_total, context, &goes_on, error);
    }
    return status;
}
