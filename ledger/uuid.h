#pragma once
// UUIDs as they are usually written, "0190c8f6-0f8a-7cc0-8e2b-9c1d5f0a2b3c", and as their 16 bytes.
//
//     if (uuid_parse(id, bytes)) ...        // only what uuid_print would write
//     uuid_print(bytes, text);
//
// Thread: any.

#include "base/bytes.h"

enum { UUID_SIZE = 16, UUID_TEXT_SIZE = 36 };

// False, with *out undefined, for anything but the canonical lower-case form.
bool uuid_parse(struct bytes text, uint8_t out[UUID_SIZE]);
void uuid_print(const uint8_t uuid[UUID_SIZE], uint8_t out[UUID_TEXT_SIZE]);
