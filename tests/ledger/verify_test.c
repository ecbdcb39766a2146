#include "ledger/verify.h"

#include "base/clock.h"
#include "ledger/block_writer.h"
#include "ledger/cell_state.h"
#include "ledger/dump.h"
#include "ledger/generations_parts.h"
#include "ledger/shard_view.h"
#include "tests/ledger/reading.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// A ledger with every kind of record, one damage at a time, and the finding that must name it.

struct found {
    uint64_t count;
    char first_key[256];
    char all[131072];  // "shard key: what" lines
};

static void
keep_finding(void *context, const struct verify_finding *finding)
{
    struct found *found = context;
    size_t used = strlen(found->all);
    if (found->count++ == 0)
        snprintf(found->first_key, sizeof found->first_key, "%s", finding->key);
    snprintf(
        found->all + used,
        sizeof found->all - used,
        "%d %s: %s\n",
        finding->shard,
        finding->key,
        finding->what);
}

static struct verify_summary
verify(const struct reading *reading, struct found *found)
{
    struct verify_summary summary;
    struct error error = {0};
    *found = (struct found){0};
    const struct verify_options options = {.on_finding = keep_finding, .context = found};
    enum status status = verify_run(reading->dir, &options, &summary, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_eq(summary.findings, found->count);
    return summary;
}

// Until meters that were made late have all blocks.
static void
wait_rebuilt(const struct reading *reading)
{
    const int64_t deadline_ns = clock_monotonic_ns() + 30 * SECOND_NS;
    const struct metric *const *metrics;
    size_t count = ledger_metrics(reading->ledger, &metrics);
    for (size_t i = 0; i < count; i++) {
        while (strcmp(metrics[i]->name, "tally_ledger_rebuild_blocks_left") == 0 &&
               metric_get(metrics[i]) > 0)
            cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
}

// Two shards; a meter from the start, two made in the middle; several flushes; some blocks after
// the last one.
static void
fill(struct reading *reading)
{
    reading_begin(reading, 2);
    reading_write_begin(reading, HOUR_NS);
    reading_put_meter(reading, "jobs");
    reading_put_random(reading, 60);
    reading_put_meter(reading, "calls");
    reading_put_meter(reading, "tokens");
    reading_put_random(reading, 60);
    wait_rebuilt(reading);
    reading_write_end(reading);
    reading_write_begin(reading, HOUR_NS);
    reading_put_random(reading, 60);
    reading_write_end(reading);
}

Test(verify, a_ledger_as_it_was_written_is_clean)
{
    struct reading reading;
    struct found found;
    fill(&reading);
    struct verify_summary summary = verify(&reading, &found);
    cr_assert_eq(found.count, 0, "%s", found.all);
    cr_assert_eq(summary.shards, 2);
    cr_assert_eq(summary.meters, 3);
    cr_assert_eq(summary.events, 180);
    cr_assert_gt(summary.blocks, 10);
    cr_assert_gt(summary.cells, 100);
    reading_end(&reading);
}

Test(verify, an_empty_ledger_is_clean)
{
    struct reading reading;
    struct found found;
    reading_begin(&reading, 3);
    struct verify_summary summary = verify(&reading, &found);
    cr_assert_eq(found.count, 0, "%s", found.all);
    cr_assert_eq(summary.shards, 3);
    cr_assert_eq(summary.events, 0);
    reading_end(&reading);
}

static void
shard_path(const struct reading *reading, const char *what, char out[128])
{
    snprintf(out, 128, "%s/%s", reading->dir, what);
}

static struct env *
open_for_damage(const struct reading *reading, const char *what, bool is_log)
{
    const struct env_options options = {
        .map_size = 64 << 20,
        .dbs = is_log ? LOG_DBS : STATE_DBS,
        .dbs_count = is_log ? (uint32_t)LOG_DB_COUNT : (uint32_t)STATE_DB_COUNT,
    };
    char path[128];
    struct env *env;
    struct error error = {0};
    shard_path(reading, what, path);
    cr_assert_eq(env_open(path, &options, &env, &error), STATUS_OK, "%s", error.text);
    return env;
}

// A value that can be changed and put back under any key.
struct record {
    struct env *env;
    uint32_t db;
    uint8_t key[ENV_KEY_MAX];
    size_t key_size;
    uint8_t value[65536];
    size_t value_size;
};

static struct bytes
record_key(const struct record *record)
{
    return bytes_of(record->key, record->key_size);
}

static void
record_read(struct record *record, struct env *env, uint32_t db, const void *key, size_t key_size)
{
    struct tx tx = tx_read(env);
    struct bytes value;
    *record = (struct record){.env = env, .db = db, .key_size = key_size};
    memcpy(record->key, key, key_size);
    cr_assert(tx_get(&tx, db, record_key(record), &value));
    cr_assert_leq(value.size, sizeof record->value);
    memcpy(record->value, value.data, value.size);
    record->value_size = value.size;
    tx_done(&tx);
}

static void
record_write(struct record *record)
{
    struct error error = {0};
    struct tx tx = tx_write(record->env);
    tx_put(&tx, record->db, record_key(record), bytes_of(record->value, record->value_size));
    cr_assert_eq(tx_commit(&tx, &error), STATUS_OK, "%s", error.text);
}

static void
record_delete(struct record *record)
{
    struct error error = {0};
    struct tx tx = tx_write(record->env);
    cr_assert(tx_delete(&tx, record->db, record_key(record)));
    cr_assert_eq(tx_commit(&tx, &error), STATUS_OK, "%s", error.text);
}

static uint64_t
log_head_of(struct env *env)
{
    uint64_t head = 0;
    struct tx tx = tx_read(env);
    cr_assert_eq(log_head(&tx, &head, NULL), STATUS_OK);
    tx_done(&tx);
    return head;
}

static void
read_block(struct record *record, struct env *env, uint64_t sequence)
{
    record_read(record, env, LOG_DB_BLOCKS, &sequence, sizeof sequence);
}

static struct block_header
header_of(const struct record *record)
{
    struct block_header header;
    uint64_t sequence;
    struct error error = {0};
    memcpy(&sequence, record->key, sizeof sequence);
    enum status status =
        block_look(sequence, bytes_of(record->value, record->value_size), &header, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    return header;
}

// The block's value under another number, sealed as if it had been written there.
static void
reseal(struct record *record, uint64_t sequence, uint64_t previous, int64_t time_shift_ns)
{
    struct block_header header = header_of(record);
    header.sequence = sequence;
    header.previous = previous;
    header.time_max_ns += time_shift_ns;
    memcpy(record->key, &sequence, sizeof sequence);
    block_seal(record->value, &header);
}

static void
damage_flip_block_header(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    record->value[80] ^= 4;  // arrival
    record_write(record);
}

static void
damage_flip_block_entry(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    record->value[record->value_size - 3] ^= 0x40;
    record_write(record);
}

static void
damage_shorten_block(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    record->value_size -= 5;
    record_write(record);
}

static void
damage_empty_block(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    record->value_size = 1;
    record_write(record);
}

static void
damage_move_block(struct record *record, struct env *env)
{
    struct record other;
    read_block(&other, env, 3);
    read_block(record, env, 2);
    memcpy(record->value, other.value, other.value_size);
    record->value_size = other.value_size;
    record_write(record);
}

static void
damage_miss_block(struct record *record, struct env *env)
{
    read_block(record, env, 3);
    record_delete(record);
}

static void
damage_block_zero(struct record *record, struct env *env)
{
    read_block(record, env, 3);
    memset(record->key, 0, record->key_size);
    record_write(record);
}

static void
damage_double_identity(struct record *record, struct env *env)
{
    struct record last;
    uint64_t head = log_head_of(env);
    read_block(&last, env, head);
    read_block(record, env, 2);
    reseal(record, head + 1, header_of(&last).checksum, 0);
    record_write(record);
}

static void
damage_time_bounds(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    reseal(record, 2, header_of(record).previous, 1);
    record_write(record);
}

// Whole in itself, and so is the next: only together they are not.
static void
damage_replace_block(struct record *record, struct env *env)
{
    read_block(record, env, 2);
    struct block_header header = header_of(record);
    header.arrival_min_ns--;
    block_seal(record->value, &header);
    record_write(record);
}

static void
damage_miss_last(struct record *record, struct env *env)
{
    read_block(record, env, log_head_of(env));
    record_delete(record);
}

// A block as it should be, but for an event of another shard's subject.
static void
damage_foreign_subject(struct record *record, struct env *env)
{
    struct error error = {0};
    struct block_writer writer;
    char subject[16] = "a-subject";
    uint8_t raw[128];
    while (hash64(bytes_text(subject), 0) % 2 == 0)
        subject[0]++;
    const struct event event = {
        .subject = bytes_text(subject), .type = bytes_text("job"), .time_ns = READING_NOW_NS};
    read_block(record, env, 1);
    entry_write(&event, READING_NOW_NS, raw);
    cr_assert_eq(block_writer_open(&writer, &error), STATUS_OK);
    block_writer_resume(&writer, 0, 0);
    block_begin(&writer, READING_NOW_NS);
    block_add(&writer, bytes_of(raw, entry_size(&event)));
    cr_assert_eq(block_end(&writer, &record->value_size, &error), STATUS_OK);
    block_write(&writer, record->value);
    block_writer_done(&writer);
    record_write(record);
}

// The first cell of shard 0.
static void
read_cell(struct record *record, struct env *env)
{
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, STATE_DB_CELLS);
    cr_assert(walk_first(&walk));
    uint8_t key[CELL_KEY_MAX];
    size_t key_size = walk.key.size;
    memcpy(key, walk.key.data, key_size);
    walk_done(&walk);
    tx_done(&tx);
    record_read(record, env, STATE_DB_CELLS, key, key_size);
}

static void
rewrite_cell(struct record *record, uint64_t more_count, int64_t more_units)
{
    struct cell_state state;
    struct cell_group group;
    struct bytes value = bytes_of(record->value, record->value_size);
    scoped(buffer_done) struct buffer out = {0};
    enum aggregation aggregation;
    cr_assert(cell_value_aggregation(value, &aggregation));
    cr_assert_eq(
        cell_value_read(record_key(record), value, aggregation, &state, &group), STATUS_OK);
    cr_assert(more_units == 0 || aggregation == AGGREGATION_SUM);
    state.count += (int64_t)more_count;
    if (more_units != 0)
        wide_add_int128(&state.sum.sum, more_units);
    cell_value_write(record_key(record), aggregation, &state, &group, &out);
    memcpy(record->value, out.data, out.size);
    record->value_size = out.size;
}

static void
damage_flip_cell(struct record *record, struct env *env)
{
    read_cell(record, env);
    record->value[10] ^= 1;
    record_write(record);
}

static void
damage_cell_count(struct record *record, struct env *env)
{
    read_cell(record, env);
    rewrite_cell(record, 1, 0);
    record_write(record);
}

static void
damage_cell_sum(struct record *record, struct env *env)
{
    read_cell(record, env);
    rewrite_cell(record, 0, -1);
    record_write(record);
}

static void
damage_miss_cell(struct record *record, struct env *env)
{
    read_cell(record, env);
    record_delete(record);
}

// Under another group: the checksum covers the key.
static void
damage_move_cell(struct record *record, struct env *env)
{
    read_cell(record, env);
    record_delete(record);
    record->key[record->key_size - 5] ^= 1;
    record_write(record);
}

static void
damage_extra_cell(struct record *record, struct env *env)
{
    read_cell(record, env);
    struct record extra = *record;
    extra.key[extra.key_size - 5] ^= 1;
    struct cell_state state;
    struct cell_group group;
    scoped(buffer_done) struct buffer out = {0};
    struct bytes value = bytes_of(record->value, record->value_size);
    enum aggregation aggregation;
    cr_assert(cell_value_aggregation(value, &aggregation));
    cr_assert_eq(
        cell_value_read(record_key(record), value, aggregation, &state, &group), STATUS_OK);
    cell_value_write(record_key(&extra), aggregation, &state, &group, &out);
    memcpy(extra.value, out.data, out.size);
    extra.value_size = out.size;
    record_write(&extra);
}

static void
damage_cell_key(struct record *record, struct env *env)
{
    read_cell(record, env);
    record->key[0] = 77;  // no width of ours
    record_write(record);
}

static void
read_meta(struct record *record, struct env *env, bool is_position)
{
    uint8_t key[STATE_METER_KEY_SIZE];
    state_meter_key(2, key);
    if (is_position)
        record_read(record, env, STATE_DB_META, "position", 8);
    else
        record_read(record, env, STATE_DB_META, key, sizeof key);
}

static void
rewrite_meta(struct record *record, uint64_t number)
{
    state_meta_write(record_key(record), number, record->value);
    record_write(record);
}

static void
damage_flip_position(struct record *record, struct env *env)
{
    read_meta(record, env, true);
    record->value[0] ^= 1;
    record_write(record);
}

static void
damage_position_ahead(struct record *record, struct env *env)
{
    read_meta(record, env, true);
    rewrite_meta(record, 1000);
}

static void
damage_position_behind(struct record *record, struct env *env)
{
    read_meta(record, env, true);
    rewrite_meta(record, 1);
}

static void
damage_flip_live_from(struct record *record, struct env *env)
{
    read_meta(record, env, false);
    record->value[12] ^= 0x80;
    record_write(record);
}

static void
damage_live_from_ahead(struct record *record, struct env *env)
{
    read_meta(record, env, false);
    rewrite_meta(record, 1000);
}

static void
damage_live_from_later(struct record *record, struct env *env)
{
    read_meta(record, env, false);
    rewrite_meta(record, 5);
}

static void
damage_unknown_meta(struct record *record, struct env *env)
{
    read_meta(record, env, false);
    memcpy(record->key, "colour", 6);
    record->key_size = 6;
    state_meta_write(record_key(record), 1, record->value);
    record_write(record);
}

// The first page of identities.
static void
read_page(struct record *record, struct env *env)
{
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, STATE_DB_RUNS);
    struct bytes key = {0};
    cr_assert(walk_first(&walk));
    key = walk.key;
    record_read(record, env, STATE_DB_RUNS, key.data, key.size);
    walk_done(&walk);
    tx_done(&tx);
}

static void
damage_flip_page(struct record *record, struct env *env)
{
    read_page(record, env);
    record->value[record->value_size / 2] ^= 4;
    record_write(record);
}

static void
damage_miss_page(struct record *record, struct env *env)
{
    read_page(record, env);
    record_delete(record);
}

static void
damage_flip_generation(struct record *record, struct env *env)
{
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, STATE_DB_GENERATIONS);
    cr_assert(walk_first(&walk));
    record_read(record, env, STATE_DB_GENERATIONS, walk.key.data, walk.key.size);
    walk_done(&walk);
    tx_done(&tx);
    record->value[20] ^= 1;
    record_write(record);
}

