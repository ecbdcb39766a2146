#pragma once
// Members of an object in an answer.
//
//     member_text(out, "kind", "cancel");
//     member_time(out, "createdAt", time_ns);            // RFC 3339
//     member_decimal(out, "limit", value);               // a JSON number with all its digits
//
// Thread: any.

#include "base/json.h"
#include "base/wide.h"

void member_text(struct json_out *out, const char *key, const char *text);  // NULL writes null
void member_bytes(struct json_out *out, const char *key, struct bytes text);
void member_int(struct json_out *out, const char *key, int64_t value);
void member_bool(struct json_out *out, const char *key, bool value);
void member_time(struct json_out *out, const char *key, int64_t time_ns);
void member_decimal(struct json_out *out, const char *key, struct decimal value);
void member_wide(struct json_out *out, const char *key, struct wide value);  // units of 10^-18
