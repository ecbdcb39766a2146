#pragma once
// How far questions are that gave themselves a name (OpenMeter's clientId).
//
//     progress_begin(&progress, "tab-7", 3, now_ns);     // it is made of three parts
//     progress_step(&progress, "tab-7", true, now_ns);   // one is done
//     if (progress_find(&progress, "tab-7", &state)) answer(state.success, state.total);
//
// The last PROGRESS_MAX names are kept, in memory. Owner: main. Thread: any.

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum { PROGRESS_MAX = 1024, PROGRESS_ID_MAX = 36 };

struct progress_state {
    char id[PROGRESS_ID_MAX + 1];
    int64_t success, failed, total;
    int64_t updated_ns;  // 0: no such name
};

struct progress {
    pthread_mutex_t mutex;  // for what follows
    struct progress_state states[PROGRESS_MAX];
    uint32_t next;  // whose place a new name takes
};

void progress_init(struct progress *progress);
void progress_done(struct progress *progress);
// A name that is there begins anew. Of PROGRESS_ID_MAX bytes at most.
void progress_begin(struct progress *progress, const char *id, int64_t total, int64_t now_ns);
// Does nothing for a name that is gone.
void progress_step(struct progress *progress, const char *id, bool is_success, int64_t now_ns);
bool progress_find(struct progress *progress, const char *id, struct progress_state *out);
