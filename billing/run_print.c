#include "billing/run_print.h"

#include "base/assert.h"
#include "base/table.h"
#include "billing/invoice_print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    PRINT_BATCH = 1000,
    PRINT_TABLE_INVOICES_MAX = 20,
    PRINT_TABLE_ROWS_MAX = 50,
};

bool
output_format_parse(const char *text, enum output_format *out)
{
    bool is_json = strcmp(text, "json") == 0;
    if (!is_json && strcmp(text, "table") != 0)
        return false;
    *out = is_json ? OUTPUT_JSON : OUTPUT_TABLE;
    return true;
}

struct print {
    const struct run_report *report;
    const struct run_settings *settings;
    struct sql *sql;
    struct buffer out;
    struct json_out json;
    struct error *error;
};

static void
print_flush(struct print *print)
{
    struct bytes text = buffer_view(&print->out);
    fwrite(text.data, 1, text.size, stdout);
    buffer_reset(&print->out);
}

typedef void (*invoice_print_fn)(
    struct print *print, const struct invoice *invoice, struct arena *arena);

static const struct invoice *
invoice_among(const struct invoice *invoices, size_t count, const char *id)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(id, invoices[middle].id);
        if (order == 0)
            return &invoices[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static enum status
batch_print(
    struct print *print, const struct run_made *made, size_t count, invoice_print_fn print_one)
{
    scoped(arena_done) struct arena arena = {0};
    struct invoice *found = NULL;
    const char **ids = arena_array(&arena, count, const char *);
    for (size_t i = 0; i < count; i++)
        ids[i] = made[i].id;
    if (!print->settings->is_dry) {
        enum status status =
            store_invoices_find(print->sql, ids, count, &arena, &found, print->error);
        if (status)
            return status;
    }
    for (size_t i = 0; i < count; i++) {
        const struct invoice *invoice =
            found != NULL ? invoice_among(found, count, ids[i]) : made[i].invoice;
        must(invoice != NULL);
        print_one(print, invoice, &arena);
        print_flush(print);
    }
    return STATUS_OK;
}

static enum status
invoices_print(struct print *print, size_t count, invoice_print_fn print_one)
{
    enum status status = STATUS_OK;
    for (size_t at = 0; status == STATUS_OK && at < count; at += PRINT_BATCH) {
        size_t left = count - at;
        status = batch_print(
            print, print->report->made + at, left < PRINT_BATCH ? left : PRINT_BATCH, print_one);
    }
    return status;
}

// ---- JSON

static void
invoice_as_json(struct print *print, const struct invoice *invoice, struct arena *arena)
{
    (void)arena;
    invoice_json(&print->json, invoice);
}

static void
text_json(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
int_json(struct json_out *out, const char *key, int64_t value)
{
    json_key(out, key);
    json_int(out, value);
}

static void
run_json(struct print *print)
{
    const struct run_settings *settings = print->settings;
    struct json_out *out = &print->json;
    json_key(out, "run");
    json_begin(out, '{');
    time_json(out, "at", settings->now_ns);
    time_json(out, "as_of", settings->as_of_ns);
    int_json(out, "grace_seconds", settings->grace_ns / SECOND_NS);
    text_json(out, "period", settings->period);
    text_json(out, "customer", settings->customer);
    json_key(out, "dry_run");
    json_bool(out, settings->is_dry);
    json_end(out, '}');
}

static void
unsubscribed_json(struct print *print)
{
    struct json_out *out = &print->json;
    json_key(out, "unsubscribed");
    json_begin(out, '[');
    for (size_t i = 0; i < print->report->unsubscribed_count; i++) {
        const struct unsubscribed *row = &print->report->unsubscribed[i];
        char quantity[DECIMAL_TEXT_MAX];
        decimal_print(row->quantity, quantity);
        json_begin(out, '{');
        text_json(out, "subject", row->subject);
        text_json(out, "customer", row->customer);
        text_json(out, "meter", row->meter);
        text_json(out, "quantity", quantity);
        time_json(out, "from", row->from_ns);
        time_json(out, "to", row->to_ns);
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
refusals_json(struct print *print)
{
    struct json_out *out = &print->json;
    json_key(out, "refused");
    json_begin(out, '[');
    for (size_t i = 0; i < print->report->refusals_count; i++) {
        const struct run_refusal *row = &print->report->refusals[i];
        json_begin(out, '{');
        text_json(out, "customer", row->customer);
        text_json(out, "subscription", row->subscription);
        text_json(out, "reason", row->text);
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
totals_json(struct print *print)
{
    const struct run_report *report = print->report;
    struct json_out *out = &print->json;
    json_key(out, "totals");
    json_begin(out, '{');
    int_json(out, "invoices", (int64_t)report->made_count);
    int_json(out, "existing", report->existing_count);
    int_json(out, "empty", report->empty_count);
    int_json(out, "waiting_for_grace", report->waiting_count);
    int_json(out, "refused", (int64_t)report->refusals_count);
    json_key(out, "amounts");
    json_begin(out, '[');
    for (size_t i = 0; i < report->totals_count; i++)
        money_json(out, report->totals[i].total_minor, report->totals[i].currency);
    json_end(out, ']');
    json_end(out, '}');
}

static enum status
print_json(struct print *print)
{
    print->json = json_out_to(&print->out);
    json_begin(&print->json, '{');
    run_json(print);
    json_key(&print->json, "invoices");
    json_begin(&print->json, '[');
    enum status status = invoices_print(print, print->report->made_count, invoice_as_json);
    if (status)
        return status;
    json_end(&print->json, ']');
    unsubscribed_json(print);
    refusals_json(print);
    totals_json(print);
    json_end(&print->json, '}');
    buffer_text(&print->out, "\n");
    print_flush(print);
    return STATUS_OK;
}

// ---- tables

static void
invoice_as_text(struct print *print, const struct invoice *invoice, struct arena *arena)
{
    invoice_text(invoice, arena, &print->out);
    buffer_text(&print->out, "\n");
}

static void
more_text(struct print *print, size_t count, size_t shown)
{
    if (count > shown)
        buffer_format(&print->out, "... and %zu more\n", count - shown);
}

static void
unsubscribed_text(struct print *print, struct arena *arena)
{
    static const struct table_column columns[] = {
        {"subject",  TABLE_LEFT },
        {"customer", TABLE_LEFT },
        {"meter",    TABLE_LEFT },
        {"quantity", TABLE_RIGHT},
        {"from",     TABLE_LEFT },
        {"to",       TABLE_LEFT },
    };
    size_t count = print->report->unsubscribed_count;
    size_t shown = count < PRINT_TABLE_ROWS_MAX ? count : PRINT_TABLE_ROWS_MAX;
    if (count == 0)
        return;
    buffer_text(&print->out, "Usage without a subscription:\n");
    struct table table = table_over(arena, columns, 6);
    for (size_t i = 0; i < shown; i++) {
        const struct unsubscribed *row = &print->report->unsubscribed[i];
        char quantity[DECIMAL_TEXT_MAX];
        decimal_print(row->quantity, quantity);
        const char *from = day_text(row->from_ns, arena), *to = day_text(row->to_ns, arena);
        const char *customer = row->customer != NULL ? row->customer : "-";
        table_row(
            &table, (const char *const[]){row->subject, customer, row->meter, quantity, from, to});
    }
    table_print(&table, TABLE_TEXT, &print->out);
    more_text(print, count, shown);
    buffer_text(&print->out, "\n");
}

static void
refusals_text(struct print *print)
{
    for (size_t i = 0; i < print->report->refusals_count; i++) {
        const struct run_refusal *row = &print->report->refusals[i];
        if (row->customer == NULL)
            buffer_format(&print->out, "Usage that may be without a subscription: %s\n", row->text);
        else
            buffer_format(
                &print->out,
                "Not billed: customer %s, subscription %s: %s\n",
                row->customer,
                row->subscription,
                row->text);
    }
}

static void
summary_text(struct print *print, struct arena *arena)
{
    const struct run_report *report = print->report;
    buffer_format(
        &print->out,
        "%s %zu invoice%s",
        print->settings->is_dry ? "Would make" : "Made",
        report->made_count,
        report->made_count == 1 ? "" : "s");
    for (size_t i = 0; i < report->totals_count; i++)
        buffer_format(
            &print->out,
            "%s%s",
            i == 0 ? ": " : ", ",
            money_text(report->totals[i].total_minor, report->totals[i].currency, arena));
    buffer_format(
        &print->out,
        ". Billed before: %" PRId64 ". Nothing due: %" PRId64 ". Not past the grace: %" PRId64
        ".\n",
        report->existing_count,
        report->empty_count,
        report->waiting_count);
    if (report->numbered_count > (int64_t)report->made_count)
        buffer_format(
            &print->out,
            "Numbered %" PRId64 " invoices that an earlier run had left.\n",
            report->numbered_count - (int64_t)report->made_count);
}

static enum status
print_text(struct print *print)
{
    scoped(arena_done) struct arena arena = {0};
    size_t count = print->report->made_count;
    size_t shown = count < PRINT_TABLE_INVOICES_MAX ? count : PRINT_TABLE_INVOICES_MAX;
    enum status status = invoices_print(print, shown, invoice_as_text);
    if (status)
        return status;
    more_text(print, count, shown);
    unsubscribed_text(print, &arena);
    refusals_text(print);
    summary_text(print, &arena);
    print_flush(print);
    return STATUS_OK;
}

enum status
run_print(
    const struct run_report *report,
    const struct run_settings *settings,
    enum output_format format,
    struct sql *sql,
    struct error *error)
{
    must(sql != NULL || settings->is_dry);
    struct print print = {.report = report, .settings = settings, .sql = sql, .error = error};
    enum status status = format == OUTPUT_JSON ? print_json(&print) : print_text(&print);
    if (status == STATUS_OK && buffer_failed(&print.out))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the report");
    buffer_done(&print.out);
    if (status == STATUS_OK && fflush(stdout) != 0)
        status = error_set_errno(error, "write to standard output");
    return status;
}
