// GET /api/v3/openmeter/events: a list of events in version 3's words. Its filters are parameters,
// filter[FIELD][OPERATOR]=VALUE, which become the filter object of version 2.

#include "api/call.h"
#include "api/events_page.h"
#include "api/member.h"
#include "api/param.h"
#include "api/routes.h"
#include "base/clock.h"

#include <string.h>

enum { FILTERS_MAX = 32 };

// --- filters ---

enum field_kind { FIELD_TEXT, FIELD_TIME, FIELD_CUSTOMER };

static const struct field {
    const char *name;    // in a parameter
    const char *member;  // of version 2's filter
    enum field_kind kind;
} FIELDS[] = {
    {"id",          "id",         FIELD_TEXT    },
    {"source",      "source",     FIELD_TEXT    },
    {"subject",     "subject",    FIELD_TEXT    },
    {"type",        "type",       FIELD_TEXT    },
    {"customer_id", "customerId", FIELD_CUSTOMER},
    {"time",        "time",       FIELD_TIME    },
    {"ingested_at", "ingestedAt", FIELD_TIME    },
 // It is stored when it comes in.
    {"stored_at",   "ingestedAt", FIELD_TIME    },
};
enum { FIELDS_COUNT = sizeof FIELDS / sizeof FIELDS[0] };

struct condition {
    const struct field *field;
    struct bytes operation;
    const char *value;
};

struct conditions {
    struct condition items[FILTERS_MAX];
    size_t count;
};

// "filter[id][eq]"; "filter[id]" is eq too. False: it is none of ours.
static bool
condition_parse(const struct target_pair *pair, struct condition *out)
{
    static const char prefix[] = "filter[";
    const char *name = pair->name;
    if (strncmp(name, prefix, sizeof prefix - 1) != 0)
        return false;
    name += sizeof prefix - 1;
    const char *end = strchrnul(name, ']');
    *out = (struct condition){.operation = bytes_text("eq"), .value = pair->value};
    for (size_t i = 0; i < FIELDS_COUNT; i++)
        if (bytes_equal(bytes_text(FIELDS[i].name), bytes_of(name, (size_t)(end - name))))
            out->field = &FIELDS[i];
    if (end[0] == '\0' || end[1] == '\0')
        return end[0] != '\0';
    const char *last = strchrnul(end + 1, ']');
    if (end[1] != '[' || last[0] == '\0' || last[1] != '\0')
        return false;
    out->operation = bytes_of(end + 2, (size_t)(last - end - 2));
    return true;
}

static enum status
conditions_read(const struct target *target, struct conditions *out, struct error *error)
{
    for (size_t i = 0; i < target->pairs_count; i++) {
        const struct target_pair *pair = &target->pairs[i];
        struct condition condition = {.field = NULL};
        if (strncmp(pair->name, "filter", 6) != 0)
            continue;
        if (!condition_parse(pair, &condition) || condition.field == NULL)
            return error_set(
                error,
                STATUS_INVALID,
                "%.64s is no filter: filter[id][eq], and so of source, subject, type, customer_id, "
                "time, ingested_at, stored_at",
                pair->name);
        if (out->count == FILTERS_MAX)
            return error_set(error, STATUS_INVALID, "there are more than %d filters", FILTERS_MAX);
        out->items[out->count++] = condition;
    }
    return STATUS_OK;
}

// %VALUE% with what is special in a pattern made ordinary.
static void
pattern_write(struct bytes text, struct json_out *out)
{
    scoped(buffer_done) struct buffer pattern = {0};
    buffer_u8(&pattern, '%');
    for (size_t i = 0; i < text.size; i++) {
        if (strchr("%_\\", text.data[i]) != NULL)
            buffer_u8(&pattern, '\\');
        buffer_u8(&pattern, text.data[i]);
    }
    buffer_u8(&pattern, '%');
    json_begin(out, '{');
    json_key(out, "$like");
    json_string(out, buffer_view(&pattern));
    json_end(out, '}');
}

