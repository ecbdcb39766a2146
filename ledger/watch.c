#include "ledger/watch.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cover.h"
#include "ledger/shard_view.h"

#include <stdlib.h>
#include <string.h>

enum {
    WATCH_ENTRIES_MAX = 1 << 18,  // then all are dropped, and based again when they are touched
    WATCH_CAPACITY_FIRST = 1 << 10,
};

struct watch_entry {
    struct hash128 hash;
    const struct watched *watched;
    struct bytes subject;
    int64_t from_s, to_s;
    uint64_t block;  // of the last event
    int64_t time_ns;
    bool is_based;
    bool is_queued;  // to be based
    bool is_dirty;   // a cell of the total is to be made anew from the log
    bool has_fired;
    struct cell_state total;
    struct watch_entry *next_unbased;
};

struct watch_pending {
    struct fired fired;
    struct watch_pending *next;
};

// ---- what is watched

static const struct meter *
meter_of(const struct threshold *threshold, const struct meter *meters, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(meters[i].key, threshold->meter) == 0)
            return &meters[i];
    }
    return NULL;
}

static int
watched_compare(const void *a, const void *b)
{
    uint32_t left = ((const struct watched *)a)->meter->id;
    uint32_t right = ((const struct watched *)b)->meter->id;
    return (left > right) - (left < right);
}

struct watched_set *
watched_make(
    const struct threshold *thresholds,
    uint32_t count,
    const struct meter *meters,
    uint32_t meters_count,
    struct arena *arena)
{
    struct watched_set *set = arena_new(arena, struct watched_set);
    set->list = arena_array(arena, count, struct watched);
    for (uint32_t i = 0; i < count; i++) {
        const struct threshold *one = &thresholds[i];
        const struct meter *meter = meter_of(one, meters, meters_count);
        if (meter == NULL || !threshold_allows(meter->aggregation))
            continue;
        set->list[set->count++] = (struct watched){
            .threshold = one,
            .meter = meter,
            .subject = bytes_text(one->subject != NULL ? one->subject : ""),
        };
    }
    if (set->count > 1)
        qsort(set->list, set->count, sizeof set->list[0], watched_compare);
    return set;
}

// The first of a meter; set->count: none.
static uint32_t
watched_first(const struct watched_set *set, uint32_t meter_id)
{
    uint32_t low = 0;
    uint32_t high = set->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (set->list[middle].meter->id < meter_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
watched_is_for(const struct watched *watched, struct bytes subject)
{
    return watched->subject.size == 0 || bytes_equal(watched->subject, subject);
}

// ---- the table

void
watch_done(struct watch *watch)
{
    arena_done(&watch->arena);
    arena_done(&watch->batches[0].arena);
    arena_done(&watch->batches[1].arena);
}

static void
watch_clear(struct watch *watch)
{
    must(watch_is_settled(watch));
    arena_reset(&watch->arena);
    watch->places = NULL;
    watch->capacity = 0;
    watch->count = 0;
    watch->unbased_first = NULL;
    watch->unbased_last = NULL;
}

void
watch_adopt(struct watch *watch, const struct watched_set *set)
{
    watch_clear(watch);
    watch->set = set;
}

static struct hash128
entry_hash(const struct watched *watched, struct bytes subject, int64_t from_s)
{
    uint64_t seed = (uint64_t)from_s * 0x9e3779b97f4a7c15U ^ watched->threshold->id;
    return hash128(subject, seed);
}

static uint32_t
place_of(const struct watch *watch, struct hash128 hash)
{
    uint32_t at = (uint32_t)hash.low & (watch->capacity - 1);
    while (watch->places[at] != NULL &&
           (watch->places[at]->hash.low != hash.low || watch->places[at]->hash.high != hash.high))
        at = (at + 1) & (watch->capacity - 1);
    return at;
}

static void
watch_grow(struct watch *watch)
{
    struct watch_entry **old = watch->places;
    uint32_t old_capacity = watch->capacity;
    watch->capacity = old_capacity == 0 ? WATCH_CAPACITY_FIRST : old_capacity * 2;
    watch->places = arena_array(&watch->arena, watch->capacity, struct watch_entry *);
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i] != NULL)
            watch->places[place_of(watch, old[i]->hash)] = old[i];
    }
}

