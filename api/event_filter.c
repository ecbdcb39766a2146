#include "api/event_filter.h"

#include "api/form.h"
#include "api/param.h"
#include "base/assert.h"
#include "ledger/usage_filter.h"

#include <stdlib.h>
#include <string.h>

enum time_kind { TIME_GT, TIME_GTE, TIME_LT, TIME_LTE, TIME_AND, TIME_OR };

struct event_time_filter {
    enum time_kind kind;
    int64_t ns;
    const struct event_time_filter *parts;  // of TIME_AND and TIME_OR
    uint32_t parts_count;
};

// The texts of an event as if they were a meter's dimensions, in the order of their names. The
// subject has a name of its own there.
enum { TEXT_ID, TEXT_SOURCE, TEXT_TYPE, TEXTS };
static const char *const TEXT_NAMES[TEXTS] = {"id", "source", "type"};

struct reading {
    struct arena *arena;
    const char *member;
    struct error *error;
};

static enum status
invalid(const struct reading *reading, const char *text)
{
    return error_set(reading->error, STATUS_INVALID, "filter: %s %s", reading->member, text);
}

enum { WISH_TEXTS = 4 };

// The filter's members; NULL: not given.
struct wish {
    const struct json *texts[WISH_TEXTS];
    const struct json *customer, *time, *arrival;
};

static const struct form_row WISH_ROWS[] = {
  // The texts first.
    {"id",                  FORM_VALUE, offsetof(struct wish, texts[0]), 0, false},
    {"source", FORM_VALUE, offsetof(struct wish, texts[1]), 0, false},
    {"subject",                    FORM_VALUE, offsetof(struct wish, texts[2]), 0, false},
    {"type",                     FORM_VALUE, offsetof(struct wish, texts[3]), 0, false},
    {"customerId",           FORM_VALUE, offsetof(struct wish, customer), 0, false},
    {"time",            FORM_VALUE, offsetof(struct wish, time), 0, false},
    {"ingestedAt",                FORM_VALUE, offsetof(struct wish, arrival), 0, false},
    {.name = NULL            },
};

// --- texts ---

static enum status
texts_read(
    const struct wish *wish, struct arena *arena, struct event_filter *out, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    const struct usage_filter *filter = NULL;
    struct meter meter = {.key = "event", .dimensions_count = TEXTS};
    for (size_t i = 0; i < TEXTS; i++)
        meter.dimensions[i].name = TEXT_NAMES[i];
    struct json_out json = json_out_to(&text);
    json_begin(&json, '{');
    for (size_t i = 0; i < WISH_TEXTS; i++) {
        if (wish->texts[i] == NULL)
            continue;
        json_key(&json, WISH_ROWS[i].name);
        form_copy(wish->texts[i], arena, &json);
    }
    json_end(&json, '}');
    enum status status = usage_filter_parse(
        bytes_text(arena_text_of(arena, buffer_view(&text))), arena, &filter, error);
    if (status == STATUS_OK)
        status = usage_filter_bind(filter, &meter, arena, &out->texts, error);
    return status ? error_prefix(error, "filter") : STATUS_OK;
}

// --- times ---

static enum status time_node_read(
    const struct reading *reading,
    const struct json *object,
    uint32_t depth,
    struct event_time_filter *out);

static bool
time_kind_parse(struct bytes name, enum time_kind *out)
{
    static const char *const names[] = {"$gt", "$gte", "$lt", "$lte", "$and", "$or"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (bytes_equal(name, bytes_text(names[i]))) {
            *out = (enum time_kind)i;
            return true;
        }
    }
    return false;
}

static enum status
time_parts_read(
    const struct reading *reading,
    const struct json *list,
    uint32_t depth,
    struct event_time_filter *out)
{
    if (list->type != JSON_ARRAY || list->count == 0)
        return invalid(reading, "takes a list of filters with $and and $or");
    struct event_time_filter *parts =
        arena_array(reading->arena, list->count, struct event_time_filter);
    enum status status = STATUS_OK;
    for (const struct json *item = list->first; status == STATUS_OK && item != NULL;
         item = item->next)
        status = time_node_read(reading, item, depth + 1, &parts[item->index]);
    out->parts = parts;
    out->parts_count = list->count;
    return status;
}

static enum status
time_operator_read(
    const struct reading *reading,
    const struct json *member,
    uint32_t depth,
    struct event_time_filter *out)
{
    if (!time_kind_parse(member->key, &out->kind))
        return invalid(reading, "takes $gt, $gte, $lt, $lte, $and and $or");
    if (out->kind == TIME_AND || out->kind == TIME_OR)
        return time_parts_read(reading, member, depth, out);
    bool is_text =
        member->type == JSON_STRING && memchr(member->text.data, '\0', member->text.size) == NULL;
    const char *text = is_text ? arena_text_of(reading->arena, member->text) : "";
    enum status status = param_time_text(reading->member, text, &out->ns, reading->error);
    return status ? error_prefix(reading->error, "filter") : STATUS_OK;
}

// An object's operators must all hold.
static enum status
time_node_read(
    const struct reading *reading,
    const struct json *object,
    uint32_t depth,
    struct event_time_filter *out)
{
    if (object->type != JSON_OBJECT || object->count == 0)
        return invalid(reading, "must be an object of $gt, $gte, $lt or $lte and times");
    if (depth > EVENT_FILTER_DEPTH_MAX)
        return invalid(reading, "is nested too deep");
    struct event_time_filter *parts =
        arena_array(reading->arena, object->count, struct event_time_filter);
    enum status status = STATUS_OK;
    for (const struct json *member = object->first; status == STATUS_OK && member != NULL;
         member = member->next)
        status = time_operator_read(reading, member, depth, &parts[member->index]);
    *out =
        (struct event_time_filter){.kind = TIME_AND, .parts = parts, .parts_count = object->count};
    return status;
}

