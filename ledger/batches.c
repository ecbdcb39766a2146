#include "ledger/batches.h"

#include "base/assert.h"
#include "base/hash.h"
#include "ledger/cell.h"
#include "ledger/state_meta.h"

#include <inttypes.h>

// A record, in this order.
enum {
    NUMBER_STATE,
    NUMBER_OPENED,
    NUMBER_CLOSED,
    NUMBER_REVERTED,
    NUMBER_REST_BLOCK,
    NUMBER_REST_INDEX,
    NUMBER_STORED,
    NUMBER_TAKEN,
    NUMBER_CANCELLED,
    NUMBER_CHECKSUM,
    NUMBERS,
};

static const char batch_prefix[] = "batch:";
enum { BATCH_PREFIX_SIZE = sizeof batch_prefix - 1 };
enum { BATCH_KEY_MAX = BATCH_PREFIX_SIZE + EVENT_BATCH_MAX };

const char *
batch_state_name(enum batch_state state)
{
    switch (state) {
    case BATCH_OPEN: return "open";
    case BATCH_CLOSED: return "closed";
    case BATCH_REVERTING: return "reverting";
    case BATCH_REVERTED: return "reverted";
    }
    must(false);
    return "";
}

static bool
batch_is(const struct batch *batch, struct bytes id, uint64_t hash)
{
    return batch->hash == hash && bytes_equal(batch->id, id);
}

// Events of one batch come one after another, so the last one that was found is asked first.
struct batch *
batches_find(struct batches *batches, struct bytes id)
{
    const uint64_t hash = hash64(id, 0);
    if (batches->recent < batches->count && batch_is(&batches->list[batches->recent], id, hash))
        return &batches->list[batches->recent];
    for (uint32_t i = batches->count; i-- > 0;) {
        if (!batch_is(&batches->list[i], id, hash))
            continue;
        batches->recent = i;
        return &batches->list[i];
    }
    return NULL;
}

static struct batch *
batches_add(struct batches *batches, struct bytes id, struct arena *arena)
{
    must(batches->count < BATCHES_MAX && id.size > 0 && id.size <= EVENT_BATCH_MAX);
    if (batches->count == batches->capacity) {
        uint32_t capacity = batches->capacity > 0 ? batches->capacity * 2 : 16;
        struct batch *list = arena_array(arena, capacity, struct batch);
        if (batches->count > 0)
            memcpy(list, batches->list, batches->count * sizeof *list);
        batches->list = list;
        batches->capacity = capacity;
    }
    struct batch *batch = &batches->list[batches->count++];
    *batch = (struct batch){.id = arena_bytes(arena, id), .hash = hash64(id, 0)};
    return batch;
}

static const char *
revert_fault(const struct batch *batch, const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    if (batch->state == BATCH_CLOSED)
        return note->block == 0 ? "it is reverted before that began" : NULL;
    if (batch->state != BATCH_REVERTING)
        return "it is reverted, but not closed or reverted already";
    bool goes_on = note->block == 0 || note->block > batch->rest_block ||
                   (note->block == batch->rest_block && note->index >= batch->rest_index);
    return goes_on ? NULL : "its revert goes back";
}

const char *
batches_fault(struct batches *batches, const struct entry *entry)
{
    const struct batch *batch = batches_find(batches, entry->batch);
    if (entry->kind == ENTRY_BATCH_OPEN) {
        if (batches->count == BATCHES_MAX)
            return "there are too many batches";
        return batch != NULL ? "it is opened, but was before" : NULL;
    }
    if (batch == NULL)
        return "it was never opened";
    if (entry->kind == ENTRY_BATCH_CLOSE)
        return batch->state == BATCH_OPEN ? NULL : "it is closed, but was before";
    must(entry->kind == ENTRY_BATCH_REVERT);
    return revert_fault(batch, entry);
}

static void
learn_revert(struct batch *batch, const struct entry *entry, uint64_t block)
{
    if (batch->reverted == 0)
        batch->reverted = block;
    batch->state = entry->note.block == 0 ? BATCH_REVERTED : BATCH_REVERTING;
    batch->rest_block = entry->note.block;
    batch->rest_index = entry->note.index;
}

void
batches_count(struct batches *batches, const struct entry *entry, uint64_t block)
{
    if ((entry->flags & ENTRY_IS_BACKFILL) == 0)
        return;
    struct batch *batch = batches_find(batches, entry->batch);
    if (batch == NULL)
        return;
    batch->stored += entry->kind == ENTRY_EVENT;
    if ((entry->flags & ENTRY_IS_REVERT) != 0)
        batch->taken++;
    else
        batch->cancelled += entry->kind == ENTRY_CANCEL;
    batch->changed = block;
}

