// All subjects' totals in the order of cells' keys: a merge of merges.
//
//   windows of a shard    the widest there are (ledger/cover): a cursor each, in a heap by subject
//   its memory and log    folded into sums, sorted by subject
//   next of the shard     the lesser of both
//   next                  the least of all shards
//
// Invariants:
// 1. A subject's total is made whole before it is handed out: of one snapshot with position P, and
//    what memory or the log had beyond P. So it is the fold of one prefix of its shard's log that
//    holds every event acked before the question.
// 2. Transactions last half a second; then the windows are opened anew behind the last subject. If
//    the cells were flushed meanwhile, so is the rest: what comes later may have seen more.
// 3. Memory is bounded by the windows of the range and by what is not on disk, not by the subjects.

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cell_place.h"
#include "ledger/dirty.h"
#include "ledger/uniques.h"
#include "ledger/usage_answer.h"
#include "ledger/usage_windows.h"

#include <stdlib.h>

enum {
    TOTALS_PER_LOOK = 16,
    ATTEMPTS_MAX = 100,
    ATTEMPTS_BEFORE_HOLD = 3,  // then the snapshot is kept while the rest is read
};

static const int64_t SLICE_NS = 500 * 1000000LL;

struct stream {
    struct shard_answer answer;
    struct usage_plan plan;
    struct tx state;
    bool is_ready;   // rest is that of answer.scan.position
    bool has_cells;  // windows are part of the answer
    struct arena rest_arena;
    struct usage_rows rest;     // what is not in cells on disk
    struct usage_sum **sorted;  // rest by subject
    size_t sorted_count, sorted_at;
    struct usage_windows windows;
    struct cell_place place;
    struct arena sum_arena;
};

struct totals {
    struct reader *reader;
    const struct usage_plan *plan;
    struct stream *streams;
    struct arena arena;
    uint32_t streams_count;
    struct bytes last;  // the subject handed out last; size 0: none
    uint8_t last_bytes[UINT8_MAX];
    struct error *error;
};

static enum status
refuse_cell(const struct totals *totals, const struct stream *stream, struct bytes key)
{
    char text[CELL_TEXT_MAX];
    cell_key_print(key, text, sizeof text);
    return error_set(
        totals->error,
        STATUS_CORRUPT,
        "shard %u: the cell of %s is damaged",
        stream->answer.scan.view->shard,
        text);
}

// --- a slice: a snapshot with its windows open ---

static void
stream_close(struct stream *stream)
{
    usage_windows_close(&stream->windows);
    tx_done(&stream->state);
}

static int
sum_order(const void *a, const void *b)
{
    const struct usage_sum *const *left = a;
    const struct usage_sum *const *right = b;
    return usage_subject_order((*left)->subject, (*right)->subject);
}

static void
rest_sort(const struct totals *totals, struct stream *stream)
{
    const struct usage_rows *rest = &stream->rest;
    stream->sorted = arena_array(&stream->rest_arena, rest->count, struct usage_sum *);
    stream->sorted_count = 0;
    stream->sorted_at = 0;
    for (size_t i = 0; i < rest->capacity; i++) {
        struct usage_sum *sum = rest->slots[i];
        if (sum != NULL && usage_subject_order(sum->subject, totals->last) > 0)
            stream->sorted[stream->sorted_count++] = sum;
    }
    if (stream->sorted_count > 1)
        qsort(stream->sorted, stream->sorted_count, sizeof(void *), sum_order);
}

// Subjects with a dirty cell, all at once: otherwise each would be found when its turn comes, and
// read from the log by itself.
static enum status
dirty_touch(const struct totals *totals, struct stream *stream)
{
    const struct usage_plan *plan = &stream->plan;
    struct walk walk = walk_open(&stream->state, STATE_DB_DIRTY);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        if (dirty_is_sound(walk.key, walk.value) && cell_key_read(walk.key, &key) &&
            key.meter_id == plan->meter->id && key.start_s < plan->to_s &&
            usage_plan_sees(plan, key.epoch) && usage_plan_wants(plan, key.subject))
            usage_touch(&stream->answer.touched, key.subject, 0, INT64_MAX);
    }
    walk_done(&walk);
    return tx_check(&stream->state, totals->error);
}