static enum status
time_read(
    const struct json *object,
    const char *member,
    struct arena *arena,
    const struct event_time_filter **out,
    struct error *error)
{
    const struct reading reading = {arena, member, error};
    if (object == NULL)
        return STATUS_OK;
    struct event_time_filter *node = arena_new(arena, struct event_time_filter);
    *out = node;
    return time_node_read(&reading, object, 0, node);
}

static bool
time_accepts(const struct event_time_filter *filter, int64_t time_ns)
{
    bool decides = filter->kind == TIME_OR;
    switch (filter->kind) {
    case TIME_GT: return time_ns > filter->ns;
    case TIME_GTE: return time_ns >= filter->ns;
    case TIME_LT: return time_ns < filter->ns;
    case TIME_LTE: return time_ns <= filter->ns;
    case TIME_AND:
    case TIME_OR: break;
    }
    for (uint32_t i = 0; i < filter->parts_count; i++)
        if (time_accepts(&filter->parts[i], time_ns) == decides)
            return decides;
    return !decides;
}

// The least time that can fit, INT64_MIN where there is none.
static int64_t
time_least(const struct event_time_filter *filter)
{
    if (filter->kind == TIME_LT || filter->kind == TIME_LTE)
        return INT64_MIN;
    if (filter->kind == TIME_GT || filter->kind == TIME_GTE)
        return filter->ns;
    bool is_and = filter->kind == TIME_AND;
    int64_t least = is_and ? INT64_MIN : INT64_MAX;
    for (uint32_t i = 0; i < filter->parts_count; i++) {
        int64_t part = time_least(&filter->parts[i]);
        if (is_and ? part > least : part < least)
            least = part;
    }
    return least;
}

// --- customers ---

static enum status
customers_read(
    const struct json *object, struct arena *arena, struct event_filter *out, struct error *error)
{
    const struct reading reading = {arena, "customerId", error};
    if (object == NULL)
        return STATUS_OK;
    const struct json *list = form_member(object, "$in");
    if (list == NULL || object->count != 1 || list->type != JSON_ARRAY ||
        list->count > EVENT_FILTER_CUSTOMERS_MAX)
        return invalid(&reading, "must be {\"$in\": [...]} with at most 100 ids");
    out->has_customers = true;
    out->customers = arena_array(arena, (size_t)list->count + 1, const char *);
    for (const struct json *item = list->first; item != NULL; item = item->next) {
        if (item->type != JSON_STRING || memchr(item->text.data, '\0', item->text.size) != NULL)
            return invalid(&reading, "must be {\"$in\": [...]} of strings");
        out->customers[out->customers_count++] = arena_text_of(arena, item->text);
    }
    return STATUS_OK;
}

enum status
event_filter_parse(
    struct bytes json, struct arena *arena, struct event_filter *out, struct error *error)
{
    struct wish wish = {.time = NULL};
    struct json *root;
    *out = (struct event_filter){.from_ns = INT64_MIN};
    enum status status = json_parse(json, NULL, arena, &root, error);
    if (status == STATUS_OK)
        status = form_object_read(root, WISH_ROWS, arena, &wish, error);
    if (status)
        return error_prefix(error, "filter");
    status = texts_read(&wish, arena, out, error);
    if (status == STATUS_OK)
        status = customers_read(wish.customer, arena, out, error);
    if (status == STATUS_OK)
        status = time_read(wish.time, "time", arena, &out->time, error);
    if (status == STATUS_OK)
        status = time_read(wish.arrival, "ingestedAt", arena, &out->arrival, error);
    if (status == STATUS_OK && out->time != NULL)
        out->from_ns = time_least(out->time);
    return status;
}

// --- asking ---

static int
bytes_order(const void *a, const void *b)
{
    const struct bytes *left = a, *right = b;
    return bytes_compare(*left, *right);
}

void
event_subjects_sort(struct bytes *subjects, size_t count)
{
    if (count > 1)
        qsort(subjects, count, sizeof *subjects, bytes_order);
}

static bool
is_accepted(void *context, const struct entry *entry, int64_t arrival_ns)
{
    const struct event_filter *filter = context;
    bool is_chunk = (entry->flags & ENTRY_ID_IS_CHUNK) != 0;
    const struct cell_group group = {
        .count = TEXTS,
        .values = {is_chunk ? bytes_of(NULL, 0) : entry->id, entry->source, entry->type},
    };
    if (filter->has_customers && (filter->subjects_count == 0 || bsearch(
                                                                     &entry->subject,
                                                                     filter->subjects,
                                                                     filter->subjects_count,
                                                                     sizeof entry->subject,
                                                                     bytes_order) == NULL))
        return false;
    return (filter->time == NULL || time_accepts(filter->time, entry->time_ns)) &&
           (filter->arrival == NULL || time_accepts(filter->arrival, arrival_ns)) &&
           usage_filter_accepts(filter->texts, entry->subject, &group);
}

void
event_filter_use(struct event_filter *filter, struct events_query *query)
{
    query->accepts = is_accepted;
    query->context = filter;
    if (filter->from_ns > query->from_ns)
        query->from_ns = filter->from_ns;
}
