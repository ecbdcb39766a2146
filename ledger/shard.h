#pragma once
// One shard on disk and in memory: its log, the identities in it, its cells, and how far each of
// them is.
//
//     shard_open(&shard, &options, &error);
//     shard_adopt(&shard, meters);             // before recovery: what the tail is folded with
//     shard_recover(&shard, &error);  // ledger/recover.c: identities and cells from the log
//     // fates; identities are known from here on
//     shard_judge(&shard, group, &policy, now_ns, &survivors, &error);
//     shard_store(&shard, group, &survivors, now_ns, &error);      // one block, one fsync
//     shard_fold(&shard, group, now_ns);       // into the cells in memory
//     if (shard_wants_flush(&shard))
//         keeper_offer_freeze(keeper, shard_freeze(&shard));       // cells and position to state/
//     shard_thaw(&shard);                      // they are there
//     if (shard_wants_seal(&shard))
//         keeper_offer_seal(keeper, shard_seal(&shard, &error));   // identities to state/
//     shard_adopt_view(&shard, view);          // they are there
//     shard_close(&shard);
//
// Invariants:
// 1. flushed <= head: state/ is never ahead of log/.
// 2. The frozen cells are the fold of blocks (flushed, freeze.position], the others that of the
//    blocks behind these up to head, by the meters of the set; and both have what
//    ledger/meter_rebuild folded meanwhile: together [from, flushed_from) of each meter.
// 3. Every identity in the log is in dedup, but for those that expired: of blocks up to
//    dedup_expired, and older than the window.
// state/ is written by the shard's keeper; before there is one, by whoever recovers the shard.
// After a failure the shard takes no more events: dedup may know
// identities that the log does not hold. Owner and only thread: the shard's writer; before it
// starts, whoever opens and recovers the shard.

#include "ledger/batches.h"
#include "ledger/block_writer.h"
#include "ledger/cells.h"
#include "ledger/dedup.h"
#include "ledger/flush.h"
#include "ledger/fold.h"
#include "ledger/fold_words.h"
#include "ledger/group.h"
#include "ledger/head.h"
#include "ledger/keeper.h"
#include "ledger/lmdb_env.h"
#include "ledger/log_kept.h"
#include "ledger/meter_rebuild.h"
#include "ledger/past.h"
#include "ledger/watch.h"

struct answers;

// A set of meters, and the thresholds on them, with what they were made of. Made and freed by the
// thread that polls the registry.
struct meters {
    uint64_t generation;  // rises from 1
    struct meter_set *set;
    const struct watched_set *watched;  // NULL: nothing is watched
    struct arena arena;
    struct meters *older;
};

struct clock_policy {
    int64_t past_max_ns;
    int64_t future_max_ns;
};

// Identities that a start hashes before it looks the first of them up; so many may come at once.
enum { SHARD_RECOVER_AHEAD = 64 };

enum shard_metric {
    SHARD_STORED,
    SHARD_DUPLICATE,
    SHARD_CONFLICT,
    SHARD_TOO_OLD,
    SHARD_TOO_FAR_AHEAD,
    SHARD_BATCH_NOT_OPEN,
    SHARD_UNMETERED,
    SHARD_GROUPS,
    SHARD_COMMITS,
    SHARD_COMMIT_MICROSECONDS,
    SHARD_BLOCK_BYTES,
    SHARD_FLUSHES,
    SHARD_WINDOWS_MADE,
    SHARD_CELLS_DELETED,
    SHARD_CELLS_MENDED,
    SHARD_GROUPS_CAPPED,
    SHARD_CELLS,
    SHARD_CELLS_BYTES,
    SHARD_DEDUP_ENTRIES,
    SHARD_DEDUP_BYTES,
    SHARD_DEDUP_GENERATIONS,
    SHARD_DEDUP_PROBES,
    SHARD_TAIL_BYTES,
    SHARD_DEAD_READERS,
    SHARD_READER_SECONDS,
    SHARD_REBUILD_BLOCKS_LEFT,
    SHARD_CELLS_PURGED,
    SHARD_FIRED,
    SHARD_BLOCKS_DELETED,
    SHARD_METRICS,
};

struct shard_dedup_options {
    uint32_t hot_max;           // identities in the hot table; 0: 4 Mi / shards, at least 1 Mi
    uint32_t group_max;         // events of a group, at most; 0: 65,536
    uint64_t filter_bytes_max;  // memory of the filters
    int64_t window_ns;          // 0: 36 days
};

struct shard {
    uint32_t number;
    const struct hash_secret *secret;
    const struct billing_zones *zones;
    struct retention retention;
    struct cuts cuts;
    struct arena cuts_arena;
    struct batches batches;
    struct arena batches_arena;
    struct arena freeze_arena;  // of the frozen batches
    struct env *log;
    struct env *state;
    struct env *fired;  // marks of thresholds: written by the keeper, too
    struct dedup *dedup;
    struct generations *generations;
    struct past past;
    struct cells *cells;
    // Kept here so that they are not cleared for each event.
    struct fold_scratch fold_scratch;
    struct fold_step fold_step;
    struct fold_words fold_words;  // of the chapter that is being written
    struct cells *spare;           // empty; NULL: frozen
    struct freeze freeze;          // cells NULL: nothing is frozen
    const struct meters *meters;
    uint64_t head;
    uint64_t flushed;
    uint64_t tail_bytes;       // of the blocks in cells
    uint64_t tail_max_bytes;   // shard_wants_flush; 0: never
    uint64_t cells_max_bytes;  // likewise; 0: no bound
    uint64_t unsealed_bytes;   // of the blocks whose identities are in the hot table
    int64_t newest_arrival_ns;
    struct shard_dedup_options dedup_options;
    struct buffer old;  // of struct past_event: those of a group that may be older than dedup
    uint32_t live_count;
    struct shard_live live[METERS_MAX];  // in the order of the set
    bool has_lost_meters;                // since the last freeze
    struct meter_rebuild rebuild;
    struct watch watch;
    struct answers *answers;     // NULL: nobody asks
    struct block_writer writer;  // of the log's next block
    struct head_file head_file;
    struct log_kept kept;          // from where on the log is there
    struct head_place head_place;  // what it said when the shard was opened
    char labels[32];
    struct metric metrics[SHARD_METRICS];
};

