// The registry: one LMDB environment, with a database for meters and one for thresholds
// (ledger/threshold).
//
//   "counter"     the last id given, as state_meta_write stores a number
//   "meter/KEY"   u64 checksum (XXH3_64 of the rest, seeded by that of the key), then the
//                 definition as JSON
//
// JSON, so that a person can read it with mdb_dump and a later version can add fields.

#include "base/assert.h"
#include "base/buffer.h"
#include "base/json.h"
#include "base/pool.h"
#include "ledger/cell.h"
#include "ledger/files.h"
#include "ledger/registry_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    REGISTRY_KEY_MAX = 6 + METER_KEY_MAX,
    REGISTRY_CHECKSUM_SIZE = 8,
    REGISTRY_PATH_MAX = 4096,
};

static const uint64_t REGISTRY_MAP_SIZE = 256ULL << 20;
static const char registry_prefix[] = "meter/";
static const char registry_counter[] = "counter";

struct registry {
    struct env *env;
};

// A ledger's registry was made before its ledger.conf: one that is gone is damage, and an empty one
// in its place would hide which meters there were.
static enum status
registry_check_there(const char *data_dir, struct error *error)
{
    struct path path;
    struct stat data = {.st_size = 0};
    enum status status = path_make(&path, data_dir, "ledger.conf", error);
    if (status || access(path.text, F_OK) != 0)
        return status;
    status = path_make(&path, data_dir, "meters/data.mdb", error);
    if (status)
        return status;
    if (stat(path.text, &data) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot look at %s", path.text);
    if (data.st_size > 0)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_CORRUPT,
        "%s is gone: put it back from a backup, which has it as meters-N.mdb",
        path.text);
}

