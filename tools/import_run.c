#include "tools/import_run.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/progress.h"
#include "tools/ordinals.h"

#include <inttypes.h>
#include <string.h>

// A refusal names its row by a tag: the file's index above the line.
enum { TAG_LINE_BITS = 48, SEND_WAIT_MS = 200, ID_TEXT_SIZE = 48 };

struct importer {
    struct import_plan *plan;
    struct import_outcome *outcome;
    struct tally *tally;     // NULL: a dry run
    struct arena row_arena;  // reset before each row
    struct buffer scratch;
    struct ordinals ordinals;  // of the file being read
    size_t file_index;
    struct progress progress;
};

static void
refusal_take(void *context, const struct tally_refusal *refusal)
{
    const struct import_plan *plan = context;
    size_t file = (size_t)(refusal->tag >> TAG_LINE_BITS);
    must(file < plan->files_count);
    report_refuse(
        plan->report,
        &(struct report_refusal){
            .file = plan->files[file],
            .line = refusal->tag & ((UINT64_C(1) << TAG_LINE_BITS) - 1),
            .kind = refusal->is_conflict ? REPORT_CONFLICT : REPORT_SERVER,
            .reason = refusal->is_conflict ? "the id was used before with other content"
                                           : refusal->reason,
        });
}

static enum status
stalled(const struct importer *importer, struct error *error)
{
    struct tally_stats stats;
    tally_stats(importer->tally, &stats);
    return error_set(
        error,
        STATUS_TIMEOUT,
        "no answer from %s for %" PRId64 " s (%s); what was sent is counted once however often "
        "you import again",
        importer->plan->server,
        importer->plan->stall_max_ns / SECOND_NS,
        stats.last_error[0] ? stats.last_error : "no error is known");
}

// How much the server has answered: while it grows, waiting is worth it.
static uint64_t
answered(struct tally *tally)
{
    struct tally_stats stats;
    tally_stats(tally, &stats);
    return stats.events_acked;
}

// A wait for libtally that ends when the server answered nothing for too long.
struct patience {
    uint64_t answered;
    int64_t deadline_ns;
};

static bool
is_worth_waiting(const struct importer *importer, struct patience *patience)
{
    int64_t now_ns = clock_monotonic_ns();
    uint64_t count = answered(importer->tally);
    if (patience->deadline_ns == 0 || count != patience->answered) {
        patience->answered = count;
        patience->deadline_ns = now_ns + importer->plan->stall_max_ns;
    }
    return now_ns < patience->deadline_ns;
}

static enum status
event_send(struct importer *importer, const struct tally_event *event, struct error *error)
{
    struct patience patience = {0};
    for (;;) {
        enum tally_result result = tally_send_wait(importer->tally, event, SEND_WAIT_MS);
        switch (result) {
        case TALLY_OK: importer->outcome->sent++; return STATUS_OK;
        case TALLY_INVALID: return error_set(error, STATUS_INVALID, "too large for an event");
        case TALLY_FULL:
        case TALLY_TIMEOUT:
            if (!is_worth_waiting(importer, &patience))
                return stalled(importer, error);
            break;
        case TALLY_CLOSED: return error_set(error, STATUS_CLOSED, "%s", tally_result_text(result));
        }
    }
}

static enum status
flush_all(struct importer *importer, struct error *error)
{
    struct patience patience = {0};
    for (;;) {
        enum tally_result result = tally_flush(importer->tally, SEND_WAIT_MS);
        if (result == TALLY_OK)
            return STATUS_OK;
        if (result != TALLY_TIMEOUT)
            return error_set(error, STATUS_CLOSED, "%s", tally_result_text(result));
        if (!is_worth_waiting(importer, &patience))
            return stalled(importer, error);
    }
}

static void
row_refuse(struct importer *importer, uint64_t line, const char *reason, const char *detail)
{
    importer->outcome->rejected++;
    report_refuse(
        importer->plan->report,
        &(struct report_refusal){
            .file = importer->plan->files[importer->file_index],
            .line = line,
            .kind = REPORT_ROW,
            .reason = reason,
            .detail = detail,
        });
}

