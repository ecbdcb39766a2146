// A block that was stored, into the cells in memory: once per event and meter, so nothing is done
// there that can be done once per event, or once per group.
//
// 1. Most meters are plain (fold.h): for those the cell is found and added to without a step that
//    would say all that a meter may have. Somebody who watches totals wants the step.
// 2. With many subjects an event waits for its subject's place, then its node, then its cells: each
//    of these is asked for for a batch of events before the first of them is needed.
// 3. Coding has just looked at the event, and found words for its subject and its map: what they
//    mean to the meters is remembered by the word (ledger/fold_words), and the event's bytes are
//    not looked at again.
#include "base/assert.h"
#include "base/prefetch.h"
#include "ledger/answers.h"
#include "ledger/cells_parts.h"
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
    const int64_t start_s = fold_start_s(entry->time_ns);
    const uint32_t epoch = cuts_epoch(&shard->cuts, start_s + QUARTER_HOUR_S, event->after);
    const struct cells_window window = cells_window_of(start_s, epoch);
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

// --- a group's events, right behind their coding ---

// What is the same for all events of a group, and of the event before.
struct fold_run {
    struct fold_place place;  // index: of the event, and of its trace
    bool has_backfill;        // the block
    bool has_negative;        // likewise: a time before 1970
    bool has_folded;          // some items are, ahead of the others
    bool has_rule;            // rule is that of this event's type, which is that of the one before
    bool has_window;          // likewise: of its quarter hour
    bool is_plain;            // all of its type's rules are, and nobody watches
    const struct meter_rule *rule;
    struct cells_window window;
    int64_t unmetered;
};

// An event on its way. Its item and its bytes are read when somebody needs them, which is seldom:
// they have left the near caches since they were coded.
struct fold_look {
    const struct group *group;
    const struct group_item *item;
    const struct block_trace *trace;
    bool is_read;
    struct entry entry;
};

// Where an event's subject is.
struct fold_aim {
    struct fold_subject *known;  // NULL: a guess
    struct cells_subject *guess;
};

static const struct entry *
look_entry(struct fold_look *look)
{
    const struct group_item *item = look->item;
    if (!look->is_read) {
        struct cursor in = cursor_over(bytes_of(look->group->bytes + item->offset, item->size));
        entry_view(&in, &look->entry);
        look->is_read = true;
    }
    return &look->entry;
}

static void
run_take_rule(const struct shard *shard, struct fold_look *look, struct fold_run *run)
{
    if (run->has_rule)
        return;
    run->rule = meter_set_first(shard->meters->set, look_entry(look)->type);
    run->has_rule = true;
    run->is_plain = !is_watching(shard);
    for (const struct meter_rule *rule = run->rule; rule != NULL; rule = rule->next_of_type)
        run->is_plain = run->is_plain && rule->is_plain;
}

static void
run_take_window(const struct shard *shard, const struct fold_look *look, struct fold_run *run)
{
    if (run->has_window)
        return;
    const int64_t start_s = fold_start_s(look->item->time_ns);
    run->has_window = true;
    const uint32_t epoch = cuts_epoch(&shard->cuts, start_s + QUARTER_HOUR_S, UINT32_MAX);
    run->window = cells_window_of(start_s, epoch);
}

static struct fold_subject *
look_subject(struct shard *shard, struct fold_look *look, const struct fold_aim *aim)
{
    if (aim->known != NULL)
        return aim->known;
    const struct group *group = look->group;
    const struct bytes subject = look_entry(look)->subject;
    const uint64_t hash = group->hints[look->item - group->items].subject_hash;
    struct cells_subject *node = cells_subject_guessed(shard->cells, aim->guess, subject, hash);
    return fold_words_keep(&shard->fold_words, look->trace->subject, node);
}

static const struct fold_map *
look_map(struct shard *shard, struct fold_look *look, const struct meter_rule *first)
{
    const uint32_t number = look->trace->map;
    const struct fold_map *map = fold_words_map(&shard->fold_words, number, first);
    if (map == NULL && number != TRACE_NONE)
        map = fold_words_learn(&shard->fold_words, number, first, look_entry(look));
    return map;
}

// The event's own value, as far as its type's meters want it.
static inline struct decimal
look_value(struct fold_look *look, const struct fold_map *map)
{
    if (map == NULL || map->own == 0)
        return DECIMAL_ZERO;
    return look->trace->has_whole ? decimal_from_int(look->trace->whole) : look_entry(look)->value;
}

// What no map says, or is not added to the newest cell of its series.
static __attribute__((noinline)) void
fold_look_rule(
    struct shard *shard,
    struct fold_look *look,
    struct fold_subject *subject,
    const struct meter_rule *rule,
    const struct fold_run *run)
{
    struct cell_input input = {
        .time_ns = look->item->time_ns,
        .arrival_ns = run->place.arrival_ns,
        .block = run->place.block,
        .index = run->place.index,
    };
    if (!meter_rule_value(rule, look_entry(look), &input.value))
        return;
    struct cell *cell = cells_add_plain(shard->cells, subject->node, rule, &run->window, &input);
    if (rule->place < FOLD_MAP_VALUES)
        subject->newest[rule->place] = cell;
}

