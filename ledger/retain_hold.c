#include "ledger/retain_hold.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

int64_t
retain_window_start(const struct billing_zones *zones, int64_t time_s)
{
    must(time_s >= 0);
    int64_t start_s = window_start(&(struct window_kind){.width = CELL_MONTH}, time_s);
    for (uint32_t i = 0; i < zones->count; i++) {
        const struct window_kind month = {.width = CELL_ZONE_MONTH, .zone = zones->list[i]};
        int64_t zone_s = window_start(&month, time_s);
        start_s = zone_s < start_s ? zone_s : start_s;
    }
    return start_s;
}

bool
retain_lacks(const struct log_kept *kept, const struct billing_zones *zones, int64_t time_ns)
{
    int64_t time_s = time_ns < 0 ? 0 : time_ns / SECOND_NS;
    return kept->first > 1 && retain_window_start(zones, time_s) * SECOND_NS <= kept->until_ns;
}

static bool
batches_hold(const struct batches *batches, const struct log_kept *next)
{
    bool is_held = false;
    for (uint32_t i = 0; i < batches->count && !is_held; i++) {
        const struct batch *batch = &batches->list[i];
        is_held = batch->state == BATCH_REVERTING ||
                  (batch->state == BATCH_OPEN && batch->opened < next->first);
    }
    return is_held;
}

// Corrections whose cells are in memory so far.
static enum status
tail_holds(
    const struct retain_holders *holders,
    struct env *log,
    const struct log_kept *next,
    bool *out_is_held,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(log);
    scoped(log_reader_done) struct log_reader reader = {0};
    enum status status = STATUS_OK;
    for (uint64_t sequence = holders->flushed + 1;
         !status && sequence <= holders->head && !*out_is_held;
         sequence++) {
        status = log_look(&reader, &tx, sequence, error);
        const struct block_header *header = &reader.header;
        *out_is_held = !status && (header->flags & BLOCK_HAS_CORRECTIONS) != 0 &&
                       retain_lacks(next, holders->zones, header->time_min_ns);
    }
    return status;
}

// Whether the log has all that the cell is to be made of.
static enum status
cell_is_whole_now(
    struct tx *state,
    const struct cell_key *key,
    const struct log_kept *kept,
    bool *out,
    struct error *error)
{
    uint64_t live_from = 0;
    enum status status = state_live_from(state, key->meter_id, &live_from, error);
    *out = !status && live_from > 0 &&
           (live_from >= kept->first || key->start_s * SECOND_NS > kept->until_ns);
    return status;
}

static enum status
cells_hold(
    const struct retain_holders *holders,
    const struct log_kept *kept,
    const struct log_kept *next,
    bool *out_is_held,
    struct error *error)
{
    scoped(tx_done) struct tx state = tx_read(holders->state);
    scoped(walk_done) struct walk walk = walk_open(&state, STATE_DB_DIRTY);
    enum status status = STATUS_OK;
    struct cell_key key;
    uint64_t left = tx_count(&state, STATE_DB_DIRTY);
    for (bool more = walk_first(&walk); more && !status && !*out_is_held; more = walk_next(&walk)) {
        left--;
        // A damaged record is told by who makes cells anew.
        if (cell_key_read(walk.key, &key) &&
            retain_lacks(next, holders->zones, key.start_s * SECOND_NS))
            status = cell_is_whole_now(&state, &key, kept, out_is_held, error);
    }
    if (!status && !*out_is_held && left != 0)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "the list of cells to be made anew is damaged: rebuild the state with `tally ledger "
            "rebuild`");
    return status ? status : tx_check(&state, error);
}

// What is on disk counts: cells in memory may be lost.
static enum status
meters_hold(
    const struct retain_holders *holders,
    const struct log_kept *kept,
    bool *out_is_held,
    struct error *error)
{
    scoped(tx_done) struct tx state = tx_read(holders->state);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < holders->live_count && !status && !*out_is_held; i++) {
        uint64_t from = 0;
        status = state_live_from(&state, holders->live[i].meter_id, &from, error);
        *out_is_held = !status && (from == 0 || from > kept->first);
    }
    return status;
}

enum status
retain_is_held(
    const struct retain_holders *holders,
    struct env *log,
    const struct log_kept *kept,
    const struct log_kept *next,
    bool *out_is_held,
    struct error *error)
{
    *out_is_held = batches_hold(holders->batches, next);
    if (*out_is_held)
        return STATUS_OK;
    enum status status = meters_hold(holders, kept, out_is_held, error);
    if (!status && !*out_is_held)
        status = tail_holds(holders, log, next, out_is_held, error);
    if (!status && !*out_is_held)
        status = cells_hold(holders, kept, next, out_is_held, error);
    return status;
}
