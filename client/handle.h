#pragma once
// What a struct tally is: callers on one side, the sender's thread on the other, a mutex between
// them.
//
//     callers: copy into the backlog under the mutex, and wake the sender when it must know
//     sender:  takes sealed batches under the mutex, sends them without it, releases them under it
//
// `changed` is signalled when something was acked or the handle is being closed. Owner: who
// opened it.

#include "base/ring.h"
#include "client/leftovers.h"
#include "client/settings.h"

#include <pthread.h>

struct tally {
    struct client_settings settings;  // not changed after open
    struct tls_setup tls;             // likewise; open when the settings say so
    struct waker waker;               // wakes the sender
    struct leftovers leftovers;       // the sender's
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    // Under the mutex:
    struct backlog backlog;
    struct spool spool;         // its amounts; its files are written with the mutex held
    uint64_t leftovers_count;   // batches of an earlier process that are not settled
    uint64_t leftovers_events;  // of these, what was read
    struct tally_stats stats;   // counters; the amounts are filled in when asked
    uint32_t waiters_count;     // callers inside a wait: close lets them go first
    bool is_closing;            // takes no more events
    bool is_stopping;           // the sender is to end
};

// A file of the spool could not be written, read or removed. With the mutex held.
void handle_spool_error(struct tally *tally, const struct error *error);
// An acked batch gives back its place and, when it is gone, its file's. With the mutex held.
void handle_release(struct tally *tally, struct batch *batch, bool is_file_gone);
// Counts a leftover that was read or passed over (not LEFTOVER_NONE). Takes the mutex.
void handle_leftover(
    struct tally *tally,
    enum leftover_read read,
    const struct leftover *leftover,
    const struct error *error);
