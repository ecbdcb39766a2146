#include "api/meter_json.h"

#include "api/form.h"
#include "api/json_path.h"
#include "api/member.h"
#include "api/ulid.h"
#include "base/assert.h"
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
    .deleted = "deletedAt",
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
    .deleted = "deleted_at",
    .is_name_required = true,
    .reserves_names = true,
};

// What a body says of a meter.
struct wish {
    const char *key, *name, *description, *aggregation, *event_type, *value_property;
    struct form_time events_from;
    const struct json *metadata, *dimensions;
};

// is_new: what must be there, is. What our answers say besides is not looked at.
static enum status
wish_read(
    const struct json *root,
    const struct meter_words *words,
    bool is_new,
    struct arena *arena,
    struct wish *out,
    struct error *error)
{
    const bool has_name = is_new && words->is_name_required;
    // clang-format off
    const struct form_row rows[] = {
        {words->key, FORM_TEXT, offsetof(struct wish, key), 0, is_new},
        {words->event_type, FORM_TEXT, offsetof(struct wish, event_type), 0, is_new},
        {words->events_from, FORM_TIME, offsetof(struct wish, events_from), 0, false},
        {"name", FORM_TEXT, offsetof(struct wish, name), 0, has_name},
        {"description", FORM_ANY_TEXT, offsetof(struct wish, description), 0, false},
        {words->metadata, FORM_VALUE, offsetof(struct wish, metadata), 0, false},
        {"aggregation", FORM_TEXT, offsetof(struct wish, aggregation), 0, is_new},
        {words->value_property, FORM_TEXT, offsetof(struct wish, value_property), 0, false},
        {words->dimensions, FORM_OBJECT, offsetof(struct wish, dimensions), 0, false},
        {.name = "id", .type = FORM_IGNORED},
        {.name = "annotations", .type = FORM_IGNORED},
        {.name = words->created, .type = FORM_IGNORED},
        {.name = words->updated, .type = FORM_IGNORED},
        {.name = words->deleted, .type = FORM_IGNORED},
        {.name = NULL},
    };
    // clang-format on
    return form_object_read(root, rows, arena, out, error);
}

static enum status
path_take(
    const char *name, const char *text, struct arena *arena, const char **out, struct error *error)
{
    must(text != NULL);
    if (text[0] != '$')
        return error_set(error, STATUS_INVALID, "%s: the path %s must begin with $", name, text);
    const char *plain = json_path_plain(text, arena);
    enum status status = meter_path_canonical(plain, arena, out, error);
    return status ? error_prefix(error, "%s", name) : STATUS_OK;
}

static enum status
dimension_take(
    const struct json *item,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *name = arena_text_of(arena, item->key);
    struct meter_dimension *dimension = &meter->dimensions[meter->dimensions_count++];
    bool is_text = item->type == JSON_STRING && item->text.size > 0 &&
                   memchr(item->text.data, '\0', item->text.size) == NULL;
    dimension->name = name;
    if (words->reserves_names && (strcmp(name, "subject") == 0 || strcmp(name, "customer_id") == 0))
        return error_set(
            error,
            STATUS_INVALID,
            "%s.%s: usage is grouped by it anyway; call it something else",
            words->dimensions,
            name);
    if (!is_text)
        return error_set(
            error, STATUS_INVALID, "%s.%s must be a path: $.%s", words->dimensions, name, name);
    const char *text = arena_text_of(arena, item->text);
    enum status status = path_take(words->dimensions, text, arena, &dimension->path, error);
    if (status)
        return status;
    if (meter->value_property != NULL && strcmp(dimension->path, meter->value_property) == 0)
        return error_set(
            error, STATUS_INVALID, "%s: %s is the value's own path", words->dimensions, name);
    return STATUS_OK;
}

// None replace those of the meter too.
static enum status
dimensions_take(
    const struct json *object,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    enum status status = STATUS_OK;
    meter->dimensions_count = 0;
    if (object != NULL && object->count > METER_DIMENSIONS_MAX)
        return error_set(
            error,
            STATUS_INVALID,
            "%s must be an object of at most %d names and paths",
            words->dimensions,
            METER_DIMENSIONS_MAX);
    for (const struct json *item = object != NULL ? object->first : NULL; item != NULL && !status;
         item = item->next)
        status = dimension_take(item, words, arena, meter, error);
    return status;
}

