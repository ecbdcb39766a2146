#pragma once
// A meter by its key or by its ULID (api/meter_json.h).
//
//     status = meter_find(reader, call->params[0], &arena, &meter, &error);
//
// Thread: the reader's.

#include "ledger/usage.h"

// STATUS_NOT_FOUND: there is none.
enum status meter_find(
    struct reader *reader,
    const char *id_or_key,
    struct arena *arena,
    struct meter *out,
    struct error *error) CHECKED;
