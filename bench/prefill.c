#include "bench/prefill.h"

#include "bench/identities.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

// As a ledger of so many shards has them (ledger/shard.h, ledger/ledger.h).
static const uint32_t HOT_ALL = 4 << 20, HOT_MIN = 1 << 20;
static const uint64_t FILTERS_ALL = UINT64_C(2) << 30;
static const uint64_t MAP_SIZE = UINT64_C(1) << 40;

static uint32_t
hot_of(uint32_t shards)
{
    return HOT_ALL / shards > HOT_MIN ? HOT_ALL / shards : HOT_MIN;
}

static enum status
shard_write(
    const char *dir,
    const struct identities_options *options,
    uint64_t count,
    struct progress *progress,
    uint64_t *done,
    struct error *error)
{
    struct identities identities;
    enum status status = identities_open(dir, options, &identities, error);
    if (status)
        return status;
    status = identities_fill(&identities, count, progress, *done, error);
    if (!status)
        status = identities_seal(&identities, error);
    *done += identities.count;
    identities_close(&identities);
    return status;
}

enum status
prefill_write(
    const char *data, uint32_t shards, uint64_t count, int64_t now_ns, struct error *error)
{
    char dir[PATH_MAX];
    struct progress progress;
    struct identities_options options = {
        .hot_max = hot_of(shards),
        .filter_bytes_max = FILTERS_ALL / shards,
        .map_size = MAP_SIZE,
        .now_ns = now_ns,
    };
    enum status status = STATUS_OK;
    uint64_t done = 0;
    progress_begin(&progress, "identities", count);
    for (uint32_t i = 0; i < shards && !status; i++) {
        options.lane = i;
        (void)snprintf(dir, sizeof dir, "%.*s/shards/%04" PRIu32 "/state", PATH_MAX - 64, data, i);
        status = shard_write(
            dir, &options, count / shards + (i < count % shards), &progress, &done, error);
    }
    progress_end(&progress);
    return status;
}