static inline void
fold_look_plain(
    struct shard *shard, struct fold_look *look, struct fold_subject *subject, struct fold_run *run)
{
    const struct fold_map *map = look_map(shard, look, run->rule);
    const struct decimal own = look_value(look, map);
    const struct meter_rule *rule = run->rule;
    run_take_window(shard, look, run);
    for (; rule != NULL && fold_map_has(map, rule); rule = rule->next_of_type) {
        const struct decimal *value = fold_map_value(map, rule, &own);
        struct cell *cell = subject->newest[rule->place];
        if (value != NULL && !cell_add_quick(cell, rule, &run->window, value))
            fold_look_rule(shard, look, subject, rule, run);
    }
    for (; rule != NULL; rule = rule->next_of_type)
        fold_look_rule(shard, look, subject, rule, run);
}

static void
fold_look(
    struct shard *shard, struct fold_look *look, const struct fold_aim *aim, struct fold_run *run)
{
    run_take_rule(shard, look, run);
    if (run->rule == NULL) {
        run->unmetered++;
    } else if (run->is_plain && !(run->has_negative && look->item->time_ns < 0)) {
        fold_look_plain(shard, look, look_subject(shard, look, aim), run);
    } else {
        const struct fold_event event = {
            .entry = look_entry(look),
            .place = &run->place,
            .subject = look_subject(shard, look, aim)->node,
            .after = UINT32_MAX,
        };
        fold_rules_each(shard, run->rule, &event);
    }
    if (run->has_backfill && (look->item->flags & ENTRY_IS_BACKFILL) != 0)
        batches_count(&shard->batches, look_entry(look), run->place.block);
}

static void
fold_item(
    struct shard *shard,
    const struct group *group,
    const struct group_item *item,
    const struct fold_aim *aim,
    struct fold_run *run)
{
    const struct block_trace *trace = block_trace(&shard->writer, run->place.index);
    run->has_rule = run->has_rule && trace->has_type_before;
    run->has_window = run->has_window && trace->has_quarter_before;
    if (!run->has_folded || !item->is_folded) {
        __attribute__((uninitialized)) struct fold_look look;
        look.group = group;
        look.item = item;
        look.trace = trace;
        look.is_read = false;
        fold_look(shard, &look, aim, run);
    }
    run->place.index++;
}

static inline void
known_prefetch(const struct fold_subject *known)
{
    for (uint32_t place = 0; place < FOLD_MAP_VALUES && known->newest[place] != NULL; place++)
        prefetch(known->newest[place]);
}

// index: of the first stored one of the items from `at` on.
static void
fold_aims(
    const struct shard *shard,
    const struct group *group,
    uint32_t at,
    uint32_t count,
    uint32_t index,
    struct fold_aim *aims)
{
    const struct block_hint *hints = group->hints + at;
    bool is_all_known = true;
    for (uint32_t i = 0; i < count; i++) {
        aims[i] = (struct fold_aim){0};
        if (group->fates[at + i] != FATE_STORED)
            continue;
        const struct block_trace *trace = block_trace(&shard->writer, index++);
        fold_words_prefetch_map(&shard->fold_words, trace->map);
        aims[i].known = fold_words_subject(&shard->fold_words, trace->subject);
        if (aims[i].known != NULL)
            known_prefetch(aims[i].known);
        else
            cells_prefetch(shard->cells, hints[i].subject_hash);
        is_all_known = is_all_known && aims[i].known != NULL;
    }
    for (uint32_t i = 0; i < count && !is_all_known; i++) {
        if (aims[i].known == NULL)
            aims[i].guess = cells_guess(shard->cells, hints[i].subject_hash);
    }
    for (uint32_t i = 0; i < count && !is_all_known; i++)
        cells_prefetch_newest(aims[i].guess);
}

void
shard_fold(struct shard *shard, const struct group *group, int64_t arrival_ns)
{
    const struct fold_state state = {
        .chapter = shard->writer.chapter,
        .cells = shard->cells,
        .cells_age = cells_age(shard->cells),
        .meters = shard->meters->generation,
    };
    const struct block_header *header = &shard->writer.header;
    struct fold_run run = {
        .place = {.block = shard->head, .arrival_ns = arrival_ns},
        .has_backfill = (header->flags & BLOCK_HAS_BACKFILL) != 0,
        .has_negative = header->time_min_ns < 0,
    };
    struct fold_aim aims[FOLD_BATCH];
    fold_words_begin(&shard->fold_words, &state);
    for (uint32_t at = 0; at < group->count; at += FOLD_BATCH) {
        uint32_t left = group->count - at;
        uint32_t count = left < FOLD_BATCH ? left : (uint32_t)FOLD_BATCH;
        if (at % FOLD_LOOK_EACH == 0 && answers_give_amid(shard, group, at, &run.place))
            run.has_folded = true;
        fold_aims(shard, group, at, count, run.place.index, aims);
        for (uint32_t i = 0; i < count; i++) {
            if (group->fates[at + i] == FATE_STORED)
                fold_item(shard, group, &group->items[at + i], &aims[i], &run);
        }
    }
    metric_add(&shard->metrics[SHARD_UNMETERED], run.unmetered);
    shard_gauges_set(shard);
}
