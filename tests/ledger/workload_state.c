#include "base/assert.h"
#include "base/buffer.h"
#include "ledger/horizon.h"
#include "ledger/shard_view.h"
#include "ledger/verify.h"
#include "tests/ledger/workload.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const int64_t MEND_MAX_NS = 60 * SECOND_NS;

static void
on_finding(void *context, const struct verify_finding *finding)
{
    fail(context, "verify: shard %d: %s: %s", finding->shard, finding->key, finding->what);
}

void
check_verify(const struct workload *workload)
{
    struct error error = {0};
    struct verify_summary summary;
    struct workload seen = {.seed = workload->seed, .step = workload->step};
    const struct verify_options options = {.on_finding = on_finding, .context = &seen};
    succeed(workload, verify_run(workload->dir, &options, &summary, &error), &error);
}

static struct env *
env_of(
    const struct workload *workload,
    uint32_t shard,
    const char *name,
    const struct env_db_row *dbs,
    uint32_t dbs_count)
{
    char path[256];
    struct error error = {0};
    struct env *env = NULL;
    const struct env_options options = {.map_size = 256 << 20, .dbs = dbs, .dbs_count = dbs_count};
    (void)snprintf(path, sizeof path, "%s/shards/%04u/%s", workload->dir, shard, name);
    succeed(workload, env_open(path, &options, &env, &error), &error);
    return env;
}

static struct env *
state_open(const struct workload *workload, uint32_t shard)
{
    return env_of(workload, shard, "state", STATE_DBS, STATE_DB_COUNT);
}

// All that state/ says is gone: the next start makes it from the log.
void
state_drop(const struct workload *workload, uint32_t shard)
{
    struct error error = {0};
    struct env *env = state_open(workload, shard);
    struct tx tx = tx_write(env);
    for (uint32_t db = 0; db < STATE_DB_COUNT; db++)
        tx_clear(&tx, db);
    succeed(workload, tx_commit(&tx, &error), &error);
    env_close(env);
}

// One shard's records of one database, those whose keys lie between two, as bytes.
static void
records_of(struct tx *tx, uint32_t db, struct bytes prefix, struct buffer *out)
{
    struct walk walk = walk_open(tx, db);
    bool more = prefix.size > 0 ? walk_seek(&walk, prefix) : walk_first(&walk);
    for (; more; more = walk_next(&walk)) {
        if (walk.key.size < prefix.size || memcmp(walk.key.data, prefix.data, prefix.size) != 0)
            break;
        buffer_u8(out, (uint8_t)db);
        buffer_u32le(out, (uint32_t)walk.key.size);
        buffer_bytes(out, walk.key);
        buffer_u32le(out, (uint32_t)walk.value.size);
        buffer_bytes(out, walk.value);
    }
    walk_done(&walk);
    must(!buffer_failed(out));
}

static void
all_records(const struct workload *workload, uint32_t shard, struct buffer *out)
{
    struct env *env = state_open(workload, shard);
    struct tx tx = tx_read(env);
    for (uint32_t db = 0; db < STATE_DB_COUNT; db++)
        records_of(&tx, db, bytes_of("", 0), out);
    tx_done(&tx);
    env_close(env);
}

// The distinct values that the cells of this meter keep elsewhere.
static void
spilled_records(struct tx *tx, struct bytes cells_prefix, struct buffer *out)
{
    struct walk walk = walk_open(tx, STATE_DB_CELLS);
    for (bool more = walk_seek(&walk, cells_prefix); more; more = walk_next(&walk)) {
        if (memcmp(walk.key.data, cells_prefix.data, cells_prefix.size) != 0)
            break;
        struct hash128 hash = hash128(walk.key, 0);
        uint64_t high = __builtin_bswap64(hash.high);
        uint64_t low = __builtin_bswap64(hash.low);
        uint8_t prefix[16];
        memcpy(prefix, &high, sizeof high);
        memcpy(prefix + 8, &low, sizeof low);
        records_of(tx, STATE_DB_UNIQUES, bytes_of(prefix, sizeof prefix), out);
    }
    walk_done(&walk);
}

struct whole {
    struct buffer ids;
    struct buffer finest;   // quarter hours
    struct buffer derived;  // hours, days and months of UTC
};

static void
whole_done(struct whole *whole)
{
    buffer_done(&whole->ids);
    buffer_done(&whole->finest);
    buffer_done(&whole->derived);
}

