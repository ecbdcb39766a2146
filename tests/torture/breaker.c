// Makes calls of a process fail, by standing between it and the C library:
//
//     TALLY_FAULTS=CONTROL TALLY_FAULT_RULES=RULES LD_PRELOAD=libbreaker.so program
//
// A rule is `CALL PATTERN SKIP COUNT EFFECT`; rules are separated by semicolons. It holds for calls
// of that name whose file's path fits the pattern (fnmatch; of calls without a file the path is
// empty): SKIP of them pass, the next COUNT (0: all) get the effect:
//
//     E...      the call is not made, and fails with this errno
//     short     half of the bytes are read or written, one at least
//     late      it is made and fails nevertheless, with EIO
//     lie       it is not made, and succeeds
//     hang      it is made when the rule is disarmed
//     slow      it is made 20 milliseconds later
//
// CONTROL is a file of struct control, mapped here and by the test: calls are counted and broken
// while `armed` is not zero. Calls are made as system calls, memory by whoever comes next.

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { RULES_MAX = 16, NAME_MAX_SIZE = 32, PARTS_MAX = 64, CONTROL_SIZE = 4096 };

// Of liburing, by whose names they are called.
struct io_uring;
struct io_uring_cqe;
struct io_uring_params;
struct __kernel_timespec;

struct count {
    _Atomic uint64_t seen;  // calls that a rule holds for
    _Atomic uint64_t made;  // of them, those that got the effect
};

struct control {
    _Atomic uint64_t armed;
    struct count rules[RULES_MAX];
};

enum effect {
    EFFECT_NONE,
    EFFECT_FAIL,
    EFFECT_SHORT,
    EFFECT_LATE,
    EFFECT_LIE,
    EFFECT_HANG,
    EFFECT_SLOW
};

struct rule {
    char call[NAME_MAX_SIZE];
    char pattern[128];
    uint64_t skip, count;
    enum effect effect;
    int code;
};

struct fault {
    enum effect effect;
    int code;
};

static struct rule rules[RULES_MAX];
static int rules_count;
static struct control *control;

// --- rules ---

static const struct {
    const char *name;
    enum effect effect;
    int code;
} effects[] = {
    {"EIO",    EFFECT_FAIL,  EIO   },
    {"ENOSPC", EFFECT_FAIL,  ENOSPC},
    {"EDQUOT", EFFECT_FAIL,  EDQUOT},
    {"EINTR",  EFFECT_FAIL,  EINTR },
    {"EAGAIN", EFFECT_FAIL,  EAGAIN},
    {"EMFILE", EFFECT_FAIL,  EMFILE},
    {"ENFILE", EFFECT_FAIL,  ENFILE},
    {"ENOMEM", EFFECT_FAIL,  ENOMEM},
    {"short",  EFFECT_SHORT, 0     },
    {"late",   EFFECT_LATE,  EIO   },
    {"lie",    EFFECT_LIE,   0     },
    {"hang",   EFFECT_HANG,  0     },
    {"slow",   EFFECT_SLOW,  0     },
};

__attribute__((noreturn)) static void
refuse(const char *what, const char *text)
{
    (void)fprintf(stderr, "breaker: %s: %s\n", what, text);
    _exit(99);
}

static void
rule_read(char *text)
{
    struct rule *rule = &rules[rules_count];
    char effect[NAME_MAX_SIZE];
    if (rules_count == RULES_MAX)
        refuse("too many rules", text);
    int count = sscanf(
        text,
        "%31s %127s %lu %lu %31s",
        rule->call,
        rule->pattern,
        &rule->skip,
        &rule->count,
        effect);
    for (size_t i = 0; count == 5 && i < sizeof effects / sizeof effects[0]; i++) {
        if (strcmp(effects[i].name, effect) == 0) {
            rule->effect = effects[i].effect;
            rule->code = effects[i].code;
        }
    }
    if (rule->effect == EFFECT_NONE)
        refuse("no rule", text);
    rules_count++;
}

