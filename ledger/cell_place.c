#include "ledger/cell_place.h"

#include "base/assert.h"

enum { EPOCH_SIZE = 4 };

static bool
is_same_place(struct bytes a, struct bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size - EPOCH_SIZE) == 0;
}

static enum status
cell_read(
    struct place_cell *cell,
    const struct walk *walk,
    const struct cell_key *key,
    enum aggregation aggregation)
{
    cell->key_bytes = walk->key;
    if (key != NULL)
        cell->key = *key;
    else if (walk->key.size > CELL_KEY_MAX || !cell_key_read(walk->key, &cell->key))
        return STATUS_CORRUPT;
    return cell_value_read(walk->key, walk->value, aggregation, &cell->state, &cell->group);
}

enum status
cell_place_read(
    struct cell_place *place,
    struct walk *walk,
    const struct cell_key *first,
    enum aggregation aggregation,
    uint32_t below_epoch,
    bool *out_more)
{
    const struct bytes first_bytes = walk->key;
    bool is_single = cell_has_way_back(aggregation);
    bool more = true;
    buffer_reset(&place->cells);
    do {
        struct place_cell *cell = (void *)buffer_reserve(&place->cells, sizeof(struct place_cell));
        must(cell != NULL && "no memory for the epochs of a cell");
        if (cell_read(cell, walk, first, aggregation))
            return STATUS_CORRUPT;
        first = NULL;
        bool is_seen = cell->key.epoch < below_epoch;
        if (is_seen && (cell->state.flags & CELL_REPLACES) && place->cells.size > 0) {
            struct place_cell *only = (void *)place->cells.data;
            *only = *cell;
            place->cells.size = 0;
        }
        if (is_seen)
            buffer_commit(&place->cells, sizeof(struct place_cell));
        more = walk_next(walk);
    } while (more && !is_single && is_same_place(walk->key, first_bytes));
    *out_more = more;
    return STATUS_OK;
}

size_t
cell_place_count(const struct cell_place *place)
{
    return place->cells.size / sizeof(struct place_cell);
}

const struct place_cell *
cell_place_at(const struct cell_place *place, size_t index)
{
    must(index < cell_place_count(place));
    return (const struct place_cell *)(const void *)place->cells.data + index;
}

void
cell_place_done(struct cell_place *place)
{
    buffer_done(&place->cells);
}
