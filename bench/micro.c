#include "bench/micro.h"

#include "base/assert.h"
#include "base/json.h"
#include "base/option.h"
#include "bench/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct micro_settings {
    struct micro_options options;
    const char *format_text;
};

#define OFFSET(member) offsetof(struct micro_settings, member)
#define INTEGER(option, member, fallback_text, low, high, text)                                    \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = OFFSET(options.member),                    \
        .fallback = (fallback_text), .min = (low), .max = (high), .value_name = "N",               \
        .help = (text)                                                                             \
    }

static const struct option_row ROWS[] = {
    INTEGER("subjects", subjects, "1000000", 1, 100000000, "usage, writer: subjects"),
    INTEGER("cells", cells, "10000000", 1, 1000000000, "usage: quarter-hour cells of the month"),
    INTEGER("identities", identities, "20000000", 1, INT64_C(1) << 32, "dedup: identities"),
    INTEGER("events", events, "3000000", 1, INT64_C(1) << 32, "writer, limits: events"),
    INTEGER("questions", questions, "1000", 1, 1000000, "about one subject; 100 identities each"),
    INTEGER("prices", prices, "2000000", 1000, 1000000000, "price: prices of each model"),
    INTEGER("connections", connections, "10000", 1, 60000, "idle: connections that say nothing"),
    INTEGER("seconds", seconds, "10", 1, 3600, "idle, pauses: of each look"),
    INTEGER("runs", runs, "5", 1, 1000, "runs of what takes long; the median is told"),
    INTEGER("seed", seed, "1", 0, INT64_MAX, "of the made data"),
    {.name = "dir",
                                                           .type = OPTION_TEXT,
                                                           .offset = OFFSET(options.dir),
                                                           .env = "TMPDIR",
                                                           .fallback = "/var/tmp",
                                                           .value_name = "DIR",
                                                           .help = "where the made data is kept"},
    {.name = "format",
                                                           .type = OPTION_TEXT,
                                                           .offset = OFFSET(format_text),
                                                           .fallback = "table",
                                                           .value_name = "table|json",
                                                           .help = "form of the result"},
    {.name = NULL       },
};

static const struct part {
    const char *name;
    enum status (*run)(const struct micro_options *, struct micro_figures *, struct error *);
} PARTS[] = {
    {"usage",  micro_usage },
    {"dedup",  micro_dedup },
    {"writer", micro_writer},
    {"quota",  micro_quota },
    {"price",  micro_price },
    {"limits", micro_limits},
    {"idle",   micro_idle  },
    {"pauses", micro_pauses},
};

static const struct option_spec SPEC = {
    .program = "tally-bench micro",
    .summary = "measures single parts of tally by themselves",
    .usage = "[options] [PART...]",
    .details =
        "Parts (all when none is named):\n"
        "  usage   a month of events in a ledger, and questions about it: one subject's month by\n"
        "          day, all subjects' totals of the closed month, all subjects from day cells\n"
        "  dedup   identities put into one shard and looked up, in memory and on disk\n"
        "  quota   how much of a threshold is used: asked of tallyd, idle and under load\n"
        "  writer  events of --subjects through a front and a shard's writer, each step by itself\n"
        "  price   prices of four models, exact and rounded, as a run makes them\n"
        "  limits  loopback receive, counting in memory, LMDB append, the disk: no ingest is "
        "faster;\n"
        "          and memory touched for the first time\n"
        "  idle    CPU and wakeups of a tallyd that nobody sends to, alone and with --connections\n"
        "  pauses  for how much of --seconds the machine itself (its host, or the kernel) keeps a\n"
        "          real-time thread from a processor for more than 1 ms: whether to measure now\n"
        "Exit status: 0 success, 1 failure or wrong answer, 2 wrong options.\n",
    .rows = ROWS,
    .positional_max = sizeof PARTS / sizeof PARTS[0],
};

void
micro_add(
    struct micro_figures *figures, const char *name, double value, int decimals, const char *unit)
{
    must(figures->count < MICRO_FIGURES_MAX);
    figures->list[figures->count++] =
        (struct micro_figure){.name = name, .value = value, .decimals = decimals, .unit = unit};
}

static int
value_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double
micro_median(double *values, int64_t count)
{
    must(count > 0);
    qsort(values, (size_t)count, sizeof *values, value_compare);
    return values[(count - 1) / 2];
}

enum { FIGURE_TEXT_MAX = 64 };

static const char *
figure_text(const struct micro_figure *figure, const char *unknown, char out[FIGURE_TEXT_MAX])
{
    if (isnan(figure->value))
        return unknown;
    (void)snprintf(out, FIGURE_TEXT_MAX, "%.*f", figure->decimals, figure->value);
    return out;
}

static void
figures_json(const struct micro_figures *figures, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    for (uint32_t i = 0; i < figures->count; i++) {
        const struct micro_figure *figure = &figures->list[i];
        char text[FIGURE_TEXT_MAX];
        json_key(&json, figure->name);
        json_raw(&json, figure_text(figure, "null", text));
    }
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static void
figures_table(const struct micro_figures *figures, struct buffer *out)
{
    for (uint32_t i = 0; i < figures->count; i++) {
        const struct micro_figure *figure = &figures->list[i];
        char text[FIGURE_TEXT_MAX];
        const char *value = figure_text(figure, "unknown", text);
        buffer_format(out, "  %-34s %14s %s\n", figure->name, value, figure->unit);
    }
}

static const struct part *
part_find(const char *name)
{
    for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++)
        if (strcmp(PARTS[i].name, name) == 0)
            return &PARTS[i];
    return NULL;
}

static enum status
parts_run(
    const struct micro_settings *settings,
    const struct option_texts_rest *names,
    struct micro_figures *figures,
    struct error *error)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < names->count; i++)
        status = part_find(names->items[i])->run(&settings->options, figures, error);
    for (size_t i = 0; names->count == 0 && status == STATUS_OK; i++) {
        if (i == sizeof PARTS / sizeof PARTS[0])
            break;
        status = PARTS[i].run(&settings->options, figures, error);
    }
    return status;
}

static int
usage_error(const char *text, const char *name)
{
    fprintf(stderr, "tally-bench micro: %s%s (try --help)\n", text, name);
    return EXIT_USAGE;
}

int
micro_main(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    scoped(buffer_done) struct buffer text = {0};
    struct option_texts_rest rest;
    struct micro_settings settings = {0};
    struct micro_figures figures = {0};
    struct error error;
    enum report_format format;
    switch (options_read(&SPEC, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_RUN: break;
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return usage_error(error.text, "");
    }
    if (!report_format_parse(settings.format_text, &format))
        return usage_error("--format is table or json", "");
    for (size_t i = 0; i < rest.count; i++)
        if (part_find(rest.items[i]) == NULL)
            return usage_error("there is no part ", rest.items[i]);
    if (parts_run(&settings, &rest, &figures, &error) != STATUS_OK) {
        fprintf(stderr, "tally-bench micro: %s\n", error.text);
        return EXIT_FAILED;
    }
    if (format == REPORT_JSON)
        figures_json(&figures, &text);
    else
        figures_table(&figures, &text);
    bool is_written = !buffer_failed(&text) && fwrite(text.data, 1, text.size, stdout) == text.size;
    return is_written ? EXIT_OK : EXIT_FAILED;
}
