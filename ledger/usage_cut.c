#include "ledger/usage_cut.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/cut_record.h"
#include "ledger/log_reader.h"
#include "ledger/state_meta.h"

#include <inttypes.h>

enum { BLOCKS_PER_LOOK = 16 };

static const int64_t SNAPSHOT_MAX_NS = 500 * 1000000LL;

// In state/, with the position that its records are complete to. out->number 0: not there.
static enum status
find_flushed(
    const struct shard_view *view,
    uint32_t number,
    uint64_t *out_position,
    struct cut *out,
    struct error *error)
{
    struct bytes value;
    uint8_t bytes[CUT_KEY_SIZE];
    *out_position = 0;
    *out = (struct cut){0};
    if (view->state == NULL)
        return STATUS_OK;
    scoped(tx_done) struct tx state = tx_read(view->state);
    struct bytes key = cut_key(number, bytes);
    enum status status = state_position(&state, out_position, error);
    if (status)
        return status;
    if (!tx_get(&state, STATE_DB_META, key, &value))
        return state_meta_check(&state, error);
    if (cut_read(key, value, out))
        return error_set(error, STATUS_CORRUPT, "state: the record of cut %u is damaged", number);
    return STATUS_OK;
}

static enum status
find_in_block(
    struct log_reader *reader,
    struct tx *log,
    uint64_t sequence,
    uint32_t number,
    struct cut *out,
    struct error *error)
{
    struct entry entry;
    enum status status = log_open(reader, log, sequence, error);
    while (!status && log_next(reader, &entry)) {
        if (entry.kind == ENTRY_CUT && entry.note.cut == number)
            *out = (struct cut){
                .number = number, .time_s = entry.time_ns / SECOND_NS, .block = sequence};
    }
    return status ? status : log_end(reader, error);
}

// In the tail, from its end back.
static enum status
find_in_tail(
    const struct shard_view *view,
    uint32_t number,
    uint64_t position,
    struct cut *out,
    struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(view->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    int64_t deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
    uint64_t sequence = 0;
    uint64_t first = 1;
    enum status status = log_first(&log, &first, error);
    if (!status)
        status = log_head(&log, &sequence, error);
    for (; !status && sequence > position && sequence >= first && out->number == 0; sequence--) {
        if (sequence % BLOCKS_PER_LOOK == 0 && clock_monotonic_ns() > deadline_ns) {
            tx_renew(&log);
            deadline_ns = clock_monotonic_ns() + SNAPSHOT_MAX_NS;
        }
        status = log_look(&reader, &log, sequence, error);
        if (!status && (reader.header.flags & BLOCK_HAS_CUT) != 0)
            status = find_in_block(&reader, &log, sequence, number, out, error);
    }
    return status;
}

enum status
usage_cut_find(const struct shard_view *view, uint32_t number, struct cut *out, struct error *error)
{
    struct cut cut;
    uint64_t position = 0;
    must(number > 0);
    enum status status = find_flushed(view, number, &position, &cut, error);
    if (!status && cut.number == 0 && view->log != NULL)
        status = find_in_tail(view, number, position, &cut, error);
    if (!status && cut.number == 0)
        status = error_set(
            error,
            STATUS_NOT_FOUND,
            "there is no cut %" PRIu32 ", or its making was interrupted: make another",
            number);
    if (status)
        return error_prefix(error, "shard %u", view->shard);
    *out = cut;
    return STATUS_OK;
}
