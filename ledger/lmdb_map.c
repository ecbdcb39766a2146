// Where LMDB's pages are mapped. LMDB does not say so, but each page has its number in front, and
// the record of a database lies in one of them. That number may be damaged: the page has to be in
// the file where its number says.
//
// LMDB believes what a page says of the places and sizes of its entries. A view that it gives is
// held against the map before anybody reads it: else a damaged size leads to what lies behind the
// map, which is some other memory of the process, or none.
#include "base/assert.h"
#include "ledger/lmdb_parts.h"

#include <sys/stat.h>
#include <unistd.h>

enum { PAGE_MAX = 32768 };

static int
map_of_page(struct env *env, const uint8_t *page)
{
    uint8_t there[PAGE_MAX];
    uint64_t number;
    int fd;
    int code = mdb_env_get_fd(env->handle, &fd);
    must(code == 0);
    memcpy(&number, page, sizeof number);
    if (number >= env->map_size / env->page_size ||
        pread(fd, there, env->page_size, (off_t)(number * env->page_size)) !=
            (ssize_t)env->page_size ||
        memcmp(there, page, env->page_size) != 0)
        return MDB_CORRUPTED;
    env->map = page - number * env->page_size;
    return MDB_SUCCESS;
}

int
env_find_map(struct env *env, const char *name)
{
    MDB_envinfo info;
    MDB_stat stat;
    MDB_txn *txn = NULL;
    MDB_val key = {.mv_size = strlen(name)};
    MDB_val value;
    memcpy(&key.mv_data, &name, sizeof key.mv_data);
    int code = mdb_env_info(env->handle, &info);
    if (code == 0)
        code = mdb_env_stat(env->handle, &stat);
    if (code == 0)
        code = mdb_txn_begin(env->handle, NULL, MDB_RDONLY, &txn);
    if (code)
        return code;
    must(stat.ms_psize <= PAGE_MAX);
    env->map_size = info.me_mapsize;
    env->page_size = stat.ms_psize;
    code = mdb_dbi_open(txn, NULL, 0, &env->names_db);
    if (code == 0)
        code = mdb_get(txn, env->names_db, &key, &value);
    if (code == 0) {
        const uint8_t *at = value.mv_data;
        code = map_of_page(env, at - (uintptr_t)at % env->page_size);
    }
    mdb_txn_abort(txn);
    return code;
}

// Of a commit with more pages than LMDB keeps in memory (131,071) some are written before it,
// behind those of the last one, and read from there.
static bool
is_written_ahead(const struct tx *tx, uint64_t at, size_t size)
{
    struct stat file;
    int fd = -1;
    return mdb_env_get_fd(tx->env->handle, &fd) == MDB_SUCCESS && fstat(fd, &file) == 0 &&
           at + size <= (uint64_t)file.st_size;
}

bool
tx_holds(const struct tx *tx, MDB_val view)
{
    const struct env *env = tx->env;
    uint64_t at = (uintptr_t)view.mv_data - (uintptr_t)env->map;
    if (at < tx->used)
        return view.mv_size <= tx->used - at;
    if (at >= env->map_size)
        return tx->is_write;
    return tx->is_write && view.mv_size <= env->map_size - at &&
           is_written_ahead(tx, at, view.mv_size);
}
