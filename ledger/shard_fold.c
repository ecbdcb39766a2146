// A block that was stored, into the cells in memory: once per event and meter, so nothing is done
// there that can be done once per event, or once per group.
//
// 1. Most meters are plain (fold.h): for those the cell is found and added to without a step that
//    would say all that a meter may have. Somebody who watches totals wants the step.
// 2. With many subjects an event waits for its subject's place, then its node, then its cells: each
//    of these is asked for for a batch of events before the first of them is needed.
#include "base/assert.h"
#include "base/prefetch.h"
#include "ledger/answers.h"
#include "ledger/shard.h"

enum {
    FOLD_BATCH = 32,
    FOLD_LOOK_EACH = 4 * FOLD_BATCH,  // for a question
};

// An event on its way into the cells.
struct fold_event {
    const struct entry *entry;
    const struct fold_place *place;
    struct cells_subject *subject;
    uint32_t after;  // as for cuts_epoch
};

static void
fold_step_each(struct shard *shard, const struct meter_rule *rule, const struct fold_event *event)
{
    struct fold_scratch *scratch = &shard->fold_scratch;
    struct fold_step *step = &shard->fold_step;
    const struct entry *entry = event->entry;
    for (; rule != NULL; rule = rule->next_of_type) {
        if (!meter_rule_apply(rule, entry, event->place, scratch, step))
            continue;
        step->epoch = cuts_epoch(&shard->cuts, step->start_s + QUARTER_HOUR_S, event->after);
        cells_add(shard->cells, event->subject, step);
        watch_add(&shard->watch, step->meter->id, entry->subject, step);
    }
}

static bool
is_watching(const struct shard *shard)
{
    return shard->watch.set != NULL && shard->watch.set->count > 0;
}

static void
fold_rules_each(struct shard *shard, const struct meter_rule *rule, const struct fold_event *event)
{
    const struct fold_place *place = event->place;
    const struct entry *entry = event->entry;
    if (entry->time_ns < 0 || is_watching(shard)) {
        fold_step_each(shard, rule, event);
        return;
    }
    struct cells_window window = {.start_s = fold_start_s(entry->time_ns)};
    window.epoch = cuts_epoch(&shard->cuts, window.start_s + QUARTER_HOUR_S, event->after);
    struct cell_input input = {
        .is_cancel = place->is_cancel,
        .time_ns = entry->time_ns,
        .arrival_ns = place->arrival_ns,
        .block = place->block,
        .index = place->index,
    };
    for (; rule != NULL && rule->is_plain; rule = rule->next_of_type) {
        if (meter_rule_value(rule, entry, &input.value))
            cells_add_plain(shard->cells, event->subject, rule, &window, &input);
    }
    if (rule != NULL)
        fold_step_each(shard, rule, event);
}

bool
shard_fold_by(
    struct shard *shard,
    const struct fold_rules *rules,
    const struct entry *entry,
    const struct fold_place *place)
{
    const struct meter_rule *rule = meter_set_first(rules->set, entry->type);
    if (rule == NULL)
        return false;
    const struct fold_event event = {
        .entry = entry,
        .place = place,
        .subject = cells_subject(shard->cells, entry->subject, cells_hash(entry->subject)),
        .after = rules->after,
    };
    fold_rules_each(shard, rule, &event);
    return true;
}

bool
shard_fold_entry(struct shard *shard, const struct entry *entry, const struct fold_place *place)
{
    const struct fold_rules rules = {.set = shard->meters->set, .after = UINT32_MAX};
    return shard_fold_by(shard, &rules, entry, place);
}

// What is the same for all events of a group, and of the event before.
struct fold_run {
    struct fold_place place;
    struct bytes type;  // types come in runs
    const struct meter_rule *rule;
    int64_t unmetered;
};

static void
fold_item(
    struct shard *shard,
    const struct group *group,
    const struct group_item *item,
    struct cells_subject *guess,
    struct fold_run *run)
{
    if (item->is_folded) {
        run->place.index++;
        return;
    }
    struct cursor in = cursor_over(bytes_of(group->bytes + item->offset, item->size));
    __attribute__((uninitialized)) struct entry entry;
    entry_view(&in, &entry);
    if (!bytes_equal(entry.type, run->type))
        run->rule = meter_set_first(shard->meters->set, entry.type);
    run->type = entry.type;
    run->unmetered += run->rule == NULL;
    if (run->rule != NULL) {
        const struct fold_event event = {
            .entry = &entry,
            .place = &run->place,
            .subject =
                cells_subject_guessed(shard->cells, guess, entry.subject, item->subject_hash),
            .after = UINT32_MAX,
        };
        fold_rules_each(shard, run->rule, &event);
    }
    if ((entry.flags & ENTRY_IS_BACKFILL) != 0)
        batches_count(&shard->batches, &entry, run->place.block);
    run->place.index++;
}

// Duplicates among them are asked for for nothing: they are few.
static void
fold_guess(
    const struct shard *shard,
    const struct group_item *items,
    uint32_t count,
    struct cells_subject **guesses)
{
    for (uint32_t i = 0; i < count; i++)
        cells_prefetch(shard->cells, items[i].subject_hash);
    for (uint32_t i = 0; i < count; i++)
        guesses[i] = cells_guess(shard->cells, items[i].subject_hash);
    for (uint32_t i = 0; i < count; i++)
        cells_prefetch_newest(guesses[i]);
}

void
shard_fold(struct shard *shard, const struct group *group, int64_t arrival_ns)
{
    struct fold_run run = {
        .place = {.block = shard->head, .arrival_ns = arrival_ns}
    };
    struct cells_subject *guesses[FOLD_BATCH];
    for (uint32_t at = 0; at < group->count; at += FOLD_BATCH) {
        uint32_t left = group->count - at;
        uint32_t count = left < FOLD_BATCH ? left : (uint32_t)FOLD_BATCH;
        if (at % FOLD_LOOK_EACH == 0)
            answers_give_amid(shard, group, at, &run.place);
        fold_guess(shard, group->items + at, count, guesses);
        for (uint32_t i = 0; i < count; i++) {
            if (group->fates[at + i] == FATE_STORED)
                fold_item(shard, group, &group->items[at + i], guesses[i], &run);
        }
    }
    metric_add(&shard->metrics[SHARD_UNMETERED], run.unmetered);
    shard_gauges_set(shard);
}
