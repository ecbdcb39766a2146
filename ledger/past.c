#include "ledger/past.h"

#include "base/assert.h"
#include "ledger/log_reader.h"

#include <stdlib.h>

enum { RENEW_BLOCKS = 64 };

struct bounds {
    int64_t time_min_ns;
    int64_t time_max_ns;
    bool has_corrections;
};

static int
compare_times(const void *a, const void *b)
{
    const struct past_event *left = a;
    const struct past_event *right = b;
    return (left->time_ns > right->time_ns) - (left->time_ns < right->time_ns);
}

// The bounds of the blocks up to the head that are not known yet.
static enum status
bounds_learn(struct past *past, const struct past_question *question, struct error *error)
{
    uint64_t known = past->bounds.size / sizeof(struct bounds);
    if (known >= question->head)
        return STATUS_OK;
    scoped(tx_done) struct tx tx = tx_read(question->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    for (uint64_t sequence = known + 1; sequence <= question->head; sequence++) {
        // Those that were deleted hold nothing that may be asked for.
        struct bounds bounds = {.time_min_ns = INT64_MAX, .time_max_ns = INT64_MIN};
        if (sequence < question->first) {
            buffer_put(&past->bounds, &bounds, sizeof bounds);
            continue;
        }
        if (sequence % RENEW_BLOCKS == 0)
            tx_renew(&tx);
        enum status status = log_look(&reader, &tx, sequence, error);
        if (status)
            return status;
        const struct block_header *header = &reader.header;
        bounds = (struct bounds){
            .time_min_ns = header->time_min_ns,
            .time_max_ns = header->time_max_ns,
            .has_corrections = (header->flags & BLOCK_HAS_CORRECTIONS) != 0,
        };
        buffer_put(&past->bounds, &bounds, sizeof bounds);
        if (buffer_failed(&past->bounds))
            return error_set(error, STATUS_NO_MEMORY, "no memory for the bounds of old blocks");
    }
    return tx_check(&tx, error);
}

// The first event whose time is not before this.
static size_t
first_from(const struct past_question *question, int64_t time_ns)
{
    size_t from = 0;
    size_t to = question->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (question->events[middle].time_ns < time_ns)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}

// The first in the log decides, as it did when it came, and so does the first one after it was
// freed.
static void
check_entry(const struct past_question *question, const struct entry *entry)
{
    struct hash128 identity;
    size_t i = first_from(question, entry->time_ns);
    if (i == question->count || question->events[i].time_ns != entry->time_ns ||
        !entry_identity(entry, question->secret, &identity))
        return;
    for (; i < question->count && question->events[i].time_ns == entry->time_ns; i++) {
        struct past_event *event = &question->events[i];
        if (event->identity.low != identity.low || event->identity.high != identity.high)
            continue;
        if (entry->kind != ENTRY_EVENT)
            event->is_known = false;
        if (entry->kind != ENTRY_EVENT || event->is_known)
            continue;
        event->is_known = true;
        event->is_same = event->payload == entry_payload_hash(entry, question->secret);
    }
}

static enum status
check_block(
    const struct past_question *question,
    struct log_reader *reader,
    struct tx *tx,
    uint64_t sequence,
    struct error *error)
{
    struct entry entry;
    enum status status = log_open(reader, tx, sequence, error);
    if (status)
        return status;
    while (log_next(reader, &entry)) {
        if (entry.kind == ENTRY_EVENT || (entry.flags & ENTRY_IS_REVERT) != 0)
            check_entry(question, &entry);
    }
    return log_end(reader, error);
}

enum status
past_check(struct past *past, const struct past_question *question, struct error *error)
{
    enum status status = bounds_learn(past, question, error);
    if (status || question->count == 0)
        return status;
    qsort(question->events, question->count, sizeof question->events[0], compare_times);
    const struct bounds *bounds = (const void *)past->bounds.data;
    scoped(tx_done) struct tx tx = tx_read(question->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    uint32_t read = 0;
    for (uint64_t i = question->first - 1; i < question->head && !status; i++) {
        if (i >= question->expired && !bounds[i].has_corrections)
            continue;
        size_t first = first_from(question, bounds[i].time_min_ns);
        if (first == question->count || question->events[first].time_ns > bounds[i].time_max_ns)
            continue;
        if (++read % RENEW_BLOCKS == 0)
            tx_renew(&tx);
        status = check_block(question, &reader, &tx, i + 1, error);
    }
    return status ? status : tx_check(&tx, error);
}

void
past_done(struct past *past)
{
    buffer_done(&past->bounds);
}
