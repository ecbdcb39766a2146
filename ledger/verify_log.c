#include "base/assert.h"
#include "base/clock.h"
#include "base/unpack.h"
#include "ledger/correction.h"
#include "ledger/fold.h"
#include "ledger/id_table.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

// One pass over the log: each block by itself, each entry within its block, and the fold of those
// that the cells on disk have. Identities are gathered and sorted: equal neighbours are an event
// that was counted twice.

enum { BLOCKS_PER_SNAPSHOT = 64 };

// Of a cancel or amend: what it takes out.
struct corrected {
    struct hash128 hash;
    uint64_t place;
    uint64_t target;
    bool is_cancel;
    bool is_revert;
    bool has_identity;
};

struct block_facts {
    uint64_t sequence;
    char key[64];
    int64_t time_min_ns, time_max_ns;
};

static void
log_finding(struct verify_shard *shard, const struct block_facts *block, const char *what)
{
    shard->is_log_sound = false;
    report_finding(shard->report, block->key, "%s", what);
}

// "block 17: its checksum ..." of "log block 17" need not say so twice.
static const char *
without_key(const char *text, const char *key)
{
    const char *block = key + sizeof "log " - 1;
    size_t size = strlen(block);
    return strncmp(text, block, size) == 0 && text[size] == ':' ? text + size + 2 : text;
}

static bool
properties_fit(struct bytes pairs, uint32_t count)
{
    struct cursor in = cursor_over(pairs);
    for (uint64_t i = 0; i < 2 * (uint64_t)count; i++)
        if (!unpack_skip(&in, UNPACK_DEPTH_MAX))
            return false;
    return cursor_left(&in) == 0;
}

static void
gather_identity(
    struct verify_shard *shard, uint64_t sequence, uint32_t index, const struct entry *entry)
{
    struct verify_identity identity = {
        .place = sequence << VERIFY_INDEX_BITS | index, .is_freed = entry->kind != ENTRY_EVENT};
    if (!entry_identity(entry, &shard->conf->secret, &identity.hash))
        return;
    identity.payload = entry_payload_hash(entry, &shard->conf->secret);
    buffer_put(&shard->identities, &identity, sizeof identity);
    must(!buffer_failed(&shard->identities));
}

static void
gather_correction(
    struct verify_shard *shard, uint64_t sequence, uint32_t index, const struct entry *entry)
{
    struct corrected corrected = {
        .place = sequence << VERIFY_INDEX_BITS | index,
        .target = entry->note.block << VERIFY_INDEX_BITS | entry->note.index,
        .is_cancel = entry->kind == ENTRY_CANCEL,
        .is_revert = (entry->flags & ENTRY_IS_REVERT) != 0,
    };
    corrected.has_identity = entry_identity(entry, &shard->conf->secret, &corrected.hash);
    // Then only a revert takes it out, once.
    if (!corrected.has_identity)
        corrected.hash = (struct hash128){.low = corrected.target};
    buffer_put(&shard->corrections, &corrected, sizeof corrected);
    must(!buffer_failed(&shard->corrections));
}

// The meters that an entry is folded for, and the last cut before it.
struct verify_fold {
    const struct meter_set *set;
    bool is_one;  // a meter alone, whatever its live_from
    uint32_t after;
};

static void
fold_entry(
    struct verify_shard *shard,
    const struct verify_fold *fold,
    const struct fold_place *place,
    const struct entry *entry)
{
    const struct meter_set *set = fold->set;
    struct fold_scratch scratch;
    struct fold_step step;
    const struct meter_rule *rule = meter_set_first(set, entry->type);
    if (rule == NULL)
        return;
    struct cells_subject *subject =
        cells_subject(shard->cells, entry->subject, cells_hash(entry->subject));
    for (; rule != NULL; rule = rule->next_of_type) {
        size_t index = (size_t)(rule->meter - meter_set_at(set, 0));
        bool is_before = !fold->is_one && place->block < shard->meters.live_from[index];
        if (is_before || !meter_rule_apply(rule, entry, place, &scratch, &step))
            continue;
        step.epoch = cuts_epoch(&shard->cuts, step.start_s + QUARTER_HOUR_S, fold->after);
        cells_add(shard->cells, subject, &step);
    }
}

