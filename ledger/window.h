#pragma once
// Windows of cells: which widths there are, and where their windows begin and end.
//
//     struct window_kind day = {.width = CELL_DAY};
//     int64_t start_s = window_start(&day, time_s);
//     int64_t end_s = window_end(&day, start_s);
//
// Zones have numbers from 1 within a shard (STATE_DB_META holds number -> name). Owner: values; the
// zone is borrowed. Thread: any.

#include "base/clock.h"
#include "base/zone.h"
#include "ledger/cell.h"

enum { BILLING_ZONES_MAX = 64, WINDOW_KINDS_MAX = 4 + 2 * BILLING_ZONES_MAX };

struct window_kind {
    enum cell_width width;
    uint16_t zone_number;     // 0: UTC
    const struct zone *zone;  // NULL: UTC
};

// The start of the window that holds the moment; time_s >= 0. Never below 0.
int64_t window_start(const struct window_kind *kind, int64_t time_s);
// The end of the window that starts at start_s, which is the start of the next.
int64_t window_end(const struct window_kind *kind, int64_t start_s);
// A boundary in nanoseconds: the last window ends where they do.
static inline int64_t
window_ns(int64_t boundary_s)
{
    return boundary_s > INT64_MAX / SECOND_NS ? INT64_MAX : boundary_s * SECOND_NS;
}
// Whether start_s begins a window.
bool window_is_start(const struct window_kind *kind, int64_t start_s);
// The finer kind whose windows make up one of this kind: quarter hours for hours, hours for days,
// days for months. Quarter hours for days of a zone whose windows do not begin on hours; the fold
// makes quarter hours themselves.
struct window_kind window_source(const struct window_kind *kind, int64_t start_s);