// Name, description and metadata; what is absent stays.
static enum status
facts_take(
    const struct json *root,
    const struct wish *wish,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    if (wish->name != NULL)
        meter->name = wish->name;
    if (json_member(root, "description") != NULL)
        meter->description = wish->description;
    if (json_member(root, words->metadata) == NULL)
        return STATUS_OK;
    meter->metadata = "{}";
    if (wish->metadata == NULL)
        return STATUS_OK;
    meter->metadata = form_print(wish->metadata, arena);
    return form_strings_check(wish->metadata, words->metadata, error);
}

static enum status
value_take(
    const struct wish *wish,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    const char *name = words->value_property, *value = wish->value_property;
    bool is_count = meter->aggregation == AGGREGATION_COUNT;
    if (is_count && value != NULL)
        return error_set(error, STATUS_INVALID, "%s is not for counts", name);
    if (!is_count && value == NULL)
        return error_set(error, STATUS_INVALID, "%s is required but for counts", name);
    return is_count ? STATUS_OK : path_take(name, value, arena, &meter->value_property, error);
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
aggregation_take(
    const struct wish *wish,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    for (int i = 0; i < AGGREGATION_KINDS; i++) {
        const char *name = aggregation_text((enum aggregation)i, words, arena);
        if (strcmp(name, wish->aggregation) == 0) {
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
    struct json *root;
    struct wish wish = {.key = NULL};
    enum status status = form_parse(body, arena, &root, error);
    if (status == STATUS_OK)
        status = wish_read(root, words, true, arena, &wish, error);
    if (status)
        return status;
    *out = (struct meter){
        .key = wish.key, .event_type = wish.event_type, .events_from_ns = wish.events_from.ns};
    if (wish.events_from.is_given && out->events_from_ns <= 0)
        return error_set(
            error, STATUS_INVALID, "%s must be after the beginning of 1970", words->events_from);
    status = facts_take(root, &wish, words, arena, out, error);
    if (status == STATUS_OK)
        status = aggregation_take(&wish, words, arena, out, error);
    if (status == STATUS_OK)
        status = value_take(&wish, words, arena, out, error);
    return status ? status : dimensions_take(wish.dimensions, words, arena, out, error);
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

// A client may send back all that it was shown, but only some of it changes.
static enum status
fixed_check(
    const struct wish *wish,
    const struct meter_words *words,
    struct arena *arena,
    const struct meter *meter,
    struct error *error)
{
    const char *aggregation = aggregation_text(meter->aggregation, words, arena);
    const char *value = wish->value_property;
    value = value != NULL ? json_path_plain(value, arena) : NULL;
    const struct {
        const char *name, *asked, *is;
    } rows[] = {
        {words->key,            wish->key,         meter->key           },
        {words->event_type,     wish->event_type,  meter->event_type    },
        {"aggregation",         wish->aggregation, aggregation          },
        {words->value_property, value,             meter->value_property},
    };
    const struct form_time *from = &wish->events_from;
    const char *changed = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].asked != NULL && (rows[i].is == NULL || strcmp(rows[i].asked, rows[i].is) != 0))
            changed = rows[i].name;
    if (from->is_given && from->ns != meter->events_from_ns)
        changed = words->events_from;
    return changed == NULL ? STATUS_OK
                           : error_set(
                                 error,
                                 STATUS_INVALID,
                                 "%s of a meter stays as it is: make another meter",
                                 changed);
}

enum status
meter_json_change(
    struct bytes body,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error)
{
    struct json *root;
    struct wish wish = {.key = NULL};
    enum status status = form_parse(body, arena, &root, error);
    if (status == STATUS_OK)
        status = wish_read(root, words, false, arena, &wish, error);
    if (status == STATUS_OK)
        status = fixed_check(&wish, words, arena, meter, error);
    if (status == STATUS_OK)
        status = facts_take(root, &wish, words, arena, meter, error);
    if (status || json_member(root, words->dimensions) == NULL)
        return status;
    return dimensions_take(wish.dimensions, words, arena, meter, error);
}

void
meter_ulid(const struct meter *meter, char out[ULID_SIZE + 1])
{
    ulid_write(
        meter->created_ns, hash128(bytes_text(meter->key), (uint64_t)meter->created_ns), out);
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
