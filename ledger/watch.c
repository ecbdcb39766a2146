#include "base/assert.h"
#include "base/clock.h"
#include "ledger/watch_parts.h"

#include <string.h>

enum { WATCH_UNBASED_MAX = 1 << 18 };

struct watch_pending {
    struct fired fired;
    struct watch_pending *next;
};

// ---- totals

// False: there is none.
static bool
total_value(enum aggregation aggregation, const struct cell_state *total, struct wide *out)
{
    *out = (struct wide){0};
    switch (aggregation) {
    case AGGREGATION_COUNT: *out = wide_multiply(DECIMAL_ONE.units, total->count); return true;
    case AGGREGATION_SUM: *out = total->sum.sum; return true;
    case AGGREGATION_UNIQUE_COUNT:
        *out = wide_multiply(DECIMAL_ONE.units, total->unique.set.count);
        return true;
    case AGGREGATION_MAX:
    case AGGREGATION_LATEST: break;
    case AGGREGATION_MIN:
    case AGGREGATION_AVG:
    case AGGREGATION_WEIGHTED_SUM: must(false && "nobody watches it"); break;
    }
    if ((total->flags & CELL_HAS_VALUE) == 0)
        return false;
    bool is_max = aggregation == AGGREGATION_MAX;
    *out = wide_from_int128(is_max ? total->extreme.units : total->latest.value.units);
    return true;
}

static bool
entry_is_over(const struct watch_entry *entry, struct wide *out_value)
{
    struct wide limit = wide_from_int128(entry->watched->threshold->limit.units);
    return total_value(entry->watched->meter->aggregation, &entry->total, out_value) &&
           wide_compare(out_value, &limit) >= 0;
}

static void
entry_fire(struct watch *watch, struct watch_entry *entry, const struct wide *value)
{
    struct watch_batch *batch = &watch->batches[watch->batch_number % 2];
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
    entry->fired_in = watch->batch_number;
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
    if (entry->has_fired || (entry->is_partial && !entry->is_reached))
        return;
    if (entry_is_over(entry, &value))
        entry_fire(watch, entry, &value);
}

// Whether what a dirty cell holds may be at the limit: it holds too much for all but the latest.
static bool
may_be_over(const struct watch_entry *entry)
{
    struct wide value;
    return entry->watched->meter->aggregation == AGGREGATION_LATEST || entry_is_over(entry, &value);
}

// Nobody else hurries to flush what a threshold waits for.
static void
entry_wait(struct watch *watch, const struct watch_entry *entry)
{
    if (entry->is_waiting && !entry->has_fired && may_be_over(entry))
        watch->wants_flush = true;
}

// The list of those that fired tells no more than that.
static bool
entry_is_done(const struct watch_entry *entry)
{
    return entry->has_fired && entry->watched->meter->aggregation == AGGREGATION_UNIQUE_COUNT;
}

static void
watch_add_one(
    struct watch *watch,
    const struct watched *watched,
    struct bytes subject,
    const struct fold_step *step)
{
    const enum aggregation aggregation = watched->meter->aggregation;
    const struct cell_input *input = &step->input;
    struct watch_entry *entry = watch_keep(watch, watched, subject, step->start_s);
    if (entry == NULL)
        return;
    if (!entry->has_fired) {
        entry->block = input->block;
        entry->time_ns = input->time_ns;
    }
    if (aggregation == AGGREGATION_MAX && !input->is_cancel &&
        decimal_compare(input->value, watched->threshold->limit) >= 0)
        entry->is_reached = true;
    // Until it is based, the event is in the cells that its total will come from.
    if (!entry->is_based || entry_is_done(entry))
        return;
    // What an amend brings instead comes next: the cells say what both make.
    if (input->is_cancel) {
        watch_queue(watch, entry);
        return;
    }
    cell_add(aggregation, &entry->total, input, step->start_s, &watch->arena);
    entry_test(watch, entry);
    entry_wait(watch, entry);
}

void
watch_add(
    struct watch *watch, uint32_t meter_id, struct bytes subject, const struct fold_step *step)
{
    if (watch->set == NULL || watch->set->count == 0)
        return;
    const struct bytes subjects[] = {bytes_of(NULL, 0), subject};
    for (size_t i = 0; i < sizeof subjects / sizeof subjects[0]; i++) {
        struct watched_run run = watched_of(watch->set, meter_id, subjects[i]);
        for (uint32_t k = 0; k < run.count; k++)
            watch_add_one(watch, &run.first[k], subject, step);
    }
}

void
watch_touch(
    struct watch *watch,
    uint32_t meter_id,
    struct bytes subject,
    const struct cell_input *input,
    int64_t start_s)
{
    for (uint32_t i = 0; watch->set != NULL && i < watch->set->count; i++) {
        const struct watched *watched = &watch->set->list[i];
        bool is_for = watched->subject.size == 0 || bytes_equal(watched->subject, subject);
        struct watch_entry *entry = NULL;
        if (watched->meter->id == meter_id && is_for)
            entry = watch_keep(watch, watched, subject, start_s);
        if (entry == NULL || entry->block > 0)
            continue;
        entry->block = input->block;
        entry->time_ns = input->time_ns;
    }
}

// ---- basing

bool
watch_has_unbased(const struct watch *watch)
{
    return watch->unbased_first != NULL;
}

