#include "bench/plan.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/option.h"
#include "bench/plan_measure.h"
#include "bench/report.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, PROFILE_SIZE_MAX = 65536 };

static const double DAY_S = 86400;

struct plan_settings {
    bool is_measured;
    const char *profile;
    int64_t seconds;
    int64_t prefill;
    int64_t rate;
    int64_t event_size;
    int64_t subjects;
    int64_t window_days;
    int64_t identities;
    int64_t events;
    int64_t unlike;
    int64_t use;
    const char *dir;
    const char *format_text;
    enum report_format format;
};

#define OFFSET(member) offsetof(struct plan_settings, member)
#define INTEGER(option, member, fallback_text, low, high, value, text)                             \
    {                                                                                              \
        .name = (option), .type = OPTION_INT, .offset = OFFSET(member),                            \
        .fallback = (fallback_text), .min = (low), .max = (high), .value_name = (value),           \
        .help = (text)                                                                             \
    }
#define TEXT(option, member, variable, fallback_text, value, text)                                 \
    {                                                                                              \
        .name = (option), .type = OPTION_TEXT, .offset = OFFSET(member), .env = (variable),        \
        .fallback = (fallback_text), .value_name = (value), .help = (text)                         \
    }

static const struct option_row ROWS[] = {
    {.name = "measure",
     .type = OPTION_FLAG,
     .offset = OFFSET(is_measured),
     .help = "measure this machine first, and write the profile"},
    TEXT("profile", profile, NULL, "tally-profile.json", "FILE", "what was measured"),
    INTEGER("seconds", seconds, "5", 1, 3600, "S", "of each of the six runs of --measure"),
    INTEGER("prefill", prefill, "20000000", 1, INT64_C(1) << 32, "N", "identities of one of them"),
    INTEGER("rate", rate, "0", 0, INT64_C(1) << 40, "R", "events/s to plan for"),
    INTEGER("event-size", event_size, "110", 110, 65536, "BYTES", "an event's bytes of msgpack"),
    INTEGER("subjects", subjects, "10000", 1, INT64_C(1) << 40, "N", "subjects"),
    INTEGER("window-days", window_days, "36", 1, 3650, "W", "days that duplicates are known"),
    INTEGER("identities", identities, "-1", -1, INT64_C(1) << 50, "N", "in the window instead"),
    INTEGER(
        "events", events, "0", 0, INT64_C(1) << 50, "N", "of one start; 0: as long as it takes"),
    INTEGER(
        "unlike", unlike, "0", 0, 65536, "BYTES", "of an event that no other one has, but its id"),
    INTEGER("use", use, "70", 1, 100, "PERCENT", "of a node that may be used"),
    TEXT("dir", dir, "TMPDIR", "/var/tmp", "DIR", "where --measure keeps data"),
    TEXT("format", format_text, NULL, "table", "table|json", "form of the result"),
    {.name = NULL},
};

static const struct option_spec SPEC = {
    .program = "tally-bench plan",
    .summary = "cores, memory, disk and nodes for a load, from runs measured on this machine",
    .usage = "[options]",
    .details = "First `tally-bench plan --measure` on a quiet machine, then as often as needed\n"
               "`tally-bench plan --rate 500000 --event-size 300 --subjects 2000000`.\n"
               "Exit status: 0 success, 1 failure, 2 wrong options.\n",
    .rows = ROWS,
};

// --- the profile ---

static enum status
profile_write(const char *path, const struct plan_profile *profile, struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    plan_profile_print(profile, &text);
    if (buffer_failed(&text))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a profile");
    FILE *file = fopen(path, "we");
    if (file == NULL)
        return error_set_errno(error, "cannot write %s", path);
    bool is_written = fwrite(text.data, 1, text.size, file) == text.size;
    if (fclose(file) != 0 || !is_written)
        return error_set_errno(error, "cannot write %s", path);
    return STATUS_OK;
}

