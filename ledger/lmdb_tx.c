// Transactions and walks: each has a sticky status, so that one check at the end is enough.
#include "base/assert.h"
#include "ledger/lmdb_crash.h"
#include "ledger/lmdb_parts.h"

#include <string.h>

static MDB_val
val_of(struct bytes bytes)
{
    // LMDB does not write through what it is given, but does not say const either.
    MDB_val val = {.mv_size = bytes.size};
    memcpy(&val.mv_data, &bytes.data, sizeof val.mv_data);
    return val;
}

static struct bytes
bytes_of_val(MDB_val val)
{
    return bytes_of(val.mv_data, val.mv_size);
}

static void
tx_fail(struct tx *tx, const char *step, int code)
{
    if (tx->status != STATUS_OK || code == 0)
        return;
    if (tx->is_write)
        code = env_code_of_write(tx->env, code);
    tx->status = env_status_of(code);
    tx->code = code;
    tx->step = step;
    must(tx->status != STATUS_OK);
}

// Pages of the newest commit, which may be more than the transaction's own.
static void
tx_find_used(struct tx *tx)
{
    MDB_envinfo info;
    int code = mdb_env_info(tx->env->handle, &info);
    must(code == 0);
    const uint64_t pages_max = tx->env->map_size / tx->env->page_size;
    tx->used =
        (info.me_last_pgno < pages_max ? info.me_last_pgno + 1 : pages_max) * tx->env->page_size;
}

static struct tx
tx_begin(struct env *env, bool is_write)
{
    must(env != NULL);
    must(!is_write || !env->is_read_only);
    struct tx tx = {.env = env, .is_write = is_write};
    MDB_txn *txn = NULL;
    crash_reading(env->path);
    int code = mdb_txn_begin(env->handle, NULL, is_write ? 0 : MDB_RDONLY, &txn);
    tx_fail(&tx, "begin a transaction", code);
    tx.handle = code == 0 ? txn : NULL;
    tx_find_used(&tx);
    return tx;
}

struct tx
tx_write(struct env *env)
{
    return tx_begin(env, true);
}

struct tx
tx_read(struct env *env)
{
    return tx_begin(env, false);
}

void
tx_done(struct tx *tx)
{
    if (tx->handle != NULL)
        mdb_txn_abort(tx->handle);
    tx->handle = NULL;
}

enum status
tx_check(const struct tx *tx, struct error *error)
{
    if (tx->status == STATUS_OK)
        return STATUS_OK;
    return env_error(tx->env->path, tx->step, tx->code, error);
}

enum status
tx_commit(struct tx *tx, struct error *error)
{
    must(tx->is_write);
    must(tx->handle != NULL || tx->status != STATUS_OK);
    if (tx->status == STATUS_OK)
        tx_fail(tx, "commit", mdb_txn_commit(tx->handle));
    else
        mdb_txn_abort(tx->handle);  // accepts NULL
    tx->handle = NULL;
    return tx_check(tx, error);
}

void
tx_renew(struct tx *tx)
{
    must(!tx->is_write);
    if (tx->status != STATUS_OK)
        return;
    tx->path = (struct tx_path){0};
    mdb_txn_reset(tx->handle);
    tx_fail(tx, "renew a transaction", mdb_txn_renew(tx->handle));
    tx_find_used(tx);
}

// Not MDB_envinfo's number: the meta page shows a commit some moments before readers get it, so
// that a snapshot taken behind it could be older than the number.
uint64_t
tx_revision(const struct tx *tx)
{
    return tx->status == STATUS_OK ? mdb_txn_id(tx->handle) : 0;
}

uint64_t
tx_count(struct tx *tx, uint32_t db)
{
    must(db < tx->env->dbs_count);
    MDB_stat stat = {0};
    if (tx->status == STATUS_OK)
        tx_fail(tx, "count", mdb_stat(tx->handle, tx->env->dbs[db], &stat));
    return tx->status == STATUS_OK ? stat.ms_entries : 0;
}

static bool
key_is_valid(const struct env *env, uint32_t db, struct bytes key)
{
    if (db >= env->dbs_count)
        return false;
    if (env->keys[db] == DB_KEY_U64)
        return key.size == sizeof(uint64_t);
    return key.size > 0 && key.size <= ENV_KEY_MAX;
}

// Before what LMDB found there is believed, or changed.
static void
tx_check_path(struct tx *tx, uint32_t db, struct bytes key)
{
    if (tx->env->keys[db] == DB_KEY_CHECKED && tx->status == STATUS_OK &&
        !path_is_whole(tx, db, key))
        tx_fail(tx, "read a page", MDB_CORRUPTED);
}

