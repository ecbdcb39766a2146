#include "ledger/meter.h"

#include "base/assert.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    METER_NAME_MAX = 64,
    METER_TYPE_MAX = 100,
    METER_UNIT_MAX = 64,
    METER_DESCRIPTION_MAX = 1000,
    METER_TITLE_MAX = 1024,
    METER_METADATA_MAX = 4096,
    METER_PATH_MAX = 255,
    METER_FILTER_VALUE_MAX = 255,
};

static const char *const aggregation_names[AGGREGATION_KINDS] = {
    [AGGREGATION_COUNT] = "count",
    [AGGREGATION_SUM] = "sum",
    [AGGREGATION_MIN] = "min",
    [AGGREGATION_MAX] = "max",
    [AGGREGATION_AVG] = "avg",
    [AGGREGATION_UNIQUE_COUNT] = "unique_count",
    [AGGREGATION_LATEST] = "latest",
    [AGGREGATION_WEIGHTED_SUM] = "weighted_sum",
};

const char *
aggregation_name(enum aggregation aggregation)
{
    must((unsigned)aggregation < AGGREGATION_KINDS);
    return aggregation_names[aggregation];
}

bool
aggregation_parse(struct bytes text, enum aggregation *out)
{
    for (unsigned i = 0; i < AGGREGATION_KINDS; i++) {
        const char *name = aggregation_names[i];
        if (text.size == strlen(name) &&
            strncasecmp((const char *)text.data, name, text.size) == 0) {
            *out = (enum aggregation)i;
            return true;
        }
    }
    return false;
}

// ^[a-z0-9]+(_[a-z0-9]+)*$
static bool
key_is_valid(const char *key)
{
    size_t size = strlen(key);
    if (size == 0 || size > METER_KEY_MAX)
        return false;
    for (size_t i = 0; i < size; i++) {
        bool is_plain = (key[i] >= 'a' && key[i] <= 'z') || (key[i] >= '0' && key[i] <= '9');
        bool is_joint = key[i] == '_' && i > 0 && i + 1 < size && key[i - 1] != '_';
        if (!is_plain && !is_joint)
            return false;
    }
    return true;
}

// ^[a-zA-Z_][0-9a-zA-Z_]*$
static bool
dimension_name_is_valid(const char *name)
{
    size_t size = strlen(name);
    if (size == 0 || size > METER_NAME_MAX || (name[0] >= '0' && name[0] <= '9'))
        return false;
    for (size_t i = 0; i < size; i++) {
        bool is_letter = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z');
        if (!is_letter && !(name[i] >= '0' && name[i] <= '9') && name[i] != '_')
            return false;
    }
    return true;
}

static const char *
path_steps(const char *path)
{
    return strncmp(path, "$.", 2) == 0 ? path + 2 : path;
}

// What is wrong with the path, or NULL.
static const char *
path_fault(const char *path)
{
    const char *steps = path_steps(path);
    size_t size = strlen(steps);
    uint32_t depth = 1;
    if (size == 0 || size > METER_PATH_MAX || !bytes_is_utf8(bytes_text(steps)))
        return "it must be 1 to 255 bytes of UTF-8 after \"$.\"";
    if (strpbrk(steps, "[]*?$\"'") != NULL)
        return "only names between dots are understood, no [ ] * ? $ or quotes";
    for (size_t i = 0; i < size; i++) {
        if (iscntrl((unsigned char)steps[i]))
            return "it holds a control character";
        if (steps[i] != '.')
            continue;
        depth++;
        if (i == 0 || i + 1 == size || steps[i + 1] == '.')
            return "a name between dots is empty";
    }
    return depth > METER_PATH_DEPTH_MAX ? "it is deeper than 8 names" : NULL;
}

enum status
meter_path_canonical(const char *path, struct arena *arena, const char **out, struct error *error)
{
    const char *fault = path_fault(path);
    if (fault != NULL)
        return error_set(error, STATUS_INVALID, "path \"%s\": %s", path, fault);
    *out = arena_format(arena, "$.%s", path_steps(path));
    return STATUS_OK;
}

static enum status
check_text(const char *field, const char *text, size_t size_max, struct error *error)
{
    if (text == NULL)
        return STATUS_OK;
    if (strlen(text) > size_max || !bytes_is_utf8(bytes_text(text))) {
        return error_set(
            error, STATUS_INVALID, "%s must be at most %zu bytes of UTF-8", field, size_max);
    }
    return STATUS_OK;
}

static enum status
check_value(const struct meter *meter, struct error *error)
{
    if ((unsigned)meter->aggregation >= AGGREGATION_KINDS)
        return error_set(error, STATUS_INVALID, "aggregation must be " AGGREGATION_NAMES);
    if (meter->value_property == NULL)
        return STATUS_OK;
    if (meter->aggregation == AGGREGATION_COUNT) {
        return error_set(
            error, STATUS_INVALID, "value_property is not allowed with aggregation count");
    }
    const char *fault = path_fault(meter->value_property);
    if (fault != NULL) {
        return error_set(
            error, STATUS_INVALID, "value_property \"%s\": %s", meter->value_property, fault);
    }
    return STATUS_OK;
}

