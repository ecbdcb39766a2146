#include "ledger/backfill.h"

#include "base/assert.h"
#include "base/pool.h"
#include "ledger/log_reader.h"
#include "ledger/revert.h"
#include "ledger/shard_view.h"

#include <inttypes.h>

enum { RENEW_BLOCKS = 64 };

// One change under way. Both lists have an element for each shard.
struct change {
    struct ledger *ledger;
    const struct backfill *backfill;
    struct order *found;  // what each shard knows of the batch
    struct buffer raw;
};

const char *
backfill_fault(const struct backfill *backfill)
{
    if (backfill->act < BACKFILL_OPEN || backfill->act > BACKFILL_REVERT)
        return "a backfill is opened, closed or reverted";
    if (backfill->id.size == 0 || backfill->id.size > EVENT_BATCH_MAX)
        return "the id of a backfill has 1 to 100 bytes";
    if (backfill->who.size == 0 || backfill->who.size > ENTRY_WHO_MAX)
        return "who does it has 1 to 255 bytes";
    if (backfill->why.size > ENTRY_WHY_MAX)
        return "why has at most 1000 bytes";
    if (backfill->act == BACKFILL_REVERT && backfill->why.size == 0)
        return "a revert says why, in 1 to 1000 bytes";
    return NULL;
}

static void
change_done(struct change *change)
{
    pool_give(change->found);
    buffer_done(&change->raw);
}

static enum status
change_find(struct change *change, struct error *error)
{
    struct ledger *ledger = change->ledger;
    if (change->found == NULL)
        change->found = pool_take(ledger->writers_count, sizeof *change->found);
    if (change->found == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for a backfill");
    for (uint32_t i = 0; i < ledger->writers_count; i++)
        change->found[i] =
            (struct order){.kind = ORDER_FIND_BATCH, .batch_id = change->backfill->id};
    return orders_run_all(ledger, change->found, error);
}

// Of how many shards the batch is in this state.
static uint32_t
change_count(const struct change *change, enum batch_state state)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < change->ledger->writers_count; i++) {
        const struct order *found = &change->found[i];
        count += found->has_batch && found->batch.state == state;
    }
    return count;
}

// How many shards do not know it.
static uint32_t
change_unknown(const struct change *change)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < change->ledger->writers_count; i++)
        count += !change->found[i].has_batch;
    return count;
}

static void
change_put(struct change *change, enum entry_kind kind, uint64_t rest_block)
{
    const struct backfill *backfill = change->backfill;
    const struct entry entry = {
        .kind = kind,
        .time_ns = change->ledger->options.now_ns(),
        .batch = backfill->id,
        .note = {.who = backfill->who, .why = backfill->why, .block = rest_block},
    };
    must(entry_is_sound(&entry));
    const size_t size = entry_raw_size(&entry);
    uint8_t *room = buffer_reserve(&change->raw, size);
    if (room == NULL)
        return;
    entry_put(&entry, room);
    buffer_commit(&change->raw, size);
}

// Writes what was put into one shard's log.
static enum status
change_write(struct change *change, uint32_t shard, struct error *error)
{
    if (buffer_failed(&change->raw))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a backfill");
    struct order order = {.kind = ORDER_BATCH, .raw = buffer_view(&change->raw)};
    enum status status = order_run(change->ledger, shard, &order, error);
    buffer_reset(&change->raw);
    return status;
}

static enum status
refuse(const struct change *change, enum status status, const char *what, struct error *error)
{
    char id[4 * EVENT_BATCH_MAX + 1];
    bytes_print(change->backfill->id, id, sizeof id);
    return error_set(error, status, "the backfill %s %s", id, what);
}

// Whether every shard that does not know the batch has a place for it: what it could not know must
// not come into its log.
static bool
change_has_room(const struct change *change)
{
    bool has_room = true;
    for (uint32_t i = 0; i < change->ledger->writers_count; i++) {
        const struct order *found = &change->found[i];
        has_room = has_room && (found->has_batch || found->number < BATCHES_MAX);
    }
    return has_room;
}

// Where an earlier attempt has not come.
static enum status
change_open(struct change *change, struct error *error)
{
    const uint32_t shards = change->ledger->writers_count;
    const uint32_t open = change_count(change, BATCH_OPEN);
    enum status status = STATUS_OK;
    if (open == shards)
        return refuse(change, STATUS_EXISTS, "is open already", error);
    if (open + change_unknown(change) < shards)
        return refuse(change, STATUS_EXISTS, "was closed or reverted: an id is used once", error);
    if (!change_has_room(change))
        return refuse(
            change,
            STATUS_FULL,
            "would be one more than a ledger can have: use one that is open",
            error);
    for (uint32_t i = 0; i < shards && !status; i++) {
        if (change->found[i].has_batch)
            continue;
        change_put(change, ENTRY_BATCH_OPEN, 0);
        status = change_write(change, i, error);
    }
    return status;
}

