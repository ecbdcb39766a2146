// What a start reads back: the blocks whose identities are not in the runs on disk give them to the
// hot table, and those that the cells on disk do not cover yet are folded. Only when the table gets
// full (state/ was dropped, or its size was lowered) is it written, as it would have been then; and
// cells only when there are more of them than a tail may have.

#include "base/assert.h"
#include "ledger/cut_record.h"
#include "ledger/dirty.h"
#include "ledger/log_reader.h"
#include "ledger/order.h"
#include "ledger/shard_view.h"

#include <inttypes.h>

enum { RECOVER_RENEW_BLOCKS = 64 };  // read transactions stay short even here

struct known {
    struct hash128 identity;
    uint32_t payload;
    bool is_freed;
};

struct recovery {
    struct shard *shard;
    uint64_t dedup_position;  // of the runs on disk when it began
    uint32_t count;
    struct known ahead[SHARD_RECOVER_AHEAD];
    struct log_reader reader;
};

// complete: the last block all of whose identities are among these or were before.
static enum status
recover_known(struct recovery *recovery, uint64_t complete, struct error *error)
{
    struct dedup *dedup = recovery->shard->dedup;
    for (uint32_t i = 0; i < recovery->count; i++) {
        const struct known *known = &recovery->ahead[i];
        if (known->is_freed) {
            dedup_free(dedup, known->identity);
            continue;
        }
        // The first wins, as it did when it came.
        enum dedup_result result = dedup_find(dedup, known->identity, known->payload);
        if (result == DEDUP_NEW)
            dedup_add(dedup, known->identity, known->payload);
        if (result == DEDUP_FAILED)
            return error_set(error, dedup_error(dedup)->status, "%s", dedup_error(dedup)->text);
    }
    recovery->count = 0;
    return shard_wants_seal(recovery->shard) ? shard_seal_now(recovery->shard, complete, error)
                                             : STATUS_OK;
}

// Called for the entries of block complete + 1.
static enum status
recover_identity(
    struct recovery *recovery, const struct entry *entry, uint64_t complete, struct error *error)
{
    const struct shard *shard = recovery->shard;
    struct known *known = &recovery->ahead[recovery->count];
    known->is_freed = shard_frees_identity(shard, entry);
    if ((entry->kind != ENTRY_EVENT && !known->is_freed) ||
        !entry_identity(entry, shard->secret, &known->identity))
        return STATUS_OK;
    known->payload = entry_payload_hash(entry, shard->secret);
    dedup_prefetch(shard->dedup, known->identity);
    recovery->count++;
    return recovery->count == SHARD_RECOVER_AHEAD ? recover_known(recovery, complete, error)
                                                  : STATUS_OK;
}

static uint64_t
block_bytes(const struct block_header *header)
{
    return BLOCK_HEADER_SIZE + (uint64_t)header->words_size + header->entries_size;
}

static enum status
recover_entry(
    struct shard *shard,
    const struct entry *entry,
    const struct fold_place *place,
    struct error *error)
{
    if (entry->kind != ENTRY_EVENT)
        return shard_learn(shard, entry, place, error);
    (void)shard_fold_entry(shard, entry, place);
    batches_count(&shard->batches, entry, place->block);
    return STATUS_OK;
}

static enum status
recover_block(struct recovery *recovery, struct tx *tx, uint64_t sequence, struct error *error)
{
    struct shard *shard = recovery->shard;
    struct log_reader *reader = &recovery->reader;
    struct entry entry;
    enum status status = log_open(reader, tx, sequence, error);
    if (status)
        return status;
    const struct block_header *header = &reader->header;
    struct fold_place place = {.block = sequence, .arrival_ns = header->arrival_ns};
    // First, since the table may be sealed within the block: what seems to be older than the window
    // is forgotten.
    if (header->arrival_ns > shard->newest_arrival_ns)
        shard->newest_arrival_ns = header->arrival_ns;
    while (!status && log_next(reader, &entry)) {
        place.index = reader->block.index - 1;
        if (sequence > shard->flushed)
            status = recover_entry(shard, &entry, &place, error);
        if (sequence > recovery->dedup_position && !status)
            status = recover_identity(recovery, &entry, sequence - 1, error);
    }
    if (sequence > shard->flushed)
        shard->tail_bytes += block_bytes(header);
    if (!status)
        status = log_end(reader, error);
    if (status || sequence <= recovery->dedup_position)
        return status;
    shard->unsealed_bytes += block_bytes(header);
    return recover_known(recovery, sequence, error);
}

