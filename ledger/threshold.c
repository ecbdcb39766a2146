#include "ledger/threshold.h"

#include "base/assert.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "ledger/registry_parts.h"
#include "ledger/window.h"

#include <string.h>

// A record: u64 checksum over the rest, seeded by that of the key, then the definition as JSON.

enum { SUBJECT_MAX = 255, RECORD_CHECKSUM_SIZE = 8 };

const char *
threshold_period_name(enum threshold_period period)
{
    return period == THRESHOLD_DAY ? "day" : "month";
}

bool
threshold_period_parse(const char *text, enum threshold_period *out)
{
    bool is_day = strcmp(text, "day") == 0;
    if (!is_day && strcmp(text, "month") != 0)
        return false;
    *out = is_day ? THRESHOLD_DAY : THRESHOLD_MONTH;
    return true;
}

void
threshold_period_of(
    enum threshold_period period, int64_t time_s, int64_t *out_from_s, int64_t *out_to_s)
{
    const struct window_kind kind = {.width = period == THRESHOLD_DAY ? CELL_DAY : CELL_MONTH};
    *out_from_s = window_start(&kind, time_s);
    *out_to_s = window_end(&kind, *out_from_s);
}

bool
threshold_allows(enum aggregation aggregation)
{
    return aggregation == AGGREGATION_COUNT || aggregation == AGGREGATION_SUM ||
           aggregation == AGGREGATION_MAX || aggregation == AGGREGATION_LATEST ||
           aggregation == AGGREGATION_UNIQUE_COUNT;
}

static enum status
threshold_check(
    struct registry *registry,
    const struct threshold *one,
    struct arena *scratch,
    struct error *error)
{
    struct meter meter;
    // A key is checked as a meter's.
    const struct meter named = {.key = one->key, .event_type = "any"};
    enum status status = meter_check(&named, error);
    if (status)
        return status;
    if (one->subject != NULL && (one->subject[0] == '\0' || strlen(one->subject) > SUBJECT_MAX ||
                                 !bytes_is_utf8(bytes_text(one->subject))))
        return error_set(error, STATUS_INVALID, "subject must be 1 to 255 bytes of UTF-8");
    if (one->limit.units <= 0)
        return error_set(error, STATUS_INVALID, "limit must be above 0");
    status = registry_find(registry, one->meter, scratch, &meter, error);
    if (!status && !threshold_allows(meter.aggregation)) {
        return error_set(
            error,
            STATUS_INVALID,
            "meter %s is %s: a threshold watches count, sum, max, latest or unique_count",
            meter.key,
            aggregation_name(meter.aggregation));
    }
    if (!status && meter.aggregation == AGGREGATION_UNIQUE_COUNT &&
        decimal_compare(one->limit, decimal_from_int(THRESHOLD_DISTINCT_MAX)) > 0)
        return error_set(
            error,
            STATUS_INVALID,
            "the limit of distinct values must be at most %d",
            THRESHOLD_DISTINCT_MAX);
    return status;
}

static void
threshold_write(const struct threshold *one, struct buffer *buffer)
{
    char limit[DECIMAL_TEXT_MAX];
    struct json_out out = json_out_to(buffer);
    (void)decimal_print(one->limit, limit);
    json_begin(&out, '{');
    json_key(&out, "key");
    json_text(&out, one->key);
    json_key(&out, "meter");
    json_text(&out, one->meter);
    json_key(&out, "subject");
    json_text(&out, one->subject);
    json_key(&out, "period");
    json_text(&out, threshold_period_name(one->period));
    json_key(&out, "limit");
    json_text(&out, limit);
    json_key(&out, "id");
    json_int(&out, one->id);
    json_key(&out, "created_ns");
    json_int(&out, one->created_ns);
    json_end(&out, '}');
}

// NULL when it is missing, null or no string.
static const char *
text_of(const struct json *root, const char *key, struct arena *arena)
{
    const struct json *member = json_member(root, key);
    bool is_text = member != NULL && member->type == JSON_STRING;
    return is_text ? arena_text_of(arena, member->text) : NULL;
}

static bool
threshold_read_json(const struct json *root, struct arena *arena, struct threshold *out)
{
    bool is_rounded = false;
    int64_t id = 0;
    const char *period = text_of(root, "period", arena);
    const char *limit = text_of(root, "limit", arena);
    const struct json *id_member = json_member(root, "id");
    const struct json *created = json_member(root, "created_ns");
    *out = (struct threshold){
        .key = text_of(root, "key", arena),
        .meter = text_of(root, "meter", arena),
        .subject = text_of(root, "subject", arena),
    };
    bool is_sound = out->key != NULL && out->meter != NULL && period != NULL && limit != NULL &&
                    threshold_period_parse(period, &out->period) &&
                    !decimal_parse(bytes_text(limit), &out->limit, &is_rounded) && !is_rounded &&
                    id_member != NULL && !json_int64(id_member, &id) && id > 0 &&
                    id <= UINT32_MAX && created != NULL && !json_int64(created, &out->created_ns);
    out->id = (uint32_t)id;
    return is_sound;
}

static enum status
threshold_read(
    struct bytes key,
    struct bytes value,
    struct arena *arena,
    struct threshold *out,
    struct error *error)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    struct bytes text = arena_bytes(arena, bytes_of(in.at, cursor_left(&in)));
    const struct json_limits limits = {0};
    struct json *root = NULL;
    bool is_sound = !cursor_failed(&in) && checksum == hash64(text, hash64(key, 0)) &&
                    !json_parse(text, &limits, arena, &root, NULL) &&
                    threshold_read_json(root, arena, out);
    if (is_sound)
        return STATUS_OK;
    return error_set(
        error,
        STATUS_CORRUPT,
        "the definition of threshold %.*s is damaged: remove and define it again",
        (int)key.size,
        (const char *)key.data);
}