__attribute__((constructor)) static void
breaker_begin(void)
{
    static char text[4096];
    const char *file = getenv("TALLY_FAULTS");
    const char *list = getenv("TALLY_FAULT_RULES");
    if (file == NULL || list == NULL)
        return;
    long fd = syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC);
    void *map =
        fd < 0
            ? MAP_FAILED
            : (void *)syscall(SYS_mmap, 0, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        refuse("cannot map", file);
    (void)syscall(SYS_close, fd);
    (void)snprintf(text, sizeof text, "%s", list);
    for (char *one = text; one != NULL;) {
        char *end = strchr(one, ';');
        if (end != NULL)
            *end++ = '\0';
        rule_read(one);
        one = end;
    }
    control = map;
}

static bool
fits(const struct rule *rule, const char *call, int fd, const char *path)
{
    char link[64];
    char of_fd[PATH_MAX] = "";
    if (strcmp(rule->call, call) != 0)
        return false;
    if (fd >= 0) {
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t size = syscall(SYS_readlink, link, of_fd, sizeof of_fd - 1);
        of_fd[size < 0 ? 0 : size] = '\0';
        path = of_fd;
    }
    return fnmatch(rule->pattern, path, 0) == 0;
}

static void
wait_for(enum effect effect)
{
    const struct timespec pause = {0, effect == EFFECT_SLOW ? 20000000 : 1000000};
    do
        (void)syscall(SYS_nanosleep, &pause, NULL);
    while (effect == EFFECT_HANG && control->armed != 0);
}

// What becomes of a call; the first rule that has an effect says so.
static struct fault
fault_of(const char *call, int fd, const char *path)
{
    if (control == NULL || control->armed == 0)
        return (struct fault){0};
    int code = errno;
    for (int i = 0; i < rules_count; i++) {
        const struct rule *rule = &rules[i];
        if (!fits(rule, call, fd, path))
            continue;
        uint64_t number = control->rules[i].seen++;
        if (number < rule->skip || (rule->count > 0 && number >= rule->skip + rule->count))
            continue;
        control->rules[i].made++;
        if (rule->effect == EFFECT_HANG || rule->effect == EFFECT_SLOW) {
            wait_for(rule->effect);
            continue;
        }
        return (struct fault){rule->effect, rule->code};
    }
    errno = code;
    return (struct fault){0};
}

// Whether the call is not made; then *out is what it returns.
static bool
is_broken(struct fault fault, long good, long *out)
{
    if (fault.effect == EFFECT_LIE)
        *out = good;
    else if (fault.effect == EFFECT_FAIL)
        *out = -1;
    else
        return false;
    errno = fault.code;
    return true;
}

static long
ended(struct fault fault, long result)
{
    if (fault.effect != EFFECT_LATE)
        return result;
    errno = fault.code;
    return -1;
}

// --- files ---

static int
open_at(const char *call, int dir_fd, const char *path, int flags, mode_t mode)
{
    long result;
    if (is_broken(fault_of(call, -1, path), -1, &result))
        return (int)result;
    return (int)syscall(SYS_openat, dir_fd, path, flags, mode);
}

static mode_t
mode_of(int flags, va_list list)
{
    return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(list, mode_t) : 0;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = mode_of(flags, list);                                                        \
        va_end(list);                                                                              \
        return open_at("open", AT_FDCWD, path, flags, mode);                                       \
    }

#define OPENAT(name)                                                                               \
    int name(int dir_fd, const char *path, int flags, ...)                                         \
    {                                                                                              \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = mode_of(flags, list);                                                        \
        va_end(list);                                                                              \
        return open_at("open", dir_fd, path, flags, mode);                                         \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

static int
sync_fd(const char *call, int fd, long number)
{
    long result;
    struct fault fault = fault_of(call, fd, "");
    if (is_broken(fault, 0, &result))
        return (int)result;
    return (int)ended(fault, syscall(number, fd));
}

int
fsync(int fd)
{
    return sync_fd("fsync", fd, SYS_fsync);
}

int
fdatasync(int fd)
{
    return sync_fd("fdatasync", fd, SYS_fdatasync);
}

int
msync(void *at, size_t size, int flags)
{
    long result;
    struct fault fault = fault_of("msync", -1, "");
    if (is_broken(fault, 0, &result))
        return (int)result;
    return (int)ended(fault, syscall(SYS_msync, at, size, flags));
}

static ssize_t
half(struct fault fault, size_t size)
{
    return (ssize_t)(fault.effect == EFFECT_SHORT && size > 1 ? size / 2 : size);
}

static size_t
parts_size(const struct iovec *parts, int count)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += parts[i].iov_len;
    return size;
}

