#include "base/assert.h"
#include "ledger/lmdb_file.h"
#include "ledger/verify_parts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

// A parent that is gone needs no report: a failed write is no failure of the check.
static void
frame_send(int fd, const struct buffer *frame)
{
    size_t sent = 0;
    while (sent < frame->size && !buffer_failed(frame)) {
        ssize_t count = write(fd, frame->data + sent, frame->size - sent);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return;
        sent += (size_t)count;
    }
}

void
report_finding(struct verify_report *report, const char *key, const char *format, ...)
{
    char what[VERIFY_WHAT_MAX];
    report->findings++;
    if (report->findings > VERIFY_FINDINGS_MAX)
        return;
    va_list args;
    va_start(args, format);
    int size = vsnprintf(what, sizeof what, format, args);
    va_end(args);
    must(size >= 0);
    size_t key_size = strnlen(key, VERIFY_KEY_MAX);
    size_t what_size = strnlen(what, sizeof what);
    scoped(buffer_done) struct buffer frame = {0};
    buffer_u32le(&frame, (uint32_t)(1 + 2 + key_size + what_size));
    buffer_u8(&frame, VERIFY_MESSAGE_FINDING);
    buffer_u16le(&frame, (uint16_t)key_size);
    buffer_put(&frame, key, key_size);
    buffer_put(&frame, what, what_size);
    frame_send(report->fd, &frame);
}

void
report_end(struct verify_report *report)
{
    if (report->findings <= VERIFY_FINDINGS_MAX)
        return;
    scoped(buffer_done) struct buffer frame = {0};
    buffer_u32le(&frame, 1 + 8);
    buffer_u8(&frame, VERIFY_MESSAGE_MORE);
    buffer_u64le(&frame, report->findings - VERIFY_FINDINGS_MAX);
    frame_send(report->fd, &frame);
}

void
report_stage(struct verify_report *report, enum verify_stage stage)
{
    published_set(&report->shared->place, 0);
    flag_set(&report->shared->stage, stage);
}

void
report_place(struct verify_report *report, uint64_t place)
{
    published_set(&report->shared->place, place);
    published_set(&report->shared->done, published_get(&report->shared->done) + 1);
}

struct page_report {
    struct verify_report *report;
    const char *what;
    uint64_t read;
};

static void
on_page_finding(void *context, uint64_t page, const char *tree, const char *what)
{
    const struct page_report *pages = context;
    char key[96];
    bool has_tree = tree[0] != '\0';
    (void)snprintf(
        key,
        sizeof key,
        "%s page %" PRIu64 "%s%s%s",
        pages->what,
        page,
        has_tree ? " (" : "",
        tree,
        has_tree ? ")" : "");
    report_finding(pages->report, key, "%s", what);
}

static void
on_page(void *context)
{
    struct page_report *pages = context;
    report_place(pages->report, ++pages->read);
}

void
report_pages(struct verify_report *report, const char *what, struct env *env)
{
    struct page_report pages = {.report = report, .what = what};
    const struct env_file_check check = {
        .on_finding = on_page_finding, .on_page = on_page, .context = &pages};
    struct error error;
    report_stage(report, VERIFY_STAGE_PAGES);
    if (env_check(env, &check, &error))
        report_finding(report, what, "%s", error.text);
}
