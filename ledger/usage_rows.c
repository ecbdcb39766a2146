#include "ledger/usage_rows.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/shard_view.h"

enum { ROWS_CAPACITY_MIN = 64 };

struct usage_rows
usage_rows_in(struct arena *arena, const struct usage_plan *plan)
{
    return (struct usage_rows){.arena = arena, .plan = plan};
}

static uint64_t
sum_hash(const struct usage_sum *sum, uint32_t dimensions_count)
{
    uint64_t hash = hash64(sum->subject, (uint64_t)sum->from_ns);
    for (uint32_t i = 0; i < dimensions_count; i++)
        hash = hash64(sum->dimensions[i], hash);
    return hash;
}

static bool
sum_has_key(const struct usage_sum *sum, const struct usage_sum *key, uint32_t dimensions_count)
{
    if (sum->hash != key->hash || sum->from_ns != key->from_ns ||
        !bytes_equal(sum->subject, key->subject))
        return false;
    for (uint32_t i = 0; i < dimensions_count; i++)
        if (!bytes_equal(sum->dimensions[i], key->dimensions[i]))
            return false;
    return true;
}

// The slot of the key, or the empty one where it belongs. At most three quarters are taken, so one
// is empty.
static struct usage_sum **
rows_find(const struct usage_rows *rows, const struct usage_sum *key)
{
    must(rows->count < rows->capacity);
    size_t mask = rows->capacity - 1;
    size_t index = (size_t)key->hash & mask;
    while (rows->slots[index] != NULL &&
           !sum_has_key(rows->slots[index], key, rows->plan->group_by_count))
        index = (index + 1) & mask;
    return &rows->slots[index];
}

// Tables of half the size stay behind in the arena: together no more than the one in use.
static void
rows_grow(struct usage_rows *rows)
{
    struct usage_sum **old = rows->slots;
    size_t old_capacity = rows->capacity;
    rows->capacity = old_capacity > 0 ? old_capacity * 2 : ROWS_CAPACITY_MIN;
    rows->slots = arena_array(rows->arena, rows->capacity, struct usage_sum *);
    for (size_t i = 0; i < old_capacity; i++)
        if (old[i] != NULL)
            *rows_find(rows, old[i]) = old[i];
}

static struct usage_sum *
rows_insert(struct usage_rows *rows, struct usage_sum **slot, const struct usage_sum *key)
{
    uint32_t count = rows->plan->group_by_count;
    struct usage_sum *sum = arena_new(rows->arena, struct usage_sum);
    *sum = *key;
    sum->subject = arena_bytes(rows->arena, key->subject);
    sum->dimensions = arena_array(rows->arena, count, struct bytes);
    for (uint32_t i = 0; i < count; i++)
        sum->dimensions[i] = arena_bytes(rows->arena, key->dimensions[i]);
    *slot = sum;
    rows->count++;
    return sum;
}

// The sum with the key's subject, window and dimensions.
static struct usage_sum *
rows_take(struct usage_rows *rows, struct usage_sum *key)
{
    key->hash = sum_hash(key, rows->plan->group_by_count);
    if (rows->count >= rows->capacity - rows->capacity / 4)
        rows_grow(rows);
    struct usage_sum **slot = rows_find(rows, key);
    return *slot != NULL ? *slot : rows_insert(rows, slot, key);
}

// Events come near each other in time, and finding a window of a zone takes a while.
static void
rows_window(struct usage_rows *rows, int64_t time_ns)
{
    if (time_ns >= rows->window_from_ns && time_ns < rows->window_to_ns)
        return;
    usage_plan_window(rows->plan, time_ns, &rows->window_from_ns, &rows->window_to_ns);
}

// Merged subjects share a sum, but for LATEST: which of two subjects' events is the later one is
// decided between the last of each.
static bool
merges_at_once(const struct usage_plan *plan)
{
    return plan->is_merged && plan->meter->aggregation != AGGREGATION_LATEST;
}