// Puts one more run into the last generation, sound in itself, with the first identity there is,
// changed by low and payload.
static void
add_run(struct env *env, uint64_t low, uint32_t payload)
{
    struct error error = {0};
    struct generation generation;
    struct run_reader reader;
    struct fingerprint first;
    struct tx tx = tx_write(env);
    struct walk walk = walk_open(&tx, STATE_DB_GENERATIONS);
    cr_assert(walk_last(&walk));
    cr_assert(generation_read(walk.key, walk.value, &generation));
    walk_done(&walk);
    run_reader_open(&reader, &tx, &generation.runs[0], NULL, &error);
    cr_assert(run_next(&reader, &first, &error));
    run_reader_done(&reader);
    first.low ^= low;
    first.payload ^= payload;
    struct run_writer writer = run_writer_begin(9999);
    run_put(&writer, &tx, first);
    run_end(&writer, &tx, &generation.runs[generation.runs_count++]);
    generation_put(&tx, &generation);
    cr_assert_eq(tx_commit(&tx, &error), STATUS_OK, "%s", error.text);
}

static void
damage_foreign_identity(struct record *record, struct env *env)
{
    (void)record;
    add_run(env, 1, 0);
}

static void
damage_identity_in_two_runs(struct record *record, struct env *env)
{
    (void)record;
    add_run(env, 0, 0);
}

