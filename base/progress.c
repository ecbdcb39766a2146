#include "base/progress.h"

#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int64_t DRAW_INTERVAL_NS = 100000000;

enum {
    BAR_WIDTH = 24,
    LABEL_MAX = 40,
    CLEAR_SIZE = 4,
};

// Carriage return, and "erase to the end of the line" as every terminal since the VT100 knows it.
static const char CLEAR[CLEAR_SIZE + 1] = "\r\x1b[K";

// Three digits and a unit: "873", "1.2M", "45k".
static void
rate_print(uint64_t value, char *out, size_t out_size)
{
    static const char units[] = {'\0', 'k', 'M', 'G', 'T', 'P'};
    size_t unit = 0;
    uint64_t tenths = value > UINT64_MAX / 10 ? UINT64_MAX : value * 10;
    for (; tenths >= 10000 && unit + 1 < sizeof units; unit++)
        tenths /= 1000;
    if (unit == 0)
        (void)snprintf(out, out_size, "%" PRIu64, tenths / 10);
    else if (tenths < 100)
        (void)snprintf(
            out, out_size, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10, units[unit]);
    else
        (void)snprintf(out, out_size, "%" PRIu64 "%c", tenths / 10, units[unit]);
}

// a * b / c without overflow between; 0 when c is 0.
static uint64_t
scaled(uint64_t a, uint64_t b, uint64_t c)
{
    __extension__ typedef unsigned __int128 wide;
    if (c == 0)
        return 0;
    wide result = (wide)a * b / c;
    return result > UINT64_MAX ? UINT64_MAX : (uint64_t)result;
}

static void
eta_print(const struct progress *progress, uint64_t elapsed_ns, char *out, size_t out_size)
{
    uint64_t left = progress->total - progress->done;
    uint64_t seconds = scaled(elapsed_ns, left, progress->done) / (uint64_t)SECOND_NS;
    if (progress->done == 0)
        (void)snprintf(out, out_size, "-:--");
    else if (seconds >= 3600)
        (void)snprintf(
            out,
            out_size,
            "%" PRIu64 ":%02u:%02u",
            seconds / 3600,
            (unsigned)(seconds / 60 % 60),
            (unsigned)(seconds % 60));
    else
        (void)snprintf(
            out, out_size, "%u:%02u", (unsigned)(seconds / 60), (unsigned)(seconds % 60));
}

size_t
progress_line(const struct progress *progress, int64_t elapsed_ns, char out[PROGRESS_LINE_MAX])
{
    must(elapsed_ns >= 0);
    char rate[32];
    rate_print(
        scaled(progress->done, (uint64_t)SECOND_NS, (uint64_t)elapsed_ns), rate, sizeof rate);
    int size;
    if (progress->total == 0) {
        char done[32];
        rate_print(progress->done, done, sizeof done);
        size = snprintf(
            out, PROGRESS_LINE_MAX, "%.*s  %s  %s/s", LABEL_MAX, progress->label, done, rate);
    } else {
        must(progress->done <= progress->total);
        char bar[BAR_WIDTH + 1];
        size_t filled = (size_t)scaled(progress->done, BAR_WIDTH, progress->total);
        memset(bar, ' ', BAR_WIDTH);
        memset(bar, '#', filled);
        bar[BAR_WIDTH] = '\0';
        char eta[40];
        eta_print(progress, (uint64_t)elapsed_ns, eta, sizeof eta);
        size = snprintf(
            out,
            PROGRESS_LINE_MAX,
            "%.*s  [%s] %3u%%  %s/s  eta %s",
            LABEL_MAX,
            progress->label,
            bar,
            (unsigned)scaled(progress->done, 100, progress->total),
            rate,
            eta);
    }
    must(size > 0 && size < PROGRESS_LINE_MAX);
    return (size_t)size;
}

// A terminal that went away is no reason to stop the work.
static void
terminal_write(const struct progress *progress, const char *text, size_t size)
{
    ssize_t count = write(progress->fd, text, size);
    (void)count;
}

static void
progress_draw(struct progress *progress, int64_t now_ns)
{
    char line[CLEAR_SIZE + PROGRESS_LINE_MAX];
    memcpy(line, CLEAR, CLEAR_SIZE);
    size_t size = progress_line(progress, now_ns - progress->began_ns, line + CLEAR_SIZE);
    terminal_write(progress, line, CLEAR_SIZE + size);
    progress->drawn_ns = now_ns;
}

void
progress_begin(struct progress *progress, const char *label, uint64_t total)
{
    must(label != NULL);
    *progress = (struct progress){
        .label = label,
        .total = total,
        .began_ns = clock_monotonic_ns(),
        .fd = STDERR_FILENO,
        .is_shown = isatty(STDERR_FILENO) == 1,
    };
}

void
progress_set(struct progress *progress, uint64_t done)
{
    // A file may grow while it is read.
    if (progress->total > 0 && done > progress->total)
        done = progress->total;
    progress->done = done;
    if (!progress->is_shown)
        return;
    int64_t now_ns = clock_monotonic_ns();
    if (progress->drawn_ns == 0 || now_ns - progress->drawn_ns >= DRAW_INTERVAL_NS)
        progress_draw(progress, now_ns);
}

void
progress_end(struct progress *progress)
{
    if (progress->is_shown && progress->drawn_ns != 0)
        terminal_write(progress, CLEAR, CLEAR_SIZE);
    progress->is_shown = false;
}
