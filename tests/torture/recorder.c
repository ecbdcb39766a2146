// Records what a process does to the files below a directory, by standing between it and the C
// library:
//
//     TALLY_RECORD_ROOT=DIR TALLY_RECORD_FILE=LOG LD_PRELOAD=librecorder.so program
//
// Durable writes go through these calls only; what would go another way ends the process here, by
// name: a writable shared map of a file that is not LMDB's lock file, copies within the kernel,
// calls of another kind. What no call shows (a ring of the kernel's) is found when the recording
// is held against the files that are there (crash_run.c).
//
// Calls that change files are made and recorded under one lock, so records and changes have one
// order. A sync is made outside of it, between its two records, and takes some time more, so that
// what does not wait for it comes before its end. The program may call
//
//     recorder_mark(text)    puts a mark among the records; with one that begins with B the
//                            monotonic clock goes on a tick
//     recorder_arm(count)    dies after so many records more, as if it were killed
//     recorder_die(text)     waits for the calls under way, as a kill does, marks, and ends the
//                            process; no other thread changes or records anything any more
//
// The calls are made as system calls, so that nothing is to be looked up and no sanitizer is asked.

#include "tests/torture/record.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 4096, MAPS_MAX = 256, NANOSECONDS = 1000000000 };

struct tracked {
    uint64_t handle;  // 0: not one of ours
    bool is_dsync, is_lock;
};

struct map {
    uintptr_t from, to;  // a shared map of one of ours
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t is_idle = PTHREAD_COND_INITIALIZER;
static struct tracked fds[FDS_MAX];
static struct map maps[MAPS_MAX];
static char root[PATH_MAX];
static size_t root_size;
static int log_fd = -1;
static long sync_us;
static uint64_t last_name;
static int syncs;                 // under way
static _Atomic int64_t ahead_ns;  // of the kernel's monotonic clock
static int64_t tick_ns;
static uint64_t records_left;  // until this process dies; 0: it does not
static bool is_dying;

// --- records ---

// With the lock. Calls under way come to their end, as those of a killed process do; none begins.
__attribute__((noreturn)) static void
die(void)
{
    is_dying = true;
    while (syncs > 0)
        (void)pthread_cond_wait(&is_idle, &lock);
    _exit(0);
}

static void
put(enum record_kind kind, int flags, uint64_t name, uint64_t at, const struct iovec *text, int n)
{
    struct timespec now;
    struct record record = {.magic = RECORD_MAGIC, .kind = (uint8_t)kind, .flags = (uint8_t)flags};
    struct iovec parts[1 + IOV_MAX / 2];
    (void)syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    record.name = name;
    record.at = at;
    record.time_ns = now.tv_sec * NANOSECONDS + now.tv_nsec + ahead_ns;
    parts[0] = (struct iovec){&record, sizeof record};
    for (int i = 0; i < n; i++) {
        parts[1 + i] = text[i];
        record.size += (uint32_t)text[i].iov_len;
    }
    long size = syscall(SYS_writev, log_fd, parts, 1 + n);
    if (size != (long)(sizeof record + record.size)) {
        (void)fprintf(stderr, "recorder: cannot write the recording\n");
        abort();
    }
}

// With the lock, where a call begins.
static void
enter(void)
{
    (void)pthread_mutex_lock(&lock);
    while (is_dying)
        (void)pthread_cond_wait(&is_idle, &lock);
    if (records_left > 0 && --records_left == 0)
        die();
}

static void
put_text(enum record_kind kind, int flags, uint64_t name, const char *text)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};
    put(kind, flags, name, 0, &part, 1);
}

__attribute__((noreturn)) static void
fault(const char *call, const char *what)
{
    char text[PATH_MAX + 128];
    (void)snprintf(text, sizeof text, "%s: %s", call, what);
    put_text(RECORD_FAULT, 0, 0, text);
    (void)fprintf(stderr, "recorder: a durable write that cannot be followed: %s\n", text);
    abort();
}

// Unlike any other of this recording, whichever process gives it.
static uint64_t
next_name(void)
{
    return (uint64_t)getpid() << 32 | ++last_name;
}