static void
damage_identity_payload(struct record *record, struct env *env)
{
    (void)record;
    add_run(env, 0, 1);
}

static void
damage_dedup_ahead(struct record *record, struct env *env)
{
    read_meta(record, env, true);
    memcpy(record->key, "dedup", 5);
    record->key_size = 5;
    rewrite_meta(record, 1000);
}

static void
damage_miss_generation(struct record *record, struct env *env)
{
    damage_flip_generation(record, env);
    record_delete(record);
}

struct damage {
    const char *name;
    void (*damage)(struct record *record, struct env *env);
    bool is_log;
    const char *key;   // the first finding's
    const char *what;  // part of the report
};

// clang-format off
static const struct damage damages[] = {
    {"a bit of a block's header", damage_flip_block_header, true, "log block 2", "checksum"},
    {"a bit of an entry", damage_flip_block_entry, true, "log block 2", "checksum"},
    {"a block cut short", damage_shorten_block, true, "log block 2", "its size is not"},
    {"a block of one byte", damage_empty_block, true, "log block 2", "shorter than a header"},
    {"a block under another's number", damage_move_block, true, "log block 2", "sequence number"},
    {"a missing block", damage_miss_block, true, "log", "block 3 is missing"},
    {"a block before the first", damage_block_zero, true, "log", "not dense"},
    {"an identity twice", damage_double_identity, true, "log block ", "identity of block 2"},
    {"time bounds that are not the entries'", damage_time_bounds, true, "log block 2", "bounds"},
    {"a block that was replaced", damage_replace_block, true, "log block 3", "not written after"},
    {"a log without its last block", damage_miss_last, true, "log", "was committed"},
    {"a subject of another shard", damage_foreign_subject, true, "log block 1", "another shard"},
    {"a bit of a cell", damage_flip_cell, false, "cell meter 1, subject", "checksum"},
    {"a cell's count off by one",
     damage_cell_count, false,
     "cell meter 1, subject", "the log gives"},
    {"a cell's sum off by the least",
     damage_cell_sum, false,
     "cell meter 1, subject", "the log gives"},
    {"a missing cell", damage_miss_cell, false, "cell meter 1, subject", "it is missing"},
    {"a cell under another key", damage_move_cell, false, "cell meter 1, subject", "checksum"},
    {"a cell too many", damage_extra_cell, false, "cell meter 1, subject", "no event for it"},
    {"a key that is none of a cell", damage_cell_key, false, "cell M", "none of a cell"},
    {"a bit of the position", damage_flip_position, false, "state position", "checksum"},
    {"a position beyond the log", damage_position_ahead, false, "state position", "beyond"},
    {"a position that went back", damage_position_behind, false, "", "the log has no event"},
    {"a bit of live_from", damage_flip_live_from, false, "state live_from of meter 2", "checksum"},
    {"a live_from ahead", damage_live_from_ahead, false, "state", "beyond the position"},
    {"a live_from too late", damage_live_from_later, false, "cell meter 2", "the log"},
    {"a bit of a page of identities", damage_flip_page, false, "identities run", "is damaged"},
    {"a missing page of identities", damage_miss_page, false, "identities run", "or missing"},
    {"a bit of a generation's record", damage_flip_generation, false, "identities", "is damaged"},
    {"a missing generation", damage_miss_generation, false, "log block ", "is in no run"},
    {"an identity too many", damage_foreign_identity, false, "identities run 9999", "not in the"},
    {"an identity in two runs", damage_identity_in_two_runs, false, "identities run", "older run"},
    {"another payload", damage_identity_payload, false, "identities run", "payloads are not"},
    {"identities ahead of the log", damage_dedup_ahead, false, "identities", "beyond the log"},
    {"an unknown record", damage_unknown_meta, false, "state colour", "no record of that name"},
};
// clang-format on