// Everything but the cells on disk, for a new snapshot. STATUS_BUSY: a flush came in between.
static enum status
rest_read(const struct totals *totals, struct stream *stream, bool holds_snapshot)
{
    struct usage_scan *scan = &stream->answer.scan;
    struct usage_rest rest = {.tail_from = 1};
    uint64_t live_from = 0;
    enum status status = STATUS_OK;
    arena_reset(&stream->rest_arena);
    stream->rest = usage_rows_in(&stream->rest_arena, &stream->plan);
    stream->rest.touched = &stream->answer.touched;
    stream->answer.may_ask = true;
    scan->position = 0;
    if (scan->view->state != NULL) {
        stream->state = tx_read(scan->view->state);
        status = usage_answer_snapshot(&stream->answer, &stream->state, &live_from, totals->error);
        if (!status)
            status = dirty_touch(totals, stream);
    }
    stream->answer.touched.has_grown = false;
    if (!status && scan->view->state != NULL)
        status = usage_answer_memory(&stream->answer, live_from, &rest, totals->error);
    if (!holds_snapshot || !rest.has_cells)
        tx_done(&stream->state);
    if (!status)
        status = usage_answer_log(&stream->answer, &rest, totals->error);
    if (!status && (stream->rest.needs_log || stream->answer.touched.is_full))
        stream->answer.needs_log = true;
    if (!status && stream->answer.touched.has_grown)
        status = error_set(totals->error, STATUS_BUSY, "more of it was touched by corrections");
    if (status)
        return status;
    rest_sort(totals, stream);
    stream->has_cells = rest.has_cells;
    stream->is_ready = true;
    return STATUS_OK;
}

// Behind the last subject. STATUS_BUSY: the log has to answer.
static enum status
windows_open(const struct totals *totals, struct stream *stream)
{
    struct usage_windows *windows = &stream->windows;
    windows->state = &stream->state;
    windows->plan = &stream->plan;
    windows->shard = stream->answer.scan.view->shard;
    windows->error = totals->error;
    windows->after = totals->last;
    enum status status = usage_windows_open(windows);
    if (windows->needs_log) {
        stream->answer.needs_log = true;
        stream->is_ready = false;
    }
    return status;
}

// Opens the windows of the position that the rest is of. STATUS_BUSY: it is another one by now.
static enum status
cells_open_at(const struct totals *totals, struct stream *stream)
{
    struct usage_scan *scan = &stream->answer.scan;
    uint64_t position = 0;
    if (!stream->has_cells)
        return STATUS_OK;
    if (stream->state.handle == NULL)
        stream->state = tx_read(scan->view->state);
    uint64_t live_from = 0;
    enum status status = state_position(&stream->state, &position, totals->error);
    if (!status) {
        uint32_t meter_id = scan->plan->meter->id;
        status = state_live_from(&stream->state, meter_id, &live_from, totals->error);
    }
    if (!status && (position != scan->position || live_from != scan->live_from)) {
        stream->is_ready = false;
        status = error_set(totals->error, STATUS_BUSY, "the cells were flushed meanwhile");
    }
    return status ? status : windows_open(totals, stream);
}

static enum status
stream_open(const struct totals *totals, struct stream *stream)
{
    enum status status = STATUS_OK;
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        status = STATUS_OK;
        stream->answer.needs_log = stream->answer.needs_log || attempt == ATTEMPTS_MAX;
        if (!stream->is_ready)
            status = rest_read(totals, stream, attempt > ATTEMPTS_BEFORE_HOLD);
        if (!status && stream->rest.needs_log)
            stream->is_ready = false;
        else if (!status)
            status = cells_open_at(totals, stream);
        if (!status && stream->is_ready)
            return STATUS_OK;
        stream_close(stream);
        if (status && status != STATUS_BUSY)
            return status;
    }
    return status;
}

// --- subjects ---

// The next subject of a shard; size 0: none is left.
static struct bytes
stream_peek(const struct stream *stream)
{
    struct bytes next = {NULL, 0};
    const struct usage_cursor *window = usage_windows_top(&stream->windows);
    if (window != NULL)
        next = window->key.subject;
    if (stream->sorted_at == stream->sorted_count)
        return next;
    struct bytes other = stream->sorted[stream->sorted_at]->subject;
    return next.size == 0 || usage_subject_order(other, next) < 0 ? other : next;
}