// The first bytes of the parts; how many parts they are.
static int
parts_half(const struct iovec *parts, int count, size_t size, struct iovec out[PARTS_MAX])
{
    int taken = 0;
    for (; taken < count && taken < PARTS_MAX && size > 0; taken++) {
        out[taken] = parts[taken];
        if (out[taken].iov_len > size)
            out[taken].iov_len = size;
        size -= out[taken].iov_len;
    }
    return taken;
}

// Writes and reads of all forms; offset -1: where the file stands.
static ssize_t
transfer(const char *call, bool is_write, int fd, const struct iovec *parts, int count, off_t at)
{
    long result;
    struct iovec some[PARTS_MAX];
    size_t size = parts_size(parts, count);
    struct fault fault = fault_of(call, fd, "");
    if (is_broken(fault, (long)size, &result))
        return result;
    if (fault.effect == EFFECT_SHORT) {
        count = parts_half(parts, count, (size_t)half(fault, size), some);
        parts = some;
    }
    if (at < 0)
        result = syscall(is_write ? SYS_writev : SYS_readv, fd, parts, count);
    else
        result = syscall(is_write ? SYS_pwritev : SYS_preadv, fd, parts, count, at, 0);
    return ended(fault, result);
}

ssize_t
write(int fd, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return transfer("write", true, fd, &part, 1, -1);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
    struct iovec part = {(void *)(uintptr_t)data, size};
    return transfer("write", true, fd, &part, 1, at);
}

ssize_t
pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return pwrite(fd, data, size, at);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return transfer("write", true, fd, parts, count, -1);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return transfer("write", true, fd, parts, count, at);
}

ssize_t
pwritev64(int fd, const struct iovec *parts, int count, off64_t at)
{
    return transfer("write", true, fd, parts, count, at);
}

ssize_t
read(int fd, void *data, size_t size)
{
    struct iovec part = {data, size};
    return transfer("read", false, fd, &part, 1, -1);
}

ssize_t
pread(int fd, void *data, size_t size, off_t at)
{
    struct iovec part = {data, size};
    return transfer("read", false, fd, &part, 1, at);
}

ssize_t
pread64(int fd, void *data, size_t size, off64_t at)
{
    return pread(fd, data, size, at);
}

int
ftruncate(int fd, off_t size)
{
    long result;
    if (is_broken(fault_of("ftruncate", fd, ""), 0, &result))
        return (int)result;
    return (int)syscall(SYS_ftruncate, fd, size);
}

int
ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int
mkdir(const char *path, mode_t mode)
{
    long result;
    if (is_broken(fault_of("mkdir", -1, path), 0, &result))
        return (int)result;
    return (int)syscall(SYS_mkdir, path, mode);
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
    long result;
    if (is_broken(fault_of("rename", -1, to), 0, &result))
        return (int)result;
    return (int)syscall(SYS_renameat, from_fd, from, to_fd, to);
}

int
rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

// --- sockets ---

ssize_t
recv(int fd, void *data, size_t size, int flags)
{
    long result;
    struct fault fault = fault_of("recv", fd, "");
    if (is_broken(fault, 0, &result))
        return result;
    return syscall(SYS_recvfrom, fd, data, half(fault, size), flags, NULL, NULL);
}

ssize_t
send(int fd, const void *data, size_t size, int flags)
{
    long result;
    struct fault fault = fault_of("send", fd, "");
    if (is_broken(fault, (long)size, &result))
        return result;
    return syscall(SYS_sendto, fd, data, half(fault, size), flags, NULL, 0);
}

ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
    long result;
    struct iovec some[PARTS_MAX];
    struct msghdr part = *message;
    size_t size = parts_size(message->msg_iov, (int)message->msg_iovlen);
    struct fault fault = fault_of("send", fd, "");
    if (is_broken(fault, (long)size, &result))
        return result;
    if (fault.effect == EFFECT_SHORT) {
        part.msg_iovlen = (size_t)parts_half(
            message->msg_iov, (int)message->msg_iovlen, (size_t)half(fault, size), some);
        part.msg_iov = some;
    }
    return syscall(SYS_sendmsg, fd, &part, flags);
}

