// Usage at a cut stays what it was, so what came since is the difference to usage now: both are
// asked, one after the other, and their rows laid side by side.

#include "base/assert.h"
#include "ledger/usage.h"

static bool
is_additive(enum aggregation aggregation)
{
    switch (aggregation) {
    case AGGREGATION_COUNT:
    case AGGREGATION_SUM:
    case AGGREGATION_WEIGHTED_SUM: return true;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
    case AGGREGATION_AVG:
    case AGGREGATION_UNIQUE_COUNT:
    case AGGREGATION_LATEST: break;
    }
    return false;
}

// The order of a result's rows.
static int
row_order(const struct usage_row *a, const struct usage_row *b, uint32_t dimensions)
{
    int order = bytes_compare(a->subject, b->subject);
    if (order == 0)
        order = (a->from_ns > b->from_ns) - (a->from_ns < b->from_ns);
    for (uint32_t i = 0; i < dimensions && order == 0; i++)
        order = bytes_compare(a->dimensions[i], b->dimensions[i]);
    return order;
}

static bool
row_is_same(const struct usage_row *a, const struct usage_row *b)
{
    return a->count == b->count && a->denominator == b->denominator &&
           wide_compare(&a->numerator, &b->numerator) == 0;
}

// One of both may be NULL. False: nothing changed.
static bool
late_row(
    const struct usage_row *before,
    const struct usage_row *now,
    bool adds_up,
    struct usage_late_row *out)
{
    struct usage_late_row row = {
        .has_before = before != NULL, .has_now = now != NULL, .is_additive = adds_up};
    must(before != NULL || now != NULL);
    if (before != NULL && now != NULL && row_is_same(before, now))
        return false;
    row.before = before != NULL ? *before : (struct usage_row){0};
    row.now = now != NULL ? *now : (struct usage_row){0};
    row.count = (int64_t)row.now.count - (int64_t)row.before.count;
    if (adds_up) {
        // Of the same window, so of the same denominator.
        struct wide taken = wide_negate(row.before.numerator);
        must(before == NULL || now == NULL || before->denominator == now->denominator);
        row.denominator = now != NULL ? now->denominator : before->denominator;
        row.numerator = row.now.numerator;
        wide_add(&row.numerator, &taken);
    }
    *out = row;
    return true;
}

static void
late_rows(
    const struct usage_result *before,
    const struct usage_result *now,
    uint32_t dimensions,
    struct usage_late_result *out)
{
    bool adds_up = is_additive(now->meter.aggregation);
    size_t i = 0;
    size_t k = 0;
    while (i < before->count || k < now->count) {
        const struct usage_row *left = i < before->count ? &before->rows[i] : NULL;
        const struct usage_row *right = k < now->count ? &now->rows[k] : NULL;
        int order = 0;
        if (left == NULL || right == NULL)
            order = left != NULL ? -1 : 1;
        else
            order = row_order(left, right, dimensions);
        i += order <= 0;
        k += order >= 0;
        out->count += late_row(
            order <= 0 ? left : NULL, order >= 0 ? right : NULL, adds_up, &out->rows[out->count]);
    }
}

enum status
usage_late(
    struct reader *reader,
    const struct usage_query *query,
    struct arena *arena,
    struct usage_late_result *out,
    struct error *error)
{
    struct usage_result before;
    struct usage_result now;
    struct usage_query query_now = *query;
    if (query->at_cut == 0)
        return error_set(error, STATUS_INVALID, "late usage is what came since a cut: name one");
    query_now.at_cut = 0;
    enum status status = usage_query(reader, query, arena, &before, error);
    if (!status)
        status = usage_query(reader, &query_now, arena, &now, error);
    if (!status && before.meter.id != now.meter.id)
        status = error_set(error, STATUS_BUSY, "the meter was redefined meanwhile: ask again");
    if (status)
        return status;
    struct usage_late_result result = {
        .meter = now.meter,
        .rows = arena_array(arena, before.count + now.count, struct usage_late_row),
        .blocks_read = before.blocks_read + now.blocks_read,
    };
    late_rows(&before, &now, query->group_by_count, &result);
    *out = result;
    return STATUS_OK;
}

size_t
usage_late_print(const struct usage_late_row *row, char out[WIDE_TEXT_MAX])
{
    must(row->is_additive && row->denominator > 0);
    return wide_divide_print(row->numerator, row->denominator, 20, out);
}