// Blocks are dense from the oldest one that retention left, and the first that counts follows the
// last that was deleted.
static enum status
recover_kept(struct shard *shard, struct tx *tx, uint64_t head, struct error *error)
{
    scoped(log_reader_done) struct log_reader reader = {0};
    scoped(walk_done) struct walk walk = walk_open(tx, LOG_DB_BLOCKS);
    struct log_kept *kept = &shard->kept;
    uint64_t oldest = 1;
    enum status status = log_kept_read(tx, kept, error);
    if (walk_first(&walk) && walk.key.size == sizeof oldest)
        memcpy(&oldest, walk.key.data, sizeof oldest);
    if (status)
        return status;
    uint64_t count = tx_count(tx, LOG_DB_BLOCKS);
    bool is_dense = head == 0 ? kept->first == 1
                              : oldest > 0 && oldest <= kept->first && kept->first <= head &&
                                    count == head - oldest + 1;
    if (!is_dense) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "the log is to hold blocks %" PRIu64 " to %" PRIu64 ", and has %" PRIu64
            " from block %" PRIu64 " on: restore the ledger from a backup",
            kept->first,
            head,
            count,
            oldest);
    }
    if (kept->first == 1)
        return STATUS_OK;
    status = log_look(&reader, tx, kept->first, error);
    if (status || reader.header.previous == kept->previous)
        return status;
    return error_set(
        error,
        STATUS_CORRUPT,
        "block %" PRIu64 " does not follow the last one that was deleted: restore the ledger from "
        "a backup",
        kept->first);
}

// What was deleted is in state/ only.
static enum status
recover_deleted(const struct shard *shard, uint64_t dedup_position, struct error *error)
{
    uint64_t deleted = shard->kept.first - 1;
    if (shard->flushed >= deleted && dedup_position >= deleted)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_CORRUPT,
        "blocks up to %" PRIu64 " were deleted from the log, but cells cover only %" PRIu64
        " and identities %" PRIu64 ": restore the ledger from a backup",
        deleted,
        shard->flushed,
        dedup_position);
}

// The file outside the environment knows of every block that was acked a second before the machine
// died, and of every block when only the process did.
static enum status
recover_head(const struct shard *shard, struct tx *tx, uint64_t head, struct error *error)
{
    const struct head_place *place = &shard->head_place;
    scoped(log_reader_done) struct log_reader reader = {0};
    // One that was not synced may be as old as what retention deleted since.
    if (place->state == HEAD_EMPTY || place->sequence < shard->kept.first)
        return STATUS_OK;
    if (place->sequence > head) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "the log ends at block %" PRIu64 ", but block %" PRIu64
            " was committed: the log is an older one than it was: restore the ledger from a backup",
            head,
            place->sequence);
    }
    enum status status = log_look(&reader, tx, place->sequence, error);
    if (status || reader.header.checksum == place->checksum)
        return status;
    return error_set(
        error,
        STATUS_CORRUPT,
        "block %" PRIu64 " is not the one that was committed: restore the ledger from a backup",
        place->sequence);
}

// A zone keeps its number in state/ for good.
static enum status
recover_zones(const struct shard *shard, struct tx *state, struct error *error)
{
    struct horizons horizons;
    enum status status = horizons_read(state, &horizons, error);
    for (uint32_t i = 0; i < shard->zones->count && !status; i++) {
        if (!horizons_zone(&horizons, shard->zones->list[i], true))
            status = error_set(
                error,
                STATUS_INVALID,
                "no room for the billing zone %s: with those that were listed before there are more"
                " than %d; `tally ledger rebuild` forgets the ones that are listed no more",
                zone_name(shard->zones->list[i]),
                BILLING_ZONES_MAX);
    }
    return status;
}

// Meters that were removed while nobody had the ledger open: their records go with the next flush,
// their cells after it.
static bool
has_lost_meters(const struct shard *shard, struct tx *state)
{
    scoped(walk_done) struct walk walk = walk_open(state, STATE_DB_META);
    uint32_t id;
    for (bool more = walk_first(&walk); more; more = walk_next(&walk)) {
        if (state_meter_key_read(walk.key, &id) && shard_live_from(shard, id) == 0)
            return true;
    }
    return false;
}

// Thresholds that waited for a cell to be made anew, when the process ended.
static enum status
recover_touched(struct shard *shard, struct tx *state, struct error *error)
{
    scoped(walk_done) struct walk walk = walk_open(state, STATE_DB_DIRTY);
    struct cell_key key;
    bool is_whole = tx_is_whole(state, STATE_DB_DIRTY, dirty_is_sound);
    enum status status = tx_check(state, error);
    if (!status && !is_whole)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "the list of cells to be made anew is damaged: rebuild the state with `tally "
            "ledger rebuild`");
    for (bool more = !status && walk_first(&walk); more; more = walk_next(&walk)) {
        bool is_cell = cell_key_read(walk.key, &key);
        must(is_cell);
        const struct cell_input input = {
            .block = shard->flushed, .time_ns = key.start_s * SECOND_NS};
        watch_touch(&shard->watch, key.meter_id, key.subject, &input, key.start_s);
    }
    return status;
}

