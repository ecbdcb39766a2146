#include "ledger/usage_plan.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "ledger/window.h"

#include <stdlib.h>

static enum status
plan_group_by(const struct usage_query *query, struct usage_plan *plan, struct error *error)
{
    for (uint32_t i = 0; i < query->group_by_count; i++) {
        uint32_t index;
        enum status status = usage_dimension_find(plan->meter, query->group_by[i], &index, error);
        if (status)
            return status;
        for (uint32_t earlier = 0; earlier < i; earlier++)
            if (plan->group_by[earlier] == index)
                return error_set(
                    error, STATUS_INVALID, "dimension %s is named twice", query->group_by[i]);
        must(i < METER_DIMENSIONS_MAX);
        plan->group_by[plan->group_by_count++] = index;
    }
    return STATUS_OK;
}

int
usage_subject_order(struct bytes a, struct bytes b)
{
    if (a.size != b.size)
        return a.size < b.size ? -1 : 1;
    return a.size > 0 ? memcmp(a.data, b.data, a.size) : 0;
}

static int
subject_order(const void *a, const void *b)
{
    const struct bytes *left = a;
    const struct bytes *right = b;
    return usage_subject_order(*left, *right);
}

static enum status
plan_subjects(
    const struct usage_query *query,
    struct arena *arena,
    struct usage_plan *plan,
    struct error *error)
{
    const struct bytes *wanted = query->subject.size > 0 ? &query->subject : query->subjects;
    uint32_t count = query->subject.size > 0 ? 1 : query->subjects_count;
    if (query->subject.size > 0 && query->subjects_count > 0)
        return error_set(error, STATUS_INVALID, "one subject or a list of them: not both");
    struct bytes *subjects = arena_array(arena, count, struct bytes);
    for (uint32_t i = 0; i < count; i++) {
        if (wanted[i].size == 0 || wanted[i].size > UINT8_MAX)
            return error_set(error, STATUS_INVALID, "a subject has 1 to 255 bytes");
        subjects[i] = wanted[i];
    }
    if (count > 1)
        qsort(subjects, count, sizeof *subjects, subject_order);
    for (uint32_t i = 0; i < count; i++)
        if (i == 0 || !bytes_equal(subjects[i], subjects[i - 1]))
            subjects[plan->subjects_count++] = subjects[i];
    plan->subjects = subjects;
    return STATUS_OK;
}

// Events are at or after 1970, so that what comes before is the same as the beginning.
static void
plan_range(struct usage_plan *plan)
{
    bool from_is_open = plan->from_ns <= 0;
    bool to_is_open = plan->to_ns == INT64_MAX;
    int64_t to_ns = plan->to_ns > 0 ? plan->to_ns : 0;
    plan->is_aligned = plan->window != USAGE_WINDOW_MINUTE &&
                       (from_is_open || plan->from_ns % QUARTER_HOUR_NS == 0) &&
                       (to_is_open || to_ns % QUARTER_HOUR_NS == 0);
    plan->from_s = from_is_open ? 0 : plan->from_ns / SECOND_NS;
    plan->to_s = to_is_open ? INT64_MAX / SECOND_NS + 1 : to_ns / SECOND_NS;
}

enum status
usage_plan_make(
    const struct usage_query *query,
    const struct meter *meter,
    const struct zone *zone,
    struct arena *arena,
    struct usage_plan *out,
    struct error *error)
{
    if (query->from_ns > query->to_ns)
        return error_set(error, STATUS_INVALID, "the range ends before it begins");
    struct usage_plan plan = {
        .meter = meter,
        .set = meter_set_make(meter, 1, arena),
        .is_merged = query->is_merged,
        .at_cut = query->at_cut,
        .zone = zone,
        .from_ns = query->from_ns,
        .to_ns = query->to_ns,
        .window = query->window,
    };
    enum status status = plan_group_by(query, &plan, error);
    if (!status)
        status = plan_subjects(query, arena, &plan, error);
    if (!status)
        status = usage_filter_bind(query->filter, meter, arena, &plan.filter, error);
    if (status)
        return status;
    plan.needs_groups = plan.group_by_count > 0 || usage_filter_needs_group(plan.filter);
    plan_range(&plan);
    *out = plan;
    return STATUS_OK;
}

