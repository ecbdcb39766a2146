#include "ledger/verify.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/verify_parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

// The parent: starts a child per part, passes on what it finds, and makes a finding of how it ended
// when that was not by itself. A damaged tree can also send LMDB round in circles: a child that
// gets no further for a while is ended.

enum { PROGRESS_MS = 100, PIPE_READ_SIZE = 64 * 1024 };

static const int64_t STUCK_NS = 300 * 1000000000LL;
static const int32_t NO_SHARD = -1;

struct verify {
    const char *dir;
    const struct verify_options *options;
    struct ledger_conf conf;
    struct verify_shared *shared;
    struct verify_summary summary;
    int32_t shard;  // of the child that runs; NO_SHARD: the registry's
    pid_t child;
    struct buffer received;
    uint64_t last_done;
    int64_t last_moved_ns;
};

static void
verify_tell(struct verify *verify, const char *key, const char *what)
{
    const struct verify_finding finding = {.shard = verify->shard, .key = key, .what = what};
    verify->summary.findings++;
    verify->options->on_finding(verify->options->context, &finding);
}

static void
child_quiet(void)
{
    // A sanitizer's handlers and core files are for crashes that nobody expects.
    const int crashes[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        (void)signal(crashes[i], SIG_DFL);
    (void)signal(SIGPIPE, SIG_IGN);
    const struct rlimit none = {0};
    (void)setrlimit(RLIMIT_CORE, &none);
}

_Noreturn static void
child_main(struct verify *verify, int fd)
{
    struct verify_report report = {.fd = fd, .shared = verify->shared};
    child_quiet();
    if (verify->shard == NO_SHARD)
        verify_registry(&report, verify->dir);
    else
        verify_shard(&report, verify->dir, &verify->conf, (uint32_t)verify->shard);
    report_end(&report);
    // Not exit(): what the parent has to say at its end is not the child's.
    _exit(0);
}

static void
text_copy(char out[VERIFY_KEY_MAX + 1], struct bytes text)
{
    size_t size = text.size < VERIFY_KEY_MAX ? text.size : VERIFY_KEY_MAX;
    if (size > 0)
        memcpy(out, text.data, size);
    out[size] = '\0';
}

static void
message_use(struct verify *verify, struct bytes body)
{
    struct cursor in = cursor_over(body);
    uint8_t message = cursor_u8(&in);
    if (message == VERIFY_MESSAGE_MORE) {
        char what[64];
        uint64_t more = cursor_u64le(&in);
        (void)snprintf(what, sizeof what, "%llu more findings", (unsigned long long)more);
        verify_tell(verify, "and", what);
        verify->summary.findings += more - 1;
        return;
    }
    struct bytes key = cursor_take(&in, cursor_u16le(&in));
    struct bytes what = cursor_take(&in, cursor_left(&in));
    if (message != VERIFY_MESSAGE_FINDING || cursor_failed(&in))
        return;
    char texts[2][VERIFY_KEY_MAX + 1];
    text_copy(texts[0], key);
    text_copy(texts[1], what);
    verify_tell(verify, texts[0], texts[1]);
}

// Uses the whole frames that are there, and keeps the rest.
static void
messages_use(struct verify *verify)
{
    struct cursor in = cursor_over(buffer_view(&verify->received));
    size_t used = 0;
    for (;;) {
        uint32_t size = cursor_u32le(&in);
        struct bytes body = cursor_take(&in, size);
        if (cursor_failed(&in))
            break;
        message_use(verify, body);
        used += sizeof size + size;
    }
    must(used <= verify->received.size);
    if (used > 0) {
        memmove(verify->received.data, verify->received.data + used, verify->received.size - used);
        verify->received.size -= used;
    }
}

static void
verify_show_progress(struct verify *verify)
{
    const struct verify_progress progress = {
        .shard = verify->shard == NO_SHARD ? 0 : (uint32_t)verify->shard,
        .shards = verify->conf.shards,
        .done = published_get(&verify->shared->done),
        .total = published_get(&verify->shared->total),
    };
    if (progress.done != verify->last_done) {
        verify->last_done = progress.done;
        verify->last_moved_ns = clock_monotonic_ns();
    }
    if (verify->options->on_progress != NULL)
        verify->options->on_progress(verify->options->context, &progress);
}

// Reads until the child's end of the pipe is closed, that is until it ends.
static enum status
child_listen(struct verify *verify, int fd, struct error *error)
{
    buffer_reset(&verify->received);
    verify->last_done = 0;
    verify->last_moved_ns = clock_monotonic_ns();
    for (;;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        int ready = poll(&poll_fd, 1, PROGRESS_MS);
        verify_show_progress(verify);
        if (clock_monotonic_ns() - verify->last_moved_ns > STUCK_NS)
            (void)kill(verify->child, SIGKILL);
        if (ready <= 0)
            continue;
        uint8_t *place = buffer_reserve(&verify->received, PIPE_READ_SIZE);
        if (place == NULL) {
            (void)kill(verify->child, SIGKILL);
            return error_set(
                error, STATUS_NO_MEMORY, "no memory for what the reading process says");
        }
        ssize_t count = read(fd, place, PIPE_READ_SIZE);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return STATUS_OK;
        buffer_commit(&verify->received, (size_t)count);
        messages_use(verify);
    }
}

static void
stage_print(const struct verify *verify, char *out, size_t out_size)
{
    unsigned long long place = published_get(&verify->shared->place);
    switch ((enum verify_stage)flag_get(&verify->shared->stage)) {
    case VERIFY_STAGE_OPEN: (void)snprintf(out, out_size, "log and state"); return;
    case VERIFY_STAGE_PAGES: (void)snprintf(out, out_size, "pages"); return;
    case VERIFY_STAGE_FIRED: (void)snprintf(out, out_size, "fired"); return;
    case VERIFY_STAGE_REGISTRY: (void)snprintf(out, out_size, "registry"); return;
    case VERIFY_STAGE_LOG: (void)snprintf(out, out_size, "log block %llu", place); return;
    case VERIFY_STAGE_IDENTITIES: (void)snprintf(out, out_size, "log"); return;
    case VERIFY_STAGE_STATE: (void)snprintf(out, out_size, "state"); return;
    case VERIFY_STAGE_CELLS: (void)snprintf(out, out_size, "state cell %llu", place); return;
    case VERIFY_STAGE_DEDUP: (void)snprintf(out, out_size, "identities"); return;
    }
    (void)snprintf(out, out_size, "shard");
}

static void
child_judge(struct verify *verify, int wait_status)
{
    char key[64];
    char what[128];
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0)
        return;
    stage_print(verify, key, sizeof key);
    if (WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL)
        (void)snprintf(what, sizeof what, "reading it got no further, or was killed");
    else if (WIFSIGNALED(wait_status))
        (void)snprintf(
            what,
            sizeof what,
            "reading it crashed (SIG%s): the file is damaged or cut short",
            sigabbrev_np(WTERMSIG(wait_status)));
    else
        (void)snprintf(
            what, sizeof what, "reading it ended with code %d", WEXITSTATUS(wait_status));
    verify_tell(verify, key, what);
}