// Of the window that rows_window found. NULL: the filter leaves it out.
static struct usage_sum *
rows_at(struct usage_rows *rows, struct bytes subject, const struct cell_group *group)
{
    const struct usage_plan *plan = rows->plan;
    struct bytes dimensions[METER_DIMENSIONS_MAX];
    must(group->count == plan->meter->dimensions_count || !plan->needs_groups);
    if (!usage_filter_accepts(plan->filter, subject, group))
        return NULL;
    for (uint32_t i = 0; i < plan->group_by_count; i++)
        dimensions[i] = group->values[plan->group_by[i]];
    struct usage_sum key = {
        .subject = merges_at_once(plan) ? bytes_of(NULL, 0) : subject,
        .from_ns = rows->window_from_ns,
        .to_ns = rows->window_to_ns,
        .dimensions = dimensions,
    };
    return rows_take(rows, &key);
}

static bool
window_splits(const struct usage_rows *rows, int64_t start_s)
{
    return rows->plan->window != USAGE_WINDOW_NONE &&
           rows->window_to_ns - start_s * SECOND_NS < QUARTER_HOUR_NS;
}

bool
usage_cell_answers(const struct usage_plan *plan, const struct cell_state *state)
{
    bool lacks_groups = (state->flags & CELL_CAPPED) && plan->needs_groups;
    return !(state->flags & CELL_DIRTY) && !lacks_groups;
}

struct usage_sum *
usage_rows_cell(
    struct usage_rows *rows,
    const struct cell_key *key,
    int64_t end_s,
    const struct cell_group *group,
    const struct cell_state *state)
{
    enum aggregation aggregation = rows->plan->meter->aggregation;
    if (!usage_plan_sees(rows->plan, key->epoch))
        return NULL;
    if (!usage_cell_answers(rows->plan, state) ||
        usage_is_touched(rows->touched, key->subject, key->start_s, end_s)) {
        usage_touch(rows->touched, key->subject, key->start_s, end_s);
        return NULL;
    }
    rows_window(rows, key->start_s * SECOND_NS);
    if (window_splits(rows, key->start_s)) {
        rows->needs_log = true;
        return NULL;
    }
    struct usage_sum *sum = rows_at(rows, key->subject, group);
    if (sum == NULL)
        return NULL;
    cell_merge(aggregation, &sum->state, state, key->start_s, rows->arena);
    if (cell_overflowed(aggregation, &sum->state))
        sum->overflow_ns = key->start_s * SECOND_NS;
    return sum;
}

void
usage_rows_event(struct usage_rows *rows, struct bytes subject, const struct fold_step *step)
{
    enum aggregation aggregation = rows->plan->meter->aggregation;
    rows_window(rows, step->input.time_ns);
    struct usage_sum *sum = rows_at(rows, subject, &step->group);
    if (sum == NULL)
        return;
    cell_add(aggregation, &sum->state, &step->input, 0, rows->arena);
    if (cell_overflowed(aggregation, &sum->state))
        sum->overflow_ns = step->input.time_ns;
}

// Blocks of different shards have no order, so the arrival decides.
static bool
latest_is_later(const struct usage_sum *a, const struct usage_sum *b)
{
    const struct cell_latest *left = &a->state.latest;
    const struct cell_latest *right = &b->state.latest;
    if (left->time_ns != right->time_ns)
        return left->time_ns > right->time_ns;
    if (left->arrival_ns != right->arrival_ns)
        return left->arrival_ns > right->arrival_ns;
    return bytes_compare(a->latest_subject, b->latest_subject) > 0;
}

static void
unite_latest(struct usage_rows *rows, struct usage_sum *into, struct usage_sum from)
{
    bool has_value = (from.state.flags & CELL_HAS_VALUE) != 0;
    from.latest_subject = from.subject;
    if (has_value && (!(into->state.flags & CELL_HAS_VALUE) || latest_is_later(&from, into))) {
        into->state.latest = from.state.latest;
        into->state.flags |= CELL_HAS_VALUE;
        into->latest_subject = arena_bytes(rows->arena, from.subject);
    }
    into->state.count += from.state.count;
}

