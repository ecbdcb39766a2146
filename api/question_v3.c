#include "api/question_v3.h"

#include "api/form.h"
#include "api/param.h"
#include "base/zone.h"

#include <string.h>

enum { GROUP_BY_MAX = 100, FILTERS_MAX = 10, FILTER_DEPTH_MAX = 2, VALUES_MAX = 1000 };

#define GROUP_BY "group_by_dimensions"
static const char SUBJECT[] = "subject";
static const char CUSTOMER[] = "customer_id";

struct reading {
    const struct meter *meter;
    struct arena *arena;
    struct question *out;
    struct question_fault *fault;
    struct error *error;
};

static enum status
refuse(const struct reading *reading, const char *code, const char *field, const char *text)
{
    *reading->fault =
        (struct question_fault){.code = code, .field = arena_format(reading->arena, "$.%s", field)};
    return error_set(reading->error, STATUS_INVALID, "%s %s", field, text);
}

// --- windows ---

static enum status
granularity_take(const struct reading *reading, const struct json *granularity)
{
    static const struct {
        const char *text, *name;
        enum usage_window window;
    } windows[] = {
        {"PT1M", "MINUTE", USAGE_WINDOW_MINUTE},
        {"PT1H", "HOUR",   USAGE_WINDOW_HOUR  },
        {"P1D",  "DAY",    USAGE_WINDOW_DAY   },
        {"P1M",  "MONTH",  USAGE_WINDOW_MONTH },
    };
    if (granularity == NULL)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        if (json_is_text(granularity, windows[i].text)) {
            reading->out->window = windows[i].window;
            reading->out->window_text = windows[i].name;
            return STATUS_OK;
        }
    }
    return refuse(reading, "invalid_window_size", "granularity", "must be PT1M, PT1H, P1D or P1M");
}

static enum status
zone_take(const struct reading *reading)
{
    scoped(zone_close) struct zone *zone = NULL;
    struct question *out = reading->out;
    struct error ignored;
    if (out->zone == NULL)
        return STATUS_OK;
    return zone_open(bytes_text(out->zone), &zone, &ignored) == STATUS_OK
               ? STATUS_OK
               : refuse(
                     reading,
                     "invalid_time_zone",
                     "time_zone",
                     "must be a name of the tz database: Europe/Berlin");
}

// --- groups ---

// A text that does not end early.
static bool
is_plain(struct bytes text)
{
    return text.size == 0 || memchr(text.data, '\0', text.size) == NULL;
}

static bool
is_reserved(const char *name)
{
    return strcmp(name, SUBJECT) == 0 || strcmp(name, CUSTOMER) == 0;
}

static enum status
group_by_take(const struct reading *reading, const struct json *list)
{
    if (list == NULL)
        return STATUS_OK;
    if (list->type != JSON_ARRAY || list->count > GROUP_BY_MAX)
        return refuse(
            reading, "invalid_group_by", GROUP_BY, "must be a list of at most 100 strings");
    enum status status = STATUS_OK;
    for (const struct json *item = list->first; status == STATUS_OK && item != NULL;
         item = item->next) {
        bool is_text = item->type == JSON_STRING && is_plain(item->text);
        const char *name = is_text ? arena_text_of(reading->arena, item->text) : "";
        if (!is_reserved(name) && meter_dimension_index(reading->meter, name) < 0)
            return refuse(
                reading, "invalid_group_by", GROUP_BY, "holds what is no dimension of the meter");
        status = question_group_by_add(name, reading->out, reading->error);
    }
    return status;
}

// --- filters ---

static const char *
filter_field(const struct reading *reading, const char *name)
{
    return arena_format(reading->arena, "filters.dimensions.%s", name);
}

static enum status
filter_invalid(const struct reading *reading, const char *name, const char *text)
{
    return refuse(reading, "invalid_dimension_filter", filter_field(reading, name), text);
}

static bool
texts_take(
    const struct reading *reading,
    const struct json *value,
    struct bytes **out,
    uint32_t *out_count)
{
    bool is_list = value->type == JSON_ARRAY;
    uint32_t count = is_list ? value->count : 1;
    if (count > VALUES_MAX)
        return false;
    struct bytes *texts = arena_array(reading->arena, (size_t)count + 1, struct bytes);
    const struct json *item = is_list ? value->first : value;
    for (uint32_t i = 0; i < count; i++, item = item->next) {
        if (item->type != JSON_STRING || !is_plain(item->text))
            return false;
        texts[i] = item->text;
    }
    *out = texts;
    *out_count = count;
    return true;
}

