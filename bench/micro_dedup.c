// One shard's identities without a log: as many as are asked for go through the hot table and its
// generations, as a writer and its keeper do it together; then it is asked for new and known ones,
// closed, and opened again.
#include "base/assert.h"
#include "base/clock.h"
#include "base/progress.h"
#include "bench/micro.h"
#include "bench/scratch.h"
#include "ledger/dedup.h"
#include "ledger/shard_view.h"

#include <stdio.h>
#include <time.h>

static const int64_t WINDOW_NS = 36 * 86400 * 1000000000LL;
static const uint64_t FILTERS_MAX = UINT64_C(2) << 30;
static const uint32_t PAYLOAD = 7;

enum {
    HOT = 4 << 20,  // as tallyd has it
    GROUP = 65536,
    AHEAD = 16,  // identities between a prefetch and its lookup
    MAP_EACH = 128,
};

struct desk {
    char dir[PATH_MAX];
    struct env *state;
    struct generations *generations;
    struct dedup *dedup;
    uint64_t count;  // identities put
    double put_ns, append_ns, merge_ns;
};

static double
cpu_ns(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

// SplitMix64 (Steele, Lea, Flood 2014): another number for each number.
static uint64_t
spread(uint64_t i)
{
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
}

static struct hash128
identity_of(uint64_t i)
{
    return (struct hash128){.low = spread(2 * i), .high = spread(2 * i + 1)};
}

static const struct generations_view *
desk_adopt(struct desk *desk)
{
    const struct generations_view *view = generations_view(desk->generations);
    dedup_adopt(desk->dedup, view);
    generations_adopted(desk->generations, view->number);
    return view;
}

static enum status
desk_open(struct desk *desk, uint64_t identities, struct error *error)
{
    const struct env_options options = {
        .map_size = (UINT64_C(1) << 30) + identities * MAP_EACH,
        .dbs = STATE_DBS,
        .dbs_count = STATE_DB_COUNT};
    enum status status = env_open(desk->dir, &options, &desk->state, error);
    if (status)
        return status;
    const struct generations_options generations = {
        .state = desk->state,
        .hot_max = HOT,
        .filter_bytes_max = FILTERS_MAX,
        .window_ns = WINDOW_NS};
    status = generations_open(&generations, &desk->generations, error);
    if (status)
        return status;
    desk->dedup = dedup_open(
        &(struct dedup_options){.state = desk->state, .hot_max = HOT, .group_max = GROUP});
    if (desk->dedup == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for identities");
    (void)desk_adopt(desk);
    return STATUS_OK;
}

static void
desk_close(struct desk *desk)
{
    if (desk->dedup != NULL)
        dedup_close(desk->dedup);
    if (desk->generations != NULL)
        generations_close(desk->generations);
    if (desk->state != NULL)
        env_close(desk->state);
    desk->dedup = NULL;
    desk->generations = NULL;
    desk->state = NULL;
}

// --- filling ---

static enum status
group_put(struct desk *desk, struct error *error)
{
    uint64_t end = desk->count + GROUP;
    double began_ns = cpu_ns();
    for (uint64_t i = desk->count; i < end; i++) {
        dedup_prefetch(desk->dedup, identity_of(i + AHEAD));
        if (dedup_find(desk->dedup, identity_of(i), PAYLOAD) != DEDUP_NEW)
            return error_set(error, STATUS_CORRUPT, "a new identity was known");
        dedup_add(desk->dedup, identity_of(i), PAYLOAD);
    }
    dedup_rest(desk->dedup);
    desk->put_ns += cpu_ns() - began_ns;
    desk->count = end;
    return STATUS_OK;
}

// What the keeper does with a sealed table.
static enum status
seal_write(struct desk *desk, struct error *error)
{
    double began_ns = cpu_ns();
    struct seal *seal = dedup_seal(desk->dedup, desk->count / GROUP, DAY_NS);
    if (seal == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a table");
    enum status status = generations_append(desk->generations, seal, error);
    desk->append_ns += cpu_ns() - began_ns;
    began_ns = cpu_ns();
    for (bool has_worked = true; has_worked && !status;) {
        status = generations_step(desk->generations, DAY_NS, &has_worked, error);
        (void)desk_adopt(desk);
    }
    desk->merge_ns += cpu_ns() - began_ns;
    return status;
}

static enum status
desk_fill(struct desk *desk, uint64_t identities, struct error *error)
{
    struct progress progress;
    enum status status = STATUS_OK;
    progress_begin(&progress, "identities", identities);
    while (!status && desk->count < identities) {
        status = group_put(desk, error);
        if (!status && dedup_wants_seal(desk->dedup))
            status = seal_write(desk, error);
        progress_set(&progress, desk->count);
    }
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
    uint64_t on_disk = generations_view(desk->generations)->ids;
    double began_ns = cpu_ns();
    for (uint64_t i = 0; i < count; i++) {
        uint64_t other = (UINT64_C(1) << 60) + i;
        struct hash128 identity = identity_of(is_known ? spread(i) % on_disk : other);
        if (dedup_find(desk->dedup, identity, PAYLOAD) != expected)
            return error_set(error, STATUS_CORRUPT, "an identity was mistaken");
    }
    dedup_rest(desk->dedup);
    *out_ns = (cpu_ns() - began_ns) / (double)count;
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
    if (generations_view(desk->generations)->ids == 0)
        return STATUS_OK;
    uint64_t probes = dedup_stat(desk->dedup).probes;
    status = identities_ask(desk, options, true, &ns, error);
    if (status)
        return status;
    probes = dedup_stat(desk->dedup).probes - probes;
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
    const struct generations_view *view = generations_view(desk->generations);
    double count = (double)desk->count;
    micro_add(out, "dedup_identities", count, 0, "");
    micro_add(out, "dedup_put_cpu_ns", desk->put_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_append_cpu_ns", desk->append_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_merge_cpu_ns", desk->merge_ns / count, 0, "ns an identity");
    micro_add(out, "dedup_generations", view->count, 0, "");
    if (view->ids > 0)
        micro_add(
            out,
            "dedup_filter_bytes_per_id",
            (double)view->filter_bytes / (double)view->ids,
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
    desk_close(desk);
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
    desk_close(&desk);
    scratch_remove(desk.dir);
    return status;
}