static bool
cut_follows(const struct cuts *cuts, const struct entry *entry)
{
    uint32_t last = cuts->count > 0 ? cuts->list[cuts->count - 1].number : 0;
    return entry->note.cut > last && cuts->count < CUTS_MAX && entry->time_ns >= 0;
}

// A batch entry that does not follow is told by batch_fault.
static void
learn_batches(
    struct batches *batches, const struct entry *entry, uint64_t block, struct arena *arena)
{
    struct error error;
    if (batches_learn(batches, entry, block, arena, &error))
        must(error.status == STATUS_CORRUPT);
}

// What an entry brings and takes.
static void
fold_parts(
    struct verify_shard *shard,
    const struct verify_fold *fold,
    const struct block_reader *block,
    const struct entry *entry)
{
    struct correction_part parts[CORRECTION_PARTS_MAX];
    struct fold_place place = {
        .block = block->header.sequence,
        .index = block->index - 1,
        .arrival_ns = block->header.arrival_ns,
    };
    if (entry->kind == ENTRY_EVENT) {
        fold_entry(shard, fold, &place, entry);
        return;
    }
    uint32_t count = correction_parts(entry, parts);
    for (uint32_t i = 0; i < count; i++) {
        place.is_cancel = parts[i].is_cancel;
        fold_entry(shard, fold, &place, &parts[i].event);
    }
}

// An entry of a block that the cells on disk cover, in the order of the log.
static void
fold_any(struct verify_shard *shard, const struct block_reader *block, const struct entry *entry)
{
    const struct verify_fold fold = {.set = shard->meters.set, .after = UINT32_MAX};
    learn_batches(&shard->folded_batches, entry, block->header.sequence, &shard->arena);
    fold_parts(shard, &fold, block, entry);
    if (entry->kind == ENTRY_CUT && cut_follows(&shard->cuts, entry)) {
        const struct cut cut = {
            .number = entry->note.cut,
            .time_s = entry->time_ns / SECOND_NS,
            .block = block->header.sequence,
        };
        cuts_add(&shard->cuts, &cut, &shard->arena);
    }
}

static const char *
event_fault(const struct verify_shard *shard, const struct entry *entry)
{
    if (hash64(entry->subject, 0) % shard->conf->shards != shard->view.shard)
        return "its subject belongs to another shard";
    if (!properties_fit(entry->properties, entry->properties_count))
        return "its properties are no msgpack pairs";
    return NULL;
}

// What a correction says of the log before it.
static const char *
correction_fault(uint64_t sequence, const struct entry *entry)
{
    const struct entry_payload *amended = &entry->note.amended;
    if (entry->note.block >= sequence)
        return "it corrects what was not there yet";
    if (!properties_fit(amended->properties, amended->properties_count))
        return "its new properties are no msgpack pairs";
    return NULL;
}

// What an entry says of batches, given what came before.
static const char *
batch_fault(struct verify_shard *shard, uint64_t sequence, const struct entry *entry)
{
    bool is_revert = (entry->flags & ENTRY_IS_REVERT) != 0;
    bool is_event = entry->kind == ENTRY_EVENT && (entry->flags & ENTRY_IS_BACKFILL) != 0;
    // The block that opened it may be deleted: then it is believed to have been open.
    if (shard->kept.first > 1 && entry->kind != ENTRY_BATCH_OPEN &&
        batches_find(&shard->batches, entry->batch) == NULL)
        return NULL;
    if (entry->kind == ENTRY_BATCH_OPEN || entry->kind == ENTRY_BATCH_CLOSE ||
        entry->kind == ENTRY_BATCH_REVERT)
        return batches_fault(&shard->batches, entry);
    if (!is_event && !is_revert)
        return NULL;
    const struct batch *batch = batches_find(&shard->batches, entry->batch);
    if (is_event)
        return batch != NULL && batch->state == BATCH_OPEN ? NULL : "its batch is not open";
    bool is_announced = batch != NULL && batch->changed == sequence &&
                        (batch->state == BATCH_REVERTING || batch->state == BATCH_REVERTED);
    return is_announced ? NULL : "it reverts a batch that its block does not revert";
}

