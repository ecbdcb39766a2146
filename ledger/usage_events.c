// One run over the blocks of each shard. What the log says twice is left out by place: an entry
// that a correction takes out is passed over, what an amend brings counts at the amend's place.

#include "ledger/usage_events.h"

#include "base/assert.h"
#include "ledger/correction.h"
#include "ledger/log_kept.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"
#include "ledger/usage_answer.h"

struct events_run {
    const struct usage_plan *plan;
    const struct meter_set *numbers;  // a meter of the number that is asked for beside; or NULL
    int dimension;                    // index, or -1
    usage_event_fn on_event;
    void *context;
    bool goes_on;
    // Of the shard that is read:
    uint32_t shard;
    struct log_reader reader;
    struct corrections corrections;
    struct fold_scratch scratch, scratch_number;
};

static bool
run_wants(const struct events_run *run, const struct entry *entry)
{
    const struct usage_plan *plan = run->plan;
    return entry->time_ns >= 0 && entry->time_ns >= plan->from_ns &&
           (entry->time_ns < plan->to_ns || plan->to_ns == INT64_MAX) &&
           usage_plan_wants(plan, entry->subject);
}

static void
number_take(struct events_run *run, const struct entry *entry, struct usage_event *out)
{
    const struct fold_place nowhere = {0};
    struct fold_step step;
    const struct meter_rule *rule =
        run->numbers != NULL ? meter_set_first(run->numbers, entry->type) : NULL;
    out->has_number =
        rule != NULL && meter_rule_apply(rule, entry, &nowhere, &run->scratch_number, &step);
    if (out->has_number)
        out->number = step.input.value;
}

static void
run_event(struct events_run *run, const struct entry *entry, const struct fold_place *place)
{
    const struct meter_rule *rule = meter_set_first(run->plan->set, entry->type);
    struct fold_step step;
    if (rule == NULL || !meter_rule_apply(rule, entry, place, &run->scratch, &step))
        return;
    struct usage_event event = {
        .subject = entry->subject,
        .time_ns = entry->time_ns,
        .arrival_ns = place->arrival_ns,
        .shard = run->shard,
        .block = place->block,
        .index = place->index,
        .value = step.input.value,
    };
    if (run->plan->meter->aggregation == AGGREGATION_COUNT)
        event.value = DECIMAL_ONE;
    if (run->dimension >= 0)
        event.dimension = step.group.values[run->dimension];
    number_take(run, entry, &event);
    run->goes_on = run->on_event(run->context, &event);
}

static enum status
run_block(struct events_run *run, struct tx *log, uint64_t sequence, struct error *error)
{
    struct log_reader *reader = &run->reader;
    const struct usage_plan *plan = run->plan;
    enum status status = log_look(reader, log, sequence, error);
    if (status || reader->header.time_max_ns < plan->from_ns ||
        (reader->header.time_min_ns >= plan->to_ns && plan->to_ns != INT64_MAX))
        return status;
    struct entry entry;
    status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    struct fold_place place = {.block = sequence, .arrival_ns = reader->header.arrival_ns};
    while (run->goes_on && log_next(reader, &entry)) {
        struct correction_part parts[CORRECTION_PARTS_MAX];
        place.index = reader->block.index - 1;
        uint32_t count = run_wants(run, &entry) ? correction_parts(&entry, parts) : 0;
        for (uint32_t i = 0; i < count && run->goes_on; i++)
            if (!parts[i].is_cancel &&
                !corrections_have(&run->corrections, place.block, place.index))
                run_event(run, &parts[i].event, &place);
    }
    return run->goes_on ? log_end(reader, error) : STATUS_OK;
}

// In each snapshot anew what retention has left is asked for.
static enum status
run_blocks(
    struct events_run *run, struct env *env, uint64_t first, uint64_t last, struct error *error)
{
    const int64_t from_ns = run->plan->from_ns;
    scoped(snapshot_done) struct snapshot log = snapshot_of(env);
    enum status status = log_kept_answers(&log.tx, from_ns, last, &first, error);
    for (uint64_t sequence = first; !status && run->goes_on && sequence <= last;) {
        status = run_block(run, &log.tx, sequence++, error);
        if (!status && snapshot_renew(&log, sequence))
            status = log_kept_answers(&log.tx, from_ns, last, &sequence, error);
    }
    return status;
}

static enum status
run_shard(struct events_run *run, struct env *env, struct error *error)
{
    uint64_t first = 1, last = 0;
    {
        scoped(tx_done) struct tx log = tx_read(env);
        enum status status = log_head(&log, &last, error);
        if (status || last == 0)
            return status;
        status = log_kept_answers(&log, run->plan->from_ns, last, &first, error);
        if (status)
            return status;
    }
    enum status status = corrections_read(
        &run->corrections, env, first, last, run->plan->from_ns, run->plan->to_ns, error);
    if (!status)
        status = run_blocks(run, env, first, last, error);
    log_reader_done(&run->reader);
    corrections_done(&run->corrections);
    run->reader = (struct log_reader){0};
    run->corrections = (struct corrections){0};
    return status;
}

// The same meter, but what it takes of an event is another number.
static enum status
numbers_make(
    const struct meter *meter,
    const char *path,
    struct arena *arena,
    const struct meter_set **out,
    struct error *error)
{
    struct meter *other = arena_new(arena, struct meter);
    *other = *meter;
    other->aggregation = AGGREGATION_SUM;
    enum status status = meter_path_canonical(path, arena, &other->value_property, error);
    if (!status)
        *out = meter_set_make(other, 1, arena);
    return status;
}

static enum status
plan_find(
    struct reader *reader,
    const struct usage_events_query *query,
    struct arena *arena,
    struct usage_plan *out,
    struct error *error)
{
    struct meter *meter = arena_new(arena, struct meter);
    const struct usage_query plain = {
        .meter = query->meter,
        .subjects = query->subjects,
        .subjects_count = query->subjects_count,
        .from_ns = query->from_ns,
        .to_ns = query->to_ns,
        .group_by = &query->dimension,
        .group_by_count = query->dimension != NULL,
    };
    enum status status = registry_find(reader->registry, query->meter, arena, meter, error);
    if (status)
        return status;
    if (meter->aggregation != AGGREGATION_COUNT && meter->aggregation != AGGREGATION_SUM)
        return error_set(
            error,
            STATUS_INVALID,
            "the meter %s is neither a count nor a sum: its events have no usage of their own",
            query->meter);
    return usage_plan_make(&plain, meter, NULL, arena, out, error);
}

enum status
usage_events(
    struct reader *reader,
    const struct usage_events_query *query,
    usage_event_fn on_event,
    void *context,
    struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct usage_plan plan;
    struct events_run run = {.on_event = on_event, .context = context, .goes_on = true};
    enum status status = plan_find(reader, query, &arena, &plan, error);
    if (!status && query->number_at != NULL)
        status = numbers_make(plan.meter, query->number_at, &arena, &run.numbers, error);
    if (status)
        return status;
    run.dimension =
        query->dimension != NULL ? meter_dimension_index(plan.meter, query->dimension) : -1;
    for (uint32_t shard = 0; shard < reader->shards && !status && run.goes_on; shard++) {
        struct usage_plan part;
        struct shard_view *view = &reader->views[shard];
        if (!usage_plan_of_shard(&plan, shard, reader->shards, &arena, &part))
            continue;
        run.plan = &part;
        run.shard = shard;
        status = shard_view_open(reader->dir, shard, view, error);
        if (!status && view->log != NULL)
            status = run_shard(&run, view->log, error);
        if (status)
            error_prefix(error, "shard %u", shard);
    }
    return status;
}
