#pragma once
// Whether two readings of the same bytes came to the same event: the views are the same views.

#include "ledger/event.h"

static inline bool
view_is_same(struct bytes a, struct bytes b)
{
    return a.data == b.data && a.size == b.size;
}

static inline bool
event_is_same(const struct event *a, const struct event *b)
{
    bool is_same = view_is_same(a->subject, b->subject) && view_is_same(a->type, b->type) &&
                   view_is_same(a->id, b->id) && view_is_same(a->source, b->source) &&
                   view_is_same(a->chunk, b->chunk) && a->chunk_position == b->chunk_position &&
                   a->time_ns == b->time_ns && a->value.units == b->value.units &&
                   a->properties_count == b->properties_count &&
                   a->properties_runs == b->properties_runs && view_is_same(a->batch, b->batch);
    for (uint32_t i = 0; is_same && i < a->properties_runs; i++)
        is_same = view_is_same(a->properties[i], b->properties[i]);
    return is_same;
}