Test(verify, finds_each_kind_of_damage)
{
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const struct damage *row = &damages[i];
        struct reading reading;
        struct found found;
        struct record record;
        fill(&reading);
        struct env *env = open_for_damage(
            &reading, row->is_log ? "shards/0000/log" : "shards/0000/state", row->is_log);
        row->damage(&record, env);
        env_close(env);
        verify(&reading, &found);
        cr_assert_gt(found.count, 0, "%s: not found", row->name);
        cr_assert_eq(
            strncmp(found.first_key, row->key, strlen(row->key)),
            0,
            "%s: first is %s in\n%s",
            row->name,
            found.first_key,
            found.all);
        cr_assert_not_null(strstr(found.all, row->what), "%s:\n%s", row->name, found.all);
        cr_assert_eq(found.all[0], '0', "%s names shard 0:\n%s", row->name, found.all);
        reading_end(&reading);
    }
}

static void
flip_registry(const struct reading *reading, const char *key, size_t offset)
{
    static const struct env_db_row dbs[] = {
        {"registry", DB_KEY_BYTES}
    };
    const struct env_options options = {.map_size = 256 << 20, .dbs = dbs, .dbs_count = 1};
    char path[128];
    struct env *env;
    struct record record;
    struct error error = {0};
    shard_path(reading, "meters", path);
    cr_assert_eq(env_open(path, &options, &env, &error), STATUS_OK, "%s", error.text);
    record_read(&record, env, 0, key, strlen(key));
    record.value[offset] ^= 2;
    record_write(&record);
    env_close(env);
}

