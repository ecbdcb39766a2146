// One shard's identities without a log: as many as are asked for go through the hot table and its
// generations, as a writer and its keeper do it together; then it is asked for new and known ones,
// closed, and opened again.
#include "base/assert.h"
#include "base/clock.h"
#include "base/progress.h"
#include "bench/identities.h"
#include "bench/micro.h"
#include "bench/scratch.h"

#include <stdio.h>

static const uint64_t FILTERS_MAX = UINT64_C(2) << 30;

enum {
    HOT = 4 << 20,  // as tallyd has it
    MAP_EACH = 128,
};

struct desk {
    char dir[PATH_MAX];
    struct identities identities;
};

static enum status
desk_open(struct desk *desk, uint64_t count, struct error *error)
{
    const struct identities_options options = {
        .hot_max = HOT,
        .filter_bytes_max = FILTERS_MAX,
        .map_size = (UINT64_C(1) << 30) + count * MAP_EACH,
        .now_ns = DAY_NS,
        .has_blocks = true,
    };
    return identities_open(desk->dir, &options, &desk->identities, error);
}

static enum status
desk_fill(struct desk *desk, uint64_t count, struct error *error)
{
    struct progress progress;
    progress_begin(&progress, "identities", count);
    enum status status = identities_fill(&desk->identities, count, &progress, 0, error);
    progress_end(&progress);
    return status;
}

// --- questions ---

// Asks for identities that were put, or for others, all over what is on disk.
static enum status
identities_ask(
    struct desk *desk,
    const struct micro_options *options,
    bool is_known,
    double *out_ns,
    struct error *error)
{
    enum dedup_result expected = is_known ? DEDUP_SAME : DEDUP_NEW;
    uint64_t count = (uint64_t)options->questions * 100;
    uint64_t on_disk = generations_view(desk->identities.generations)->ids;
    double began_ns = identities_cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t other = (UINT64_C(1) << 60) + i;
        struct hash128 identity =
            identity_made(0, is_known ? (i * 0x9e3779b97f4a7c15ULL >> 1) % on_disk : other);
        if (dedup_find(desk->identities.dedup, identity, IDENTITIES_PAYLOAD) != expected)
            return error_set(error, STATUS_CORRUPT, "an identity was mistaken");
    }
    dedup_rest(desk->identities.dedup);
    *out_ns = (identities_cpu_ns() - began_ns) / (double)count;
    return STATUS_OK;
}

static enum status
desk_ask(
    struct desk *desk,
    const struct micro_options *options,
    struct micro_figures *out,
    struct error *error)
{
    double ns = 0;
    enum status status = identities_ask(desk, options, false, &ns, error);
    if (status)
        return status;
    micro_add(out, "dedup_find_new_cpu_ns", ns, 0, "ns");
    if (generations_view(desk->identities.generations)->ids == 0)
        return STATUS_OK;
    uint64_t probes = dedup_stat(desk->identities.dedup).probes;
    status = identities_ask(desk, options, true, &ns, error);
    if (status)
        return status;
    probes = dedup_stat(desk->identities.dedup).probes - probes;
    micro_add(out, "dedup_find_on_disk_cpu_ns", ns, 0, "ns");
    micro_add(
        out,
        "dedup_probes_on_disk",
        (double)probes / ((double)options->questions * 100),
        2,
        "pages");
    return STATUS_OK;
}

static void
desk_report(const struct desk *desk, struct micro_figures *out)
{
    const struct generations_view *view = generations_view(desk->identities.generations);
    double count = (double)desk->identities.count;
    micro_add(out, "dedup_identities", count, 0, "");
    micro_add(out, "dedup_put_cpu_ns", desk->identities.put_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_append_cpu_ns", desk->identities.append_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_merge_cpu_ns", desk->identities.merge_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_generations", view->count, 0, "");
    if (view->ids > 0)
        micro_add(
            out,
            "dedup_filter_bytes_per_id",
            (double)(view->filter_bytes + view->index_bytes) / (double)view->ids,
            2,
            "bytes");
}

static enum status
dedup_measure(
    struct desk *desk,
    const struct micro_options *options,
    struct micro_figures *out,
    struct error *error)
{
    uint64_t identities = (uint64_t)options->identities;
    enum status status = scratch_make(options->dir, desk->dir, error);
    if (!status)
        status = desk_open(desk, identities, error);
    if (!status)
        status = desk_fill(desk, identities, error);
    if (status)
        return status;
    desk_report(desk, out);
    status = desk_ask(desk, options, out, error);
    if (status)
        return status;
    identities_close(&desk->identities);
    int64_t began_ns = clock_monotonic_ns();
    status = desk_open(desk, identities, error);
    micro_add(
        out,
        "dedup_open_seconds",
        (double)(clock_monotonic_ns() - began_ns) / 1e9,
        3,
        "s, pages warm");
    return status;
}

enum status
micro_dedup(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    struct desk desk = {0};
    enum status status = dedup_measure(&desk, options, out, error);
    identities_close(&desk.identities);
    scratch_remove(desk.dir);
    return status;
}