enum status
batches_learn(
    struct batches *batches,
    const struct entry *entry,
    uint64_t block,
    struct arena *arena,
    struct error *error)
{
    if (entry->kind == ENTRY_EVENT || entry->kind == ENTRY_CANCEL)
        batches_count(batches, entry, block);
    bool is_batch = entry->kind == ENTRY_BATCH_OPEN || entry->kind == ENTRY_BATCH_CLOSE ||
                    entry->kind == ENTRY_BATCH_REVERT;
    if (!is_batch)
        return STATUS_OK;
    const char *fault = batches_fault(batches, entry);
    if (fault != NULL)
        return error_set(error, STATUS_CORRUPT, "block %" PRIu64 ": a batch: %s", block, fault);
    struct batch *batch = batches_find(batches, entry->batch);
    if (entry->kind == ENTRY_BATCH_OPEN) {
        batch = batches_add(batches, entry->batch, arena);
        batch->state = BATCH_OPEN;
        batch->opened = block;
    } else if (entry->kind == ENTRY_BATCH_CLOSE) {
        batch->state = BATCH_CLOSED;
        batch->closed = block;
    } else {
        learn_revert(batch, entry, block);
    }
    batch->changed = block;
    return STATUS_OK;
}

uint32_t
batches_changed(
    const struct batches *batches, uint64_t after, struct arena *arena, const struct batch **out)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < batches->count; i++)
        count += batches->list[i].changed > after;
    struct batch *list = count > 0 ? arena_array(arena, count, struct batch) : NULL;
    *out = list;
    for (uint32_t i = 0; i < batches->count; i++) {
        if (batches->list[i].changed > after)
            *list++ = batches->list[i];
    }
    return count;
}

// --- records ---

bool
batch_key_is(struct bytes key)
{
    return key.size > BATCH_PREFIX_SIZE && key.size <= BATCH_KEY_MAX &&
           memcmp(key.data, batch_prefix, BATCH_PREFIX_SIZE) == 0;
}

static uint64_t
batch_checksum(struct bytes key, const uint64_t numbers[NUMBERS])
{
    return hash64(bytes_of(numbers, NUMBER_CHECKSUM * sizeof *numbers), hash64(key, 0));
}

enum status
batch_read(struct bytes key, struct bytes value, struct batch *out)
{
    uint64_t numbers[NUMBERS];
    if (!batch_key_is(key) || value.size != sizeof numbers)
        return STATUS_CORRUPT;
    memcpy(numbers, value.data, sizeof numbers);
    struct batch batch = {
        .id = bytes_of(key.data + BATCH_PREFIX_SIZE, key.size - BATCH_PREFIX_SIZE),
        .state = (enum batch_state)numbers[NUMBER_STATE],
        .opened = numbers[NUMBER_OPENED],
        .closed = numbers[NUMBER_CLOSED],
        .reverted = numbers[NUMBER_REVERTED],
        .rest_block = numbers[NUMBER_REST_BLOCK],
        .rest_index = (uint32_t)numbers[NUMBER_REST_INDEX],
        .stored = numbers[NUMBER_STORED],
        .taken = numbers[NUMBER_TAKEN],
        .cancelled = numbers[NUMBER_CANCELLED],
    };
    batch.hash = hash64(batch.id, 0);
    if (numbers[NUMBER_CHECKSUM] != batch_checksum(key, numbers) || batch.opened == 0 ||
        numbers[NUMBER_STATE] < BATCH_OPEN || numbers[NUMBER_STATE] > BATCH_REVERTED)
        return STATUS_CORRUPT;
    *out = batch;
    return STATUS_OK;
}

enum status
batches_read(struct tx *state, struct batches *batches, struct arena *arena, struct error *error)
{
    must(batches->count == 0);
    enum status status = state_meta_check(state, error);
    if (status)
        return status;
    struct walk walk = walk_open(state, STATE_DB_META);
    bool more = walk_seek(&walk, bytes_of(batch_prefix, BATCH_PREFIX_SIZE));
    for (; more && !status && batch_key_is(walk.key); more = walk_next(&walk)) {
        struct batch batch;
        if (batch_read(walk.key, walk.value, &batch) || batches->count == BATCHES_MAX) {
            status = error_set(
                error,
                STATUS_CORRUPT,
                "state: the record of a batch is damaged: "
                "rebuild the state with `tally ledger rebuild`");
            break;
        }
        struct batch *added = batches_add(batches, batch.id, arena);
        batch.id = added->id;
        *added = batch;
    }
    walk_done(&walk);
    return status ? status : tx_check(state, error);
}

static void
batch_write(struct tx *state, const struct batch *batch)
{
    uint8_t bytes[BATCH_KEY_MAX];
    memcpy(bytes, batch_prefix, BATCH_PREFIX_SIZE);
    memcpy(bytes + BATCH_PREFIX_SIZE, batch->id.data, batch->id.size);
    struct bytes key = bytes_of(bytes, BATCH_PREFIX_SIZE + batch->id.size);
    uint64_t numbers[NUMBERS] = {
        [NUMBER_STATE] = batch->state,
        [NUMBER_OPENED] = batch->opened,
        [NUMBER_CLOSED] = batch->closed,
        [NUMBER_REVERTED] = batch->reverted,
        [NUMBER_REST_BLOCK] = batch->rest_block,
        [NUMBER_REST_INDEX] = batch->rest_index,
        [NUMBER_STORED] = batch->stored,
        [NUMBER_TAKEN] = batch->taken,
        [NUMBER_CANCELLED] = batch->cancelled,
    };
    numbers[NUMBER_CHECKSUM] = batch_checksum(key, numbers);
    tx_put(state, STATE_DB_META, key, bytes_of(numbers, sizeof numbers));
}

void
batches_write(struct tx *state, const struct batch *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        batch_write(state, &list[i]);
}
