// verify beside a tallyd that deletes the log's beginning: at each point where it may come.

#include "ledger/control.h"
#include "ledger/correct.h"
#include "ledger/verify_parts.h"
#include "tests/ledger/days.h"

#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

// What verify_shard holds together, a step at a time.
struct checking {
    struct ledger_conf conf;
    struct verify_shared shared;
    struct verify_report report;
    struct verify_shard shard;
    uint64_t position;
};

static void
checking_begin(struct checking *checking, const char *dir)
{
    struct error error = {0};
    struct registry *registry = NULL;
    struct verify_shard *shard = &checking->shard;
    *checking = (struct checking){.report = {.fd = open("/dev/null", O_WRONLY | O_CLOEXEC)}};
    cr_assert_geq(checking->report.fd, 0);
    checking->report.shared = &checking->shared;
    shard->report = &checking->report;
    shard->conf = &checking->conf;
    shard->is_log_sound = true;
    succeed(ledger_conf_read(dir, &checking->conf, &error), &error);
    succeed(shard_view_open(dir, 0, &shard->view, &error), &error);
    shard->cells = cells_open();
    succeed(registry_open(dir, &registry, &error), &error);
    succeed(
        registry_list(
            registry, &shard->arena, &shard->registered, &shard->registered_count, &error),
        &error);
    registry_close(registry);
    struct tx state = tx_read(shard->view.state);
    cr_assert(verify_meta(shard, &state, &checking->position));
    tx_done(&state);
    verify_ends(shard);
}

// Returns the findings.
static uint64_t
checking_end(struct checking *checking)
{
    struct verify_shard *shard = &checking->shard;
    verify_cells(shard);
    verify_dedup(shard);
    cells_close(shard->cells);
    buffer_done(&shard->identities);
    log_reader_done(&shard->reader);
    shard_view_done(&shard->view);
    arena_done(&shard->arena);
    (void)close(checking->report.fd);
    return checking->report.findings;
}

// As a tallyd beside it would, in an environment of its own. also: a block that goes without a
// reason; 0: none.
static void
delete_days(const struct days *days, int count, uint64_t also)
{
    struct error error = {0};
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct log_kept kept = {.first = 1};
        struct retain_step result = {.result = RETAIN_MORE};
        const struct retain_options step = {
            .log = open_log(days),
            .before_ns = days->begin_ns + (count - 1) * DAY_NS + 1,
            .flushed = UINT64_MAX,
            .sealed = UINT64_MAX,
        };
        while (result.result == RETAIN_MORE)
            succeed(retain_step(&step, &kept, &result, &error), &error);
        if (also > 0) {
            struct tx tx = tx_write(step.log);
            cr_assert(tx_delete(&tx, LOG_DB_BLOCKS, bytes_of(&also, sizeof also)));
            succeed(tx_commit(&tx, &error), &error);
        }
        env_close(step.log);
        _exit(kept.first == days->heads[count - 1] + 1 ? 0 : 1);
    }
    int wait_status = 0;
    cr_assert_eq(waitpid(child, &wait_status, 0), child);
    cr_assert(WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0);
}

static void
days_make(struct days *days)
{
    struct error error = {0};
    uint64_t block;
    uint32_t number;
    const struct correction correction = {
        .kind = ENTRY_CANCEL,
        .subject = bytes_text("s0"),
        .id = bytes_text("1-57"),
        .who = bytes_text("test"),
        .why = bytes_text("test"),
    };
    days_define(days);
    writing_meter(&days->writing, "highest", "llm", AGGREGATION_MAX);
    days_run(days, NULL);
    // Made anew when it is closed: MAX of the second day, whose events the log is to lose.
    succeed(ledger_correct(days->writing.ledger, &correction, &block, &error), &error);
    succeed(ledger_cut(days->writing.ledger, days->begin_ns, &number, &error), &error);
    writing_close(&days->writing);
}

Test(verify_retain, what_was_not_read_yet_goes)
{
    struct days days;
    struct checking checking;
    days_make(&days);
    checking_begin(&checking, days.writing.dir);
    delete_days(&days, 4, 0);
    verify_log(&checking.shard, checking.position);
    cr_assert_eq(checking.shard.kept.first, days.heads[3] + 1);
    cr_assert_eq(checking_end(&checking), 0);
    days_end(&days);
}

Test(verify_retain, what_was_read_goes_before_cells_are_made_anew_of_it)
{
    struct days days;
    struct checking checking;
    days_make(&days);
    checking_begin(&checking, days.writing.dir);
    verify_log(&checking.shard, checking.position);
    cr_assert_eq(checking.shard.kept.first, 1);
    delete_days(&days, 4, 0);
    cr_assert_eq(checking_end(&checking), 0);
    days_end(&days);
}

// The fold goes on from where the state was when the check began.
Test(verify_retain, what_was_not_flushed_then_goes)
{
    struct days days;
    struct checking checking;
    days_make(&days);
    checking_begin(&checking, days.writing.dir);
    verify_log(&checking.shard, days.heads[1]);
    delete_days(&days, 4, 0);
    cr_assert_eq(checking_end(&checking), 0);
    days_end(&days);
}

// ...or what older blocks are folded for a meter meanwhile.
Test(verify_retain, what_a_younger_meter_got_meanwhile_goes)
{
    struct days days;
    struct checking checking;
    days_make(&days);
    checking_begin(&checking, days.writing.dir);
    for (uint32_t i = 0; i < meter_set_count(checking.shard.meters.set); i++)
        checking.shard.meters.live_from[i] = days.heads[4] + 1;
    verify_log(&checking.shard, checking.position);
    delete_days(&days, 4, 0);
    cr_assert_eq(checking_end(&checking), 0);
    days_end(&days);
}

// What is wrong is found all the same.
Test(verify_retain, a_block_that_is_missing_is_a_finding)
{
    struct days days;
    struct checking checking;
    days_make(&days);
    checking_begin(&checking, days.writing.dir);
    delete_days(&days, 4, days.heads[5]);
    verify_log(&checking.shard, checking.position);
    cr_assert_geq(checking_end(&checking), 1);
    days_end(&days);
}