static enum status
change_close(struct change *change, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < change->ledger->writers_count && !status; i++) {
        const struct order *found = &change->found[i];
        if (found->has_batch && found->batch.state != BATCH_OPEN)
            continue;
        if (!found->has_batch)
            change_put(change, ENTRY_BATCH_OPEN, 0);
        change_put(change, ENTRY_BATCH_CLOSE, 0);
        status = change_write(change, i, error);
    }
    return status;
}

// Closed in every shard before it begins in any, and begun in every shard before it ends in any, so
// that a start sees that it is under way. A shard that came from a backup may be older than the
// others, and know less.
static enum status
change_revert(struct change *change, struct error *error)
{
    struct ledger *ledger = change->ledger;
    const struct backfill *backfill = change->backfill;
    flag_set(&ledger->is_unfinished, 1);
    enum status status = change_find(change, error);
    if (!status)
        status = change_close(change, error);
    if (!status)
        status = change_find(change, error);
    for (uint32_t i = 0; i < ledger->writers_count && !status; i++) {
        const struct batch *batch = &change->found[i].batch;
        must(change->found[i].has_batch && batch->state != BATCH_OPEN);
        if (batch->state != BATCH_CLOSED)
            continue;
        change_put(change, ENTRY_BATCH_REVERT, batch->opened);
        status = change_write(change, i, error);
    }
    if (!status)
        status = change_find(change, error);
    for (uint32_t i = 0; i < ledger->writers_count && !status; i++) {
        const struct revert revert = {
            .ledger = ledger,
            .shard = i,
            .batch = &change->found[i].batch,
            .who = backfill->who,
            .why = backfill->why,
        };
        if (revert.batch->state == BATCH_REVERTING)
            status = revert_run(&revert, error);
    }
    if (!status)
        flag_set(&ledger->is_unfinished, 0);
    return status;
}

// The least time of the batch's events in the block that was looked at, if it is less.
static enum status
earliest_in_block(
    const struct change *change,
    struct log_reader *reader,
    struct tx *log,
    int64_t *earliest_ns,
    struct error *error)
{
    struct entry entry;
    const struct block_header *header = &reader->header;
    if ((header->flags & BLOCK_HAS_BACKFILL) == 0 || header->time_min_ns >= *earliest_ns)
        return STATUS_OK;
    enum status status = log_open(reader, log, header->sequence, error);
    while (!status && log_next(reader, &entry)) {
        bool is_of_batch = entry.kind == ENTRY_EVENT && (entry.flags & ENTRY_IS_BACKFILL) != 0 &&
                           bytes_equal(entry.batch, change->backfill->id);
        if (is_of_batch && entry.time_ns < *earliest_ns)
            *earliest_ns = entry.time_ns;
    }
    return status ? status : log_end(reader, error);
}

// The least time of the batch's events; the greatest there is when nothing was deleted, and nobody
// wants to know.
static enum status
earliest_event(const struct change *change, uint32_t shard, int64_t *out_ns, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(change->ledger->writers[shard].shard.log);
    scoped(log_reader_done) struct log_reader reader = {0};
    uint64_t first = 1;
    uint64_t head = 0;
    *out_ns = INT64_MAX;
    enum status status = log_first(&log, &first, error);
    if (!status)
        status = log_head(&log, &head, error);
    if (status || first == 1)
        return status;
    const uint64_t opened = change->found[shard].batch.opened;
    for (uint64_t sequence = opened > first ? opened : first; !status && sequence <= head;
         sequence++) {
        if (sequence % RENEW_BLOCKS == 0)
            tx_renew(&log);
        status = log_look(&reader, &log, sequence, error);
        if (!status)
            status = earliest_in_block(change, &reader, &log, out_ns, error);
    }
    return status;
}

// Before anything is written: a revert that has begun comes to its end.
static enum status
change_may_revert(struct change *change, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < change->ledger->writers_count && !status; i++) {
        struct order order = {.kind = ORDER_MAY_REVERT, .batch_id = change->backfill->id};
        if (!change->found[i].has_batch)
            continue;
        status = earliest_event(change, i, &order.time_ns, error);
        if (!status)
            status = order_run(change->ledger, i, &order, error);
    }
    return status;
}

