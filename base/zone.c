// A zone is laid out once as stretches of one offset each, in order. Every question is a search
// for a stretch and some arithmetic on it.
//
// Invariants: segments[0] begins before all time; each begins after the one before it, and has
// another offset.

#include "base/zone.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/pool.h"
#include "base/zone_rule.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    HOUR_S = 3600,
    DAY_S = 86400,
    FILE_SIZE_MAX = 128 * 1024,  // the largest of tzdata has 4 KiB
    PATH_SIZE_MAX = 4096,
    TYPE_SIZE = 6,
    TYPES_MAX = 256,
    RULE_YEAR_FIRST = 1900,
    RULE_YEAR_LAST = 2262,  // the end of int64 nanoseconds
    RULE_CHANGES_MAX = 2 * (RULE_YEAR_LAST - RULE_YEAR_FIRST + 1),
    // RFC 8536 section 3.2: an offset is more than -25 hours and less than 26.
    OFFSET_MIN_S = -25 * HOUR_S + 1,
    OFFSET_MAX_S = 26 * HOUR_S - 1,
};

struct segment {
    int64_t from_s;
    int32_t offset_s;
};

struct zone {
    char name[ZONE_NAME_MAX + 1];
    size_t count;
    struct segment segments[];
};

// From here on the offset holds. Of two that begin at once (a summer time that lasts all year is
// written as one that ends when the next begins) the later one does.
static void
zone_add(struct zone *zone, int64_t from_s, int32_t offset_s)
{
    if (zone->count > 0 && zone->segments[zone->count - 1].from_s == from_s)
        zone->count--;
    if (zone->count > 0 && zone->segments[zone->count - 1].offset_s == offset_s)
        return;
    must(zone->count == 0 || zone->segments[zone->count - 1].from_s < from_s);
    zone->segments[zone->count++] = (struct segment){from_s, offset_s};
}

static struct zone *
zone_take(struct bytes name, size_t segments)
{
    struct zone *zone = pool_take(1, sizeof *zone + segments * sizeof zone->segments[0]);
    must(zone != NULL && "no memory for a time zone");
    (void)bytes_to_text(name, zone->name, sizeof zone->name);
    zone->count = 0;
    return zone;
}

// --- the file: RFC 8536 section 3 ---

struct counts {
    uint32_t isut, isstd, leap, time, type, chars;
};

struct data_block {
    struct counts counts;
    struct bytes times, indexes, types;
};

// A header and the block that it describes, with times of 4 or 8 bytes.
static struct data_block
take_block(struct cursor *in, size_t time_size)
{
    struct data_block block;
    struct counts *counts = &block.counts;
    if (!bytes_equal(cursor_take(in, 4), bytes_text("TZif")))
        in->failed = true;
    (void)cursor_take(in, 16);  // the version and what is reserved
    counts->isut = cursor_u32be(in);
    counts->isstd = cursor_u32be(in);
    counts->leap = cursor_u32be(in);
    counts->time = cursor_u32be(in);
    counts->type = cursor_u32be(in);
    counts->chars = cursor_u32be(in);
    block.times = cursor_take(in, counts->time * time_size);
    block.indexes = cursor_take(in, counts->time);
    block.types = cursor_take(in, (size_t)counts->type * TYPE_SIZE);
    (void)cursor_take(in, counts->chars);
    (void)cursor_take(in, counts->leap * (time_size + 4));
    (void)cursor_take(in, (size_t)counts->isstd + counts->isut);
    return block;
}

static bool
read_offsets(const struct data_block *block, int32_t offsets[TYPES_MAX])
{
    struct cursor in = cursor_over(block->types);
    if (block->counts.type == 0 || block->counts.type > TYPES_MAX)
        return false;
    for (uint32_t i = 0; i < block->counts.type; i++) {
        offsets[i] = (int32_t)cursor_u32be(&in);
        (void)cursor_take(&in, TYPE_SIZE - 4);
        if (offsets[i] < OFFSET_MIN_S || offsets[i] > OFFSET_MAX_S)
            return false;
    }
    return true;
}

// out_last_s: the last transition, from which on the footer holds.
static bool
read_transitions(const struct data_block *block, struct zone *zone, int64_t *out_last_s)
{
    int32_t offsets[TYPES_MAX];
    struct cursor times = cursor_over(block->times);
    struct cursor indexes = cursor_over(block->indexes);
    if (!read_offsets(block, offsets))
        return false;
    zone_add(zone, INT64_MIN, offsets[0]);
    int64_t before_s = INT64_MIN;
    for (uint32_t i = 0; i < block->counts.time; i++) {
        int64_t at_s = (int64_t)cursor_u64be(&times);
        uint8_t type = cursor_u8(&indexes);
        if (at_s <= before_s || type >= block->counts.type)
            return false;
        zone_add(zone, at_s, offsets[type]);
        before_s = at_s;
    }
    *out_last_s = before_s;
    return true;
}