Test(verify, finds_damage_in_the_registry)
{
    static const struct {
        const char *key;
        size_t offset;
        const char *finding;
    } rows[] = {
        {"meter/calls", 0,  "-1 registry meter/calls: its checksum"},
        {"meter/calls", 40, "-1 registry meter/calls: its checksum"},
        {"counter",     3,  "-1 registry counter: its checksum"    },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reading reading;
        struct found found;
        fill(&reading);
        flip_registry(&reading, rows[i].key, rows[i].offset);
        verify(&reading, &found);
        cr_assert_not_null(strstr(found.all, rows[i].finding), "%zu:\n%s", i, found.all);
        reading_end(&reading);
    }
}

static void
overwrite(
    const struct reading *reading, const char *file, off_t offset, const void *data, size_t size)
{
    char path[128];
    shard_path(reading, file, path);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, data, size, offset), (ssize_t)size);
    close(fd);
}

static off_t
file_size(const struct reading *reading, const char *file)
{
    char path[128];
    struct stat stat_of;
    shard_path(reading, file, path);
    cr_assert_eq(stat(path, &stat_of), 0);
    return stat_of.st_size;
}

static void
file_truncate(const struct reading *reading, const char *file, off_t size)
{
    char path[128];
    shard_path(reading, file, path);
    cr_assert_eq(truncate(path, size), 0);
}

