// A profile that a known model made gives that model back, and predictions follow its arithmetic.
#include "bench/plan_model.h"

#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

// 1 M/s at 500 ns, 100 k/s at 2,000 ns, 500 k/s at 1,000 ns; the others are of 500 k/s, so what
// they cost beyond 1,000 ns is the unknown.
static const struct plan_profile PROFILE = {
    .machine = "a made one",
    .cpus = 2,
    .runs =
        {
               [PLAN_FULL] = {110, 10000, 0, 4e6, 4, 2, 300e6, 100e6, 0},
               [PLAN_LOW] = {110, 10000, 0, 4e5, 4, 0.8, 120e6, 10e6, 0},
               [PLAN_MIDDLE] = {110, 10000, 0, 2e6, 4, 2, 200e6, 50e6, 0},
               [PLAN_LARGE] = {310, 10000, 0, 2e6, 4, 2.8, 200e6, 50e6, 0},
               [PLAN_MANY] = {110, 1000000, 0, 2e6, 4, 3.2, 600e6, 50e6, 0},
               [PLAN_WINDOW] = {110, 10000, 1e7, 2e6, 4, 2.2, 200e6, 50e6, 160e6},
               },
};

static struct plan_need
need_made(void)
{
    return (struct plan_need){
        .rate = 5e5,
        .event_size = 110,
        .subjects = 10000,
        .events = (double)INFINITY,
        .use = 0.5,
    };
}

static void
near(double found, double expected)
{
    double room = 1e-6 * fabs(expected) + 1e-9;
    cr_assert_lt(fabs(found - expected), room, "%.9g instead of %.9g", found, expected);
}

static struct plan_answer
predict(const struct plan_need *need)
{
    struct plan_model model;
    struct plan_answer answer;
    plan_model_fit(&PROFILE, &model);
    plan_predict(&model, need, &answer);
    return answer;
}

Test(plan_model, finds_what_made_the_profile)
{
    struct plan_model model;
    plan_model_fit(&PROFILE, &model);
    near(model.rate_max, 1e6);
    near(model.byte_ns, 400.0 / 200);
    near(model.subjects_ns, 600.0 / 2);
    near(model.window_ns, 100);
    near(model.identity_memory, 180e6 / 3.6e6);
    near(model.base_bytes, 120e6 - 4e5 * 50);
    near(model.event_disk, 25);
    near(model.identity_disk, 16);
}

Test(plan_model, says_of_a_measured_load_what_was_measured)
{
    struct plan_need need = need_made();
    struct plan_answer answer = predict(&need);
    near(answer.event_ns, 1000);
    near(answer.cpu, 0.5);
    near(answer.cores, 1);
    near(answer.node_rate, 1e6);
    near(answer.nodes, 1);
    near(answer.day_bytes, 5e5 * 86400 * 25);
    near(answer.memory_bytes, 100e6 + 50.0 * (4 << 20));
}

Test(plan_model, follows_the_rate)
{
    static const struct {
        double rate, event_ns, nodes;
    } rows[] = {
        {1e5,              2000,  1},
        {1e4,              20000, 1}, // a second costs as much as at the lowest rate
        {223606.797749979, 1500,  1}, // half way on the logarithm
        {1e6,              500,   2},
        {3e6,              500,   6},
        {3.1e6,            500,   7},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct plan_need need = need_made();
        need.rate = rows[i].rate;
        struct plan_answer answer = predict(&need);
        near(answer.event_ns, rows[i].event_ns);
        near(answer.nodes, rows[i].nodes);
    }
}

Test(plan_model, adds_what_size_subjects_and_window_cost)
{
    struct plan_need need = need_made();
    need.event_size = 160;
    need.subjects = 1e5;
    need.identities = 1e8;
    need.unlike_size = 75;
    struct plan_answer answer = predict(&need);
    near(answer.event_ns, 1000 + 50 * 2 + 300 + 2 * 100);
    near(answer.node_rate, 1e6 * 500 / (500 + 600));
    near(answer.event_disk, 100);
    near(answer.window_bytes, 16e8);
    near(answer.filters_memory, 2e8);
    need.identities = 1e12;
    near(predict(&need).filters_memory, 2147483648.0);
}

Test(plan_model, counts_the_subjects_that_were_seen)
{
    struct plan_need need = need_made();
    // As many events as the run with many subjects had: what it took is what is said.
    need.subjects = 1e6;
    need.events = PROFILE.runs[PLAN_MANY].events;
    near(predict(&need).memory_bytes, PROFILE.runs[PLAN_MANY].memory_bytes);
    need.events = 10;
    near(predict(&need).subjects_memory, 0);
}

Test(plan_model, takes_less_than_the_least_for_noise)
{
    struct plan_profile profile = PROFILE;
    struct plan_model model;
    profile.runs[PLAN_LARGE].cpu_seconds = 1;
    profile.runs[PLAN_MANY].memory_bytes = 1;
    profile.runs[PLAN_FULL].memory_bytes = 1;
    plan_model_fit(&profile, &model);
    near(model.byte_ns, 0);
    near(model.subject_memory, 0);
    near(model.identity_memory, 0);
    near(model.base_bytes, 120e6);
}

Test(plan_model, is_read_as_it_was_written)
{
    scoped(buffer_done) struct buffer text = {0};
    struct plan_profile read;
    struct error error = {0};
    plan_profile_print(&PROFILE, &text);
    enum status status = plan_profile_read(buffer_view(&text), &read, &error);
    cr_assert_eq(status, STATUS_OK, "%s", error.text);
    cr_assert_str_eq(read.machine, PROFILE.machine);
    cr_assert_eq(memcmp(read.runs, PROFILE.runs, sizeof read.runs), 0);
}

Test(plan_model, refuses_a_profile_that_lacks_something)
{
    for (int row = 0; row < 5; row++) {
        struct plan_profile profile = PROFILE, read;
        scoped(buffer_done) struct buffer text = {0};
        struct error error = {0};
        if (row == 0)
            profile.runs[PLAN_MANY].events = 0;
        if (row == 1)
            profile.runs[PLAN_WINDOW].identities = 0;
        if (row == 2)
            profile.cpus = 0;
        if (row == 3)
            profile.runs[PLAN_LOW].seconds = 0.1;
        plan_profile_print(&profile, &text);
        if (row == 4)
            text.size /= 2;
        enum status status = plan_profile_read(buffer_view(&text), &read, &error);
        cr_assert_eq(status, STATUS_INVALID, "row %d", row);
    }
}
