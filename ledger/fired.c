#include "ledger/fired.h"

#include "base/assert.h"
#include "ledger/files.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

enum { MARK_KEY_MAX = 1 + 4 + 8 + 255, SEQUENCE_KEY_SIZE = 1 + 8, BODY_MIN = 4 + 8 + 8 + 8 + 32 };

static const struct env_db_row fired_dbs[] = {
    [FIRED_DB] = {"fired", DB_KEY_BYTES},
};

static enum status
fired_path(struct path *out, const char *dir, uint32_t shard, struct error *error)
{
    char name[32];
    (void)snprintf(name, sizeof name, "shards/%04" PRIu32 "/fired", shard);
    return path_make(out, dir, name, error);
}

enum status
fired_open(
    const char *dir, uint32_t shard, uint64_t map_size, struct env **out, struct error *error)
{
    const struct env_options options = {.map_size = map_size, .dbs = fired_dbs, .dbs_count = 1};
    struct path path;
    enum status status = fired_path(&path, dir, shard, error);
    if (!status)
        status = dir_make(path.text, error);
    // Marks are durable with their directory, also where an earlier start died before it was.
    if (!status)
        status = parent_sync(path.text, error);
    return status ? status : env_open(path.text, &options, out, error);
}

enum status
fired_open_view(const char *dir, uint32_t shard, struct env **out, struct error *error)
{
    const struct env_options options = {.is_read_only = true, .dbs = fired_dbs, .dbs_count = 1};
    struct path path;
    enum status status = fired_path(&path, dir, shard, error);
    *out = NULL;
    if (status || access(path.text, F_OK) != 0)
        return status;
    status = env_open(path.text, &options, out, error);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static struct bytes
mark_key(uint32_t id, int64_t from_s, struct bytes subject, uint8_t out[MARK_KEY_MAX])
{
    uint32_t id_be = __builtin_bswap32(id);
    uint64_t from_be = __builtin_bswap64((uint64_t)from_s);
    must(subject.size > 0 && subject.size <= 255);
    out[0] = 'M';
    memcpy(out + 1, &id_be, sizeof id_be);
    memcpy(out + 5, &from_be, sizeof from_be);
    memcpy(out + 13, subject.data, subject.size);
    return bytes_of(out, 13 + subject.size);
}

static struct bytes
sequence_key(uint64_t sequence, uint8_t out[SEQUENCE_KEY_SIZE])
{
    uint64_t be = __builtin_bswap64(sequence);
    out[0] = 'S';
    memcpy(out + 1, &be, sizeof be);
    return bytes_of(out, SEQUENCE_KEY_SIZE);
}

bool
fired_is(struct tx *tx, uint32_t threshold_id, int64_t from_s, struct bytes subject)
{
    uint8_t key[MARK_KEY_MAX];
    struct bytes value;
    uint64_t sequence;
    struct bytes mark = mark_key(threshold_id, from_s, subject, key);
    return tx_get(tx, FIRED_DB, mark, &value) && !state_meta_read(mark, value, &sequence);
}

bool
fired_is_marked(struct tx *tx, const struct fired *one)
{
    uint8_t buffer[MARK_KEY_MAX];
    struct bytes key = mark_key(one->threshold_id, one->from_s, one->subject, buffer);
    struct bytes value;
    uint64_t sequence = 0;
    return tx_get(tx, FIRED_DB, key, &value) && !state_meta_read(key, value, &sequence) &&
           sequence == one->sequence;
}

// Sequence keys are the greatest of the database.
static uint64_t
last_sequence(struct tx *tx)
{
    uint64_t be = 0;
    struct walk walk = walk_open(tx, FIRED_DB);
    if (walk_last(&walk) && walk.key.size == SEQUENCE_KEY_SIZE && walk.key.data[0] == 'S')
        memcpy(&be, walk.key.data + 1, sizeof be);
    walk_done(&walk);
    return __builtin_bswap64(be);
}

// There are two records each, or less where a damaged mark was written anew: more than those up to
// the last sequence number are behind it.
static enum status
records_check(struct tx *tx, uint64_t last, struct error *error)
{
    if (tx_count(tx, FIRED_DB) / 2 > last)
        return error_set(error, STATUS_CORRUPT, "records of what fired are missing");
    return tx_check(tx, error);
}

static void
wide_put(struct buffer *out, const struct wide *value)
{
    for (int i = 0; i < 4; i++)
        buffer_u64le(out, value->limbs[i]);
}

enum status
fired_put(struct tx *tx, const struct fired *one, struct error *error)
{
    uint8_t mark[MARK_KEY_MAX];
    uint8_t sequence_bytes[SEQUENCE_KEY_SIZE];
    uint8_t number[16];
    scoped(buffer_done) struct buffer value = {0};
    uint64_t sequence = last_sequence(tx) + 1;
    // A number that is given twice would take back what it was given for.
    enum status status = records_check(tx, sequence - 1, error);
    if (status)
        return status;
    struct bytes key = sequence_key(sequence, sequence_bytes);
    buffer_u64le(&value, 0);
    buffer_u32le(&value, one->threshold_id);
    buffer_u64le(&value, (uint64_t)one->from_s);
    buffer_u64le(&value, one->block);
    buffer_u64le(&value, (uint64_t)one->time_ns);
    wide_put(&value, &one->value);
    buffer_bytes(&value, one->subject);
    if (buffer_failed(&value))
        return error_set(error, STATUS_NO_MEMORY, "no memory for what fired");
    uint64_t checksum = hash64(bytes_of(value.data + 8, value.size - 8), hash64(key, 0));
    memcpy(value.data, &checksum, sizeof checksum);
    tx_put(tx, FIRED_DB, key, buffer_view(&value));
    key = mark_key(one->threshold_id, one->from_s, one->subject, mark);
    state_meta_write(key, sequence, number);
    tx_put(tx, FIRED_DB, key, bytes_of(number, sizeof number));
    return tx_check(tx, error);
}

static bool
fired_read(struct bytes key, struct bytes value, struct arena *arena, struct fired *out)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    if (cursor_left(&in) <= BODY_MIN ||
        checksum != hash64(bytes_of(in.at, cursor_left(&in)), hash64(key, 0)))
        return false;
    uint64_t be;
    memcpy(&be, key.data + 1, sizeof be);
    *out = (struct fired){.sequence = __builtin_bswap64(be), .threshold_id = cursor_u32le(&in)};
    out->from_s = (int64_t)cursor_u64le(&in);
    out->block = cursor_u64le(&in);
    out->time_ns = (int64_t)cursor_u64le(&in);
    for (int i = 0; i < 4; i++)
        out->value.limbs[i] = cursor_u64le(&in);
    out->subject = arena_bytes(arena, bytes_of(in.at, cursor_left(&in)));
    return true;
}

