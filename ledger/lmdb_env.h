#pragma once
// The one door to LMDB: environments, and transactions that carry their first error.
//
//     struct tx tx = tx_write(env);
//     tx_put(&tx, db, key, value);
//     if (tx_commit(&tx, &error)) ...                 // everything before it is checked here, once
//
//     scoped(tx_done) struct tx tx = tx_read(env);    // a snapshot; tx_done ends it
//     struct walk walk = walk_open(&tx, db);
//     for (bool more = walk_seek(&walk, prefix); more; more = walk_next(&walk))
//         use(walk.key, walk.value);
//     walk_done(&walk);
//
// Facts that shape it (LMDB 0.9.24): one handle per process and environment; opened after fork;
// MDB_NOTLS; one write transaction at a time; MAP_FULL is an operating error (STATUS_FULL); no
// WRITEMAP, no NOSYNC. Views of keys and values end with their transaction; a value put is copied,
// except tx_reserve. No view reaches beyond the map, whatever a damaged page says: that is
// STATUS_CORRUPT. Keys are at most 511 bytes. Read transactions are short (a second): long work
// renews them between steps. Owner: env by who opened it; tx by its thread.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

struct env;  // opaque

enum env_db { ENV_DB_MAX = 8, ENV_KEY_MAX = 511 };

enum db_key {
    DB_KEY_BYTES,
    DB_KEY_U64,      // native integers in order, 8 bytes
    DB_KEY_CHECKED,  // bytes; what is not found, or not met by a walk, is not there: the pages on
                     // the way are looked at, since some of so many may be damaged
};

struct env_db_row {
    const char *name;
    enum db_key key;
};

struct env_options {
    bool is_read_only;
    uint64_t map_size;             // ignored for readers: the file's size is taken
    const struct env_db_row *dbs;  // opened in order; the index is the database's handle in tx_*
    uint32_t dbs_count;
};

// path: an existing directory. For a writer an environment that is not there is made: a crash
// leaves none or a whole one, which is durable when this returns. Opening it again in this process
// shares the first handle. A reader of an environment that no writer has made yet gets
// STATUS_NOT_FOUND. STATUS_CORRUPT: its meta pages do not fit together.
enum status
env_open(const char *path, const struct env_options *options, struct env **out, struct error *error)
    CHECKED;
void env_close(struct env *env);
// The last committed transaction's number: changes with every commit. A transaction begun later
// sees that commit. 0: it cannot be read.
uint64_t env_revision(struct env *env);

// Whether the file's pages fit together (ledger/lmdb_file), in the newest commit.
struct env_file_check;
enum status
env_check(struct env *env, const struct env_file_check *check, struct error *error) CHECKED;

struct env_stat {
    uint64_t map_size, used_bytes;  // used: last page number x page size
    uint64_t free_bytes;            // of these, pages that are free to be used again
    uint64_t last_txn;
    uint32_t readers_max, readers_used;
    uint64_t oldest_reader_pid;   // 0: nobody is in a read transaction
    uint64_t oldest_reader_txns;  // how many commits the oldest reader is behind
};
enum status env_stat(struct env *env, struct env_stat *out, struct error *error) CHECKED;
// Clears slots of dead processes; returns how many.
int env_clear_dead_readers(struct env *env);
// Bytes of the file that pages were ever written to: where the next new page goes. Cheap. Any
// thread.
uint64_t env_used_bytes(struct env *env);
// Advises the kernel to drop [from, to) of the data file from the page cache (written and fsynced
// pages only): a growing file that is not read back must not push everything else out. Any thread.
void env_forget_cached(struct env *env, uint64_t from, uint64_t to);
// Writes what is in it now, without free pages, to a new file that serves as the data.mdb of
// another environment; fsynced, and read again. One snapshot lasts as long as the copy takes.
// STATUS_CORRUPT: the copy is not what LMDB wrote, or what it copied is damaged.
enum status env_copy(struct env *env, const char *file, struct error *error) CHECKED;
// Number of entries of a database, in this transaction.
struct tx;
uint64_t tx_count(struct tx *tx, uint32_t db);

enum { TX_PATH_MAX = 16 };

