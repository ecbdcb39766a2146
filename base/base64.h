#pragma once
// Base64 as RFC 4648, section 4 has it: the standard alphabet, padded, nothing between.
//
//     if (!base64_decode(text, &arena, &bytes)) refuse("must be base64");
//     base64_encode(&buffer, bytes);
//
// Bits behind the last byte may be anything (section 3.5 lets a decoder pass them). Owner of *out:
// the arena. Thread: any.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/bytes.h"

// False: it is none, and *out is as it was.
bool base64_decode(struct bytes text, struct arena *arena, struct bytes *out) CHECKED;

// Behind what the buffer holds.
void base64_encode(struct buffer *out, struct bytes bytes);