// Its total comes from the cells.
static void
entry_queue(struct watch *watch, struct watch_entry *entry)
{
    entry->is_based = false;
    if (entry->is_queued)
        return;
    entry->is_queued = true;
    entry->next_unbased = NULL;
    if (watch->unbased_last != NULL)
        watch->unbased_last->next_unbased = entry;
    else
        watch->unbased_first = entry;
    watch->unbased_last = entry;
}

static struct watch_entry *
entry_make(struct watch *watch, const struct watched *watched, struct bytes subject, int64_t from_s)
{
    struct watch_entry *entry = arena_new(&watch->arena, struct watch_entry);
    int64_t same_from_s;
    entry->watched = watched;
    entry->hash = entry_hash(watched, subject, from_s);
    entry->subject = arena_bytes(&watch->arena, subject);
    threshold_period_of(watched->threshold->period, from_s, &same_from_s, &entry->to_s);
    entry->from_s = from_s;
    must(same_from_s == from_s);
    watch->count++;
    entry_queue(watch, entry);
    return entry;
}

static struct watch_entry *
entry_find(
    const struct watch *watch, const struct watched *watched, struct bytes subject, int64_t from_s)
{
    if (watch->capacity == 0)
        return NULL;
    return watch->places[place_of(watch, entry_hash(watched, subject, from_s))];
}

// ---- totals

// False: there is none.
static bool
total_value(enum aggregation aggregation, const struct cell_state *total, struct wide *out)
{
    bool has_value = true;
    *out = (struct wide){0};
    if (aggregation == AGGREGATION_COUNT) {
        *out = wide_multiply(DECIMAL_ONE.units, total->count);
    } else if (aggregation == AGGREGATION_SUM) {
        *out = total->sum.sum;
    } else {
        has_value = (total->flags & CELL_HAS_VALUE) != 0;
        bool is_max = aggregation == AGGREGATION_MAX;
        if (has_value)
            *out = wide_from_int128(is_max ? total->extreme.units : total->latest.value.units);
    }
    return has_value;
}

static void
entry_fire(struct watch *watch, struct watch_entry *entry, const struct wide *value)
{
    struct watch_batch *batch = &watch->batches[watch->gathering];
    struct watch_pending *pending = arena_new(&batch->arena, struct watch_pending);
    pending->fired = (struct fired){
        .threshold_id = entry->watched->threshold->id,
        .from_s = entry->from_s,
        .block = entry->block,
        .time_ns = entry->time_ns,
        .value = *value,
        .subject = arena_bytes(&batch->arena, entry->subject),
    };
    entry->has_fired = true;
    batch->count++;
    if (batch->last != NULL)
        batch->last->next = pending;
    else
        batch->first = pending;
    batch->last = pending;
}

static void
entry_test(struct watch *watch, struct watch_entry *entry)
{
    struct wide value;
    struct wide limit = wide_from_int128(entry->watched->threshold->limit.units);
    if (!entry->has_fired &&
        total_value(entry->watched->meter->aggregation, &entry->total, &value) &&
        wide_compare(&value, &limit) >= 0)
        entry_fire(watch, entry, &value);
}

static bool
can_subtract(enum aggregation aggregation)
{
    return aggregation == AGGREGATION_COUNT || aggregation == AGGREGATION_SUM;
}