static const char *
entry_fault(struct verify_shard *shard, uint64_t sequence, const struct entry *entry)
{
    const char *fault = NULL;
    bool has_event =
        entry->kind == ENTRY_EVENT || entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND;
    if (has_event)
        fault = event_fault(shard, entry);
    if (fault == NULL && entry->kind != ENTRY_EVENT)
        fault = correction_fault(sequence, entry);
    if (fault == NULL && entry->kind == ENTRY_CUT && entry->note.cut <= shard->last_cut)
        fault = "its number does not follow that of the cut before it";
    if (fault == NULL && entry->time_ns < 0)
        fault = "its time is before 1970";
    if (fault == NULL)
        fault = batch_fault(shard, sequence, entry);
    return fault;
}

static void
verify_entry(
    struct verify_shard *shard,
    struct block_facts *block,
    uint32_t index,
    const struct entry *entry)
{
    char what[128];
    const char *fault = entry_fault(shard, block->sequence, entry);
    learn_batches(&shard->batches, entry, block->sequence, &shard->arena);
    if (fault != NULL) {
        (void)snprintf(what, sizeof what, "entry %u: %s", index, fault);
        log_finding(shard, block, what);
    }
    if (index == 0 || entry->time_ns < block->time_min_ns)
        block->time_min_ns = entry->time_ns;
    if (index == 0 || entry->time_ns > block->time_max_ns)
        block->time_max_ns = entry->time_ns;
    if (entry->kind == ENTRY_CUT && entry->note.cut > shard->last_cut)
        shard->last_cut = entry->note.cut;
    if (entry->kind == ENTRY_EVENT || (entry->flags & ENTRY_IS_REVERT) != 0)
        gather_identity(shard, block->sequence, index, entry);
    if (entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND)
        gather_correction(shard, block->sequence, index, entry);
}

static void
verify_block(struct verify_shard *shard, struct tx *log, uint64_t sequence, bool folds)
{
    struct block_facts block = {.sequence = sequence};
    struct log_reader *reader = &shard->reader;
    struct entry entry;
    struct error error;
    (void)snprintf(block.key, sizeof block.key, "log block %" PRIu64, sequence);
    if (log_open(reader, log, sequence, &error)) {
        log_finding(shard, &block, without_key(error.text, block.key));
        return;
    }
    if (sequence == shard->kept.first && sequence > 1 &&
        reader->header.previous != shard->kept.previous)
        log_finding(shard, &block, "it does not follow the last one that was deleted");
    const struct head_place *place = &shard->head_place;
    if (place->sequence == sequence && place->checksum != reader->header.checksum)
        log_finding(shard, &block, "it is not the one that the head file says was committed");
    while (log_next(reader, &entry)) {
        verify_entry(shard, &block, reader->block.index - 1, &entry);
        if (folds)
            fold_any(shard, &reader->block, &entry);
    }
    if (log_end(reader, &error))
        log_finding(shard, &block, without_key(error.text, block.key));
    else if (
        reader->header.time_min_ns != block.time_min_ns ||
        reader->header.time_max_ns != block.time_max_ns)
        log_finding(shard, &block, "its time bounds are not those of its entries");
    published_set(
        &shard->report->shared->events,
        published_get(&shard->report->shared->events) + reader->header.count);
}

// Dense from the first that counts to the head: each number between is looked up, so only what lies
// before or beside is left. What retention has not deleted yet lies before.
static void
verify_dense(struct verify_shard *shard, struct tx *log)
{
    struct error error;
    struct walk walk = walk_open(log, LOG_DB_BLOCKS);
    uint64_t first = 1;
    uint64_t count = tx_count(log, LOG_DB_BLOCKS);
    if (walk_first(&walk) && walk.key.size == sizeof first)
        memcpy(&first, walk.key.data, sizeof first);
    walk_done(&walk);
    shard->kept.first = 1;
    if (log_kept_read(log, &shard->kept, &error)) {
        shard->is_log_sound = false;
        report_finding(shard->report, "log", "%s", error.text);
    }
    if (log_head(log, &shard->head, &error)) {
        shard->is_log_sound = false;
        report_finding(shard->report, "log", "%s", error.text);
    }
    bool is_dense = first > 0 && first <= shard->kept.first && count == shard->head - first + 1;
    if (shard->head > 0 && !is_dense) {
        shard->is_log_sound = false;
        report_finding(
            shard->report,
            "log",
            "blocks are not dense: %" PRIu64 " of them from %" PRIu64 " to %" PRIu64
            ", and they are kept from %" PRIu64 " on",
            count,
            first,
            shard->head,
            shard->kept.first);
    }
}

