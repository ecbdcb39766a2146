#include "ledger/remake.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/pool.h"
#include "ledger/correction.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"
#include "ledger/window.h"

#include <stdlib.h>

enum { BLOCKS_PER_LOOK = 16 };

static const int64_t STEP_NS = 10 * 1000000LL;

// Stretches of time that items lie in, without overlap.
struct stretch {
    int64_t from_s, to_s;
};

enum remake_phase { REMAKE_GATHER, REMAKE_FOLD };

struct remake {
    struct env *log;
    struct arena arena;
    struct remake_item *items;  // by subject once the first step was taken
    uint32_t count;
    struct stretch *stretches;  // by time
    uint32_t stretches_count;
    struct corrections corrections;
    struct log_reader reader;
    struct fold_scratch scratch;
    struct fold_step step;
    enum remake_phase phase;
    bool has_begun;
    uint64_t done;   // blocks up to here are in the items
    uint64_t until;  // those that are being added
    uint64_t next;
};

struct remake *
remake_open(struct env *log, uint64_t first)
{
    must(first > 0);
    struct remake *remake = pool_take(1, sizeof *remake);
    must(remake != NULL && "no memory to make cells anew");
    remake->log = log;
    remake->done = first - 1;
    remake->until = first - 1;
    remake->items = arena_array(&remake->arena, REMAKE_ITEMS_MAX, struct remake_item);
    return remake;
}

void
remake_close(struct remake *remake)
{
    if (remake == NULL)
        return;
    corrections_done(&remake->corrections);
    log_reader_done(&remake->reader);
    arena_done(&remake->arena);
    pool_give(remake);
}

// One rule for all items of a meter.
static const struct meter_rule *
rule_of(struct remake *remake, const struct meter *meter)
{
    for (uint32_t i = 0; i < remake->count; i++) {
        if (remake->items[i].key.meter_id == meter->id)
            return remake->items[i].rule;
    }
    struct meter *copy = arena_new(&remake->arena, struct meter);
    *copy = meter_copy(meter, &remake->arena);
    return meter_set_find(meter_set_make(copy, 1, &remake->arena), meter->id);
}

void
remake_add(struct remake *remake, const struct remake_item *item, const struct meter *meter)
{
    must(remake->count < REMAKE_ITEMS_MAX && !remake->has_begun);
    must(!cell_has_way_back(meter->aggregation) && item->key.meter_id == meter->id);
    struct remake_item copy = *item;
    copy.rule = rule_of(remake, meter);
    copy.key.subject = arena_bytes(&remake->arena, item->key.subject);
    for (uint32_t i = 0; i < item->group.count; i++)
        copy.group.values[i] = arena_bytes(&remake->arena, item->group.values[i]);
    copy.state = (struct cell_state){0};
    copy.is_spoiled = false;
    remake->items[remake->count++] = copy;
}

static int
item_compare(const void *a, const void *b)
{
    const struct remake_item *left = a;
    const struct remake_item *right = b;
    return bytes_compare(left->key.subject, right->key.subject);
}

static int
stretch_compare(const void *a, const void *b)
{
    const struct stretch *left = a;
    const struct stretch *right = b;
    return (left->from_s > right->from_s) - (left->from_s < right->from_s);
}

static void
remake_arrange(struct remake *remake)
{
    uint32_t last = 0;
    struct stretch *all = arena_array(&remake->arena, remake->count, struct stretch);
    if (remake->count > 1)
        qsort(remake->items, remake->count, sizeof *remake->items, item_compare);
    for (uint32_t i = 0; i < remake->count; i++) {
        const struct remake_item *item = &remake->items[i];
        all[i] = (struct stretch){item->key.start_s, item->end_s};
    }
    if (remake->count > 1)
        qsort(all, remake->count, sizeof *all, stretch_compare);
    for (uint32_t i = 1; i < remake->count; i++) {
        if (all[i].from_s > all[last].to_s)
            all[++last] = all[i];
        else if (all[i].to_s > all[last].to_s)
            all[last].to_s = all[i].to_s;
    }
    remake->stretches = all;
    remake->stretches_count = remake->count > 0 ? last + 1 : 0;
}

// Whether some item's window may hold a time of [min, max].
static bool
touches(const struct remake *remake, int64_t min_ns, int64_t max_ns)
{
    uint32_t low = 0;
    uint32_t high = remake->stretches_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (remake->stretches[middle].to_s <= min_ns / SECOND_NS)
            low = middle + 1;
        else
            high = middle;
    }
    return low < remake->stretches_count && remake->stretches[low].from_s <= max_ns / SECOND_NS;
}