static void
lay_out_rule(const struct zone_rule *rule, int64_t last_s, struct zone *zone)
{
    if (!rule->has_dst) {
        zone_add(zone, last_s, rule->std_offset_s);
        return;
    }
    for (int32_t year = RULE_YEAR_FIRST; year <= RULE_YEAR_LAST; year++) {
        struct zone_change changes[2];
        zone_rule_changes(rule, year, changes);
        for (size_t i = 0; i < 2; i++) {
            if (changes[i].at_s > last_s &&
                changes[i].at_s >= zone->segments[zone->count - 1].from_s)
                zone_add(zone, changes[i].at_s, changes[i].offset_s);
        }
    }
}

// "\nCET-1CEST,M3.5.0,M10.5.0/3\n"; nothing between the newlines: the last offset stays.
static bool
read_footer(struct cursor *in, int64_t last_s, struct zone *zone)
{
    struct zone_rule rule;
    if (cursor_u8(in) != '\n')
        return false;
    const uint8_t *end = memchr(in->at, '\n', cursor_left(in));
    if (end == NULL)
        return false;
    struct bytes text = bytes_of(in->at, (size_t)(end - in->at));
    if (text.size == 0)
        return true;
    if (!zone_rule_parse(text, &rule) || rule.std_offset_s < OFFSET_MIN_S ||
        rule.std_offset_s > OFFSET_MAX_S || rule.dst_offset_s < OFFSET_MIN_S ||
        rule.dst_offset_s > OFFSET_MAX_S)
        return false;
    lay_out_rule(&rule, last_s, zone);
    return true;
}

enum status
zone_parse(struct bytes name, struct bytes file, struct zone **out, struct error *error)
{
    struct cursor in = cursor_over(file);
    int64_t last_s;
    (void)take_block(&in, 4);
    struct data_block block = take_block(&in, 8);
    const char *fault = NULL;
    if (cursor_failed(&in))
        fault = "it is cut off, or no TZif file of version 2 or later";
    else if (block.counts.leap > 0)
        fault = "it counts leap seconds, and time here does not";
    if (fault == NULL) {
        struct zone *zone = zone_take(name, block.counts.time + 2 + RULE_CHANGES_MAX);
        if (read_transitions(&block, zone, &last_s) && read_footer(&in, last_s, zone)) {
            *out = zone;
            return STATUS_OK;
        }
        pool_give(zone);
        fault = "its transitions or its rule do not make sense";
    }
    return error_set(
        error,
        STATUS_INVALID,
        "time zone %.*s: %s",
        (int)name.size,
        (const char *)name.data,
        fault);
}