// The way to the last key that was looked for in a database whose pages are checked
// (ledger/lmdb_path.c).
struct tx_path {
    uint32_t db;
    uint32_t depth;
    uint64_t root;
    const uint8_t *pages[TX_PATH_MAX];  // whole
    struct bytes from, to;              // whose keys lead there; data NULL: all
    bool is_begun, has_leaf;
};

struct tx {
    void *handle;
    struct env *env;
    enum status status;  // the first failure
    int code;            // its LMDB or errno code
    const char *step;    // "put", "commit", ...
    uint64_t used;       // bytes of the map that have pages
    bool is_write;
    struct tx_path path;
};

struct tx tx_write(struct env *env);
struct tx tx_read(struct env *env);
// The number of the commit that a read transaction sees. 0: the transaction failed.
uint64_t tx_revision(const struct tx *tx);
// Ends a transaction that is still open (abort for a write). Accepts a zeroed or ended one.
void tx_done(struct tx *tx);
// Durable when it returns STATUS_OK. On failure nothing was written, and error says which step
// failed and why.
enum status tx_commit(struct tx *tx, struct error *error) CHECKED;
// The same snapshot handle on the newest state; views taken and walks opened before end here.
void tx_renew(struct tx *tx);
// Fills error from a sticky failure; STATUS_OK when there is none.
enum status tx_check(const struct tx *tx, struct error *error) CHECKED;

// Whether a database (of DB_KEY_BYTES) has as many entries as LMDB counted when they were written,
// one after another, each of them whole: then what is not among them never was there. Reads all.
// False also when the transaction failed.
bool tx_is_whole(
    struct tx *tx, uint32_t db, bool (*entry_is_whole)(struct bytes key, struct bytes value));
// For who looks through a snapshot and need not do so again: one note for each environment of a
// process, of a commit. A write transaction is never noted.
bool tx_is_looked_through(const struct tx *tx);
void tx_looked_through(const struct tx *tx);

// False: not there (or failed: see tx_check).
bool tx_get(struct tx *tx, uint32_t db, struct bytes key, struct bytes *out_value);
void tx_put(struct tx *tx, uint32_t db, struct bytes key, struct bytes value);
// As tx_put, but returns where the value's size bytes go: to be written before the next call. NULL:
// failed.
uint8_t *tx_reserve(struct tx *tx, uint32_t db, struct bytes key, size_t size);
// Appends at the end of the key order (the caller knows it is the greatest).
void tx_append(struct tx *tx, uint32_t db, struct bytes key, struct bytes value);
// As tx_append, but returns where the value's size bytes go: to be written before the next call.
// NULL: failed.
uint8_t *tx_append_reserve(struct tx *tx, uint32_t db, struct bytes key, size_t size);
// False: it was not there.
bool tx_delete(struct tx *tx, uint32_t db, struct bytes key);
void tx_clear(struct tx *tx, uint32_t db);

struct walk {
    void *handle;
    struct tx *tx;
    uint32_t db;
    struct bytes key, value;  // of the current entry, until the next move or the transaction's end
};

struct walk walk_open(struct tx *tx, uint32_t db);
void walk_done(struct walk *walk);
bool walk_first(struct walk *walk);
bool walk_last(struct walk *walk);
// The first entry whose key is >= key.
bool walk_seek(struct walk *walk, struct bytes key);
bool walk_next(struct walk *walk);
// False: there is none before; the walk stands where it stood.
bool walk_previous(struct walk *walk);
// Whether the current value has pages of its own, which nobody else's change moves: it stays where
// it is until it is deleted or written over.
bool walk_is_settled(const struct walk *walk);
// size bytes of a settled value again, from where a walk saw them: for a later transaction that
// sees it as well. The caller's checksum says whether it is what was wanted.
struct bytes tx_view(const struct tx *tx, const uint8_t *at, size_t size);
// Writes over the current entry (write transactions). Here and in walk_insert the walk has no key
// and value until its next move.
void walk_put(struct walk *walk, struct bytes value);
// Puts an entry that is not there (write transactions); when it is, the transaction fails.
void walk_insert(struct walk *walk, struct bytes key, struct bytes value);
