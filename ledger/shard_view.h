#pragma once
// A shard as a reader sees it: its two environments, and the few questions that every reader asks
// of them.
//
//     scoped(shard_view_done) struct shard_view view = {0};
//     shard_view_open(dir, 3, &view, &error);
//     scoped(tx_done) struct tx log = tx_read(view.log);
//     log_first(&log, &first, &error);
//     log_head(&log, &head, &error);
//     for (sequence = first; sequence <= head; sequence++)
//         log_open(&reader, &log, sequence, &error);
//
// An environment that no writer has made yet is NULL: an empty shard. Errors name the shard's path.
// Owner: by who opened it, one thread at a time.

#include "ledger/cell.h"
#include "ledger/lmdb_env.h"

// The databases of the two environments, in the order of enum log_db and enum state_db: for writers
// too.
static const struct env_db_row LOG_DBS[LOG_DB_COUNT] = {
    [LOG_DB_BLOCKS] = {"blocks", DB_KEY_U64  },
    [LOG_DB_META] = {"meta",   DB_KEY_BYTES},
};
static const struct env_db_row STATE_DBS[STATE_DB_COUNT] = {
    [STATE_DB_META] = {"meta",        DB_KEY_BYTES  },
    [STATE_DB_CELLS] = {"cells",       DB_KEY_CHECKED},
    [STATE_DB_UNIQUES] = {"uniques",     DB_KEY_BYTES  },
    [STATE_DB_RUNS] = {"runs",        DB_KEY_BYTES  },
    [STATE_DB_FILTERS] = {"filters",     DB_KEY_BYTES  },
    [STATE_DB_GENERATIONS] = {"generations", DB_KEY_BYTES  },
    [STATE_DB_DIRTY] = {"dirty",       DB_KEY_BYTES  },
};

struct shard_view {
    uint32_t shard;
    struct env *log;    // NULL: nothing was ever written
    struct env *state;  // NULL: no cells were ever flushed
};

// Opens what a former call found missing, too. STATUS_CORRUPT when a directory of the shard is
// gone.
enum status shard_view_open(
    const char *dir, uint32_t shard, struct shard_view *view, struct error *error) CHECKED;
void shard_view_done(struct shard_view *view);

// The last block's sequence number in this snapshot; 0: none. STATUS_CORRUPT: blocks are missing,
// and they may be the last ones.
enum status log_head(struct tx *log, uint64_t *out_head, struct error *error) CHECKED;
// Likewise, but takes what is not there for never written: for who counts the blocks anyway.
enum status log_last(struct tx *log, uint64_t *out_head, struct error *error) CHECKED;
// The first block's that counts, which is 1 unless blocks were deleted (ledger/log_kept).
enum status log_first(struct tx *log, uint64_t *out_first, struct error *error) CHECKED;

// The last block folded into the cells on disk; 0: none.
enum status state_position(struct tx *state, uint64_t *out_position, struct error *error) CHECKED;
// The last block whose identities are in the runs on disk, and the last one of which some may be
// forgotten; 0: none.
enum status state_dedup_position(
    struct tx *state, uint64_t *out_position, uint64_t *out_expired, struct error *error) CHECKED;
// Likewise, but takes what is not there for never written: for who looks through all records.
enum status state_dedup_look(
    struct tx *state, uint64_t *out_position, uint64_t *out_expired, struct error *error) CHECKED;
// The first block that the meter's cells on disk cover; 0: it has none.
enum status state_live_from(
    struct tx *state, uint32_t meter_id, uint64_t *out_block, struct error *error) CHECKED;

// Writes a number of STATE_DB_META.
void state_number_put(struct tx *state, struct bytes key, uint64_t number);

enum { STATE_METER_KEY_SIZE = 5 + 4, CELL_TEXT_MAX = 1600 };

// The key of a meter's live_from in STATE_DB_META, and back.
void state_meter_key(uint32_t meter_id, uint8_t out[STATE_METER_KEY_SIZE]);
bool state_meter_key_read(struct bytes key, uint32_t *out_meter_id);

// "meter 3, subject azure-conv, quarter hour from 2023-11-16T18:15:00Z" for messages; bytes that
// are not printable become \xNN.
void cell_key_print(struct bytes bytes, char *out, size_t out_size);
void bytes_print(struct bytes bytes, char *out, size_t out_size);