struct shard_options {
    const char *dir;
    uint32_t number;
    uint32_t shards;
    uint64_t map_size;
    uint64_t tail_max_bytes;   // 0: flushed by who opened it alone
    uint64_t cells_max_bytes;  // 0: no bound
    const struct hash_secret *secret;
    const struct billing_zones *zones;  // whose days and months have cells of their own
    struct retention retention;
    struct shard_dedup_options dedup;
};

enum status
shard_open(struct shard *shard, const struct shard_options *options, struct error *error) CHECKED;
void shard_close(struct shard *shard);
enum status shard_recover(struct shard *shard, struct error *error) CHECKED;
// Folds with this set from the next block on. At recovery: from the first block that is not
// flushed.
void shard_adopt(struct shard *shard, const struct meters *meters);
// The first block that the meter's cells cover; 0: the meter is not known here.
uint64_t shard_live_from(const struct shard *shard, uint32_t meter_id);
// As shard_live_from, of the cells on disk alone; 0: there are none.
uint64_t shard_flushed_from(const struct shard *shard, uint32_t meter_id);

struct survivors {
    uint32_t count;
};

// STATUS_CORRUPT, STATUS_IO: the identities on disk could not be read; no fate means anything.
enum status shard_judge(
    struct shard *shard,
    struct group *group,
    const struct clock_policy *policy,
    int64_t now_ns,
    struct survivors *out,
    struct error *error) CHECKED;
// Nothing to do, and fine, when nobody survived.
enum status shard_store(
    struct shard *shard,
    const struct group *group,
    const struct survivors *survivors,
    int64_t now_ns,
    struct error *error) CHECKED;
// Entries of any kind, raw and one after another, as one block: what control writes. Neither judged
// nor folded; at least one.
enum status
shard_append(struct shard *shard, struct bytes raw, int64_t now_ns, struct error *error) CHECKED;
// Syncs the file that says where the log ends, when that is due; never between an event and its
// ack.
enum status shard_sync_head(struct shard *shard, int64_t monotonic_ns, struct error *error) CHECKED;
// The block that was just stored; arrival_ns as it was stored with.
void shard_fold(struct shard *shard, const struct group *group, int64_t arrival_ns);
// What an entry that is no event means to cuts, batches and cells; identities are the caller's.
// STATUS_CORRUPT: it cannot come after what came before.
enum status shard_learn(
    struct shard *shard,
    const struct entry *entry,
    const struct fold_place *place,
    struct error *error) CHECKED;
// An event. False: no meter wants its type.
bool
shard_fold_entry(struct shard *shard, const struct entry *entry, const struct fold_place *place);

// By which meters, and in which epoch: as for cuts_epoch.
struct fold_rules {
    const struct meter_set *set;
    uint32_t after;
};

// An event. False: no meter of the set wants its type.
bool shard_fold_by(
    struct shard *shard,
    const struct fold_rules *rules,
    const struct entry *entry,
    const struct fold_place *place);
// An entry of any kind: the events that it brings and takes.
void shard_fold_any(
    struct shard *shard,
    const struct fold_rules *rules,
    const struct entry *entry,
    const struct fold_place *place);

// Where totals of thresholds come from.
struct watch_source shard_watch_source(const struct shard *shard);
// All that thresholds wait for, and the marks of what fired: before cells go to disk, where there
// is no keeper.
enum status shard_watch_settle(struct shard *shard, struct error *error) CHECKED;

// Tells the metrics how much is in memory.
void shard_gauges_set(struct shard *shard);
// Whether a freeze would have anything new.
bool shard_is_unflushed(const struct shard *shard);
// Cells that are not frozen are of so many times the tail's bound of log, or of so many times their
// own memory's.
bool shard_is_beyond(const struct shard *shard, uint32_t times);
// Cells to disk: freeze, flush (the keeper), thaw. One at a time. Wanted when they are beyond a
// bound, and at half of the tail's when they are few: a start folds the tail again.
bool shard_wants_flush(const struct shard *shard);
bool shard_is_frozen(const struct shard *shard);
struct freeze *shard_freeze(struct shard *shard);
void shard_thaw(struct shard *shard);
// All three at once, where there is no keeper.
enum status shard_flush(struct shard *shard, struct error *error) CHECKED;

// Identities to disk: seal, append (the keeper), adopt. Full, or so much log behind that a start
// would take long.
bool shard_wants_seal(const struct shard *shard);
// At the end of a block. NULL: no memory.
struct seal *shard_seal(struct shard *shard, uint64_t position, struct error *error);
void shard_adopt_view(struct shard *shard, const struct generations_view *view);
// One step of the log's retention: events and arrivals before this go (ledger/retain). Once more
// soon when *out_has_more; *out_wants_seal: for that the hot table has to be sealed.
enum status shard_retain(
    struct shard *shard,
    int64_t before_ns,
    bool *out_has_more,
    bool *out_wants_seal,
    struct error *error) CHECKED;
// All at once, merges too, where there is no keeper. position: the last block all of whose
// identities were added.
enum status shard_seal_now(struct shard *shard, uint64_t position, struct error *error) CHECKED;
