// LMDB behind our own types. Three things here are not in the library:
//
// 1. A second open of one environment in one process shares the first handle. LMDB keeps its lock
//    as an fcntl lock, which belongs to the process and goes away with any close of the file: a
//    second handle, once closed, would let another process believe that nobody uses the environment
//    and reset its reader table.
// 2. Errors say what to do. MAP_FULL and ENOSPC are one status: a stated limit is reached.
// 3. A new environment is made beside its place, and comes there by a rename when it is durable.
//    LMDB writes the first pages of a new file without a sync: a power cut could leave a file that
//    is no environment and never was, and nobody could tell it from a damaged one.

#include "ledger/lmdb_env.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/files.h"

#include <lmdb.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { ENV_READERS_MAX = 1024, ENV_PATH_MAX = 4096, ENV_MODE = 0660 };

// More than one write of a commit needs.
static const uint64_t ENV_ROOM_MIN = 64ULL << 20;

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

// The environments that this process has open. Control plane: taken at open and close only.
static pthread_mutex_t open_envs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct env *open_envs;

static enum status
status_of(int code)
{
    switch (code) {
    case MDB_SUCCESS: return STATUS_OK;
    case MDB_NOTFOUND:
    case ENOENT: return STATUS_NOT_FOUND;
    case MDB_KEYEXIST: return STATUS_EXISTS;
    case MDB_MAP_FULL:
    case MDB_READERS_FULL:
    case MDB_TXN_FULL:
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return STATUS_FULL;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: return STATUS_CORRUPT;
    case EAGAIN:
    case EBUSY: return STATUS_BUSY;
    case ENOMEM: return STATUS_NO_MEMORY;
    default: return STATUS_IO;
    }
}

// state/ can be made of log/ again; the others cannot.
static const char *
advice_of_damage(const char *path)
{
    static const char below[] = "/state";
    size_t size = strlen(path);
    bool is_state = size >= sizeof below && strcmp(path + size - (sizeof below - 1), below) == 0;
    return is_state ? "; rebuild it with `tally ledger rebuild`" : "; restore it from a backup";
}

static const char *
advice_of(const char *path, int code)
{
    switch (code) {
    case MDB_MAP_FULL:
        return "; its map is full: stop tallyd, give it a larger map size with `tally ledger "
               "resize`, "
               "start it again";
    case MDB_READERS_FULL: return "; too many readers at once: end some of them";
    case ENOSPC:
    case EDQUOT: return "; free space on that file system, then start again";
    case EFBIG: return "; allow larger files (ulimit -f, LimitFSIZE=), then start again";
    case EIO: return "; the device reports an error: check it before starting again";
    case EACCES: return "; this user needs read and write access to the directory and its files";
    case MDB_INVALID:
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND: return advice_of_damage(path);
    case MDB_VERSION_MISMATCH: return "; another version of LMDB wrote it";
    default: return "";
    }
}

static enum status
error_of(const char *path, const char *step, int code, struct error *error)
{
    return error_set(
        error,
        status_of(code),
        "%s: cannot %s: %s%s",
        path,
        step,
        mdb_strerror(code),
        advice_of(path, code));
}

// A write that was cut short is EIO in LMDB, and what cuts it short is mostly a file system or a
// file that may not grow: then that is what is said.
static int
code_of_write(const struct env *env, int code)
{
    struct statvfs system;
    struct rlimit limit;
    struct stat file;
    int fd;
    if (code != EIO || mdb_env_get_fd(env->handle, &fd) != 0)
        return code;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        fstat(fd, &file) == 0 && (uint64_t)file.st_size + ENV_ROOM_MIN > limit.rlim_cur)
        return EFBIG;
    if (fstatvfs(fd, &system) == 0 && system.f_bavail < ENV_ROOM_MIN / system.f_frsize)
        return ENOSPC;
    return code;
}

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

