#pragma once
// An entry of the log: what happened, in the raw form it has on its way to the log (in a group, or
// from control). On disk an event is coded (ledger/block.h); everything else lies there raw.
//
//     entry_write(&event, arrival_ns, at);  // an event, entry_size(&event) bytes
//     entry_put(&entry, at);                // an entry of any kind, entry_raw_size bytes
//     struct cursor in = cursor_over(bytes);
//     while (cursor_left(&in) > 0 && entry_read(&in, &entry)) ...
//
//   raw    u32 size (of what follows)
//          i128 value  i64 time  u32 properties_count
//          u8 kind  u8 flags  u8 type  u8 batch (lengths)
//          u8 subject  u8 source  u8 id (lengths)  u8 identity  u32 chunk_position
//          [unless it is an event, the note:
//          u64 block  u32 index  u32 cut  i128 new value  u32 properties (length)
//          u32 new properties_count  u8 new type  u8 who (lengths)  u16 why (length)]
//          subject source id type batch bytes  [new type  who  why]  the properties' msgpack pairs
//          [the new properties' pairs]  to the end
//
// identity says what the id is: enum entry_identity. From the length of the subject to the end of
// the id, an event holds what its identity's hash is made of, so that this is hashed as it lies
// there.
//
// time is the event's (its arrival when it gave none: ENTRY_TIME_IS_ARRIVAL). ENTRY_ID_IS_CHUNK: id
// holds the chunk's bytes and chunk_position counts in the identity; it is 0 otherwise.
//
// Owner: values; views are borrowed from the bytes read. Thread: any.

#include "base/bytes.h"
#include "base/decimal.h"
#include "base/hash.h"
#include "ledger/event.h"

enum {
    ENTRY_HEADER_SIZE = 44,
    ENTRY_IDENTITY_OFFSET = 36,
    ENTRY_IDENTITY_MAX = 8 + 3 * 255,
    ENTRY_NOTE_SIZE = 44,
    ENTRY_WHO_MAX = 255,
    ENTRY_WHY_MAX = 1000,
};

enum entry_kind {
    ENTRY_EVENT = 1,
    ENTRY_CANCEL = 2,        // the event at (block, index), repeated whole, counts no more
    ENTRY_AMEND = 3,         // it counts with another type, value and properties
    ENTRY_BATCH_OPEN = 4,    // a backfill batch begins,
    ENTRY_BATCH_CLOSE = 5,   // takes no more events,
    ENTRY_BATCH_REVERT = 6,  // or never was: its events count no more, their identities are free
    ENTRY_CUT = 7,           // what billing reads up to
};

enum entry_flag {
    ENTRY_TIME_IS_ARRIVAL = 1,
    ENTRY_ID_IS_CHUNK = 2,
    ENTRY_IS_BACKFILL = 4,  // an event (or the event that is corrected) came in a batch
    ENTRY_IS_REVERT = 8,    // a cancel: its batch is reverted, so the identity is free
};

enum entry_identity { IDENTITY_NONE = 0, IDENTITY_BY_ID = 1, IDENTITY_BY_CHUNK = 2 };

struct entry_payload {
    struct bytes type;
    struct decimal value;
    uint32_t properties_count;
    struct bytes properties;
};

// What only corrections, batches and cuts have. Unused members are zero.
struct entry_note {
    // who: required but for cuts; why: required for cancel, amend, batch revert. Cancels of a
    // revert have neither: the batch revert before them in their block has.
    struct bytes who, why;
    uint64_t block;  // cancel, amend: where the event lies; revert: where the rest of the batch
                     // begins, 0: all of it is taken out
    uint32_t index;  // in that block
    uint32_t cut;    // its number, from 1
    struct entry_payload amended;  // amend: what counts from now on
};

struct entry {
    enum entry_kind kind;
    uint8_t flags;  // enum entry_flag
    uint32_t chunk_position;
    uint32_t properties_count;
    // cut: its time; batch open and close: when that was; revert: the time of what it takes out.
    int64_t time_ns;
    struct decimal value;
    struct bytes subject, type, id, source, batch;
    struct bytes properties;  // msgpack pairs
    struct entry_note note;   // not to be read (nor written by entry_read) in an event
};

// "event", "cancel", "amend", "batch_open", "batch_close", "batch_revert", "cut".
const char *entry_kind_name(enum entry_kind kind);

// Size of the event as an entry; never above EVENT_SIZE_MAX + ENTRY_HEADER_SIZE + EVENT_CHUNK_MAX.
size_t entry_size(const struct event *event);
// Writes the entry into out (entry_size bytes are there). arrival_ns stands for a missing time.
void entry_write(const struct event *event, int64_t arrival_ns, uint8_t *out);
// The same, for who goes on with what was written. size: entry_size of the event. *out_payload
// views the event or, of properties in several pieces, what was written.
struct entry_written {
    int64_t time_ns;
    uint32_t identity_size;  // from ENTRY_IDENTITY_OFFSET on; 0: it has none
    uint8_t flags;
};
struct entry_written entry_write_event(
    const struct event *event,
    int64_t arrival_ns,
    size_t size,
    uint8_t *out,
    struct entry_payload *out_payload);
// The same for an entry of any kind, which must be sound: entry_read would take it.
size_t entry_raw_size(const struct entry *entry);
void entry_put(const struct entry *entry, uint8_t *out);
// Reads the entry at the cursor; false when its bytes do not make sense (cursor failed).
bool entry_read(struct cursor *cursor, struct entry *out);
// The same of bytes that entry_write or entry_put made in this process: that an event is sound is
// known, and is not looked at again for each reader of a group.
void entry_view(struct cursor *cursor, struct entry *out);

// Whether sizes, flags and kind go together: what is promised of every entry that is read.
bool entry_is_sound(const struct entry *entry);

// DESIGN section 4, identity: a tagged keyed hash of length-prefixed fields. False: the entry has
// none (it is counted as it comes).
bool entry_identity(
    const struct entry *entry, const struct hash_secret *secret, struct hash128 *out_identity);
// The hash of what entry_write_event left at ENTRY_IDENTITY_OFFSET, which is the same.
struct hash128 identity_hash(struct bytes fields, const struct hash_secret *secret);
// Covers type, canonical value and properties, whatever the map order or integer width; not the
// time.
uint32_t entry_payload_hash(const struct entry *entry, const struct hash_secret *secret);
// The same in two steps, of which the first is that of the properties.
uint64_t properties_hash(struct bytes properties, uint32_t count, const struct hash_secret *secret);
uint32_t payload_hash(
    const struct entry_payload *payload, uint64_t properties, const struct hash_secret *secret);