void
usage_rows_unite(struct usage_rows *rows, const struct usage_rows *others)
{
    enum aggregation aggregation = rows->plan->meter->aggregation;
    for (size_t i = 0; i < others->capacity; i++) {
        const struct usage_sum *from = others->slots[i];
        if (from == NULL)
            continue;
        struct usage_sum key = {
            .from_ns = from->from_ns, .to_ns = from->to_ns, .dimensions = from->dimensions};
        struct usage_sum *into = rows_take(rows, &key);
        if (aggregation == AGGREGATION_LATEST) {
            unite_latest(rows, into, *from);
            continue;
        }
        cell_merge(aggregation, &into->state, &from->state, 0, rows->arena);
        if (cell_overflowed(aggregation, &into->state))
            into->overflow_ns = from->overflow_ns;
    }
}

static enum status
refuse_overflow(const struct usage_rows *rows, const struct usage_sum *sum, struct error *error)
{
    char subject[256];
    char from[CLOCK_TEXT_MAX];
    if (rows->plan->is_merged)
        return error_set(
            error,
            STATUS_OVERFLOW,
            "the sum of meter %s over its subjects left its range",
            rows->plan->meter->key);
    bytes_print(sum->subject, subject, sizeof subject);
    (void)clock_print(sum->overflow_ns - sum->overflow_ns % QUARTER_HOUR_NS, from);
    return error_set(
        error,
        STATUS_OVERFLOW,
        "the sum of meter %s for subject %s left its range in the quarter hour from %s",
        rows->plan->meter->key,
        subject,
        from);
}

// sum(v * (to - t)) / (to - from): the share of the window that is left after each event.
static enum status
row_weighted(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *row,
    struct error *error)
{
    bool is_open = sum->from_ns <= 0 || sum->to_ns == INT64_MAX;
    if (is_open && rows->plan->window == USAGE_WINDOW_NONE) {
        return error_set(
            error,
            STATUS_INVALID,
            "meter %s weighs by the time that is left of a period: ask for a range with both ends",
            rows->plan->meter->key);
    }
    struct wide spent = wide_negate(sum->state.sum.moment);
    row->numerator = wide_scale(sum->state.sum.sum, sum->to_ns);
    wide_add(&row->numerator, &spent);
    row->denominator = (uint64_t)(sum->to_ns - sum->from_ns);
    return STATUS_OK;
}

size_t
usage_row_print(const struct usage_row *row, char out[WIDE_TEXT_MAX])
{
    return wide_divide_print(row->numerator, row->denominator, 20, out);
}

enum status
usage_rows_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *out,
    bool *out_has_row,
    struct error *error)
{
    const struct cell_state *state = &sum->state;
    bool has_row = state->count > 0;
    enum status status = STATUS_OK;
    struct usage_row row = {
        .subject = sum->subject,
        .from_ns = sum->from_ns,
        .to_ns = sum->to_ns,
        .dimensions = sum->dimensions,
        .count = (uint64_t)(has_row ? state->count : 0),
        .denominator = 1,
    };
    switch (rows->plan->meter->aggregation) {
    case AGGREGATION_COUNT: row.numerator = wide_multiply(DECIMAL_ONE.units, state->count); break;
    case AGGREGATION_SUM: row.numerator = state->sum.sum; break;
    case AGGREGATION_AVG:
        row.numerator = state->sum.sum;
        row.denominator = has_row ? row.count : 1;
        break;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX: row.numerator = wide_from_int128(state->extreme.units); break;
    case AGGREGATION_LATEST: row.numerator = wide_from_int128(state->latest.value.units); break;
    case AGGREGATION_UNIQUE_COUNT:
        row.numerator = wide_multiply(DECIMAL_ONE.units, state->unique.set.count);
        break;
    case AGGREGATION_WEIGHTED_SUM:
        // A range without an end is refused when something in it would have to be weighed.
        if (has_row)
            status = row_weighted(rows, sum, &row, error);
        break;
    }
    if (status)
        return status;
    if (row.denominator == 1 && !wide_to_int128(&row.numerator, &row.value.units))
        return refuse_overflow(rows, sum, error);
    *out = row;
    *out_has_row = has_row;
    return STATUS_OK;
}
