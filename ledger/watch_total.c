#include "ledger/watch_total.h"

#include "base/assert.h"
#include "ledger/cell_walk.h"
#include "ledger/cover.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

// A reading under way.
struct reading {
    struct watch_total *total;
    const struct watch_source *source;
    struct tx *tx;
    struct arena *arena;
    struct error *error;
    struct walk walk;
    bool more;  // the walk stands on a cell
    enum status status;
};

static bool
reading_is_enough(struct reading *reading)
{
    struct watch_total *total = reading->total;
    total->is_cut_short = total->meter->aggregation == AGGREGATION_UNIQUE_COUNT &&
                          total->distinct_max > 0 &&
                          total->state.unique.set.count >= total->distinct_max;
    return total->is_cut_short;
}

static bool
reading_memory(void *context, const struct cell_view *cell)
{
    struct reading *reading = context;
    cell_merge(cell->aggregation, &reading->total->state, cell->state, 0, reading->arena);
    return true;
}

static void
reading_refuse(struct reading *reading)
{
    char text[CELL_TEXT_MAX];
    cell_key_print(reading->walk.key, text, sizeof text);
    reading->status = error_set(
        reading->error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: rebuild the state with `tally ledger rebuild`",
        text);
}

// The cell that the walk stands on, into the sum of its group.
static void
reading_cell(struct reading *reading, struct cell_state *one, struct hash128 *group_hash)
{
    const enum aggregation aggregation = reading->total->meter->aggregation;
    struct cell_key at;
    struct cell_state state;
    struct cell_group group;
    const struct walk *walk = &reading->walk;
    if (!cell_key_read(walk->key, &at) ||
        cell_value_read(walk->key, walk->value, aggregation, &state, &group)) {
        reading_refuse(reading);
        return;
    }
    if (at.group.high != group_hash->high || at.group.low != group_hash->low) {
        cell_merge(aggregation, &reading->total->state, one, 0, reading->arena);
        *one = (struct cell_state){0};
        *group_hash = at.group;
    }
    // Made from the log: it stands for the epochs before it, too.
    if (state.flags & CELL_REPLACES)
        *one = (struct cell_state){0};
    cell_merge(aggregation, one, &state, 0, reading->arena);
    if ((state.flags & CELL_SPILLED) &&
        uniques_read(
            reading->tx, walk->key, state.unique.spilled, &one->unique.set, reading->arena))
        reading_refuse(reading);
}

// Where the meter's next window begins that has cells; INT64_MAX: there are no more.
static int64_t
reading_next(const struct reading *reading, const struct window_kind *kind, int64_t start_s)
{
    struct cell_key at;
    bool is_there = reading->more && cell_key_read(reading->walk.key, &at) &&
                    at.width == kind->width && at.zone == 0 &&
                    at.meter_id == reading->total->meter->id;
    if (!is_there)
        return INT64_MAX;
    return at.start_s > start_s ? at.start_s : window_end(kind, start_s);
}

// The cells of one window: its groups, and of each its epochs in their order.
static int64_t
reading_window(struct reading *reading, const struct window_kind *kind, int64_t start_s)
{
    uint8_t prefix[CELL_KEY_MAX];
    const struct cell_key key = {
        .width = kind->width,
        .meter_id = reading->total->meter->id,
        .start_s = start_s,
        .subject = reading->total->subject,
    };
    struct walk *walk = &reading->walk;
    size_t size = cell_prefix_subject(&key, prefix);
    struct cell_state one = {0};  // of the group so far
    struct hash128 group_hash = {0};
    if (cells_seek(walk, bytes_of(prefix, size), &reading->more)) {
        reading_refuse(reading);
        return INT64_MAX;
    }
    while (reading->more && !reading->status && walk->key.size > size &&
           memcmp(walk->key.data, prefix, size) == 0) {
        reading_cell(reading, &one, &group_hash);
        reading->more = walk_next(walk);
    }
    cell_merge(reading->total->meter->aggregation, &reading->total->state, &one, 0, reading->arena);
    if (!reading->status && reading->more && !cell_is_whole(walk))
        reading_refuse(reading);
    return reading_next(reading, kind, start_s);
}

static void
reading_disk(struct reading *reading)
{
    const struct watch_total *total = reading->total;
    struct horizons horizons;
    reading->status = horizons_read(reading->tx, &horizons, reading->error);
    if (reading->status)
        return;
    const struct cover_question question = {.from_s = total->from_s, .to_s = total->to_s};
    const struct cover cover = cover_make(&horizons, &question, reading->arena);
    reading->walk = walk_open(reading->tx, STATE_DB_CELLS);
    for (uint32_t i = 0; i < cover.count; i++) {
        const struct cover_piece *piece = &cover.pieces[i];
        int64_t start_s = piece->from_s;
        // Cells answer for every UTC day and month: none are deleted before wider ones are made of
        // them, and the widest stay for good (ledger/roll).
        must(!piece->is_log);
        while (start_s < piece->to_s && !reading->status && !reading_is_enough(reading))
            start_s = reading_window(reading, &piece->kind, start_s);
    }
    walk_done(&reading->walk);
}

// Whether the frozen cells are not in the snapshot yet: it still stands where it stood before. When
// the freeze moved neither, it has no cells of the meter.
static bool
needs_frozen(struct reading *reading)
{
    const struct watch_source *source = reading->source;
    const uint32_t meter_id = reading->total->meter->id;
    uint64_t position = 0;
    uint64_t live_from = 0;
    uint64_t flushed_from = 0;
    reading->status = state_position(reading->tx, &position, reading->error);
    if (!reading->status)
        reading->status = state_live_from(reading->tx, meter_id, &live_from, reading->error);
    for (uint32_t i = 0; i < source->live_count; i++) {
        if (source->live[i].meter_id == meter_id)
            flushed_from = source->live[i].flushed_from;
    }
    return position == source->flushed && live_from == flushed_from;
}

enum status
watch_total_read(
    struct watch_total *total,
    const struct watch_source *source,
    struct tx *tx,
    struct arena *arena,
    struct error *error)
{
    struct reading reading = {
        .total = total, .source = source, .tx = tx, .arena = arena, .error = error};
    const struct cells_range range = {
        .meter_id = total->meter->id,
        .subject = total->subject,
        .from_s = total->from_s,
        .to_s = total->to_s,
    };
    must(total->subject.size > 0 && total->from_s < total->to_s);
    cells_each(source->cells, &range, reading_memory, &reading);
    total->is_dirty_in_memory = (total->state.flags & CELL_DIRTY) != 0;
    if (source->frozen != NULL && needs_frozen(&reading) && !reading.status)
        cells_each(source->frozen, &range, reading_memory, &reading);
    if (!reading.status)
        reading_disk(&reading);
    total->is_dirty = (total->state.flags & CELL_DIRTY) != 0;
    return reading.status ? reading.status : tx_check(tx, error);
}

bool
watch_source_is_complete(const struct watch_source *source, uint32_t meter_id)
{
    for (uint32_t i = 0; i < source->live_count; i++) {
        if (source->live[i].meter_id == meter_id)
            return source->live[i].from <= source->log_first;
    }
    return false;
}
