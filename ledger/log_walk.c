#include "ledger/log_walk.h"

#include "base/clock.h"

#include <inttypes.h>

enum { BLOCKS_PER_LOOK = 16 };  // at the clock

static const int64_t SNAPSHOT_MAX_NS = 500 * 1000000LL;

struct snapshot
snapshot_of(struct env *env)
{
    return (struct snapshot){
        .tx = tx_read(env), .deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS};
}

void
snapshot_done(struct snapshot *snapshot)
{
    tx_done(&snapshot->tx);
}

bool
snapshot_renew(struct snapshot *snapshot, uint64_t sequence)
{
    if (sequence % BLOCKS_PER_LOOK != 0 || clock_monotonic_ns() <= snapshot->deadline_ns)
        return false;
    tx_renew(&snapshot->tx);
    snapshot->deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    return true;
}

enum status
log_walk_back(const struct shard_view *view, log_walk_fn block, void *context, struct error *error)
{
    uint64_t first = 1, head = 0;
    if (view->log == NULL)
        return STATUS_OK;
    scoped(log_reader_done) struct log_reader reader = {0};
    scoped(snapshot_done) struct snapshot log = snapshot_of(view->log);
    enum status status = log_first(&log.tx, &first, error);
    if (!status)
        status = log_head(&log.tx, &head, error);
    for (uint64_t sequence = head; !status && sequence >= first; sequence--) {
        status = block(context, &reader, &log.tx, sequence, error);
        // Retention may have come closer.
        if (!status && snapshot_renew(&log, sequence))
            status = log_first(&log.tx, &first, error);
    }
    return status ? error_prefix(error, "shard %" PRIu32, view->shard) : STATUS_OK;
}

enum status
log_walk_tail(
    const struct shard_view *view,
    uint64_t position,
    log_walk_fn block,
    void *context,
    struct error *error)
{
    uint64_t head = 0;
    if (view->log == NULL)
        return STATUS_OK;
    scoped(log_reader_done) struct log_reader reader = {0};
    scoped(snapshot_done) struct snapshot log = snapshot_of(view->log);
    enum status status = log_head(&log.tx, &head, error);
    for (uint64_t sequence = position + 1; !status && sequence <= head; sequence++) {
        status = block(context, &reader, &log.tx, sequence, error);
        (void)snapshot_renew(&log, sequence);
    }
    return status ? error_prefix(error, "shard %" PRIu32, view->shard) : STATUS_OK;
}
