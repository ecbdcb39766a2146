#pragma once
// Meters: what is counted, of which event type, by which dimensions; and the registry that keeps
// them.
//
//     struct meter meter = {.key = "tokens", .event_type = "llm", .aggregation = AGGREGATION_SUM,
//                           .value_property = "$.tokens"};
//     registry_put(registry, &meter, now_ns, &change, &error);
//     registry_list(registry, &arena, &meters, &error);
//
// The registry is one LMDB environment (DIR/meters), written by tools, api or tests under LMDB's
// own lock and polled by tallyd. A definition's change that alters what it counts (event_type,
// aggregation, value_property, dimensions, filters, events_from_ns) makes a new version with a new
// id; cells of the old id are never read again. Other changes (unit, description, name) keep the
// id.

#include "base/arena.h"
#include "base/status.h"

#include <stdint.h>

enum aggregation {
    AGGREGATION_COUNT,
    AGGREGATION_SUM,
    AGGREGATION_MIN,
    AGGREGATION_MAX,
    AGGREGATION_AVG,
    AGGREGATION_UNIQUE_COUNT,  // distinct texts of the value, exactly
    AGGREGATION_LATEST,        // the greatest time, then the later in the log
    AGGREGATION_WEIGHTED_SUM,  // each value times the share of the period that is left after it
};
enum { AGGREGATION_KINDS = AGGREGATION_WEIGHTED_SUM + 1 };
#define AGGREGATION_NAMES "count, sum, min, max, avg, unique_count, latest or weighted_sum"

enum {
    METER_KEY_MAX = 64,
    METER_DIMENSIONS_MAX = 16,
    METER_FILTERS_MAX = 8,
    METER_FILTER_VALUES_MAX = 64,
    METER_PATH_DEPTH_MAX = 8,
    METERS_MAX = 1000,
};

struct meter_dimension {
    const char *name;  // ^[a-zA-Z_][0-9a-zA-Z_]*$, up to 64
    const char *path;  // "$.region" or "$.a.b"
};

// The text at path is one of the values. A number or boolean is its text, as a dimension's; what is
// missing, nil, a map or an array passes no filter.
struct meter_filter {
    const char *path;
    const char *const *values;  // 1-255 bytes of UTF-8 each; sorted in the registry
    uint32_t values_count;      // 1 to METER_FILTER_VALUES_MAX
};

struct meter {
    const char *key;         // ^[a-z0-9]+(_[a-z0-9]+)*$, up to 64
    const char *event_type;  // 1-100 bytes
    enum aggregation aggregation;
    const char *value_property;  // path, or NULL: the event's value; NULL for COUNT
    // Of the events' own time: those before it do not count. 0: all do.
    int64_t events_from_ns;
    const char *unit;         // or NULL
    const char *description;  // or NULL
    // What an API's clients call it and say of it besides: a JSON object. NULL keeps what is there
    // when the meter is written.
    const char *name;
    const char *metadata;
    struct meter_dimension dimensions[METER_DIMENSIONS_MAX];  // sorted by name
    uint32_t dimensions_count;
    struct meter_filter filters[METER_FILTERS_MAX];  // all must pass; sorted by path, one of a path
    uint32_t filters_count;
    // Given by the registry:
    uint32_t id;  // rises with every version, never reused
    uint32_t version;
    int64_t created_ns, updated_ns;
};

const char *aggregation_name(enum aggregation aggregation);        // "count", "unique_count", ...
bool aggregation_parse(struct bytes text, enum aggregation *out);  // any case

// Checks every rule above; error names the field and what is allowed.
enum status meter_check(const struct meter *meter, struct error *error) CHECKED;
// Accepts "$.a.b", "a.b"; writes the canonical "$.a.b" into the arena.
enum status meter_path_canonical(
    const char *path, struct arena *arena, const char **out, struct error *error) CHECKED;
// Adds a value to the filter of this path, which is made when there is none; the texts are
// borrowed. error: too many.
enum status meter_filter_add(
    struct meter *meter,
    const char *path,
    const char *value,
    struct arena *arena,
    struct error *error) CHECKED;
// Filters and their values in the order of the registry.
void meter_filters_sort(struct meter *meter, struct arena *arena);
// With all its texts in the arena.
struct meter meter_copy(const struct meter *meter, struct arena *arena);
// Whether both count the same things the same way.
bool meter_counts_same(const struct meter *a, const struct meter *b);
// The index of a dimension by name, or -1.
int meter_dimension_index(const struct meter *meter, const char *name);

struct registry;

enum meter_change { METER_UNCHANGED, METER_CREATED, METER_DESCRIBED, METER_REDEFINED };

// data_dir: the ledger's directory, which must exist (ledger_create makes DIR/meters too). One
// handle per process.
enum status registry_open(const char *data_dir, struct registry **out, struct error *error) CHECKED;
void registry_close(struct registry *registry);
// Checks, then writes durably. out_change may be NULL.
enum status registry_put(
    struct registry *registry,
    const struct meter *meter,
    int64_t now_ns,
    enum meter_change *out_change,
    struct error *error) CHECKED;
// STATUS_NOT_FOUND when there is none.
enum status
registry_remove(struct registry *registry, const char *key, struct error *error) CHECKED;
enum status registry_find(
    struct registry *registry,
    const char *key,
    struct arena *arena,
    struct meter *out,
    struct error *error) CHECKED;
// All meters sorted by key, in the arena.
enum status registry_list(
    struct registry *registry,
    struct arena *arena,
    struct meter **out_meters,
    uint32_t *out_count,
    struct error *error) CHECKED;
// Writes all of it to a file that serves as the data.mdb of another registry. For backups.
enum status registry_copy(struct registry *registry, const char *file, struct error *error) CHECKED;
// Rises with every change: what a poller compares. Cheap.
uint64_t registry_revision(struct registry *registry);