static enum status
check_dimension(const struct meter *meter, uint32_t index, struct error *error)
{
    const struct meter_dimension *dimension = &meter->dimensions[index];
    if (dimension->name == NULL || !dimension_name_is_valid(dimension->name)) {
        return error_set(
            error,
            STATUS_INVALID,
            "dimensions: the name \"%s\" must be 1 to 64 letters, digits or _, no digit first",
            dimension->name != NULL ? dimension->name : "");
    }
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(meter->dimensions[i].name, dimension->name) == 0) {
            return error_set(
                error, STATUS_INVALID, "dimensions: %s is named twice", dimension->name);
        }
    }
    const char *fault =
        dimension->path != NULL ? path_fault(dimension->path) : "a path is required";
    if (fault != NULL)
        return error_set(error, STATUS_INVALID, "dimensions: %s: %s", dimension->name, fault);
    return STATUS_OK;
}

static bool
path_is_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(path_steps(a), path_steps(b)) == 0;
}

static const char *
filter_value_fault(const struct meter_filter *filter, uint32_t index)
{
    const char *value = filter->values[index];
    size_t size = strlen(value);
    if (size == 0 || size > METER_FILTER_VALUE_MAX || !bytes_is_utf8(bytes_text(value)))
        return "must be 1 to 255 bytes of UTF-8";
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(filter->values[i], value) == 0)
            return "is there twice";
    }
    return NULL;
}

static enum status
check_filter(const struct meter *meter, uint32_t index, struct error *error)
{
    const struct meter_filter *filter = &meter->filters[index];
    const char *fault = filter->path != NULL ? path_fault(filter->path) : "a path is required";
    for (uint32_t i = 0; i < index && fault == NULL; i++) {
        if (path_is_same(meter->filters[i].path, filter->path))
            fault = "it has a filter already";
    }
    if (fault != NULL) {
        const char *path = filter->path != NULL ? filter->path : "";
        return error_set(error, STATUS_INVALID, "filters: path \"%s\": %s", path, fault);
    }
    if (filter->values_count == 0 || filter->values_count > METER_FILTER_VALUES_MAX) {
        return error_set(
            error,
            STATUS_INVALID,
            "filters: %s: 1 to %d values are allowed",
            filter->path,
            METER_FILTER_VALUES_MAX);
    }
    for (uint32_t i = 0; i < filter->values_count; i++) {
        fault = filter_value_fault(filter, i);
        if (fault != NULL) {
            const char *value = filter->values[i];
            return error_set(
                error, STATUS_INVALID, "filters: %s: \"%s\" %s", filter->path, value, fault);
        }
    }
    return STATUS_OK;
}

static enum status
check_filters(const struct meter *meter, struct error *error)
{
    if (meter->filters_count > METER_FILTERS_MAX) {
        return error_set(
            error, STATUS_INVALID, "filters: at most %d are allowed", METER_FILTERS_MAX);
    }
    enum status status = STATUS_OK;
    for (uint32_t i = 0; !status && i < meter->filters_count; i++)
        status = check_filter(meter, i, error);
    return status;
}

enum status
meter_filter_add(
    struct meter *meter,
    const char *path,
    const char *value,
    struct arena *arena,
    struct error *error)
{
    uint32_t at = 0;
    while (at < meter->filters_count && !path_is_same(meter->filters[at].path, path))
        at++;
    if (at == METER_FILTERS_MAX) {
        return error_set(
            error, STATUS_INVALID, "filters: at most %d are allowed", METER_FILTERS_MAX);
    }
    struct meter_filter *filter = &meter->filters[at];
    if (at == meter->filters_count) {
        *filter = (struct meter_filter){.path = path};
        meter->filters_count++;
    }
    const char **values = arena_array(arena, filter->values_count + 1, const char *);
    for (uint32_t i = 0; i < filter->values_count; i++)
        values[i] = filter->values[i];
    values[filter->values_count++] = value;
    filter->values = values;
    return STATUS_OK;
}

static int
value_compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int
filter_compare(const void *a, const void *b)
{
    return strcmp(((const struct meter_filter *)a)->path, ((const struct meter_filter *)b)->path);
}

void
meter_filters_sort(struct meter *meter, struct arena *arena)
{
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        struct meter_filter *filter = &meter->filters[i];
        const char **values = arena_array(arena, filter->values_count, const char *);
        for (uint32_t k = 0; k < filter->values_count; k++)
            values[k] = filter->values[k];
        qsort(values, filter->values_count, sizeof values[0], value_compare);
        filter->values = values;
    }
    qsort(meter->filters, meter->filters_count, sizeof meter->filters[0], filter_compare);
}

