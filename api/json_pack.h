#pragma once
// A JSON value as msgpack, for the properties of an event.
//
//     if (!json_pack(value, EVENT_DEPTH_MAX, &buffer)) deeper than that
//
// Numbers keep their digits: a whole number that fits into 64 bits is an integer, another one is a
// double where that double's shortest decimal is the same number, and else a string with its text,
// which meters read like a number. Thread: any.

#include "base/buffer.h"
#include "base/json.h"

// depth_max: containers inside of value, itself not counted. False: there are more.
bool json_pack(const struct json *value, uint32_t depth_max, struct buffer *out) CHECKED;