// STATUS_BUSY: the cell cannot answer, the log has to.
static enum status
cell_take(
    const struct totals *totals,
    struct stream *stream,
    const struct place_cell *cell,
    struct usage_sum *sum)
{
    const struct usage_plan *plan = &stream->plan;
    enum aggregation aggregation = plan->meter->aggregation;
    const struct cell_state *state = &cell->state;
    if (cell->group.count != plan->meter->dimensions_count && !(state->flags & CELL_CAPPED))
        return refuse_cell(totals, stream, cell->key_bytes);
    if (!usage_cell_answers(plan, state)) {
        usage_touch(&stream->answer.touched, cell->key.subject, 0, INT64_MAX);
        stream->is_ready = false;
        return error_set(totals->error, STATUS_BUSY, "a cell is to be made anew");
    }
    if (!usage_filter_accepts(plan->filter, cell->key.subject, &cell->group))
        return STATUS_OK;
    cell_merge(aggregation, &sum->state, state, cell->key.start_s, &stream->sum_arena);
    if (cell_overflowed(aggregation, &sum->state))
        sum->overflow_ns = cell->key.start_s * SECOND_NS;
    struct cell_set *set = &sum->state.unique.set;
    if ((state->flags & CELL_SPILLED) &&
        uniques_read(
            &stream->state, cell->key_bytes, state->unique.spilled, set, &stream->sum_arena))
        return refuse_cell(totals, stream, cell->key_bytes);
    return STATUS_OK;
}

// The cells of the place at the heap's top, unless the log has them. The window moves on.
static enum status
place_take(const struct totals *totals, struct stream *stream, struct usage_sum *sum)
{
    struct usage_cursor *window = usage_windows_top(&stream->windows);
    const struct usage_plan *plan = &stream->plan;
    struct cell_place *place = &stream->place;
    bool more = false;
    enum aggregation aggregation = plan->meter->aggregation;
    uint32_t below = usage_plan_below(plan);
    if (cell_place_read(place, &window->walk, &window->key, aggregation, below, &more))
        return refuse_cell(totals, stream, window->walk.key);
    bool is_wanted = usage_plan_wants(plan, sum->subject) &&
                     !usage_is_touched(&stream->answer.touched, sum->subject, 0, INT64_MAX);
    enum status status = STATUS_OK;
    for (size_t i = 0; is_wanted && !status && i < cell_place_count(place); i++)
        status = cell_take(totals, stream, cell_place_at(place, i), sum);
    return status ? status : usage_windows_advanced(&stream->windows, more);
}

static void
rest_take(struct stream *stream, struct usage_sum *sum)
{
    const struct usage_sum *rest = stream->sorted[stream->sorted_at++];
    enum aggregation aggregation = stream->plan.meter->aggregation;
    cell_merge(aggregation, &sum->state, &rest->state, 0, &stream->sum_arena);
    if (cell_overflowed(aggregation, &sum->state))
        sum->overflow_ns = rest->overflow_ns;
}

// All of the subject that the shard has; its bytes stay with totals->last.
static enum status
stream_take(struct totals *totals, struct stream *stream, struct usage_sum *sum)
{
    enum status status = STATUS_OK;
    if (stream->sorted_at < stream->sorted_count &&
        bytes_equal(stream->sorted[stream->sorted_at]->subject, sum->subject))
        rest_take(stream, sum);
    const struct usage_cursor *window;
    while (!status && (window = usage_windows_top(&stream->windows)) != NULL &&
           bytes_equal(window->key.subject, sum->subject))
        status = place_take(totals, stream, sum);
    return status;
}

static struct stream *
totals_least(const struct totals *totals)
{
    struct stream *least = NULL;
    struct bytes subject = {NULL, 0};
    for (uint32_t i = 0; i < totals->streams_count; i++) {
        struct bytes next = stream_peek(&totals->streams[i]);
        if (next.size > 0 && (least == NULL || usage_subject_order(next, subject) < 0)) {
            least = &totals->streams[i];
            subject = next;
        }
    }
    return least;
}

