#include "ledger/mend.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "ledger/dirty.h"
#include "ledger/log_kept.h"
#include "ledger/remake.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

struct mend {
    struct env *log;
    struct env *state;
    bool is_needed;
    struct arena arena;  // of the facts
    const struct meter_set *meters;
    struct cuts cuts;
    const struct billing_zones *zones;
    struct remake *remake;  // NULL: no batch is under way
    struct buffer value;    // of one cell
    uint64_t count;
};

struct mend *
mend_open(struct env *log, struct env *state)
{
    struct mend *mend = pool_take(1, sizeof *mend);
    must(mend != NULL && "no memory to make cells anew");
    mend->log = log;
    mend->state = state;
    return mend;
}

void
mend_close(struct mend *mend)
{
    if (mend == NULL)
        return;
    remake_close(mend->remake);
    buffer_done(&mend->value);
    arena_done(&mend->arena);
    pool_give(mend);
}

bool
mend_is_needed(const struct mend *mend)
{
    return mend->is_needed;
}

bool
mend_forgets_next(const struct mend *mend)
{
    return mend->remake == NULL;
}

uint64_t
mend_take_count(struct mend *mend)
{
    uint64_t count = mend->count;
    mend->count = 0;
    return count;
}

enum status
mend_know(struct mend *mend, const struct mend_facts *facts, struct error *error)
{
    scoped(tx_done) struct tx state = tx_read(mend->state);
    mend->is_needed = mend->remake != NULL || tx_count(&state, STATE_DB_DIRTY) > 0;
    mend->cuts = facts->cuts;
    mend->zones = facts->zones;
    enum status status = tx_check(&state, error);
    if (status || !mend->is_needed)
        return status;
    uint32_t count = meter_set_count(facts->meters);
    arena_reset(&mend->arena);
    struct meter *copies = arena_array(&mend->arena, count, struct meter);
    for (uint32_t i = 0; i < count; i++)
        copies[i] = meter_copy(meter_set_at(facts->meters, i), &mend->arena);
    mend->meters = meter_set_make(copies, count, &mend->arena);
    return STATUS_OK;
}

// --- a batch ---

static enum status
refuse_cell(struct bytes key, struct error *error)
{
    char name[CELL_TEXT_MAX];
    cell_key_print(key, name, sizeof name);
    return error_set(
        error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: rebuild the state with `tally ledger rebuild`",
        name);
}

// What a batch is gathered from.
struct gathering {
    struct mend *mend;
    struct tx *state;
    struct horizons horizons;
    struct log_kept kept;  // from where on the log is there
    struct buffer gone;    // keys of records that nobody needs: u16 size, bytes
};

// *out_is_wanted false: nobody reads the cell any more (its meter or zone is gone, or it is
// deleted), or it is clean. Cells of a meter that still gets older blocks (ledger/meter_rebuild)
// wait, with their records: what was made anew would not know which of the events to come are
// cancelled.
static enum status
gather_cell(
    struct gathering *gathering, struct bytes bytes, bool *out_is_wanted, struct error *error)
{
    struct mend *mend = gathering->mend;
    struct remake_item item = {.live_from = 0};
    struct cell_state state;
    struct bytes value;
    *out_is_wanted = false;
    if (!cell_key_read(bytes, &item.key))
        return refuse_cell(bytes, error);
    const struct meter_rule *rule = meter_set_find(mend->meters, item.key.meter_id);
    const struct horizon *horizon =
        horizons_find(&gathering->horizons, item.key.width, item.key.zone);
    // Whether its zone is listed, or has this clock, the next flush says.
    bool has_clock = horizon != NULL &&
                     (item.key.zone == 0 || (horizon->kind.zone != NULL && !horizon->is_other));
    *out_is_wanted = rule != NULL && !has_clock && horizon != NULL &&
                     (horizon->is_other || horizon->made_s != 0);
    if (rule == NULL || !has_clock || !tx_get(gathering->state, STATE_DB_CELLS, bytes, &value))
        return tx_check(gathering->state, error);
    enum aggregation aggregation = rule->meter->aggregation;
    if (cell_value_read(bytes, value, aggregation, &state, &item.group))
        return refuse_cell(bytes, error);
    if (!(state.flags & CELL_DIRTY))
        return STATUS_OK;
    item.end_s = window_end(&horizon->kind, item.key.start_s);
    item.has_all_groups = (state.flags & CELL_CAPPED) != 0;
    enum status status =
        state_live_from(gathering->state, item.key.meter_id, &item.live_from, error);
    if (status || item.live_from == 0)
        return status;
    // What was deleted cannot be made anew: the cell stays as it is, and listed.
    *out_is_wanted = true;
    if (item.live_from > gathering->kept.first)
        return STATUS_OK;
    bool lacks = item.live_from < gathering->kept.first &&
                 item.key.start_s * SECOND_NS <= gathering->kept.until_ns;
    if (lacks)
        return STATUS_OK;
    remake_add(mend->remake, &item, rule->meter);
    return STATUS_OK;
}

