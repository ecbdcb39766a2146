#include "ledger/dump.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/json.h"
#include "ledger/dump_value.h"
#include "ledger/ledger.h"
#include "ledger/log_reader.h"
#include "ledger/shard_view.h"

#include <inttypes.h>
#include <stdio.h>

// A transaction lasts for one block: the lines are written out after it, since a reader of the
// lines may be a person with a pager.

struct dump {
    const struct dump_options *options;
    dump_lines_fn on_lines;
    void *context;
    struct shard_view view;
    struct buffer lines;
    struct log_reader reader;
    uint64_t lost_first, lost_last;  // blocks that retention deleted before their turn; 0: none
    bool is_stopped;
};

static void
member_int(struct json_out *out, const char *name, int64_t value)
{
    json_key(out, name);
    json_int(out, value);
}

static void
member_time(struct json_out *out, const char *name, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    (void)clock_print(time_ns, text);
    json_key(out, name);
    json_text(out, text);
}

// What makes an entry an unusual one.
static void
dump_flags(struct json_out *out, const struct entry *entry)
{
    if (entry->flags & ENTRY_ID_IS_CHUNK) {
        json_key(out, "id_is_chunk");
        json_bool(out, true);
        member_int(out, "chunk_position", entry->chunk_position);
    }
    if (entry->flags & ENTRY_TIME_IS_ARRIVAL) {
        json_key(out, "time_is_arrival");
        json_bool(out, true);
    }
    if (entry->flags & ENTRY_IS_BACKFILL)
        dump_text(out, "batch", entry->batch);
    if (entry->flags & ENTRY_IS_REVERT) {
        json_key(out, "is_revert");
        json_bool(out, true);
    }
}

static void
dump_payload(struct json_out *out, const struct entry_payload *payload)
{
    char value[DECIMAL_TEXT_MAX];
    (void)decimal_print(payload->value, value);
    json_begin(out, '{');
    dump_text(out, "type", payload->type);
    json_key(out, "value");
    json_text(out, value);
    dump_properties(out, payload->properties, payload->properties_count);
    json_end(out, '}');
}

// What an entry says that is no event.
static void
dump_note(struct json_out *out, const struct entry *entry)
{
    const struct entry_note *note = &entry->note;
    if (entry->kind == ENTRY_CUT)
        member_int(out, "cut", note->cut);
    const bool is_revert = entry->kind == ENTRY_BATCH_REVERT;
    if (note->block > 0) {
        member_int(out, is_revert ? "rest_from_block" : "of_block", (int64_t)note->block);
        member_int(out, is_revert ? "rest_from_index" : "of_index", note->index);
    }
    if (entry->kind == ENTRY_AMEND) {
        json_key(out, "amended");
        dump_payload(out, &note->amended);
    }
    if (note->who.size > 0)
        dump_text(out, "who", note->who);
    if (note->why.size > 0)
        dump_text(out, "why", note->why);
}

static void
dump_event(struct json_out *out, const struct entry *entry)
{
    char value[DECIMAL_TEXT_MAX];
    (void)decimal_print(entry->value, value);
    dump_text(out, "subject", entry->subject);
    dump_text(out, "type", entry->type);
    dump_text(out, "id", entry->id);
    dump_text(out, "source", entry->source);
    member_time(out, "time", entry->time_ns);
    dump_flags(out, entry);
    json_key(out, "value");
    json_text(out, value);
    dump_properties(out, entry->properties, entry->properties_count);
}

void
dump_entry(const struct dump_place *place, const struct entry *entry, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    member_int(&out, "shard", place->shard);
    member_int(&out, "block", (int64_t)place->block);
    member_int(&out, "index", place->index);
    if (entry->kind != ENTRY_EVENT) {
        json_key(&out, "kind");
        json_text(&out, entry_kind_name(entry->kind));
    }
    if (entry->subject.size > 0) {
        dump_event(&out, entry);
    } else {
        member_time(&out, "time", entry->time_ns);
        if (entry->batch.size > 0)
            dump_text(&out, "batch", entry->batch);
    }
    if (entry->kind != ENTRY_EVENT)
        dump_note(&out, entry);
    member_time(&out, "arrival", place->arrival_ns);
    json_end(&out, '}');
    buffer_u8(buffer, '\n');
}

static bool
is_wanted(const struct dump_options *options, const struct entry *entry)
{
    if (options->subject.size > 0 && !bytes_equal(options->subject, entry->subject))
        return false;
    if (options->type.size > 0 && !bytes_equal(options->type, entry->type))
        return false;
    if (options->skips_events && entry->kind == ENTRY_EVENT)
        return false;
    return entry->time_ns >= options->from_ns &&
           (entry->time_ns < options->to_ns || options->to_ns == INT64_MAX);
}