// How far the cells on disk are, and from where on each meter's are complete. A meter that they do
// not know yet is folded with the tail, hence complete from its first block on.
static enum status
recover_state(struct shard *shard, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(shard->state);
    enum status status = state_position(&tx, &shard->flushed, error);
    if (status == STATUS_OK)
        status = cuts_read(&tx, &shard->cuts, &shard->cuts_arena, error);
    if (status == STATUS_OK)
        status = recover_zones(shard, &tx, error);
    if (status == STATUS_OK)
        status = batches_read(&tx, &shard->batches, &shard->batches_arena, error);
    for (uint32_t i = 0; status == STATUS_OK && i < shard->live_count; i++) {
        uint64_t from = 0;
        status = state_live_from(&tx, shard->live[i].meter_id, &from, error);
        shard->live[i].from = from != 0 ? from : shard->flushed + 1;
        shard->live[i].flushed_from = from;
    }
    shard->has_lost_meters = has_lost_meters(shard, &tx);
    return status ? status : recover_touched(shard, &tx, error);
}

// The last block's flush is left to the writer, who makes the windows that have closed with it.
// What fired is marked first: what is flushed is not folded again.
static enum status
recover_flush(struct shard *shard, uint64_t sequence, struct error *error)
{
    if (!shard_wants_flush(shard))
        return STATUS_OK;
    enum status status = shard_watch_settle(shard, error);
    if (status)
        return status;
    shard->head = sequence;
    status = shard_flush(shard, error);
    shard->head = 0;
    return status;
}

static enum status
recover_log(struct shard *shard, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(shard->log);
    uint64_t head = 0;
    enum status status = log_head(&tx, &head, error);
    if (status)
        return status;
    status = recover_kept(shard, &tx, head, error);
    if (status)
        return status;
    if (shard->flushed > head) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "the log ends at block %" PRIu64 ", but cells cover %" PRIu64
            ": restore the ledger from a backup",
            head,
            shard->flushed);
    }
    uint64_t dedup_position = generations_view(shard->generations)->position;
    if (dedup_position > head) {
        return error_set(
            error,
            STATUS_CORRUPT,
            "the log ends at block %" PRIu64 ", but identities cover %" PRIu64
            ": restore the ledger from a backup",
            head,
            dedup_position);
    }
    status = recover_deleted(shard, dedup_position, error);
    if (!status)
        status = recover_head(shard, &tx, head, error);
    struct recovery recovery = {.shard = shard, .dedup_position = dedup_position};
    uint64_t first = dedup_position < shard->flushed ? dedup_position : shard->flushed;
    for (uint64_t sequence = first + 1; sequence <= head && status == STATUS_OK; sequence++) {
        status = recover_block(&recovery, &tx, sequence, error);
        if (status == STATUS_OK && sequence < head)
            status = recover_flush(shard, sequence, error);
        if (status == STATUS_OK && watch_is_behind(&shard->watch))
            status = shard_watch_settle(shard, error);
        if (sequence % RECOVER_RENEW_BLOCKS == 0) {
            dedup_rest(shard->dedup);
            tx_renew(&tx);
        }
    }
    dedup_rest(shard->dedup);
    // The last block may be none of those that were read.
    if (status == STATUS_OK && head > 0)
        status = log_look(&recovery.reader, &tx, head, error);
    if (recovery.reader.header.arrival_ns > shard->newest_arrival_ns)
        shard->newest_arrival_ns = recovery.reader.header.arrival_ns;
    shard->head = head;
    block_writer_resume(&shard->writer, head, recovery.reader.header.checksum);
    log_reader_done(&recovery.reader);
    return status ? status : tx_check(&tx, error);
}

static enum status
recover_generations(struct shard *shard, struct error *error)
{
    const struct generations_options options = {
        .state = shard->state,
        .hot_max = shard->dedup_options.hot_max,
        .filter_bytes_max = shard->dedup_options.filter_bytes_max,
        .window_ns = shard->dedup_options.window_ns,
    };
    enum status status = generations_open(&options, &shard->generations, error);
    if (status)
        return status;
    const struct generations_view *view = generations_view(shard->generations);
    dedup_adopt(shard->dedup, view);
    generations_adopted(shard->generations, view->number);
    return STATUS_OK;
}

enum status
shard_recover(struct shard *shard, struct error *error)
{
    must(shard->meters != NULL && shard->head == 0);
    enum status status = recover_state(shard, error);
    if (status == STATUS_OK)
        status = recover_generations(shard, error);
    if (status == STATUS_OK)
        status = recover_log(shard, error);
    if (status)
        return error_prefix(error, "shard %04" PRIu32, shard->number);
    must(shard->flushed <= shard->head);
    return STATUS_OK;
}
