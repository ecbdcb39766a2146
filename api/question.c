#include "api/question.h"

#include "api/form.h"
#include "api/param.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

// --- one parameter ---

static enum status
invalid(struct error *error, const char *name, const char *text)
{
    return error_set(error, STATUS_INVALID, "%s %s", name, text);
}

static enum status
time_read(const char *name, const char *text, bool *out_has, int64_t *out_ns, struct error *error)
{
    if (text == NULL)
        return STATUS_OK;
    *out_has = true;
    return param_time_text(name, text, out_ns, error);
}

static enum status
window_read(const char *text, struct question *out, struct error *error)
{
    static const struct {
        const char *text;
        enum usage_window window;
    } windows[] = {
        {"MINUTE", USAGE_WINDOW_MINUTE},
        {"HOUR",   USAGE_WINDOW_HOUR  },
        {"DAY",    USAGE_WINDOW_DAY   },
        {"MONTH",  USAGE_WINDOW_MONTH },
    };
    if (text == NULL)
        return STATUS_OK;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        if (strcmp(windows[i].text, text) == 0) {
            out->window = windows[i].window;
            out->window_text = windows[i].text;
            return STATUS_OK;
        }
    }
    return invalid(error, "windowSize", "must be MINUTE, HOUR, DAY or MONTH");
}

enum status
question_list_add(
    const char *name, const char *text, size_t max, struct question_list *out, struct error *error)
{
    must(text != NULL);
    if (text[0] == '\0')
        return invalid(error, name, "must not be empty");
    if (out->count == max)
        return invalid(error, name, "is given too often");
    for (size_t i = 0; i < out->count; i++)
        if (strcmp(out->items[i], text) == 0)
            return STATUS_OK;
    out->items[out->count++] = text;
    return STATUS_OK;
}

enum status
question_group_by_add(const char *text, struct question *out, struct error *error)
{
    must(text != NULL);
    if (strcmp(text, "subject") == 0)
        out->is_by_subject = true;
    else if (strcmp(text, "customer_id") == 0)
        out->is_by_customer = true;
    else
        return question_list_add("groupBy", text, METER_DIMENSIONS_MAX, &out->group_by, error);
    return STATUS_OK;
}

void
question_begin(struct arena *arena, struct question *out)
{
    *out = (struct question){.from_ns = INT64_MIN, .to_ns = INT64_MAX};
    out->subjects.items = arena_array(arena, QUESTION_LIST_MAX, const char *);
    out->customers.items = arena_array(arena, QUESTION_CUSTOMERS_MAX, const char *);
    out->group_by.items = arena_array(arena, METER_DIMENSIONS_MAX, const char *);
}

static enum status
client_check(const char *client_id, struct error *error)
{
    size_t size = client_id != NULL ? strlen(client_id) : 1;
    return size > 0 && size <= PROGRESS_ID_MAX
               ? STATUS_OK
               : invalid(error, "clientId", "must have 1 to 36 characters");
}

enum status
question_check(struct question *out, bool has_simple, bool has_advanced, struct error *error)
{
    if (out->has_from && out->has_to && out->from_ns >= out->to_ns)
        return invalid(error, "from", "must be before to");
    if (has_simple && has_advanced)
        return invalid(error, "filterGroupBy", "and advancedMeterGroupByFilters: only one of them");
    if (out->is_by_customer && out->customers.count == 0)
        return invalid(error, "groupBy", "customer_id needs filterCustomerId");
    out->is_by_subject = out->is_by_subject || out->subjects.count > 0;
    out->is_by_customer = out->customers.count > 0;
    return STATUS_OK;
}

// --- from a query string ---

static enum status
lists_from_target(const struct target *target, struct question *out, struct error *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < target->pairs_count; i++) {
        const struct target_pair *pair = &target->pairs[i];
        if (strcmp(pair->name, "subject") == 0)
            status =
                question_list_add("subject", pair->value, QUESTION_LIST_MAX, &out->subjects, error);
        else if (strcmp(pair->name, "filterCustomerId") == 0)
            status = question_list_add(
                "filterCustomerId", pair->value, QUESTION_CUSTOMERS_MAX, &out->customers, error);
        else if (strcmp(pair->name, "groupBy") == 0)
            status = question_group_by_add(pair->value, out, error);
    }
    return status;
}