static const char *const data_files[] = {
    "shards/0000/log/data.mdb", "shards/0000/state/data.mdb", "shards/0001/log/data.mdb"};

// The process that reads dies of it, the one that asked does not.
Test(verify, a_file_cut_short_is_a_finding)
{
    for (size_t i = 0; i < sizeof data_files / sizeof data_files[0]; i++) {
        struct reading reading;
        struct found found;
        fill(&reading);
        file_truncate(
            &reading, data_files[i], file_size(&reading, data_files[i]) / 2 / 4096 * 4096);
        verify(&reading, &found);
        cr_assert_gt(found.count, 0, "%s", data_files[i]);
        reading_end(&reading);
    }
}

Test(verify, missing_files_are_findings)
{
    struct reading reading;
    struct found found;
    char path[128];
    fill(&reading);
    shard_path(&reading, "ledger.conf", path);
    file_truncate(&reading, "ledger.conf", 20);
    verify(&reading, &found);
    cr_assert_not_null(strstr(found.all, "-1 ledger.conf: "), "%s", found.all);
    cr_assert_eq(found.count, 1);
    reading_end(&reading);

    fill(&reading);
    char moved[128];
    shard_path(&reading, "shards/0001/log", path);
    shard_path(&reading, "elsewhere", moved);
    cr_assert_eq(rename(path, moved), 0);
    verify(&reading, &found);
    cr_assert_not_null(strstr(found.all, "1 shard: "), "%s", found.all);
    cr_assert_not_null(strstr(found.all, "is missing"), "%s", found.all);
    reading_end(&reading);
}

// Of a ledger that is there; nobody who looks makes an empty one in its place.
Test(verify, a_registry_that_is_gone_is_a_finding)
{
    struct reading reading;
    struct found found;
    struct ledger *ledger;
    struct error error = {0};
    const struct ledger_options plain = {0};
    fill(&reading);
    file_truncate(&reading, "meters/data.mdb", 0);
    verify(&reading, &found);
    cr_assert_not_null(strstr(found.all, "-1 registry: "), "%s", found.all);
    cr_assert_not_null(strstr(found.all, "meters-N.mdb"), "%s", found.all);
    cr_assert_eq(ledger_open(reading.dir, &plain, &ledger, &error), STATUS_CORRUPT);
    cr_assert_eq(file_size(&reading, "meters/data.mdb"), 0);
    reading_end(&reading);
}

Test(verify, no_ledger_is_an_error)
{
    const struct verify_options options = {.on_finding = keep_finding};
    struct verify_summary summary;
    struct error error = {0};
    cr_assert_eq(verify_run("/nonexistent/ledger", &options, &summary, &error), STATUS_NOT_FOUND);
}

static bool
append_lines(void *context, struct bytes lines)
{
    buffer_bytes(context, lines);
    return true;
}

