#pragma once
// Inside LMDB: what ledger/lmdb_env.c (environments) and ledger/lmdb_tx.c (transactions and walks)
// share. The only file that includes the library.
//
//     code = mdb_...; if (code) return env_error(env->path, "open it", code, error);
//
// Owner and thread: as ledger/lmdb_env.h.

#include "ledger/lmdb_env.h"

#include <lmdb.h>

#include <sys/types.h>

enum { ENV_PATH_MAX = 4096 };

struct env {
    MDB_env *handle;
    MDB_dbi dbs[ENV_DB_MAX];
    enum db_key keys[ENV_DB_MAX];
    uint32_t dbs_count;
    bool is_read_only;
    // Who it is, for sharing: the directory, and the process that opened it (a fork's child starts
    // anew).
    dev_t device;
    ino_t inode;
    pid_t process;
    uint32_t users;
    struct env *next;
    char path[ENV_PATH_MAX];
};

enum status env_status_of(int code);
// Says what to do. path: the environment's, or what is made of it.
enum status env_error(const char *path, const char *step, int code, struct error *error);
// Of a write that failed with this code: what it means.
int env_code_of_write(const struct env *env, int code);