// Each text between the commas; as a pattern, or as it is.
static void
list_write(const char *value, bool is_pattern, struct json_out *out)
{
    json_begin(out, '[');
    for (const char *at = value;; at++) {
        const char *end = strchrnul(at, ',');
        struct bytes text = bytes_of(at, (size_t)(end - at));
        if (is_pattern)
            pattern_write(text, out);
        else
            json_string(out, text);
        at = end;
        if (*at == '\0')
            break;
    }
    json_end(out, ']');
}

static void
pair_write(const char *operation, const char *value, struct json_out *out)
{
    json_begin(out, '{');
    json_key(out, operation);
    json_text(out, value);
    json_end(out, '}');
}

static bool
is_operation(const struct condition *condition, const char *name)
{
    return bytes_equal(condition->operation, bytes_text(name));
}

// Operators that only have another name there; NULL: not among them.
static const char *
operation_same(const struct condition *condition)
{
    static const char *const names[][2] = {
        {"eq",  "$eq" },
        {"neq", "$ne" },
        {"gt",  "$gt" },
        {"gte", "$gte"},
        {"lt",  "$lt" },
        {"lte", "$lte"},
    };
    bool is_text = condition->field->kind == FIELD_TEXT;
    for (size_t i = is_text ? 0 : 2; i < sizeof names / sizeof names[0]; i++)
        if (is_operation(condition, names[i][0]))
            return names[i][1];
    return NULL;
}

static bool
text_condition_write(const struct condition *condition, struct json_out *out)
{
    if (is_operation(condition, "contains")) {
        pattern_write(bytes_text(condition->value), out);
        return true;
    }
    bool is_in = is_operation(condition, "oeq");
    if (!is_in && !is_operation(condition, "ocontains"))
        return false;
    json_begin(out, '{');
    json_key(out, is_in ? "$in" : "$or");
    list_write(condition->value, !is_in, out);
    json_end(out, '}');
    return true;
}

// False: the field does not take the operator.
static bool
condition_write(const struct condition *condition, struct json_out *out)
{
    const char *same = operation_same(condition);
    if (same != NULL) {
        pair_write(same, condition->value, out);
        return true;
    }
    if (condition->field->kind == FIELD_TEXT)
        return text_condition_write(condition, out);
    if (condition->field->kind != FIELD_TIME || !is_operation(condition, "eq"))
        return false;
    pair_write("$gte", condition->value, out);
    pair_write("$lte", condition->value, out);
    return true;
}

// All conditions of one member of version 2's filter; nothing when there are none.
static bool
member_write(const struct conditions *conditions, const char *member, struct json_out *out)
{
    size_t count = 0;
    bool is_good = true;
    for (size_t i = 0; i < conditions->count; i++) {
        if (strcmp(conditions->items[i].field->member, member) != 0)
            continue;
        if (count++ == 0) {
            json_key(out, member);
            json_begin(out, '{');
            json_key(out, "$and");
            json_begin(out, '[');
        }
        is_good = is_good && condition_write(&conditions->items[i], out);
    }
    if (count > 0) {
        json_end(out, ']');
        json_end(out, '}');
    }
    return is_good;
}

// At most one condition: eq, or oeq.
static bool
customers_write(const struct conditions *conditions, struct json_out *out)
{
    size_t count = 0;
    for (size_t i = 0; i < conditions->count; i++) {
        const struct condition *condition = &conditions->items[i];
        bool is_eq = is_operation(condition, "eq");
        if (condition->field->kind != FIELD_CUSTOMER)
            continue;
        if (count++ > 0 || (!is_eq && !is_operation(condition, "oeq")))
            return false;
        json_key(out, "customerId");
        json_begin(out, '{');
        json_key(out, "$in");
        if (is_eq) {
            json_begin(out, '[');
            json_text(out, condition->value);
            json_end(out, ']');
        } else {
            list_write(condition->value, false, out);
        }
        json_end(out, '}');
    }
    return true;
}