// Hands out the next subject. *out_goes_on: there was one, and the caller wants more.
static enum status
totals_step(struct totals *totals, usage_total_fn on_total, void *context, bool *out_goes_on)
{
    struct stream *stream = totals_least(totals);
    *out_goes_on = false;
    if (stream == NULL)
        return STATUS_OK;
    uint8_t bytes[UINT8_MAX];
    struct bytes subject = stream_peek(stream);
    memcpy(bytes, subject.data, subject.size);
    struct usage_sum sum = {
        .subject = bytes_of(bytes, subject.size),
        .from_ns = totals->plan->from_ns,
        .to_ns = totals->plan->to_ns,
    };
    struct usage_row row;
    bool has_row = false;
    arena_reset(&stream->sum_arena);
    enum status status = stream_take(totals, stream, &sum);
    if (!status)
        status = usage_rows_row(&stream->rest, &sum, &row, &has_row, totals->error);
    if (status)
        return status;
    memcpy(totals->last_bytes, bytes, subject.size);
    totals->last = bytes_of(totals->last_bytes, sum.subject.size);
    *out_goes_on = !has_row || on_total(context, sum.subject, &row);
    return STATUS_OK;
}

// From one opening of the windows to the next.
static enum status
totals_slice(struct totals *totals, usage_total_fn on_total, void *context, bool *out_goes_on)
{
    enum status status = STATUS_OK;
    *out_goes_on = true;
    for (uint32_t i = 0; i < totals->streams_count && !status; i++)
        status = stream_open(totals, &totals->streams[i]);
    int64_t deadline_ns = clock_monotonic_ns() + SLICE_NS;
    for (uint32_t steps = 1; !status && *out_goes_on; steps++) {
        status = totals_step(totals, on_total, context, out_goes_on);
        if (steps % TOTALS_PER_LOOK == 0 && clock_monotonic_ns() > deadline_ns)
            break;
    }
    for (uint32_t i = 0; i < totals->streams_count; i++)
        stream_close(&totals->streams[i]);
    if (status != STATUS_BUSY)
        return status;
    *out_goes_on = true;
    return STATUS_OK;
}

static enum status
totals_start(struct totals *totals)
{
    struct reader *reader = totals->reader;
    enum status status = STATUS_OK;
    totals->streams = arena_array(&totals->arena, reader->shards, struct stream);
    for (uint32_t shard = 0; shard < reader->shards && !status; shard++) {
        struct shard_view *view = &reader->views[shard];
        struct stream *stream = &totals->streams[totals->streams_count];
        if (!usage_plan_of_shard(
                totals->plan, shard, reader->shards, &totals->arena, &stream->plan))
            continue;
        status = shard_view_open(reader->dir, shard, view, totals->error);
        if (status || view->log == NULL)
            continue;
        stream->answer = (struct shard_answer){
            .reader = reader,
            .scan = {.plan = &stream->plan,  .view = view, .rows = &stream->rest},
            .touched = {.is_by_subject = true},
        };
        status = usage_answer_cut(&stream->answer, totals->error);
        totals->streams_count += !status;
    }
    return status;
}

static void
totals_done(struct totals *totals)
{
    for (uint32_t i = 0; i < totals->streams_count; i++) {
        stream_close(&totals->streams[i]);
        arena_done(&totals->streams[i].rest_arena);
        arena_done(&totals->streams[i].windows.arena);
        arena_done(&totals->streams[i].sum_arena);
        cell_place_done(&totals->streams[i].place);
        usage_touched_done(&totals->streams[i].answer.touched);
    }
    arena_done(&totals->arena);
}

enum status
usage_stream(
    struct reader *reader,
    const struct usage_query *query,
    usage_total_fn on_total,
    void *context,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct meter meter;
    struct usage_plan plan;
    if (query->window != USAGE_WINDOW_NONE || query->group_by_count > 0 || query->is_merged)
        return error_set(
            error, STATUS_INVALID, "a stream of subjects has no window, groups or merging");
    const struct zone *zone = NULL;
    enum status status = registry_find(reader->registry, query->meter, &arena, &meter, error);
    if (!status)
        status = reader_zone(reader, query->zone, &zone, error);
    if (!status)
        status = usage_plan_make(query, &meter, zone, &arena, &plan, error);
    if (!status)
        status = usage_answer_has_cut(reader, query->at_cut, error);
    if (status || plan.from_ns == plan.to_ns)
        return status;
    scoped(totals_done) struct totals totals = {.reader = reader, .plan = &plan, .error = error};
    bool goes_on = true;
    status = totals_start(&totals);
    while (!status && goes_on)
        status = totals_slice(&totals, on_total, context, &goes_on);
    return status;
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
    return usage_stream(reader, &query, on_total, context, error);
}