bool
tx_get(struct tx *tx, uint32_t db, struct bytes key, struct bytes *out_value)
{
    must(key_is_valid(tx->env, db, key));
    if (tx->status != STATUS_OK)
        return false;
    MDB_val key_val = val_of(key);
    MDB_val value;
    crash_reading(tx->env->path);
    int code = mdb_get(tx->handle, tx->env->dbs[db], &key_val, &value);
    tx_check_path(tx, db, key);
    if (code == MDB_NOTFOUND || tx->status != STATUS_OK)
        return false;
    if (code == 0 && !tx_holds(tx, value))
        code = MDB_CORRUPTED;
    tx_fail(tx, "get", code);
    if (code)
        return false;
    *out_value = bytes_of_val(value);
    return true;
}

static MDB_val
tx_write_entry(struct tx *tx, uint32_t db, struct bytes key, MDB_val value, unsigned flags)
{
    must(tx->is_write);
    must(key_is_valid(tx->env, db, key));
    tx_check_path(tx, db, key);
    if (tx->status == STATUS_OK) {
        MDB_val key_val = val_of(key);
        int code = mdb_put(tx->handle, tx->env->dbs[db], &key_val, &value, flags);
        tx_fail(tx, (flags & MDB_APPEND) != 0 ? "append" : "put", code);
    }
    return value;
}

void
tx_put(struct tx *tx, uint32_t db, struct bytes key, struct bytes value)
{
    (void)tx_write_entry(tx, db, key, val_of(value), 0);
}

uint8_t *
tx_reserve(struct tx *tx, uint32_t db, struct bytes key, size_t size)
{
    MDB_val value = tx_write_entry(tx, db, key, (MDB_val){.mv_size = size}, MDB_RESERVE);
    return tx->status == STATUS_OK ? value.mv_data : NULL;
}

void
tx_append(struct tx *tx, uint32_t db, struct bytes key, struct bytes value)
{
    (void)tx_write_entry(tx, db, key, val_of(value), MDB_APPEND);
}

uint8_t *
tx_append_reserve(struct tx *tx, uint32_t db, struct bytes key, size_t size)
{
    MDB_val value =
        tx_write_entry(tx, db, key, (MDB_val){.mv_size = size}, MDB_APPEND | MDB_RESERVE);
    return tx->status == STATUS_OK ? value.mv_data : NULL;
}

bool
tx_delete(struct tx *tx, uint32_t db, struct bytes key)
{
    must(tx->is_write);
    must(key_is_valid(tx->env, db, key));
    tx_check_path(tx, db, key);
    if (tx->status != STATUS_OK)
        return false;
    MDB_val key_val = val_of(key);
    int code = mdb_del(tx->handle, tx->env->dbs[db], &key_val, NULL);
    if (code != MDB_NOTFOUND)
        tx_fail(tx, "delete", code);
    return code == 0;
}

void
tx_clear(struct tx *tx, uint32_t db)
{
    must(tx->is_write && db < tx->env->dbs_count);
    if (tx->status == STATUS_OK)
        tx_fail(tx, "clear a database", mdb_drop(tx->handle, tx->env->dbs[db], 0));
}

struct walk
walk_open(struct tx *tx, uint32_t db)
{
    must(db < tx->env->dbs_count);
    struct walk walk = {.tx = tx, .db = db};
    MDB_cursor *cursor = NULL;
    if (tx->status == STATUS_OK)
        tx_fail(tx, "open a cursor", mdb_cursor_open(tx->handle, tx->env->dbs[db], &cursor));
    walk.handle = cursor;
    return walk;
}

void
walk_done(struct walk *walk)
{
    if (walk->handle != NULL)
        mdb_cursor_close(walk->handle);
    walk->handle = NULL;
}

static bool
walk_is_whole(struct walk *walk, struct bytes key)
{
    if (walk->tx->env->keys[walk->db] != DB_KEY_CHECKED || path_is_at(walk->tx, walk->db, key.data))
        return true;
    tx_check_path(walk->tx, walk->db, key);
    return walk->tx->status == STATUS_OK;
}

