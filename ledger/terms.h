#pragma once
// What a deployment chose for its ledger: how long what is kept, the billing zones, for how long an
// identity is known. It stands in ledger.conf and ledger.shape, so that every program that opens
// the ledger goes by it; tallyd changes it when it starts with other options.
//
//     struct ledger_terms terms = LEDGER_TERMS_DEFAULT;
//     terms_read(path, text, &terms, &error);      // what the text does not name stays as it was
//     terms_print(&terms, &buffer);
//     if (!terms_equal(&terms, &wanted)) ...
//
// Owner: values. Thread: any.

#include "base/buffer.h"
#include "base/status.h"
#include "ledger/window.h"

enum { TERMS_GROUPS_MAX = 1000000 };

struct ledger_terms {
    int64_t keep_quarter_hours_s;  // cells of that width; 0: for good
    int64_t keep_hours_s;          // likewise
    int64_t keep_log_s;            // events themselves; 0: for good
    int64_t dedup_window_s;        // an identity is known for at least so long; more than 0
    uint32_t groups_max;           // of a subject in an hour, a day, a month; more than 0
    uint32_t zones_count;          // days and months of these have cells of their own
    char zones[BILLING_ZONES_MAX][ZONE_NAME_MAX + 1];
};

// DESIGN section 6.
#define LEDGER_TERMS_DEFAULT                                                                       \
    {                                                                                              \
        .keep_quarter_hours_s = 3 * INT64_C(86400), .keep_hours_s = 400 * INT64_C(86400),          \
        .dedup_window_s = 36 * INT64_C(86400), .groups_max = 1000                                  \
    }

// STATUS_INVALID: more than BILLING_ZONES_MAX, or a name is too long, or twice in the list.
enum status terms_zones(
    struct ledger_terms *terms,
    const char *const *zones,
    uint32_t count,
    struct error *error) CHECKED;
bool terms_equal(const struct ledger_terms *a, const struct ledger_terms *b);
// Lines of "key = value".
void terms_print(const struct ledger_terms *terms, struct buffer *out);
// STATUS_INVALID, with path and key: a value makes no sense.
enum status terms_read(
    const char *path, const char *text, struct ledger_terms *terms, struct error *error) CHECKED;