static void
meter_records(struct tx *tx, uint32_t id, enum cell_width width, struct buffer *out)
{
    uint8_t prefix[1 + 2 + 4] = {(uint8_t)width};
    uint32_t big = __builtin_bswap32(id);
    memcpy(prefix + 3, &big, sizeof big);
    records_of(tx, STATE_DB_CELLS, bytes_of(prefix, sizeof prefix), out);
    spilled_records(tx, bytes_of(prefix, sizeof prefix), out);
}

// What is kept of these meters where it is complete from the first block on; the ids of those that
// are come with it.
static void
whole_meters(
    const struct workload *workload, uint32_t shard, struct bytes wanted, struct whole *out)
{
    struct error error = {0};
    struct env *env = state_open(workload, shard);
    struct tx tx = tx_read(env);
    for (size_t at = 0; at < wanted.size; at += sizeof(uint32_t)) {
        uint64_t from = 0;
        uint32_t id;
        memcpy(&id, wanted.data + at, sizeof id);
        succeed(workload, state_live_from(&tx, id, &from, &error), &error);
        if (from != 1)
            continue;
        buffer_put(&out->ids, &id, sizeof id);
        meter_records(&tx, id, CELL_QUARTER_HOUR, &out->finest);
        for (int width = CELL_HOUR; width <= CELL_MONTH; width++)
            meter_records(&tx, id, (enum cell_width)width, &out->derived);
    }
    tx_done(&tx);
    env_close(env);
}

// Whether the shard holds every one of these records.
static bool
has_records(const struct workload *workload, uint32_t shard, struct bytes records)
{
    struct env *env = state_open(workload, shard);
    struct tx tx = tx_read(env);
    struct cursor in = cursor_over(records);
    bool has_all = true;
    while (has_all && cursor_left(&in) > 0) {
        struct bytes found;
        uint8_t db = cursor_u8(&in);
        struct bytes key = cursor_take(&in, cursor_u32le(&in));
        struct bytes value = cursor_take(&in, cursor_u32le(&in));
        must(!cursor_failed(&in));
        has_all = tx_get(&tx, db, key, &found) && bytes_equal(found, value);
    }
    tx_done(&tx);
    env_close(env);
    return has_all;
}

// A meter that was removed keeps its cells until the next flush: it is none of these.
static void
registry_ids(const struct workload *workload, struct buffer *out)
{
    struct error error = {0};
    struct registry *registry;
    struct meter *meters;
    uint32_t count;
    scoped(arena_done) struct arena arena = {0};
    succeed(workload, registry_open(workload->dir, &registry, &error), &error);
    succeed(workload, registry_list(registry, &arena, &meters, &count, &error), &error);
    for (uint32_t i = 0; i < count; i++)
        buffer_put(out, &meters[i].id, sizeof meters[i].id);
    registry_close(registry);
}

struct shard_states {
    struct whole whole;
    struct buffer first, second;
};

static void
compare_states(struct workload *workload, uint32_t shard, struct shard_states *states)
{
    struct whole rebuilt = {0};
    whole_meters(workload, shard, buffer_view(&states->whole.ids), &rebuilt);
    if (!bytes_equal(buffer_view(&states->first), buffer_view(&states->second)))
        fail(workload, "shard %u: two rebuilds of state/ differ", shard);
    if (!bytes_equal(buffer_view(&rebuilt.ids), buffer_view(&states->whole.ids)))
        fail(workload, "shard %u: a meter was not rebuilt", shard);
    if (keeps_quarter_hours(workload) &&
        !bytes_equal(buffer_view(&rebuilt.finest), buffer_view(&states->whole.finest)))
        fail(workload, "shard %u: cells as they grew and rebuilt cells differ", shard);
    if (keeps_hours(workload) && !has_records(workload, shard, buffer_view(&states->whole.derived)))
        fail(workload, "shard %u: derived cells as they grew and rebuilt ones differ", shard);
    whole_done(&rebuilt);
    whole_done(&states->whole);
    buffer_done(&states->first);
    buffer_done(&states->second);
}

bool
keeps_quarter_hours(const struct workload *workload)
{
    return workload->seed % 4 != 0;
}

bool
keeps_hours(const struct workload *workload)
{
    return workload->seed % 12 != 4;
}