// Only eq and in, only one of them: what a list of subjects or customers can say.
static enum status
reserved_take(const struct reading *reading, const char *name, const struct json *filter)
{
    const char *field = filter_field(reading, name);
    const struct json *wanted = filter->first;
    struct bytes *texts = NULL;
    uint32_t count = 0;
    if (wanted == NULL)
        return STATUS_OK;
    bool is_eq = bytes_equal(wanted->key, bytes_text("eq"));
    bool is_in = bytes_equal(wanted->key, bytes_text("in"));
    if (filter->count > 1 || (!is_eq && !is_in))
        return refuse(reading, "unsupported_filter_operator", field, "takes only eq or in");
    bool is_shape = is_eq == (wanted->type == JSON_STRING);
    if (!is_shape || !texts_take(reading, wanted, &texts, &count))
        return filter_invalid(reading, name, "must be a string, or a list of them");
    bool is_subject = strcmp(name, SUBJECT) == 0;
    struct question_list *list = is_subject ? &reading->out->subjects : &reading->out->customers;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; status == STATUS_OK && i < count; i++)
        status = question_list_add(
            field,
            arena_text_of(reading->arena, texts[i]),
            is_subject ? QUESTION_LIST_MAX : QUESTION_CUSTOMERS_MAX,
            list,
            reading->error);
    if (status)
        *reading->fault = (struct question_fault){
            "invalid_dimension_filter", arena_format(reading->arena, "$.%s", field)};
    return status;
}

static enum status node_take(
    const struct reading *reading,
    const char *name,
    const struct json *filter,
    uint32_t depth,
    struct usage_filter *out);

static enum status
parts_take(
    const struct reading *reading,
    const char *name,
    const struct json *list,
    uint32_t depth,
    struct usage_filter *out)
{
    if (list->type != JSON_ARRAY || list->count == 0 || list->count > VALUES_MAX)
        return filter_invalid(reading, name, "takes lists of filters with and and or");
    if (depth >= FILTER_DEPTH_MAX)
        return filter_invalid(reading, name, "is nested too deep");
    struct usage_filter *parts = arena_array(reading->arena, list->count, struct usage_filter);
    enum status status = STATUS_OK;
    for (const struct json *item = list->first; status == STATUS_OK && item != NULL;
         item = item->next)
        status = node_take(reading, name, item, depth + 1, &parts[item->index]);
    out->parts = parts;
    out->parts_count = list->count;
    out->dimension = NULL;
    return status;
}

// The text anywhere: a pattern in which only the % around it are special.
static struct bytes
contains_pattern(const struct reading *reading, struct bytes text)
{
    scoped(buffer_done) struct buffer pattern = {0};
    buffer_u8(&pattern, '%');
    for (size_t i = 0; i < text.size; i++) {
        if (strchr("%_\\", text.data[i]) != NULL && text.data[i] != '\0')
            buffer_u8(&pattern, '\\');
        buffer_u8(&pattern, text.data[i]);
    }
    buffer_u8(&pattern, '%');
    return arena_bytes(reading->arena, buffer_view(&pattern));
}

struct operator_row {
    const char *name;
    enum usage_operator kind;
    enum json_type type;  // of its value
    bool is_pattern;
};