// The first item of the subject, or where it would be.
static uint32_t
items_of(const struct remake *remake, struct bytes subject)
{
    uint32_t low = 0;
    uint32_t high = remake->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(remake->items[middle].key.subject, subject) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
holds(const struct remake_item *item, int64_t time_ns, uint64_t block)
{
    const int64_t time_s = time_ns / SECOND_NS;
    return !item->is_spoiled && time_s >= item->key.start_s && time_s < item->end_s &&
           block >= item->live_from && block < item->limit;
}

static void
item_add(
    struct remake *remake,
    struct remake_item *item,
    const struct entry *event,
    const struct fold_place *place)
{
    struct fold_step *step = &remake->step;
    uint64_t by = corrections_find(&remake->corrections, place->block, place->index);
    if ((by > 0 && by < item->limit) ||
        !bytes_equal(event->type, bytes_text(item->rule->meter->event_type)) ||
        !meter_rule_apply(item->rule, event, place, &remake->scratch, step))
        return;
    bool is_of_group = item->has_all_groups || (step->group_hash.low == item->key.group.low &&
                                                step->group_hash.high == item->key.group.high);
    if (is_of_group)
        cell_add(
            item->rule->meter->aggregation,
            &item->state,
            &step->input,
            item->key.start_s,
            &remake->arena);
}

static void
remake_entry(struct remake *remake, const struct entry *entry, const struct fold_place *place)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    uint32_t count = correction_parts(entry, parts);
    for (uint32_t i = items_of(remake, entry->subject);
         count > 0 && i < remake->count &&
         bytes_equal(remake->items[i].key.subject, entry->subject);
         i++) {
        struct remake_item *item = &remake->items[i];
        if (!holds(item, entry->time_ns, place->block))
            continue;
        if (entry->kind != ENTRY_EVENT && entry->note.block <= remake->done &&
            entry->note.block >= item->live_from)
            item->is_spoiled = true;
        const struct correction_part *last = &parts[count - 1];
        if (!last->is_cancel)
            item_add(remake, item, &last->event, place);
    }
}

static enum status
remake_block(struct remake *remake, struct tx *log, struct error *error)
{
    struct log_reader *reader = &remake->reader;
    struct entry entry;
    enum status status = log_look(reader, log, remake->next, error);
    if (status || !touches(remake, reader->header.time_min_ns, reader->header.time_max_ns))
        return status;
    status = log_open(reader, log, remake->next, error);
    struct fold_place place = {.block = remake->next, .arrival_ns = reader->header.arrival_ns};
    while (!status && log_next(reader, &entry)) {
        place.index = reader->block.index - 1;
        remake_entry(remake, &entry, &place);
    }
    return status ? status : log_end(reader, error);
}

static enum status
remake_fold(struct remake *remake, int64_t deadline_ns, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(remake->log);
    enum status status = STATUS_OK;
    while (!status && remake->next <= remake->until) {
        status = remake_block(remake, &log, error);
        remake->next++;
        if (remake->next % BLOCKS_PER_LOOK == 0 && clock_monotonic_ns() > deadline_ns)
            break;
    }
    if (!status && remake->next > remake->until)
        remake->done = remake->until;
    return status;
}

static enum status
remake_gather(struct remake *remake, int64_t deadline_ns, struct error *error)
{
    const struct stretch *first = &remake->stretches[0];
    const struct stretch *last = &remake->stretches[remake->stretches_count - 1];
    enum status status = STATUS_OK;
    while (!status && remake->next <= remake->until) {
        uint64_t end = remake->next + BLOCKS_PER_LOOK - 1;
        end = end < remake->until ? end : remake->until;
        status = corrections_add(
            &remake->corrections,
            remake->log,
            remake->next,
            end,
            window_ns(first->from_s),
            window_ns(last->to_s),
            error);
        if (!status)
            remake->next = end + 1;
        if (clock_monotonic_ns() > deadline_ns)
            break;
    }
    if (status || remake->next <= remake->until)
        return status;
    corrections_sort(&remake->corrections);
    remake->phase = REMAKE_FOLD;
    remake->next = remake->done + 1;
    return STATUS_OK;
}

// What was deleted since holds nothing of the items.
static enum status
remake_skip(struct remake *remake, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(remake->log);
    uint64_t first = 1;
    enum status status = log_first(&log, &first, error);
    if (!status && remake->next < first)
        remake->next = first;
    return status;
}

// A cut that came since the round before may end an item's epoch.
static void
remake_round(struct remake *remake, const struct cuts *cuts, uint64_t position)
{
    if (!remake->has_begun)
        remake_arrange(remake);
    remake->has_begun = true;
    for (uint32_t i = 0; i < remake->count; i++) {
        struct remake_item *item = &remake->items[i];
        item->limit = cuts_epoch_end(cuts, item->end_s, item->key.epoch);
    }
    remake->phase = REMAKE_GATHER;
    remake->until = position;
    remake->next = remake->done + 1;
}

enum status
remake_step(
    struct remake *remake,
    const struct cuts *cuts,
    uint64_t position,
    bool *out_is_done,
    struct error *error)
{
    int64_t deadline_ns = clock_monotonic_ns() + STEP_NS;
    enum status status = STATUS_OK;
    must(position >= remake->until);
    *out_is_done = remake->count == 0 || remake->done == position;
    if (*out_is_done)
        return STATUS_OK;
    if (remake->done == remake->until)
        remake_round(remake, cuts, position);
    status = remake_skip(remake, error);
    if (!status && remake->phase == REMAKE_GATHER)
        status = remake_gather(remake, deadline_ns, error);
    else if (!status)
        status = remake_fold(remake, deadline_ns, error);
    // Deleted in this moment: the next step skips it.
    if (status == STATUS_NOT_FOUND)
        status = STATUS_OK;
    *out_is_done = !status && remake->done == position;
    return status;
}

uint32_t
remake_count(const struct remake *remake)
{
    return remake->count;
}

struct remake_item *
remake_at(struct remake *remake, uint32_t index)
{
    must(index < remake->count);
    return &remake->items[index];
}

struct arena *
remake_arena(struct remake *remake)
{
    return &remake->arena;
}
