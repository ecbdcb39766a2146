#pragma once
// What one field of a row is as a text, a time or a property of an event.
//
//     reason = field_time(field, &time_ns);            // NULL, or why it is none
//     reason = field_property(field, &arena, &property);
//
// Numbers keep their digits: an integer of 64 bits is sent as one, another number as a double if
// that double's shortest text is the same number, and as its text otherwise. Values. Thread: any.

#include "client/tally.h"
#include "tools/rows.h"

// The text of a text or a number; empty for anything else.
struct bytes field_text(const struct field *field);
// RFC 3339, "YYYY-MM-DD HH:MM:SS.fraction" as UTC, a date, or seconds since 1970; between 1970 and
// 2106, which is what the wire can carry.
const char *field_time(const struct field *field, int64_t *out_ns);
// Fills all of out but its key. Texts and trees go into the arena.
const char *
field_property(const struct field *field, struct arena *arena, struct tally_property *out);
// The members of a JSON object as msgpack pairs, in the arena. NULL, or why they cannot be.
const char *field_pairs(const struct json *object, struct arena *arena, struct bytes *out);
// The beginning of the text for a message, printable.
const char *field_excerpt(const struct field *field, struct arena *arena);