static void
watch_add_one(
    struct watch *watch,
    const struct watched *watched,
    struct bytes subject,
    const struct fold_step *step)
{
    int64_t from_s;
    int64_t to_s;
    threshold_period_of(watched->threshold->period, step->start_s, &from_s, &to_s);
    if (to_s <= watched->threshold->created_ns / SECOND_NS)
        return;
    if (watch->count * 2 >= watch->capacity)
        watch_grow(watch);
    uint32_t at = place_of(watch, entry_hash(watched, subject, from_s));
    if (watch->places[at] == NULL)
        watch->places[at] = entry_make(watch, watched, subject, from_s);
    struct watch_entry *entry = watch->places[at];
    entry->block = step->input.block;
    entry->time_ns = step->input.time_ns;
    // Until it is based, the event is in the cells that its total will come from.
    if (!entry->is_based || entry->has_fired)
        return;
    const enum aggregation aggregation = watched->meter->aggregation;
    // What is taken away may have been the maximum or the latest: the cells know, once they are
    // made anew from the log. Until then the total stays, which is never too low for a maximum.
    if (step->input.is_cancel && !can_subtract(aggregation)) {
        entry_queue(watch, entry);
        return;
    }
    cell_add(aggregation, &entry->total, &step->input, step->start_s, &watch->arena);
    entry_test(watch, entry);
}

void
watch_add(
    struct watch *watch, uint32_t meter_id, struct bytes subject, const struct fold_step *step)
{
    const struct watched_set *set = watch->set;
    if (set == NULL || set->count == 0)
        return;
    for (uint32_t i = watched_first(set, meter_id); i < set->count; i++) {
        const struct watched *watched = &set->list[i];
        if (watched->meter->id != meter_id)
            break;
        if (watched_is_for(watched, subject))
            watch_add_one(watch, watched, subject, step);
    }
}

// ---- basing

struct base {
    const struct watch_source *source;
    const struct meter *meter;
    struct bytes subject;
    struct cell_state total;
    struct arena *arena;
    enum status status;
    struct error *error;
};

static bool
base_cell(void *context, const struct cell_view *cell)
{
    struct base *base = context;
    cell_merge(cell->aggregation, &base->total, cell->state, 0, base->arena);
    return true;
}

static enum status
refuse_cell(struct bytes key, struct error *error)
{
    char text[CELL_TEXT_MAX];
    cell_key_print(key, text, sizeof text);
    return error_set(
        error,
        STATUS_CORRUPT,
        "the cell of %.500s is damaged: rebuild the state with `tally ledger rebuild`",
        text);
}

// The cells of one window: its groups, and of each its epochs in their order.
static void
base_window(struct base *base, struct walk *walk, const struct window_kind *kind, int64_t start_s)
{
    uint8_t prefix[CELL_KEY_MAX];
    const struct cell_key key = {
        .width = kind->width,
        .meter_id = base->meter->id,
        .start_s = start_s,
        .subject = base->subject,
    };
    const enum aggregation aggregation = base->meter->aggregation;
    size_t size = cell_prefix_subject(&key, prefix);
    struct cell_state one = {0};  // of the group so far
    struct hash128 group_hash = {0};
    bool more = walk_seek(walk, bytes_of(prefix, size));
    for (; more && walk->key.size > size && memcmp(walk->key.data, prefix, size) == 0;
         more = walk_next(walk)) {
        struct cell_key at;
        struct cell_state state;
        struct cell_group group;
        if (!cell_key_read(walk->key, &at) ||
            cell_value_read(walk->key, walk->value, aggregation, &state, &group)) {
            base->status = refuse_cell(walk->key, base->error);
            return;
        }
        if (at.group.high != group_hash.high || at.group.low != group_hash.low) {
            cell_merge(aggregation, &base->total, &one, 0, base->arena);
            one = (struct cell_state){0};
            group_hash = at.group;
        }
        // Made from the log: it stands for the epochs before it, too.
        if (state.flags & CELL_REPLACES)
            one = (struct cell_state){0};
        cell_merge(aggregation, &one, &state, 0, base->arena);
    }
    cell_merge(aggregation, &base->total, &one, 0, base->arena);
}

static void
base_disk(struct base *base, struct tx *tx, int64_t from_s, int64_t to_s)
{
    struct horizons horizons;
    base->status = horizons_read(tx, &horizons, base->error);
    if (base->status)
        return;
    const struct cover_question question = {.from_s = from_s, .to_s = to_s};
    const struct cover cover = cover_make(&horizons, &question, base->arena);
    struct walk walk = walk_open(tx, STATE_DB_CELLS);
    for (uint32_t i = 0; i < cover.count; i++) {
        const struct cover_piece *piece = &cover.pieces[i];
        int64_t start_s = piece->from_s;
        while (!piece->is_log && start_s < piece->to_s && !base->status) {
            base_window(base, &walk, &piece->kind, start_s);
            start_s = window_end(&piece->kind, start_s);
        }
    }
    walk_done(&walk);
}

