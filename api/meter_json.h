#pragma once
// Meters in OpenMeter's words: read from a body, written into an answer.
//
//     if (meter_json_read(body, &METER_V1, &arena, &meter, &error)) refuse(error.text);
//     meter_json_write(&meter, &METER_V1, &arena, out);
//
// Its versions differ in what members are called. slug and key are our key, groupBy and dimensions
// our dimensions. The id is a ULID made of the key and the moment at which the meter was made, so
// that it stays when the definition changes. Thread: any.

#include "api/ulid.h"
#include "base/json.h"
#include "ledger/meter.h"

struct meter_words {
    const char *key, *event_type, *events_from, *value_property, *dimensions, *metadata;
    const char *created, *updated, *deleted;
    bool is_upper;          // the aggregation
    bool is_name_required;  // of a new meter
    bool reserves_names;    // subject and customer_id are no dimensions
};

extern const struct meter_words METER_V1, METER_V3;

// STATUS_INVALID names the member. A body of a new meter.
enum status meter_json_read(
    struct bytes body,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *out,
    struct error *error) CHECKED;
// The ledger's rules (meter_check), said in these words.
enum status meter_json_check(
    const struct meter *meter, const struct meter_words *words, struct error *error) CHECKED;
// The members that may change: name, description, metadata and dimensions; those that are absent
// stay. The others may be given as they are.
enum status meter_json_change(
    struct bytes body,
    const struct meter_words *words,
    struct arena *arena,
    struct meter *meter,
    struct error *error) CHECKED;
void meter_json_write(
    const struct meter *meter,
    const struct meter_words *words,
    struct arena *arena,
    struct json_out *out);
void meter_ulid(const struct meter *meter, char out[ULID_SIZE + 1]);
