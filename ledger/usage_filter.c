#include "ledger/usage_filter.h"

#include "base/assert.h"
#include "base/buffer.h"

#include <stdlib.h>

enum { PLACE_SUBJECT = -1, PLACE_NONE = -2 };

struct usage_bound {
    enum usage_operator kind;
    int32_t place;               // of the dimension, or PLACE_SUBJECT
    const struct bytes *values;  // in order
    uint32_t values_count;
    struct usage_bound *parts;
    uint32_t parts_count;
};

static bool
is_list(enum usage_operator kind)
{
    return kind == USAGE_IN || kind == USAGE_NIN;
}

static bool
is_group(enum usage_operator kind)
{
    return kind == USAGE_AND || kind == USAGE_OR;
}

static bool
is_pattern(enum usage_operator kind)
{
    return kind == USAGE_LIKE || kind == USAGE_NLIKE || kind == USAGE_ILIKE || kind == USAGE_NILIKE;
}

enum status
usage_dimension_find(
    const struct meter *meter, const char *name, uint32_t *out_index, struct error *error)
{
    int index = meter_dimension_index(meter, name);
    if (index >= 0) {
        *out_index = (uint32_t)index;
        return STATUS_OK;
    }
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

const struct usage_filter *
usage_filter_of_pairs(const struct usage_pair *pairs, uint32_t count, struct arena *arena)
{
    struct usage_filter *parts = arena_array(arena, count, struct usage_filter);
    uint32_t parts_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct bytes *values = arena_array(arena, count - i, struct bytes);
        uint32_t values_count = 0;
        bool is_first = true;
        for (uint32_t k = 0; k < i && is_first; k++)
            is_first = strcmp(pairs[k].dimension, pairs[i].dimension) != 0;
        for (uint32_t k = i; k < count && is_first; k++)
            if (strcmp(pairs[k].dimension, pairs[i].dimension) == 0)
                values[values_count++] = pairs[k].value;
        if (is_first)
            parts[parts_count++] = (struct usage_filter){
                .kind = USAGE_IN,
                .dimension = pairs[i].dimension,
                .values = values,
                .values_count = values_count,
            };
    }
    if (count == 0)
        return NULL;
    struct usage_filter *all = arena_new(arena, struct usage_filter);
    *all = (struct usage_filter){.kind = USAGE_AND, .parts = parts, .parts_count = parts_count};
    return all;
}

// --- binding ---

struct binding {
    const struct meter *meter;
    struct arena *arena;
    uint32_t nodes;
    struct error *error;
};

static int
value_order(const void *a, const void *b)
{
    const struct bytes *left = a;
    const struct bytes *right = b;
    return bytes_compare(*left, *right);
}

static bool
ends_in_escape(struct bytes pattern)
{
    size_t backslashes = 0;
    while (backslashes < pattern.size && pattern.data[pattern.size - 1 - backslashes] == '\\')
        backslashes++;
    return backslashes % 2 == 1;
}

static enum status
bind_values(struct binding *binding, const struct usage_filter *filter, struct usage_bound *out)
{
    uint32_t count = filter->values_count;
    if (count > USAGE_FILTER_VALUES_MAX || (!is_list(filter->kind) && count != 1))
        return error_set(
            binding->error,
            STATUS_INVALID,
            "a filter of %s has %u values: lists take up to %d, the other operators one",
            filter->dimension,
            count,
            USAGE_FILTER_VALUES_MAX);
    if (is_pattern(filter->kind) && ends_in_escape(filter->values[0]))
        return error_set(
            binding->error,
            STATUS_INVALID,
            "a pattern of %s ends in a backslash that escapes nothing",
            filter->dimension);
    struct bytes *values = arena_array(binding->arena, count, struct bytes);
    for (uint32_t i = 0; i < count; i++)
        values[i] = filter->values[i];
    if (count > 1)
        qsort(values, count, sizeof *values, value_order);
    out->values = values;
    out->values_count = count;
    return STATUS_OK;
}

static enum status
bind_place(struct binding *binding, const char *name, int32_t *out)
{
    uint32_t index = 0;
    *out = PLACE_SUBJECT;
    if (strcmp(name, USAGE_FILTER_SUBJECT) == 0 && meter_dimension_index(binding->meter, name) < 0)
        return STATUS_OK;
    enum status status = usage_dimension_find(binding->meter, name, &index, binding->error);
    *out = (int32_t)index;
    return status;
}