// Whether the frozen cells are not in the snapshot yet: it still stands where it stood before. When
// the freeze moved neither, it has no cells of the meter.
static bool
base_needs_frozen(struct base *base, struct tx *tx)
{
    const struct watch_source *source = base->source;
    uint64_t position = 0;
    uint64_t live_from = 0;
    uint64_t flushed_from = 0;
    base->status = state_position(tx, &position, base->error);
    if (!base->status)
        base->status = state_live_from(tx, base->meter->id, &live_from, base->error);
    for (uint32_t i = 0; i < source->live_count; i++) {
        if (source->live[i].meter_id == base->meter->id)
            flushed_from = source->live[i].flushed_from;
    }
    return position == source->flushed && live_from == flushed_from;
}

// The subject's usage of the period so far.
static enum status
base_total(struct base *base, struct tx *tx, int64_t from_s, int64_t to_s)
{
    const struct cells_range range = {
        .meter_id = base->meter->id, .subject = base->subject, .from_s = from_s, .to_s = to_s};
    int64_t end_s = to_s < base->source->to_max_s ? to_s : base->source->to_max_s;
    end_s += QUARTER_HOUR_S - 1;
    end_s -= end_s % QUARTER_HOUR_S;
    bool has_frozen = false;
    if (base->source->frozen != NULL)
        has_frozen = base_needs_frozen(base, tx);
    if (!base->status && end_s > from_s)
        base_disk(base, tx, from_s, end_s);
    if (!base->status)
        cells_each(base->source->cells, &range, base_cell, base);
    if (!base->status && has_frozen)
        cells_each(base->source->frozen, &range, base_cell, base);
    return base->status ? base->status : tx_check(tx, base->error);
}

bool
watch_has_unbased(const struct watch *watch)
{
    return watch->unbased_first != NULL;
}

static enum status
entry_base(
    struct watch *watch,
    struct watch_entry *entry,
    const struct watch_source *source,
    struct tx *tx,
    struct tx *fired,
    struct error *error)
{
    scoped(arena_done) struct arena scratch = {0};
    const struct watched *watched = entry->watched;
    struct base base = {
        .source = source,
        .meter = watched->meter,
        .subject = entry->subject,
        .arena = &scratch,
        .error = error,
    };
    enum status status = base_total(&base, tx, entry->from_s, entry->to_s);
    if (status)
        return status;
    entry->total = base.total;
    entry->is_dirty = (base.total.flags & CELL_DIRTY) != 0;
    entry->has_fired =
        entry->has_fired || fired_is(fired, watched->threshold->id, entry->from_s, entry->subject);
    entry->is_based = true;
    entry_test(watch, entry);
    return STATUS_OK;
}

enum status
watch_base(
    struct watch *watch,
    const struct watch_source *source,
    int64_t time_max_ns,
    struct error *error)
{
    const int64_t end_ns = clock_monotonic_ns() + time_max_ns;
    enum status status = STATUS_OK;
    scoped(tx_done) struct tx tx = tx_read(source->state);
    scoped(tx_done) struct tx fired = tx_read(source->fired);
    do {
        struct watch_entry *entry = watch->unbased_first;
        if (entry == NULL)
            break;
        status = entry_base(watch, entry, source, &tx, &fired, error);
        entry->is_queued = false;
        watch->unbased_first = entry->next_unbased;
        if (watch->unbased_first == NULL)
            watch->unbased_last = NULL;
    } while (!status && clock_monotonic_ns() < end_ns);
    if (watch_is_full(watch) && !watch_has_unbased(watch) && watch_is_settled(watch))
        watch_clear(watch);
    if (!status)
        status = tx_check(&fired, error);
    return status ? status : tx_check(&tx, error);
}

