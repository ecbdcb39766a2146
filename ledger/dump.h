#pragma once
// The log as text: one JSON object per line, in log order per shard.
//
//     struct dump_options options = {.shard = DUMP_ALL_SHARDS, .from_ns = ..., .to_ns = ...};
//     dump_run(dir, &options, on_lines, context, &error);
//     -> {"shard":0,"block":1,"index":0,"subject":"azure-conv","type":"llm","id":"...","source":"",
//         "time":"2023-11-16T18:15:46.68059Z","value":"1","properties":{"tokens":374},
//         "arrival":"..."}
//
// Lossless but for map order, which stays. Text that is no UTF-8 shows U+FFFD, and a member of
// the same name with _base64 behind it holds the bytes. In properties: integers and floats as
// numbers (shortest that read back the same), a float that JSON has no word for as {"float":
// "nan"}, text that is no UTF-8 as {"text_base64": ...}, binary as {"binary_base64": ...},
// extension values as {"ext": type, "data": base64}; a key that is no UTF-8 text is the text of its
// JSON; of keys that are equal then the first is shown, the one that meters read. With keys of
// these kinds, and with a map that begins as one of these objects, properties_base64 behind the
// properties holds their msgpack pairs. Members that say nothing
// are left out: time_is_arrival, chunk_position (the id is the frame's chunk then), batch. What
// is no event has "kind" ("cancel", "amend", "batch_open", "batch_close", "batch_revert",
// "cut"), the members of the event it corrects, of_block and of_index (where that lies),
// "amended" (its new type, value and properties), time_end (of a reverted batch), "cut" (its
// number), "who" and "why". Any process, beside a running tallyd: it shows what is committed
// when each shard's turn comes. Thread: one.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/entry.h"

enum { DUMP_ALL_SHARDS = -1 };

struct dump_options {
    int32_t shard;           // or DUMP_ALL_SHARDS
    struct bytes subject;    // size 0: all
    struct bytes type;       // size 0: all
    int64_t from_ns, to_ns;  // half-open, by event time; INT64_MIN and INT64_MAX: unbounded
    bool skips_events;       // only what is no event: corrections, batches, cuts
};

// Whole lines, some at a time. False stops.
typedef bool (*dump_lines_fn)(void *context, struct bytes lines);

// STATUS_CORRUPT names shard and block; lines before it have been written. STATUS_BUSY, with all
// other lines: blocks of a shard were deleted before their turn.
enum status dump_run(
    const char *dir,
    const struct dump_options *options,
    dump_lines_fn on_lines,
    void *context,
    struct error *error) CHECKED;

// One entry as one line, newline included.
struct dump_place {
    uint32_t shard;
    uint64_t block;
    uint32_t index;
    int64_t arrival_ns;
};
void dump_entry(const struct dump_place *place, const struct entry *entry, struct buffer *buffer);
