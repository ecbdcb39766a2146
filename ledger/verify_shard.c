#include "base/assert.h"
#include "ledger/fired.h"
#include "ledger/verify_parts.h"

#include <inttypes.h>
#include <stdio.h>

// A shard's order of work: the state's position and meters first, so that one pass over the log
// both checks it and folds what the cells must be; then the cells.

static void
shard_read_meters(struct verify_shard *shard, const char *dir)
{
    struct registry *registry = NULL;
    // What is damaged there is a finding of the registry's own check.
    if (registry_open(dir, &registry, NULL))
        return;
    if (registry_list(
            registry, &shard->arena, &shard->registered, &shard->registered_count, NULL)) {
        shard->registered = NULL;
        shard->registered_count = 0;
    }
    registry_close(registry);
}

// The position that the cells on disk have when the check begins. False: unknown.
static bool
shard_position(struct verify_shard *shard, uint64_t *out_position)
{
    report_stage(shard->report, VERIFY_STAGE_STATE);
    *out_position = 0;
    shard->meters.set = meter_set_make(NULL, 0, &shard->arena);
    if (shard->view.state == NULL)
        return true;
    scoped(tx_done) struct tx state = tx_read(shard->view.state);
    return verify_meta(shard, &state, out_position);
}

// What fired, by the sequence of the marks. Some at a time: the snapshot stays short.
static void
fired_check(struct verify_shard *shard, struct env *env)
{
    enum { PAGE = 1000 };
    struct fired *list = NULL;
    uint32_t count = PAGE;
    uint64_t since = 0;
    struct error error;
    while (count == PAGE) {
        scoped(arena_done) struct arena arena = {0};
        scoped(tx_done) struct tx tx = tx_read(env);
        if (fired_list(&tx, since, PAGE, &arena, &list, &count, &error)) {
            report_finding(shard->report, "fired", "%s", error.text);
            return;
        }
        for (uint32_t i = 0; i < count; i++) {
            if (list[i].sequence != since + 1 || !fired_is_marked(&tx, &list[i])) {
                report_finding(shard->report, "fired", "marks of what fired do not agree");
                return;
            }
            since = list[i].sequence;
        }
        // Two records each: what fired, and its mark.
        if (count < PAGE && tx_count(&tx, FIRED_DB) != 2 * since)
            report_finding(shard->report, "fired", "there are marks of nothing that fired");
    }
}

static void
shard_check_fired(struct verify_shard *shard, const char *dir)
{
    struct env *env = NULL;
    struct error error;
    report_stage(shard->report, VERIFY_STAGE_FIRED);
    if (fired_open_view(dir, shard->view.shard, &env, &error))
        report_finding(shard->report, "fired", "%s", error.text);
    if (env != NULL) {
        report_pages(shard->report, "fired", env);
        report_stage(shard->report, VERIFY_STAGE_FIRED);
        fired_check(shard, env);
    }
    env_close(env);
}

static void
shard_compare(struct verify_shard *shard, uint64_t position, bool is_position_known)
{
    struct verify_report *report = shard->report;
    if (is_position_known && position > shard->head) {
        report_finding(
            report,
            "state position",
            "it is %" PRIu64 ", beyond the log's last block %" PRIu64,
            position,
            shard->head);
        shard->is_log_sound = false;
    } else if (!is_position_known) {
        report_finding(report, "state", "the cells were not compared: their position is unknown");
        shard->is_log_sound = false;
    } else if (!shard->is_log_sound && shard->view.state != NULL) {
        report_finding(report, "state", "the cells were not compared: the log is damaged");
    }
    if (shard->view.state != NULL)
        verify_cells(shard);
    if (shard->view.state != NULL)
        verify_dedup(shard);
}

static void
shard_read_head(struct verify_shard *shard, const char *dir, uint32_t index)
{
    char path[4096];
    struct error error;
    int size = snprintf(path, sizeof path, "%s/shards/%04" PRIu32 "/head", dir, index);
    must(size > 0 && (size_t)size < sizeof path);
    if (head_read(path, &shard->head_place, &error))
        report_finding(shard->report, "head", "%s", error.text);
}

void
verify_shard(
    struct verify_report *report, const char *dir, const struct ledger_conf *conf, uint32_t index)
{
    struct verify_shard shard = {.report = report, .conf = conf, .is_log_sound = true};
    struct error error;
    uint64_t position = 0;
    report_stage(report, VERIFY_STAGE_OPEN);
    if (shard_view_open(dir, index, &shard.view, &error)) {
        report_finding(report, "shard", "%s", error.text);
        shard_view_done(&shard.view);
        return;
    }
    // Both are made with the ledger, so an empty file lost what it had.
    if (shard.view.log == NULL)
        report_finding(report, "log", "its file is empty or missing: restore the ledger");
    if (shard.view.state == NULL)
        report_finding(report, "state", "its file is empty or missing: rebuild the state");
    if (shard.view.log != NULL)
        report_pages(report, "log", shard.view.log);
    if (shard.view.state != NULL)
        report_pages(report, "state", shard.view.state);
    shard_read_head(&shard, dir, index);
    shard_check_fired(&shard, dir);
    shard.cells = cells_open();
    shard_read_meters(&shard, dir);
    bool is_position_known = shard_position(&shard, &position);
    if (shard.view.log != NULL) {
        verify_ends(&shard);
        verify_log(&shard, position);
    }
    shard_compare(&shard, position, is_position_known);
    cells_close(shard.cells);
    buffer_done(&shard.identities);
    log_reader_done(&shard.reader);
    shard_view_done(&shard.view);
    arena_done(&shard.arena);
}
