#pragma once
// What the routes of meters share, whatever their version's words.
//
//     status = meter_make(call, &METER_V1, &meter, &error);
//     status = meter_lookup(call, call->params[0], &meter, &error);
//
// Thread: the call's.

#include "api/call.h"
#include "api/meter_json.h"

// Makes the meter that the body says. STATUS_EXISTS: its key is taken.
enum status meter_make(
    struct call *call,
    const struct meter_words *words,
    struct meter *out,
    struct error *error) CHECKED;
enum status meter_lookup(
    struct call *call, const char *id_or_key, struct meter *out, struct error *error) CHECKED;
// Changes the meter of the path's first parameter as the body says.
enum status meter_update(
    struct call *call,
    const struct meter_words *words,
    struct meter *out,
    struct error *error) CHECKED;
