#include "ledger/flush.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/cell_walk.h"
#include "ledger/crowd.h"
#include "ledger/cut_record.h"
#include "ledger/dirty.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

struct flush {
    const struct flush_options *options;
    struct tx tx;
    struct walk walk;  // along the quarter hours' cells, in whose order they come
    // No cell is stored from where the walk was sent to before this key; size 0: before any.
    uint8_t bound[CELL_KEY_MAX];
    size_t bound_size;
    bool has_bound;
    struct horizons horizons;
    struct buffer value;   // of one cell
    struct arena scratch;  // likewise
    uint32_t meter_id;     // of the last cell, which is mostly that of the next
    bool is_meter_live;
    struct crowd crowd;
    // The cells of one quarter hour, meter and subject come one after the other.
    struct cell_view run;          // the last one of them
    bool has_run;                  // there is one, and something was added to made windows
    bool grown[WINDOW_KINDS_MAX];  // whose window of the run has a new group
    bool is_new;                   // the cell that was put was not there before
    enum status status;
    struct error *error;
};

// The others are found where they are.
static bool
is_walked(struct bytes key)
{
    return key.data[0] == CELL_QUARTER_HOUR;
}

static void
flush_refuse(struct flush *flush, struct bytes key)
{
    char name[CELL_TEXT_MAX];
    cell_key_print(key, name, sizeof name);
    flush->status = error_set(
        flush->error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: rebuild the state with `tally ledger rebuild`",
        name);
}

// As tx_get; the walk stands on what is there. Keys ascend, each comes once (cells_each_sorted),
// and nobody else puts any between them: so in a window of which nothing is stored yet the first
// answer is that of all others. A damaged key must not say so of what lies before it.
static bool
flush_find(struct flush *flush, struct bytes key, struct bytes *out)
{
    if (flush->has_bound && (flush->bound_size == 0 ||
                             bytes_compare(key, bytes_of(flush->bound, flush->bound_size)) < 0))
        return false;
    const bool more = walk_seek(&flush->walk, key);
    const struct bytes found = flush->walk.key;
    const bool is_there = more && bytes_equal(found, key);
    flush->has_bound = !is_there;
    flush->bound_size = 0;
    if (is_there) {
        *out = flush->walk.value;
    } else if (more && (found.size > sizeof flush->bound || !cell_is_whole(&flush->walk))) {
        flush_refuse(flush, found);
    } else if (more) {
        flush->bound_size = found.size;
        memcpy(flush->bound, found.data, found.size);
    }
    return is_there;
}

// The stored state, or an empty one. False: it is damaged.
static bool
flush_stored(
    struct flush *flush, struct bytes key, enum aggregation aggregation, struct cell_state *out)
{
    struct bytes stored;
    struct cell_group group;
    *out = (struct cell_state){0};
    flush->is_new = true;
    const bool is_there = is_walked(key) ? flush_find(flush, key, &stored)
                                         : tx_get(&flush->tx, STATE_DB_CELLS, key, &stored);
    if (!is_there)
        return flush->status == STATUS_OK;
    flush->is_new = false;
    if (!cell_value_read(key, stored, aggregation, out, &group))
        return true;
    flush_refuse(flush, key);
    return false;
}

// Distinct values stay in the cell while they are few.
static void
flush_unique(struct flush *flush, struct bytes key, struct cell_state *state)
{
    struct cell_unique *unique = &state->unique;
    bool is_spilled = (state->flags & CELL_SPILLED) != 0;
    if (is_spilled || unique->set.count > CELL_SET_INLINE_MAX) {
        unique->spilled += uniques_put(&flush->tx, key, &unique->set);
        state->flags |= CELL_SPILLED;
        unique->set = (struct cell_set){0};
    } else {
        cell_unique_list(unique, &flush->scratch);
    }
}

static void
flush_merge(
    struct flush *flush,
    struct bytes key,
    struct cell_state *state,
    const struct cell_view *cell,
    int64_t shift_s)
{
    if (cell->aggregation == AGGREGATION_UNIQUE_COUNT) {
        // The stored list points into a page that the next write may move.
        const struct cell_state stored = *state;
        state->unique.listed = bytes_of(NULL, 0);
        cell_merge(AGGREGATION_UNIQUE_COUNT, state, &stored, 0, &flush->scratch);
        state->count = stored.count;
    }
    cell_merge(cell->aggregation, state, cell->state, shift_s, &flush->scratch);
    if (cell->aggregation == AGGREGATION_UNIQUE_COUNT)
        flush_unique(flush, key, state);
}

