#include "client/handle.h"

#include "base/assert.h"

void
handle_spool_error(struct tally *tally, const struct error *error)
{
    struct tally_stats *stats = &tally->stats;
    stats->spool_errors++;
    (void)bytes_to_text(
        bytes_text(error->text), stats->last_spool_error, sizeof stats->last_spool_error);
}

void
handle_release(struct tally *tally, struct batch *batch, bool is_file_gone)
{
    if (is_file_gone)
        tally->spool.used_size -= spool_file_size(batch);
    if (!batch->is_leftover) {
        backlog_release(&tally->backlog, batch);
        return;
    }
    must(tally->leftovers_count > 0 && tally->leftovers_events >= batch->events_count);
    tally->leftovers_count--;
    tally->leftovers_events -= batch->events_count;
    backlog_release(&tally->leftovers.ring, batch);
    if (tally->leftovers.ring.oldest == NULL && !leftovers_is_pending(&tally->leftovers))
        leftovers_done(&tally->leftovers);
}

void
handle_leftover(
    struct tally *tally,
    enum leftover_read read,
    const struct leftover *leftover,
    const struct error *error)
{
    pthread_mutex_lock(&tally->mutex);
    if (read == LEFTOVER_READY) {
        tally->stats.events_recovered += leftover->events_count;
        tally->leftovers_events += leftover->events_count;
    } else {
        tally->leftovers_count--;
    }
    if (read == LEFTOVER_BAD) {
        tally->stats.spool_bad++;
        tally->spool.used_size -= leftover->file_size;
    } else if (read == LEFTOVER_STUCK) {
        handle_spool_error(tally, error);
    }
    pthread_cond_broadcast(&tally->changed);
    pthread_mutex_unlock(&tally->mutex);
}
