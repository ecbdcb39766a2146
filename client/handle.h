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
#include "client/backlog.h"
#include "client/settings.h"

#include <pthread.h>

struct tally {
    struct client_settings settings;  // not changed after open
    struct waker waker;               // wakes the sender
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    // Under the mutex:
    struct backlog backlog;
    struct tally_stats stats;  // counters; the amounts are filled in when asked
    uint32_t waiters_count;    // callers inside a wait: close lets them go first
    bool is_closing;           // takes no more events
    bool is_stopping;          // the sender is to end
};