static enum status
gather_all(struct gathering *gathering, struct error *error)
{
    struct mend *mend = gathering->mend;
    enum status status = horizons_read(gathering->state, &gathering->horizons, error);
    for (uint32_t i = 0; !status && i < mend->zones->count; i++)
        (void)horizons_zone(&gathering->horizons, mend->zones->list[i], false);
    struct walk walk = walk_open(gathering->state, STATE_DB_DIRTY);
    bool more = walk_first(&walk);
    for (; !status && more && remake_count(mend->remake) < REMAKE_ITEMS_MAX;
         more = walk_next(&walk)) {
        bool is_wanted = false;
        if (!dirty_is_sound(walk.key, walk.value))
            status = error_set(
                error,
                STATUS_CORRUPT,
                "state: the record of a dirty cell is damaged: "
                "rebuild the state with `tally ledger rebuild`");
        else
            status = gather_cell(gathering, walk.key, &is_wanted, error);
        if (status || is_wanted)
            continue;
        buffer_u16le(&gathering->gone, (uint16_t)walk.key.size);
        buffer_bytes(&gathering->gone, walk.key);
    }
    walk_done(&walk);
    if (!status && buffer_failed(&gathering->gone))
        status = error_set(error, STATUS_NO_MEMORY, "no memory to make cells anew");
    return status;
}

static enum status
records_delete(const struct mend *mend, struct bytes keys, struct error *error)
{
    struct cursor in = cursor_over(keys);
    if (keys.size == 0)
        return STATUS_OK;
    scoped(tx_done) struct tx tx = tx_write(mend->state);
    while (cursor_left(&in) > 0)
        dirty_delete(&tx, cursor_take(&in, cursor_u16le(&in)));
    return tx_commit(&tx, error);
}

static enum status
log_begin(const struct mend *mend, struct gathering *gathering, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(mend->log);
    return log_kept_read(&log, &gathering->kept, error);
}

static enum status
batch_begin(struct mend *mend, struct error *error)
{
    scoped(tx_done) struct tx state = tx_read(mend->state);
    struct gathering gathering = {.mend = mend, .state = &state};
    enum status status = log_begin(mend, &gathering, error);
    if (status)
        return status;
    mend->remake = remake_open(mend->log, gathering.kept.first);
    status = gather_all(&gathering, error);
    tx_done(&state);
    if (!status)
        status = records_delete(mend, buffer_view(&gathering.gone), error);
    buffer_done(&gathering.gone);
    if (!status && remake_count(mend->remake) > 0)
        return STATUS_OK;
    remake_close(mend->remake);
    mend->remake = NULL;
    mend->is_needed = false;
    return status;
}

static void
write_unique(struct tx *tx, struct bytes key, struct cell_state *state, struct arena *arena)
{
    struct cell_unique *unique = &state->unique;
    uniques_delete(tx, key);
    if (unique->set.count <= CELL_SET_INLINE_MAX) {
        cell_unique_list(unique, arena);
        return;
    }
    unique->spilled = uniques_put(tx, key, &unique->set);
    unique->set = (struct cell_set){0};
    state->flags |= CELL_SPILLED;
}

// The cell may be gone since, or clean. Its record stays until the next batch is gathered.
static enum status
write_item(struct mend *mend, struct tx *tx, const struct remake_item *item, struct error *error)
{
    uint8_t bytes[CELL_KEY_MAX];
    struct bytes key = bytes_of(bytes, cell_key_write(&item->key, bytes));
    enum aggregation aggregation = item->rule->meter->aggregation;
    struct bytes value;
    struct cell_state stored = {0};
    struct cell_group group;
    uint64_t live_from = 0;
    bool is_there = tx_get(tx, STATE_DB_CELLS, key, &value);
    if (is_there && cell_value_read(key, value, aggregation, &stored, &group))
        return refuse_cell(key, error);
    enum status status = state_live_from(tx, item->key.meter_id, &live_from, error);
    if (status || live_from != item->live_from)
        return status;
    if (!(stored.flags & CELL_DIRTY))
        return STATUS_OK;
    struct cell_state state = item->state;
    state.flags |= CELL_REPLACES | (stored.flags & CELL_CAPPED);
    if (aggregation == AGGREGATION_UNIQUE_COUNT)
        write_unique(tx, key, &state, remake_arena(mend->remake));
    buffer_reset(&mend->value);
    cell_value_write(key, aggregation, &state, &item->group, &mend->value);
    if (buffer_failed(&mend->value))
        return error_set(error, STATUS_NO_MEMORY, "no memory to make cells anew");
    tx_put(tx, STATE_DB_CELLS, key, buffer_view(&mend->value));
    mend->count++;
    return STATUS_OK;
}

static enum status
batch_end(struct mend *mend, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(mend->state);
    enum status status = STATUS_OK;
    for (uint32_t i = 0; !status && i < remake_count(mend->remake); i++) {
        const struct remake_item *item = remake_at(mend->remake, i);
        if (!item->is_spoiled)
            status = write_item(mend, &tx, item, error);
    }
    if (!status)
        status = tx_commit(&tx, error);
    remake_close(mend->remake);
    mend->remake = NULL;
    return status;
}

static enum status
mend_position(const struct mend *mend, uint64_t *out, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(mend->state);
    enum status status = state_position(&tx, out, error);
    return status ? status : tx_check(&tx, error);
}

enum status
mend_step(struct mend *mend, struct error *error)
{
    uint64_t position = 0;
    bool is_done = false;
    must(mend->is_needed);
    if (mend->remake == NULL)
        return batch_begin(mend, error);
    enum status status = mend_position(mend, &position, error);
    if (!status)
        status = remake_step(mend->remake, &mend->cuts, position, &is_done, error);
    return status || !is_done ? status : batch_end(mend, error);
}

void
mend_give_up(struct mend *mend)
{
    remake_close(mend->remake);
    mend->remake = NULL;
    mend->is_needed = false;
}