static int
env_open_dbs(struct env *env, const struct env_options *options)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(env->handle, NULL, env->is_read_only ? MDB_RDONLY : 0, &txn);
    if (code)
        return code;
    for (uint32_t i = 0; i < options->dbs_count && code == 0; i++) {
        unsigned flags = env->is_read_only ? 0 : MDB_CREATE;
        if (options->dbs[i].key == DB_KEY_U64)
            flags |= MDB_INTEGERKEY;
        env->keys[i] = options->dbs[i].key;
        code = mdb_dbi_open(txn, options->dbs[i].name, flags, &env->dbs[i]);
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    env->dbs_count = options->dbs_count;
    return mdb_txn_commit(txn);
}

// The file is env->path's, or with MDB_NOSUBDIR one by itself.
static int
env_open_handle(
    struct env *env, const struct env_options *options, const char *file, unsigned flags)
{
    int code = mdb_env_create(&env->handle);
    if (code)
        return code;
    code = mdb_env_set_maxdbs(env->handle, ENV_DB_MAX);
    if (code == 0)
        code = mdb_env_set_maxreaders(env->handle, ENV_READERS_MAX);
    if (code == 0 && !options->is_read_only)
        code = mdb_env_set_mapsize(env->handle, options->map_size);
    if (code)
        return code;
    flags |= MDB_NOTLS | (options->is_read_only ? MDB_RDONLY : 0);
    // The group shares the files (DESIGN section 6). Opening is the control plane's, before other
    // threads make files.
    mode_t earlier = umask(0007);
    code = mdb_env_open(env->handle, file, flags, ENV_MODE);
    (void)umask(earlier);
    if (code == 0)
        code = env_open_dbs(env, options);
    return code;
}

static struct env *
env_find_open(const struct stat *directory)
{
    pid_t process = getpid();
    for (struct env *env = open_envs; env != NULL; env = env->next) {
        if (env->device == directory->st_dev && env->inode == directory->st_ino &&
            env->process == process)
            return env;
    }
    return NULL;
}

static enum status
env_share(struct env *env, const struct env_options *options, struct env **out, struct error *error)
{
    must(env->users > 0);
    must(env->dbs_count == options->dbs_count);
    if (env->is_read_only && !options->is_read_only) {
        return error_set(
            error, STATUS_BUSY, "%s: this process has it open for reading only", env->path);
    }
    env->users++;
    *out = env;
    return STATUS_OK;
}

static bool
env_has_data(const char *path)
{
    char file[ENV_PATH_MAX + 16];
    struct stat data;
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    return stat(file, &data) == 0 && data.st_size > 0;
}