// filterGroupBy[KEY]=VALUE, each as often as wanted.
static bool
pairs_from_target(
    const struct target *target, struct arena *arena, struct usage_pair *out, uint32_t *out_count)
{
    static const char prefix[] = "filterGroupBy";
    for (size_t i = 0; i < target->pairs_count; i++) {
        const char *name = target->pairs[i].name;
        if (strncmp(name, prefix, sizeof prefix - 1) != 0)
            continue;
        const char *key = name + sizeof prefix - 1;
        size_t size = strlen(key);
        if (size < 3 || key[0] != '[' || key[size - 1] != ']')
            return false;
        out[*out_count].dimension = arena_text_of(arena, bytes_of(key + 1, size - 2));
        out[(*out_count)++].value = bytes_text(target->pairs[i].value);
    }
    return true;
}

// What is given once.
struct texts {
    const char *from, *to, *window, *advanced;
};

static enum status
texts_from_target(
    const struct target *target, struct texts *texts, struct question *out, struct error *error)
{
    const struct {
        const char *name;
        const char **text;
    } rows[] = {
        {"from",                        &texts->from    },
        {"to",                          &texts->to      },
        {"windowSize",                  &texts->window  },
        {"windowTimeZone",              &out->zone      },
        {"clientId",                    &out->client_id },
        {"advancedMeterGroupByFilters", &texts->advanced},
    };
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < sizeof rows / sizeof rows[0]; i++)
        status = param_once(target, rows[i].name, rows[i].text, error);
    return status;
}

static enum status
texts_read(const struct texts *texts, struct question *out, struct error *error)
{
    enum status status = client_check(out->client_id, error);
    if (status == STATUS_OK)
        status = time_read("from", texts->from, &out->has_from, &out->from_ns, error);
    if (status == STATUS_OK)
        status = time_read("to", texts->to, &out->has_to, &out->to_ns, error);
    return status ? status : window_read(texts->window, out, error);
}

enum status
question_from_target(
    const struct target *target, struct arena *arena, struct question *out, struct error *error)
{
    struct usage_pair *pairs = arena_array(arena, target->pairs_count + 1, struct usage_pair);
    struct texts texts = {.from = NULL};
    uint32_t pairs_count = 0;
    question_begin(arena, out);
    enum status status = texts_from_target(target, &texts, out, error);
    if (status == STATUS_OK)
        status = texts_read(&texts, out, error);
    if (status == STATUS_OK)
        status = lists_from_target(target, out, error);
    if (status == STATUS_OK && !pairs_from_target(target, arena, pairs, &pairs_count))
        status = invalid(error, "filterGroupBy", "must be filterGroupBy[KEY]=VALUE");
    if (status == STATUS_OK && texts.advanced != NULL)
        status = usage_filter_parse(bytes_text(texts.advanced), arena, &out->filter, error);
    if (status == STATUS_OK)
        status = question_check(out, pairs_count > 0, out->filter != NULL, error);
    if (status == STATUS_OK && pairs_count > 0)
        out->filter = usage_filter_of_pairs(pairs, pairs_count, arena);
    return status;
}

// --- from a body ---

static enum status
text_of(
    const struct json *value,
    const char *name,
    struct arena *arena,
    const char **out,
    struct error *error)
{
    if (value->type != JSON_STRING || memchr(value->text.data, '\0', value->text.size) != NULL)
        return invalid(error, name, "must be a string");
    *out = arena_text_of(arena, value->text);
    return STATUS_OK;
}

// NULL in *out: absent or null.
static enum status
member_text(
    const struct json *root,
    const char *name,
    struct arena *arena,
    const char **out,
    struct error *error)
{
    const struct json *member = json_member(root, name);
    *out = NULL;
    return member == NULL || member->type == JSON_NULL ? STATUS_OK
                                                       : text_of(member, name, arena, out, error);
}

