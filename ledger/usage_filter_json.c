// The JSON form of a filter. An object of dimensions is the $and of its members; each member is an
// object with one operator.

#include "base/json.h"
#include "ledger/usage_filter.h"

enum {
    JSON_DEPTH_MAX = 2 * USAGE_FILTER_DEPTH_MAX + 4,
    PLACE_TEXT_MAX = 160,
};

static const struct {
    const char *name;
    enum usage_operator kind;
} operators[] = {
    {"$eq",     USAGE_EQ    },
    {"$ne",     USAGE_NE    },
    {"$in",     USAGE_IN    },
    {"$nin",    USAGE_NIN   },
    {"$like",   USAGE_LIKE  },
    {"$nlike",  USAGE_NLIKE },
    {"$ilike",  USAGE_ILIKE },
    {"$nilike", USAGE_NILIKE},
    {"$gt",     USAGE_GT    },
    {"$gte",    USAGE_GTE   },
    {"$lt",     USAGE_LT    },
    {"$lte",    USAGE_LTE   },
    {"$and",    USAGE_AND   },
    {"$or",     USAGE_OR    },
};
enum { OPERATORS_COUNT = sizeof operators / sizeof operators[0] };

static enum status
refuse(const struct json *at, const char *wanted, struct error *error)
{
    char place[PLACE_TEXT_MAX];
    json_place(at, place, sizeof place);
    return error_set(
        error,
        STATUS_INVALID,
        "filter, line %u, column %u, %s: %s",
        at->line,
        at->column,
        place,
        wanted);
}

static enum status
operator_find(const struct json *member, enum usage_operator *out, struct error *error)
{
    for (size_t i = 0; i < OPERATORS_COUNT; i++) {
        if (bytes_equal(member->key, bytes_text(operators[i].name))) {
            *out = operators[i].kind;
            return STATUS_OK;
        }
    }
    return refuse(
        member,
        "an operator is $eq, $ne, $in, $nin, $like, $nlike, $ilike, $nilike, $gt, $gte, $lt, $lte, "
        "$and or $or",
        error);
}

static enum status
parse_values(
    const struct json *value, struct arena *arena, struct usage_filter *out, struct error *error)
{
    bool takes_list = out->kind == USAGE_IN || out->kind == USAGE_NIN;
    if (!takes_list && value->type != JSON_STRING)
        return refuse(value, "this operator takes a text", error);
    if (takes_list && (value->type != JSON_ARRAY || value->count > USAGE_FILTER_VALUES_MAX))
        return refuse(value, "this operator takes a list of up to 10000 texts", error);
    uint32_t count = takes_list ? value->count : 1;
    struct bytes *values = arena_array(arena, count, struct bytes);
    const struct json *item = takes_list ? value->first : value;
    for (uint32_t i = 0; i < count; i++, item = item->next) {
        if (item->type != JSON_STRING)
            return refuse(item, "a list of this operator holds texts", error);
        values[i] = item->text;
    }
    out->values = values;
    out->values_count = count;
    return STATUS_OK;
}

static enum status parse_operators(
    const struct json *object,
    const char *dimension,
    struct arena *arena,
    struct usage_filter *out,
    struct error *error);

static enum status
parse_parts(
    const struct json *list,
    const char *dimension,
    struct arena *arena,
    struct usage_filter *out,
    struct error *error)
{
    if (list->type != JSON_ARRAY || list->count == 0 || list->count > USAGE_FILTER_NODES_MAX)
        return refuse(list, "$and and $or take a list of 1 to 1000 objects", error);
    struct usage_filter *parts = arena_array(arena, list->count, struct usage_filter);
    enum status status = STATUS_OK;
    const struct json *item = list->first;
    for (uint32_t i = 0; i < list->count && !status; i++, item = item->next)
        status = parse_operators(item, dimension, arena, &parts[i], error);
    out->dimension = NULL;
    out->parts = parts;
    out->parts_count = list->count;
    return status;
}

// {"$eq": "a"}: one operator. Recursion ends with the JSON's depth.
static enum status
parse_operators(
    const struct json *object,
    const char *dimension,
    struct arena *arena,
    struct usage_filter *out,
    struct error *error)
{
    const struct json *found = NULL;
    enum status status = STATUS_OK;
    if (object->type != JSON_OBJECT)
        return refuse(object, "wanted an object with an operator, such as {\"$eq\": \"a\"}", error);
    for (const struct json *member = object->first; member != NULL; member = member->next) {
        enum usage_operator kind;
        status = operator_find(member, &kind, error);
        if (status)
            return status;
        if (member->type == JSON_NULL)
            continue;
        if (found != NULL)
            return refuse(member, "an object has one operator: join several with $and", error);
        found = member;
        out->kind = kind;
    }
    if (found == NULL)
        return refuse(object, "there is no operator in it", error);
    out->dimension = dimension;
    if (out->kind == USAGE_AND || out->kind == USAGE_OR)
        return parse_parts(found, dimension, arena, out, error);
    return parse_values(found, arena, out, error);
}

// {}, {"$eq": null}: nothing is asked of the dimension.
static bool
asks_nothing(const struct json *value)
{
    if (value->type != JSON_OBJECT)
        return value->type == JSON_NULL;
    for (const struct json *member = value->first; member != NULL; member = member->next)
        if (member->type != JSON_NULL)
            return false;
    return true;
}

static enum status
parse_root(
    const struct json *root,
    struct arena *arena,
    const struct usage_filter **out,
    struct error *error)
{
    if (root->type != JSON_OBJECT)
        return refuse(root, "wanted an object of dimensions", error);
    if (root->count > USAGE_FILTER_NODES_MAX)
        return refuse(root, "a filter has at most 1000 parts", error);
    struct usage_filter *parts = arena_array(arena, root->count, struct usage_filter);
    uint32_t count = 0;
    for (const struct json *member = root->first; member != NULL; member = member->next) {
        if (asks_nothing(member))
            continue;
        if (memchr(member->key.data, '\0', member->key.size) != NULL)
            return refuse(member, "no dimension has such a name", error);
        const char *dimension = arena_text_of(arena, member->key);
        enum status status = parse_operators(member, dimension, arena, &parts[count], error);
        if (status)
            return status;
        count++;
    }
    struct usage_filter *all = arena_new(arena, struct usage_filter);
    *all = (struct usage_filter){.kind = USAGE_AND, .parts = parts, .parts_count = count};
    *out = count > 0 ? all : NULL;
    return STATUS_OK;
}

enum status
usage_filter_parse(
    struct bytes json, struct arena *arena, const struct usage_filter **out, struct error *error)
{
    const struct json_limits limits = {
        .size_max = USAGE_FILTER_TEXT_MAX, .depth_max = JSON_DEPTH_MAX};
    struct json *root;
    enum status status = json_parse(json, &limits, arena, &root, error);
    if (status)
        return error_prefix(error, "filter");
    return parse_root(root, arena, out, error);
}
