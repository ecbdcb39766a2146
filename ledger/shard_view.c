#include "ledger/shard_view.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/log_kept.h"
#include "ledger/state_meta.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

enum { VIEW_PATH_MAX = 4096 };

static const uint8_t meter_prefix[5] = {'m', 'e', 't', 'e', 'r'};

static enum status
view_open_env(
    const char *dir,
    const char *what,
    const struct env_options *options,
    const struct shard_view *view,
    struct env **out,
    struct error *error)
{
    char path[VIEW_PATH_MAX];
    int size = snprintf(path, sizeof path, "%s/shards/%04u/%s", dir, view->shard, what);
    if (size < 0 || (size_t)size >= sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", dir);
    struct stat directory;
    if (stat(path, &directory) != 0)
        return errno == ENOENT ? error_set(error, STATUS_CORRUPT, "%s is missing", path)
                               : error_set_errno(error, "cannot look at %s", path);
    enum status status = env_open(path, options, out, error);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

enum status
shard_view_open(const char *dir, uint32_t shard, struct shard_view *view, struct error *error)
{
    const struct env_options log = {
        .is_read_only = true, .dbs = LOG_DBS, .dbs_count = LOG_DB_COUNT};
    const struct env_options state = {
        .is_read_only = true, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    enum status status = STATUS_OK;
    view->shard = shard;
    if (view->log == NULL)
        status = view_open_env(dir, "log", &log, view, &view->log, error);
    if (!status && view->state == NULL)
        status = view_open_env(dir, "state", &state, view, &view->state, error);
    return status;
}

void
shard_view_done(struct shard_view *view)
{
    env_close(view->log);
    env_close(view->state);
    *view = (struct shard_view){0};
}

enum status
log_last(struct tx *log, uint64_t *out_head, struct error *error)
{
    scoped(walk_done) struct walk walk = walk_open(log, LOG_DB_BLOCKS);
    uint64_t head = 0;
    if (walk_last(&walk)) {
        if (walk.key.size != sizeof head)
            return error_set(error, STATUS_CORRUPT, "log: the number of its last block is damaged");
        memcpy(&head, walk.key.data, sizeof head);
    }
    enum status status = tx_check(log, error);
    if (!status)
        *out_head = head;
    return status;
}

// Blocks are dense, and LMDB counts them: a page that lost its last ones is seen.
enum status
log_head(struct tx *log, uint64_t *out_head, struct error *error)
{
    scoped(walk_done) struct walk walk = walk_open(log, LOG_DB_BLOCKS);
    uint64_t head = 0;
    uint64_t first = 1;
    enum status status = log_last(log, &head, error);
    if (walk_first(&walk) && walk.key.size == sizeof first)
        memcpy(&first, walk.key.data, sizeof first);
    const uint64_t count = tx_count(log, LOG_DB_BLOCKS);
    if (!status)
        status = tx_check(log, error);
    if (!status && count != head - first + 1)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "log: there are to be %" PRIu64 " blocks, and they go from %" PRIu64 " to %" PRIu64
            ": restore the ledger from a backup",
            count,
            first,
            head);
    if (!status)
        *out_head = head;
    return status;
}

enum status
log_first(struct tx *log, uint64_t *out_first, struct error *error)
{
    struct log_kept kept;
    enum status status = log_kept_read(log, &kept, error);
    if (!status)
        *out_first = kept.first;
    return status;
}

// *out_is_there false: *out is 0.
static enum status
state_number_look(
    struct tx *state,
    struct bytes key,
    const char *what,
    uint64_t *out,
    bool *out_is_there,
    struct error *error)
{
    struct bytes value;
    uint64_t number = 0;
    bool is_there = tx_get(state, STATE_DB_META, key, &value);
    if (is_there && state_meta_read(key, value, &number))
        return error_set(
            error,
            STATUS_CORRUPT,
            "state: the record of %s is damaged: rebuild the state with `tally ledger rebuild`",
            what);
    enum status status = tx_check(state, error);
    if (!status) {
        *out = number;
        *out_is_there = is_there;
    }
    return status;
}

static enum status
state_number(
    struct tx *state, struct bytes key, const char *what, uint64_t *out, struct error *error)
{
    uint64_t number = 0;
    bool is_there = false;
    enum status status = state_number_look(state, key, what, &number, &is_there, error);
    if (!status && !is_there)
        status = state_meta_check(state, error);
    if (!status)
        *out = number;
    return status;
}

enum status
state_position(struct tx *state, uint64_t *out_position, struct error *error)
{
    return state_number(state, bytes_text("position"), "the position", out_position, error);
}

enum status
state_dedup_look(
    struct tx *state, uint64_t *out_position, uint64_t *out_expired, struct error *error)
{
    bool is_there;
    enum status status = state_number_look(
        state, bytes_text("dedup"), "the position of dedup", out_position, &is_there, error);
    return status ? status
                  : state_number_look(
                        state,
                        bytes_text("dedup_expired"),
                        "the expired position of dedup",
                        out_expired,
                        &is_there,
                        error);
}

enum status
state_dedup_position(
    struct tx *state, uint64_t *out_position, uint64_t *out_expired, struct error *error)
{
    enum status status = state_meta_check(state, error);
    return status ? status : state_dedup_look(state, out_position, out_expired, error);
}

void
state_number_put(struct tx *state, struct bytes key, uint64_t number)
{
    uint8_t value[16];
    state_meta_write(key, number, value);
    tx_put(state, STATE_DB_META, key, bytes_of(value, sizeof value));
}

void
state_meter_key(uint32_t meter_id, uint8_t out[STATE_METER_KEY_SIZE])
{
    uint32_t swapped = __builtin_bswap32(meter_id);
    memcpy(out, meter_prefix, sizeof meter_prefix);
    memcpy(out + sizeof meter_prefix, &swapped, sizeof swapped);
}

bool
state_meter_key_read(struct bytes key, uint32_t *out_meter_id)
{
    struct cursor in = cursor_over(key);
    struct bytes name = cursor_take(&in, sizeof meter_prefix);
    uint32_t meter_id = cursor_u32be(&in);
    if (cursor_failed(&in) || cursor_left(&in) > 0 ||
        !bytes_equal(name, bytes_of(meter_prefix, sizeof meter_prefix)))
        return false;
    *out_meter_id = meter_id;
    return true;
}

enum status
state_live_from(struct tx *state, uint32_t meter_id, uint64_t *out_block, struct error *error)
{
    uint8_t key[STATE_METER_KEY_SIZE];
    char what[32];
    state_meter_key(meter_id, key);
    (void)snprintf(what, sizeof what, "meter %u", meter_id);
    return state_number(state, bytes_of(key, sizeof key), what, out_block, error);
}

void
bytes_print(struct bytes bytes, char *out, size_t out_size)
{
    must(out_size > 4);
    size_t used = 0;
    bool is_text = bytes_is_utf8(bytes);
    for (size_t i = 0; i < bytes.size && used + 5 < out_size; i++) {
        uint8_t byte = bytes.data[i];
        if (byte >= 0x20 && byte != 0x7f && byte != '\\' && (byte < 0x80 || is_text))
            out[used++] = (char)byte;
        else
            used += (size_t)snprintf(out + used, 5, "\\x%02x", byte);
    }
    out[used] = '\0';
}

static const char *const width_names[] = {
    [CELL_QUARTER_HOUR] = "quarter hour",
    [CELL_HOUR] = "hour",
    [CELL_DAY] = "day",
    [CELL_MONTH] = "month",
    [CELL_ZONE_DAY] = "zone day",
    [CELL_ZONE_MONTH] = "zone month",
};

void
cell_key_print(struct bytes bytes, char *out, size_t out_size)
{
    struct cell_key key;
    char subject[4 * 255 + 5];
    char from[CLOCK_TEXT_MAX];
    if (!cell_key_read(bytes, &key)) {
        bytes_print(bytes, out, out_size);
        return;
    }
    bytes_print(key.subject, subject, sizeof subject);
    (void)clock_print(key.start_s * SECOND_NS, from);
    (void)snprintf(
        out,
        out_size,
        "meter %u, subject %s, %s from %s",
        key.meter_id,
        subject,
        width_names[key.width],
        from);
}