static enum status
lists_from_body(
    const struct json *root, struct arena *arena, struct question *out, struct error *error)
{
    static const char *const names[] = {"subject", "filterCustomerId", "groupBy"};
    for (size_t i = 0; i < 3; i++) {
        const struct json *list = json_member(root, names[i]);
        if (list == NULL || list->type == JSON_NULL)
            continue;
        if (list->type != JSON_ARRAY)
            return invalid(error, names[i], "must be a list of strings");
        for (const struct json *item = list->first; item != NULL; item = item->next) {
            const char *text = NULL;
            enum status status = text_of(item, names[i], arena, &text, error);
            if (status == STATUS_OK && i == 0)
                status =
                    question_list_add(names[i], text, QUESTION_LIST_MAX, &out->subjects, error);
            else if (status == STATUS_OK && i == 1)
                status = question_list_add(
                    names[i], text, QUESTION_CUSTOMERS_MAX, &out->customers, error);
            else if (status == STATUS_OK)
                status = question_group_by_add(text, out, error);
            if (status)
                return status;
        }
    }
    return STATUS_OK;
}

// {"KEY": ["VALUE", ...]}.
static enum status
simple_from_body(
    const struct json *simple,
    struct arena *arena,
    const struct usage_filter **out,
    struct error *error)
{
    static const char name[] = "filterGroupBy";
    if (simple->type != JSON_OBJECT)
        return invalid(error, name, "must be an object of lists of strings");
    uint32_t count = 0;
    for (const struct json *list = simple->first; list != NULL; list = list->next)
        count += list->count;
    struct usage_pair *pairs = arena_array(arena, (size_t)count + 1, struct usage_pair);
    count = 0;
    for (const struct json *list = simple->first; list != NULL; list = list->next) {
        if (list->type != JSON_ARRAY)
            return invalid(error, name, "must be an object of lists of strings");
        for (const struct json *item = list->first; item != NULL; item = item->next) {
            const char *text = NULL;
            enum status status = text_of(item, name, arena, &text, error);
            if (status)
                return status;
            must(text != NULL);
            pairs[count].dimension = arena_text_of(arena, list->key);
            pairs[count++].value = bytes_text(text);
        }
    }
    *out = usage_filter_of_pairs(pairs, count, arena);
    return STATUS_OK;
}

static enum status
filters_from_body(
    const struct json *root, struct arena *arena, struct question *out, struct error *error)
{
    const struct json *simple = json_member(root, "filterGroupBy");
    const struct json *advanced = json_member(root, "advancedMeterGroupByFilters");
    bool has_simple = simple != NULL && simple->type != JSON_NULL;
    enum status status = STATUS_OK;
    // The filter's reader takes text.
    if (advanced != NULL && advanced->type != JSON_NULL)
        status =
            usage_filter_parse(bytes_text(form_print(advanced, arena)), arena, &out->filter, error);
    // Filters that ask for nothing do not stand in each other's way.
    has_simple = has_simple && (simple->type != JSON_OBJECT || simple->count > 0);
    if (status == STATUS_OK)
        status = question_check(out, has_simple, out->filter != NULL, error);
    if (status == STATUS_OK && has_simple)
        status = simple_from_body(simple, arena, &out->filter, error);
    return status;
}

enum status
question_from_body(
    struct bytes body, struct arena *arena, struct question *out, struct error *error)
{
    struct json *root;
    struct texts texts = {.from = NULL};
    question_begin(arena, out);
    enum status status = json_parse(body, NULL, arena, &root, error);
    if (status)
        return error_prefix(error, "the body cannot be read");
    if (root->type != JSON_OBJECT)
        return invalid(error, "the body", "must be an object");
    status = member_text(root, "from", arena, &texts.from, error);
    if (status == STATUS_OK)
        status = member_text(root, "to", arena, &texts.to, error);
    if (status == STATUS_OK)
        status = member_text(root, "windowSize", arena, &texts.window, error);
    if (status == STATUS_OK)
        status = member_text(root, "windowTimeZone", arena, &out->zone, error);
    if (status == STATUS_OK)
        status = member_text(root, "clientId", arena, &out->client_id, error);
    if (status == STATUS_OK)
        status = texts_read(&texts, out, error);
    if (status == STATUS_OK)
        status = lists_from_body(root, arena, out, error);
    return status ? status : filters_from_body(root, arena, out, error);
}
