#pragma once
// A block: the events of one shard that were committed together, as one value of the log
// environment.
//
//   key    uint64, the block's sequence number: dense, from 1
//   value  header (BLOCK_HEADER_SIZE bytes, little-endian)
//            u32 magic  u16 version  u16 kind  u64 sequence  u32 count  u32 size (of the entries)
//            i64 time_min  i64 time_max  i64 arrival  u64 checksum
//          count entries, one after another
//   entry  u32 size (of what follows)  u8 kind  u8 flags
//          u8 subject  u8 type  u8 id  u8 source  u8 batch (lengths)  u8 zero
//          u32 chunk_position  u32 properties_count  i64 time  i128 value
//          subject type id source batch bytes, then the properties' msgpack pairs to the end
//
// checksum: XXH3_64 of the entries, seeded by that of the header's other fields, seeded by the key.
// time is the event's (its arrival when it gave none: ENTRY_TIME_IS_ARRIVAL). ENTRY_ID_IS_CHUNK: id
// holds the chunk's bytes and chunk_position counts in the identity. Blocks are never rewritten in
// place.
//
//     struct block_reader reader;
//     block_open(&reader, sequence, value, &error);       // checks magic, sizes and checksum
//     while (block_next(&reader, &entry)) ...              // views into value
//     if (reader.is_broken) ...

#include "base/buffer.h"
#include "base/decimal.h"
#include "base/hash.h"
#include "base/status.h"
#include "ledger/event.h"

enum {
    BLOCK_MAGIC = 0x4b4c4254,  // "TBLK"
    BLOCK_VERSION = 1,
    BLOCK_HEADER_SIZE = 56,
    ENTRY_HEADER_SIZE = 44,
};

enum entry_kind { ENTRY_EVENT = 1 };

enum entry_flag {
    ENTRY_TIME_IS_ARRIVAL = 1,
    ENTRY_ID_IS_CHUNK = 2,
    ENTRY_IS_BACKFILL = 4,
};

struct entry {
    enum entry_kind kind;
    uint8_t flags;
    uint32_t chunk_position;
    uint32_t properties_count;
    int64_t time_ns;
    struct decimal value;
    struct bytes subject, type, id, source, batch;
    struct bytes properties;  // msgpack pairs
    struct bytes whole;       // the entry's bytes, its size field included
};

struct block_header {
    uint64_t sequence;
    uint32_t count;
    uint32_t size;
    int64_t time_min_ns, time_max_ns;
    int64_t arrival_ns;
};

struct block_reader {
    struct block_header header;
    struct cursor cursor;
    uint32_t index;  // entries read
    bool is_broken;
};

// Size of the event as an entry; never above EVENT_SIZE_MAX + ENTRY_HEADER_SIZE + EVENT_CHUNK_MAX.
size_t entry_size(const struct event *event);
// Writes the entry into out (entry_size bytes are there). arrival_ns stands for a missing time.
void entry_write(const struct event *event, int64_t arrival_ns, uint8_t *out);
// Reads the entry at the cursor; false when its bytes do not make sense (cursor failed).
bool entry_read(struct cursor *cursor, struct entry *out);

// Writes header with checksum into value[0..BLOCK_HEADER_SIZE), the entries being at value +
// BLOCK_HEADER_SIZE already.
void block_seal(uint8_t *value, const struct block_header *header);
// STATUS_CORRUPT with what does not fit.
enum status
block_open(struct block_reader *reader, uint64_t sequence, struct bytes value, struct error *error)
    CHECKED;
bool block_next(struct block_reader *reader, struct entry *out);

// DESIGN section 4, identity: a tagged keyed hash of length-prefixed fields. False: the entry has
// none (it is counted as it comes).
bool entry_identity(
    const struct entry *entry, const struct hash_secret *secret, struct hash128 *out_identity);
// Covers type, canonical value and properties, whatever the map order or integer width; not the
// time.
uint32_t entry_payload_hash(const struct entry *entry, const struct hash_secret *secret);