static enum status
bind_node(
    struct binding *binding,
    const struct usage_filter *filter,
    uint32_t depth,
    struct usage_bound *out)
{
    if (depth > USAGE_FILTER_DEPTH_MAX || ++binding->nodes > USAGE_FILTER_NODES_MAX)
        return error_set(
            binding->error,
            STATUS_INVALID,
            "a filter has at most %d parts, nested at most %d deep",
            USAGE_FILTER_NODES_MAX,
            USAGE_FILTER_DEPTH_MAX);
    *out = (struct usage_bound){.kind = filter->kind, .place = PLACE_NONE};
    if (!is_group(filter->kind)) {
        enum status status = bind_place(binding, filter->dimension, &out->place);
        return status ? status : bind_values(binding, filter, out);
    }
    if (filter->parts_count == 0 || filter->parts_count > USAGE_FILTER_NODES_MAX)
        return error_set(
            binding->error,
            STATUS_INVALID,
            "$and and $or take 1 to %d filters, not %u",
            USAGE_FILTER_NODES_MAX,
            filter->parts_count);
    out->parts = arena_array(binding->arena, filter->parts_count, struct usage_bound);
    out->parts_count = filter->parts_count;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < filter->parts_count && !status; i++)
        status = bind_node(binding, &filter->parts[i], depth + 1, &out->parts[i]);
    return status;
}

enum status
usage_filter_bind(
    const struct usage_filter *filter,
    const struct meter *meter,
    struct arena *arena,
    const struct usage_bound **out,
    struct error *error)
{
    struct binding binding = {.meter = meter, .arena = arena, .error = error};
    if (filter == NULL) {
        *out = NULL;
        return STATUS_OK;
    }
    struct usage_bound *bound = arena_new(arena, struct usage_bound);
    enum status status = bind_node(&binding, filter, 0, bound);
    if (!status)
        *out = bound;
    return status;
}

// --- asking ---

static bool
has_value(const struct usage_bound *bound, struct bytes value)
{
    return bound->values_count > 0 &&
           bsearch(&value, bound->values, bound->values_count, sizeof value, value_order) != NULL;
}

static bool
leaf_accepts(const struct usage_bound *bound, struct bytes value)
{
    struct bytes wanted = bound->values_count > 0 ? bound->values[0] : bytes_of(NULL, 0);
    switch (bound->kind) {
    case USAGE_EQ: return bytes_equal(value, wanted);
    case USAGE_NE: return !bytes_equal(value, wanted);
    case USAGE_IN: return has_value(bound, value);
    case USAGE_NIN: return !has_value(bound, value);
    case USAGE_LIKE: return usage_like(wanted, value, false);
    case USAGE_NLIKE: return !usage_like(wanted, value, false);
    case USAGE_ILIKE: return usage_like(wanted, value, true);
    case USAGE_NILIKE: return !usage_like(wanted, value, true);
    case USAGE_GT: return bytes_compare(value, wanted) > 0;
    case USAGE_GTE: return bytes_compare(value, wanted) >= 0;
    case USAGE_LT: return bytes_compare(value, wanted) < 0;
    case USAGE_LTE: return bytes_compare(value, wanted) <= 0;
    case USAGE_AND:
    case USAGE_OR: break;
    }
    must(false && "an unknown operator");
    return false;
}

bool
usage_filter_accepts(
    const struct usage_bound *bound, struct bytes subject, const struct cell_group *group)
{
    if (bound == NULL)
        return true;
    if (!is_group(bound->kind)) {
        if (bound->place == PLACE_SUBJECT)
            return leaf_accepts(bound, subject);
        must(bound->place >= 0 && (uint32_t)bound->place < group->count);
        return leaf_accepts(bound, group->values[bound->place]);
    }
    // The first part that decides ends it.
    bool decides = bound->kind == USAGE_OR;
    for (uint32_t i = 0; i < bound->parts_count; i++)
        if (usage_filter_accepts(&bound->parts[i], subject, group) == decides)
            return decides;
    return !decides;
}

bool
usage_filter_needs_group(const struct usage_bound *bound)
{
    if (bound == NULL)
        return false;
    bool needs_group = bound->place >= 0;
    for (uint32_t i = 0; i < bound->parts_count && !needs_group; i++)
        needs_group = usage_filter_needs_group(&bound->parts[i]);
    return needs_group;
}
