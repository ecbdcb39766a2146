#include "api/meter_json.h"

#include "api/body.h"
#include "api/param.h"
#include "api/ulid.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"

#include <string.h>

#define AGGREGATIONS_UPPER "COUNT, SUM, MIN, MAX, AVG, UNIQUE_COUNT, LATEST or WEIGHTED_SUM"

const struct meter_words METER_V1 = {
    .key = "slug",
    .event_type = "eventType",
    .events_from = "eventFrom",
    .value_property = "valueProperty",
    .dimensions = "groupBy",
    .metadata = "metadata",
    .created = "createdAt",
    .updated = "updatedAt",
    .is_upper = true,
};
const struct meter_words METER_V3 = {
    .key = "key",
    .event_type = "event_type",
    .events_from = "events_from",
    .value_property = "value_property",
    .dimensions = "dimensions",
    .metadata = "labels",
    .created = "created_at",
    .updated = "updated_at",
    .is_name_required = true,
};

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
dimensions_read(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const struct json *group_by = json_member(object, words->dimensions);
    if (group_by == NULL)
        return STATUS_OK;
    meter->dimensions_count = 0;
    if (group_by->type == JSON_NULL)
        return STATUS_OK;
    if (group_by->type != JSON_OBJECT || group_by->count > METER_DIMENSIONS_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "%s must be an object of at most %d names and paths",
            words->dimensions,
            METER_DIMENSIONS_MAX);
    for (const struct json *item = group_by->first; item != NULL; item = item->next) {
        struct meter_dimension *dimension = &meter->dimensions[meter->dimensions_count++];
        dimension->name = arena_text_of(arena, item->key);
        const char *text = NULL;
        enum status status = body_text(group_by, dimension->name, true, arena, &text, error);
        if (status == STATUS_OK)
            status = path_read(words->dimensions, text, arena, &dimension->path, error);
        if (status)
            return status;
        if (meter->value_property != NULL && strcmp(dimension->path, meter->value_property) == 0)
            return error_set(
                error,
                STATUS_INVALID,
                "%s: %s is the value's own path",
                words->dimensions,
                dimension->name);
    }
    return STATUS_OK;
}

// Name, description and metadata; what is absent stays.
static enum status
facts_read(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *name = NULL, *description = NULL;
    const struct json *metadata = json_member(object, words->metadata);
    enum status status = body_text(object, "name", false, arena, &name, error);
    if (status == STATUS_OK)
        status = body_text(object, "description", false, arena, &description, error);
    if (status)
        return status;
    if (name != NULL && name[0] == '\0')
        return error_set(error, STATUS_INVALID, "name must have 1 to 256 characters");
    if (name != NULL)
        meter->name = name;
    if (json_member(object, "description") != NULL)
        meter->description = description;
    if (metadata == NULL)
        return STATUS_OK;
    status = body_strings_check(metadata, words->metadata, error);
    if (status == STATUS_OK)
        meter->metadata = metadata->type == JSON_NULL ? "{}" : body_print(metadata, arena);
    return status;
}

static enum status
value_read(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *name = words->value_property, *value = NULL;
    bool is_count = meter->aggregation == AGGREGATION_COUNT;
    enum status status = body_text(object, name, false, arena, &value, error);
    if (status)
        return status;
    if (is_count && value != NULL)
        return error_set(error, STATUS_INVALID, "%s is not for counts", name);
    if (!is_count && value == NULL)
        return error_set(error, STATUS_INVALID, "%s is required but for counts", name);
    return is_count ? STATUS_OK : path_read(name, value, arena, &meter->value_property, error);
}

static enum status
events_from_read(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *text = NULL;
    enum status status = body_text(object, words->events_from, false, arena, &text, error);
    if (status || text == NULL)
        return status;
    status = param_time_text(words->events_from, text, &meter->events_from_ns, error);
    if (status == STATUS_OK && meter->events_from_ns <= 0)
        return error_set(
            error, STATUS_INVALID, "%s must be after the beginning of 1970", words->events_from);
    return status;
}

static const char *
text_upper(const char *text, struct arena *arena)
{
    char *copy = arena_text(arena, text);
    for (char *at = copy; *at != '\0'; at++)
        if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
    return copy;
}

// "UNIQUE_COUNT", or "unique_count".
static const char *
aggregation_text(enum aggregation aggregation, const struct meter_words *words, struct arena *arena)
{
    const char *name = aggregation_name(aggregation);
    return words->is_upper ? text_upper(name, arena) : name;
}

