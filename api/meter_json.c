#include "api/meter_json.h"

#include "api/body.h"
#include "api/ulid.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"

#include <string.h>

static enum status
body_parse(
    struct bytes body,
    const char *const *allowed,
    struct arena *arena,
    struct json **out,
    struct error *error)
{
    enum status status = body_object(body, arena, out, error);
    return status ? status : body_members(*out, allowed, error);
}

static enum status
path_read(
    const char *name, const char *text, struct arena *arena, const char **out, struct error *error)
{
    must(text != NULL);
    if (text[0] != '$')
        return error_set(error, STATUS_INVALID, "%s: the path %s must begin with $", name, text);
    enum status status = meter_path_canonical(text, arena, out, error);
    return status ? error_prefix(error, "%s", name) : STATUS_OK;
}

static enum status
group_by_read(
    const struct json *object, struct arena *arena, struct meter *meter, struct error *error)
{
    const struct json *group_by = json_member(object, "groupBy");
    if (group_by == NULL)
        return STATUS_OK;
    meter->dimensions_count = 0;
    if (group_by->type == JSON_NULL)
        return STATUS_OK;
    if (group_by->type != JSON_OBJECT || group_by->count > METER_DIMENSIONS_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "groupBy must be an object of at most %d names and paths",
            METER_DIMENSIONS_MAX);
    for (const struct json *item = group_by->first; item != NULL; item = item->next) {
        struct meter_dimension *dimension = &meter->dimensions[meter->dimensions_count++];
        dimension->name = arena_text_of(arena, item->key);
        const char *text = NULL;
        enum status status = body_text(group_by, dimension->name, true, arena, &text, error);
        if (status == STATUS_OK)
            status = path_read("groupBy", text, arena, &dimension->path, error);
        if (status)
            return status;
        if (meter->value_property != NULL && strcmp(dimension->path, meter->value_property) == 0)
            return error_set(
                error, STATUS_INVALID, "groupBy: %s is the value's own path", dimension->name);
    }
    return STATUS_OK;
}

static enum status
value_read(const char *value, struct arena *arena, struct meter *meter, struct error *error)
{
    bool is_count = meter->aggregation == AGGREGATION_COUNT;
    if (is_count && value != NULL)
        return error_set(error, STATUS_INVALID, "valueProperty is not for COUNT");
    if (!is_count && value == NULL)
        return error_set(error, STATUS_INVALID, "valueProperty is required but for COUNT");
    return is_count ? STATUS_OK
                    : path_read("valueProperty", value, arena, &meter->value_property, error);
}

enum status
meter_json_read(struct bytes body, struct arena *arena, struct meter *out, struct error *error)
{
    static const char *const allowed[] = {
        "slug",
        "name",
        "description",
        "aggregation",
        "eventType",
        "valueProperty",
        "groupBy",
        NULL};
    struct meter meter = {0};
    struct json *root;
    const char *name = NULL, *aggregation = NULL, *value = NULL;
    enum status status = body_parse(body, allowed, arena, &root, error);
    if (status == STATUS_OK)
        status = body_text(root, "slug", true, arena, &meter.key, error);
    if (status == STATUS_OK)
        status = body_text(root, "name", false, arena, &name, error);
    if (status == STATUS_OK)
        status = body_text(root, "description", false, arena, &meter.description, error);
    if (status == STATUS_OK)
        status = body_text(root, "eventType", true, arena, &meter.event_type, error);
    if (status == STATUS_OK)
        status = body_text(root, "valueProperty", false, arena, &value, error);
    if (status == STATUS_OK)
        status = body_text(root, "aggregation", true, arena, &aggregation, error);
    if (status)
        return status;
    must(aggregation != NULL);
    if (!aggregation_parse(bytes_text(aggregation), &meter.aggregation))
        return error_set(
            error, STATUS_INVALID, "aggregation %s is none of " AGGREGATION_NAMES, aggregation);
    status = value_read(value, arena, &meter, error);
    if (status == STATUS_OK)
        status = group_by_read(root, arena, &meter, error);
    *out = meter;
    return status;
}

enum status
meter_json_change(struct bytes body, struct arena *arena, struct meter *meter, struct error *error)
{
    static const char *const allowed[] = {"name", "description", "groupBy", NULL};
    struct json *root;
    const char *name = NULL, *description = NULL;
    enum status status = body_parse(body, allowed, arena, &root, error);
    if (status == STATUS_OK)
        status = body_text(root, "name", false, arena, &name, error);
    if (status == STATUS_OK)
        status = body_text(root, "description", false, arena, &description, error);
    if (status == STATUS_OK && json_member(root, "description") != NULL)
        meter->description = description;
    return status ? status : group_by_read(root, arena, meter, error);
}

void
meter_ulid(const struct meter *meter, char out[ULID_SIZE + 1])
{
    ulid_write(
        meter->created_ns, hash128(bytes_text(meter->key), (uint64_t)meter->created_ns), out);
}

static void
member_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
member_time(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    member_text(out, key, text);
}

// "UNIQUE_COUNT".
static const char *
aggregation_upper(enum aggregation aggregation, struct arena *arena)
{
    char *text = arena_text(arena, aggregation_name(aggregation));
    for (char *at = text; *at != '\0'; at++)
        if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
    return text;
}

void
meter_json_write(const struct meter *meter, struct arena *arena, struct json_out *out)
{
    char id[ULID_SIZE + 1];
    meter_ulid(meter, id);
    json_begin(out, '{');
    member_text(out, "id", id);
    member_text(out, "slug", meter->key);
    member_text(out, "name", meter->key);
    if (meter->description != NULL)
        member_text(out, "description", meter->description);
    member_text(out, "aggregation", aggregation_upper(meter->aggregation, arena));
    member_text(out, "eventType", meter->event_type);
    if (meter->value_property != NULL)
        member_text(out, "valueProperty", meter->value_property);
    json_key(out, "groupBy");
    json_begin(out, '{');
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        member_text(out, meter->dimensions[i].name, meter->dimensions[i].path);
    json_end(out, '}');
    member_time(out, "createdAt", meter->created_ns);
    member_time(out, "updatedAt", meter->updated_ns);
    json_end(out, '}');
}
