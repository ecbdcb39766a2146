#include "base/assert.h"
#include "tests/ledger/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// What a question is answered with: a fold over all events, with sums as digits.

static const int64_t LIMB_BASE = 1000000000;

int128
model_units(const char *text)
{
    int128 units = 0;
    int places = -1;
    bool is_negative = *text == '-';
    for (text += is_negative; *text != '\0'; text++) {
        if (*text == '.') {
            places = 0;
            continue;
        }
        if (*text == 'e') {
            places = (places < 0 ? 0 : places) - (int)strtol(text + 1, NULL, 10);
            break;
        }
        units = units * 10 + (*text - '0');
        places += places >= 0;
    }
    for (places = places < 0 ? 0 : places; places < DECIMAL_PLACES; places++)
        units *= 10;
    return is_negative ? -units : units;
}

// number += value * by
static void
number_add(struct model_number *number, int128 value, uint64_t by)
{
    int sign = value < 0 ? -1 : 1;
    uint128 left = value < 0 ? -(uint128)value : (uint128)value;
    for (int i = 0; left > 0; i++, left /= (uint128)LIMB_BASE) {
        uint64_t right = by;
        for (int j = 0; right > 0; j++, right /= (uint64_t)LIMB_BASE)
            number->limbs[i + j] +=
                sign * (int128)(left % (uint128)LIMB_BASE) * (int128)(right % (uint64_t)LIMB_BASE);
    }
}

// Limbs of [0, base) and a sign. The highest limb never fills.
static struct model_number
number_plain(const struct model_number *number, bool *out_is_negative)
{
    struct model_number plain = *number;
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i + 1 < MODEL_LIMBS; i++) {
            int128 carry = plain.limbs[i] / LIMB_BASE - (plain.limbs[i] % LIMB_BASE < 0);
            plain.limbs[i] -= carry * LIMB_BASE;
            plain.limbs[i + 1] += carry;
        }
        *out_is_negative = turn == 1;
        if (plain.limbs[MODEL_LIMBS - 1] >= 0)
            return plain;
        for (int i = 0; i < MODEL_LIMBS; i++)
            plain.limbs[i] = -plain.limbs[i];
    }
    return plain;
}

void
model_number_print(const struct model_number *number, char out[WIDE_TEXT_MAX])
{
    char digits[MODEL_LIMBS * 9 + 1];
    bool is_negative;
    struct model_number plain = number_plain(number, &is_negative);
    must(plain.limbs[MODEL_LIMBS - 1] < LIMB_BASE);
    for (int i = 0; i < MODEL_LIMBS; i++)
        (void)snprintf(digits + 9 * i, 10, "%09d", (int)plain.limbs[MODEL_LIMBS - 1 - i]);
    const char *point = digits + sizeof digits - 1 - DECIMAL_PLACES;
    const char *first = digits;
    const char *end = digits + sizeof digits - 1;
    while (*first == '0' && first + 1 < point)
        first++;
    while (end > point && end[-1] == '0')
        end--;
    (void)snprintf(
        out,
        WIDE_TEXT_MAX,
        "%s%.*s%s%.*s",
        is_negative ? "-" : "",
        (int)(point - first),
        first,
        end > point ? "." : "",
        (int)(end - point),
        point);
}

static bool
number_fits(const struct model_number *number)
{
    bool is_negative;
    struct model_number plain = number_plain(number, &is_negative);
    uint128 all = 0;
    for (int i = MODEL_LIMBS - 1; i >= 0; i--) {
        if (__builtin_mul_overflow(all, (uint128)LIMB_BASE, &all) ||
            __builtin_add_overflow(all, (uint128)plain.limbs[i], &all))
            return false;
    }
    return all <= ((uint128)1 << 127) - !is_negative;
}

struct fold {
    const struct meter *meter;
    const struct usage_query *query;
    struct arena *arena;
    struct model_row *rows;
    size_t count, capacity;
};

