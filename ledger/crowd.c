#include "ledger/crowd.h"

#include "base/assert.h"
#include "ledger/dirty.h"
#include "ledger/shard_view.h"
#include "ledger/uniques.h"

// A walk over the cells of one window and subject.
struct crowd_walk {
    uint8_t prefix[CELL_KEY_MAX];
    size_t prefix_size;
    struct walk walk;
    struct cell_key key;
    bool has_cell;
};

static void
walk_look(struct crowd_walk *walk, bool more)
{
    struct bytes key = walk->walk.key;
    walk->has_cell = more && key.size > walk->prefix_size &&
                     memcmp(key.data, walk->prefix, walk->prefix_size) == 0 &&
                     cell_key_read(key, &walk->key);
}

static struct crowd_walk
crowd_walk_open(struct tx *tx, const struct cell_key *key)
{
    struct crowd_walk walk = {.prefix_size = 0};
    walk.prefix_size = cell_prefix_subject(key, walk.prefix);
    walk.walk = walk_open(tx, STATE_DB_CELLS);
    walk_look(&walk, walk_seek(&walk.walk, bytes_of(walk.prefix, walk.prefix_size)));
    return walk;
}

static void
crowd_walk_next(struct crowd_walk *walk)
{
    walk_look(walk, walk_next(&walk->walk));
}

bool
crowd_is_capped(struct tx *state, const struct cell_key *key)
{
    struct crowd_walk walk = crowd_walk_open(state, key);
    bool is_capped = walk.has_cell && crowd_is_total(walk.key.group);
    walk_done(&walk.walk);
    return is_capped;
}

// Whether the window has more groups than it may, or some beside its total.
static bool
is_unsettled(struct crowd *crowd, const struct cell_key *key, bool *out_is_capped)
{
    struct crowd_walk walk = crowd_walk_open(crowd->tx, key);
    struct hash128 last = {0};
    uint32_t groups = 0;
    *out_is_capped = walk.has_cell && crowd_is_total(walk.key.group);
    uint32_t groups_max = *out_is_capped ? 1 : crowd->groups_max;
    for (; groups_max > 0 && walk.has_cell && groups <= groups_max; crowd_walk_next(&walk)) {
        struct hash128 group = walk.key.group;
        groups += groups == 0 || group.low != last.low || group.high != last.high;
        last = group;
    }
    walk_done(&walk.walk);
    return groups_max > 0 && groups > groups_max;
}

static enum status
refuse_cell(const struct crowd *crowd, struct bytes key)
{
    char name[CELL_TEXT_MAX];
    cell_key_print(key, name, sizeof name);
    return error_set(
        crowd->error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: rebuild the state with `tally ledger rebuild`",
        name);
}

// The state is a copy: the pages it was read from are written next.
static enum status
gather_cell(
    struct crowd *crowd,
    enum aggregation aggregation,
    const struct crowd_walk *walk,
    uint32_t place)
{
    struct sources *sources = &crowd->sources;
    struct source *source = sources_add(sources);
    struct cell_state *state = &source->state;
    struct cell_group group;
    struct bytes key = walk->walk.key;
    struct bytes value = arena_bytes(&sources->arena, walk->walk.value);
    if (cell_value_read(key, value, aggregation, state, &group))
        return refuse_cell(crowd, key);
    if ((state->flags & CELL_SPILLED) &&
        uniques_read(crowd->tx, key, state->unique.spilled, &state->unique.set, &sources->arena))
        return refuse_cell(crowd, key);
    source->place = place;
    source->target = walk->key.epoch;
    state->flags |= CELL_CAPPED;
    buffer_u16le(&crowd->keys, (uint16_t)key.size);
    buffer_bytes(&crowd->keys, key);
    return STATUS_OK;
}

static enum status
gather_all(struct crowd *crowd, enum aggregation aggregation, const struct cell_key *key)
{
    struct crowd_walk walk = crowd_walk_open(crowd->tx, key);
    struct hash128 last = {0};
    uint32_t place = 0;
    enum status status = STATUS_OK;
    sources_reset(&crowd->sources);
    buffer_reset(&crowd->keys);
    for (; walk.has_cell && !status; crowd_walk_next(&walk)) {
        struct hash128 group = walk.key.group;
        place += group.low != last.low || group.high != last.high;
        last = group;
        status = gather_cell(crowd, aggregation, &walk, place);
    }
    walk_done(&walk.walk);
    if (!status && buffer_failed(&crowd->keys))
        status = error_set(crowd->error, STATUS_NO_MEMORY, "no memory to merge groups");
    return status;
}

static void
delete_all(struct crowd *crowd, enum aggregation aggregation)
{
    struct cursor in = cursor_over(buffer_view(&crowd->keys));
    while (cursor_left(&in) > 0) {
        struct bytes key = cursor_take(&in, cursor_u16le(&in));
        if (aggregation == AGGREGATION_UNIQUE_COUNT)
            uniques_delete(crowd->tx, key);
        (void)tx_delete(crowd->tx, STATE_DB_CELLS, key);
        dirty_delete(crowd->tx, key);
    }
}

enum status
crowd_settle(struct crowd *crowd, enum aggregation aggregation, const struct cell_key *key)
{
    const struct cell_group none = {0};
    struct cell_key total = *key;
    bool was_capped = false;
    if (!is_unsettled(crowd, key, &was_capped))
        return STATUS_OK;
    enum status status = gather_all(crowd, aggregation, key);
    if (status)
        return status;
    delete_all(crowd, aggregation);
    total.group = (struct hash128){0};
    status = sources_write(&crowd->sources, crowd->tx, aggregation, &total, &none, crowd->error);
    crowd->capped += !status && !was_capped;
    return status;
}

void
crowd_done(struct crowd *crowd)
{
    sources_done(&crowd->sources);
    buffer_done(&crowd->keys);
}
