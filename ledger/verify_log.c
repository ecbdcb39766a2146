#include "base/assert.h"
#include "base/clock.h"
#include "base/unpack.h"
#include "ledger/correction.h"
#include "ledger/fold.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>

// One pass over the log: each block by itself, each entry within its block, and the fold of those
// that the cells on disk have. Identities are gathered and sorted: equal neighbours are an event
// that was counted twice (ledger/verify_counted).
//
// Beside a running tallyd retention may delete what is still to be read. Since it deletes from the
// beginning, everything that was read before is gone then, too: it is forgotten, and the check goes
// on where the log begins now.

enum { BLOCKS_PER_SNAPSHOT = 64 };

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
    // As ledger/order frees them.
    bool is_freed = (entry->flags & ENTRY_IS_REVERT) != 0 && entry->note.block > shard->expired;
    if (entry->kind == ENTRY_EVENT || is_freed)
        gather_identity(shard, block->sequence, index, entry);
    if (entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND)
        gather_correction(shard, block->sequence, index, entry);
}

// False: it was deleted.
static bool
verify_block(struct verify_shard *shard, struct tx *log, uint64_t sequence, bool folds)
{
    struct block_facts block = {.sequence = sequence};
    struct log_reader *reader = &shard->reader;
    struct entry entry;
    struct error error;
    (void)snprintf(block.key, sizeof block.key, "log block %" PRIu64, sequence);
    enum status status = log_open(reader, log, sequence, &error);
    if (status == STATUS_NOT_FOUND)
        return false;
    if (status) {
        log_finding(shard, &block, without_key(error.text, block.key));
        return true;
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
    return true;
}

// Dense from the first that counts to the head: each number between is looked up, so only what lies
// before or beside is left. What retention has not deleted yet lies before.
static void
verify_dense(struct verify_shard *shard)
{
    struct error error;
    scoped(tx_done) struct tx tx = tx_read(shard->view.log);
    struct tx *log = &tx;
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
    if (log_last(log, &shard->head, &error)) {
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
verify_ends(struct verify_shard *shard)
{
    report_stage(shard->report, VERIFY_STAGE_LOG);
    verify_dense(shard);
    verify_end(shard);
    published_set(&shard->report->shared->total, shard->head + shard->cells_on_disk);
}

void
verify_kept_renew(struct verify_shard *shard)
{
    scoped(tx_done) struct tx log = {0};
    struct log_kept kept;
    if (shard->view.log == NULL)
        return;
    log = tx_read(shard->view.log);
    // A damaged record was told when the log was looked at first.
    if (log_kept_read(&log, &kept, NULL) == STATUS_OK)
        shard->kept = kept;
}

static void
log_forget(struct verify_shard *shard)
{
    verify_kept_renew(shard);
    buffer_reset(&shard->identities);
    buffer_reset(&shard->corrections);
    shard->batches = (struct batches){0};
    shard->folded_batches = (struct batches){0};
    shard->cuts = (struct cuts){0};
    shard->last_cut = 0;
    cells_clear(shard->cells);
}

// What was deleted lies before the position of the state as it is by now.
static uint64_t
folded_to(const struct verify_shard *shard, uint64_t position)
{
    uint64_t folded = position < shard->head ? position : shard->head;
    return folded < shard->kept.first - 1 ? shard->kept.first - 1 : folded;
}

void
verify_log(struct verify_shard *shard, uint64_t position)
{
    struct verify_report *report = shard->report;
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    for (uint64_t sequence = shard->kept.first; sequence <= shard->head; sequence++) {
        report_place(report, sequence);
        if (sequence % BLOCKS_PER_SNAPSHOT == 0 || log.status)
            log_renew(&log, shard->view.log);
        if (!verify_block(shard, &log, sequence, sequence <= position)) {
            log_forget(shard);
            sequence = shard->kept.first - 1;
        }
        // A damaged tree may know of far more blocks than there are.
        if (report->findings > VERIFY_FINDINGS_MAX)
            break;
    }
    published_set(&report->shared->blocks, shard->head);
    shard->folded = folded_to(shard, position);
    tx_done(&log);
    verify_identities(shard);
    verify_corrections(shard);
    verify_batches(shard);
    buffer_done(&shard->corrections);
}

// A block that was checked before, or came since. fold NULL: as fold_any. STATUS_NOT_FOUND: it was
// deleted; what else is wrong with it is told.
static enum status
fold_again(
    struct verify_shard *shard, const struct verify_fold *fold, struct tx *log, uint64_t sequence)
{
    struct log_reader *reader = &shard->reader;
    struct entry entry;
    struct error error;
    if (sequence % BLOCKS_PER_SNAPSHOT == 0)
        tx_renew(log);
    enum status status = log_open(reader, log, sequence, &error);
    if (status && status != STATUS_NOT_FOUND)
        report_finding(shard->report, "log", "%s", error.text);
    while (!status && log_next(reader, &entry)) {
        if (fold != NULL)
            fold_parts(shard, fold, &reader->block, &entry);
        else
            fold_any(shard, &reader->block, &entry);
    }
    return status;
}

bool
verify_fold_on(struct verify_shard *shard, uint64_t position)
{
    must(shard->folded <= position);
    scoped(tx_done) struct tx log = tx_read(shard->view.log);
    while (shard->folded < position) {
        enum status status = fold_again(shard, NULL, &log, shard->folded + 1);
        if (status && status != STATUS_NOT_FOUND)
            return false;
        shard->folded++;
        if (status == STATUS_NOT_FOUND) {
            verify_kept_renew(shard);
            shard->folded = folded_to(shard, shard->folded);
        }
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
        enum status status = fold_again(shard, &fold, &log, *live_from - 1);
        if (status && status != STATUS_NOT_FOUND)
            return false;
        if (status) {
            // So were all before it.
            verify_kept_renew(shard);
            *live_from = from;
            break;
        }
    }
    return true;
}
