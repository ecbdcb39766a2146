#include "api/progress.h"

#include "base/assert.h"

#include <string.h>

void
progress_init(struct progress *progress)
{
    pthread_mutex_init(&progress->mutex, NULL);
}

void
progress_done(struct progress *progress)
{
    pthread_mutex_destroy(&progress->mutex);
}

// Under the lock. NULL: no such name.
static struct progress_state *
state_find(struct progress *progress, const char *id)
{
    for (size_t i = 0; i < PROGRESS_MAX; i++)
        if (progress->states[i].updated_ns != 0 && strcmp(progress->states[i].id, id) == 0)
            return &progress->states[i];
    return NULL;
}

void
progress_begin(struct progress *progress, const char *id, int64_t total, int64_t now_ns)
{
    size_t size = strlen(id);
    must(size <= PROGRESS_ID_MAX && now_ns != 0);
    pthread_mutex_lock(&progress->mutex);
    struct progress_state *state = state_find(progress, id);
    if (state == NULL)
        state = &progress->states[progress->next++ % PROGRESS_MAX];
    *state = (struct progress_state){.total = total, .updated_ns = now_ns};
    memcpy(state->id, id, size);
    pthread_mutex_unlock(&progress->mutex);
}

void
progress_step(struct progress *progress, const char *id, bool is_success, int64_t now_ns)
{
    pthread_mutex_lock(&progress->mutex);
    struct progress_state *state = state_find(progress, id);
    if (state != NULL) {
        state->success += is_success;
        state->failed += !is_success;
        state->updated_ns = now_ns;
    }
    pthread_mutex_unlock(&progress->mutex);
}

bool
progress_find(struct progress *progress, const char *id, struct progress_state *out)
{
    pthread_mutex_lock(&progress->mutex);
    const struct progress_state *state = state_find(progress, id);
    if (state != NULL)
        *out = *state;
    pthread_mutex_unlock(&progress->mutex);
    return state != NULL;
}
