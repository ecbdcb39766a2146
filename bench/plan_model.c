#include "bench/plan_model.h"

#include "base/assert.h"
#include "base/json.h"
#include "bench/report.h"

#include <math.h>

// Of the ledger: identities in memory (ledger/shard.h), bytes of filter for each of the others at
// most (ledger/generations.h), and what filters may take by default (ledger/ledger.h).
static const double HOT_MAX = 4 << 20, FILTER_EACH = 2, FILTERS_MAX = 2147483648.0;
static const double SUBJECTS_LEAST = 10000, IDENTITIES_LEAST = 1e6, DAY_S = 86400;

const char *
plan_role_name(enum plan_role role)
{
    static const char *const names[PLAN_ROLES] = {
        [PLAN_FULL] = "full",
        [PLAN_LOW] = "low",
        [PLAN_MIDDLE] = "middle",
        [PLAN_LARGE] = "large_events",
        [PLAN_MANY] = "many_subjects",
        [PLAN_WINDOW] = "window",
    };
    must(role < PLAN_ROLES);
    return names[role];
}

// --- the profile as text ---

static const struct member {
    const char *name;
    size_t offset;
    bool may_be_zero;
} MEMBERS[] = {
    {"event_size",       offsetof(struct plan_run, event_size),       false},
    {"subjects",         offsetof(struct plan_run, subjects),         false},
    {"identities",       offsetof(struct plan_run, identities),       true },
    {"events",           offsetof(struct plan_run, events),           false},
    {"seconds",          offsetof(struct plan_run, seconds),          false},
    {"cpu_seconds",      offsetof(struct plan_run, cpu_seconds),      false},
    {"memory_bytes",     offsetof(struct plan_run, memory_bytes),     false},
    {"disk_bytes",       offsetof(struct plan_run, disk_bytes),       false},
    {"identities_bytes", offsetof(struct plan_run, identities_bytes), true },
};

enum { MEMBERS_COUNT = sizeof MEMBERS / sizeof MEMBERS[0] };

static double
member_get(const struct plan_run *run, const struct member *member)
{
    double value;
    memcpy(&value, (const char *)run + member->offset, sizeof value);
    return value;
}

static void
member_set(struct plan_run *run, const struct member *member, double value)
{
    memcpy((char *)run + member->offset, &value, sizeof value);
}

void
plan_profile_print(const struct plan_profile *profile, struct buffer *out)
{
    struct json_out json = json_out_to(out);
    json_begin(&json, '{');
    json_key(&json, "machine");
    json_text(&json, profile->machine);
    report_json_real(&json, "cpus", profile->cpus, 0);
    for (enum plan_role role = 0; role < PLAN_ROLES; role++) {
        json_key(&json, plan_role_name(role));
        json_begin(&json, '{');
        for (size_t i = 0; i < MEMBERS_COUNT; i++)
            report_json_real(
                &json, MEMBERS[i].name, member_get(&profile->runs[role], &MEMBERS[i]), 3);
        json_end(&json, '}');
    }
    json_end(&json, '}');
    buffer_text(out, "\n");
}

static enum status
run_read(const struct json *root, enum plan_role role, struct plan_run *out, struct error *error)
{
    const struct json *object = json_member(root, plan_role_name(role));
    for (size_t i = 0; i < MEMBERS_COUNT; i++) {
        double value = object != NULL ? report_member(object, MEMBERS[i].name) : 0;
        if (!(value > 0 || (MEMBERS[i].may_be_zero && value >= 0)))
            return error_set(
                error,
                STATUS_INVALID,
                "the profile lacks %s of %s: measure it again",
                MEMBERS[i].name,
                plan_role_name(role));
        member_set(out, &MEMBERS[i], value);
    }
    return STATUS_OK;
}

// Without that an event's cost is not known by the rate.
static bool
rates_rise(const struct plan_run *runs)
{
    const struct plan_run *low = &runs[PLAN_LOW], *middle = &runs[PLAN_MIDDLE];
    const struct plan_run *full = &runs[PLAN_FULL];
    return low->events / low->seconds < middle->events / middle->seconds &&
           middle->events / middle->seconds < full->events / full->seconds;
}

enum status
plan_profile_read(struct bytes text, struct plan_profile *out, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    struct json *root;
    *out = (struct plan_profile){0};
    enum status status = json_parse(text, &(struct json_limits){0}, &arena, &root, error);
    if (status != STATUS_OK)
        return status;
    const struct json *machine = json_member(root, "machine");
    if (machine != NULL && machine->type == JSON_STRING)
        (void)bytes_to_text(machine->text, out->machine, sizeof out->machine);
    out->cpus = report_member(root, "cpus");
    for (enum plan_role role = 0; role < PLAN_ROLES && status == STATUS_OK; role++)
        status = run_read(root, role, &out->runs[role], error);
    if (status == STATUS_OK && !(out->cpus >= 1))
        status = error_set(error, STATUS_INVALID, "the profile lacks the number of CPUs");
    if (status == STATUS_OK && !rates_rise(out->runs))
        status = error_set(error, STATUS_INVALID, "the profile's rates do not rise: measure again");
    if (status == STATUS_OK && out->runs[PLAN_WINDOW].identities < 1)
        status = error_set(error, STATUS_INVALID, "the profile's window is empty");
    return status;
}

// --- the model ---

static double
decades(double value, double least)
{
    return value > least ? log10(value / least) : 0;
}

static double
at_least_zero(double value)
{
    return value > 0 ? value : 0;
}