__attribute__((constructor)) static void
recorder_begin(void)
{
    const char *dir = getenv(RECORD_ROOT_VARIABLE);
    const char *file = getenv(RECORD_FILE_VARIABLE);
    const char *sync = getenv(RECORD_SYNC_VARIABLE);
    const char *tick = getenv(RECORD_TICK_VARIABLE);
    if (dir == NULL || file == NULL)
        return;
    root_size = strlen(dir);
    (void)snprintf(root, sizeof root, "%s", dir);
    sync_us = sync == NULL ? 0 : strtol(sync, NULL, 10);
    tick_ns = tick == NULL ? 0 : strtol(tick, NULL, 10) * (NANOSECONDS / 1000);
    log_fd =
        (int)syscall(SYS_openat, AT_FDCWD, file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

// --- paths ---

// Where the path lies below the root; NULL: elsewhere.
static const char *
path_below(int dir_fd, const char *path, char out[2 * PATH_MAX])
{
    char link[64];
    size_t size = 0;
    if (log_fd < 0 || path == NULL)
        return NULL;
    if (path[0] != '/') {
        if (dir_fd == AT_FDCWD)
            (void)snprintf(link, sizeof link, "/proc/self/cwd");
        else
            (void)snprintf(link, sizeof link, "/proc/self/fd/%d", dir_fd);
        ssize_t found = readlink(link, out, PATH_MAX);
        if (found <= 0)
            return NULL;
        size = (size_t)found;
        out[size++] = '/';
    }
    (void)snprintf(out + size, 2 * PATH_MAX - size, "%s", path);
    if (strncmp(out, root, root_size) != 0 || (out[root_size] != '/' && out[root_size] != '\0'))
        return NULL;
    return out[root_size] == '\0' ? out + root_size : out + root_size + 1;
}

static struct tracked
tracked_of(int fd)
{
    return fd >= 0 && fd < FDS_MAX ? fds[fd] : (struct tracked){0};
}

// --- open and close ---

static void
track(int fd, int flags, bool is_new, const char *below)
{
    const char *base = strrchr(below, '/');
    int said = (is_new ? RECORD_IS_NEW : 0) | ((flags & O_TRUNC) != 0 ? RECORD_IS_TRUNCATED : 0);
    if (fd >= FDS_MAX)
        fault("open", "too many descriptors");
    base = base == NULL ? below : base + 1;
    fds[fd] = (struct tracked){
        .handle = next_name(),
        .is_dsync = (flags & O_DSYNC) != 0,
        .is_lock = strcmp(base, "lock.mdb") == 0,
    };
    put_text(RECORD_OPEN, said, fds[fd].handle, below);
}

static int
open_at(int dir_fd, const char *path, int flags, mode_t mode)
{
    char buffer[2 * PATH_MAX];
    const char *below = path_below(dir_fd, path, buffer);
    bool is_read = (flags & O_ACCMODE) == O_RDONLY && (flags & (O_CREAT | O_DIRECTORY)) == 0;
    if (below == NULL || is_read || (flags & O_PATH) == O_PATH)
        return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    if ((flags & O_TMPFILE) == O_TMPFILE)
        fault("open", "O_TMPFILE");
    enter();
    bool is_new = (flags & O_CREAT) != 0 && syscall(SYS_faccessat, dir_fd, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, dir_fd, path, flags, mode);
    int code = errno;
    if (fd >= 0)
        track(fd, flags, is_new, below);
    (void)pthread_mutex_unlock(&lock);
    errno = code;
    return fd;
}

#define OPEN_MODE(flags, mode)                                                                     \
    mode_t mode = 0;                                                                               \
    if (((flags)&O_CREAT) != 0) {                                                                  \
        va_list args;                                                                              \
        va_start(args, flags);                                                                     \
        mode = va_arg(args, mode_t);                                                               \
        va_end(args);                                                                              \
    }

int
open(const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int
open64(const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_at(AT_FDCWD, path, flags, mode);
}

int
openat(int dir_fd, const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_at(dir_fd, path, flags, mode);
}

int
openat64(int dir_fd, const char *path, int flags, ...)
{
    OPEN_MODE(flags, mode)
    return open_at(dir_fd, path, flags, mode);
}

int
creat(const char *path, mode_t mode)
{
    return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

// What a hardened build calls instead.
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir_fd, const char *path, int flags);

int
__open_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int
__open64_2(const char *path, int flags)
{
    return open_at(AT_FDCWD, path, flags, 0);
}

int
__openat_2(int dir_fd, const char *path, int flags)
{
    return open_at(dir_fd, path, flags, 0);
}

int
close(int fd)
{
    if (tracked_of(fd).handle == 0)
        return (int)syscall(SYS_close, fd);
    enter();
    fds[fd] = (struct tracked){0};
    int rc = (int)syscall(SYS_close, fd);
    (void)pthread_mutex_unlock(&lock);
    return rc;
}

// --- writes ---

static void
sync_wait(void)
{
    struct timespec wait = {sync_us / 1000000, sync_us % 1000000 * 1000};
    if (sync_us > 0)
        (void)syscall(SYS_nanosleep, &wait, NULL);
}

// Before the call, with the lock.
static void
sync_began(void)
{
    syncs++;
    (void)pthread_mutex_unlock(&lock);
}

static void
sync_ended(uint64_t handle, uint64_t token, bool is_done)
{
    sync_wait();
    (void)pthread_mutex_lock(&lock);
    if (is_done)
        put(RECORD_END, 0, handle, token, NULL, 0);
    syncs--;
    (void)pthread_cond_broadcast(&is_idle);
}

// offset -1: where the file stands.
static ssize_t
write_at(int fd, const struct iovec *parts, int count, off_t offset)
{
    struct tracked file = tracked_of(fd);
    if (file.handle == 0) {
        return offset < 0 ? syscall(SYS_writev, fd, parts, count)
                          : syscall(SYS_pwritev, fd, parts, count, offset, 0);
    }
    enter();
    bool is_append = (syscall(SYS_fcntl, fd, F_GETFL) & O_APPEND) != 0;
    off_t at = offset >= 0 ? offset : syscall(SYS_lseek, fd, 0, is_append ? SEEK_END : SEEK_CUR);
    uint64_t token = next_name();
    if (count > IOV_MAX / 2)
        fault("writev", "too many parts");
    put(RECORD_WRITE, 0, file.handle, (uint64_t)at, parts, count);
    ssize_t size = offset < 0 ? syscall(SYS_writev, fd, parts, count)
                              : syscall(SYS_pwritev, fd, parts, count, offset, 0);
    int code = errno;
    size_t wanted = 0;
    for (int i = 0; i < count; i++)
        wanted += parts[i].iov_len;
    if (size != (ssize_t)wanted)
        fault("write", "it was not whole");
    if (file.is_dsync) {
        put(RECORD_BEGIN, RECORD_IS_DSYNC, file.handle, token, NULL, 0);
        sync_began();
        sync_ended(file.handle, token, true);
    }
    (void)pthread_mutex_unlock(&lock);
    errno = code;
    return size;
}

ssize_t
write(int fd, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return tracked_of(fd).handle == 0 ? syscall(SYS_write, fd, data, size)
                                      : write_at(fd, &part, 1, -1);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t offset)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return tracked_of(fd).handle == 0 ? syscall(SYS_pwrite64, fd, data, size, offset)
                                      : write_at(fd, &part, 1, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return pwrite(fd, data, size, offset);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return write_at(fd, parts, count, -1);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return write_at(fd, parts, count, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return write_at(fd, parts, count, offset);
}

// --- sizes ---

static int
size_set(int fd, off_t size, long number, long mode, off_t from)
{
    struct tracked file = tracked_of(fd);
    if (file.handle != 0 && number == SYS_fallocate && mode != 0)
        fault("fallocate", "with a mode");
    enter();
    long rc = number == SYS_ftruncate ? syscall(number, fd, size)
                                      : syscall(number, fd, mode, from, size - from);
    int code = errno;
    struct stat now;
    if (rc == 0 && file.handle != 0 && fstat(fd, &now) == 0)
        put(RECORD_SIZE, 0, file.handle, (uint64_t)now.st_size, NULL, 0);
    (void)pthread_mutex_unlock(&lock);
    errno = code;
    return (int)rc;
}

int
ftruncate(int fd, off_t size)
{
    return size_set(fd, size, SYS_ftruncate, 0, 0);
}

int
ftruncate64(int fd, off64_t size)
{
    return size_set(fd, size, SYS_ftruncate, 0, 0);
}

int
fallocate(int fd, int mode, off_t from, off_t size)
{
    return size_set(fd, from + size, SYS_fallocate, mode, from);
}

int
posix_fallocate(int fd, off_t from, off_t size)
{
    return size_set(fd, from + size, SYS_fallocate, 0, from) == 0 ? 0 : errno;
}

int
truncate(const char *path, off_t size)
{
    char buffer[2 * PATH_MAX];
    if (path_below(AT_FDCWD, path, buffer) != NULL)
        fault("truncate", path);
    return (int)syscall(SYS_truncate, path, size);
}

// --- syncs ---

static int
sync_fd(int fd, long number)
{
    struct tracked file = tracked_of(fd);
    if (file.handle == 0)
        return (int)syscall(number, fd);
    enter();
    uint64_t token = next_name();
    int flags = number == SYS_fdatasync ? RECORD_IS_FDATASYNC : 0;
    put(RECORD_BEGIN, flags, file.handle, token, NULL, 0);
    sync_began();
    int rc = (int)syscall(number, fd);
    int code = errno;
    sync_ended(file.handle, token, rc == 0);
    (void)pthread_mutex_unlock(&lock);
    errno = code;
    return rc;
}

int
fsync(int fd)
{
    return sync_fd(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
    return sync_fd(fd, SYS_fdatasync);
}

// --- names ---

static int
name_change(enum record_kind kind, const char *below, const char *second, long rc)
{
    int code = errno;
    if (rc == 0) {
        struct iovec parts[2] = {
            {(void *)(uintptr_t)below,  strlen(below) + (second != NULL)   },
            {(void *)(uintptr_t)second, second != NULL ? strlen(second) : 0},
        };
        put(kind, 0, 0, 0, parts, second != NULL ? 2 : 1);
    }
    (void)pthread_mutex_unlock(&lock);
    errno = code;
    return (int)rc;
}

int
unlinkat(int dir_fd, const char *path, int flags)
{
    char buffer[2 * PATH_MAX];
    const char *below = path_below(dir_fd, path, buffer);
    if (below == NULL)
        return (int)syscall(SYS_unlinkat, dir_fd, path, flags);
    enter();
    return name_change(
        (flags & AT_REMOVEDIR) != 0 ? RECORD_RMDIR : RECORD_UNLINK,
        below,
        NULL,
        syscall(SYS_unlinkat, dir_fd, path, flags));
}

int
unlink(const char *path)
{
    return unlinkat(AT_FDCWD, path, 0);
}

int
rmdir(const char *path)
{
    return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int
remove(const char *path)
{
    int rc = unlinkat(AT_FDCWD, path, 0);
    return rc != 0 && errno == EISDIR ? unlinkat(AT_FDCWD, path, AT_REMOVEDIR) : rc;
}

int
mkdirat(int dir_fd, const char *path, mode_t mode)
{
    char buffer[2 * PATH_MAX];
    const char *below = path_below(dir_fd, path, buffer);
    if (below == NULL)
        return (int)syscall(SYS_mkdirat, dir_fd, path, mode);
    enter();
    return name_change(RECORD_MKDIR, below, NULL, syscall(SYS_mkdirat, dir_fd, path, mode));
}

int
mkdir(const char *path, mode_t mode)
{
    return mkdirat(AT_FDCWD, path, mode);
}

static int
two_names(enum record_kind kind, int from_fd, const char *from, int to_fd, const char *to)
{
    long number = kind == RECORD_RENAME ? SYS_renameat2 : SYS_linkat;
    char from_buffer[2 * PATH_MAX];
    char to_buffer[2 * PATH_MAX];
    const char *from_below = path_below(from_fd, from, from_buffer);
    const char *to_below = path_below(to_fd, to, to_buffer);
    if (from_below == NULL && to_below == NULL)
        return (int)syscall(number, from_fd, from, to_fd, to, 0);
    if (from_below == NULL || to_below == NULL)
        fault("rename", "into or out of the directory");
    enter();
    return name_change(kind, from_below, to_below, syscall(number, from_fd, from, to_fd, to, 0));
}

int
rename(const char *from, const char *to)
{
    return two_names(RECORD_RENAME, AT_FDCWD, from, AT_FDCWD, to);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    return two_names(RECORD_RENAME, from_fd, from, to_fd, to);
}

int
renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (flags != 0)
        fault("renameat2", "with flags");
    return two_names(RECORD_RENAME, from_fd, from, to_fd, to);
}

int
link(const char *from, const char *to)
{
    return two_names(RECORD_LINK, AT_FDCWD, from, AT_FDCWD, to);
}

int
linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
    if (flags != 0 && log_fd >= 0)
        fault("linkat", "with flags");
    return two_names(RECORD_LINK, from_fd, from, to_fd, to);
}

// --- what must not be ---

static void
map_remember(void *at, size_t size)
{
    (void)pthread_mutex_lock(&lock);
    struct map *map = maps;
    while (map < maps + MAPS_MAX && map->to != 0)
        map++;
    if (map == maps + MAPS_MAX)
        fault("mmap", "too many maps");
    *map = (struct map){(uintptr_t)at, (uintptr_t)at + size};
    (void)pthread_mutex_unlock(&lock);
}

void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    struct tracked file = (flags & MAP_ANONYMOUS) != 0 ? (struct tracked){0} : tracked_of(fd);
    bool is_shared = file.handle != 0 && !file.is_lock && (flags & MAP_TYPE) != MAP_PRIVATE;
    if (is_shared && (protection & PROT_WRITE) != 0)
        fault("mmap", "a writable shared map");
    void *map = (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
    if (is_shared && map != MAP_FAILED)
        map_remember(map, size);
    return map;
}

void *
mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

int
munmap(void *at, size_t size)
{
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < MAPS_MAX; i++) {
        if (maps[i].to != 0 && maps[i].from >= (uintptr_t)at && maps[i].to <= (uintptr_t)at + size)
            maps[i] = (struct map){0};
    }
    (void)pthread_mutex_unlock(&lock);
    return (int)syscall(SYS_munmap, at, size);
}

int
mprotect(void *at, size_t size, int protection)
{
    for (size_t i = 0; i < MAPS_MAX && (protection & PROT_WRITE) != 0 && log_fd >= 0; i++) {
        if (maps[i].from < (uintptr_t)at + size && (uintptr_t)at < maps[i].to)
            fault("mprotect", "a shared map becomes writable");
    }
    return (int)syscall(SYS_mprotect, at, size, protection);
}

static void
refuse_target(int fd, const char *call)
{
    if (tracked_of(fd).handle != 0)
        fault(call, "copies within the kernel");
}

ssize_t
copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags)
{
    refuse_target(to, "copy_file_range");
    return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}

ssize_t
sendfile(int to, int from, off_t *offset, size_t size)
{
    refuse_target(to, "sendfile");
    return syscall(SYS_sendfile, to, from, offset, size);
}

ssize_t
splice(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags)
{
    refuse_target(to, "splice");
    return syscall(SYS_splice, from, from_at, to, to_at, size, flags);
}

// --- the clock ---

// What a program does once a second comes to pass in a life of some hundred milliseconds.
int
clock_gettime(clockid_t clock, struct timespec *out)
{
    long rc = syscall(SYS_clock_gettime, clock, out);
    if (rc != 0 || clock != CLOCK_MONOTONIC)
        return (int)rc;
    int64_t ns = out->tv_sec * NANOSECONDS + out->tv_nsec + ahead_ns;
    *out = (struct timespec){ns / NANOSECONDS, ns % NANOSECONDS};
    return 0;
}

// --- for the program ---

void recorder_mark(const char *text);
void recorder_die(const char *text);
void recorder_arm(uint64_t count);

void
recorder_mark(const char *text)
{
    (void)pthread_mutex_lock(&lock);
    put_text(RECORD_MARK, 0, 0, text);
    ahead_ns += text[0] == 'B' ? tick_ns : 0;
    (void)pthread_mutex_unlock(&lock);
}

void
recorder_die(const char *text)
{
    enter();
    is_dying = true;
    while (syncs > 0)
        (void)pthread_cond_wait(&is_idle, &lock);
    put_text(RECORD_MARK, 0, 0, text);
    _exit(0);
}

void
recorder_arm(uint64_t count)
{
    (void)pthread_mutex_lock(&lock);
    records_left = count;
    (void)pthread_mutex_unlock(&lock);
}