static enum status
dump_block(struct dump *dump, struct tx *log, uint64_t sequence, struct error *error)
{
    struct log_reader *reader = &dump->reader;
    struct entry entry;
    enum status status = STATUS_OK;
    if (dump->options->skips_events) {
        status = log_look(reader, log, sequence, error);
        // Blocks of nothing but events are not read.
        if (status || reader->header.flags == 0)
            return status;
    }
    status = log_open(reader, log, sequence, error);
    if (status)
        return status;
    struct dump_place place = {
        .shard = dump->view.shard, .block = sequence, .arrival_ns = reader->header.arrival_ns};
    struct entry_note revert = {0};
    while (log_next(reader, &entry)) {
        place.index = reader->block.index - 1;
        if (entry.kind == ENTRY_BATCH_REVERT)
            revert = entry.note;
        if (entry.flags & ENTRY_IS_REVERT) {
            entry.note.who = revert.who;
            entry.note.why = revert.why;
        }
        if (is_wanted(dump->options, &entry))
            dump_entry(&place, &entry, &dump->lines);
    }
    return log_end(reader, error);
}

static enum status
dump_next_block(struct dump *dump, uint64_t sequence, struct error *error)
{
    buffer_reset(&dump->lines);
    scoped(tx_done) struct tx log = tx_read(dump->view.log);
    enum status status = dump_block(dump, &log, sequence, error);
    tx_done(&log);
    if (!status && buffer_failed(&dump->lines))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the lines of a block");
    if (status)
        return error_prefix(error, "shard %u", dump->view.shard);
    if (dump->lines.size > 0)
        dump->is_stopped = !dump->on_lines(dump->context, buffer_view(&dump->lines));
    return STATUS_OK;
}

// Retention does not wait for a reader. What it has left is shown, and at the end what it has not.
static enum status
dump_overtaken(struct dump *dump, uint64_t *sequence, struct error *error)
{
    uint64_t first = 0;
    scoped(tx_done) struct tx log = tx_read(dump->view.log);
    enum status status = log_first(&log, &first, error);
    if (status)
        return status;
    must(first > *sequence);
    if (dump->lost_first == 0)
        dump->lost_first = *sequence;
    dump->lost_last = first - 1;
    *sequence = first;
    return STATUS_OK;
}

static enum status
dump_blocks(struct dump *dump, uint64_t first, uint64_t head, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint64_t sequence = first; sequence <= head && !status && !dump->is_stopped;) {
        status = dump_next_block(dump, sequence, error);
        if (status == STATUS_NOT_FOUND)
            status = dump_overtaken(dump, &sequence, error);
        else
            sequence++;
    }
    return status;
}

static enum status
dump_shard(struct dump *dump, const char *dir, uint32_t shard, struct error *error)
{
    uint64_t first = 1;
    uint64_t head = 0;
    dump->lost_first = 0;
    enum status status = shard_view_open(dir, shard, &dump->view, error);
    if (status || dump->view.log == NULL)
        return status;
    scoped(tx_done) struct tx log = tx_read(dump->view.log);
    status = log_first(&log, &first, error);
    if (!status)
        status = log_head(&log, &head, error);
    tx_done(&log);
    if (!status)
        status = dump_blocks(dump, first, head, error);
    if (status || dump->lost_first == 0 || dump->is_stopped)
        return status;
    return error_set(
        error,
        STATUS_BUSY,
        "shard %" PRIu32 ": blocks %" PRIu64 " to %" PRIu64
        " were deleted while it was read, because they are older than the log is kept",
        shard,
        dump->lost_first,
        dump->lost_last < head ? dump->lost_last : head);
}

static bool
shard_is_wanted(const struct dump_options *options, uint32_t shard, uint32_t shards)
{
    if (options->shard != DUMP_ALL_SHARDS && options->shard != (int32_t)shard)
        return false;
    return options->subject.size == 0 || hash64(options->subject, 0) % shards == shard;
}

enum status
dump_run(
    const char *dir,
    const struct dump_options *options,
    dump_lines_fn on_lines,
    void *context,
    struct error *error)
{
    struct ledger_conf conf;
    enum status status = ledger_shape_read(dir, &conf, error);
    if (status)
        return status;
    if (options->shard != DUMP_ALL_SHARDS &&
        (options->shard < 0 || (uint32_t)options->shard >= conf.shards))
        return error_set(
            error, STATUS_INVALID, "there is no shard %d: it has %u", options->shard, conf.shards);
    struct dump dump = {.options = options, .on_lines = on_lines, .context = context};
    bool is_short = false;
    for (uint32_t shard = 0; shard < conf.shards && !status && !dump.is_stopped; shard++) {
        if (!shard_is_wanted(options, shard, conf.shards))
            continue;
        status = dump_shard(&dump, dir, shard, error);
        log_reader_done(&dump.reader);
        shard_view_done(&dump.view);
        is_short = is_short || status == STATUS_BUSY;
        if (status == STATUS_BUSY)
            status = STATUS_OK;
    }
    buffer_done(&dump.lines);
    return !status && is_short ? STATUS_BUSY : status;
}