// How many of so many subjects had any of so many events.
static double
subjects_seen(double subjects, double events)
{
    return subjects * -expm1(-events / subjects);
}

static double
hot_of(double events)
{
    return events < HOT_MAX ? events : HOT_MAX;
}

static double
subjects_more(double subjects, double events)
{
    return at_least_zero(subjects_seen(subjects, events) - SUBJECTS_LEAST);
}

static double
rate_of(const struct plan_run *run)
{
    return run->events / run->seconds;
}

static double
event_ns_of(const struct plan_run *run)
{
    return run->cpu_seconds * 1e9 / run->events;
}

static double
event_ns_at(const struct plan_model *model, double rate)
{
    const double *rates = model->rates, *costs = model->event_ns;
    if (rate <= rates[0])
        return costs[0] * rates[0] / rate;
    for (size_t i = 1; i < PLAN_RATES; i++)
        if (rate <= rates[i])
            return costs[i - 1] + (costs[i] - costs[i - 1]) * log(rate / rates[i - 1]) /
                                      log(rates[i] / rates[i - 1]);
    return costs[PLAN_RATES - 1];
}

// What an event of that run cost beyond one of the same rate, for each of so many units.
static double
beyond_fit(const struct plan_model *model, const struct plan_run *run, double units)
{
    double beyond = event_ns_of(run) - event_ns_at(model, rate_of(run));
    return units > 0 ? at_least_zero(beyond) / units : 0;
}

static void
cpu_fit(const struct plan_run *runs, struct plan_model *out)
{
    static const enum plan_role roles[PLAN_RATES] = {PLAN_LOW, PLAN_MIDDLE, PLAN_FULL};
    const struct plan_run *large = &runs[PLAN_LARGE], *many = &runs[PLAN_MANY];
    const struct plan_run *window = &runs[PLAN_WINDOW];
    for (size_t i = 0; i < PLAN_RATES; i++) {
        out->rates[i] = rate_of(&runs[roles[i]]);
        out->event_ns[i] = event_ns_of(&runs[roles[i]]);
    }
    out->byte_ns = beyond_fit(out, large, large->event_size - PLAN_SIZE_LEAST);
    out->subjects_ns = beyond_fit(out, many, decades(many->subjects, SUBJECTS_LEAST));
    out->window_ns = beyond_fit(out, window, decades(window->identities, IDENTITIES_LEAST));
}

static void
memory_fit(const struct plan_run *runs, struct plan_model *out)
{
    const struct plan_run *low = &runs[PLAN_LOW], *full = &runs[PLAN_FULL];
    const struct plan_run *many = &runs[PLAN_MANY];
    double more = hot_of(full->events) - hot_of(low->events);
    if (more > 0)
        out->identity_memory = at_least_zero(full->memory_bytes - low->memory_bytes) / more;
    out->base_bytes = at_least_zero(low->memory_bytes - out->identity_memory * hot_of(low->events));
    double rest = out->base_bytes + out->identity_memory * hot_of(many->events);
    more = subjects_more(many->subjects, many->events);
    if (more > 0)
        out->subject_memory = at_least_zero(many->memory_bytes - rest) / more;
}

void
plan_model_fit(const struct plan_profile *profile, struct plan_model *out)
{
    const struct plan_run *runs = profile->runs;
    const struct plan_run *full = &runs[PLAN_FULL], *middle = &runs[PLAN_MIDDLE];
    *out = (struct plan_model){
        .cpus = profile->cpus,
        .rate_max = rate_of(full),
        .identity_disk = runs[PLAN_WINDOW].identities_bytes / runs[PLAN_WINDOW].identities,
    };
    cpu_fit(runs, out);
    memory_fit(runs, out);
    // Whole tables that went to disk in the run are no log.
    double sealed = floor(middle->events / HOT_MAX) * HOT_MAX;
    out->event_disk =
        at_least_zero(middle->disk_bytes - sealed * out->identity_disk) / middle->events;
}

void
plan_predict(const struct plan_model *model, const struct plan_need *need, struct plan_answer *out)
{
    must(need->rate > 0 && need->use > 0 && need->subjects >= 1);
    double filters = need->identities * FILTER_EACH;
    double beyond_ns = model->byte_ns * at_least_zero(need->event_size - PLAN_SIZE_LEAST) +
                       model->subjects_ns * decades(need->subjects, SUBJECTS_LEAST) +
                       model->window_ns * decades(need->identities, IDENTITIES_LEAST);
    double full_ns = model->event_ns[PLAN_RATES - 1];
    *out = (struct plan_answer){
        .base_ns = event_ns_at(model, need->rate),
        .identities_memory = model->identity_memory * hot_of(need->events),
        .subjects_memory = model->subject_memory * subjects_more(need->subjects, need->events),
        .filters_memory = filters < FILTERS_MAX ? filters : FILTERS_MAX,
        .event_disk = model->event_disk + need->unlike_size,
        .window_bytes = need->identities * model->identity_disk,
    };
    out->event_ns = out->base_ns + beyond_ns;
    out->cpu = need->rate * out->event_ns / 1e9;
    out->cores = out->cpu / need->use;
    out->memory_bytes =
        model->base_bytes + out->identities_memory + out->subjects_memory + out->filters_memory;
    out->day_bytes = need->rate * DAY_S * out->event_disk;
    out->node_rate = model->rate_max * full_ns / (full_ns + beyond_ns);
    out->nodes = ceil(need->rate / (out->node_rate * need->use));
}
