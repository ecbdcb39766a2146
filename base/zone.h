#pragma once
// Time zones: when local days and months begin, as UTC instants.
//
//     scoped(zone_close) struct zone *zone = NULL;
//     zone_open(bytes_text("Europe/Berlin"), &zone, &error);
//     int64_t from_s = zone_day_start(zone, time_s);       // of the local day that holds time_s
//     int64_t to_s = zone_day_next(zone, time_s);          // 23, 24 or 25 hours later
//
// Rules come from the system's tzdata (TZDIR, else /usr/share/zoneinfo), files of RFC 8536
// version 2 or later; the rule of the footer is laid out as transitions up to 2262, the end of
// int64 nanoseconds. "UTC" needs no file. An opened zone never changes, whatever the file does.
//
// A local date may have no midnight (the clock skips it) or two, or be left out altogether. The day
// D starts at the first instant whose local date is D or later, so days follow each other without
// gap or overlap. Months likewise.
// Times: seconds since 1970 UTC. Owner: who opened it. Thread: any may read.

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

enum { ZONE_NAME_MAX = 64 };

struct zone;

// STATUS_INVALID: not a name of the tz database, or a file that is no zone; the text says which.
enum status zone_open(struct bytes name, struct zone **out, struct error *error) CHECKED;
void zone_close(struct zone **zone);
// The same from a file's bytes; the name is for messages.
enum status
zone_parse(struct bytes name, struct bytes file, struct zone **out, struct error *error) CHECKED;
const char *zone_name(const struct zone *zone);

// Seconds to add to UTC for the local clock.
int32_t zone_offset(const struct zone *zone, int64_t time_s);

// What all days and months that begin from 1970 to until_s depend on: the same number from two
// versions of the tzdata means the same ones. until_s >= 0.
uint64_t zone_rules(const struct zone *zone, int64_t until_s);

int64_t zone_day_start(const struct zone *zone, int64_t time_s);
int64_t zone_day_next(const struct zone *zone, int64_t time_s);
int64_t zone_month_start(const struct zone *zone, int64_t time_s);
int64_t zone_month_next(const struct zone *zone, int64_t time_s);
// The local hour: its start is a multiple of an hour on the local clock within one offset, so that
// an hour that the clock repeats is two hours.
int64_t zone_hour_start(const struct zone *zone, int64_t time_s);
int64_t zone_hour_next(const struct zone *zone, int64_t time_s);
