#include "bench/plan_measure.h"

#include "base/assert.h"
#include "base/json.h"
#include "bench/program.h"
#include "bench/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { TEXT_MAX = 64, LARGE_SIZE = 500, MANY_SUBJECTS = 1000000, SUBJECTS = 10000 };

// One run's conditions. rate_part: of the closed loop's rate; 0: the closed loop itself.
struct conditions {
    double rate_part;
    int64_t event_size;
    int64_t subjects;
    bool has_window;
};

static const struct conditions CONDITIONS[PLAN_ROLES] = {
    [PLAN_FULL] = {0,       PLAN_SIZE_LEAST, SUBJECTS,      false},
    [PLAN_LOW] = {1.0 / 7, PLAN_SIZE_LEAST, SUBJECTS,      false},
    [PLAN_MIDDLE] = {1.0 / 2, PLAN_SIZE_LEAST, SUBJECTS,      false},
    [PLAN_LARGE] = {1.0 / 3, LARGE_SIZE,      SUBJECTS,      false},
    [PLAN_MANY] = {1.0 / 3, PLAN_SIZE_LEAST, MANY_SUBJECTS, false},
    [PLAN_WINDOW] = {1.0 / 3, PLAN_SIZE_LEAST, SUBJECTS,      true },
};

static enum status
load_run(
    const struct plan_measure_options *options,
    const struct conditions *conditions,
    double rate,
    struct buffer *out,
    struct error *error)
{
    char program[PATH_MAX], dir[PATH_MAX + 8], command[] = "load", format[] = "--format=json";
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {
        {"seconds",    options->seconds                                },
        {"rate",       (int64_t)(rate * conditions->rate_part)         },
        {"event-size", conditions->event_size                          },
        {"subjects",   conditions->subjects                            },
        {"prefill",    conditions->has_window ? options->identities : 0},
    };
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    char texts[NUMBERS][TEXT_MAX];
    char *argv[NUMBERS + 5] = {program, command, format, dir};
    int exit_status = 0;
    enum status status = program_beside("tally-bench", program, error);
    if (status != STATUS_OK)
        return status;
    (void)snprintf(dir, sizeof dir, "--dir=%s", options->dir);
    for (size_t i = 0; i < NUMBERS; i++) {
        (void)snprintf(texts[i], TEXT_MAX, "--%s=%" PRId64, numbers[i].name, numbers[i].value);
        argv[4 + i] = texts[i];
    }
    status = program_output(argv, out, &exit_status, error);
    if (status == STATUS_OK && exit_status != 0)
        status = error_set(error, STATUS_IO, "`tally-bench load` ended with %d", exit_status);
    return status;
}

static enum status
run_measure(
    const struct plan_measure_options *options,
    const struct conditions *conditions,
    double rate,
    struct plan_run *out,
    struct error *error)
{
    scoped(buffer_done) struct buffer text = {0};
    scoped(arena_done) struct arena arena = {0};
    struct json *root;
    enum status status = load_run(options, conditions, rate, &text, error);
    if (status == STATUS_OK)
        status = json_parse(buffer_view(&text), &(struct json_limits){0}, &arena, &root, error);
    if (status != STATUS_OK)
        return status;
    double before = report_member(root, "server_disk_bytes_before");
    *out = (struct plan_run){
        .event_size = (double)conditions->event_size,
        .subjects = (double)conditions->subjects,
        .identities = conditions->has_window ? (double)options->identities : 0,
        .events = report_member(root, "events_acked"),
        .seconds = report_member(root, "seconds"),
        .cpu_seconds = report_member(root, "server_cpu_seconds"),
        .memory_bytes = report_member(root, "server_anon_bytes"),
        .disk_bytes = report_member(root, "server_disk_bytes") - before,
        .identities_bytes = conditions->has_window ? before : 0,
    };
    if (out->events <= 0 || out->seconds <= 0)
        return error_set(error, STATUS_INVALID, "a run without events: give it more seconds");
    return STATUS_OK;
}

enum status
plan_measure(
    const struct plan_measure_options *options, struct plan_profile *out, struct error *error)
{
    struct utsname system;
    double rate = 0;
    enum status status = STATUS_OK;
    *out = (struct plan_profile){.cpus = (double)sysconf(_SC_NPROCESSORS_ONLN)};
    if (uname(&system) != 0)
        return error_set_errno(error, "cannot tell what machine this is");
    (void)snprintf(
        out->machine,
        sizeof out->machine,
        "%.60s %.60s, %.0f CPUs",
        system.sysname,
        system.release,
        out->cpus);
    for (enum plan_role role = 0; role < PLAN_ROLES && status == STATUS_OK; role++) {
        fprintf(stderr, "tally-bench plan: measuring %s\n", plan_role_name(role));
        status = run_measure(options, &CONDITIONS[role], rate, &out->runs[role], error);
        if (role == PLAN_FULL && status == STATUS_OK)
            rate = out->runs[role].events / out->runs[role].seconds;
    }
    return status;
}