static enum status
child_run(struct verify *verify, int32_t shard, struct error *error)
{
    int fds[2];
    memset(verify->shared, 0, sizeof *verify->shared);
    verify->shard = shard;
    if (pipe(fds) != 0)
        return error_set_errno(error, "cannot make a pipe");
    verify->child = fork();
    if (verify->child == 0) {
        (void)close(fds[0]);
        child_main(verify, fds[1]);
    }
    (void)close(fds[1]);
    enum status status = verify->child > 0 ? STATUS_OK : error_set_errno(error, "cannot fork");
    if (!status) {
        int wait_status = 0;
        status = child_listen(verify, fds[0], error);
        while (waitpid(verify->child, &wait_status, 0) < 0 && errno == EINTR)
            continue;
        if (!status)
            child_judge(verify, wait_status);
    }
    (void)close(fds[0]);
    return status;
}

static void
verify_sum(struct verify *verify)
{
    uint32_t meters = (uint32_t)published_get(&verify->shared->meters);
    verify->summary.blocks += published_get(&verify->shared->blocks);
    verify->summary.events += published_get(&verify->shared->events);
    verify->summary.cells += published_get(&verify->shared->cells);
    if (meters > verify->summary.meters)
        verify->summary.meters = meters;
}

static enum status
verify_parts(struct verify *verify, struct error *error)
{
    void *page = mmap(
        NULL, sizeof *verify->shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return error_set_errno(error, "cannot share a page with the reading process");
    verify->shared = page;
    verify->summary.shards = verify->conf.shards;
    enum status status = child_run(verify, NO_SHARD, error);
    for (uint32_t shard = 0; shard < verify->conf.shards && !status; shard++) {
        status = child_run(verify, (int32_t)shard, error);
        verify_sum(verify);
    }
    (void)munmap(page, sizeof *verify->shared);
    buffer_done(&verify->received);
    return status;
}

enum status
verify_run(
    const char *dir,
    const struct verify_options *options,
    struct verify_summary *out,
    struct error *error)
{
    must(options->on_finding != NULL);
    struct verify verify = {.dir = dir, .options = options, .shard = NO_SHARD};
    enum status status = ledger_conf_read(dir, &verify.conf, error);
    if (status == STATUS_INVALID || status == STATUS_CORRUPT) {
        // Without it nobody knows how many shards there are.
        verify_tell(&verify, "ledger.conf", error->text);
        status = STATUS_OK;
    } else if (!status) {
        if (ledger_shape_check(dir, error))
            verify_tell(&verify, "ledger.shape", error->text);
        status = verify_parts(&verify, error);
    }
    if (!status)
        *out = verify.summary;
    return status;
}
