#include "billing/command.h"
#include "billing/explain.h"
#include "billing/run_print.h"
#include "billing/store.h"

#include <stdio.h>

struct settings {
    const char *data;
    const char *format;
};

static const struct option_row rows[] = {
    COMMAND_DATA_ROW(struct settings),
    COMMAND_FORMAT_ROW(struct settings),
    {0},
};

static const struct option_spec spec = {
    .program = "tally-billing explain",
    .summary = "Computes an invoice again from its recorded input, and says how it came about.",
    .usage = "[options] INVOICE",
    .details = "INVOICE is an id or a number. Exit: 0 it matches, 1 it does not, 2 usage.",
    .rows = rows,
    .positional_min = 1,
    .positional_max = 1,
};

static void
explanation_print(
    const struct explanation *explanation, enum output_format format, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    if (format == OUTPUT_JSON) {
        struct json_out out = json_out_to(&text);
        explain_json(explanation, arena, &out);
        buffer_text(&text, "\n");
    } else {
        explain_text(explanation, arena, &text);
    }
    fwrite(text.data, 1, text.size, stdout);
}

static int
explain_and_print(
    const struct settings *settings,
    enum output_format format,
    const char *name,
    struct arena *arena)
{
    scoped(sql_done) struct sql *sql = NULL;
    struct invoice invoice;
    struct explanation explanation = {0};
    struct error error;
    enum status status = command_sql(settings->data, arena, &sql, &error);
    if (status == STATUS_OK)
        status = store_invoice_find(sql, name, arena, &invoice, &error);
    if (status)
        return command_failed("explain", &error);
    status = explain(&invoice, arena, &explanation, &error);
    if (explanation.computed.currency != NULL)
        explanation_print(&explanation, format, arena);
    if (status == STATUS_OK)
        return EXIT_DONE;
    fflush(stdout);
    fprintf(stderr, "tally-billing explain: %s does not match its input: %s\n", name, error.text);
    return EXIT_FAILED;
}

int
command_explain(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct settings settings = {0};
    struct option_texts_rest rest = {0};
    enum output_format format = OUTPUT_TABLE;
    struct error error;
    switch (options_read(&spec, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_EXIT: return EXIT_DONE;
    case OPTION_ERROR: return command_usage_error("explain", &error);
    case OPTION_RUN: break;
    }
    if (!output_format_parse(settings.format, &format)) {
        error_set(&error, STATUS_INVALID, "--format %s: expected table or json", settings.format);
        return command_usage_error("explain", &error);
    }
    return explain_and_print(&settings, format, rest.items[0], &arena);
}