// The file outside the environment may be behind the log, never ahead.
static void
verify_end(struct verify_shard *shard)
{
    const struct head_place *place = &shard->head_place;
    if (place->sequence <= shard->head)
        return;
    shard->is_log_sound = false;
    report_finding(
        shard->report,
        "log",
        "it ends at block %" PRIu64 ", but block %" PRIu64 " was committed",
        shard->head,
        place->sequence);
}

static int
identity_compare(const void *a, const void *b)
{
    const struct verify_identity *left = a;
    const struct verify_identity *right = b;
    int order = fingerprint_compare(
        fingerprint_of(left->hash, left->payload), fingerprint_of(right->hash, right->payload));
    if (order != 0)
        return order;
    if (left->hash.high != right->hash.high)
        return left->hash.high < right->hash.high ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

static void
verify_identities(struct verify_shard *shard)
{
    report_stage(shard->report, VERIFY_STAGE_IDENTITIES);
    size_t count = shard->identities.size / sizeof(struct verify_identity);
    struct verify_identity *all = (void *)shard->identities.data;
    const uint64_t index_mask = (1U << VERIFY_INDEX_BITS) - 1;
    if (count > 1)
        qsort(all, count, sizeof *all, identity_compare);
    for (size_t i = 0; i < count; i++) {
        char key[64];
        bool is_same = i > 0 && all[i].hash.high == all[i - 1].hash.high &&
                       all[i].hash.low == all[i - 1].hash.low;
        (void)snprintf(key, sizeof key, "log block %" PRIu64, all[i].place >> VERIFY_INDEX_BITS);
        if (all[i].is_freed && (!is_same || all[i - 1].is_freed))
            report_finding(
                shard->report,
                key,
                "entry %" PRIu64 " frees an identity that is free",
                all[i].place & index_mask);
        if (!is_same || all[i].is_freed || all[i - 1].is_freed)
            continue;
        report_finding(
            shard->report,
            key,
            "entry %" PRIu64 " has the identity of block %" PRIu64 " entry %" PRIu64,
            all[i].place & index_mask,
            all[i - 1].place >> VERIFY_INDEX_BITS,
            all[i - 1].place & index_mask);
    }
}

static int
corrected_compare(const void *a, const void *b)
{
    const struct corrected *left = a;
    const struct corrected *right = b;
    if (left->hash.high != right->hash.high)
        return left->hash.high < right->hash.high ? -1 : 1;
    if (left->hash.low != right->hash.low)
        return left->hash.low < right->hash.low ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

// The place of the first event with this identity behind this place; 0: there is none. The list is
// sorted.
static uint64_t
identity_next(const struct verify_shard *shard, struct hash128 hash, uint64_t after)
{
    const struct verify_identity *all = (const void *)shard->identities.data;
    size_t low = 0;
    size_t high = shard->identities.size / sizeof(struct verify_identity);
    const struct verify_identity wanted = {.hash = hash, .place = after + 1};
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (identity_compare(&all[middle], &wanted) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    // Nothing is freed twice without an event between.
    bool is_found = low < shard->identities.size / sizeof(struct verify_identity) &&
                    all[low].hash.high == hash.high && all[low].hash.low == hash.low &&
                    !all[low].is_freed;
    return is_found ? all[low].place : 0;
}

// Each correction of an identity takes out what counted until then: the event, then the last amend;
// nothing after a cancel, but after one that freed it the next event with it.
static void
verify_corrections(struct verify_shard *shard)
{
    size_t count = shard->corrections.size / sizeof(struct corrected);
    struct corrected *all = (void *)shard->corrections.data;
    uint64_t counts = 0;
    if (count > 1)
        qsort(all, count, sizeof *all, corrected_compare);
    for (size_t i = 0; i < count; i++) {
        bool is_first = i == 0 || all[i].hash.high != all[i - 1].hash.high ||
                        all[i].hash.low != all[i - 1].hash.low;
        bool is_freed = !is_first && all[i - 1].is_revert;
        if (is_first || is_freed)
            counts = identity_next(shard, all[i].hash, is_first ? 0 : all[i - 1].place);
        if (is_first && !all[i].has_identity && all[i].is_revert)
            counts = all[i].target;
        // What was deleted is believed to have been what is said.
        if (is_first && all[i].target >> VERIFY_INDEX_BITS < shard->kept.first)
            counts = all[i].target;
        if (counts == 0 || all[i].target != counts) {
            char key[64];
            (void)snprintf(
                key, sizeof key, "log block %" PRIu64, all[i].place >> VERIFY_INDEX_BITS);
            report_finding(shard->report, key, "it corrects what does not count");
            shard->is_log_sound = false;
        }
        counts = all[i].is_cancel ? 0 : all[i].place;
    }
}

// Of a reverted batch nothing counts.
static void
verify_batches(struct verify_shard *shard)
{
    for (uint32_t i = 0; i < shard->batches.count; i++) {
        const struct batch *batch = &shard->batches.list[i];
        char key[VERIFY_KEY_MAX];
        char id[4 * EVENT_BATCH_MAX + 1];
        if (batch->state != BATCH_REVERTED || batch->taken + batch->cancelled == batch->stored)
            continue;
        bytes_print(batch->id, id, sizeof id);
        (void)snprintf(key, sizeof key, "batch %s", id);
        report_finding(
            shard->report,
            key,
            "it is reverted, but of %" PRIu64 " events %" PRIu64 " were taken out and %" PRIu64
            " cancelled",
            batch->stored,
            batch->taken,
            batch->cancelled);
    }
}

// A failed transaction is done with; the next block may be well.
static void
log_renew(struct tx *log, struct env *env)
{
    tx_done(log);
    *log = tx_read(env);
}

void
verify_log(struct verify_shard *shard, uint64_t position)
{
    struct verify_report *report = shard->report;
    report_stage(report, VERIFY_STAGE_LOG);
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    verify_dense(shard, &log);
    verify_end(shard);
    published_set(&report->shared->total, shard->head + shard->cells_on_disk);
    for (uint64_t sequence = shard->kept.first; sequence <= shard->head; sequence++) {
        report_place(report, sequence);
        if (sequence % BLOCKS_PER_SNAPSHOT == 0 || log.status)
            log_renew(&log, shard->view.log);
        verify_block(shard, &log, sequence, sequence <= position);
        // A damaged tree may know of far more blocks than there are.
        if (report->findings > VERIFY_FINDINGS_MAX)
            break;
    }
    published_set(&report->shared->blocks, shard->head);
    shard->folded = position < shard->head ? position : shard->head;
    tx_done(&log);
    verify_identities(shard);
    verify_corrections(shard);
    verify_batches(shard);
    buffer_done(&shard->corrections);
}

// A block that was checked before. fold NULL: as fold_any. False: it cannot be read any more.
static bool
fold_again(
    struct verify_shard *shard, const struct verify_fold *fold, struct tx *log, uint64_t sequence)
{
    struct log_reader *reader = &shard->reader;
    struct entry entry;
    struct error error;
    if (sequence % BLOCKS_PER_SNAPSHOT == 0)
        tx_renew(log);
    if (log_open(reader, log, sequence, &error)) {
        report_finding(shard->report, "log", "%s", error.text);
        return false;
    }
    while (log_next(reader, &entry)) {
        if (fold != NULL)
            fold_parts(shard, fold, &reader->block, &entry);
        else
            fold_any(shard, &reader->block, &entry);
    }
    return true;
}

bool
verify_fold_on(struct verify_shard *shard, uint64_t position)
{
    must(shard->folded <= position);
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    for (; shard->folded < position; shard->folded++) {
        if (!fold_again(shard, NULL, &log, shard->folded + 1))
            return false;
    }
    return true;
}

bool
verify_fold_back(struct verify_shard *shard, uint32_t index, uint64_t from)
{
    uint64_t *live_from = &shard->meters.live_from[index];
    must(from > 0 && from <= *live_from);
    struct verify_fold fold = {
        .set = meter_set_make(meter_set_at(shard->meters.set, index), 1, &shard->arena),
        .is_one = true,
    };
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    for (; *live_from > from; --*live_from) {
        // What is not folded yet comes when the fold goes on.
        if (*live_from - 1 > shard->folded)
            continue;
        fold.after = cuts_before(&shard->cuts, *live_from - 1);
        if (!fold_again(shard, &fold, &log, *live_from - 1))
            return false;
    }
    return true;
}
