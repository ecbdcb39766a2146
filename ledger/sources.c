#include "ledger/sources.h"

#include "base/assert.h"
#include "ledger/dirty.h"
#include "ledger/uniques.h"

void
sources_reset(struct sources *sources)
{
    buffer_reset(&sources->list);
    arena_reset(&sources->arena);
}

void
sources_done(struct sources *sources)
{
    buffer_done(&sources->list);
    buffer_done(&sources->value);
    arena_done(&sources->arena);
}

struct source *
sources_add(struct sources *sources)
{
    struct source *source = (void *)buffer_reserve(&sources->list, sizeof *source);
    must(source != NULL && "no memory to merge cells");
    *source = (struct source){.place = 0};
    buffer_commit(&sources->list, sizeof *source);
    return source;
}

static uint32_t
sources_count(const struct sources *sources)
{
    return (uint32_t)(sources->list.size / sizeof(struct source));
}

static const struct source *
sources_at(const struct sources *sources, uint32_t index)
{
    return (const struct source *)(const void *)sources->list.data + index;
}

// Whether a later state of the same place, up to the epoch, was made from the log and stands for
// this one too.
static bool
source_is_replaced(const struct sources *sources, uint32_t index, uint32_t target)
{
    const struct source *source = sources_at(sources, index);
    for (uint32_t i = index + 1; i < sources_count(sources); i++) {
        const struct source *later = sources_at(sources, i);
        if (later->place != source->place)
            return false;
        if (later->target <= target && (later->state.flags & CELL_REPLACES))
            return true;
    }
    return false;
}

// Whether something of the epoch was made from the log.
static bool
sources_replace(const struct sources *sources, uint32_t target)
{
    for (uint32_t i = 0; i < sources_count(sources); i++) {
        const struct source *source = sources_at(sources, i);
        if (source->target == target && (source->state.flags & CELL_REPLACES))
            return true;
    }
    return false;
}

// The next epoch above, or the lowest of all.
static bool
next_target(const struct sources *sources, bool is_first, uint32_t above, uint32_t *out)
{
    bool has_one = false;
    for (uint32_t i = 0; i < sources_count(sources); i++) {
        uint32_t target = sources_at(sources, i)->target;
        if ((is_first || target > above) && (!has_one || target < *out)) {
            *out = target;
            has_one = true;
        }
    }
    return has_one;
}

// What came in one epoch is merged by itself. When something in it was made from the log again, it
// says all of the earlier epochs, too: as a cell does that a late correction touched and that was
// then made from the log, so that it does not matter which came first.
static void
sources_merge(
    struct sources *sources,
    enum aggregation aggregation,
    uint32_t target,
    bool says_all,
    struct cell_state *out)
{
    for (uint32_t i = 0; i < sources_count(sources); i++) {
        const struct source *source = sources_at(sources, i);
        bool is_of_it = says_all
                            ? source->target <= target && !source_is_replaced(sources, i, target)
                            : source->target == target;
        if (is_of_it)
            cell_merge(aggregation, out, &source->state, source->shift_s, &sources->arena);
    }
}

static void
unique_put(struct sources *sources, struct tx *to, struct bytes key, struct cell_state *state)
{
    struct cell_unique *unique = &state->unique;
    uniques_delete(to, key);
    if (unique->set.count <= CELL_SET_INLINE_MAX) {
        cell_unique_list(unique, &sources->arena);
        return;
    }
    unique->spilled = uniques_put(to, key, &unique->set);
    sources->puts += unique->spilled;
    unique->set = (struct cell_set){0};
    state->flags |= CELL_SPILLED;
}

static enum status
state_put(
    struct sources *sources,
    struct tx *to,
    enum aggregation aggregation,
    const struct cell_key *of,
    const struct cell_group *group,
    struct cell_state *state)
{
    uint8_t bytes[CELL_KEY_MAX];
    struct bytes key = bytes_of(bytes, cell_key_write(of, bytes));
    if (aggregation == AGGREGATION_UNIQUE_COUNT)
        unique_put(sources, to, key, state);
    buffer_reset(&sources->value);
    cell_value_write(key, aggregation, state, group, &sources->value);
    if (buffer_failed(&sources->value))
        return STATUS_NO_MEMORY;
    tx_put(to, STATE_DB_CELLS, key, buffer_view(&sources->value));
    if (state->flags & CELL_DIRTY)
        dirty_put(to, key);
    else
        dirty_delete(to, key);
    sources->written++;
    sources->puts++;
    return to->status;
}

enum status
sources_write(
    struct sources *sources,
    struct tx *to,
    enum aggregation aggregation,
    struct cell_key *key,
    const struct cell_group *group,
    struct error *error)
{
    bool is_first = true;
    uint32_t target = 0;
    enum status status = STATUS_OK;
    while (!status && next_target(sources, is_first, target, &target)) {
        struct cell_state state = {0};
        bool says_all = sources_replace(sources, target);
        sources_merge(sources, aggregation, target, says_all, &state);
        if (says_all)
            state.flags |= CELL_REPLACES;
        key->epoch = target;
        status = state_put(sources, to, aggregation, key, group, &state);
        is_first = false;
    }
    if (status == STATUS_NO_MEMORY)
        return error_set(error, status, "no memory to merge cells");
    return status;
}
