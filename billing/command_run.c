#include "base/clock.h"
#include "billing/command.h"
#include "billing/run_print.h"

#include <inttypes.h>
#include <stdio.h>

struct settings {
    const char *data;
    const char *format;
    const char *as_of;
    const char *period;
    const char *customer;
    int64_t grace_ns;
    bool is_dry;
    bool is_strict;
    int64_t workers;
    int64_t chunk_size;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    {.name = "as-of",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, as_of),
                       .value_name = "TIME",
                       .help = "bill as if it were this time (default: now)"},
    {.name = "period",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, period),
                       .value_name = "YYYY-MM",
                       .help = "only periods that end in this month"},
    {.name = "customer",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, customer),
                       .value_name = "ID",
                       .help = "only this customer"},
    {.name = "grace",
                       .type = OPTION_DURATION,
                       .offset = offsetof(struct settings, grace_ns),
                       .fallback = "1h",
                       .min = 0,
                       .max = 366LL * 86400 * 1000000000,
                       .value_name = "TIME",
                       .help = "how long after its end a period waits for late events"},
    {.name = "dry-run",
                       .type = OPTION_FLAG,
                       .offset = offsetof(struct settings, is_dry),
                       .help = "print, write nothing; with --period also what still runs"},
    {.name = "strict",
                       .type = OPTION_FLAG,
                       .offset = offsetof(struct settings, is_strict),
                       .help = "exit 1 when there is usage without a subscription"},
    {.name = "workers",
                       .type = OPTION_INT,
                       .offset = offsetof(struct settings, workers),
                       .fallback = "1",
                       .min = 1,
                       .max = RUN_WORKERS_MAX,
                       .value_name = "N",
                       .help = "chunks at a time"},
    {.name = "chunk",
                       .type = OPTION_INT,
                       .offset = offsetof(struct settings, chunk_size),
                       .fallback = "500",
                       .min = 1,
                       .max = 100000,
                       .value_name = "N",
                       .help = "customers in a transaction"},
    COMMAND_FORMAT_ROW(struct settings),
    {0           },
};

static const struct option_spec spec = {
    .program = "tally-billing run",
    .summary = "Bills every period that is over and has no invoice.",
    .usage = "[options]",
    .details = "A second run makes nothing; a run that was killed is completed by the next one.\n"
               "Exit: 0 done, 1 failed (or, with --strict, usage without a subscription), 2 usage.",
    .rows = rows,
};

// PostgreSQL keeps microseconds: the run's times are cut to them, so that what is read back is what
// was written.
static int64_t
microseconds_only(int64_t time_ns)
{
    return time_ns - time_ns % 1000;
}

static enum status
settings_convert(
    const struct settings *settings,
    struct run_settings *out,
    enum output_format *out_format,
    struct error *error)
{
    int64_t month_from_ns, month_to_ns;
    *out = (struct run_settings){
        .data_dir = settings->data,
        .now_ns = microseconds_only(clock_now_ns()),
        .grace_ns = settings->grace_ns,
        .period = settings->period,
        .customer = settings->customer,
        .is_dry = settings->is_dry,
        .workers = settings->workers,
        .chunk_size = settings->chunk_size,
    };
    out->as_of_ns = out->now_ns;
    if (!output_format_parse(settings->format, out_format))
        return error_set(
            error, STATUS_INVALID, "--format %s: expected table or json", settings->format);
    if (settings->as_of != NULL) {
        if (clock_parse(bytes_text(settings->as_of), &out->as_of_ns) != STATUS_OK)
            return error_set(
                error,
                STATUS_INVALID,
                "--as-of %s: expected a date or a time such as 2023-12-01T06:00:00Z",
                settings->as_of);
        out->as_of_ns = microseconds_only(out->as_of_ns);
    }
    if (settings->period == NULL)
        return STATUS_OK;
    return period_month_parse(settings->period, &month_from_ns, &month_to_ns, error);
}

static int
exit_code(const struct settings *settings, const struct run_report *report)
{
    if (report->refusals_count > 0) {
        fprintf(
            stderr,
            "tally-billing run: not everything could be billed or listed (%zu rows)\n",
            report->refusals_count);
        return EXIT_FAILED;
    }
    if (settings->is_strict && report->unsubscribed_count > 0) {
        fprintf(
            stderr,
            "tally-billing run: there is usage without a subscription (%zu rows)\n",
            report->unsubscribed_count);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static int
run_and_print(
    const struct settings *settings,
    struct run_settings *run,
    enum output_format format,
    struct arena *arena,
    struct error *error)
{
    scoped(sql_done) struct sql *sql = NULL;
    struct run_report report;
    enum status status = sql_url(settings->data, arena, &run->url, error);
    if (status == STATUS_OK)
        status = billing_run(run, arena, &report, error);
    if (status == STATUS_OK)
        status = sql_open(run->url, SQL_TIMEOUT_MS, &sql, error);
    if (status == STATUS_OK)
        status = run_print(&report, run, format, sql, error);
    if (status)
        return command_failed("run", error);
    return exit_code(settings, &report);
}

int
command_run(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct run_settings run;
    enum output_format format = OUTPUT_TABLE;
    struct option_texts_rest rest = {0};
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_DONE;
    case OPTION_ERROR: return command_usage_error("run", &error);
    case OPTION_RUN: break;
    }
    if (settings_convert(&settings, &run, &format, &error) != STATUS_OK)
        return command_usage_error("run", &error);
    return run_and_print(&settings, &run, format, &arena, &error);
}
