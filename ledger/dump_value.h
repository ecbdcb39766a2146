#pragma once
// The values of an entry as JSON: what ledger/dump writes of strings and msgpack properties. See
// ledger/dump.h. Thread: any.

#include "base/json.h"

// Member `name`, and `name`_base64 when the bytes are no UTF-8.
void dump_text(struct json_out *out, const char *name, struct bytes text);
// Member "properties" of count msgpack pairs, and "properties_base64" when a key of them, or of a
// map in them, comes twice or is no UTF-8 text, or when a map in them begins with a name that
// stands for what has no JSON (ledger/dump.h); that alone when they do not make sense.
void dump_properties(struct json_out *out, struct bytes pairs, uint32_t count);