// As tzdata names its zones: no way out of its folder.
static bool
name_is_sound(struct bytes name)
{
    if (name.size == 0 || name.size > ZONE_NAME_MAX || name.data[0] == '/')
        return false;
    for (size_t i = 0; i < name.size; i++) {
        uint8_t c = name.data[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool is_other = (c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-' || c == '/';
        if (!is_letter && !is_other)
            return false;
    }
    return true;
}

static enum status
zone_read(struct bytes name, uint8_t *file, size_t *out_size, struct error *error)
{
    char path[PATH_SIZE_MAX];
    const char *folder = getenv("TZDIR");
    if (folder == NULL || *folder == '\0')
        folder = "/usr/share/zoneinfo";
    size_t folder_size = strlen(folder);
    if (folder_size + 1 + name.size >= sizeof path)
        return error_set(error, STATUS_INVALID, "%s: path is too long", folder);
    memcpy(path, folder, folder_size);
    path[folder_size] = '/';
    memcpy(path + folder_size + 1, name.data, name.size);
    path[folder_size + 1 + name.size] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, file, FILE_SIZE_MAX);
    if (fd >= 0)
        close(fd);
    if (got < 0) {
        return error_set(
            error,
            STATUS_INVALID,
            "time zone %.*s is not in %s: give a name like Europe/Berlin, and see that tzdata is "
            "installed",
            (int)name.size,
            (const char *)name.data,
            folder);
    }
    *out_size = (size_t)got;
    return STATUS_OK;
}

enum status
zone_open(struct bytes name, struct zone **out, struct error *error)
{
    if (bytes_equal(name, bytes_text("UTC"))) {
        *out = zone_take(name, 1);
        zone_add(*out, INT64_MIN, 0);
        return STATUS_OK;
    }
    if (!name_is_sound(name)) {
        return error_set(
            error,
            STATUS_INVALID,
            "this is not the name of a time zone: give one like Europe/Berlin");
    }
    uint8_t *file = pool_take(1, FILE_SIZE_MAX);
    must(file != NULL && "no memory for a time zone");
    size_t size;
    enum status status = zone_read(name, file, &size, error);
    if (status == STATUS_OK)
        status = zone_parse(name, bytes_of(file, size), out, error);
    pool_give(file);
    return status;
}

void
zone_close(struct zone **zone)
{
    pool_give(*zone);
    *zone = NULL;
}

const char *
zone_name(const struct zone *zone)
{
    return zone->name;
}

// --- questions ---

// The last segment that begins at or before the moment.
static size_t
segment_at(const struct zone *zone, int64_t time_s)
{
    size_t low = 0;
    size_t high = zone->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (zone->segments[middle].from_s <= time_s)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int64_t
segment_end(const struct zone *zone, size_t index)
{
    return index + 1 < zone->count ? zone->segments[index + 1].from_s : INT64_MAX;
}

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int32_t
zone_offset(const struct zone *zone, int64_t time_s)
{
    return zone->segments[segment_at(zone, time_s)].offset_s;
}

uint64_t
zone_rules(const struct zone *zone, int64_t until_s)
{
    uint64_t hash = 0;
    must(until_s >= 0);
    for (size_t i = segment_at(zone, 0); i < zone->count && zone->segments[i].from_s <= until_s;
         i++) {
        const struct segment *segment = &zone->segments[i];
        const int64_t change[2] = {segment->from_s > 0 ? segment->from_s : 0, segment->offset_s};
        hash = hash64(bytes_of(change, sizeof change), hash);
    }
    return hash;
}

// The first instant whose local date is the day (counted from 1970) or later.
static int64_t
day_begin(const struct zone *zone, int64_t day)
{
    const int64_t midnight_s = day * DAY_S;
    size_t i = segment_at(zone, midnight_s - OFFSET_MAX_S);
    for (;; i++) {
        int64_t at_s = midnight_s - zone->segments[i].offset_s;
        if (at_s < zone->segments[i].from_s)
            at_s = zone->segments[i].from_s;
        if (at_s < segment_end(zone, i))
            return at_s;
    }
}

// Which day the instant belongs to. The clock may have gone back over midnight since the day began.
static int64_t
day_of(const struct zone *zone, int64_t time_s)
{
    int64_t day = floor_div(time_s + zone_offset(zone, time_s), DAY_S);
    while (day_begin(zone, day + 1) <= time_s)
        day++;
    return day;
}

int64_t
zone_day_start(const struct zone *zone, int64_t time_s)
{
    return day_begin(zone, day_of(zone, time_s));
}

int64_t
zone_day_next(const struct zone *zone, int64_t time_s)
{
    return day_begin(zone, day_of(zone, time_s) + 1);
}

int64_t
zone_month_start(const struct zone *zone, int64_t time_s)
{
    struct civil date = civil_from_days(day_of(zone, time_s));
    date.day = 1;
    return day_begin(zone, civil_to_days(date));
}

int64_t
zone_month_next(const struct zone *zone, int64_t time_s)
{
    struct civil date = civil_from_days(day_of(zone, time_s));
    date.day = 1;
    return day_begin(zone, civil_to_days(civil_add_months(date, 1, 1)));
}

int64_t
zone_hour_start(const struct zone *zone, int64_t time_s)
{
    const struct segment *segment = &zone->segments[segment_at(zone, time_s)];
    int64_t start_s = floor_div(time_s + segment->offset_s, HOUR_S) * HOUR_S - segment->offset_s;
    return start_s > segment->from_s ? start_s : segment->from_s;
}

int64_t
zone_hour_next(const struct zone *zone, int64_t time_s)
{
    size_t index = segment_at(zone, time_s);
    int32_t offset_s = zone->segments[index].offset_s;
    int64_t next_s = (floor_div(time_s + offset_s, HOUR_S) + 1) * HOUR_S - offset_s;
    int64_t end_s = segment_end(zone, index);
    return next_s < end_s ? next_s : end_s;
}
