#pragma once
// Inside verify: what the checks of a child process share, and how they report to the parent.
//
//     verify_registry(&report, dir);                     // ledger/verify_registry
//     verify_shard(&report, dir, &conf, shard);          // ledger/verify_shard, which uses
//         verify_log(...)                                //     ledger/verify_log
//         verify_cells(...)                              //     ledger/verify_state
//         verify_dedup(...)                              //     ledger/verify_dedup
//
// Owner: the child. Thread: its only one.

#include "base/buffer.h"
#include "base/ring.h"
#include "ledger/batches.h"
#include "ledger/cells.h"
#include "ledger/cuts.h"
#include "ledger/head.h"
#include "ledger/horizon.h"
#include "ledger/ledger.h"
#include "ledger/log_kept.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

enum verify_stage {
    VERIFY_STAGE_OPEN,
    VERIFY_STAGE_PAGES,
    VERIFY_STAGE_FIRED,
    VERIFY_STAGE_REGISTRY,
    VERIFY_STAGE_LOG,
    VERIFY_STAGE_IDENTITIES,
    VERIFY_STAGE_STATE,
    VERIFY_STAGE_CELLS,
    VERIFY_STAGE_DEDUP,
};

// A page that both processes see, so that the parent knows where a child is, or died.
struct verify_shared {
    struct flag stage;
    struct published place;  // the block, or how many cells
    struct published done;
    struct published total;
    struct published blocks, events, cells, meters;
};

enum verify_message { VERIFY_MESSAGE_FINDING = 1, VERIFY_MESSAGE_MORE = 2 };

enum {
    VERIFY_FINDINGS_MAX = 1000,  // told one by one, per child; the rest is counted
    VERIFY_KEY_MAX = CELL_TEXT_MAX + 16,
    VERIFY_WHAT_MAX = 1024,
};

struct verify_report {
    int fd;  // the pipe to the parent
    struct verify_shared *shared;
    uint64_t findings;
};

void report_finding(struct verify_report *report, const char *key, const char *format, ...)
    PRINTF_LIKE(3, 4);
// The pages of an environment, which is "log", "state", "fired" or "registry".
struct env;
void report_pages(struct verify_report *report, const char *what, struct env *env);
void report_stage(struct verify_report *report, enum verify_stage stage);
// Where the reading is now.
void report_place(struct verify_report *report, uint64_t place);
// Tells the parent how many findings were not told one by one.
void report_end(struct verify_report *report);

// Frames in the pipe: u32 size, u8 message, then u16 key size, key, what (a finding) or u64 count
// (more).

// The meters whose cells are compared: those that the registry and the state's meta both know.
struct verify_meters {
    const struct meter_set *set;
    uint64_t *live_from;  // by the set's index; 0: the meter left meanwhile
};

struct verify_shard {
    struct verify_report *report;
    const struct ledger_conf *conf;
    struct shard_view view;
    struct arena arena;
    struct meter *registered;  // NULL: the registry could not be read
    uint32_t registered_count;
    struct verify_meters meters;
    struct cells *cells;            // the fold of blocks [live_from, folded], as far as kept
    struct cuts cuts;               // those of blocks [kept.first, folded]
    struct log_kept kept;           // from where on the log is there
    uint32_t last_cut;              // number of the last one that was read
    struct batches batches;         // of all blocks that were read
    struct batches folded_batches;  // of blocks [1, folded]
    uint64_t folded;
    uint64_t head;  // of the log, when its turn came
    uint64_t cells_on_disk;
    uint64_t expired;          // dedup may know no identity of blocks up to here any more
    bool is_log_sound;         // so far; a damaged log says nothing about the cells
    struct buffer identities;  // of struct verify_identity
    struct buffer corrections;
    struct log_reader reader;
    struct head_place head_place;  // read before the log: it is never ahead of that
};

void verify_registry(struct verify_report *report, const char *dir);
void verify_shard(
    struct verify_report *report, const char *dir, const struct ledger_conf *conf, uint32_t index);
// Reads meta: the position, and the live_from of each meter. False when the position is unknown.
bool verify_meta(struct verify_shard *shard, struct tx *state, uint64_t *out_position);
// From where to where the log reaches.
void verify_ends(struct verify_shard *shard);
// Checks every block in between, and folds those up to position into the cells.
void verify_log(struct verify_shard *shard, uint64_t position);
// Folds blocks (folded, position] without another check. False: it could not.
bool verify_fold_on(struct verify_shard *shard, uint64_t position);
// Folds blocks [from, live_from) for one meter, whose live_from they lower. False: it could not.
bool verify_fold_back(struct verify_shard *shard, uint32_t index, uint64_t from);
void verify_cells(struct verify_shard *shard);
// From where on the log is there by now: beside a running tallyd blocks go. Of windows that held
// events of these nothing is compared from here on (verify_is_answerable).
void verify_kept_renew(struct verify_shard *shard);
// Whether cells of this window are there for readers: not too old, and made.
bool verify_is_kept(const struct horizons *horizons, const struct cell_key *key);
// ...and whether the log has all events of its window. Of other cells only the checksum can be
// known.
bool verify_is_answerable(
    const struct verify_shard *shard, const struct horizons *horizons, const struct cell_key *key);
// What the derived windows must hold, in key order: of each group, or of all together where the
// state has a total (ledger/crowd). The bound may have been another one when that was made.
struct verify_derived {
    const struct cells *folded;
    const struct horizons *horizons;
    const struct cuts *cuts;
    struct tx *state;
};
void verify_each_derived(const struct verify_derived *what, cell_view_fn use, void *context);

// What the cells must hold that the fold marked as dirty, made anew from the log up to `folded`.
// NULL: the log could not be read, which was told.
struct verify_clean;
struct verify_clean *verify_clean_make(struct verify_shard *shard, const struct horizons *horizons);
// NULL: it is none of them. A UNIQUE_COUNT's is a set.
const struct cell_state *
verify_clean_find(const struct verify_clean *clean, const struct cell_key *key);
void verify_clean_done(struct verify_clean *clean);
// The list of dirty cells on disk.
void verify_dirty_records(struct verify_shard *shard, struct tx *state);

// An identity of the log. Sorted by what dedup keeps of it.
struct verify_identity {
    struct hash128 hash;
    uint64_t place;  // block and index
    uint32_t payload;
    bool is_known;  // to dedup
    bool is_other;  // what dedup said last of it is nothing that the log says
    bool is_freed;  // it is a cancel that frees it; else an event
};
enum { VERIFY_INDEX_BITS = 24 };

// Of a cancel or amend: what it takes out.
struct corrected {
    struct hash128 hash;
    uint64_t place;
    uint64_t target;
    bool is_cancel;
    bool is_revert;
    bool has_identity;
};
// Of all that were gathered.
void verify_identities(struct verify_shard *shard);
// Sorts them; the identities were sorted before.
void verify_corrections(struct verify_shard *shard);
// The runs on disk against the identities of the log.
void verify_dedup(struct verify_shard *shard);
