#include "base/pack.h"
#include "ledger/lmdb_env.h"
#include "ledger/meter.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>

static const struct meter tokens = {
    .key = "tokens",
    .event_type = "llm \"quoted\"",
    .aggregation = AGGREGATION_SUM,
    .value_property = "usage.tokens",
    .unit = "token",
    .description = "tokens \xc3\xa4",
    .dimensions = {{"region", "$.region"}, {"model", "model"}},
    .dimensions_count = 2,
};

static struct registry *
open_registry(const char *dir)
{
    struct error error = {0};
    struct registry *registry;
    succeed(registry_open(dir, &registry, &error), &error);
    return registry;
}

static enum meter_change
put(struct registry *registry, const struct meter *meter, int64_t now_ns)
{
    struct error error = {0};
    enum meter_change change = METER_UNCHANGED;
    succeed(registry_put(registry, meter, now_ns, &change, &error), &error);
    return change;
}

Test(registry, gives_back_what_was_put_in_its_canonical_form)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter read;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    cr_assert_eq(put(registry, &tokens, 1000), METER_CREATED);
    registry_close(registry);
    registry = open_registry(writing.dir);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_str_eq(read.key, "tokens");
    cr_assert_str_eq(read.event_type, tokens.event_type);
    cr_assert_eq(read.aggregation, AGGREGATION_SUM);
    cr_assert_str_eq(read.value_property, "$.usage.tokens");
    cr_assert_str_eq(read.unit, "token");
    cr_assert_str_eq(read.description, tokens.description);
    cr_assert_eq(read.dimensions_count, 2);
    cr_assert_str_eq(read.dimensions[0].name, "model");
    cr_assert_str_eq(read.dimensions[0].path, "$.model");
    cr_assert_str_eq(read.dimensions[1].name, "region");
    cr_assert_eq(read.id, 1);
    cr_assert_eq(read.version, 1);
    cr_assert_eq(read.created_ns, 1000);
    cr_assert_eq(read.updated_ns, 1000);
    cr_assert_eq(registry_find(registry, "other", &arena, &read, &error), STATUS_NOT_FOUND);
    registry_close(registry);
    writing_end(&writing);
}

