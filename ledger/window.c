#include "ledger/window.h"

#include "base/assert.h"
#include "base/clock.h"

enum { HOUR_S = 3600, DAY_S = 86400 };

static int64_t
month_start(int64_t time_s)
{
    struct civil date = civil_from_days(time_s / DAY_S);
    date.day = 1;
    return civil_to_days(date) * DAY_S;
}

static int64_t
month_end(int64_t start_s)
{
    struct civil date = civil_from_days(start_s / DAY_S);
    return civil_to_days(civil_add_months(date, 1, 1)) * DAY_S;
}

int64_t
window_start(const struct window_kind *kind, int64_t time_s)
{
    int64_t start_s = 0;
    must(time_s >= 0);
    switch (kind->width) {
    case CELL_QUARTER_HOUR: return time_s - time_s % QUARTER_HOUR_S;
    case CELL_HOUR: return time_s - time_s % HOUR_S;
    case CELL_DAY: return time_s - time_s % DAY_S;
    case CELL_MONTH: return month_start(time_s);
    case CELL_ZONE_DAY: start_s = zone_day_start(kind->zone, time_s); break;
    case CELL_ZONE_MONTH: start_s = zone_month_start(kind->zone, time_s); break;
    }
    return start_s > 0 ? start_s : 0;
}

int64_t
window_end(const struct window_kind *kind, int64_t start_s)
{
    must(start_s >= 0);
    switch (kind->width) {
    case CELL_QUARTER_HOUR: return start_s + QUARTER_HOUR_S;
    case CELL_HOUR: return start_s + HOUR_S;
    case CELL_DAY: return start_s + DAY_S;
    case CELL_MONTH: return month_end(start_s);
    case CELL_ZONE_DAY: return zone_day_next(kind->zone, start_s);
    case CELL_ZONE_MONTH: return zone_month_next(kind->zone, start_s);
    }
    must(false && "an unknown width");
    return 0;
}

bool
window_is_start(const struct window_kind *kind, int64_t start_s)
{
    return start_s >= 0 && window_start(kind, start_s) == start_s;
}

struct window_kind
window_source(const struct window_kind *kind, int64_t start_s)
{
    struct window_kind source = {.width = CELL_QUARTER_HOUR};
    switch (kind->width) {
    case CELL_QUARTER_HOUR: must(false && "quarter hours have no source"); break;
    case CELL_HOUR: break;
    case CELL_DAY: source.width = CELL_HOUR; break;
    case CELL_MONTH: source.width = CELL_DAY; break;
    case CELL_ZONE_DAY:
        if (start_s % HOUR_S == 0 && window_end(kind, start_s) % HOUR_S == 0)
            source.width = CELL_HOUR;
        break;
    case CELL_ZONE_MONTH:
        source = *kind;
        source.width = CELL_ZONE_DAY;
        break;
    }
    return source;
}