enum status
meter_check(const struct meter *meter, struct error *error)
{
    if (meter->key == NULL || !key_is_valid(meter->key)) {
        return error_set(
            error,
            STATUS_INVALID,
            "key \"%s\" must be 1 to 64 of a-z and 0-9, with single _ between",
            meter->key != NULL ? meter->key : "");
    }
    if (meter->event_type == NULL || meter->event_type[0] == '\0')
        return error_set(error, STATUS_INVALID, "event_type is required");
    if (meter->events_from_ns < 0)
        return error_set(error, STATUS_INVALID, "events_from must not be before 1970");
    enum status status = check_text("event_type", meter->event_type, METER_TYPE_MAX, error);
    if (status == STATUS_OK)
        status = check_value(meter, error);
    if (status == STATUS_OK)
        status = check_text("unit", meter->unit, METER_UNIT_MAX, error);
    if (status == STATUS_OK)
        status = check_text("description", meter->description, METER_DESCRIPTION_MAX, error);
    if (status == STATUS_OK)
        status = check_text("name", meter->name, METER_TITLE_MAX, error);
    if (status == STATUS_OK)
        status = check_text("metadata", meter->metadata, METER_METADATA_MAX, error);
    if (status == STATUS_OK && meter->dimensions_count > METER_DIMENSIONS_MAX) {
        return error_set(
            error, STATUS_INVALID, "dimensions: at most %d are allowed", METER_DIMENSIONS_MAX);
    }
    for (uint32_t i = 0; status == STATUS_OK && i < meter->dimensions_count; i++)
        status = check_dimension(meter, i, error);
    return status ? status : check_filters(meter, error);
}

static bool
filter_has(const struct meter_filter *filter, const char *value)
{
    for (uint32_t i = 0; i < filter->values_count; i++) {
        if (strcmp(filter->values[i], value) == 0)
            return true;
    }
    return false;
}

static bool
filter_is_same(const struct meter_filter *a, const struct meter_filter *b)
{
    if (!path_is_same(a->path, b->path) || a->values_count != b->values_count)
        return false;
    for (uint32_t i = 0; i < a->values_count; i++) {
        if (!filter_has(b, a->values[i]))
            return false;
    }
    return true;
}

// In any order.
static bool
filters_are_same(const struct meter *a, const struct meter *b)
{
    if (a->filters_count != b->filters_count)
        return false;
    for (uint32_t i = 0; i < a->filters_count; i++) {
        bool is_there = false;
        for (uint32_t k = 0; k < b->filters_count && !is_there; k++)
            is_there = filter_is_same(&a->filters[i], &b->filters[k]);
        if (!is_there)
            return false;
    }
    return true;
}

static const char *
text_copy(const char *text, struct arena *arena)
{
    return text != NULL ? arena_text(arena, text) : NULL;
}

struct meter
meter_copy(const struct meter *meter, struct arena *arena)
{
    struct meter copy = *meter;
    copy.key = text_copy(meter->key, arena);
    copy.event_type = text_copy(meter->event_type, arena);
    copy.value_property = text_copy(meter->value_property, arena);
    copy.unit = text_copy(meter->unit, arena);
    copy.description = text_copy(meter->description, arena);
    copy.name = text_copy(meter->name, arena);
    copy.metadata = text_copy(meter->metadata, arena);
    for (uint32_t i = 0; i < meter->dimensions_count; i++) {
        copy.dimensions[i].name = text_copy(meter->dimensions[i].name, arena);
        copy.dimensions[i].path = text_copy(meter->dimensions[i].path, arena);
    }
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        const struct meter_filter *filter = &meter->filters[i];
        const char **values = arena_array(arena, filter->values_count, const char *);
        for (uint32_t k = 0; k < filter->values_count; k++)
            values[k] = text_copy(filter->values[k], arena);
        copy.filters[i].path = text_copy(filter->path, arena);
        copy.filters[i].values = values;
    }
    return copy;
}

bool
meter_counts_same(const struct meter *a, const struct meter *b)
{
    if (strcmp(a->event_type, b->event_type) != 0 || a->aggregation != b->aggregation)
        return false;
    if (!path_is_same(a->value_property, b->value_property))
        return false;
    if (a->events_from_ns != b->events_from_ns)
        return false;
    if (a->dimensions_count != b->dimensions_count)
        return false;
    for (uint32_t i = 0; i < a->dimensions_count; i++) {
        int other = meter_dimension_index(b, a->dimensions[i].name);
        if (other < 0 || !path_is_same(a->dimensions[i].path, b->dimensions[other].path))
            return false;
    }
    return filters_are_same(a, b);
}

int
meter_dimension_index(const struct meter *meter, const char *name)
{
    for (uint32_t i = 0; i < meter->dimensions_count; i++) {
        if (strcmp(meter->dimensions[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}
