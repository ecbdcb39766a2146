#include "ledger/retain.h"

#include "base/assert.h"
#include "ledger/cell.h"
#include "ledger/log_reader.h"

#include <string.h>

// Few enough that a group waits for them no longer than for another group's commit.
enum { BLOCKS_PER_STEP = 32, BYTES_PER_STEP = 32 << 20 };

// Deletes some of the blocks that count no more. *out_count 0: none is left.
static enum status
delete_some(
    const struct retain_options *options,
    const struct log_kept *kept,
    uint64_t *out_count,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(options->log);
    uint64_t bytes = 0;
    uint64_t count = 0;
    for (bool more = true; more && count < BLOCKS_PER_STEP && bytes < BYTES_PER_STEP;) {
        uint64_t sequence = 0;
        struct walk walk = walk_open(&tx, LOG_DB_BLOCKS);
        more = walk_first(&walk) && walk.key.size == sizeof sequence;
        if (more) {
            memcpy(&sequence, walk.key.data, sizeof sequence);
            bytes += walk.value.size;
        }
        walk_done(&walk);
        more = more && sequence < kept->first &&
               tx_delete(&tx, LOG_DB_BLOCKS, bytes_of(&sequence, sizeof sequence));
        count += more;
    }
    *out_count = count;
    return count > 0 ? tx_commit(&tx, error) : tx_check(&tx, error);
}

// Whether blocks lie there that count no more.
static enum status
has_left(
    const struct retain_options *options,
    const struct log_kept *kept,
    bool *out_has_left,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(options->log);
    scoped(walk_done) struct walk walk = walk_open(&tx, LOG_DB_BLOCKS);
    uint64_t oldest = kept->first;
    if (walk_first(&walk) && walk.key.size == sizeof oldest)
        memcpy(&oldest, walk.key.data, sizeof oldest);
    *out_has_left = oldest < kept->first;
    return tx_check(&tx, error);
}

// What the record will be when the first chapter is gone; out->first 0: it stays.
static enum status
chapter_end(
    const struct retain_options *options,
    const struct log_kept *kept,
    struct log_kept *out,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(options->log);
    scoped(log_reader_done) struct log_reader reader = {0};
    scoped(walk_done) struct walk walk = walk_open(&tx, LOG_DB_BLOCKS);
    uint64_t head = 0;
    *out = (struct log_kept){.until_ns = kept->until_ns};
    if (walk_last(&walk) && walk.key.size == sizeof head)
        memcpy(&head, walk.key.data, sizeof head);
    enum status status = tx_check(&tx, error);
    for (uint64_t sequence = kept->first; !status && sequence <= head; sequence++) {
        status = log_look(&reader, &tx, sequence, error);
        const struct block_header *header = &reader.header;
        if (status)
            break;
        if (header->chapter == sequence && sequence > kept->first) {
            out->first = sequence;
            out->previous = header->previous;
            break;
        }
        if (header->arrival_ns >= options->before_ns || header->time_max_ns >= options->before_ns)
            break;
        if (header->time_max_ns > out->until_ns)
            out->until_ns = header->time_max_ns;
    }
    return status;
}

// Whether cells of a meter begin where the log begins now, because nothing was left from before.
static bool
is_beginning(const struct retain_holders *holders, const struct log_kept *kept)
{
    bool is = false;
    for (uint32_t i = 0; holders != NULL && kept->first > 1 && i < holders->live_count; i++)
        is = is || holders->live[i].from == kept->first;
    return is;
}

static enum status
chapter_drop(
    const struct retain_options *options,
    const struct log_kept *kept,
    const struct log_kept *next,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(options->log);
    if (is_beginning(options->holders, kept))
        log_kept_remember(&tx, kept);
    log_kept_write(&tx, next);
    return tx_commit(&tx, error);
}

enum status
retain_step(
    const struct retain_options *options,
    struct log_kept *kept,
    struct retain_step *out,
    struct error *error)
{
    struct log_kept next = {0};
    bool leaves = false;
    bool is_held = false;
    must(kept->first > 0);
    *out = (struct retain_step){.result = RETAIN_IDLE};
    enum status status = has_left(options, kept, &leaves, error);
    if (!status && leaves) {
        out->result = RETAIN_MORE;
        return delete_some(options, kept, &out->deleted, error);
    }
    if (!status)
        status = chapter_end(options, kept, &next, error);
    if (status || next.first == 0)
        return status;
    must(next.first > kept->first);
    if (options->holders != NULL)
        status = retain_is_held(options->holders, options->log, kept, &next, &is_held, error);
    if (status)
        return status;
    if (next.first - 1 > options->flushed) {
        out->result = RETAIN_CELLS;
    } else if (next.first - 1 > options->sealed) {
        out->result = RETAIN_SEAL;
    } else if (is_held) {
        out->result = RETAIN_HELD;
    } else {
        status = chapter_drop(options, kept, &next, error);
        if (!status)
            *kept = next;
        out->result = RETAIN_MORE;
    }
    return status;
}
