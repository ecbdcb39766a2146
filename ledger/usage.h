#pragma once
// Asking the ledger: usage of a meter by subject, window and dimensions. Any process; beside a
// running tallyd or without it.
//
//     reader_open(dir, &reader, &error);
//     struct usage_query query = {.meter = "tokens", .subject = bytes_text("azure-conv"),
//                                 .from_ns = from, .to_ns = to, .window = USAGE_WINDOW_DAY};
//     usage_query(reader, &query, &arena, &result, &error);
//
// An answer is the fold of a prefix of each shard's log that holds every event acked before the
// question: cells of a short snapshot, merged with what tallyd still has in memory (its read
// socket), or with the log's tail when tallyd is away. Blocks older than a meter's live_from, and
// ranges and windows that do not end on quarter hours, are answered from the log's blocks.
// STATUS_OVERFLOW names meter, subject and window of a cell whose sum left its range.
// STATUS_NOT_FOUND: no such meter. Owner: reader by who opened it, one thread at a time; results in
// the arena.

#include "base/arena.h"
#include "base/status.h"
#include "base/wide.h"
#include "ledger/meter.h"
#include "ledger/usage_filter.h"

struct reader;

enum status reader_open(const char *dir, struct reader **out, struct error *error) CHECKED;
void reader_close(struct reader *reader);
struct registry *reader_registry(struct reader *reader);

// Windows follow each other without gap or overlap. Hours, days and months are those of the query's
// zone: a day lasts from one local midnight to the next, so 23 to 25 hours (base/zone.h).
enum usage_window {
    USAGE_WINDOW_NONE,    // one row for the whole range
    USAGE_WINDOW_MINUTE,  // of UTC, like quarter hours; from the log
    USAGE_WINDOW_QUARTER_HOUR,
    USAGE_WINDOW_HOUR,
    USAGE_WINDOW_DAY,
    USAGE_WINDOW_MONTH,
};

struct usage_query {
    const char *meter;
    struct bytes subject;          // size 0: those below
    const struct bytes *subjects;  // each once or more; none: all subjects
    uint32_t subjects_count;
    // One row for all wanted subjects together instead of one for each. LATEST is then that of the
    // greatest time; then of the later arrival; then of the greater subject. Without window and
    // group_by, COUNT and UNIQUE_COUNT of nothing are a row of 0; everything else of nothing has no
    // row.
    bool is_merged;
    int64_t from_ns, to_ns;  // half-open; INT64_MIN and INT64_MAX: unbounded
    enum usage_window window;
    // Of the tz database ("Europe/Berlin"); NULL: UTC. A billing zone of the ledger has days and
    // months of its own, which also serve a range without windows.
    const char *zone;
    const char *const *group_by;  // names of dimensions
    uint32_t group_by_count;
    const struct usage_filter *filter;  // NULL: none
    // The number of a cut: what was there before it, for ever the same; 0: what is there now. The
    // range must end at or before the cut's time (STATUS_INVALID).
    // STATUS_NOT_FOUND: no such cut, or not in every shard.
    uint32_t at_cut;
};

struct usage_row {
    struct bytes subject;  // size 0 when the query is_merged
    // The window, whole also at the ends of the query's range; that range for USAGE_WINDOW_NONE.
    int64_t from_ns, to_ns;
    const struct bytes *dimensions;  // as many as group_by_count, in its order
    // By the meter's aggregation: numerator / denominator, in units of 10^-18. Where the
    // denominator is 1, value is the same; AVG and WEIGHTED_SUM are fractions until they are
    // printed.
    struct decimal value;
    struct wide numerator;
    uint64_t denominator;
    uint64_t count;  // events that counted
};

// The row's value as text: exact, a fraction that does not end rounded half-even to 20 places.
size_t usage_row_print(const struct usage_row *row, char out[WIDE_TEXT_MAX]);

struct usage_result {
    struct meter meter;
    struct usage_row *rows;  // by subject, window, dimensions; only windows with usage
    size_t count;
    uint64_t blocks_read;  // of the log: 0 when the cells had the whole answer
};

enum status usage_query(
    struct reader *reader,
    const struct usage_query *query,
    struct arena *arena,
    struct usage_result *out,
    struct error *error) CHECKED;

// What a cut did not see of the windows that it sealed: late events and corrections, as a row of
// then beside the row of now. Only rows that differ.
struct usage_late_row {
    bool has_before, has_now;      // nothing usable is no row
    struct usage_row before, now;  // subject, window and dimensions are in either
    // COUNT, SUM and WEIGHTED_SUM add up: what came since, as in a usage_row; below zero when more
    // was taken out than came. Of the others only both rows say what changed.
    bool is_additive;
    struct wide numerator;
    uint64_t denominator;
    int64_t count;  // events that count now and did not then, less those that count no more
};

struct usage_late_result {
    struct meter meter;
    struct usage_late_row *rows;  // in the order of a usage_result's
    size_t count;
    uint64_t blocks_read;
};

// The query names the cut (at_cut), whose rules for the range hold. STATUS_BUSY: the meter was
// redefined meanwhile.
enum status usage_late(
    struct reader *reader,
    const struct usage_query *query,
    struct arena *arena,
    struct usage_late_result *out,
    struct error *error) CHECKED;
// What came since as text, like usage_row_print. Of an additive row.
size_t usage_late_print(const struct usage_late_row *row, char out[WIDE_TEXT_MAX]);

bool usage_window_parse(
    const char *text,
    enum usage_window *out);  // none, minute, quarter-hour, hour, day, month
#define USAGE_WINDOW_NAMES "none, minute, quarter-hour, hour, day or month"

// All subjects' totals of one meter and range, as a stream ordered by the subject's size, then by
// its bytes: the order in which they are stored. Used by billing. Memory is bounded by the windows
// in the range and by what is not on disk yet, not by the subjects. Each total is exact and holds
// every event acked before the question; while events come in, later subjects may have seen more
// than earlier ones. on_total returns false to stop; its row ends with the call.
typedef bool (*usage_total_fn)(void *context, struct bytes subject, const struct usage_row *total);
enum status usage_totals(
    struct reader *reader,
    const char *meter,
    int64_t from_ns,
    int64_t to_ns,
    usage_total_fn on_total,
    void *context,
    struct error *error) CHECKED;
// The same of a query: its subjects and filter hold. STATUS_INVALID: it has a window, groups, or
// merges subjects.
enum status usage_stream(
    struct reader *reader,
    const struct usage_query *query,
    usage_total_fn on_total,
    void *context,
    struct error *error) CHECKED;