bool
threshold_is_same(const struct threshold *a, const struct threshold *b)
{
    bool has_subject = a->subject != NULL;
    return strcmp(a->meter, b->meter) == 0 && has_subject == (b->subject != NULL) &&
           (!has_subject || strcmp(a->subject, b->subject) == 0) && a->period == b->period &&
           decimal_compare(a->limit, b->limit) == 0;
}

static bool
entry_is_whole(struct bytes key, struct bytes value)
{
    struct cursor in = cursor_over(value);
    uint64_t checksum = cursor_u64le(&in);
    return !cursor_failed(&in) &&
           checksum == hash64(bytes_of(in.at, cursor_left(&in)), hash64(key, 0));
}

// Before anybody is told that a threshold is not there.
static enum status
thresholds_check(struct tx *tx, struct error *error)
{
    bool is_whole = tx_is_whole(tx, REGISTRY_DB_THRESHOLDS, entry_is_whole);
    enum status status = tx_check(tx, error);
    if (!status && !is_whole)
        return error_set(
            error,
            STATUS_CORRUPT,
            "the definitions of thresholds are damaged: `tally ledger verify` says where; restore "
            "the meter registry from a backup");
    return status;
}

static enum status
threshold_store(struct tx *tx, const struct threshold *one, struct error *error)
{
    scoped(buffer_done) struct buffer value = {0};
    struct bytes key = bytes_text(one->key);
    buffer_u64le(&value, 0);
    threshold_write(one, &value);
    must(!buffer_failed(&value));
    uint64_t checksum = hash64(
        bytes_of(value.data + RECORD_CHECKSUM_SIZE, value.size - RECORD_CHECKSUM_SIZE),
        hash64(key, 0));
    memcpy(value.data, &checksum, sizeof checksum);
    tx_put(tx, REGISTRY_DB_THRESHOLDS, key, buffer_view(&value));
    return tx_commit(tx, error);
}

enum status
threshold_put(
    struct registry *registry,
    const struct threshold *threshold,
    int64_t now_ns,
    enum meter_change *out_change,
    struct error *error)
{
    scoped(arena_done) struct arena scratch = {0};
    struct threshold old = {0};
    struct bytes value;
    enum status status = threshold_check(registry, threshold, &scratch, error);
    if (status)
        return status;
    scoped(tx_done) struct tx tx = tx_write(registry_env(registry));
    struct bytes key = bytes_text(threshold->key);
    bool is_there = tx_get(&tx, REGISTRY_DB_THRESHOLDS, key, &value);
    // One that is damaged is written anew.
    bool is_sound = is_there && !threshold_read(key, value, &scratch, &old, NULL);
    if (is_sound && threshold_is_same(&old, threshold)) {
        *out_change = METER_UNCHANGED;
        return STATUS_OK;
    }
    if (!is_there && tx_count(&tx, REGISTRY_DB_THRESHOLDS) >= THRESHOLDS_MAX) {
        return error_set(
            error, STATUS_FULL, "there are %d thresholds, the most allowed", THRESHOLDS_MAX);
    }
    struct threshold next = *threshold;
    next.created_ns = now_ns;
    status = registry_next_id(&tx, &next.id, error);
    if (!status)
        status = threshold_store(&tx, &next, error);
    if (!status)
        *out_change = is_there ? METER_REDEFINED : METER_CREATED;
    return status;
}

enum status
threshold_remove(struct registry *registry, const char *key, struct error *error)
{
    scoped(tx_done) struct tx tx = tx_write(registry_env(registry));
    bool was_there = strlen(key) <= METER_KEY_MAX && key[0] != '\0' &&
                     tx_delete(&tx, REGISTRY_DB_THRESHOLDS, bytes_text(key));
    enum status status = tx_check(&tx, error);
    if (status)
        return status;
    if (!was_there) {
        status = thresholds_check(&tx, error);
        return status ? status
                      : error_set(error, STATUS_NOT_FOUND, "there is no threshold \"%s\"", key);
    }
    return tx_commit(&tx, error);
}

enum status
threshold_list(
    struct registry *registry,
    struct arena *arena,
    struct threshold **out,
    uint32_t *out_count,
    struct error *error)
{
    scoped(tx_done) struct tx tx = tx_read(registry_env(registry));
    uint64_t entries = tx_count(&tx, REGISTRY_DB_THRESHOLDS);
    struct threshold *list = arena_array(arena, entries, struct threshold);
    uint32_t count = 0;
    enum status status = STATUS_OK;
    struct walk walk = walk_open(&tx, REGISTRY_DB_THRESHOLDS);
    for (bool more = walk_first(&walk); more && !status && count < entries; more = walk_next(&walk))
        status = threshold_read(walk.key, walk.value, arena, &list[count++], error);
    walk_done(&walk);
    if (!status)
        status = thresholds_check(&tx, error);
    if (status)
        return status;
    *out = list;
    *out_count = count;
    return STATUS_OK;
}

const struct threshold *
threshold_find(const struct threshold *list, uint32_t count, const char *key)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(list[i].key, key) == 0)
            return &list[i];
    }
    return NULL;
}