// From the flag on no shard deletes anything, so what may be reverted now still may be when that
// begins. The shards' answers say that each has seen it before the log is looked at.
static enum status
change_prepare(struct change *change, struct error *error)
{
    struct ledger *ledger = change->ledger;
    flag_set(&ledger->is_unfinished, 1);
    enum status status = change_find(change, error);
    if (!status)
        status = change_may_revert(change, error);
    // Then nothing has begun.
    if (status)
        flag_set(&ledger->is_unfinished, 0);
    return status;
}

static enum status
change_run(struct change *change, uint64_t *out_count, struct error *error)
{
    const enum backfill_act act = change->backfill->act;
    const uint32_t shards = change->ledger->writers_count;
    enum status status = change_find(change, error);
    if (status)
        return status;
    if (act == BACKFILL_OPEN)
        return change_open(change, error);
    if (change_unknown(change) == shards)
        return refuse(change, STATUS_NOT_FOUND, "was never opened", error);
    if (change_count(change, BATCH_REVERTED) == shards)
        return refuse(change, STATUS_EXISTS, "is reverted already", error);
    if (act == BACKFILL_CLOSE && change_count(change, BATCH_CLOSED) == shards)
        return refuse(change, STATUS_EXISTS, "is closed already", error);
    status = act == BACKFILL_REVERT ? change_prepare(change, error) : change_close(change, error);
    if (status || act == BACKFILL_CLOSE)
        return status;
    status = change_revert(change, error);
    if (!status)
        status = change_find(change, error);
    for (uint32_t i = 0; i < shards && !status; i++)
        *out_count += change->found[i].batch.taken;
    return status;
}

enum status
ledger_backfill(
    struct ledger *ledger,
    const struct backfill *backfill,
    uint64_t *out_count,
    struct error *error)
{
    const char *fault = backfill_fault(backfill);
    uint64_t count = 0;
    if (fault != NULL)
        return error_set(error, STATUS_INVALID, "%s", fault);
    scoped(change_done) struct change change = {.ledger = ledger, .backfill = backfill};
    control_begin(ledger);
    enum status status = backfill_finish(ledger, error);
    if (!status)
        status = change_run(&change, &count, error);
    control_end(ledger);
    if (!status)
        *out_count = count;
    return status;
}

// --- what was interrupted ---

// Who began the revert of a shard's batch, and why: the first entry of it says so.
static enum status
revert_asked(
    struct ledger *ledger,
    uint32_t shard,
    const struct batch *batch,
    struct arena *arena,
    struct backfill *out,
    struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(ledger->writers[shard].shard.log);
    scoped(log_reader_done) struct log_reader reader = {0};
    struct entry entry;
    *out = (struct backfill){.act = BACKFILL_REVERT, .id = batch->id};
    enum status status = log_open(&reader, &log, batch->reverted, error);
    while (!status && log_next(&reader, &entry)) {
        if (entry.kind != ENTRY_BATCH_REVERT || !bytes_equal(entry.batch, batch->id))
            continue;
        out->who = arena_bytes(arena, entry.note.who);
        out->why = arena_bytes(arena, entry.note.why);
    }
    if (!status)
        status = log_end(&reader, error);
    if (!status && out->who.size == 0)
        status = error_set(
            error, STATUS_CORRUPT, "block %" PRIu64 " reverts no such batch", batch->reverted);
    return status;
}

// The next one; *out_is_none: there is none.
static enum status
finish_next(
    struct ledger *ledger,
    struct arena *arena,
    bool *out_is_none,
    struct backfill *out,
    struct error *error)
{
    for (uint32_t i = 0; i < ledger->writers_count; i++) {
        struct order order = {.kind = ORDER_UNFINISHED};
        enum status status = order_run(ledger, i, &order, error);
        if (status)
            return status;
        if (order.has_batch)
            return revert_asked(ledger, i, &order.batch, arena, out, error);
    }
    *out_is_none = true;
    return STATUS_OK;
}

enum status
backfill_finish(struct ledger *ledger, struct error *error)
{
    enum status status = STATUS_OK;
    bool is_none = flag_get(&ledger->is_unfinished) == 0;
    while (!status && !is_none) {
        scoped(arena_done) struct arena arena = {0};
        struct backfill backfill;
        status = finish_next(ledger, &arena, &is_none, &backfill, error);
        if (status || is_none)
            break;
        scoped(change_done) struct change change = {.ledger = ledger, .backfill = &backfill};
        status = change_revert(&change, error);
        // There may be others.
        flag_set(&ledger->is_unfinished, 1);
    }
    if (!status)
        flag_set(&ledger->is_unfinished, 0);
    return status;
}