Test(registry, tells_a_new_version_from_new_words)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter read;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    (void)put(registry, &tokens, 1);
    uint64_t revision = registry_revision(registry);
    cr_assert_eq(put(registry, &tokens, 2), METER_UNCHANGED);
    cr_assert_eq(registry_revision(registry), revision, "nothing was written");
    struct meter changed = tokens;
    changed.unit = NULL;
    cr_assert_eq(put(registry, &changed, 3), METER_DESCRIBED);
    cr_assert_gt(registry_revision(registry), revision);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_null(read.unit);
    cr_assert_eq(read.id, 1);
    cr_assert_eq(read.version, 1);
    cr_assert_eq(read.created_ns, 1);
    cr_assert_eq(read.updated_ns, 3);
    changed.dimensions_count = 1;
    cr_assert_eq(put(registry, &changed, 4), METER_REDEFINED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_eq(read.id, 2);
    cr_assert_eq(read.version, 2);
    cr_assert_eq(read.created_ns, 1);
    static const char *const values[] = {"b", "a"};
    changed.filters[0] = (struct meter_filter){"x", values, 2};
    changed.filters_count = 1;
    cr_assert_eq(put(registry, &changed, 5), METER_REDEFINED);
    cr_assert_eq(put(registry, &changed, 6), METER_UNCHANGED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_eq(read.version, 3);
    cr_assert_eq(read.filters_count, 1);
    cr_assert_str_eq(read.filters[0].path, "$.x");
    cr_assert_eq(read.filters[0].values_count, 2);
    cr_assert_str_eq(read.filters[0].values[0], "a");
    cr_assert_str_eq(read.filters[0].values[1], "b");
    changed.filters[0].values_count = 1;
    cr_assert_eq(put(registry, &changed, 7), METER_REDEFINED);
    changed.events_from_ns = 1795348800000000001;
    cr_assert_eq(put(registry, &changed, 8), METER_REDEFINED);
    cr_assert_eq(put(registry, &changed, 9), METER_UNCHANGED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_eq(read.events_from_ns, 1795348800000000001);
    changed.events_from_ns = -1;
    cr_assert_eq(registry_put(registry, &changed, 10, NULL, &error), STATUS_INVALID, "before 1970");
    registry_close(registry);
    writing_end(&writing);
}

Test(registry, keeps_a_name_and_metadata_that_a_writer_does_not_know)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter read;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    struct meter named = tokens;
    named.name = "Tokens \xc3\xa4";
    named.metadata = "{\"team\":\"ml\"}";
    (void)put(registry, &tokens, 1);
    cr_assert_eq(put(registry, &named, 2), METER_DESCRIBED);
    cr_assert_eq(put(registry, &named, 3), METER_UNCHANGED);
    cr_assert_eq(put(registry, &tokens, 4), METER_UNCHANGED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_str_eq(read.name, named.name);
    cr_assert_str_eq(read.metadata, named.metadata);
    named.metadata = "{}";
    cr_assert_eq(put(registry, &named, 5), METER_DESCRIBED);
    struct meter changed = tokens;
    changed.dimensions_count = 1;
    cr_assert_eq(put(registry, &changed, 6), METER_REDEFINED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_str_eq(read.name, named.name);
    cr_assert_str_eq(read.metadata, "{}");
    registry_close(registry);
    writing_end(&writing);
}

Test(registry, never_gives_an_id_twice)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter read;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    (void)put(registry, &tokens, 1);
    succeed(registry_remove(registry, "tokens", &error), &error);
    cr_assert_eq(registry_remove(registry, "tokens", &error), STATUS_NOT_FOUND);
    cr_assert_eq(put(registry, &tokens, 2), METER_CREATED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_eq(read.id, 2);
    cr_assert_eq(read.version, 1);
    registry_close(registry);
    writing_end(&writing);
}

Test(registry, lists_by_key)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter *meters;
    uint32_t count = 99;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    succeed(registry_list(registry, &arena, &meters, &count, &error), &error);
    cr_assert_eq(count, 0);
    static const char *const keys[] = {"b", "a", "ab", "c9"};
    for (size_t i = 0; i < 4; i++) {
        struct meter meter = tokens;
        meter.key = keys[i];
        (void)put(registry, &meter, 1);
    }
    succeed(registry_list(registry, &arena, &meters, &count, &error), &error);
    cr_assert_eq(count, 4);
    static const char *const sorted[] = {"a", "ab", "b", "c9"};
    for (size_t i = 0; i < 4; i++)
        cr_assert_str_eq(meters[i].key, sorted[i]);
    registry_close(registry);
    writing_end(&writing);
}

Test(registry, refuses_what_is_wrong_and_keeps_what_was)
{
    struct writing writing;
    struct error error = {0};
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    (void)put(registry, &tokens, 1);
    uint64_t revision = registry_revision(registry);
    struct meter bad = tokens;
    bad.dimensions[1].path = "a..b";
    cr_assert_eq(registry_put(registry, &bad, 2, NULL, &error), STATUS_INVALID);
    cr_assert_eq(registry_revision(registry), revision);
    char long_key[100];
    memset(long_key, 'a', sizeof long_key);
    long_key[99] = '\0';
    cr_assert_eq(registry_remove(registry, long_key, &error), STATUS_NOT_FOUND);
    registry_close(registry);
    cr_assert_eq(registry_open("/nonexistent", &registry, &error), STATUS_NOT_FOUND);
    writing_end(&writing);
}

Test(registry, holds_as_many_as_it_says)
{
    struct writing writing;
    struct error error = {0};
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    struct meter meter = {.event_type = "t", .aggregation = AGGREGATION_COUNT};
    char key[16];
    meter.key = key;
    for (int i = 0; i < METERS_MAX; i++) {
        (void)snprintf(key, sizeof key, "m%d", i);
        (void)put(registry, &meter, 1);
    }
    (void)snprintf(key, sizeof key, "m%d", METERS_MAX);
    cr_assert_eq(registry_put(registry, &meter, 1, NULL, &error), STATUS_FULL);
    (void)snprintf(key, sizeof key, "m1");
    meter.event_type = "u";
    cr_assert_eq(put(registry, &meter, 1), METER_REDEFINED);
    registry_close(registry);
    writing_end(&writing);
}

// Flips one bit of the stored definition.
static void
damage(const char *dir, const char *key, size_t bit)
{
    static const struct env_db_row dbs[] = {
        {"registry",   DB_KEY_BYTES},
        {"thresholds", DB_KEY_BYTES}
    };
    const struct env_options options = {.map_size = 256 << 20, .dbs = dbs, .dbs_count = 2};
    struct error error = {0};
    struct bytes value;
    struct env *env;
    char path[128];
    (void)snprintf(path, sizeof path, "%s/meters", dir);
    succeed(env_open(path, &options, &env, &error), &error);
    struct tx tx = tx_write(env);
    cr_assert(tx_get(&tx, 0, bytes_text(key), &value));
    uint8_t *copy = malloc(value.size);
    cr_assert_not_null(copy);
    memcpy(copy, value.data, value.size);
    copy[bit / 8 % value.size] ^= (uint8_t)(1U << bit % 8);
    tx_put(&tx, 0, bytes_text(key), bytes_of(copy, value.size));
    succeed(tx_commit(&tx, &error), &error);
    free(copy);
    env_close(env);
}

Test(registry, names_a_damaged_definition_and_takes_a_new_one)
{
    struct writing writing;
    struct error error = {0};
    scoped(arena_done) struct arena arena = {0};
    struct meter read;
    struct meter *meters;
    uint32_t count;
    writing_begin(&writing, 1);
    struct registry *registry = open_registry(writing.dir);
    (void)put(registry, &tokens, 1);
    for (size_t bit = 0; bit < 400; bit += 7) {
        damage(writing.dir, "meter/tokens", bit);
        enum status status = registry_find(registry, "tokens", &arena, &read, &error);
        cr_assert_eq(status, STATUS_CORRUPT, "bit %zu", bit);
        cr_assert_not_null(strstr(error.text, "meter/tokens"), "%s", error.text);
        damage(writing.dir, "meter/tokens", bit);
    }
    damage(writing.dir, "meter/tokens", 100);
    cr_assert_eq(registry_list(registry, &arena, &meters, &count, &error), STATUS_CORRUPT);
    cr_assert_eq(put(registry, &tokens, 2), METER_CREATED);
    succeed(registry_find(registry, "tokens", &arena, &read, &error), &error);
    cr_assert_eq(read.id, 2);
    damage(writing.dir, "counter", 3);
    struct meter other = tokens;
    other.key = "other";
    cr_assert_eq(registry_put(registry, &other, 3, NULL, &error), STATUS_CORRUPT);
    registry_close(registry);
    writing_end(&writing);
}
