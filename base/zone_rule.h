#pragma once
// The rule at the end of a zone's file: POSIX TZ text with the extensions of RFC 8536 section
// 3.3.1 (hours up to 167 either way).
//
//     zone_rule_parse(bytes_text("CET-1CEST,M3.5.0,M10.5.0/3"), &rule);
//     zone_rule_changes(&rule, 2026, changes);
//
// Owner: values. Thread: any.

#include "base/bytes.h"

#include <stdint.h>

enum zone_date_kind {
    ZONE_DATE_MONTH_WEEK_DAY,  // Mm.w.d: the w-th weekday d of month m, 5: the last
    ZONE_DATE_JULIAN,          // Jn, 1-365: 29 February does not count
    ZONE_DATE_DAY,             // n, 0-365: it does
};

struct zone_date {
    enum zone_date_kind kind;
    int32_t month, week, weekday;
    int32_t day;
    int32_t time_s;  // of the local clock, may be negative or beyond a day
};

struct zone_rule {
    bool has_dst;
    int32_t std_offset_s;  // to add to UTC
    int32_t dst_offset_s;
    struct zone_date dst_begin, dst_end;
};

struct zone_change {
    int64_t at_s;  // UTC
    int32_t offset_s;
};

// False: it is not such a text, or has a zone with summer time but no dates for it.
bool zone_rule_parse(struct bytes text, struct zone_rule *out);
// The two changes of a year, in order of time.
void zone_rule_changes(const struct zone_rule *rule, int32_t year, struct zone_change out[2]);
