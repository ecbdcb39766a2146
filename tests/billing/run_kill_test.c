// kill -9 of `tally-billing run` at seeded random points, then again to the end: every column is as
// if nobody had killed anything.

#include "base/clock.h"
#include "billing/run.h"
#include "tests/billing/fixture.h"

#include <criterion/criterion.h>
#include <criterion/hooks.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static struct postgres server;

ReportHook(PRE_ALL)(struct criterion_test_set *set)
{
    (void)set;
    postgres_before_all(&server);
}

ReportHook(POST_ALL)(struct criterion_global_stats *stats)
{
    (void)stats;
    postgres_after_all(&server);
}

// The same usage twice: by the month, and event by event, which leaves something to carry.
#define CATALOG                                                                                    \
    "{\"currency\":\"USD\",\"meters\":[{\"key\":\"calls\",\"event_type\":\"call\","                \
    "\"aggregation\":\"sum\"},{\"key\":\"bits\",\"event_type\":\"call\",\"aggregation\":\"sum\"}]" \
    ","                                                                                            \
    "\"plans\":["                                                                                  \
    "{\"key\":\"pro\",\"name\":\"Pro\",\"prices\":{\"monthly\":\"20\",\"annual\":\"200\"},"        \
    "\"charges\":["                                                                                \
    "{\"key\":\"calls\",\"name\":\"Calls\",\"meter\":\"calls\",\"model\":\"graduated\","           \
    "\"params\":{\"tiers\":["                                                                      \
    "{\"to\":\"100\",\"unit\":\"0.333\",\"flat\":\"1\"},{\"to\":null,\"unit\":\"0.1\"}]}},"        \
    "{\"key\":\"bits\",\"name\":\"Bits\",\"meter\":\"bits\",\"model\":\"standard\",\"params\":{"   \
    "\"amount\":\"0.00037\"},\"pay_in_advance\":true}]}]}"

enum { CUSTOMERS = 60, ROUNDS = 6, RUN_MAX_S = 120 };

static void
crowd_fill(struct fixture *f, bool with_usage)
{
    struct fixture_usage usage[2 * CUSTOMERS];
    fixture_catalog(f, CATALOG);
    for (int i = 0; i < CUSTOMERS; i++) {
        const char *id = arena_format(&f->arena, "c%03d", i);
        fixture_customer(f, id);
        fixture_subscribe(f, id, "pro", i % 2 == 0 ? "2023-08-01" : "2023-08-31");
        usage[i] = (struct fixture_usage){
            id,
            "call",
            arena_format(&f->arena, "2023-%02d-16T10:00:00Z", 8 + i % 5),
            arena_format(&f->arena, "%d.125", i * 7)};
        usage[CUSTOMERS + i] = usage[i];
        usage[CUSTOMERS + i].time =
            arena_format(&f->arena, "2023-%02d-17T10:00:00Z", 8 + (i + 1) % 5);
    }
    if (with_usage)
        fixture_usage(f, usage, 2 * CUSTOMERS);
}

// xorshift64*: the same points on every machine.
static uint64_t
random_next(uint64_t *state, uint64_t below)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (*state * 2685821657736338717ULL >> 16) % below;
}

static const char *
clock_file(struct fixture *f)
{
    const char *path = arena_format(&f->arena, "%s/clock", f->dir);
    int64_t now_ns = fixture_time(FIXTURE_NOW);
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file);
    cr_assert_eq(fwrite(&now_ns, sizeof now_ns, 1, file), 1);
    fclose(file);
    return path;
}

static pid_t
run_start(struct fixture *f, const char *clock_path, const char *workers)
{
    const char *bin = getenv("TALLY_BIN_DIR");
    const char *program = arena_format(&f->arena, "%s/tally-billing", bin != NULL ? bin : ".");
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid > 0)
        return pid;
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    setenv("DATABASE_URL", f->url, 1);
    setenv("TALLY_CLOCK", clock_path, 1);
    execl(
        program,
        "tally-billing",
        "run",
        "--data",
        f->dir,
        "--workers",
        workers,
        "--chunk",
        "2",
        (char *)NULL);
    _exit(127);
}