static enum status
profile_read(const char *path, struct plan_profile *out, struct error *error)
{
    char text[PROFILE_SIZE_MAX];
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT)
        return error_set(
            error, STATUS_NOT_FOUND, "there is no %s: run `tally-bench plan --measure`", path);
    if (file == NULL)
        return error_set_errno(error, "cannot read %s", path);
    size_t size = fread(text, 1, sizeof text, file);
    (void)fclose(file);
    enum status status = plan_profile_read(bytes_of(text, size), out, error);
    if (status == STATUS_OK)
        return STATUS_OK;
    struct error cause = *error;
    return error_set(error, status, "%s: %s", path, cause.text);
}

// --- the answer ---

static struct plan_need
need_of(const struct plan_settings *settings)
{
    double window = (double)settings->rate * DAY_S * (double)settings->window_days;
    return (struct plan_need){
        .rate = (double)settings->rate,
        .event_size = (double)settings->event_size,
        .subjects = (double)settings->subjects,
        .identities = settings->identities >= 0 ? (double)settings->identities : window,
        .events = settings->events > 0 ? (double)settings->events : (double)INFINITY,
        .unlike_size = (double)settings->unlike,
        .use = (double)settings->use / 100,
    };
}

static void
answer_json(const struct plan_need *need, const struct plan_answer *answer, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    report_json_real(&json, "rate", need->rate, 0);
    report_json_real(&json, "identities", need->identities, 0);
    report_json_real(&json, "cpu_ns_per_event", answer->event_ns, 1);
    report_json_real(&json, "cpu", answer->cpu, 3);
    report_json_real(&json, "cores", answer->cores, 3);
    report_json_real(&json, "memory_bytes", answer->memory_bytes, 0);
    report_json_real(&json, "disk_bytes_per_event", answer->event_disk, 1);
    report_json_real(&json, "disk_bytes_per_day", answer->day_bytes, 0);
    report_json_real(&json, "window_bytes", answer->window_bytes, 0);
    report_json_real(&json, "node_rate", answer->node_rate, 0);
    report_json_real(&json, "nodes", answer->nodes, 0);
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static void
cores_print(
    const struct plan_model *model,
    const struct plan_need *need,
    const struct plan_answer *answer,
    struct buffer *out)
{
    buffer_format(
        out,
        "cores        %8.2f  = %.2f of CPU / %.0f %% use\n"
        "  CPU                 = %.0f events/s x %.0f ns\n"
        "  an event   %8.0f  = %.0f ns (%.0f at %.0f/s, %.0f at %.0f/s, %.0f at %.0f/s)\n"
        "                        + %.3f ns x %.0f bytes beyond %d\n"
        "                        + %.0f ns a decade of subjects beyond 10,000\n"
        "                        + %.0f ns a decade of identities beyond a million\n",
        answer->cores,
        answer->cpu,
        need->use * 100,
        need->rate,
        answer->event_ns,
        answer->event_ns,
        answer->base_ns,
        model->event_ns[0],
        model->rates[0],
        model->event_ns[1],
        model->rates[1],
        model->event_ns[2],
        model->rates[2],
        model->byte_ns,
        need->event_size - PLAN_SIZE_LEAST,
        PLAN_SIZE_LEAST,
        model->subjects_ns,
        model->window_ns);
}

static void
space_print(
    const struct plan_model *model,
    const struct plan_need *need,
    const struct plan_answer *answer,
    struct buffer *out)
{
    static const double mib = 1 << 20, gb = 1e9;
    buffer_format(
        out,
        "memory       %8.0f MiB, without file pages\n"
        "                      = %.0f MiB + %.0f of identities in memory + %.0f of subjects\n"
        "                        (%.0f bytes each beyond 10,000) + %.0f of filters\n"
        "disk a day   %8.1f GB = %.0f events x %.1f bytes; what repeats is stored once a block,\n"
        "                        so add --unlike BYTES for what no two events share\n"
        "the window   %8.1f GB = %.3g identities x %.1f bytes, once it is full\n",
        answer->memory_bytes / mib,
        model->base_bytes / mib,
        answer->identities_memory / mib,
        answer->subjects_memory / mib,
        model->subject_memory,
        answer->filters_memory / mib,
        answer->day_bytes / gb,
        need->rate * DAY_S,
        answer->event_disk,
        answer->window_bytes / gb,
        need->identities,
        model->identity_disk);
}

static void
answer_print(
    const struct plan_profile *profile,
    const struct plan_model *model,
    const struct plan_need *need,
    const struct plan_answer *answer,
    struct buffer *out)
{
    buffer_format(
        out,
        "%.0f events/s of %.0f bytes, %.0f subjects, %.3g identities in the window,\n"
        "by what was measured on %s\n\n",
        need->rate,
        need->event_size,
        need->subjects,
        need->identities,
        profile->machine);
    cores_print(model, need, answer, out);
    space_print(model, need, answer, out);
    buffer_format(
        out,
        "nodes        %8.0f  = %.0f events/s / (%.0f events/s a node x %.0f %% use)\n"
        "  a node              = %.0f events/s in the closed loop, its load generator beside it,\n"
        "                        x %.0f ns / %.0f ns an event at that rate\n",
        answer->nodes,
        need->rate,
        answer->node_rate,
        need->use * 100,
        model->rate_max,
        model->event_ns[PLAN_RATES - 1],
        model->event_ns[PLAN_RATES - 1] * model->rate_max / answer->node_rate);
}

static int
plan_answer_give(const struct plan_settings *settings, const struct plan_profile *profile)
{
    scoped(buffer_done) struct buffer text = {0};
    struct plan_model model;
    struct plan_answer answer;
    const struct plan_need need = need_of(settings);
    plan_model_fit(profile, &model);
    plan_predict(&model, &need, &answer);
    if (settings->format == REPORT_JSON)
        answer_json(&need, &answer, &text);
    else
        answer_print(profile, &model, &need, &answer, &text);
    bool is_written = !buffer_failed(&text) && fwrite(text.data, 1, text.size, stdout) == text.size;
    return is_written ? EXIT_OK : EXIT_FAILED;
}

static int
plan_run(const struct plan_settings *settings)
{
    struct plan_profile profile;
    struct error error;
    enum status status;
    if (settings->is_measured) {
        const struct plan_measure_options options = {
            .dir = settings->dir, .seconds = settings->seconds, .identities = settings->prefill};
        status = plan_measure(&options, &profile, &error);
        if (status == STATUS_OK)
            status = profile_write(settings->profile, &profile, &error);
    } else {
        status = profile_read(settings->profile, &profile, &error);
    }
    if (status != STATUS_OK) {
        fprintf(stderr, "tally-bench plan: %s\n", error.text);
        return EXIT_FAILED;
    }
    return settings->rate > 0 ? plan_answer_give(settings, &profile) : EXIT_OK;
}

static int
usage_error(const char *text)
{
    fprintf(stderr, "tally-bench plan: %s (try --help)\n", text);
    return EXIT_USAGE;
}

int
plan_main(int argc, char **argv)
{
    scoped(arena_done) struct arena arena = {0};
    struct option_texts_rest rest;
    struct plan_settings settings = {0};
    struct error error;
    switch (options_read(&SPEC, argc, argv, &settings, &arena, &rest, &error)) {
    case OPTION_RUN: break;
    case OPTION_EXIT: return EXIT_OK;
    case OPTION_ERROR: return usage_error(error.text);
    }
    if (!report_format_parse(settings.format_text, &settings.format))
        return usage_error("--format is table or json");
    if (settings.rate == 0 && !settings.is_measured)
        return usage_error("say --rate, or --measure");
    return plan_run(&settings);
}
