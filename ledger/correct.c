#include "ledger/correct.h"

#include "base/assert.h"
#include "base/unpack.h"
#include "ledger/intake.h"
#include "ledger/log_kept.h"
#include "ledger/log_walk.h"
#include "ledger/shard_view.h"

#include <inttypes.h>

// What an event may come with (DESIGN section 4).
static bool
pairs_fit(struct bytes pairs, uint32_t count)
{
    struct cursor in = cursor_over(pairs);
    struct unpack_item key;
    for (uint32_t i = 0; i < count; i++) {
        bool has_key = unpack_next(&in, &key) && (key.type == UNPACK_STR || key.type == UNPACK_BIN);
        if (!has_key || !unpack_skip(&in, EVENT_DEPTH_MAX))
            return false;
    }
    return cursor_left(&in) == 0;
}

// DESIGN section 4: |value| < 10^19.
static bool
value_fits(struct decimal value)
{
    const int128 limit = DECIMAL_ONE.units * 10000000000ULL * 1000000000ULL;
    return value.units < limit && value.units > -limit;
}

static const char *
name_fault(const struct correction *correction)
{
    if (correction->subject.size == 0 || correction->subject.size > EVENT_SUBJECT_MAX)
        return "the subject has 1 to 255 bytes";
    if (correction->id.size == 0 || correction->id.size > EVENT_ID_MAX)
        return "the id has 1 to 128 bytes: an event without one cannot be named";
    if (correction->source.size > EVENT_SOURCE_MAX)
        return "the source has at most 255 bytes";
    if (correction->who.size == 0 || correction->who.size > ENTRY_WHO_MAX)
        return "who does it has 1 to 255 bytes";
    if (correction->why.size == 0 || correction->why.size > ENTRY_WHY_MAX)
        return "why has 1 to 1000 bytes";
    return NULL;
}

static const char *
payload_fault(const struct correction *correction)
{
    bool is_amend = correction->kind == ENTRY_AMEND;
    if (correction->kind != ENTRY_CANCEL && !is_amend)
        return "it is neither a cancel nor an amend";
    if (is_amend != (correction->has_value || correction->has_properties))
        return is_amend ? "an amend has a new value, new properties, or both"
                        : "a cancel has no new value and no new properties";
    if (correction->has_value && !value_fits(correction->value))
        return "the new value is beyond 10^19";
    if (correction->has_properties &&
        (correction->properties.size > EVENT_SIZE_MAX ||
         !pairs_fit(correction->properties, correction->properties_count)))
        return "the new properties are no msgpack pairs of a text and a value of at most 8 levels, "
               "or more than 64 KiB";
    return NULL;
}

const char *
correction_fault(const struct correction *correction)
{
    const char *fault = name_fault(correction);
    return fault != NULL ? fault : payload_fault(correction);
}

// What counts now, with its bytes in the arena.
struct found {
    bool is_found;
    struct entry entry;  // ENTRY_CANCEL: nothing counts any more
    uint64_t block;
    uint32_t index;
    struct log_kept kept;  // what was searched
};

static bool
is_named(const struct correction *correction, const struct entry *entry)
{
    bool is_of_event =
        entry->kind == ENTRY_EVENT || entry->kind == ENTRY_CANCEL || entry->kind == ENTRY_AMEND;
    return is_of_event && !(entry->flags & ENTRY_ID_IS_CHUNK) &&
           bytes_equal(entry->id, correction->id) &&
           bytes_equal(entry->subject, correction->subject) &&
           bytes_equal(entry->source, correction->source) &&
           (!correction->has_time || entry->time_ns == correction->time_ns);
}