bool
watch_is_full(const struct watch *watch)
{
    return watch->count > WATCH_ENTRIES_MAX;
}

void
watch_renew(struct watch *watch)
{
    for (uint32_t i = 0; i < watch->capacity; i++) {
        struct watch_entry *entry = watch->places[i];
        if (entry != NULL && entry->is_dirty && !entry->has_fired)
            entry_queue(watch, entry);
    }
}

// ---- marks

bool
watch_has_pending(const struct watch *watch)
{
    return watch->batches[watch->gathering].count > 0;
}

bool
watch_is_settled(const struct watch *watch)
{
    return !watch_has_pending(watch) && !watch->is_lent;
}

struct watch_batch *
watch_take(struct watch *watch)
{
    if (watch->is_lent || !watch_has_pending(watch))
        return NULL;
    struct watch_batch *batch = &watch->batches[watch->gathering];
    watch->is_lent = true;
    watch->gathering ^= 1;
    return batch;
}

enum status
watch_write(const struct watch_batch *batch, struct env *fired, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(fired);
    enum status status = STATUS_OK;
    for (const struct watch_pending *one = batch->first; one != NULL && !status; one = one->next)
        status = fired_put(&tx, &one->fired, error);
    return status ? status : tx_commit(&tx, error);
}

uint64_t
watch_taken(struct watch *watch)
{
    must(watch->is_lent);
    struct watch_batch *batch = &watch->batches[watch->gathering ^ 1];
    uint64_t count = batch->count;
    arena_reset(&batch->arena);
    *batch = (struct watch_batch){.arena = batch->arena};
    watch->is_lent = false;
    if (watch_is_full(watch) && !watch_has_unbased(watch) && watch_is_settled(watch))
        watch_clear(watch);
    return count;
}

// ---- questions

static const struct watched *
watched_find(const struct watch *watch, uint32_t threshold_id)
{
    for (uint32_t i = 0; watch->set != NULL && i < watch->set->count; i++) {
        if (watch->set->list[i].threshold->id == threshold_id)
            return &watch->set->list[i];
    }
    return NULL;
}

uint32_t
watch_meter_id(const struct watch *watch, uint32_t threshold_id)
{
    const struct watched *watched = watched_find(watch, threshold_id);
    return watched != NULL ? watched->meter->id : 0;
}

enum status
watch_quota(
    const struct watch *watch,
    const struct watch_source *source,
    uint32_t threshold_id,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error)
{
    const struct watched *watched = watched_find(watch, threshold_id);
    struct quota quota = {0};
    if (watched == NULL || subject.size == 0 || time_s < 0 || !watched_is_for(watched, subject))
        return error_set(error, STATUS_NOT_FOUND, "there is no such threshold for this subject");
    threshold_period_of(watched->threshold->period, time_s, &quota.from_s, &quota.to_s);
    quota.limit = watched->threshold->limit;
    scoped(arena_done) struct arena scratch = {0};
    struct base base = {
        .source = source,
        .meter = watched->meter,
        .subject = subject,
        .arena = &scratch,
        .error = error,
    };
    // The total of one that fired stands still; of a dirty one the cells may know more by now.
    const struct watch_entry *entry = entry_find(watch, watched, subject, quota.from_s);
    if (entry != NULL && entry->is_based && !entry->is_dirty && !entry->has_fired) {
        base.total = entry->total;
    } else {
        scoped(tx_done) struct tx tx = tx_read(source->state);
        scoped(tx_done) struct tx fired = tx_read(source->fired);
        enum status status = base_total(&base, &tx, quota.from_s, quota.to_s);
        if (status)
            return status;
        quota.has_fired = (entry != NULL && entry->has_fired) ||
                          fired_is(&fired, threshold_id, quota.from_s, subject);
    }
    quota.is_complete = (base.total.flags & CELL_DIRTY) == 0;
    (void)total_value(watched->meter->aggregation, &base.total, &quota.used);
    *out = quota;
    return STATUS_OK;
}