bool
watch_is_behind(const struct watch *watch)
{
    return watch->unbased_count > WATCH_UNBASED_MAX;
}

// What an older event may still lower.
static bool
can_fall(enum aggregation aggregation)
{
    return aggregation == AGGREGATION_SUM || aggregation == AGGREGATION_LATEST;
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
    const struct meter *meter = watched->meter;
    struct watch_total total = {
        .meter = meter, .subject = entry->subject, .from_s = entry->from_s, .to_s = entry->to_s};
    entry->has_fired =
        entry->has_fired || fired_is(fired, watched->threshold->id, entry->from_s, entry->subject);
    entry->is_based = true;
    entry->total = (struct cell_state){0};
    if (entry_is_done(entry))
        return STATUS_OK;
    enum status status = watch_total_read(&total, source, tx, &scratch, error);
    if (status)
        return status;
    cell_merge(meter->aggregation, &entry->total, &total.state, 0, &watch->arena);
    entry->is_partial = total.is_dirty || (can_fall(meter->aggregation) &&
                                           !watch_source_is_complete(source, meter->id));
    if (entry->is_partial)
        watch_list_partial(watch, entry);
    // Dirty cells on disk are on their way.
    entry->is_waiting = total.is_dirty_in_memory;
    entry_test(watch, entry);
    entry_wait(watch, entry);
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
        if (!watch_has_unbased(watch))
            break;
        status = entry_base(watch, watch_unqueue(watch), source, &tx, &fired, error);
    } while (!status && clock_monotonic_ns() < end_ns);
    if (!status)
        status = tx_check(&fired, error);
    return status ? status : tx_check(&tx, error);
}

// ---- marks

bool
watch_has_pending(const struct watch *watch)
{
    return watch->batches[watch->batch_number % 2].count > 0;
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
    watch->is_lent = true;
    return &watch->batches[watch->batch_number++ % 2];
}

enum status
watch_write(struct watch_batch *batch, struct env *fired, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(fired);
    enum status status = STATUS_OK;
    batch->count = 0;
    for (const struct watch_pending *one = batch->first; one != NULL && !status; one = one->next) {
        const struct fired *mark = &one->fired;
        // Its entry may have been dropped, with the meter, before the mark was written.
        if (fired_is(&tx, mark->threshold_id, mark->from_s, mark->subject))
            continue;
        status = fired_put(&tx, mark, error);
        batch->count++;
    }
    return status ? status : tx_commit(&tx, error);
}

uint64_t
watch_taken(struct watch *watch)
{
    must(watch->is_lent);
    struct watch_batch *batch = &watch->batches[(watch->batch_number - 1) % 2];
    uint64_t count = batch->count;
    arena_reset(&batch->arena);
    *batch = (struct watch_batch){.arena = batch->arena};
    watch->is_lent = false;
    return count;
}

// ---- questions

// The period lies in the time that events can have, in nanoseconds.
static bool
quota_is_askable(const struct watched *watched, struct bytes subject, int64_t time_s)
{
    return watched != NULL && subject.size > 0 && time_s >= 0 && time_s < INT64_MAX / SECOND_NS &&
           (watched->subject.size == 0 || bytes_equal(watched->subject, subject));
}

// Whether the entry's total is what the cells would say.
static bool
entry_answers(const struct watch_entry *entry)
{
    return entry != NULL && entry->is_based && !entry->is_partial && !entry_is_done(entry);
}

// What the cells say, and the marks on disk.
static enum status
quota_read(
    struct watch_total *total,
    const struct watch_source *source,
    uint32_t threshold_id,
    struct arena *arena,
    bool *out_has_fired,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(source->state);
    scoped(tx_done) struct tx fired = tx_read(source->fired);
    enum status status = watch_total_read(total, source, &tx, arena, error);
    bool has_fired = fired_is(&fired, threshold_id, total->from_s, total->subject);
    if (!status)
        status = tx_check(&fired, error);
    if (!status && has_fired)
        *out_has_fired = true;
    return status;
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
    const struct watched *watched = watched_by_id(watch->set, threshold_id);
    if (!quota_is_askable(watched, subject, time_s))
        return error_set(error, STATUS_NOT_FOUND, "there is no such threshold for this subject");
    scoped(arena_done) struct arena scratch = {0};
    struct quota quota = {.limit = watched->threshold->limit};
    threshold_period_of(watched->threshold->period, time_s, &quota.from_s, &quota.to_s);
    const struct watch_entry *entry = watch_find(watch, watched, subject, quota.from_s);
    struct watch_total total = {
        .meter = watched->meter,
        .subject = subject,
        .from_s = quota.from_s,
        .to_s = quota.to_s,
        .distinct_max = (uint64_t)(quota.limit.units / DECIMAL_ONE.units) + 1,
    };
    quota.has_fired = entry != NULL && entry->has_fired;
    enum status status = STATUS_OK;
    if (entry_answers(entry))
        total.state = entry->total;
    else
        status = quota_read(&total, source, threshold_id, &scratch, &quota.has_fired, error);
    if (status)
        return status;
    quota.is_complete = !total.is_dirty && !total.is_cut_short &&
                        watch_source_is_complete(source, watched->meter->id);
    (void)total_value(watched->meter->aggregation, &total.state, &quota.used);
    *out = quota;
    return STATUS_OK;
}
