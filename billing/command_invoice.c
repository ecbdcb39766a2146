#include "base/table.h"
#include "billing/command.h"
#include "billing/explain.h"
#include "billing/invoice_print.h"
#include "billing/run_print.h"
#include "billing/store.h"

#include <stdio.h>
#include <string.h>

struct settings {
    const char *data;
    const char *format;
    const char *customer;
    int64_t limit;
    bool with_empty;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings),
    {.name = "customer",
                       .type = OPTION_TEXT,
                       .offset = offsetof(struct settings, customer),
                       .value_name = "ID",
                       .help = "list only this customer's"},
    {.name = "limit",
                       .type = OPTION_INT,
                       .offset = offsetof(struct settings, limit),
                       .fallback = "100",
                       .min = 1,
                       .max = 100000,
                       .value_name = "N",
                       .help = "list at most so many"},
    {.name = "empty",
                       .type = OPTION_FLAG,
                       .offset = offsetof(struct settings, with_empty),
                       .help = "list also the records of periods in which nothing was due"},
    {0                                 },
};

static const struct option_spec spec = {
    .program = "tally-billing invoice",
    .summary = "Lists invoices, newest period first, or shows one by its id or number.",
    .usage = "[options] list | show INVOICE",
    .rows = rows,
    .positional_min = 1,
    .positional_max = 2,
};

static void
list_table(const struct invoice *invoices, size_t count, struct arena *arena, struct buffer *out)
{
    static const struct table_column columns[] = {
        {"number",   TABLE_LEFT },
        {"customer", TABLE_LEFT },
        {"plan",     TABLE_LEFT },
        {"kind",     TABLE_LEFT },
        {"from",     TABLE_LEFT },
        {"to",       TABLE_LEFT },
        {"status",   TABLE_LEFT },
        {"total",    TABLE_RIGHT},
    };
    struct table table = table_over(arena, columns, 8);
    for (size_t i = 0; i < count; i++) {
        const struct invoice *invoice = &invoices[i];
        table_row(
            &table,
            (const char *const[]){
                invoice->number != NULL ? invoice->number : "-",
                invoice->customer,
                invoice->plan,
                invoice_kind_name(invoice->kind),
                day_text(invoice->from_ns, arena),
                day_text(invoice->to_ns, arena),
                invoice->status,
                money_text(invoice->total_minor, invoice->currency, arena),
            });
    }
    table_print(&table, TABLE_TEXT, out);
}

static void
list_json(const struct invoice *invoices, size_t count, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '[');
    for (size_t i = 0; i < count; i++) {
        json_begin(&json, '{');
        json_key(&json, "id");
        json_text(&json, invoices[i].id);
        json_key(&json, "number");
        json_text(&json, invoices[i].number);
        json_key(&json, "customer");
        json_text(&json, invoices[i].customer);
        json_key(&json, "plan");
        json_text(&json, invoices[i].plan);
        json_key(&json, "kind");
        json_text(&json, invoice_kind_name(invoices[i].kind));
        time_json(&json, "period_start", invoices[i].from_ns);
        time_json(&json, "period_end", invoices[i].to_ns);
        json_key(&json, "status");
        json_text(&json, invoices[i].status);
        json_key(&json, "total");
        money_json(&json, invoices[i].total_minor, invoices[i].currency);
        json_end(&json, '}');
    }
    json_end(&json, ']');
    buffer_text(out, "\n");
}

static enum status
list(
    const struct settings *settings,
    enum output_format format,
    struct sql *sql,
    struct arena *arena,
    struct error *error)
{
    scoped(buffer_done) struct buffer out = {0};
    struct invoice_filter filter = {settings->customer, settings->limit, settings->with_empty};
    struct invoice *invoices = NULL;
    size_t count = 0;
    enum status status = store_invoices(sql, &filter, arena, &invoices, &count, error);
    if (status)
        return status;
    if (format == OUTPUT_JSON)
        list_json(invoices, count, &out);
    else
        list_table(invoices, count, arena, &out);
    fwrite(out.data, 1, out.size, stdout);
    return STATUS_OK;
}

// What is stored says the amounts; how they came about follows from the recorded input.
static void
steps_add(struct invoice *invoice, struct arena *arena)
{
    struct explanation explanation = {0};
    struct error error;
    if (explain(invoice, arena, &explanation, &error) != STATUS_OK)
        return;
    for (size_t i = 0; i < invoice->lines_count; i++)
        invoice->lines[i].steps = explanation.computed.lines[i].steps;
}

static enum status
show(
    const char *name,
    enum output_format format,
    struct sql *sql,
    struct arena *arena,
    struct error *error)
{
    scoped(buffer_done) struct buffer out = {0};
    struct invoice invoice;
    enum status status = store_invoice_find(sql, name, arena, &invoice, error);
    if (status)
        return status;
    if (format == OUTPUT_JSON) {
        struct json_out json = json_out_to(&out);
        steps_add(&invoice, arena);
        invoice_json(&json, &invoice);
        buffer_text(&out, "\n");
    } else {
        invoice_text(&invoice, arena, &out);
    }
    fwrite(out.data, 1, out.size, stdout);
    return STATUS_OK;
}

static enum status
arguments_check(
    const struct settings *settings,
    const struct option_texts_rest *rest,
    enum output_format *out_format,
    struct error *error)
{
    bool is_list = strcmp(rest->items[0], "list") == 0 && rest->count == 1;
    bool is_show = strcmp(rest->items[0], "show") == 0 && rest->count == 2;
    if (!is_list && !is_show)
        return error_set(error, STATUS_INVALID, "expected `list` or `show INVOICE`");
    if (!output_format_parse(settings->format, out_format))
        return error_set(
            error, STATUS_INVALID, "--format %s: expected table or json", settings->format);
    return STATUS_OK;
}

int
command_invoice(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(sql_done) struct sql *sql = NULL;
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    enum output_format format = OUTPUT_TABLE;
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_DONE;
    case OPTION_ERROR: return command_usage_error("invoice", &error);
    case OPTION_RUN: break;
    }
    if (arguments_check(&settings, &rest, &format, &error) != STATUS_OK)
        return command_usage_error("invoice", &error);
    enum status status = command_sql(settings.data, &arena, &sql, &error);
    if (status == STATUS_OK)
        status = rest.count == 2 ? show(rest.items[1], format, sql, &arena, &error)
                                 : list(&settings, format, sql, &arena, &error);
    return status ? command_failed("invoice", &error) : EXIT_DONE;
}