enum status
registry_open(const char *data_dir, struct registry **out, struct error *error)
{
    static const struct env_db_row dbs[REGISTRY_DB_COUNT] = {
        [REGISTRY_DB] = {"registry",   DB_KEY_BYTES},
        [REGISTRY_DB_THRESHOLDS] = {"thresholds", DB_KEY_BYTES},
    };
    const struct env_options options = {
        .map_size = REGISTRY_MAP_SIZE, .dbs = dbs, .dbs_count = REGISTRY_DB_COUNT};
    char path[REGISTRY_PATH_MAX];
    if (snprintf(path, sizeof path, "%s/meters", data_dir) >= (int)sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", data_dir);
    struct registry *registry = pool_take(1, sizeof *registry);
    if (registry == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for the meter registry");
    enum status status = registry_check_there(data_dir, error);
    if (!status)
        status = env_open(path, &options, &registry->env, error);
    if (status) {
        pool_give(registry);
        return status;
    }
    *out = registry;
    return STATUS_OK;
}

void
registry_close(struct registry *registry)
{
    if (registry == NULL)
        return;
    env_close(registry->env);
    pool_give(registry);
}

enum status
registry_copy(struct registry *registry, const char *file, struct error *error)
{
    return env_copy(registry->env, file, error);
}

struct env *
registry_env(struct registry *registry)
{
    return registry->env;
}

uint64_t
registry_revision(struct registry *registry)
{
    return env_revision(registry->env);
}

static struct bytes
registry_key(const char *key, char out[REGISTRY_KEY_MAX + 1])
{
    int size = snprintf(out, REGISTRY_KEY_MAX + 1, "%s%s", registry_prefix, key);
    must(size > 0 && size <= REGISTRY_KEY_MAX);
    return bytes_of(out, (size_t)size);
}

static uint64_t
registry_checksum(struct bytes key, struct bytes definition)
{
    return hash64(definition, hash64(key, 0));
}

static void
write_text(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
write_number(struct json_out *out, const char *key, int64_t number)
{
    json_key(out, key);
    json_int(out, number);
}

static void
write_filters(struct json_out *out, const struct meter *meter)
{
    json_key(out, "filters");
    json_begin(out, '[');
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        const struct meter_filter *filter = &meter->filters[i];
        json_begin(out, '{');
        write_text(out, "path", filter->path);
        json_key(out, "values");
        json_begin(out, '[');
        for (uint32_t k = 0; k < filter->values_count; k++)
            json_text(out, filter->values[k]);
        json_end(out, ']');
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
meter_write_json(const struct meter *meter, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    write_text(&out, "key", meter->key);
    write_text(&out, "event_type", meter->event_type);
    write_text(&out, "aggregation", aggregation_name(meter->aggregation));
    write_text(&out, "value_property", meter->value_property);
    write_text(&out, "unit", meter->unit);
    write_text(&out, "description", meter->description);
    write_text(&out, "name", meter->name);
    write_text(&out, "metadata", meter->metadata);
    json_key(&out, "dimensions");
    json_begin(&out, '{');
    for (uint32_t i = 0; i < meter->dimensions_count; i++) {
        write_text(&out, meter->dimensions[i].name, meter->dimensions[i].path);
    }
    json_end(&out, '}');
    write_filters(&out, meter);
    if (meter->events_from_ns != 0)
        write_number(&out, "events_from_ns", meter->events_from_ns);
    write_number(&out, "id", meter->id);
    write_number(&out, "version", meter->version);
    write_number(&out, "created_ns", meter->created_ns);
    write_number(&out, "updated_ns", meter->updated_ns);
    json_end(&out, '}');
}

// NULL when the member is missing, null or no string.
static const char *
member_text(const struct json *object, const char *key, struct arena *arena)
{
    const struct json *member = json_member(object, key);
    if (member == NULL || member->type != JSON_STRING)
        return NULL;
    return arena_text_of(arena, member->text);
}

static bool
member_number(const struct json *object, const char *key, int64_t min, int64_t max, int64_t *out)
{
    const struct json *member = json_member(object, key);
    if (member == NULL || json_int64(member, out) != STATUS_OK)
        return false;
    return *out >= min && *out <= max;
}

static bool
meter_read_dimensions(const struct json *root, struct arena *arena, struct meter *meter)
{
    const struct json *dimensions = json_member(root, "dimensions");
    if (dimensions == NULL || dimensions->type != JSON_OBJECT ||
        dimensions->count > METER_DIMENSIONS_MAX)
        return false;
    for (const struct json *each = dimensions->first; each != NULL; each = each->next) {
        if (each->type != JSON_STRING)
            return false;
        struct meter_dimension *dimension = &meter->dimensions[meter->dimensions_count++];
        dimension->name = arena_text_of(arena, each->key);
        dimension->path = arena_text_of(arena, each->text);
    }
    return true;
}

static bool
filter_read(const struct json *node, struct arena *arena, struct meter *meter)
{
    const char *path = member_text(node, "path", arena);
    const struct json *values = json_member(node, "values");
    if (path == NULL || values == NULL || values->type != JSON_ARRAY)
        return false;
    for (const struct json *each = values->first; each != NULL; each = each->next) {
        if (each->type != JSON_STRING ||
            meter_filter_add(meter, path, arena_text_of(arena, each->text), arena, NULL))
            return false;
    }
    return true;
}

// Seldom given.
static bool
meter_read_events_from(const struct json *root, struct meter *meter)
{
    static const char key[] = "events_from_ns";
    return json_member(root, key) == NULL ||
           member_number(root, key, 1, INT64_MAX, &meter->events_from_ns);
}

// Definitions older than filters have none.
static bool
meter_read_filters(const struct json *root, struct arena *arena, struct meter *meter)
{
    const struct json *filters = json_member(root, "filters");
    if (filters == NULL)
        return true;
    bool is_sound = filters->type == JSON_ARRAY;
    for (const struct json *each = filters->first; each != NULL && is_sound; each = each->next)
        is_sound = filter_read(each, arena, meter);
    return is_sound;
}

static bool
meter_read_json(const struct json *root, struct arena *arena, struct meter *out)
{
    struct meter meter = {
        .key = member_text(root, "key", arena),
        .event_type = member_text(root, "event_type", arena),
        .value_property = member_text(root, "value_property", arena),
        .unit = member_text(root, "unit", arena),
        .description = member_text(root, "description", arena),
        .name = member_text(root, "name", arena),
        .metadata = member_text(root, "metadata", arena),
    };
    const struct json *aggregation = json_member(root, "aggregation");
    int64_t id = 0;
    int64_t version = 0;
    bool is_sound =
        meter.key != NULL && meter.event_type != NULL && aggregation != NULL &&
        aggregation->type == JSON_STRING &&
        aggregation_parse(aggregation->text, &meter.aggregation) &&
        meter_read_dimensions(root, arena, &meter) && meter_read_filters(root, arena, &meter) &&
        meter_read_events_from(root, &meter) && member_number(root, "id", 1, UINT32_MAX, &id) &&
        member_number(root, "version", 1, UINT32_MAX, &version) &&
        member_number(root, "created_ns", INT64_MIN, INT64_MAX, &meter.created_ns) &&
        member_number(root, "updated_ns", INT64_MIN, INT64_MAX, &meter.updated_ns);
    if (!is_sound)
        return false;
    meter.id = (uint32_t)id;
    meter.version = (uint32_t)version;
    *out = meter;
    return true;
}

static enum status
meter_read(
    struct bytes key,
    struct bytes value,
    struct arena *arena,
    struct meter *out,
    struct error *error)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    struct bytes definition = arena_bytes(arena, bytes_of(in.at, cursor_left(&in)));
    struct json *root;
    struct json_limits limits = {0};
    if (cursor_failed(&in) || checksum != registry_checksum(key, definition) ||
        json_parse(definition, &limits, arena, &root, NULL) != STATUS_OK ||
        !meter_read_json(root, arena, out)) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "the meter registry's entry %.*s is damaged: remove and define that meter again",
            (int)key.size,
            (const char *)key.data);
    }
    return STATUS_OK;
}

static bool
entry_is_sound(struct bytes key, struct bytes value)
{
    static const size_t prefix_size = sizeof registry_prefix - 1;
    uint64_t counter;
    if (bytes_equal(key, bytes_text("counter")))
        return state_meta_read(key, value, &counter) == STATUS_OK;
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    return key.size > prefix_size && memcmp(key.data, registry_prefix, prefix_size) == 0 &&
           !cursor_failed(&in) &&
           checksum == registry_checksum(key, bytes_of(in.at, cursor_left(&in)));
}

// Before anybody is told that something is not there: it may be there under a damaged key, or
// behind one.
static enum status
registry_check(struct tx *tx, struct error *error)
{
    bool is_whole = tx_is_whole(tx, REGISTRY_DB, entry_is_sound);
    enum status status = tx_check(tx, error);
    if (!status && !is_whole)
        return error_set(
            error,
            STATUS_CORRUPT,
            "the meter registry is damaged: `tally ledger verify` says where; restore it from a "
            "backup");
    return status;
}

static enum status
registry_read(
    struct tx *tx, const char *key, struct arena *arena, struct meter *out, struct error *error)
{
    char text[REGISTRY_KEY_MAX + 1];
    struct bytes value;
    if (strlen(key) > METER_KEY_MAX)
        return error_set(error, STATUS_NOT_FOUND, "there is no meter %s", key);
    struct bytes entry = registry_key(key, text);
    if (!tx_get(tx, REGISTRY_DB, entry, &value)) {
        enum status status = registry_check(tx, error);
        return status ? status
                      : error_set(error, STATUS_NOT_FOUND, "there is no meter \"%s\"", key);
    }
    return meter_read(entry, value, arena, out, error);
}

static int
dimension_compare(const void *a, const void *b)
{
    return strcmp(
        ((const struct meter_dimension *)a)->name, ((const struct meter_dimension *)b)->name);
}

// Paths as they are stored, dimensions in order.
static enum status
meter_canonical(
    const struct meter *meter, struct arena *arena, struct meter *out, struct error *error)
{
    *out = *meter;
    enum status status = STATUS_OK;
    if (meter->value_property != NULL)
        status = meter_path_canonical(meter->value_property, arena, &out->value_property, error);
    for (uint32_t i = 0; status == STATUS_OK && i < out->dimensions_count; i++) {
        status =
            meter_path_canonical(meter->dimensions[i].path, arena, &out->dimensions[i].path, error);
    }
    for (uint32_t i = 0; status == STATUS_OK && i < out->filters_count; i++)
        status = meter_path_canonical(meter->filters[i].path, arena, &out->filters[i].path, error);
    if (status)
        return status;
    qsort(out->dimensions, out->dimensions_count, sizeof out->dimensions[0], dimension_compare);
    meter_filters_sort(out, arena);
    return STATUS_OK;
}

static bool
text_is_same(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

enum status
registry_next_id(struct tx *tx, uint32_t *out, struct error *error)
{
    struct bytes key = bytes_text(registry_counter);
    struct bytes value;
    uint64_t last = 0;
    bool is_there = tx_get(tx, REGISTRY_DB, key, &value);
    if (is_there && state_meta_read(key, value, &last))
        return error_set(error, STATUS_CORRUPT, "the meter registry's counter is damaged");
    // An id that is given twice would add up two meters.
    enum status status = is_there ? STATUS_OK : registry_check(tx, error);
    if (status)
        return status;
    if (last >= UINT32_MAX)
        return error_set(error, STATUS_FULL, "the meter registry has given its last id");
    uint8_t stored[16];
    state_meta_write(key, last + 1, stored);
    tx_put(tx, REGISTRY_DB, key, bytes_of(stored, sizeof stored));
    *out = (uint32_t)last + 1;
    return STATUS_OK;
}

// Decides what the new definition is beside the old (NULL: there is none), and fills id, version
// and times.
static enum status
meter_succeed(
    struct tx *tx,
    const struct meter *old,
    int64_t now_ns,
    struct meter *meter,
    enum meter_change *out_change,
    struct error *error)
{
    meter->created_ns = old != NULL ? old->created_ns : now_ns;
    meter->updated_ns = now_ns;
    if (old != NULL && meter->name == NULL)
        meter->name = old->name;
    if (old != NULL && meter->metadata == NULL)
        meter->metadata = old->metadata;
    if (old != NULL && meter_counts_same(old, meter)) {
        meter->id = old->id;
        meter->version = old->version;
        bool is_same = text_is_same(old->unit, meter->unit) &&
                       text_is_same(old->description, meter->description) &&
                       text_is_same(old->name, meter->name) &&
                       text_is_same(old->metadata, meter->metadata);
        *out_change = is_same ? METER_UNCHANGED : METER_DESCRIBED;
        return STATUS_OK;
    }
    // The counter is an entry too, hence not less than but at most.
    if (old == NULL && tx_count(tx, REGISTRY_DB) > METERS_MAX) {
        return error_set(
            error, STATUS_FULL, "there are %d meters, the most allowed: remove one", METERS_MAX);
    }
    meter->version = old != NULL ? old->version + 1 : 1;
    *out_change = old != NULL ? METER_REDEFINED : METER_CREATED;
    return registry_next_id(tx, &meter->id, error);
}

static void
registry_write(struct tx *tx, const struct meter *meter)
{
    char text[REGISTRY_KEY_MAX + 1];
    struct bytes key = registry_key(meter->key, text);
    scoped(buffer_done) struct buffer value = {0};
    buffer_u64le(&value, 0);
    meter_write_json(meter, &value);
    must(!buffer_failed(&value));
    struct bytes definition =
        bytes_of(value.data + REGISTRY_CHECKSUM_SIZE, value.size - REGISTRY_CHECKSUM_SIZE);
    uint64_t checksum = registry_checksum(key, definition);
    memcpy(value.data, &checksum, sizeof checksum);
    tx_put(tx, REGISTRY_DB, key, buffer_view(&value));
}

enum status
registry_put(
    struct registry *registry,
    const struct meter *meter,
    int64_t now_ns,
    enum meter_change *out_change,
    struct error *error)
{
    scoped(arena_done) struct arena scratch = {0};
    struct meter next = {0};
    struct meter old = {0};
    enum meter_change change = METER_UNCHANGED;
    enum status status = meter_check(meter, error);
    if (status == STATUS_OK)
        status = meter_canonical(meter, &scratch, &next, error);
    if (status)
        return status;
    scoped(tx_done) struct tx tx = tx_write(registry->env);
    struct error missing;
    enum status found = registry_read(&tx, next.key, &scratch, &old, &missing);
    // A damaged definition cannot be compared with: it is written anew, under a new id.
    if (found != STATUS_OK && found != STATUS_NOT_FOUND && found != STATUS_CORRUPT)
        return error_set(error, found, "%s", missing.text);
    status = meter_succeed(&tx, found == STATUS_OK ? &old : NULL, now_ns, &next, &change, error);
    if (status)
        return status;
    if (change != METER_UNCHANGED) {
        registry_write(&tx, &next);
        status = tx_commit(&tx, error);
    }
    if (status == STATUS_OK && out_change != NULL)
        *out_change = change;
    return status;
}

enum status
registry_remove(struct registry *registry, const char *key, struct error *error)
{
    char text[REGISTRY_KEY_MAX + 1];
    if (strlen(key) > METER_KEY_MAX)
        return error_set(error, STATUS_NOT_FOUND, "there is no meter %s", key);
    scoped(tx_done) struct tx tx = tx_write(registry->env);
    bool was_there = tx_delete(&tx, REGISTRY_DB, registry_key(key, text));
    enum status status = tx_check(&tx, error);
    if (status)
        return status;
    if (!was_there)
        return error_set(error, STATUS_NOT_FOUND, "there is no meter \"%s\"", key);
    return tx_commit(&tx, error);
}

enum status
registry_find(
    struct registry *registry,
    const char *key,
    struct arena *arena,
    struct meter *out,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(registry->env);
    return registry_read(&tx, key, arena, out, error);
}

enum status
registry_list(
    struct registry *registry,
    struct arena *arena,
    struct meter **out_meters,
    uint32_t *out_count,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(registry->env);
    uint64_t entries = tx_count(&tx, REGISTRY_DB);
    struct meter *meters = arena_array(arena, entries, struct meter);
    uint32_t count = 0;
    enum status status = STATUS_OK;
    struct bytes prefix = bytes_text(registry_prefix);
    scoped(walk_done) struct walk walk = walk_open(&tx, REGISTRY_DB);
    for (bool more = walk_seek(&walk, prefix); more && status == STATUS_OK;
         more = walk_next(&walk)) {
        if (count == entries || walk.key.size <= prefix.size ||
            memcmp(walk.key.data, prefix.data, prefix.size) != 0)
            break;
        status = meter_read(walk.key, walk.value, arena, &meters[count++], error);
    }
    // A meter that is missing here counts no more, and its cells are deleted.
    if (status == STATUS_OK)
        status = registry_check(&tx, error);
    if (status)
        return status;
    *out_meters = meters;
    *out_count = count;
    return STATUS_OK;
}
