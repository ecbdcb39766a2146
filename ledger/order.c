#include "ledger/order.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/correction.h"
#include "ledger/retain_hold.h"

#include <inttypes.h>

static uint32_t
last_cut(const struct shard *shard)
{
    const struct cuts *cuts = &shard->cuts;
    return cuts->count > 0 ? cuts->list[cuts->count - 1].number : 0;
}

enum status
shard_know_cut(struct shard *shard, const struct entry *entry, uint64_t block, struct error *error)
{
    must(entry->kind == ENTRY_CUT);
    if (entry->note.cut <= last_cut(shard) || shard->cuts.count == CUTS_MAX || entry->time_ns < 0) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "block %" PRIu64 ": cut %" PRIu32 " comes after cut %" PRIu32,
            block,
            entry->note.cut,
            last_cut(shard));
    }
    const struct cut cut = {
        .number = entry->note.cut, .time_s = entry->time_ns / SECOND_NS, .block = block};
    cuts_add(&shard->cuts, &cut, &shard->cuts_arena);
    return STATUS_OK;
}

// The cut is known only when it is in the log: what came before it has its epochs already.
static enum status
obey_cut(struct shard *shard, struct order *order, int64_t now_ns, struct error *error)
{
    const struct entry entry = {
        .kind = ENTRY_CUT, .time_ns = order->time_ns, .note = {.cut = order->number}};
    uint8_t raw[ENTRY_HEADER_SIZE + ENTRY_NOTE_SIZE];
    must(entry_is_sound(&entry) && entry_raw_size(&entry) == sizeof raw);
    if (order->number <= last_cut(shard) || shard->cuts.count == CUTS_MAX) {
        (void)error_set(
            &order->error,
            STATUS_FULL,
            "shard %04" PRIu32 " has %" PRIu32 " cuts up to number %" PRIu32
            ", and takes no number %" PRIu32,
            shard->number,
            shard->cuts.count,
            last_cut(shard),
            order->number);
        return STATUS_OK;
    }
    entry_put(&entry, raw);
    enum status status = shard_append(shard, bytes_of(raw, sizeof raw), now_ns, error);
    return status ? status : shard_know_cut(shard, &entry, shard->head, error);
}

void
shard_fold_any(
    struct shard *shard,
    const struct fold_rules *rules,
    const struct entry *entry,
    const struct fold_place *place)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    uint32_t count = correction_parts(entry, parts);
    for (uint32_t i = 0; i < count; i++) {
        struct fold_place part = *place;
        part.is_cancel = parts[i].is_cancel;
        (void)shard_fold_by(shard, rules, &parts[i].event, &part);
    }
}

static void
fold_correction(struct shard *shard, const struct entry *entry, const struct fold_place *place)
{
    const struct fold_rules rules = {.set = shard->meters->set, .after = UINT32_MAX};
    shard_fold_any(shard, &rules, entry, place);
}

enum status
shard_learn(
    struct shard *shard,
    const struct entry *entry,
    const struct fold_place *place,
    struct error *error)
{
    must(entry->kind != ENTRY_EVENT);
    if (entry->kind == ENTRY_CUT)
        return shard_know_cut(shard, entry, place->block, error);
    fold_correction(shard, entry, place);
    return batches_learn(&shard->batches, entry, place->block, &shard->batches_arena, error);
}

bool
shard_frees_identity(const struct shard *shard, const struct entry *entry)
{
    return (entry->flags & ENTRY_IS_REVERT) != 0 && entry->note.block > dedup_expired(shard->dedup);
}

// Whoever comes with the identity next counts.
static void
free_identity(struct shard *shard, const struct entry *entry)
{
    struct hash128 identity;
    if (shard_frees_identity(shard, entry) && entry_identity(entry, shard->secret, &identity))
        dedup_free(shard->dedup, identity);
}

static enum status
obey_batch(struct shard *shard, struct order *order, int64_t now_ns, struct error *error)
{
    struct entry entry;
    struct cursor in = cursor_over(order->raw);
    enum status status = shard_append(shard, order->raw, now_ns, error);
    if (status)
        return status;
    struct fold_place place = {.block = shard->head, .arrival_ns = now_ns};
    for (; cursor_left(&in) > 0 && !status; place.index++) {
        bool is_sound = entry_read(&in, &entry);
        must(is_sound);
        status = shard_learn(shard, &entry, &place, error);
        free_identity(shard, &entry);
    }
    order->block = shard->head;
    return status;
}

static void
obey_find_batch(struct shard *shard, struct order *order)
{
    const struct batch *batch = batches_find(&shard->batches, order->batch_id);
    order->has_batch = batch != NULL;
    order->number = shard->batches.count;
    if (batch != NULL)
        order->batch = *batch;
}