static enum status
row_import(struct importer *importer, const struct row *row, struct error *error)
{
    struct import_plan *plan = importer->plan;
    struct tally_event event;
    struct refusal refusal;
    if (!mapping_apply(&plan->mapping, row, &importer->row_arena, &event, &refusal)) {
        row_refuse(importer, row->line, refusal.reason, refusal.detail);
        return STATUS_OK;
    }
    char id[ID_TEXT_SIZE];
    if (!event.id) {
        struct hash128 hash = mapping_hash(&event, &importer->scratch);
        uint32_t ordinal = ordinals_next(&importer->ordinals, hash);
        snprintf(
            id, sizeof id, "%016" PRIx64 "%016" PRIx64 "-%" PRIu32, hash.high, hash.low, ordinal);
        event.id = id;
    }
    event.tag = (uint64_t)importer->file_index << TAG_LINE_BITS | row->line;
    if (plan->is_dry_run) {
        importer->outcome->sent++;
        return STATUS_OK;
    }
    enum status status = event_send(importer, &event, error);
    if (status != STATUS_INVALID)
        return status;
    row_refuse(importer, row->line, "not an event: larger than 64 KiB, or nested too deeply", NULL);
    return STATUS_OK;
}

static bool
is_enough(const struct importer *importer)
{
    uint64_t max = importer->plan->rows_max;
    return max > 0 && importer->outcome->rows >= max;
}

static enum status
rows_import(struct importer *importer, struct rows *rows, struct error *error)
{
    while (!is_enough(importer)) {
        struct row row;
        arena_reset(&importer->row_arena);
        enum status status = rows_next(rows, &importer->row_arena, &row, error);
        if (status || row.line == 0)
            return status;
        importer->outcome->rows++;
        status = row_import(importer, &row, error);
        if (status)
            return status;
        progress_set(&importer->progress, rows->source.read_bytes - source_left(&rows->source));
    }
    return STATUS_OK;
}

static enum status
file_import(struct importer *importer, const char *path, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct rows rows;
    enum status status = rows_open(path, &importer->plan->rows, &arena, &rows, error);
    if (status)
        return status;
    if (rows.format == ROWS_CSV)
        status = mapping_check(
            &importer->plan->mapping, rows.header, rows.header_count, rows.source.name, error);
    if (!status) {
        int64_t size = rows.source.size_bytes;
        progress_begin(&importer->progress, rows.source.name, size > 0 ? (uint64_t)size : 0);
        status = rows_import(importer, &rows, error);
        progress_end(&importer->progress);
    }
    rows_done(&rows);
    ordinals_done(&importer->ordinals);
    return status;
}

static enum status
files_import(struct importer *importer, struct error *error)
{
    const struct import_plan *plan = importer->plan;
    for (size_t i = 0; i < plan->files_count && !is_enough(importer); i++) {
        importer->file_index = i;
        enum status status = file_import(importer, plan->files[i], error);
        if (status)
            return status;
    }
    return importer->tally ? flush_all(importer, error) : STATUS_OK;
}

static enum status
connect_tally(struct importer *importer, struct error *error)
{
    struct import_plan *plan = importer->plan;
    struct tally_options options = {
        .server = plan->server,
        .backfill = plan->backfill,
        .retry_max_ms = 1000,
        .on_refusal = refusal_take,
        .context = plan,
    };
    char text[256];
    importer->tally = tally_open(&options, text, sizeof text);
    return importer->tally ? STATUS_OK : error_set(error, STATUS_INVALID, "%s", text);
}

// Called when nothing is sent any more; fills the counts that only the server knows.
static void
outcome_fill(struct importer *importer)
{
    struct import_outcome *out = importer->outcome;
    struct tally_stats stats;
    tally_stats(importer->tally, &stats);
    must(
        stats.events_acked >=
        stats.events_duplicate + stats.events_rejected + stats.events_conflict);
    out->duplicates = stats.events_duplicate;
    out->conflicts = stats.events_conflict;
    out->rejected += stats.events_rejected;
    out->stored =
        stats.events_acked - stats.events_duplicate - stats.events_rejected - stats.events_conflict;
    out->unanswered = out->sent - stats.events_acked;
    out->resent_batches = stats.batches_resent;
}

enum status
import_run(struct import_plan *plan, struct import_outcome *out, struct error *error)
{
    *out = (struct import_outcome){0};
    struct importer importer = {.plan = plan, .outcome = out};
    int64_t began_ns = clock_monotonic_ns();
    enum status status = plan->is_dry_run ? STATUS_OK : connect_tally(&importer, error);
    if (!status)
        status = files_import(&importer, error);
    if (importer.tally) {
        outcome_fill(&importer);
        // All that will be answered has been, so closing has nothing to wait for.
        enum tally_result closed = tally_close(importer.tally, 0);
        must(status || closed == TALLY_OK);
    }
    out->elapsed_ns = clock_monotonic_ns() - began_ns;
    out->is_partial = status != STATUS_OK;
    arena_done(&importer.row_arena);
    buffer_done(&importer.scratch);
    return status;
}