static void
found_keep(struct found *found, const struct entry *entry, struct arena *arena)
{
    struct entry kept = *entry;
    struct bytes *const texts[] = {
        &kept.subject, &kept.type, &kept.id, &kept.source, &kept.batch, &kept.properties};
    if (entry->kind == ENTRY_EVENT)
        kept.note = (struct entry_note){0};
    if (entry->kind == ENTRY_AMEND) {
        kept.type = entry->note.amended.type;
        kept.value = entry->note.amended.value;
        kept.properties_count = entry->note.amended.properties_count;
        kept.properties = entry->note.amended.properties;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        *texts[i] = arena_bytes(arena, *texts[i]);
    kept.note.who = arena_bytes(arena, kept.note.who);
    kept.note.why = bytes_of(NULL, 0);
    kept.note.amended = (struct entry_payload){0};
    found->entry = kept;
    found->is_found = true;
}

// The last one in the block, if there is one.
static enum status
find_in_block(
    const struct correction *correction,
    struct log_reader *reader,
    struct arena *arena,
    struct found *found,
    struct error *error)
{
    struct entry entry;
    while (log_next(reader, &entry)) {
        if (!is_named(correction, &entry))
            continue;
        found->block = reader->header.sequence;
        found->index = reader->block.index - 1;
        found_keep(found, &entry, arena);
    }
    return log_end(reader, error);
}

static enum status
find_current(
    struct env *log,
    const struct correction *correction,
    struct arena *arena,
    struct found *found,
    struct error *error)
{
    scoped(snapshot_done) struct snapshot snapshot = snapshot_of(log);
    scoped(log_reader_done) struct log_reader reader = {0};
    struct tx *tx = &snapshot.tx;
    uint64_t sequence = 0;
    enum status status = log_kept_read(tx, &found->kept, error);
    if (!status)
        status = log_head(tx, &sequence, error);
    for (; !status && sequence >= found->kept.first && !found->is_found; sequence--) {
        // Retention may have come up to here.
        if (snapshot_renew(&snapshot, sequence)) {
            status = log_kept_read(tx, &found->kept, error);
            if (status || sequence < found->kept.first)
                break;
        }
        status = log_look(&reader, tx, sequence, error);
        const struct block_header *header = &reader.header;
        bool is_beside = !status && correction->has_time &&
                         (header->time_max_ns < correction->time_ns ||
                          header->time_min_ns > correction->time_ns);
        if (status || is_beside)
            continue;
        status = log_open(&reader, tx, sequence, error);
        if (!status)
            status = find_in_block(correction, &reader, arena, found, error);
    }
    return status;
}

static enum status
refuse_unknown(
    const struct correction *correction, const struct log_kept *kept, struct error *error)
{
    char since[CLOCK_TEXT_MAX];
    bool has_deleted = kept->first > 1;
    log_kept_print(kept, since, sizeof since);
    char subject[256];
    char id[256];
    bytes_print(correction->subject, subject, sizeof subject);
    bytes_print(correction->id, id, sizeof id);
    return error_set(
        error,
        STATUS_NOT_FOUND,
        "subject %s has no event with id %s%s%s%s%s%s",
        subject,
        id,
        correction->source.size > 0 ? " of that source" : " and without a source",
        correction->has_time ? " at that time" : "",
        has_deleted ? "; the log is kept from " : "",
        has_deleted ? since : "",
        has_deleted ? " on, and older events cannot be changed any more" : "");
}

static enum status
refuse_cancelled(const struct found *found, struct error *error)
{
    char who[256];
    char batch[4 * EVENT_BATCH_MAX + 1];
    bytes_print(found->entry.note.who, who, sizeof who);
    bytes_print(found->entry.batch, batch, sizeof batch);
    if ((found->entry.flags & ENTRY_IS_REVERT) != 0)
        return error_set(
            error,
            STATUS_EXISTS,
            "the event was reverted with its backfill %s, in block %" PRIu64
            ": it may be sent again",
            batch,
            found->block);
    return error_set(
        error,
        STATUS_EXISTS,
        "the event is cancelled already: by %s, in block %" PRIu64,
        who,
        found->block);
}

// The entry that takes out what was found.
static struct entry
correction_entry(const struct correction *correction, const struct found *found)
{
    struct entry entry = found->entry;
    entry.kind = correction->kind;
    entry.note = (struct entry_note){
        .who = correction->who,
        .why = correction->why,
        .block = found->block,
        .index = found->index,
    };
    if (correction->kind == ENTRY_CANCEL)
        return entry;
    bool has_properties = correction->has_properties;
    entry.note.amended = (struct entry_payload){
        .type = entry.type,
        .value = correction->has_value ? correction->value : entry.value,
        .properties_count = has_properties ? correction->properties_count : entry.properties_count,
        .properties = has_properties ? correction->properties : entry.properties,
    };
    return entry;
}

static enum status
correct_found(
    struct ledger *ledger,
    uint32_t shard,
    const struct entry *entry,
    struct arena *arena,
    uint64_t *out_block,
    struct error *error)
{
    size_t size = entry_raw_size(entry);
    uint8_t *raw = arena_take(arena, size, 1);
    if (!entry_is_sound(entry))
        return error_set(error, STATUS_INVALID, "the correction makes no sound entry");
    entry_put(entry, raw);
    struct order order = {.kind = ORDER_CORRECT, .entry = entry, .raw = bytes_of(raw, size)};
    enum status status = order_run(ledger, shard, &order, error);
    if (!status)
        *out_block = order.block;
    return status;
}

static enum status
correct_locked(
    struct ledger *ledger,
    const struct correction *correction,
    struct arena *arena,
    uint64_t *out_block,
    struct error *error)
{
    uint32_t shard = (uint32_t)(hash64(correction->subject, 0) % ledger->writers_count);
    struct found found = {0};
    enum status status =
        find_current(ledger->writers[shard].shard.log, correction, arena, &found, error);
    if (status)
        return error_prefix(error, "shard %04" PRIu32, shard);
    if (!found.is_found)
        return refuse_unknown(correction, &found.kept, error);
    if (found.entry.kind == ENTRY_CANCEL)
        return refuse_cancelled(&found, error);
    const struct entry entry = correction_entry(correction, &found);
    return correct_found(ledger, shard, &entry, arena, out_block, error);
}

enum status
ledger_correct(
    struct ledger *ledger,
    const struct correction *correction,
    uint64_t *out_block,
    struct error *error)
{
    const char *fault = correction_fault(correction);
    if (fault != NULL)
        return error_set(error, STATUS_INVALID, "%s", fault);
    scoped(arena_done) struct arena arena = {0};
    control_begin(ledger);
    enum status status = backfill_finish(ledger, error);
    if (!status)
        status = correct_locked(ledger, correction, &arena, out_block, error);
    control_end(ledger);
    return status;
}