static void
obey_unfinished(const struct shard *shard, struct order *order)
{
    order->has_batch = false;
    for (uint32_t i = 0; i < shard->batches.count && !order->has_batch; i++) {
        order->batch = shard->batches.list[i];
        order->has_batch = order->batch.state == BATCH_REVERTING;
    }
}

// Cells of some meters are made anew from the log when something is taken out of them: what the log
// has no more can stay in no such cell. What the entry takes out; NULL: it may.
static const struct meter *
meter_in_the_way(struct shard *shard, const struct entry *entry)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    const struct fold_place place = {.is_cancel = true};
    const struct meter_rule *rule = meter_set_first(shard->meters->set, entry->type);
    (void)correction_parts(entry, parts);
    if (!retain_lacks(&shard->kept, shard->zones, entry->time_ns))
        return NULL;
    for (; rule != NULL; rule = rule->next_of_type) {
        if (!cell_has_way_back(rule->meter->aggregation) &&
            meter_rule_apply(
                rule, &parts[0].event, &place, &shard->fold_scratch, &shard->fold_step))
            return rule->meter;
    }
    return NULL;
}

// False: refused, since events that it is about were deleted.
static bool
may_correct(struct shard *shard, struct order *order)
{
    char since[CLOCK_TEXT_MAX];
    log_kept_print(&shard->kept, since, sizeof since);
    if (order->entry->note.block < shard->kept.first) {
        (void)error_set(
            &order->error,
            STATUS_NOT_FOUND,
            "the event was deleted: the log is kept from %s on",
            since);
        return false;
    }
    const struct meter *meter = meter_in_the_way(shard, order->entry);
    if (meter == NULL)
        return true;
    (void)error_set(
        &order->error,
        STATUS_INVALID,
        "the log is kept from %s on, and %s of meter %s is made of all events of a month: events "
        "of the month in which the log begins, and before, cannot be changed any more",
        since,
        aggregation_name(meter->aggregation),
        meter->key);
    return false;
}

static bool
has_way_back(const struct shard *shard)
{
    bool has = true;
    for (uint32_t i = 0; i < meter_set_count(shard->meters->set); i++)
        has = has && cell_has_way_back(meter_set_at(shard->meters->set, i)->aggregation);
    return has;
}

static void
obey_may_revert(struct shard *shard, struct order *order)
{
    char since[CLOCK_TEXT_MAX];
    const struct batch *batch = batches_find(&shard->batches, order->batch_id);
    bool has_begun =
        batch != NULL && (batch->state == BATCH_REVERTING || batch->state == BATCH_REVERTED);
    if (batch == NULL || has_begun)
        return;
    bool is_there = batch->opened >= shard->kept.first;
    if (is_there &&
        (has_way_back(shard) || !retain_lacks(&shard->kept, shard->zones, order->time_ns)))
        return;
    log_kept_print(&shard->kept, since, sizeof since);
    (void)error_set(
        &order->error,
        STATUS_INVALID,
        is_there ? "the log is kept from %s on, and the backfill has events of the month in which "
                   "it begins, or before: what some meters measure cannot be taken out of these"
                 : "the log is kept from %s on, and the backfill was opened before: it cannot be "
                   "reverted any more",
        since);
}

static enum status
obey_correct(struct shard *shard, struct order *order, int64_t now_ns, struct error *error)
{
    const struct entry *entry = order->entry;
    must(entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND);
    must(entry->note.block > 0 && entry->note.block <= shard->head);
    if (!may_correct(shard, order))
        return STATUS_OK;
    enum status status = shard_append(shard, order->raw, now_ns, error);
    if (status)
        return status;
    const struct fold_place place = {.block = shard->head, .arrival_ns = now_ns};
    order->block = shard->head;
    return shard_learn(shard, entry, &place, error);
}

enum status
shard_obey(struct shard *shard, struct order *order, int64_t now_ns, struct error *error)
{
    order->error.status = STATUS_OK;
    switch (order->kind) {
    case ORDER_LOOK: order->number = last_cut(shard); return STATUS_OK;
    case ORDER_CUT: return obey_cut(shard, order, now_ns, error);
    case ORDER_CORRECT: return obey_correct(shard, order, now_ns, error);
    case ORDER_FIND_BATCH: obey_find_batch(shard, order); return STATUS_OK;
    case ORDER_MAY_REVERT: obey_may_revert(shard, order); return STATUS_OK;
    case ORDER_UNFINISHED: obey_unfinished(shard, order); return STATUS_OK;
    case ORDER_BATCH: return obey_batch(shard, order, now_ns, error);
    }
    must(false);
    return STATUS_OK;
}
