#pragma once
// msgpack as JSON: the properties of an event in an answer, the other way of api/json_pack.
//
//     json_unpack_pairs(properties, count, out);     // {"region":"eu"}
//
// What JSON has no word for (binary that is no UTF-8, extensions, NaN and infinities) is null. A
// name that comes twice is written once, as it came first. Thread: any.

#include "base/json.h"

void json_unpack_pairs(struct bytes pairs, uint32_t count, struct json_out *out);
