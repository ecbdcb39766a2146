#pragma once
// The thread that writes a shard's state/: cells that the writer froze, the windows that have
// closed since, cells that corrections touched (ledger/mend), tables that it sealed, and the
// merging, expiring and deleting of generations. So the writer never waits for state/. Marks and
// sealed tables are taken amid windows that take long to make, too. Each second
// it clears dead readers of both environments.
//
//     keeper_start(&keeper, &options, &error);
//     keeper_offer_freeze(&keeper, freeze);          // the writer: cells to flush; one at a time
//     keeper_offer_seal(&keeper, seal);              // the writer: a full table; one at a time
//     keeper_take_flushed(&keeper);                  // the writer: that freeze is on disk
//     view = keeper_take_view(&keeper);              // the writer: what it may look up in now
//     keeper_adopted(&keeper, view->number);         // ...and no older one any more
//     keeper_stop(&keeper);
//
//   writer -- freeze, seal, touch --> keeper         slots; each wakes the other
//   writer <--- flushed, view ---- keeper
//   writer ---- adopted view ----> keeper            what older views needed is freed and deleted
//
// What the writer lent (the cells of a freeze) is only read here, until it is flushed. After a
// failure the keeper does nothing more; error says why, and the shard has failed with it. Threads:
// functions are the writer's, start and stop are the control plane's; error is written before
// failed is set, and read after.

#include "base/metric.h"
#include "base/ring.h"
#include "ledger/batches.h"
#include "ledger/flush.h"
#include "ledger/generations.h"
#include "ledger/mend.h"
#include "ledger/meter.h"
#include "ledger/purge.h"
#include "ledger/readers.h"
#include "ledger/touch.h"
#include "ledger/watch.h"

#include <pthread.h>

// Cells that nobody adds to any more: the fold of blocks up to position.
struct freeze {
    struct cells *cells;
    uint64_t position;
    uint64_t tail_bytes;  // of the blocks in it
    uint32_t live_count;
    struct shard_live live[METERS_MAX];
    // As they were then: the list of cuts only grows, and the meters stay until keeper_is_rolled.
    struct cuts cuts;
    const struct batch *batches;  // those that changed since the last freeze
    uint32_t batches_count;
    const struct meter_set *meters;
    const struct billing_zones *zones;
    struct retention retention;
};

enum status freeze_flush(
    struct env *state,
    const struct freeze *freeze,
    struct metric *groups_capped,
    struct error *error) CHECKED;

struct keeper_options {
    uint32_t shard;
    struct env *log;  // read only
    struct env *state;
    struct mend_facts facts;  // of the start; the meters are copied
    struct env *fired;
    struct generations *generations;  // the keeper's while it runs
    struct waker *writer;
    int64_t (*now_ns)(void);
    struct metric *windows_made, *cells_deleted, *cells_mended, *cells_purged, *groups_capped;
    struct metric *dead_readers, *reader_seconds;
};

struct keeper {
    struct published adopted;
    struct published rolled;   // freezes whose windows are made
    struct published mended;   // how often dirty cells have been made anew
    struct published settled;  // keeper_settled, and one more
    struct slot freezes;
    struct slot flushed;
    struct slot seals;
    struct slot views;
    struct slot marks;
    struct slot marked;
    struct slot touches;
    struct keeper_options options;
    struct waker waker;
    uint64_t frozen;         // the writer's: freezes offered
    struct flag is_mending;  // there are dirty cells on disk
    struct flag stop;
    struct flag failed;
    struct error error;
    pthread_t thread;
    bool is_running;
    // The keeper's alone.
    const struct seal *seal;  // taken, not yet written
    struct purge purge;
    uint64_t view_number;  // the last that was offered
    struct readers log_readers, state_readers;
    int64_t looked_ns;  // monotonic
    struct mend *mend;
};

enum status keeper_start(
    struct keeper *keeper, const struct keeper_options *options, struct error *error) CHECKED;
// What is being written is finished, the rest is left: it is in the log.
void keeper_stop(struct keeper *keeper);

void keeper_offer_freeze(struct keeper *keeper, struct freeze *freeze);
void keeper_offer_seal(struct keeper *keeper, struct seal *seal);
// False: it has another one to do.
bool keeper_offer_touch(struct keeper *keeper, struct touch *touch) CHECKED;
// The freeze that is on disk now; NULL: none.
struct freeze *keeper_take_flushed(struct keeper *keeper);
// Marks of thresholds that fired, to be written in one transaction; one batch at a time. A freeze
// that is offered after them is flushed after them.
void keeper_offer_marks(struct keeper *keeper, struct watch_batch *batch);
// The batch that is on disk now; NULL: none.
struct watch_batch *keeper_take_marked(struct keeper *keeper);
// Rises whenever dirty cells have been made anew.
uint64_t keeper_mended(const struct keeper *keeper);
// What thresholds make of the cells that were made anew up to that number has fired and is offered:
// their records may go, once it is marked. Before the first call none go.
void keeper_settled(struct keeper *keeper, uint64_t mended);
// No freeze's meters are looked at any more.
bool keeper_is_rolled(const struct keeper *keeper);
// No cell on disk waits to be made anew, as far as the keeper has come.
bool keeper_is_mended(const struct keeper *keeper);
// NULL: no newer one.
const struct generations_view *keeper_take_view(struct keeper *keeper);
void keeper_adopted(struct keeper *keeper, uint64_t number);
// NULL: it has not failed.
const struct error *keeper_failure(const struct keeper *keeper);
