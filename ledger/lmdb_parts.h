#pragma once
// Inside LMDB: what ledger/lmdb_env.c (environments) and ledger/lmdb_tx.c (transactions and walks)
// share. The only file that includes the library.
//
//     code = mdb_...; if (code) return env_error(env->path, "open it", code, error);
//
// Owner and thread: as ledger/lmdb_env.h.

#include "ledger/lmdb_env.h"

#include <lmdb.h>

#include <stdatomic.h>
#include <sys/types.h>

enum { ENV_PATH_MAX = 4096 };

struct env {
    MDB_env *handle;
    MDB_dbi dbs[ENV_DB_MAX];
    enum db_key keys[ENV_DB_MAX];
    const char *names[ENV_DB_MAX];  // static
    MDB_dbi names_db;               // where LMDB keeps a record of each
    uint32_t dbs_count;
    bool is_read_only;
    // Where its pages are mapped, by their numbers.
    const uint8_t *map;
    uint64_t map_size;
    uint32_t page_size;
    // Who it is, for sharing: the directory, and the process that opened it (a fork's child starts
    // anew).
    dev_t device;
    ino_t inode;
    pid_t process;
    uint32_t users;
    struct env *next;
    // The last commit that somebody looked through; relaxed, since it publishes nothing else.
    _Atomic uint64_t looked_through;
    char path[ENV_PATH_MAX];
};

enum status env_status_of(int code);
// Says what to do. path: the environment's, or what is made of it.
enum status env_error(const char *path, const char *step, int code, struct error *error);
// Of a write that failed with this code: what it means.
int env_code_of_write(const struct env *env, int code);

// Fills where the map is: once, when the databases are open. An LMDB code.
int env_find_map(struct env *env, const char *name);
// Whether a view that LMDB gave lies in the map. In a write transaction it may also be of a page
// that was written, which is anywhere else, or in the file already, behind the last commit's pages.
bool tx_holds(const struct tx *tx, MDB_val view);

// Whether the pages on the way to a key of a DB_KEY_CHECKED are whole, in the last commit.
bool path_is_whole(struct tx *tx, uint32_t db, struct bytes key);
// Whether a view of a read transaction lies in the leaf that was looked at last.
bool path_is_at(const struct tx *tx, uint32_t db, const uint8_t *view);
