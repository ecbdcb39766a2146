#include "ledger/terms.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/conf_text.h"

#include <inttypes.h>
#include <string.h>

static const uint64_t SECONDS_MAX = INT64_MAX / SECOND_NS;

static enum status
zones_add(struct ledger_terms *terms, struct bytes name, struct error *error)
{
    if (terms->zones_count == BILLING_ZONES_MAX) {
        return error_set(
            error, STATUS_INVALID, "at most %d billing zones may be listed", BILLING_ZONES_MAX);
    }
    if (name.size == 0 || name.size > ZONE_NAME_MAX) {
        return error_set(
            error, STATUS_INVALID, "a billing zone's name has 1 to %d bytes", ZONE_NAME_MAX);
    }
    for (uint32_t i = 0; i < terms->zones_count; i++) {
        if (bytes_equal(bytes_text(terms->zones[i]), name))
            return error_set(
                error, STATUS_INVALID, "the billing zone %s is listed twice", terms->zones[i]);
    }
    memcpy(terms->zones[terms->zones_count++], name.data, name.size);
    return STATUS_OK;
}

static void
zones_clear(struct ledger_terms *terms)
{
    terms->zones_count = 0;
    memset(terms->zones, 0, sizeof terms->zones);
}

enum status
terms_zones(
    struct ledger_terms *terms, const char *const *zones, uint32_t count, struct error *error)
{
    struct ledger_terms other = *terms;
    enum status status = STATUS_OK;
    zones_clear(&other);
    for (uint32_t i = 0; i < count && !status; i++)
        status = zones_add(&other, bytes_text(zones[i]), error);
    if (!status)
        *terms = other;
    return status;
}

bool
terms_equal(const struct ledger_terms *a, const struct ledger_terms *b)
{
    bool is_equal = a->keep_quarter_hours_s == b->keep_quarter_hours_s &&
                    a->keep_hours_s == b->keep_hours_s && a->keep_log_s == b->keep_log_s &&
                    a->dedup_window_s == b->dedup_window_s && a->groups_max == b->groups_max &&
                    a->zones_count == b->zones_count;
    for (uint32_t i = 0; i < a->zones_count && is_equal; i++)
        is_equal = strcmp(a->zones[i], b->zones[i]) == 0;
    return is_equal;
}

void
terms_print(const struct ledger_terms *terms, struct buffer *out)
{
    must(terms->zones_count <= BILLING_ZONES_MAX && terms->dedup_window_s > 0);
    must(terms->groups_max > 0);
    buffer_format(out, "# Options of tallyd, for all who open the ledger; 0: for good\n");
    buffer_format(out, "keep_quarter_hours_s = %" PRId64 "\n", terms->keep_quarter_hours_s);
    buffer_format(out, "keep_hours_s = %" PRId64 "\n", terms->keep_hours_s);
    buffer_format(out, "keep_log_s = %" PRId64 "\n", terms->keep_log_s);
    buffer_format(out, "dedup_window_s = %" PRId64 "\n", terms->dedup_window_s);
    buffer_format(out, "groups_max = %" PRIu32 "\n", terms->groups_max);
    buffer_text(out, "billing_zones = ");
    for (uint32_t i = 0; i < terms->zones_count; i++)
        buffer_format(out, "%s%s", i > 0 ? "," : "", terms->zones[i]);
    buffer_text(out, "\n");
}

static enum status
seconds_read(
    const char *path,
    const char *text,
    const char *key,
    uint64_t min,
    int64_t *out,
    struct error *error)
{
    size_t size;
    uint64_t number = 0;
    if (conf_value(text, key, &size) == NULL)
        return STATUS_OK;
    if (!conf_number(text, key, min, SECONDS_MAX, &number))
        return error_set(error, STATUS_INVALID, "%s: %s is no number of seconds", path, key);
    *out = (int64_t)number;
    return STATUS_OK;
}

static enum status
groups_read(const char *path, const char *text, struct ledger_terms *terms, struct error *error)
{
    size_t size;
    uint64_t number = 0;
    if (conf_value(text, "groups_max", &size) == NULL)
        return STATUS_OK;
    if (!conf_number(text, "groups_max", 1, TERMS_GROUPS_MAX, &number))
        return error_set(
            error,
            STATUS_INVALID,
            "%s: groups_max is no number of 1 to %d",
            path,
            TERMS_GROUPS_MAX);
    terms->groups_max = (uint32_t)number;
    return STATUS_OK;
}

static enum status
zones_read(const char *path, const char *text, struct ledger_terms *terms, struct error *error)
{
    size_t size = 0;
    const char *list = conf_value(text, "billing_zones", &size);
    enum status status = STATUS_OK;
    if (list == NULL)
        return STATUS_OK;
    zones_clear(terms);
    for (size_t at = 0; at < size && !status;) {
        const char *comma = memchr(list + at, ',', size - at);
        size_t end = comma != NULL ? (size_t)(comma - list) : size;
        status = zones_add(terms, bytes_of(list + at, end - at), error);
        at = end + 1;
    }
    return status ? error_prefix(error, "%s", path) : STATUS_OK;
}

enum status
terms_read(const char *path, const char *text, struct ledger_terms *terms, struct error *error)
{
    struct ledger_terms read = *terms;
    enum status status =
        seconds_read(path, text, "keep_quarter_hours_s", 0, &read.keep_quarter_hours_s, error);
    if (!status)
        status = seconds_read(path, text, "keep_hours_s", 0, &read.keep_hours_s, error);
    if (!status)
        status = seconds_read(path, text, "keep_log_s", 0, &read.keep_log_s, error);
    if (!status)
        status = seconds_read(path, text, "dedup_window_s", 1, &read.dedup_window_s, error);
    if (!status)
        status = groups_read(path, text, &read, error);
    if (!status)
        status = zones_read(path, text, &read, error);
    if (!status)
        *terms = read;
    return status;
}
