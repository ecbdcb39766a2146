#include "ledger/purge.h"

#include "base/assert.h"
#include "ledger/shard_view.h"
#include "ledger/state_meta.h"
#include "ledger/uniques.h"

enum {
    PURGE_CELLS_MAX = 1000,     // deleted by one transaction
    PURGE_UNIQUES_MAX = 10000,  // likewise, distinct values of a cell
    PURGE_LOOKS_MAX = 2000,     // meters looked at in one slice
};

void
purge_begin(struct purge *purge)
{
    *purge = (struct purge){.is_due = true};
}

static bool
is_known(struct tx *tx, uint32_t meter_id)
{
    uint8_t key[STATE_METER_KEY_SIZE];
    struct bytes value;
    state_meter_key(meter_id, key);
    return tx_get(tx, STATE_DB_META, bytes_of(key, sizeof key), &value);
}

static struct bytes
place_write(const struct purge *purge, uint8_t out[CELL_KEY_MAX])
{
    size_t size =
        cell_seek_window((enum cell_width)purge->width, purge->zone, purge->meter_id, 0, out);
    return bytes_of(out, size);
}

static void
place_next(struct purge *purge)
{
    purge->meter_id++;
    if (purge->meter_id == 0)
        purge->zone++;
}

static bool
place_read(struct purge *purge, struct bytes key)
{
    struct cell_key cell;
    if (!cell_key_read(key, &cell))
        return false;
    purge->width = (uint8_t)cell.width;
    purge->zone = cell.zone;
    purge->meter_id = cell.meter_id;
    return true;
}

// The next meter that has cells and no record. False: none before the end, which ends the purge,
// or none among those looked at.
static bool
purge_find(struct purge *purge, struct tx *tx, struct error *error, enum status *out_status)
{
    uint8_t key[CELL_KEY_MAX];
    struct walk walk = walk_open(tx, STATE_DB_CELLS);
    bool is_found = false;
    for (int looks = 0; looks < PURGE_LOOKS_MAX && purge->is_due && !is_found; looks++) {
        purge->is_due = walk_seek(&walk, place_write(purge, key));
        if (!purge->is_due)
            break;
        if (!place_read(purge, walk.key)) {
            char text[CELL_TEXT_MAX];
            bytes_print(walk.key, text, sizeof text);
            *out_status = error_set(error, STATUS_CORRUPT, "the cell's key %s is damaged", text);
            purge->is_due = false;
        } else if (is_known(tx, purge->meter_id)) {
            place_next(purge);
        } else {
            is_found = true;
        }
    }
    walk_done(&walk);
    return is_found;
}

static bool
is_at_place(const struct purge *purge, struct bytes key)
{
    struct purge at;
    return place_read(&at, key) && at.width == purge->width && at.zone == purge->zone &&
           at.meter_id == purge->meter_id;
}

// Deletes cells of the place. Only what stands in this transaction counts: a flush may have come.
static uint64_t
purge_delete(const struct purge *purge, struct tx *tx)
{
    uint8_t place[CELL_KEY_MAX];
    uint8_t key[CELL_KEY_MAX];
    uint64_t deleted = 0;
    struct bytes prefix = place_write(purge, place);
    uint64_t uniques_left = PURGE_UNIQUES_MAX;
    while (deleted < PURGE_CELLS_MAX && uniques_left > 0 && !is_known(tx, purge->meter_id)) {
        struct walk walk = walk_open(tx, STATE_DB_CELLS);
        bool is_there = walk_seek(&walk, prefix) && is_at_place(purge, walk.key);
        struct bytes cell = bytes_of(key, is_there ? walk.key.size : 0);
        if (is_there)
            memcpy(key, walk.key.data, walk.key.size);
        walk_done(&walk);
        if (!is_there)
            break;
        uniques_left -= uniques_delete_some(tx, cell, uniques_left);
        // With values left, the cell stays for the next slice, so that they are found again.
        if (uniques_left == 0)
            break;
        deleted += tx_delete(tx, STATE_DB_CELLS, cell);
    }
    return deleted;
}

enum status
purge_slice(struct purge *purge, struct env *state, uint64_t *out_deleted, struct error *error)
{
    enum status status = STATUS_OK;
    must(purge->is_due);
    *out_deleted = 0;
    struct tx look = tx_read(state);
    // Whose record is only hidden by damage keeps its cells.
    status = state_meta_check(&look, error);
    bool is_found = !status && purge_find(purge, &look, error, &status);
    if (!status)
        status = tx_check(&look, error);
    tx_done(&look);
    if (status || !is_found)
        return status;
    scoped(tx_done) struct tx tx = tx_write(state);
    uint64_t deleted = purge_delete(purge, &tx);
    status = tx_commit(&tx, error);
    if (!status)
        *out_deleted = deleted;
    return status;
}
