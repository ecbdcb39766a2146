#include "ledger/usage_touched.h"

#include "base/assert.h"
#include "base/clock.h"

// The first stretch that does not end before the moment, in the order of subjects and times.
static uint32_t
stretch_from(const struct usage_touched *touched, struct bytes subject, int64_t from_s)
{
    uint32_t low = 0;
    uint32_t high = touched->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct touched_stretch *one = &touched->list[middle];
        int order = bytes_compare(one->subject, subject);
        if (order < 0 || (order == 0 && one->to_s <= from_s))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
overlaps(
    const struct usage_touched *touched,
    uint32_t at,
    struct bytes subject,
    int64_t from_s,
    int64_t to_s)
{
    if (at >= touched->count)
        return false;
    const struct touched_stretch *one = &touched->list[at];
    return bytes_equal(one->subject, subject) && one->from_s < to_s && one->to_s > from_s;
}

bool
usage_is_touched(
    const struct usage_touched *touched, struct bytes subject, int64_t from_s, int64_t to_s)
{
    return touched->count > 0 &&
           overlaps(touched, stretch_from(touched, subject, from_s), subject, from_s, to_s);
}

void
usage_touch(struct usage_touched *touched, struct bytes subject, int64_t from_s, int64_t to_s)
{
    from_s = touched->is_by_subject ? 0 : from_s;
    to_s = touched->is_by_subject ? INT64_MAX : to_s;
    uint32_t at = stretch_from(touched, subject, from_s);
    uint32_t end = at;
    struct touched_stretch whole = {.from_s = from_s, .to_s = to_s};
    must(from_s < to_s);
    for (; overlaps(touched, end, subject, from_s, to_s); end++) {
        const struct touched_stretch *one = &touched->list[end];
        if (one->from_s <= from_s && one->to_s >= to_s)
            return;
        whole.from_s = one->from_s < whole.from_s ? one->from_s : whole.from_s;
        whole.to_s = one->to_s > whole.to_s ? one->to_s : whole.to_s;
    }
    touched->has_grown = true;
    if (touched->count == USAGE_TOUCHED_MAX) {
        touched->is_full = true;
        return;
    }
    if (touched->list == NULL)
        touched->list = arena_array(&touched->arena, USAGE_TOUCHED_MAX, struct touched_stretch);
    whole.subject = end > at ? touched->list[at].subject : arena_bytes(&touched->arena, subject);
    struct touched_stretch *list = touched->list;
    memmove(list + at + 1, list + end, (touched->count - end) * sizeof *list);
    list[at] = whole;
    touched->count = touched->count + 1 - (end - at);
}

bool
usage_touches(const struct usage_touched *touched, int64_t min_ns, int64_t max_ns)
{
    for (uint32_t i = 0; i < touched->count; i++) {
        const struct touched_stretch *one = &touched->list[i];
        if (max_ns / SECOND_NS >= one->from_s && min_ns / SECOND_NS < one->to_s)
            return true;
    }
    return false;
}

int64_t
usage_touched_from(const struct usage_touched *touched)
{
    int64_t from_s = INT64_MAX / SECOND_NS;
    for (uint32_t i = 0; i < touched->count; i++)
        from_s = touched->list[i].from_s < from_s ? touched->list[i].from_s : from_s;
    return from_s;
}

void
usage_touched_done(struct usage_touched *touched)
{
    arena_done(&touched->arena);
    *touched = (struct usage_touched){0};
}