// --- memory, threads, the ring ---

static void *
next(const char *name, void *_Atomic *known)
{
    void *found = *known;
    if (found == NULL)
        *known = found = dlsym(RTLD_NEXT, name);
    if (found == NULL)
        refuse("nobody has", name);
    return found;
}

static bool
is_refused(const char *call)
{
    long result;
    return is_broken(fault_of(call, -1, ""), -1, &result);
}

// Memory is refused to the program and to what stores its data. Sanitizers and threads of others
// that get none do not live to tell.
static bool
memory_is_refused(const void *caller)
{
    Dl_info info;
    if (control == NULL || control->armed == 0 || dladdr(caller, &info) == 0)
        return false;
    const char *base = strrchr(info.dli_fname, '/');
    base = base == NULL ? info.dli_fname : base + 1;
    bool is_ours = strncmp(base, "tally", 5) == 0 || strncmp(base, "liblmdb", 7) == 0;
    return is_ours && is_refused("malloc");
}

void *
mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    return is_refused("mmap") ? MAP_FAILED
                              : (void *)syscall(SYS_mmap, at, size, protection, flags, fd, offset);
}

void *
mmap64(void *at, size_t size, int protection, int flags, int fd, off64_t offset)
{
    return mmap(at, size, protection, flags, fd, offset);
}

void *
malloc(size_t size)
{
    static void *_Atomic known;
    void *(*give)(size_t) = (void *(*)(size_t))next("malloc", &known);
    return memory_is_refused(__builtin_return_address(0)) ? NULL : give(size);
}

void *
calloc(size_t count, size_t size)
{
    static void *_Atomic known;
    void *(*give)(size_t, size_t) = (void *(*)(size_t, size_t))next("calloc", &known);
    return memory_is_refused(__builtin_return_address(0)) ? NULL : give(count, size);
}

void *
realloc(void *memory, size_t size)
{
    static void *_Atomic known;
    void *(*give)(void *, size_t) = (void *(*)(void *, size_t))next("realloc", &known);
    return memory_is_refused(__builtin_return_address(0)) ? NULL : give(memory, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
    static void *_Atomic known;
    void *(*give)(size_t, size_t) = (void *(*)(size_t, size_t))next("aligned_alloc", &known);
    return memory_is_refused(__builtin_return_address(0)) ? NULL : give(alignment, size);
}

int
posix_memalign(void **out, size_t alignment, size_t size)
{
    static void *_Atomic known;
    int (*give)(void **, size_t, size_t) =
        (int (*)(void **, size_t, size_t))next("posix_memalign", &known);
    return memory_is_refused(__builtin_return_address(0)) ? ENOMEM : give(out, alignment, size);
}

int
pthread_create(
    pthread_t *out, const pthread_attr_t *attributes, void *(*body)(void *), void *argument)
{
    static void *_Atomic known;
    int (*start)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) =
        (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))next(
            "pthread_create", &known);
    return is_refused("pthread_create") ? EAGAIN : start(out, attributes, body, argument);
}

int
io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *params)
{
    static void *_Atomic known;
    int (*init)(unsigned, struct io_uring *, struct io_uring_params *) =
        (int (*)(unsigned, struct io_uring *, struct io_uring_params *))next(
            "io_uring_queue_init_params", &known);
    return is_refused("ring") ? -errno : init(entries, ring, params);
}

int
io_uring_submit_and_wait_timeout(
    struct io_uring *ring,
    struct io_uring_cqe **out,
    unsigned wanted,
    struct __kernel_timespec *time,
    sigset_t *signals)
{
    static void *_Atomic known;
    int (*wait)(
        struct io_uring *,
        struct io_uring_cqe **,
        unsigned,
        struct __kernel_timespec *,
        sigset_t *) =
        (int (*)(
            struct io_uring *,
            struct io_uring_cqe **,
            unsigned,
            struct __kernel_timespec *,
            sigset_t *))next("io_uring_submit_and_wait_timeout", &known);
    return is_refused("ring_wait") ? -errno : wait(ring, out, wanted, time, signals);
}
