#include "ledger/usage_plan.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"

static enum status
refuse_dimension(const struct meter *meter, const char *name, struct error *error)
{
    scoped(buffer_done) struct buffer names = {0};
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        buffer_format(&names, "%s%s", i ? ", " : "", meter->dimensions[i].name);
    if (meter->dimensions_count == 0)
        return error_set(
            error, STATUS_INVALID, "meter %s has no dimension %s; it has none", meter->key, name);
    return error_set(
        error,
        STATUS_INVALID,
        "meter %s has no dimension %s; it has %.*s",
        meter->key,
        name,
        (int)names.size,
        (const char *)names.data);
}

static enum status
plan_group_by(const struct usage_query *query, struct usage_plan *plan, struct error *error)
{
    for (uint32_t i = 0; i < query->group_by_count; i++) {
        int index = meter_dimension_index(plan->meter, query->group_by[i]);
        if (index < 0)
            return refuse_dimension(plan->meter, query->group_by[i], error);
        for (uint32_t earlier = 0; earlier < i; earlier++)
            if (plan->group_by[earlier] == (uint32_t)index)
                return error_set(
                    error, STATUS_INVALID, "dimension %s is named twice", query->group_by[i]);
        must(i < METER_DIMENSIONS_MAX);
        plan->group_by[plan->group_by_count++] = (uint32_t)index;
    }
    return STATUS_OK;
}

static enum status
plan_filters(
    const struct usage_query *query,
    struct arena *arena,
    struct usage_plan *plan,
    struct error *error)
{
    uint32_t *dimensions = arena_array(arena, query->filters_count, uint32_t);
    for (uint32_t i = 0; i < query->filters_count; i++) {
        int index = meter_dimension_index(plan->meter, query->filters[i].dimension);
        if (index < 0)
            return refuse_dimension(plan->meter, query->filters[i].dimension, error);
        dimensions[i] = (uint32_t)index;
    }
    plan->filters = query->filters;
    plan->filters_count = query->filters_count;
    plan->filter_dimensions = dimensions;
    return STATUS_OK;
}

// Events are at or after 1970, so that what comes before is the same as the beginning.
static void
plan_range(struct usage_plan *plan)
{
    bool from_is_open = plan->from_ns <= 0;
    bool to_is_open = plan->to_ns == INT64_MAX;
    int64_t to_ns = plan->to_ns > 0 ? plan->to_ns : 0;
    plan->is_aligned = (from_is_open || plan->from_ns % QUARTER_HOUR_NS == 0) &&
                       (to_is_open || to_ns % QUARTER_HOUR_NS == 0);
    plan->from_s = from_is_open ? 0 : plan->from_ns / SECOND_NS;
    plan->to_s = to_is_open ? INT64_MAX / SECOND_NS + 1 : to_ns / SECOND_NS;
}

enum status
usage_plan_make(
    const struct usage_query *query,
    const struct meter *meter,
    struct arena *arena,
    struct usage_plan *out,
    struct error *error)
{
    if (query->from_ns > query->to_ns)
        return error_set(error, STATUS_INVALID, "the range ends before it begins");
    struct usage_plan plan = {
        .meter = meter,
        .set = meter_set_make(meter, 1, arena),
        .subject = query->subject,
        .from_ns = query->from_ns,
        .to_ns = query->to_ns,
        .window = query->window,
    };
    enum status status = plan_group_by(query, &plan, error);
    if (!status)
        status = plan_filters(query, arena, &plan, error);
    if (status)
        return status;
    plan_range(&plan);
    *out = plan;
    return STATUS_OK;
}

// Filters of one dimension are alternatives. The lists are short, so each filter looks for its
// fellows.
bool
usage_plan_accepts(const struct usage_plan *plan, const struct cell_group *group)
{
    for (uint32_t i = 0; i < plan->filters_count; i++) {
        uint32_t dimension = plan->filter_dimensions[i];
        bool is_wanted = false;
        must(dimension < group->count);
        for (uint32_t k = 0; k < plan->filters_count && !is_wanted; k++)
            is_wanted = plan->filter_dimensions[k] == dimension &&
                        bytes_equal(plan->filters[k].value, group->values[dimension]);
        if (!is_wanted)
            return false;
    }
    return true;
}

static int64_t
floor_to(int64_t time_ns, int64_t width_ns)
{
    must(time_ns >= 0);
    return time_ns - time_ns % width_ns;
}

// The last window of the representable range ends at its end.
static int64_t
end_of(int64_t from_ns, int64_t width_ns)
{
    return from_ns > INT64_MAX - width_ns ? INT64_MAX : from_ns + width_ns;
}

static void
window_of_width(int64_t time_ns, int64_t width_ns, int64_t *out_from_ns, int64_t *out_to_ns)
{
    *out_from_ns = floor_to(time_ns, width_ns);
    *out_to_ns = end_of(*out_from_ns, width_ns);
}

static void
window_of_month(int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns)
{
    struct civil date = civil_from_ns(time_ns);
    int64_t days = civil_days_in_month(date.year, date.month);
    date.day = 1;
    *out_from_ns = civil_to_ns(date);
    *out_to_ns = end_of(*out_from_ns, days * DAY_NS);
}

void
usage_plan_window(
    const struct usage_plan *plan, int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns)
{
    switch (plan->window) {
    case USAGE_WINDOW_NONE:
        *out_from_ns = plan->from_ns;
        *out_to_ns = plan->to_ns;
        return;
    case USAGE_WINDOW_QUARTER_HOUR:
        window_of_width(time_ns, QUARTER_HOUR_NS, out_from_ns, out_to_ns);
        return;
    case USAGE_WINDOW_HOUR: window_of_width(time_ns, HOUR_NS, out_from_ns, out_to_ns); return;
    case USAGE_WINDOW_DAY: window_of_width(time_ns, DAY_NS, out_from_ns, out_to_ns); return;
    case USAGE_WINDOW_MONTH: window_of_month(time_ns, out_from_ns, out_to_ns); return;
    }
    must(false && "an unknown window");
}