uint32_t
groups_max_of(const struct workload *workload)
{
    return workload->seed % 3 == 0 ? 1000 : 1 + (uint32_t)(workload->seed % 7);
}

static bool
has_clock(const struct workload *workload, const struct horizons *horizons, uint16_t zone)
{
    bool is_listed = zone == 0;
    for (uint32_t i = 0; i < workload->zones_count; i++) {
        uint32_t at = workload->zones_first + i;
        is_listed = is_listed || (at < WORKLOAD_ZONES &&
                                  strcmp(workload_zones[at], horizons->zones[zone - 1]) == 0);
    }
    return is_listed;
}

// Cells that are to be made anew: of meters that lack no block, and of zones that are listed. The
// others wait for the next flush, which says what becomes of their zone.
static uint64_t
count_dirty(const struct workload *workload, uint32_t shard)
{
    struct error error = {0};
    struct env *env = state_open(workload, shard);
    struct tx tx = tx_read(env);
    uint64_t count = 0;
    struct horizons horizons;
    succeed(workload, horizons_read(&tx, &horizons, &error), &error);
    struct walk walk = walk_open(&tx, STATE_DB_DIRTY);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        struct cell_key key;
        uint64_t from = 0;
        must(cell_key_read(walk.key, &key));
        succeed(workload, state_live_from(&tx, key.meter_id, &from, &error), &error);
        count += from == 1 && has_clock(workload, &horizons, key.zone);
    }
    walk_done(&walk);
    tx_done(&tx);
    env_close(env);
    return count;
}

// A close waits for dirty cells, but not for long: on a slow disk the next start goes on.
static void
reopen_mended(struct workload *workload, void (*reopen)(struct workload *workload))
{
    const int64_t deadline_ns = clock_monotonic_ns() + MEND_MAX_NS;
    uint64_t dirty = UINT64_MAX;
    while (dirty > 0) {
        reopen(workload);
        dirty = 0;
        for (uint32_t i = 0; i < workload->shards; i++)
            dirty += count_dirty(workload, i);
        if (dirty > 0 && clock_monotonic_ns() > deadline_ns)
            fail(workload, "%" PRIu64 " cells stay dirty", dirty);
    }
}

// A meter that was made late may still lack blocks, which a rebuild folds for every meter of the
// registry: only meters that have all of them are compared with what they were. Windows may have
// closed since the last flush, so a rebuild may have more derived cells; those of zones have
// numbers in the order in which zones were listed, and are verify's. Two rebuilds are the same in
// every record.
void
check_rebuild(struct workload *workload, void (*reopen)(struct workload *workload))
{
    scoped(buffer_done) struct buffer ids = {0};
    struct shard_states states[4] = {0};
    must(workload->shards <= 4);
    registry_ids(workload, &ids);
    reopen_mended(workload, reopen);
    for (uint32_t i = 0; i < workload->shards; i++) {
        whole_meters(workload, i, buffer_view(&ids), &states[i].whole);
        state_drop(workload, i);
    }
    reopen_mended(workload, reopen);
    for (uint32_t i = 0; i < workload->shards; i++) {
        all_records(workload, i, &states[i].first);
        state_drop(workload, i);
    }
    reopen_mended(workload, reopen);
    for (uint32_t i = 0; i < workload->shards; i++) {
        all_records(workload, i, &states[i].second);
        compare_states(workload, i, &states[i]);
    }
}

// Any record of any database of a shard: one bit of its value, or of its key, is another one.
// False: there is none.
static bool
flip_bit(struct workload *workload, struct tx *tx, uint32_t db, bool is_key)
{
    uint8_t key[ENV_KEY_MAX];
    scoped(buffer_done) struct buffer value = {0};
    struct error error = {0};
    uint64_t count = tx_count(tx, db);
    uint64_t left = draw(workload, count > 0 ? count : 1);
    uint64_t bit = draw(workload, 1 << 30);
    struct walk walk = walk_open(tx, db);
    bool is_there = walk_first(&walk);
    for (; is_there && left > 0; left--)
        is_there = walk_next(&walk);
    if (is_there) {
        size_t key_size = walk.key.size;
        memcpy(key, walk.key.data, key_size);
        buffer_bytes(&value, walk.value);
        size_t size = is_key ? key_size : value.size;
        uint8_t *bytes = is_key ? key : value.data;
        must(!buffer_failed(&value) && size > 0);
        walk_done(&walk);
        if (is_key)
            (void)tx_delete(tx, db, bytes_of(key, key_size));
        bytes[bit / 8 % size] ^= (uint8_t)(1U << bit % 8);
        tx_put(tx, db, bytes_of(key, key_size), buffer_view(&value));
    } else {
        walk_done(&walk);
    }
    succeed(workload, tx_commit(tx, &error), &error);
    return is_there;
}