// NULL: there is nothing at this path. The first of equal keys wins.
static const struct model_value *
value_at(const struct model_event *event, const char *path)
{
    bool is_deep = strncmp(path, "$.deep.", 7) == 0;
    const char *key = path + (is_deep ? 7 : 2);
    for (uint32_t i = 0; i < event->properties_count; i++) {
        const struct model_property *property = &event->properties[i];
        if (property->is_deep == is_deep && strcmp(property->key, key) == 0)
            return &property->value;
    }
    return NULL;
}

static struct bytes
dimension_of(const struct fold *fold, const struct model_event *event, const char *name)
{
    for (uint32_t i = 0; i < fold->meter->dimensions_count; i++) {
        if (strcmp(fold->meter->dimensions[i].name, name) == 0) {
            const struct model_value *value = value_at(event, fold->meter->dimensions[i].path);
            return value == NULL ? bytes_of(NULL, 0) : bytes_of(value->text, value->text_size);
        }
    }
    must(false && "the meter has no such dimension");
    return bytes_of(NULL, 0);
}

// The meter counts at that time, and every part of the filter wants one of some values.
static bool
is_accepted(const struct fold *fold, const struct model_event *event)
{
    if (event->time_ns < fold->meter->events_from_ns)
        return false;
    const struct usage_filter *filter = fold->query->filter;
    for (uint32_t i = 0; filter != NULL && i < filter->parts_count; i++) {
        const struct usage_filter *part = &filter->parts[i];
        bool is_one = false;
        must(filter->kind == USAGE_AND && part->kind == USAGE_IN);
        for (uint32_t j = 0; j < part->values_count; j++)
            is_one |= bytes_equal(part->values[j], dimension_of(fold, event, part->dimension));
        if (!is_one)
            return false;
    }
    return true;
}

// Days and months as the C library knows the zone; its clocks never change at midnight.
static void
window_of_zone(const struct usage_query *query, int64_t time_ns, int64_t *out_from, int64_t *out_to)
{
    struct tm date;
    time_t seconds = (time_t)(time_ns / 1000000000);
    bool is_month = query->window == USAGE_WINDOW_MONTH;
    must(setenv("TZ", query->zone, 1) == 0);
    tzset();
    must(localtime_r(&seconds, &date) != NULL);
    struct tm edge = {
        .tm_year = date.tm_year,
        .tm_mon = date.tm_mon,
        .tm_mday = is_month ? 1 : date.tm_mday,
        .tm_isdst = -1,
    };
    *out_from = (int64_t)mktime(&edge) * 1000000000;
    edge = (struct tm){
        .tm_year = date.tm_year,
        .tm_mon = date.tm_mon + is_month,
        .tm_mday = is_month ? 1 : date.tm_mday + 1,
        .tm_isdst = -1,
    };
    *out_to = (int64_t)mktime(&edge) * 1000000000;
}

static void
window_of(const struct usage_query *query, int64_t time_ns, int64_t *out_from, int64_t *out_to)
{
    bool has_days = query->window == USAGE_WINDOW_DAY || query->window == USAGE_WINDOW_MONTH;
    if (query->zone != NULL && has_days) {
        window_of_zone(query, time_ns, out_from, out_to);
        return;
    }
    static const int64_t minutes[] = {
        [USAGE_WINDOW_MINUTE] = 1,
        [USAGE_WINDOW_QUARTER_HOUR] = 15,
        [USAGE_WINDOW_HOUR] = 60,
        [USAGE_WINDOW_DAY] = 1440};
    struct tm date;
    time_t seconds = (time_t)(time_ns / 1000000000);
    *out_from = query->from_ns;
    *out_to = query->to_ns;
    if (query->window == USAGE_WINDOW_MONTH) {
        must(gmtime_r(&seconds, &date) != NULL);
        date = (struct tm){.tm_year = date.tm_year, .tm_mon = date.tm_mon, .tm_mday = 1};
        *out_from = (int64_t)timegm(&date) * 1000000000;
        date = (struct tm){.tm_year = date.tm_year, .tm_mon = date.tm_mon + 1, .tm_mday = 1};
        *out_to = (int64_t)timegm(&date) * 1000000000;
    } else if (query->window != USAGE_WINDOW_NONE) {
        int64_t width = minutes[query->window] * 60 * 1000000000;
        *out_from = time_ns / width * width;
        *out_to = *out_from + width;
    }
}