static bool
walk_move(struct walk *walk, MDB_val key, MDB_cursor_op op)
{
    if (walk->handle == NULL || walk->tx->status != STATUS_OK)
        return false;
    const struct bytes wanted = bytes_of_val(key);
    MDB_val value;
    crash_reading(walk->tx->env->path);
    int code = mdb_cursor_get(walk->handle, &key, &value, op);
    // Also when an entry behind it was found, in another page.
    if (wanted.size > 0)
        tx_check_path(walk->tx, walk->db, wanted);
    // Behind an entry there is nothing more than the pages on the way to it say.
    if (code == MDB_NOTFOUND)
        return false;
    if (code == 0 && (!tx_holds(walk->tx, key) || !tx_holds(walk->tx, value)))
        code = MDB_CORRUPTED;
    tx_fail(walk->tx, "walk", code);
    if (code || !walk_is_whole(walk, bytes_of_val(key)))
        return false;
    walk->key = bytes_of_val(key);
    walk->value = bytes_of_val(value);
    return true;
}

bool
walk_first(struct walk *walk)
{
    return walk_move(walk, (MDB_val){0}, MDB_FIRST);
}

bool
walk_last(struct walk *walk)
{
    return walk_move(walk, (MDB_val){0}, MDB_LAST);
}

bool
walk_seek(struct walk *walk, struct bytes key)
{
    // An empty prefix is where everything begins; LMDB refuses empty keys.
    if (key.size == 0)
        return walk_first(walk);
    return walk_move(walk, val_of(key), MDB_SET_RANGE);
}

bool
walk_next(struct walk *walk)
{
    return walk_move(walk, (MDB_val){0}, MDB_NEXT);
}

bool
walk_previous(struct walk *walk)
{
    return walk_move(walk, (MDB_val){0}, MDB_PREV);
}

// LMDB keeps a value of half a page or more outside of the tree's own pages.
bool
walk_is_settled(const struct walk *walk)
{
    return walk->handle != NULL && walk->value.size >= walk->tx->env->page_size / 2;
}

// The map stays where it is as long as the environment is open.
struct bytes
tx_view(const struct tx *tx, const uint8_t *at, size_t size)
{
    must(tx->handle != NULL && at != NULL);
    crash_reading(tx->env->path);
    return bytes_of(at, size);
}

static void
walk_write(struct walk *walk, struct bytes key, struct bytes value, unsigned flags)
{
    struct tx *tx = walk->tx;
    must(tx->is_write && key_is_valid(tx->env, walk->db, key));
    tx_check_path(tx, walk->db, key);
    if (walk->handle == NULL || tx->status != STATUS_OK)
        return;
    MDB_val key_val = val_of(key);
    MDB_val value_val = val_of(value);
    tx_fail(tx, "put", mdb_cursor_put(walk->handle, &key_val, &value_val, flags));
    // They lay in the page that was changed.
    walk->key = bytes_of(NULL, 0);
    walk->value = bytes_of(NULL, 0);
}

// The key is copied: it lies in the page that is being changed.
void
walk_put(struct walk *walk, struct bytes value)
{
    uint8_t key[ENV_KEY_MAX];
    const size_t size = walk->key.size;
    must(size > 0 && size <= sizeof key);
    memcpy(key, walk->key.data, size);
    walk_write(walk, bytes_of(key, size), value, MDB_CURRENT);
}

void
walk_insert(struct walk *walk, struct bytes key, struct bytes value)
{
    walk_write(walk, key, value, MDB_NOOVERWRITE);
}

bool
tx_is_whole(
    struct tx *tx, uint32_t db, bool (*entry_is_whole)(struct bytes key, struct bytes value))
{
    must(db < tx->env->dbs_count && tx->env->keys[db] == DB_KEY_BYTES);
    scoped(walk_done) struct walk walk = walk_open(tx, db);
    struct bytes before = {0};
    uint64_t left = tx_count(tx, db);
    bool more = walk_first(&walk);
    // An entry that comes twice would stand for one that is gone.
    for (; more && left > 0; more = walk_next(&walk), left--) {
        if (bytes_compare(before, walk.key) >= 0 || !entry_is_whole(walk.key, walk.value))
            return false;
        before = walk.key;
    }
    return tx->status == STATUS_OK && !more && left == 0;
}

bool
tx_is_looked_through(const struct tx *tx)
{
    const uint64_t revision = tx->is_write ? 0 : tx_revision(tx);
    return revision != 0 &&
           revision == atomic_load_explicit(&tx->env->looked_through, memory_order_relaxed);
}

void
tx_looked_through(const struct tx *tx)
{
    if (!tx->is_write && tx->status == STATUS_OK)
        atomic_store_explicit(&tx->env->looked_through, tx_revision(tx), memory_order_relaxed);
}
