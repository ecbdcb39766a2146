#include "client/leftovers.h"

#include "base/assert.h"

enum {
    // The largest file, and as much again as one read asks for.
    SCRATCH_SIZE = SPOOL_HEADER_SIZE + SPOOL_EVENTS_SIZE_MAX + 512 * 1024,
};

_Static_assert(
    LEFTOVERS_SIZE > SPOOL_EVENTS_SIZE_MAX + SPOOL_EVENTS_MAX * 8 + 4096,
    "any batch fits into the empty ring");

enum status
leftovers_open(struct leftovers *leftovers, struct spool *spool, struct error *error)
{
    const struct backlog_limits limits = {
        .size = LEFTOVERS_SIZE, .batch_size = SPOOL_EVENTS_SIZE_MAX, .batch_events = 1};
    *leftovers = (struct leftovers){
        .spool = spool, .scratch = {.limit = SCRATCH_SIZE}, .full_size = SIZE_MAX};
    enum status status = spool_scan(spool, &leftovers->chunks, error);
    if (status == STATUS_OK && leftovers->chunks.size > 0) {
        status = backlog_init(&leftovers->ring, &limits, error);
        leftovers->is_open = status == STATUS_OK;
    }
    // Reserved now: a file must not look damaged because memory was short later.
    if (leftovers->is_open && buffer_reserve(&leftovers->scratch, SCRATCH_SIZE) == NULL)
        status = error_set(error, STATUS_NO_MEMORY, "no memory to read the spool");
    if (status != STATUS_OK)
        leftovers_done(leftovers);
    return status;
}

void
leftovers_done(struct leftovers *leftovers)
{
    if (leftovers->is_open)
        backlog_done(&leftovers->ring);
    buffer_done(&leftovers->chunks);
    buffer_done(&leftovers->scratch);
    *leftovers = (struct leftovers){0};
}

size_t
leftovers_count(const struct leftovers *leftovers)
{
    return leftovers->chunks.size / UUID7_TEXT_SIZE;
}

bool
leftovers_is_pending(const struct leftovers *leftovers)
{
    return leftovers->chunks_offset < leftovers->chunks.size;
}

static enum leftover_read
file_put_aside(
    struct leftovers *leftovers, const char *chunk, struct leftover *out, struct error *error)
{
    out->file_size = spool_stored_size(leftovers->spool, chunk);
    leftovers->chunks_offset += UUID7_TEXT_SIZE;
    if (spool_set_aside(leftovers->spool, chunk, error) == STATUS_OK)
        return LEFTOVER_BAD;
    return LEFTOVER_STUCK;
}

enum leftover_read
leftovers_read(struct leftovers *leftovers, struct leftover *out, struct error *error)
{
    struct batch batch;
    struct bytes events;
    // A file that found no room is not read again before something was released.
    if (!leftovers_is_pending(leftovers) || leftovers->ring.used_size == leftovers->full_size)
        return LEFTOVER_NONE;
    const char *chunk = (const char *)leftovers->chunks.data + leftovers->chunks_offset;
    enum status status =
        spool_read(leftovers->spool, chunk, &leftovers->scratch, &batch, &events, error);
    *out = (struct leftover){0};
    if (status == STATUS_CORRUPT)
        return file_put_aside(leftovers, chunk, out, error);
    if (status != STATUS_OK) {
        leftovers->chunks_offset += UUID7_TEXT_SIZE;
        return LEFTOVER_STUCK;
    }
    batch.is_spooled = true;
    batch.is_leftover = true;
    if (!backlog_put(&leftovers->ring, &batch, events)) {
        leftovers->full_size = leftovers->ring.used_size;
        return LEFTOVER_NONE;
    }
    leftovers->full_size = SIZE_MAX;
    leftovers->chunks_offset += UUID7_TEXT_SIZE;
    out->events_count = batch.events_count;
    return LEFTOVER_READY;
}