static struct model_row *
row_at(struct fold *fold, const struct model_row *key)
{
    for (size_t i = 0; i < fold->count; i++) {
        struct model_row *row = &fold->rows[i];
        bool is_same = row->from_ns == key->from_ns && strcmp(row->subject, key->subject) == 0;
        for (uint32_t j = 0; j < fold->query->group_by_count && is_same; j++)
            is_same = bytes_equal(row->dimensions[j], key->dimensions[j]);
        if (is_same)
            return row;
    }
    must(fold->count < fold->capacity);
    fold->rows[fold->count] = *key;
    return &fold->rows[fold->count++];
}

// What is told apart as distinct: 64 bits of FNV-1a over the text or the bytes. Nil is no value.
static bool
distinct_of(const struct meter *meter, const struct model_event *event, uint64_t *out)
{
    const struct model_value none = {.kind = MODEL_TEXT};
    const struct model_value *value = NULL;
    const void *data = &event->value;
    size_t size = sizeof event->value;
    uint64_t hash = 0xcbf29ce484222325ULL;
    if (meter->value_property != NULL) {
        value = value_at(event, meter->value_property);
        value = value == NULL ? &none : value;
        bool is_raw = value->kind == MODEL_RAW;
        data = is_raw ? (const void *)value->bytes : value->text;
        size = is_raw ? value->size : value->text_size;
        hash += is_raw;
    }
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const uint8_t *)data)[i]) * 0x100000001b3ULL;
    *out = hash;
    return value == NULL || value->kind != MODEL_NIL;
}

static void
row_add_distinct(struct fold *fold, struct model_row *row, uint64_t hash)
{
    for (uint32_t i = 0; i < row->distinct_count; i++) {
        if (row->distinct[i] == hash)
            return;
    }
    if (row->distinct_count == row->distinct_capacity) {
        uint64_t *old = row->distinct;
        row->distinct_capacity = row->distinct_capacity * 2 + 8;
        row->distinct = arena_array(fold->arena, row->distinct_capacity, uint64_t);
        if (row->distinct_count > 0)
            memcpy(row->distinct, old, row->distinct_count * sizeof *old);
    }
    row->distinct[row->distinct_count++] = hash;
}

static void
row_add(struct fold *fold, struct model_row *row, const struct model_event *event, int128 value)
{
    bool is_first = row->count++ == 0;
    switch (fold->meter->aggregation) {
    case AGGREGATION_COUNT:
    case AGGREGATION_UNIQUE_COUNT: return;
    case AGGREGATION_SUM:
    case AGGREGATION_AVG: number_add(&row->numerator, value, 1); return;
    case AGGREGATION_MIN:
        row->extreme = is_first || value < row->extreme ? value : row->extreme;
        return;
    case AGGREGATION_MAX:
        row->extreme = is_first || value > row->extreme ? value : row->extreme;
        return;
    case AGGREGATION_LATEST:
        // Events come in the order of the log: of equal times the later one stays.
        if (is_first || event->time_ns >= row->latest_ns) {
            row->latest_ns = event->time_ns;
            row->extreme = value;
        }
        return;
    case AGGREGATION_WEIGHTED_SUM:
        number_add(&row->numerator, value, (uint64_t)row->to_ns - (uint64_t)event->time_ns);
        return;
    }
}

