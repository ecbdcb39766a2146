#pragma once
// Meters as OpenMeter's v1 has them: read from a body, written into an answer.
//
//     if (meter_json_read(body, &arena, &meter, &error)) answer(400, error.text);
//     meter_json_write(&meter, &arena, out);
//
// slug is our key, groupBy our dimensions. The id is a ULID made of the key and the moment at which
// the meter was made, so that it stays when the definition changes. Thread: any.

#include "api/ulid.h"
#include "base/json.h"
#include "ledger/meter.h"

// STATUS_INVALID names the member. A body of a new meter.
enum status meter_json_read(
    struct bytes body, struct arena *arena, struct meter *out, struct error *error) CHECKED;
// The members that may change: description and groupBy; those that are absent stay.
enum status meter_json_change(
    struct bytes body, struct arena *arena, struct meter *meter, struct error *error) CHECKED;
void meter_json_write(const struct meter *meter, struct arena *arena, struct json_out *out);
void meter_ulid(const struct meter *meter, char out[ULID_SIZE + 1]);