// What flush_stored was asked for last.
static void
flush_put(struct flush *flush, struct bytes key, struct bytes value)
{
    if (!is_walked(key))
        tx_put(&flush->tx, STATE_DB_CELLS, key, value);
    else if (flush->is_new)
        walk_insert(&flush->walk, key, value);
    else
        walk_put(&flush->walk, value);
}

// Adds the cell to the stored one of the key, whose window starts shift_s before the cell's.
static bool
flush_into(
    struct flush *flush, const struct cell_key *into, const struct cell_view *cell, int64_t shift_s)
{
    uint8_t key_bytes[CELL_KEY_MAX];
    struct bytes key = bytes_of(key_bytes, cell_key_write(into, key_bytes));
    struct cell_state state;
    arena_reset(&flush->scratch);
    if (!flush_stored(flush, key, cell->aggregation, &state))
        return false;
    flush_merge(flush, key, &state, cell, shift_s);
    buffer_reset(&flush->value);
    cell_value_write(key, cell->aggregation, &state, cell->group, &flush->value);
    if (buffer_failed(&flush->value)) {
        flush->status = error_set(flush->error, STATUS_NO_MEMORY, "no memory to flush cells");
        return false;
    }
    flush_put(flush, key, buffer_view(&flush->value));
    if (cell->state->flags & CELL_DIRTY)
        dirty_put(&flush->tx, key);
    return flush->tx.status == STATUS_OK;
}

// Late for a window that is made already.
static bool
flush_late(struct flush *flush, uint32_t index, const struct cell_view *cell)
{
    const struct horizon *horizon = &flush->horizons.list[index];
    const struct window_kind *kind = &horizon->kind;
    struct cell_key key = cell->key;
    key.width = kind->width;
    key.zone = kind->zone_number;
    key.start_s = window_start(kind, cell->key.start_s);
    int64_t end_s = window_end(kind, key.start_s);
    if (end_s > horizon->made_s || key.start_s < horizon->kept_s)
        return true;
    key.epoch = cuts_epoch(flush->options->cuts, end_s, cell->key.epoch);
    if (!flush_into(flush, &key, cell, cell->key.start_s - key.start_s))
        return false;
    if (flush->is_new && cell->group->count > 0) {
        flush->run = *cell;
        flush->has_run = true;
        flush->grown[index] = true;
    }
    return true;
}

// The made windows that got new groups may have too many now.
static bool
flush_settle(struct flush *flush)
{
    const struct cell_view *run = &flush->run;
    flush->has_run = false;
    for (uint32_t i = 1; i < flush->horizons.count && !flush->status; i++) {
        const struct window_kind *kind = &flush->horizons.list[i].kind;
        struct cell_key key = run->key;
        if (!flush->grown[i])
            continue;
        flush->grown[i] = false;
        key.width = kind->width;
        key.zone = kind->zone_number;
        key.start_s = window_start(kind, run->key.start_s);
        flush->status = crowd_settle(&flush->crowd, run->aggregation, &key);
    }
    return !flush->status;
}

static bool
is_of_run(const struct flush *flush, const struct cell_key *key)
{
    const struct cell_key *run = &flush->run.key;
    return run->meter_id == key->meter_id && run->start_s == key->start_s &&
           bytes_equal(run->subject, key->subject);
}

static bool
is_live(const struct flush_options *options, uint32_t meter_id)
{
    for (uint32_t i = 0; i < options->live_count; i++) {
        if (options->live[i].meter_id == meter_id)
            return true;
    }
    return false;
}

// What a meter that left has in memory must not come behind ledger/purge.
static bool
flush_wants(struct flush *flush, uint32_t meter_id)
{
    if (flush->meter_id != meter_id) {
        flush->meter_id = meter_id;
        flush->is_meter_live = is_live(flush->options, meter_id);
    }
    return flush->is_meter_live;
}