static void
fold_event(struct fold *fold, const struct model_event *event)
{
    const struct usage_query *query = fold->query;
    const struct meter *meter = fold->meter;
    struct model_row key = {.subject = event->subject};
    uint64_t distinct = 0;
    int128 value = event->value;
    if (strcmp(event->type, meter->event_type) != 0 || event->time_ns < query->from_ns ||
        (event->time_ns >= query->to_ns && query->to_ns != INT64_MAX) ||
        (query->subject.size > 0 && !bytes_equal(query->subject, bytes_text(event->subject))))
        return;
    if (meter->aggregation == AGGREGATION_UNIQUE_COUNT) {
        if (!distinct_of(meter, event, &distinct))
            return;
    } else if (meter->value_property != NULL) {
        const struct model_value *property = value_at(event, meter->value_property);
        if (property == NULL || !property->is_number)
            return;
        value = property->number;
    }
    if (!is_accepted(fold, event))
        return;
    for (uint32_t i = 0; i < query->group_by_count; i++)
        key.dimensions[i] = dimension_of(fold, event, query->group_by[i]);
    window_of(query, event->time_ns, &key.from_ns, &key.to_ns);
    struct model_row *row = row_at(fold, &key);
    row_add(fold, row, event, value);
    if (meter->aggregation == AGGREGATION_UNIQUE_COUNT)
        row_add_distinct(fold, row, distinct);
}

static enum status
row_finish(const struct fold *fold, struct model_row *row)
{
    const int128 one = model_units("1");
    row->denominator = 1;
    switch (fold->meter->aggregation) {
    case AGGREGATION_COUNT: number_add(&row->numerator, one, row->count); break;
    case AGGREGATION_UNIQUE_COUNT: number_add(&row->numerator, one, row->distinct_count); break;
    case AGGREGATION_SUM: break;
    case AGGREGATION_AVG: row->denominator = row->count; break;
    case AGGREGATION_MIN:
    case AGGREGATION_MAX:
    case AGGREGATION_LATEST: number_add(&row->numerator, row->extreme, 1); break;
    case AGGREGATION_WEIGHTED_SUM:
        // A window has both ends; a range may have none.
        if (fold->query->window == USAGE_WINDOW_NONE &&
            (row->from_ns <= 0 || row->to_ns == INT64_MAX))
            return STATUS_INVALID;
        row->denominator = (uint64_t)(row->to_ns - row->from_ns);
        break;
    }
    return row->denominator == 1 && !number_fits(&row->numerator) ? STATUS_OVERFLOW : STATUS_OK;
}

enum status
model_answer(
    const struct model *model,
    const struct meter *meter,
    const struct usage_query *query,
    struct arena *arena,
    struct model_row **out_rows,
    size_t *out_count)
{
    struct fold fold = {
        .meter = meter,
        .query = query,
        .arena = arena,
        .rows = arena_array(arena, model->count, struct model_row),
        .capacity = model->count,
    };
    enum status status = STATUS_OK;
    uint64_t end = UINT64_MAX;
    if (query->at_cut > 0) {
        must(query->at_cut <= model->cuts_count);
        const struct model_cut *cut = &model->cuts[query->at_cut - 1];
        must(query->to_ns <= cut->time_ns);
        end = cut->place;
    }
    if (model->seen_to > 0 && model->seen_to < end)
        end = model->seen_to + 1;
    for (uint32_t i = 0; i < model->count; i++) {
        const struct model_event *event = &model->events[i];
        bool is_taken = event->until > 0 && event->until < end;
        if (event->from > model->seen_after && event->from < end && !is_taken)
            fold_event(&fold, event);
    }
    for (size_t i = 0; i < fold.count; i++) {
        enum status row_status = row_finish(&fold, &fold.rows[i]);
        status = status ? status : row_status;
    }
    *out_rows = fold.rows;
    *out_count = fold.count;
    return status;
}
