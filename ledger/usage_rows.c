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

// A count cannot leave its range, and a COUNT meter's sum is nobody's business.
static void
rows_merge(
    struct usage_rows *rows, struct usage_sum *sum, int64_t time_ns, const struct cell_state *state)
{
    cell_merge(&sum->state, state);
    bool is_overflowed = (sum->state.flags & CELL_OVERFLOWED) != 0 &&
                         rows->plan->meter->aggregation == AGGREGATION_SUM;
    if (!is_overflowed || rows->is_overflowed)
        return;
    rows->is_overflowed = true;
    rows->overflow_subject = sum->subject;
    rows->overflow_from_ns = time_ns - time_ns % QUARTER_HOUR_NS;
}

void
usage_rows_add(
    struct usage_rows *rows,
    struct bytes subject,
    int64_t time_ns,
    const struct cell_group *group,
    const struct cell_state *state)
{
    const struct usage_plan *plan = rows->plan;
    must(group->count == plan->meter->dimensions_count);
    if (!usage_plan_accepts(plan, group))
        return;
    struct bytes dimensions[METER_DIMENSIONS_MAX];
    for (uint32_t i = 0; i < plan->group_by_count; i++)
        dimensions[i] = group->values[plan->group_by[i]];
    struct usage_sum key = {.subject = subject, .dimensions = dimensions};
    usage_plan_window(plan, time_ns, &key.from_ns, &key.to_ns);
    key.hash = sum_hash(&key, plan->group_by_count);
    if (rows->count >= rows->capacity - rows->capacity / 4)
        rows_grow(rows);
    struct usage_sum **slot = rows_find(rows, &key);
    struct usage_sum *sum = *slot != NULL ? *slot : rows_insert(rows, slot, &key);
    rows_merge(rows, sum, time_ns, state);
}

enum status
usage_rows_check(const struct usage_rows *rows, struct error *error)
{
    if (!rows->is_overflowed)
        return STATUS_OK;
    char subject[256];
    char from[CLOCK_TEXT_MAX];
    bytes_print(rows->overflow_subject, subject, sizeof subject);
    (void)clock_print(rows->overflow_from_ns, from);
    return error_set(
        error,
        STATUS_OVERFLOW,
        "the sum of meter %s for subject %s left its range in the quarter hour from %s",
        rows->plan->meter->key,
        subject,
        from);
}

enum status
usage_rows_row(
    const struct usage_rows *rows,
    const struct usage_sum *sum,
    struct usage_row *out,
    struct error *error)
{
    struct usage_row row = {
        .subject = sum->subject,
        .from_ns = sum->from_ns,
        .to_ns = sum->to_ns,
        .dimensions = sum->dimensions,
        .value = sum->state.sum,
        .count = sum->state.count,
    };
    if (rows->plan->meter->aggregation == AGGREGATION_COUNT &&
        decimal_from_uint(sum->state.count, &row.value))
        return error_set(
            error, STATUS_OVERFLOW, "meter %s counted too much", rows->plan->meter->key);
    *out = row;
    return STATUS_OK;
}
