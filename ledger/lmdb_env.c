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

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/files.h"
#include "ledger/lmdb_crash.h"
#include "ledger/lmdb_file.h"
#include "ledger/lmdb_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { ENV_READERS_MAX = 1024, ENV_MODE = 0660 };

// More than one write of a commit needs.
static const uint64_t ENV_ROOM_MIN = 64ULL << 20;

// The environments that this process has open. Control plane: taken at open and close only.
static pthread_mutex_t open_envs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct env *open_envs;

enum status
env_status_of(int code)
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

enum status
env_error(const char *path, const char *step, int code, struct error *error)
{
    return error_set(
        error,
        env_status_of(code),
        "%s: cannot %s: %s%s",
        path,
        step,
        code == MDB_CORRUPTED ? "a page of it is damaged" : mdb_strerror(code),
        advice_of(path, code));
}

// A write that was cut short is EIO in LMDB, and what cuts it short is mostly a file system or a
// file that may not grow: then that is what is said.
int
env_code_of_write(const struct env *env, int code)
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

// Only a new environment gets its databases: one that is not there any more is damage, and an empty
// one in its place would hide what it had.
static int
env_open_dbs(struct env *env, const struct env_options *options, bool is_new)
{
    MDB_txn *txn;
    int code = mdb_txn_begin(env->handle, NULL, is_new ? 0 : MDB_RDONLY, &txn);
    if (code)
        return code;
    for (uint32_t i = 0; i < options->dbs_count && code == 0; i++) {
        unsigned flags = is_new ? MDB_CREATE : 0;
        if (options->dbs[i].key == DB_KEY_U64)
            flags |= MDB_INTEGERKEY;
        env->keys[i] = options->dbs[i].key;
        env->names[i] = options->dbs[i].name;
        code = mdb_dbi_open(txn, options->dbs[i].name, flags, &env->dbs[i]);
        if (code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE)
            code = MDB_CORRUPTED;
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    env->dbs_count = options->dbs_count;
    code = mdb_txn_commit(txn);
    return code == 0 && !is_new ? env_find_map(env, options->dbs[0].name) : code;
}

static void
on_assert(MDB_env *handle, const char *text)
{
    (void)text;
    crash_tell(mdb_env_get_userctx(handle), "an assertion of LMDB failed");
}

// The file is env->path's, or with MDB_NOSUBDIR a new one by itself.
static int
env_open_handle(
    struct env *env, const struct env_options *options, const char *file, unsigned flags)
{
    int code = mdb_env_create(&env->handle);
    if (code)
        return code;
    crash_reading(env->path);
    code = mdb_env_set_userctx(env->handle, env->path);
    if (code == 0)
        code = mdb_env_set_assert(env->handle, on_assert);
    if (code == 0)
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
        code = env_open_dbs(env, options, (flags & MDB_NOSUBDIR) != 0);
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
    (void)snprintf(env.path, sizeof env.path, "%s", path);
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    (void)snprintf(made, sizeof made, "%s/data.mdb.new", path);
    if (unlink(made) != 0 && errno != ENOENT)
        return error_set_errno(error, "cannot remove %s", made);
    int code = env_open_handle(&env, options, made, MDB_NOSUBDIR | MDB_NOLOCK);
    if (env.handle != NULL)
        mdb_env_close(env.handle);
    crash_forget(env.path);
    if (code)
        return env_error(path, "make it", code, error);
    return rename(made, file) == 0 ? STATUS_OK : error_set_errno(error, "cannot rename %s", made);
}

// The file is there and its name durable, also where who made it died before it was.
static enum status
env_settle(const char *path, const struct env_options *options, struct error *error)
{
    enum status status = env_has_data(path) ? STATUS_OK : env_make(path, options, error);
    return status ? status : dir_sync(path, error);
}

// LMDB believes the meta page with the greater number.
static enum status
env_check_metas(const char *path, struct error *error)
{
    char file[ENV_PATH_MAX + 16];
    struct error found = {0};
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, "cannot open %s", file);
    enum status status = env_file_metas_check(fd, path, &found);
    (void)close(fd);
    if (status)
        return error_set(error, status, "%s%s", found.text, advice_of_damage(path));
    return STATUS_OK;
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
    if (!status)
        status = env_check_metas(path, error);
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
        crash_forget(env->path);
        pool_give(env);
        return env_error(path, "open it", code, error);
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
        crash_forget(env->path);
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

enum status
env_check(struct env *env, const struct env_file_check *check, struct error *error)
{
    // Keeps the pages of its commit from being used again.
    scoped(tx_done) struct tx tx = tx_read(env);
    int fd;
    enum status status = tx_check(&tx, error);
    if (status)
        return status;
    int code = mdb_env_get_fd(env->handle, &fd);
    must(code == 0);
    env_file_check(fd, tx_revision(&tx), check);
    return STATUS_OK;
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
    scoped(tx_done) struct tx tx = tx_read(env);
    MDB_cursor *cursor = NULL;
    MDB_val key;
    MDB_val value;
    uint64_t pages = 0;
    if (tx.status)
        return tx.code;
    int code = mdb_cursor_open(tx.handle, 0, &cursor);
    while (code == 0) {
        size_t count = 0;
        code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
        if (code == 0 && !tx_holds(&tx, value))
            code = MDB_CORRUPTED;
        if (code == 0 && value.mv_size >= sizeof count)
            memcpy(&count, value.mv_data, sizeof count);
        pages += count;
    }
    mdb_cursor_close(cursor);
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
        return env_error(env->path, "read its figures", code, error);
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

struct copy_check {
    const char *file;
    struct error *error;
    enum status status;
};

static void
on_copy_finding(void *context, uint64_t page, const char *tree, const char *what)
{
    struct copy_check *check = context;
    if (check->status == STATUS_OK)
        check->status = error_set(
            check->error,
            STATUS_CORRUPT,
            "%s is no whole copy: page %" PRIu64 "%s%s: %s",
            check->file,
            page,
            tree[0] != '\0' ? " of " : "",
            tree,
            what);
}

// No checksum of ours covers a copy's pages: it is read again.
static enum status
copy_check(int fd, const char *file, struct error *error)
{
    struct copy_check check = {.file = file, .error = error};
    env_file_check(
        fd, 0, &(struct env_file_check){.on_finding = on_copy_finding, .context = &check});
    return check.status;
}

enum status
env_copy(struct env *env, const char *file, struct error *error)
{
    int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(error, "cannot make %s", file);
    int code = mdb_env_copyfd2(env->handle, fd, MDB_CP_COMPACT);
    enum status status = STATUS_OK;
    if (code)
        status = env_error(file, "copy an environment to it", code, error);
    else if (fsync(fd) != 0)
        status = error_set_errno(error, "cannot fsync %s", file);
    else
        status = copy_check(fd, file, error);
    (void)close(fd);
    return status;
}