// Kills it once so many invoices are there (0: at once), if it does not end before. Returns whether
// it was killed.
static bool
run_kill(struct fixture *f, pid_t pid, int64_t invoices)
{
    int64_t deadline_ns = clock_monotonic_ns() + RUN_MAX_S * SECOND_NS;
    int status = 0;
    while (fixture_count(f, "invoices") < invoices) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "the run makes no progress");
        if (waitpid(pid, &status, WNOHANG) == pid)
            return false;
    }
    kill(pid, SIGKILL);
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status);
}

static void
run_finish(pid_t pid)
{
    int status = 0;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d", status);
}

// What a killed client's server still does is undone or done before rows are compared.
static void
backends_wait(struct fixture *f)
{
    int64_t deadline_ns = clock_monotonic_ns() + RUN_MAX_S * SECOND_NS;
    while (
        fixture_count(
            f, "pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()") >
        0) {
        cr_assert(clock_monotonic_ns() < deadline_ns, "a backend stays");
        poll(NULL, 0, 5);
    }
}

Test(run_kill, any_kill_and_rerun_leaves_what_an_undisturbed_run_leaves)
{
    static const char *const workers[] = {"1", "2", "4"};
    struct fixture first;
    uint64_t seed = 20231116;
    int kills = 0;
    if (!fixture_begin(&first))
        return;
    crowd_fill(&first, true);
    const char *clock_path = clock_file(&first);
    run_finish(run_start(&first, clock_path, "1"));
    const char *undisturbed = fixture_rows(&first);
    int64_t all = fixture_count(&first, "invoices");
    cr_assert_eq(all, CUSTOMERS / 2 * 5 + CUSTOMERS / 2 * 4);
    for (int round = 0; round < ROUNDS; round++) {
        struct fixture f;
        cr_assert(fixture_begin_beside(&f, &first));
        crowd_fill(&f, false);
        for (int i = 0; i < 3; i++) {
            // Some are killed in the middle, some at the end: while the numbers are given, or
            // after.
            int64_t at =
                random_next(&seed, 4) == 0 ? all : (int64_t)random_next(&seed, (uint64_t)all);
            kills += run_kill(&f, run_start(&f, clock_path, workers[random_next(&seed, 3)]), at);
        }
        run_finish(run_start(&f, clock_path, workers[round % 3]));
        backends_wait(&f);
        cr_assert_str_eq(fixture_rows(&f), undisturbed, "round %d", round);
        fixture_end_beside(&f);
    }
    cr_assert_gt(kills, ROUNDS, "only %d runs were killed", kills);
    fixture_end(&first);
}

Test(run_kill, two_runs_at_once_make_one_set_of_invoices)
{
    struct fixture first, f;
    if (!fixture_begin(&first))
        return;
    crowd_fill(&first, true);
    const char *clock_path = clock_file(&first);
    run_finish(run_start(&first, clock_path, "1"));
    cr_assert(fixture_begin_beside(&f, &first));
    crowd_fill(&f, false);
    pid_t one = run_start(&f, clock_path, "2"), two = run_start(&f, clock_path, "2");
    run_finish(one);
    run_finish(two);
    // Numbers may be given in two portions, each in order: all else is the same, and there is no
    // gap.
    cr_assert_eq(fixture_count(&f, "invoices"), fixture_count(&first, "invoices"));
    cr_assert_eq(fixture_count(&f, "invoice_lines"), fixture_count(&first, "invoice_lines"));
    cr_assert_eq(
        fixture_count(&f, "charge_remainders"), fixture_count(&first, "charge_remainders"));
    cr_assert_gt(fixture_count(&f, "charge_remainders WHERE carried <> 0"), CUSTOMERS / 2);
    cr_assert_eq(
        fixture_count(
            &f,
            "invoices i JOIN generate_series(1, 270) n ON i.number = 'INV-' || lpad(n::text, 6, "
            "'0')"),
        fixture_count(&f, "invoices WHERE number IS NOT NULL"));
    cr_assert_eq(fixture_count(&f, "invoices WHERE status = 'draft'"), 0);
    fixture_end_beside(&f);
    fixture_end(&first);
}