static enum status
aggregation_read(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *text = NULL;
    enum status status = body_text(object, "aggregation", true, arena, &text, error);
    if (status)
        return status;
    must(text != NULL);
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        const char *name = aggregation_text((enum aggregation)i, words, arena);
        if (strcmp(name, text) == 0) {
            meter->aggregation = (enum aggregation)i;
            return STATUS_OK;
        }
    }
    return error_set(
        error,
        STATUS_INVALID,
        "aggregation must be %s",
        words->is_upper ? AGGREGATIONS_UPPER : AGGREGATION_NAMES);
}

enum status
meter_json_read(
    struct bytes body,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *out,
    struct error *error)
{
    const char *const allowed[] = {
        words->key,
        "name",
        "description",
        words->metadata,
        "aggregation",
        words->event_type,
        words->events_from,
        words->value_property,
        words->dimensions,
        NULL};
    struct meter meter = {0};
    struct json *root;
    enum status status = body_parse(body, allowed, arena, &root, error);
    if (status == STATUS_OK)
        status = body_text(root, words->key, true, arena, &meter.key, error);
    if (status == STATUS_OK)
        status = body_text(root, words->event_type, true, arena, &meter.event_type, error);
    if (status == STATUS_OK)
        status = events_from_read(root, words, arena, &meter, error);
    if (status == STATUS_OK)
        status = facts_read(root, words, arena, &meter, error);
    if (status == STATUS_OK && words->is_name_required && meter.name == NULL)
        status = error_set(error, STATUS_INVALID, "name is required");
    if (status == STATUS_OK)
        status = aggregation_read(root, words, arena, &meter, error);
    if (status == STATUS_OK)
        status = value_read(root, words, arena, &meter, error);
    if (status == STATUS_OK)
        status = dimensions_read(root, words, arena, &meter, error);
    *out = meter;
    return status;
}

// meter_check says what is wrong in our words; a client knows its own.
enum status
meter_json_check(const struct meter *meter, const struct meter_words *words, struct error *error)
{
    const char *const names[][2] = {
        {"key",            words->key           },
        {"event_type",     words->event_type    },
        {"value_property", words->value_property},
        {"dimensions",     words->dimensions    },
    };
    enum status status = meter_check(meter, error);
    for (size_t i = 0; status && i < sizeof names / sizeof names[0]; i++) {
        size_t size = strlen(names[i][0]);
        struct error ours = *error;
        if (strncmp(ours.text, names[i][0], size) == 0 && strchr(" :", ours.text[size]) != NULL)
            return error_set(error, status, "%s%s", names[i][1], ours.text + size);
    }
    return status;
}

enum status
meter_json_change(
    struct bytes body,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *const allowed[] = {"name", "description", words->metadata, words->dimensions, NULL};
    struct json *root;
    enum status status = body_parse(body, allowed, arena, &root, error);
    if (status == STATUS_OK)
        status = facts_read(root, words, arena, meter, error);
    return status ? status : dimensions_read(root, words, arena, meter, error);
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

void
meter_json_write(
    const struct meter *meter,
    const struct meter_words *words,
    struct arena *arena,
    struct json_out *out)
{
    char id[ULID_SIZE + 1];
    meter_ulid(meter, id);
    json_begin(out, '{');
    member_text(out, "id", id);
    member_text(out, words->key, meter->key);
    member_text(out, "name", meter->name != NULL ? meter->name : meter->key);
    if (meter->description != NULL)
        member_text(out, "description", meter->description);
    if (meter->metadata != NULL) {
        json_key(out, words->metadata);
        json_raw(out, meter->metadata);
    }
    member_text(out, "aggregation", aggregation_text(meter->aggregation, words, arena));
    member_text(out, words->event_type, meter->event_type);
    if (meter->events_from_ns != 0)
        member_time(out, words->events_from, meter->events_from_ns);
    if (meter->value_property != NULL)
        member_text(out, words->value_property, meter->value_property);
    json_key(out, words->dimensions);
    json_begin(out, '{');
    for (uint32_t i = 0; i < meter->dimensions_count; i++)
        member_text(out, meter->dimensions[i].name, meter->dimensions[i].path);
    json_end(out, '}');
    member_time(out, words->created, meter->created_ns);
    member_time(out, words->updated, meter->updated_ns);
    json_end(out, '}');
}