static const struct operator_row *
operator_find(struct bytes name)
{
    static const struct operator_row rows[] = {
        {"eq",        USAGE_EQ,    JSON_STRING, false},
        {"neq",       USAGE_NE,    JSON_STRING, false},
        {"in",        USAGE_IN,    JSON_ARRAY,  false},
        {"nin",       USAGE_NIN,   JSON_ARRAY,  false},
        {"contains",  USAGE_LIKE,  JSON_STRING, true },
        {"ncontains", USAGE_NLIKE, JSON_STRING, true },
        {"exists",    USAGE_NE,    JSON_BOOL,   false},
        {"and",       USAGE_AND,   JSON_ARRAY,  false},
        {"or",        USAGE_OR,    JSON_ARRAY,  false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (bytes_equal(name, bytes_text(rows[i].name)))
            return &rows[i];
    return NULL;
}

// What an event lacks is the empty text, so that exists is a comparison with it.
static enum status
node_take(
    const struct reading *reading,
    const char *name,
    const struct json *filter,
    uint32_t depth,
    struct usage_filter *out)
{
    if (filter->type != JSON_OBJECT || filter->count != 1)
        return filter_invalid(reading, name, "must be an object of one operator");
    const struct json *value = filter->first;
    const struct operator_row *row = operator_find(value->key);
    if (row == NULL)
        return refuse(
            reading,
            "unknown_filter_operator",
            filter_field(reading, name),
            "takes exists, eq, neq, in, nin, contains, ncontains, and, or");
    *out = (struct usage_filter){.kind = row->kind, .dimension = name};
    if (row->kind == USAGE_AND || row->kind == USAGE_OR)
        return parts_take(reading, name, value, depth, out);
    if (value->type != row->type)
        return filter_invalid(reading, name, "has an operator with a value of another type");
    struct bytes *texts = arena_array(reading->arena, 1, struct bytes);
    out->values_count = 1;
    if (row->type == JSON_BOOL)
        out->kind = value->boolean ? USAGE_NE : USAGE_EQ;
    else if (!texts_take(reading, value, &texts, &out->values_count))
        return filter_invalid(reading, name, "must be a string, or a list of them");
    if (row->is_pattern)
        texts[0] = contains_pattern(reading, texts[0]);
    out->values = texts;
    return STATUS_OK;
}

static enum status
dimensions_take(const struct reading *reading, const struct json *dimensions)
{
    struct usage_filter *parts = arena_array(reading->arena, FILTERS_MAX, struct usage_filter);
    struct usage_filter *all = arena_new(reading->arena, struct usage_filter);
    uint32_t count = 0;
    enum status status = STATUS_OK;
    for (const struct json *item = dimensions->first; status == STATUS_OK && item != NULL;
         item = item->next) {
        const char *name = arena_text_of(reading->arena, item->key);
        bool is_ours = is_reserved(name);
        if (!is_plain(item->key) || (!is_ours && meter_dimension_index(reading->meter, name) < 0))
            return filter_invalid(reading, name, "is no dimension of the meter");
        if (item->type != JSON_OBJECT)
            return filter_invalid(reading, name, "must be an object");
        if (is_ours)
            status = reserved_take(reading, name, item);
        else if (item->count > 0)
            status = node_take(reading, name, item, 0, &parts[count++]);
    }
    *all = (struct usage_filter){.kind = USAGE_AND, .parts = parts, .parts_count = count};
    reading->out->filter = count > 0 ? all : NULL;
    return status;
}

static enum status
filters_take(const struct reading *reading, const struct json *filters)
{
    static const struct form_row rows[] = {
        {.name = "dimensions", .type = FORM_VALUE},
        {.name = NULL                   },
    };
    const struct json *dimensions = NULL;
    if (filters == NULL)
        return STATUS_OK;
    enum status status =
        form_object_read(filters, rows, reading->arena, &dimensions, reading->error);
    if (status || dimensions == NULL)
        return status;
    if (dimensions->type != JSON_OBJECT || dimensions->count > FILTERS_MAX)
        return refuse(
            reading,
            "invalid_dimension_filter",
            "filters.dimensions",
            "must be an object of at most 10 dimensions");
    return dimensions_take(reading, dimensions);
}

// --- the whole ---

struct wish {
    struct form_time from, to;
    const char *zone;
    const struct json *granularity, *group_by, *filters;
};

static const struct form_row WISH_ROWS[] = {
    {"from",                FORM_TIME, offsetof(struct wish, from), 0, false},
    {"to", FORM_TIME, offsetof(struct wish, to), 0, false},
    {"granularity",                    FORM_VALUE, offsetof(struct wish, granularity), 0, false},
    {"time_zone",                     FORM_ANY_TEXT, offsetof(struct wish, zone), 0, false},
    {GROUP_BY,            FORM_VALUE, offsetof(struct wish, group_by), 0, false},
    {"filters",                  FORM_OBJECT, offsetof(struct wish, filters), 0, false},
    {.name = NULL               },
};

enum status
question_from_v3(
    struct bytes body,
    const struct meter *meter,
    struct arena *arena,
    struct question *out,
    struct question_fault *out_fault,
    struct error *error)
{
    const struct reading reading = {meter, arena, out, out_fault, error};
    struct wish wish = {.zone = NULL};
    question_begin(arena, out);
    enum status status = form_read(body, WISH_ROWS, arena, &wish, error);
    if (status)
        return status;
    out->zone = wish.zone;
    out->has_from = wish.from.is_given;
    out->from_ns = out->has_from ? wish.from.ns : out->from_ns;
    out->has_to = wish.to.is_given;
    out->to_ns = out->has_to ? wish.to.ns : out->to_ns;
    status = granularity_take(&reading, wish.granularity);
    if (status == STATUS_OK)
        status = zone_take(&reading);
    if (status == STATUS_OK)
        status = group_by_take(&reading, wish.group_by);
    if (status == STATUS_OK)
        status = filters_take(&reading, wish.filters);
    if (status == STATUS_OK && out->is_by_customer && out->customers.count == 0)
        status = refuse(
            &reading, "invalid_group_by", GROUP_BY, "takes customer_id only with a filter of it");
    return status ? status : question_check(out, false, false, error);
}
