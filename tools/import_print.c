// The summary of an import, for people and for programs.

#include "base/clock.h"
#include "base/json.h"
#include "tools/import_run.h"

#include <inttypes.h>

static uint64_t
rows_per_second(const struct import_outcome *outcome)
{
    uint64_t ms = (uint64_t)(outcome->elapsed_ns / 1000000);
    return ms > 0 ? outcome->rows * 1000 / ms : 0;
}

static void
count_print(FILE *out, const char *name, uint64_t count, const char *note)
{
    fprintf(out, "%-12s %10" PRIu64 "%s%s\n", name, count, note[0] ? "  " : "", note);
}

static void
reasons_print(const struct report *report, FILE *out)
{
    const struct report_reason *reasons;
    size_t count = report_reasons(report, &reasons);
    for (size_t i = 0; i < count; i++)
        if (reasons[i].kind != REPORT_CONFLICT)
            fprintf(out, "  %10" PRIu64 "  %s\n", reasons[i].count, reasons[i].text);
}

static void
hints_print(const struct import_plan *plan, const struct import_outcome *outcome, FILE *out)
{
    if (!plan->backfill && report_has_reason(plan->report, "too old"))
        fputs("Rows older than the clock policy allows can be imported with --backfill.\n", out);
    if (outcome->resent_batches > 0)
        fprintf(
            out,
            "The connection broke: %" PRIu64 " batches were sent again, and what was stored of "
            "them before is among the duplicates.\n",
            outcome->resent_batches);
    if (outcome->is_partial)
        fputs("The import is not complete; import the same files again to complete it.\n", out);
}

static void
text_print(const struct import_plan *plan, const struct import_outcome *outcome, FILE *out)
{
    count_print(out, "rows", outcome->rows, "");
    if (plan->is_dry_run) {
        count_print(out, "would send", outcome->sent, "");
    } else {
        count_print(out, "stored", outcome->stored, "");
        bool is_again = outcome->duplicates > 0;
        count_print(
            out,
            "duplicates",
            outcome->duplicates,
            is_again ? "known before, not counted again" : "");
        count_print(out, "conflicts", outcome->conflicts, "");
        if (outcome->unanswered > 0)
            count_print(out, "unanswered", outcome->unanswered, "");
    }
    count_print(out, "rejected", outcome->rejected, "");
    reasons_print(plan->report, out);
    int64_t ms = outcome->elapsed_ns / 1000000;
    fprintf(
        out,
        "%" PRId64 ".%03" PRId64 " s, %" PRIu64 " rows/s\n",
        ms / 1000,
        ms % 1000,
        rows_per_second(outcome));
    hints_print(plan, outcome, out);
}

static void
count_write(struct json_out *out, const char *key, uint64_t count)
{
    json_key(out, key);
    json_int(out, (int64_t)count);
}

static void
reasons_write(const struct report *report, struct json_out *out)
{
    static const char *const kinds[] = {"row", "server", "conflict"};
    const struct report_reason *reasons;
    size_t count = report_reasons(report, &reasons);
    json_key(out, "reasons");
    json_begin(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(out, '{');
        json_key(out, "kind");
        json_text(out, kinds[reasons[i].kind]);
        json_key(out, "reason");
        json_text(out, reasons[i].text);
        count_write(out, "count", reasons[i].count);
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
json_print(const struct import_plan *plan, const struct import_outcome *outcome, FILE *file)
{
    scoped(buffer_done) struct buffer buffer = {0};
    struct json_out out = json_out_to(&buffer);
    json_begin(&out, '{');
    json_key(&out, "dry_run");
    json_bool(&out, plan->is_dry_run);
    json_key(&out, "complete");
    json_bool(&out, !outcome->is_partial);
    count_write(&out, "rows", outcome->rows);
    count_write(&out, "sent", outcome->sent);
    count_write(&out, "stored", outcome->stored);
    count_write(&out, "duplicates", outcome->duplicates);
    count_write(&out, "conflicts", outcome->conflicts);
    count_write(&out, "rejected", outcome->rejected);
    count_write(&out, "unanswered", outcome->unanswered);
    count_write(&out, "batches_resent", outcome->resent_batches);
    count_write(&out, "elapsed_ms", (uint64_t)(outcome->elapsed_ns / 1000000));
    count_write(&out, "rows_per_second", rows_per_second(outcome));
    reasons_write(plan->report, &out);
    json_end(&out, '}');
    fprintf(file, "%.*s\n", (int)buffer.size, (const char *)buffer.data);
}

void
import_print(
    const struct import_plan *plan, const struct import_outcome *outcome, bool is_json, FILE *out)
{
    if (is_json)
        json_print(plan, outcome, out);
    else
        text_print(plan, outcome, out);
}
