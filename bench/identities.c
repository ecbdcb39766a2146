#include "bench/identities.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/shard_view.h"

#include <time.h>

static const int64_t WINDOW_NS = INT64_C(36) * 86400 * 1000000000;

enum { AHEAD = 16 };  // identities between a prefetch and its lookup

double
identities_cpu_ns(void)
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

struct hash128
identity_made(uint32_t lane, uint64_t i)
{
    uint64_t number = ((uint64_t)lane << 48) + i;
    return (struct hash128){.low = spread(2 * number), .high = spread(2 * number + 1)};
}

static const struct generations_view *
view_adopt(struct identities *identities)
{
    const struct generations_view *view = generations_view(identities->generations);
    dedup_adopt(identities->dedup, view);
    generations_adopted(identities->generations, view->number);
    return view;
}

enum status
identities_open(
    const char *dir,
    const struct identities_options *options,
    struct identities *out,
    struct error *error)
{
    const struct env_options env = {
        .map_size = options->map_size, .dbs = STATE_DBS, .dbs_count = STATE_DB_COUNT};
    *out = (struct identities){.options = *options};
    enum status status = env_open(dir, &env, &out->state, error);
    if (status)
        return status;
    const struct generations_options generations = {
        .state = out->state,
        .hot_max = options->hot_max,
        .filter_bytes_max = options->filter_bytes_max,
        .window_ns = WINDOW_NS};
    status = generations_open(&generations, &out->generations, error);
    if (!status) {
        out->dedup = dedup_open(&(struct dedup_options){
            .state = out->state, .hot_max = options->hot_max, .group_max = IDENTITIES_GROUP});
        if (out->dedup == NULL)
            status = error_set(error, STATUS_NO_MEMORY, "no memory for identities");
    }
    if (status)
        identities_close(out);
    else
        (void)view_adopt(out);
    return status;
}

void
identities_close(struct identities *identities)
{
    if (identities->dedup != NULL)
        dedup_close(identities->dedup);
    if (identities->generations != NULL)
        generations_close(identities->generations);
    if (identities->state != NULL)
        env_close(identities->state);
    identities->dedup = NULL;
    identities->generations = NULL;
    identities->state = NULL;
}

// --- filling ---

static enum status
group_put(struct identities *identities, struct error *error)
{
    uint64_t end = identities->count + IDENTITIES_GROUP;
    uint32_t lane = identities->options.lane;
    struct dedup *dedup = identities->dedup;
    double began_ns = identities_cpu_ns();
    for (uint64_t i = identities->count; i < end; i++) {
        dedup_prefetch(dedup, identity_made(lane, i + AHEAD));
        enum dedup_result result = dedup_find(dedup, identity_made(lane, i), IDENTITIES_PAYLOAD);
        if (result == DEDUP_FAILED)
            return error_set(error, dedup_error(dedup)->status, "%s", dedup_error(dedup)->text);
        if (result != DEDUP_NEW)
            return error_set(error, STATUS_CORRUPT, "a new identity was known");
        dedup_add(dedup, identity_made(lane, i), IDENTITIES_PAYLOAD);
    }
    dedup_rest(dedup);
    identities->put_ns += identities_cpu_ns() - began_ns;
    identities->count = end;
    return STATUS_OK;
}

// What the keeper does with a sealed table.
enum status
identities_seal(struct identities *identities, struct error *error)
{
    const struct identities_options *options = &identities->options;
    uint64_t position = options->has_blocks ? identities->count / IDENTITIES_GROUP : 0;
    double began_ns = identities_cpu_ns();
    const struct seal *seal = dedup_seal(identities->dedup, position, options->now_ns);
    if (seal == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a table");
    enum status status = generations_append(identities->generations, seal, error);
    identities->append_ns += identities_cpu_ns() - began_ns;
    began_ns = identities_cpu_ns();
    for (bool has_worked = true; has_worked && !status;) {
        status = generations_step(identities->generations, options->now_ns, &has_worked, error);
        (void)view_adopt(identities);
    }
    identities->merge_ns += identities_cpu_ns() - began_ns;
    return status;
}

enum status
identities_fill(
    struct identities *identities,
    uint64_t count,
    struct progress *progress,
    uint64_t before,
    struct error *error)
{
    enum status status = STATUS_OK;
    uint64_t end = identities->count + count;
    while (!status && identities->count < end) {
        status = group_put(identities, error);
        if (!status && dedup_wants_seal(identities->dedup))
            status = identities_seal(identities, error);
        progress_set(progress, before + identities->count);
    }
    return status;
}