static bool
flush_cell(void *context, const struct cell_view *cell)
{
    struct flush *flush = context;
    if (!flush_wants(flush, cell->key.meter_id))
        return true;
    const struct horizons *horizons = &flush->horizons;
    bool is_fine = true;
    if (flush->has_run && !is_of_run(flush, &cell->key) && !flush_settle(flush))
        return false;
    if (cell->key.start_s >= horizons->list[0].kept_s)
        is_fine = flush_into(flush, &cell->key, cell, 0);
    for (uint32_t i = 1; i < horizons->count && is_fine; i++) {
        if (cell->key.start_s < horizons->list[i].made_s)
            is_fine = flush_late(flush, i, cell);
    }
    return is_fine;
}

// Windows of a zone that is listed no more get no late events, so they are not made any more:
// should it be listed again, they are made anew. Likewise those of another clock than it has now.
static enum status
flush_horizons(struct flush *flush)
{
    struct horizons *horizons = &flush->horizons;
    enum status status = horizons_read(&flush->tx, horizons, flush->error);
    for (uint32_t i = 0; i < flush->options->zones->count && !status; i++)
        (void)horizons_zone(horizons, flush->options->zones->list[i], false);
    for (uint32_t i = 0; i < horizons->count && !status; i++) {
        struct horizon *horizon = &horizons->list[i];
        bool is_listed = horizon->kind.zone_number == 0 || horizon->kind.zone != NULL;
        if (!horizon->is_other && (is_listed || horizon->made_s == 0))
            continue;
        horizon->made_s = 0;
        horizon->kept_s = 0;
        horizon_write(&flush->tx, horizons, horizon);
    }
    return status;
}

// Meters that left the registry leave the records too: their cells grow no more, are never read
// again, and ledger/purge deletes them.
static void
flush_meters(struct flush *flush)
{
    const struct flush_options *options = flush->options;
    uint8_t key[STATE_METER_KEY_SIZE];
    uint32_t *gone = arena_array(&flush->scratch, tx_count(&flush->tx, STATE_DB_META), uint32_t);
    uint32_t gone_count = 0;
    uint32_t id;
    struct walk walk = walk_open(&flush->tx, STATE_DB_META);
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        if (state_meter_key_read(walk.key, &id) && !is_live(options, id))
            gone[gone_count++] = id;
    }
    walk_done(&walk);
    for (uint32_t i = 0; i < gone_count; i++) {
        state_meter_key(gone[i], key);
        (void)tx_delete(&flush->tx, STATE_DB_META, bytes_of(key, sizeof key));
    }
    for (uint32_t i = 0; i < options->live_count; i++) {
        state_meter_key(options->live[i].meter_id, key);
        state_number_put(&flush->tx, bytes_of(key, sizeof key), options->live[i].from);
    }
}

enum status
flush_run(const struct flush_options *options, struct error *error)
{
    struct flush *flush = pool_take(1, sizeof *flush);
    if (flush == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory to flush cells");
    flush->options = options;
    flush->tx = tx_write(options->state);
    flush->walk = walk_open(&flush->tx, STATE_DB_CELLS);
    flush->error = error;
    flush->crowd =
        (struct crowd){.tx = &flush->tx, .groups_max = options->groups_max, .error = error};
    uint64_t flushed = 0;
    flush->status = state_position(&flush->tx, &flushed, error);
    if (!flush->status)
        flush->status = flush_horizons(flush);
    if (!flush->status)
        cells_each_sorted(options->cells, flush_cell, flush);
    if (!flush->status && flush->has_run)
        (void)flush_settle(flush);
    enum status status = flush->status;
    walk_done(&flush->walk);
    if (!status) {
        state_number_put(&flush->tx, bytes_text("position"), options->position);
        flush_meters(flush);
        cuts_write(&flush->tx, options->cuts, flushed);
        batches_write(&flush->tx, options->batches, options->batches_count);
        status = tx_commit(&flush->tx, error);
    }
    if (!status && options->capped != NULL)
        *options->capped += flush->crowd.capped;
    tx_done(&flush->tx);
    crowd_done(&flush->crowd);
    buffer_done(&flush->value);
    arena_done(&flush->scratch);
    pool_give(flush);
    return status;
}