// Nobody else knows the new file, so it needs no lock; what a crash left of one begins anew.
static enum status
env_make(const char *path, const struct env_options *options, struct error *error)
{
    char file[ENV_PATH_MAX + 16];
    char made[ENV_PATH_MAX + 16];
    struct env env = {0};
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    (void)snprintf(made, sizeof made, "%s/data.mdb.new", path);
    if (unlink(made) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot remove %s", made);
    int code = env_open_handle(&env, options, made, MDB_NOSUBDIR | MDB_NOLOCK);
    if (env.handle != NULL)
        mdb_env_close(env.handle);
    if (code)
        return error_of(path, "make it", code, error);
    return rename(made, file) == 0 ? STATUS_OK : error_set_errno(error, "cannot rename %s", made);
}

// The file is there and its name durable, also where who made it died before it was.
static enum status
env_settle(const char *path, const struct env_options *options, struct error *error)
{
    enum status status = env_has_data(path) ? STATUS_OK : env_make(path, options, error);
    return status ? status : dir_sync(path, error);
}

static enum status
env_open_new(
    const char *path,
    const struct stat *directory,
    const struct env_options *options,
    struct env **out,
    struct error *error)
{
    enum status status = options->is_read_only ? STATUS_OK : env_settle(path, options, error);
    if (status)
        return status;
    struct env *env = pool_take(1, sizeof *env);
    if (env == NULL)
        return error_set(error, STATUS_NO_MEMORY, "%s: no memory to open it", path);
    (void)snprintf(env->path, sizeof env->path, "%s", path);
    env->is_read_only = options->is_read_only;
    env->device = directory->st_dev;
    env->inode = directory->st_ino;
    env->process = getpid();
    env->users = 1;
    int code = env_open_handle(env, options, path, 0);
    if (code) {
        if (env->handle != NULL)
            mdb_env_close(env->handle);
        pool_give(env);
        return error_of(path, "open it", code, error);
    }
    env->next = open_envs;
    open_envs = env;
    *out = env;
    return STATUS_OK;
}

enum status
env_open(const char *path, const struct env_options *options, struct env **out, struct error *error)
{
    must(options->dbs_count > 0 && options->dbs_count <= ENV_DB_MAX);
    must(options->is_read_only || options->map_size > 0);
    struct stat directory;
    if (strlen(path) >= ENV_PATH_MAX)
        return error_set(error, STATUS_INVALID, "%s: path is too long", path);
    if (stat(path, &directory) != 0) {
        return errno == ENOENT ? error_set(error, STATUS_NOT_FOUND, "%s does not exist", path)
                               : error_set_errno(error, "cannot look at %s", path);
    }
    if (options->is_read_only && !env_has_data(path))
        return error_set(error, STATUS_NOT_FOUND, "%s: nothing was written there yet", path);
    must(pthread_mutex_lock(&open_envs_lock) == 0);
    struct env *shared = env_find_open(&directory);
    enum status status = shared != NULL ? env_share(shared, options, out, error)
                                        : env_open_new(path, &directory, options, out, error);
    must(pthread_mutex_unlock(&open_envs_lock) == 0);
    return status;
}

void
env_close(struct env *env)
{
    if (env == NULL)
        return;
    must(pthread_mutex_lock(&open_envs_lock) == 0);
    must(env->users > 0);
    env->users--;
    if (env->users == 0) {
        struct env **link = &open_envs;
        while (*link != env)
            link = &(*link)->next;
        *link = env->next;
        mdb_env_close(env->handle);
        pool_give(env);
    }
    must(pthread_mutex_unlock(&open_envs_lock) == 0);
}

uint64_t
env_revision(struct env *env)
{
    scoped(tx_done) struct tx tx = tx_read(env);
    return tx_revision(&tx);
}

uint64_t
env_used_bytes(struct env *env)
{
    MDB_envinfo info;
    MDB_stat stat;
    int code = mdb_env_info(env->handle, &info);
    must(code == 0);
    code = mdb_env_stat(env->handle, &stat);
    must(code == 0);
    return (info.me_last_pgno + 1) * stat.ms_psize;
}

struct reader_scan {
    uint32_t used;
    uint64_t oldest_txn;  // 0: none is in a transaction
    uint64_t oldest_pid;  // of that one
};

// A line of mdb_reader_list is "pid thread txn", where txn is '-' for a slot that is not in a
// transaction. The heading has no number in front.
static int
reader_scan_line(const char *line, void *context)
{
    struct reader_scan *scan = context;
    char *end;
    uint64_t pid = strtoull(line, &end, 10);
    if (pid == 0)
        return 0;
    (void)strtoull(end, &end, 16);
    scan->used++;
    uint64_t txn = strtoull(end, &end, 10);
    if (txn > 0 && (scan->oldest_txn == 0 || txn < scan->oldest_txn)) {
        scan->oldest_txn = txn;
        scan->oldest_pid = pid;
    }
    return 0;
}

// The database of free pages is LMDB's first one: each value is a count and so many page numbers.
static int
free_pages(struct env *env, uint64_t *out_pages)
{
    MDB_txn *txn;
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint64_t pages = 0;
    int code = mdb_txn_begin(env->handle, NULL, MDB_RDONLY, &txn);
    if (code)
        return code;
    code = mdb_cursor_open(txn, 0, &cursor);
    while (code == 0) {
        size_t count = 0;
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (code == 0 && value.mv_size >= sizeof count)
            memcpy(&count, value.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    *out_pages = pages;
    return code == MDB_NOTFOUND ? 0 : code;
}

enum status
env_stat(struct env *env, struct env_stat *out, struct error *error)
{
    MDB_envinfo info;
    struct reader_scan scan = {0};
    int code = mdb_env_info(env->handle, &info);
    if (code == 0 && mdb_reader_list(env->handle, reader_scan_line, &scan) < 0)
        code = EIO;
    uint64_t pages = 0;
    MDB_stat sizes = {0};
    if (code == 0)
        code = free_pages(env, &pages);
    if (code == 0)
        code = mdb_env_stat(env->handle, &sizes);
    if (code)
        return error_of(env->path, "read its figures", code, error);
    bool is_behind = scan.oldest_txn > 0 && info.me_last_txnid > scan.oldest_txn;
    *out = (struct env_stat){
        .map_size = info.me_mapsize,
        .used_bytes = env_used_bytes(env),
        .free_bytes = pages * sizes.ms_psize,
        .last_txn = info.me_last_txnid,
        .readers_max = info.me_maxreaders,
        .readers_used = scan.used,
        .oldest_reader_pid = scan.oldest_pid,
        .oldest_reader_txns = is_behind ? info.me_last_txnid - scan.oldest_txn : 0,
    };
    return STATUS_OK;
}

int
env_clear_dead_readers(struct env *env)
{
    int dead = 0;
    int code = mdb_reader_check(env->handle, &dead);
    return code == 0 ? dead : 0;
}

void
env_forget_cached(struct env *env, uint64_t from, uint64_t to)
{
    must(from <= to && to <= INT64_MAX);
    int fd;
    int code = mdb_env_get_fd(env->handle, &fd);
    must(code == 0);
    // Advice: when the kernel does not take it, nothing is lost but speed.
    (void)posix_fadvise(fd, (off_t)from, (off_t)(to - from), POSIX_FADV_DONTNEED);
}

enum status
env_copy(struct env *env, const char *file, struct error *error)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, "cannot make %s", file);
    int code = mdb_env_copyfd2(env->handle, fd, MDB_CP_COMPACT);
    enum status status = STATUS_OK;
    if (code)
        status = error_of(file, "copy an environment to it", code, error);
    else if (fsync(fd) != 0)
        status = error_set_errno(error, "cannot fsync %s", file);
    (void)close(fd);
    return status;
}

static void
tx_fail(struct tx *tx, const char *step, int code)
{
    if (tx->status != STATUS_OK || code == 0)
        return;
    if (tx->is_write)
        code = code_of_write(tx->env, code);
    tx->status = status_of(code);
    tx->code = code;
    tx->step = step;
    must(tx->status != STATUS_OK);
}

static struct tx
tx_begin(struct env *env, bool is_write)
{
    must(env != NULL);
    must(!is_write || !env->is_read_only);
    struct tx tx = {.env = env, .is_write = is_write};
    MDB_txn *txn = NULL;
    int code = mdb_txn_begin(env->handle, NULL, is_write ? 0 : MDB_RDONLY, &txn);
    tx_fail(&tx, "begin a transaction", code);
    tx.handle = code == 0 ? txn : NULL;
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
    return error_of(tx->env->path, tx->step, tx->code, error);
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
    mdb_txn_reset(tx->handle);
    tx_fail(tx, "renew a transaction", mdb_txn_renew(tx->handle));
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

bool
tx_get(struct tx *tx, uint32_t db, struct bytes key, struct bytes *out_value)
{
    must(key_is_valid(tx->env, db, key));
    if (tx->status != STATUS_OK)
        return false;
    MDB_val key_val = val_of(key);
    MDB_val value;
    int code = mdb_get(tx->handle, tx->env->dbs[db], &key_val, &value);
    if (code == MDB_NOTFOUND)
        return false;
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
    struct walk walk = {.tx = tx};
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
walk_move(struct walk *walk, MDB_val key, MDB_cursor_op op)
{
    if (walk->handle == NULL || walk->tx->status != STATUS_OK)
        return false;
    MDB_val value;
    int code = mdb_cursor_get(walk->handle, &key, &value, op);
    if (code == MDB_NOTFOUND)
        return false;
    tx_fail(walk->tx, "walk", code);
    if (code)
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

void
walk_put(struct walk *walk, struct bytes value)
{
    must(walk->tx->is_write);
    if (walk->handle == NULL || walk->tx->status != STATUS_OK)
        return;
    MDB_val key_val = val_of(walk->key);
    MDB_val value_val = val_of(value);
    tx_fail(walk->tx, "put", mdb_cursor_put(walk->handle, &key_val, &value_val, MDB_CURRENT));
}