bool
usage_plan_of_shard(
    const struct usage_plan *plan,
    uint32_t shard,
    uint32_t shards,
    struct arena *arena,
    struct usage_plan *out)
{
    *out = *plan;
    if (plan->subjects_count == 0)
        return true;
    struct bytes *subjects = arena_array(arena, plan->subjects_count, struct bytes);
    out->subjects_count = 0;
    for (uint32_t i = 0; i < plan->subjects_count; i++)
        if (hash64(plan->subjects[i], 0) % shards == shard)
            subjects[out->subjects_count++] = plan->subjects[i];
    out->subjects = subjects;
    return out->subjects_count > 0;
}

bool
usage_plan_subject_from(const struct usage_plan *plan, struct bytes subject, struct bytes *out)
{
    uint32_t low = 0;
    uint32_t high = plan->subjects_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (usage_subject_order(plan->subjects[middle], subject) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == plan->subjects_count)
        return false;
    *out = plan->subjects[low];
    return true;
}

bool
usage_plan_wants(const struct usage_plan *plan, struct bytes subject)
{
    struct bytes next;
    return plan->subjects_count == 0 ||
           (usage_plan_subject_from(plan, subject, &next) && bytes_equal(next, subject));
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

static void
window_of_zone(
    const struct usage_plan *plan, int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns)
{
    int64_t time_s = floor_to(time_ns, SECOND_NS) / SECOND_NS;
    int64_t from_s;
    int64_t to_s;
    if (plan->window == USAGE_WINDOW_MONTH) {
        from_s = zone_month_start(plan->zone, time_s);
        to_s = zone_month_next(plan->zone, time_s);
    } else if (plan->window == USAGE_WINDOW_DAY) {
        from_s = zone_day_start(plan->zone, time_s);
        to_s = zone_day_next(plan->zone, time_s);
    } else {
        must(plan->window == USAGE_WINDOW_HOUR);
        from_s = zone_hour_start(plan->zone, time_s);
        to_s = zone_hour_next(plan->zone, time_s);
    }
    *out_from_ns = window_ns(from_s);
    *out_to_ns = window_ns(to_s);
}

uint32_t
usage_plan_below(const struct usage_plan *plan)
{
    return plan->at_cut == 0 ? UINT32_MAX : plan->at_cut;
}

bool
usage_plan_sees(const struct usage_plan *plan, uint32_t epoch)
{
    return epoch < usage_plan_below(plan);
}

void
usage_plan_window(
    const struct usage_plan *plan, int64_t time_ns, int64_t *out_from_ns, int64_t *out_to_ns)
{
    bool has_zones = plan->window == USAGE_WINDOW_HOUR || plan->window == USAGE_WINDOW_DAY ||
                     plan->window == USAGE_WINDOW_MONTH;
    if (plan->zone != NULL && has_zones) {
        window_of_zone(plan, time_ns, out_from_ns, out_to_ns);
        return;
    }
    switch (plan->window) {
    case USAGE_WINDOW_NONE:
        *out_from_ns = plan->from_ns;
        *out_to_ns = plan->to_ns;
        return;
    case USAGE_WINDOW_MINUTE: window_of_width(time_ns, MINUTE_NS, out_from_ns, out_to_ns); return;
    case USAGE_WINDOW_QUARTER_HOUR:
        window_of_width(time_ns, QUARTER_HOUR_NS, out_from_ns, out_to_ns);
        return;
    case USAGE_WINDOW_HOUR: window_of_width(time_ns, HOUR_NS, out_from_ns, out_to_ns); return;
    case USAGE_WINDOW_DAY: window_of_width(time_ns, DAY_NS, out_from_ns, out_to_ns); return;
    case USAGE_WINDOW_MONTH: window_of_month(time_ns, out_from_ns, out_to_ns); return;
    }
    must(false && "an unknown window");
}