enum status
fired_list(
    struct tx *tx,
    uint64_t since,
    uint32_t max,
    struct arena *arena,
    struct fired **out,
    uint32_t *out_count,
    struct error *error)
{
    uint8_t from[SEQUENCE_KEY_SIZE];
    uint64_t there = tx_count(tx, FIRED_DB);
    struct fired *list = arena_array(arena, there < max ? there : max, struct fired);
    uint32_t count = 0;
    enum status status = STATUS_OK;
    struct walk walk = walk_open(tx, FIRED_DB);
    bool more = since < UINT64_MAX && walk_seek(&walk, sequence_key(since + 1, from));
    for (; more && count < max && !status; more = walk_next(&walk)) {
        bool is_sound = walk.key.size == SEQUENCE_KEY_SIZE &&
                        fired_read(walk.key, walk.value, arena, &list[count]) &&
                        list[count].sequence == since + count + 1;
        if (!is_sound)
            status = error_set(error, STATUS_CORRUPT, "a record of what fired is damaged");
        count++;
    }
    walk_done(&walk);
    if (!status && count < max && since < UINT64_MAX - count)
        status = records_check(tx, since + count, error);
    if (!status)
        status = tx_check(tx, error);
    if (status)
        return status;
    *out = list;
    *out_count = count;
    return STATUS_OK;
}
