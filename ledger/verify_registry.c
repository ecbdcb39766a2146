#include "ledger/threshold.h"
#include "ledger/verify_parts.h"

#include <stdio.h>

// The registry's records by their checksums, each on its own, and then as meters: what
// ledger/registry makes of them.

static const char registry_prefix[] = "meter/";

static bool
is_sound_record(struct bytes key, struct bytes value)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    struct bytes rest = bytes_of(in.at, cursor_left(&in));
    return !cursor_failed(&in) && checksum == hash64(rest, hash64(key, 0));
}

static void
verify_record(struct verify_report *report, struct bytes key, struct bytes value)
{
    struct bytes prefix = bytes_text(registry_prefix);
    char text[VERIFY_KEY_MAX];
    char name[CELL_TEXT_MAX];
    uint64_t counter = 0;
    bytes_print(key, name, sizeof name);
    (void)snprintf(text, sizeof text, "registry %s", name);
    if (bytes_equal(key, bytes_text("counter"))) {
        if (state_meta_read(key, value, &counter))
            report_finding(report, text, "its checksum does not match");
    } else if (key.size > prefix.size && memcmp(key.data, prefix.data, prefix.size) == 0) {
        if (!is_sound_record(key, value))
            report_finding(report, text, "its checksum does not match");
    } else {
        report_finding(report, text, "no record of that name belongs here");
    }
}

static void
verify_records(struct verify_report *report, const char *dir)
{
    static const struct env_db_row dbs[] = {
        {"registry", DB_KEY_BYTES}
    };
    const struct env_options options = {.is_read_only = true, .dbs = dbs, .dbs_count = 1};
    char path[4096];
    struct env *env = NULL;
    struct error error;
    (void)snprintf(path, sizeof path, "%s/meters", dir);
    enum status status = env_open(path, &options, &env, &error);
    if (status == STATUS_NOT_FOUND)
        return;  // whether it has to be there, registry_open says
    if (status) {
        report_finding(report, "registry", "%s", error.text);
        return;
    }
    report_pages(report, "registry", env);
    report_stage(report, VERIFY_STAGE_REGISTRY);
    struct tx tx = tx_read(env);
    struct walk walk = walk_open(&tx, 0);
    uint64_t left = tx_count(&tx, 0);
    for (bool more = walk_first(&walk); more && left > 0; more = walk_next(&walk), left--) {
        report_place(report, left);
        verify_record(report, walk.key, walk.value);
    }
    walk_done(&walk);
    if (tx_check(&tx, &error))
        report_finding(report, "registry", "%s", error.text);
    else if (left > 0)
        report_finding(report, "registry", "%llu records are missing", (unsigned long long)left);
    tx_done(&tx);
    env_close(env);
}

static void
verify_thresholds(struct verify_report *report, struct registry *registry, struct arena *arena)
{
    struct threshold *list = NULL;
    uint32_t count = 0;
    struct error error;
    if (threshold_list(registry, arena, &list, &count, &error))
        report_finding(report, "registry", "%s", error.text);
}

static void
verify_definitions(struct verify_report *report, const char *dir)
{
    scoped(arena_done) struct arena arena = {0};
    struct registry *registry = NULL;
    struct meter *meters = NULL;
    uint32_t count = 0;
    struct error error;
    enum status status = registry_open(dir, &registry, &error);
    if (!status)
        status = registry_list(registry, &arena, &meters, &count, &error);
    if (!status)
        verify_thresholds(report, registry, &arena);
    registry_close(registry);
    if (status) {
        report_finding(report, "registry", "%s", error.text);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        char key[VERIFY_KEY_MAX];
        (void)snprintf(key, sizeof key, "registry meter/%s", meters[i].key);
        if (meter_check(&meters[i], &error))
            report_finding(report, key, "%s", error.text);
        for (uint32_t k = 0; k < i; k++)
            if (meters[k].id == meters[i].id)
                report_finding(report, key, "meter %s has its id, too", meters[k].key);
    }
}

void
verify_registry(struct verify_report *report, const char *dir)
{
    report_stage(report, VERIFY_STAGE_REGISTRY);
    verify_records(report, dir);
    // Reading definitions of damaged records would only say the same again.
    if (report->findings == 0)
        verify_definitions(report, dir);
}