static enum status
filter_read(struct call *call, struct event_filter *out, struct error *error)
{
    static const char *const members[] = {"id", "source", "subject", "type", "time", "ingestedAt"};
    scoped(buffer_done) struct buffer text = {0};
    struct conditions *conditions = arena_new(call->arena, struct conditions);
    struct json_out json = json_out_to(&text);
    enum status status = conditions_read(&call->target, conditions, error);
    if (status)
        return status;
    json_begin(&json, '{');
    bool is_good = customers_write(conditions, &json);
    for (size_t i = 0; is_good && i < sizeof members / sizeof members[0]; i++)
        is_good = member_write(conditions, members[i], &json);
    if (!is_good)
        return error_set(
            error,
            STATUS_INVALID,
            "filter: texts take eq, neq, gt, gte, lt, lte, contains, oeq and ocontains, times eq, "
            "gt, gte, lt and lte, customer_id one eq or oeq");
    json_end(&json, '}');
    return event_filter_parse(
        arena_bytes(call->arena, buffer_view(&text)), call->arena, out, error);
}

// --- the page ---

static enum status
page_take(struct call *call, struct events_page *out, struct error *error)
{
    static const char *const sorts[] = {"time desc", "time", "-time", NULL};
    size_t sort = 0;
    uint32_t *limit = &out->query.limit;
    *out = (struct events_page){.query = EVENTS_ALL};
    *limit = EVENTS_PAGE_MAX;
    enum status status =
        param_number(&call->target, "page[size]", 1, EVENTS_PAGE_MAX, limit, error);
    if (status == STATUS_OK)
        status = param_word(&call->target, "sort", sorts, &sort, error);
    if (status == STATUS_OK && target_value(&call->target, "page[before]") != NULL)
        status =
            error_set(error, STATUS_INVALID, "page[before] is not taken: ask with page[after]");
    if (status == STATUS_OK)
        status = filter_read(call, &out->filter, error);
    if (status == STATUS_OK)
        status = param_once(&call->target, "page[after]", &out->query.after, error);
    if (out->filter.from_ns == INT64_MIN)
        out->query.from_ns = clock_now_ns() - EVENTS_PAGE_DAYS_BACK * DAY_NS;
    return status;
}

// A line is an error.
static void
errors_write(const char *lines, struct json_out *out)
{
    json_key(out, "validation_errors");
    json_begin(out, '[');
    while (*lines != '\0') {
        const char *end = strchrnul(lines, '\n');
        json_begin(out, '{');
        member_text(out, "code", "invalid_event");
        json_key(out, "message");
        json_string(out, bytes_of(lines, (size_t)(end - lines)));
        json_end(out, '}');
        lines = end + (*end == '\n');
    }
    json_end(out, ']');
}

static void
row_write(const struct events_row *row, const char *customer, struct json_out *out)
{
    json_begin(out, '{');
    json_key(out, "event");
    event_json_write(&row->entry, out);
    if (customer != NULL) {
        json_key(out, "customer");
        json_begin(out, '{');
        member_text(out, "id", customer);
        json_end(out, '}');
    }
    member_time(out, "ingested_at", row->arrival_ns);
    member_time(out, "stored_at", row->arrival_ns);
    if (row->validation_error != NULL)
        errors_write(row->validation_error, out);
    json_end(out, '}');
}

void
events_v3_get(struct call *call)
{
    struct events_page page;
    struct error error = {0};
    enum status status = page_take(call, &page, &error);
    if (status == STATUS_OK)
        status = events_page_ask(call, &page, &error);
    if (status) {
        call_failed(call, &error);
        return;
    }
    struct json_out *out = call_json(call, 200);
    json_begin(out, '{');
    json_key(out, "data");
    json_begin(out, '[');
    for (size_t i = 0; i < page.result.count; i++)
        row_write(&page.result.rows[i], page.facts[i].customer, out);
    json_end(out, ']');
    json_key(out, "meta");
    json_begin(out, '{');
    json_key(out, "page");
    json_begin(out, '{');
    member_text(out, "next", page.result.next);
    json_key(out, "previous");
    json_null(out);
    json_key(out, "size");
    json_int(out, page.query.limit);
    json_end(out, '}');
    json_end(out, '}');
    json_end(out, '}');
}