static void
dump_all(const struct reading *reading, struct buffer *out)
{
    const struct dump_options options = {
        .shard = DUMP_ALL_SHARDS, .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct error error = {0};
    buffer_reset(out);
    cr_assert_eq(
        dump_run(reading->dir, &options, append_lines, out, &error), STATUS_OK, "%s", error.text);
}

// Damage of one page (zeroed) or one bit. What verify calls clean must give the same dump as
// before: then no byte that matters was hit. Returns whether it was found. Pages 0 and 1 are LMDB's
// own two headers.
static bool
damage_page(
    struct reading *reading, const char *file, off_t page, int64_t bit, struct buffer *before)
{
    uint8_t old[4096];
    uint8_t bytes[4096] = {0};
    char path[128];
    struct found found;
    scoped(buffer_done) struct buffer after = {0};
    shard_path(reading, file, path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_eq(pread(fd, old, sizeof old, page * 4096), (ssize_t)sizeof old);
    close(fd);
    if (bit >= 0) {
        memcpy(bytes, old, sizeof bytes);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    overwrite(reading, file, page * 4096, bytes, sizeof bytes);
    verify(reading, &found);
    if (found.count == 0) {
        dump_all(reading, &after);
        cr_assert(
            bytes_equal(buffer_view(before), buffer_view(&after)),
            "%s page %ld bit %ld changed an answer",
            file,
            (long)page,
            (long)bit);
    }
    overwrite(reading, file, page * 4096, old, sizeof old);
    return found.count > 0;
}

Test(verify, a_zeroed_page_or_a_flipped_bit_is_found_or_is_not_in_use)
{
    struct reading reading;
    struct found found;
    scoped(buffer_done) struct buffer before = {0};
    fill(&reading);
    dump_all(&reading, &before);
    for (size_t i = 0; i < 2; i++) {
        off_t pages = file_size(&reading, data_files[i]) / 4096;
        int zeroed = 0;
        int flipped = 0;
        cr_assert_gt(pages, 4);
        for (off_t page = 2; page < pages; page += 1 + pages / 30)
            zeroed += damage_page(&reading, data_files[i], page, -1, &before);
        for (int k = 0; k < 40; k++) {
            off_t page = 2 + (off_t)reading_random(&reading, (uint64_t)pages - 2);
            int64_t bit = (int64_t)reading_random(&reading, 4096 * 8);
            flipped += damage_page(&reading, data_files[i], page, bit, &before);
        }
        cr_assert_gt(zeroed, 0);
        cr_assert_gt(flipped, 0);
    }
    verify(&reading, &found);
    cr_assert_eq(found.count, 0, "%s", found.all);
    reading_end(&reading);
}

enum { WRITER_ROUNDS_MAX = 5000 };  // bounded, so that a slow verify does not meet a full map

// A process that writes and flushes without a pause until its pipe is closed.
static pid_t
start_writer(struct reading *reading, int *out_fd)
{
    int fds[2];
    cr_assert_eq(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[1]);
        struct pollfd poll_fd = {.fd = fds[0], .events = POLLIN};
        reading_write_begin(reading, MINUTE_NS / 60 / 1000);
        reading_put_meter(reading, "tokens");
        for (int i = 0; i < WRITER_ROUNDS_MAX && poll(&poll_fd, 1, 0) == 0; i++)
            reading_put_random(reading, 20);
        (void)poll(&poll_fd, 1, -1);
        reading_write_end(reading);
        _exit(0);
    }
    close(fds[0]);
    *out_fd = fds[1];
    return pid;
}

Test(verify, beside_a_running_writer_it_is_clean)
{
    struct reading reading;
    struct found found;
    int fd;
    int wait_status = 0;
    reading_begin(&reading, 2);
    pid_t pid = start_writer(&reading, &fd);
    cr_assert_gt(pid, 0);
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    uint64_t cells = 0;
    for (int runs = 0; runs < 10 || cells == 0; runs++) {
        cr_assert(clock_monotonic_ns() < deadline_ns);
        cells = verify(&reading, &found).cells;
        cr_assert_eq(found.count, 0, "run %d: %s", runs, found.all);
    }
    close(fd);
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
    verify(&reading, &found);
    cr_assert_eq(found.count, 0, "%s", found.all);
    reading_end(&reading);
}
