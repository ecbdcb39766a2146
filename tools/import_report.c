#include "tools/import_report.h"

#include "base/arena.h"
#include "base/assert.h"
#include "base/json.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { LISTED_TEXT_SIZE = 320 };

struct listed {
    const char *file;
    uint64_t line;
    char text[LISTED_TEXT_SIZE];
};

struct report {
    struct arena arena;
    pthread_mutex_t mutex;
    struct report_reason reasons[REPORT_REASONS_MAX];
    size_t reasons_count;
    struct listed listed[REPORT_LISTED_MAX];
    size_t listed_count;
    uint64_t counts[REPORT_CONFLICT + 1];
    FILE *rejects;
    const char *rejects_path;
    int failure_errno;  // of the first write that failed
    struct buffer line;
};

static const char *const kind_names[] = {"row", "server", "conflict"};

enum status
report_open(const char *rejects_path, struct report **out, struct error *error)
{
    FILE *rejects = NULL;
    if (rejects_path) {
        rejects = fopen(rejects_path, "we");
        if (!rejects)
            return error_set_errno(error, "cannot write %s", rejects_path);
    }
    struct arena arena = {0};
    struct report *report = arena_new(&arena, struct report);
    report->arena = arena;
    report->rejects = rejects;
    report->rejects_path = rejects_path;
    if (pthread_mutex_init(&report->mutex, NULL) != 0)
        must(false);
    *out = report;
    return STATUS_OK;
}

enum status
report_close(struct report **report_slot, struct error *error)
{
    struct report *report = *report_slot;
    if (!report)
        return STATUS_OK;
    *report_slot = NULL;
    if (report->rejects && fclose(report->rejects) != 0 && report->failure_errno == 0)
        report->failure_errno = errno;
    enum status status = STATUS_OK;
    if (report->failure_errno) {
        errno = report->failure_errno;
        status = error_set_errno(error, "cannot write %s", report->rejects_path);
    }
    buffer_done(&report->line);
    pthread_mutex_destroy(&report->mutex);
    // The report lies in its own arena, so the arena's handle is moved out first.
    struct arena arena = report->arena;
    arena_done(&arena);
    return status;
}

static bool
reason_is(const struct report_reason *known, const struct report_refusal *refusal)
{
    return known->kind == refusal->kind &&
           strncmp(known->text, refusal->reason, REPORT_REASON_SIZE - 1) == 0;
}

// Reasons are few by design; should a server ever send more, the last row takes them all.
static void
reason_count(struct report *report, const struct report_refusal *refusal)
{
    for (size_t i = 0; i < report->reasons_count; i++) {
        if (reason_is(&report->reasons[i], refusal)) {
            report->reasons[i].count++;
            return;
        }
    }
    if (report->reasons_count == REPORT_REASONS_MAX) {
        report->reasons[REPORT_REASONS_MAX - 1].count++;
        return;
    }
    struct report_reason *reason = &report->reasons[report->reasons_count++];
    bool is_last = report->reasons_count == REPORT_REASONS_MAX;
    snprintf(reason->text, sizeof reason->text, "%s", is_last ? "others" : refusal->reason);
    reason->kind = refusal->kind;
    reason->count = 1;
}

static void
listed_add(struct report *report, const struct report_refusal *refusal)
{
    if (report->listed_count == REPORT_LISTED_MAX)
        return;
    struct listed *listed = &report->listed[report->listed_count++];
    listed->file = refusal->file;
    listed->line = refusal->line;
    const char *detail = refusal->detail ? refusal->detail : "";
    const char *between = refusal->detail ? ": " : "";
    snprintf(listed->text, sizeof listed->text, "%s%s%s", refusal->reason, between, detail);
}

static void
reject_write(struct report *report, const struct report_refusal *refusal)
{
    buffer_reset(&report->line);
    struct json_out out = json_out_to(&report->line);
    json_begin(&out, '{');
    json_key(&out, "file");
    json_text(&out, refusal->file);
    json_key(&out, "line");
    json_int(&out, (int64_t)refusal->line);
    json_key(&out, "kind");
    json_text(&out, kind_names[refusal->kind]);
    json_key(&out, "reason");
    json_text(&out, refusal->reason);
    json_key(&out, "detail");
    json_text(&out, refusal->detail);
    json_end(&out, '}');
    buffer_text(&report->line, "\n");
    must(!buffer_failed(&report->line));
    size_t size = report->line.size;
    if (fwrite(report->line.data, 1, size, report->rejects) != size && report->failure_errno == 0)
        report->failure_errno = errno;
}

void
report_refuse(struct report *report, const struct report_refusal *refusal)
{
    must(refusal->reason != NULL);
    pthread_mutex_lock(&report->mutex);
    report->counts[refusal->kind]++;
    reason_count(report, refusal);
    listed_add(report, refusal);
    if (report->rejects)
        reject_write(report, refusal);
    pthread_mutex_unlock(&report->mutex);
}

size_t
report_reasons(const struct report *report, const struct report_reason **out)
{
    *out = report->reasons;
    return report->reasons_count;
}

uint64_t
report_count(const struct report *report, enum report_kind kind)
{
    return report->counts[kind];
}

bool
report_has_reason(const struct report *report, const char *text)
{
    for (size_t i = 0; i < report->reasons_count; i++)
        if (strstr(report->reasons[i].text, text))
            return true;
    return false;
}

void
report_list(const struct report *report, FILE *out)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= REPORT_CONFLICT; i++)
        total += report->counts[i];
    for (size_t i = 0; i < report->listed_count; i++) {
        const struct listed *listed = &report->listed[i];
        fprintf(out, "%s:%llu: %s\n", listed->file, (unsigned long long)listed->line, listed->text);
    }
    if (total > report->listed_count)
        fprintf(
            out,
            "... and %llu more%s\n",
            (unsigned long long)(total - report->listed_count),
            report->rejects_path ? "" : "; --rejects FILE lists them all");
}