static void
count_finding(void *context, const struct verify_finding *finding)
{
    (void)finding;
    ++*(uint64_t *)context;
}

// What the next start and verify must see: the last block is gone, or a bit of the head file.
static void
damage_end(struct workload *workload, uint32_t shard, bool is_head)
{
    char path[256];
    uint8_t bytes[64];
    if (!is_head) {
        struct error error = {0};
        struct env *env = env_of(workload, shard, "log", LOG_DBS, LOG_DB_COUNT);
        struct tx tx = tx_write(env);
        uint64_t last = 0;
        succeed(workload, log_head(&tx, &last, &error), &error);
        (void)tx_delete(&tx, LOG_DB_BLOCKS, bytes_of(&last, sizeof last));
        succeed(workload, tx_commit(&tx, &error), &error);
        env_close(env);
        // Without the cells' position only the head file knows.
        if (chance(workload, 70))
            state_drop(workload, shard);
        return;
    }
    (void)snprintf(path, sizeof path, "%s/shards/%04u/head", workload->dir, shard);
    FILE *file = fopen(path, "r+b");
    must(file != NULL);
    size_t size = fread(bytes, 1, sizeof bytes, file);
    must(size > 0);
    uint64_t bit = draw(workload, size * 8);
    bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    rewind(file);
    must(fwrite(bytes, 1, size, file) == size);
    must(fclose(file) == 0);
}

static bool
damage_record(struct workload *workload, uint32_t shard, bool is_log, bool is_key)
{
    uint32_t db = (uint32_t)draw(workload, is_log ? LOG_DB_COUNT : STATE_DB_COUNT);
    if (!is_log && chance(workload, 60))
        db = STATE_DB_CELLS;
    struct env *env = is_log ? env_of(workload, shard, "log", LOG_DBS, LOG_DB_COUNT)
                             : state_open(workload, shard);
    struct tx tx = tx_write(env);
    bool is_damaged = flip_bit(workload, &tx, db, is_key);
    tx_done(&tx);
    env_close(env);
    return is_damaged;
}

static bool
shard_is_empty(const struct workload *workload, uint32_t shard)
{
    struct error error = {0};
    uint64_t last = 0;
    struct env *env = env_of(workload, shard, "log", LOG_DBS, LOG_DB_COUNT);
    struct tx tx = tx_read(env);
    succeed(workload, log_head(&tx, &last, &error), &error);
    tx_done(&tx);
    env_close(env);
    return last == 0;
}

static uint64_t
count_findings(const struct workload *workload)
{
    uint64_t findings = 0;
    struct error error = {0};
    struct verify_summary summary;
    const struct verify_options options = {.on_finding = count_finding, .context = &findings};
    succeed(workload, verify_run(workload->dir, &options, &summary, &error), &error);
    return findings;
}

static void
check_start_refused(const struct workload *workload)
{
    struct error error = {0};
    struct ledger *ledger;
    const struct ledger_options options = {0};
    enum status status = ledger_open(workload->dir, &options, &ledger, &error);
    if (status != STATUS_CORRUPT)
        fail(workload, "a ledger with a damaged end was opened: %d", status);
}

bool
check_damage(struct workload *workload)
{
    static const char *const names[] = {
        "a log's value",
        "a state's value",
        "a log's key",
        "a state's key",
        "the last block",
        "the head file"};
    uint32_t shard = (uint32_t)draw(workload, workload->shards);
    uint64_t kind = draw(workload, 10);
    kind = kind > 5 ? kind % 2 : kind;
    if (shard_is_empty(workload, shard))
        return false;
    if (kind >= 4)
        damage_end(workload, shard, kind == 5);
    else if (!damage_record(workload, shard, kind % 2 == 0, kind >= 2))
        return false;
    if (count_findings(workload) == 0)
        fail(workload, "verify does not see damage of %s, shard %u", names[kind], shard);
    if (kind >= 4)
        check_start_refused(workload);
    return kind < 2;
}
