#include "base/assert.h"
#include "base/option_parts.h"

#include <inttypes.h>
#include <stdio.h>

// Suffixes of sizes and durations, the largest first.
struct unit {
    const char *suffix;
    int64_t factor;
};

static const struct unit size_units[] = {
    {"T",               (int64_t)1 << 40},
    {"G",                 (int64_t)1 << 30},
    {"M",(int64_t)1 << 20},
    {"K",               (int64_t)1 << 10},
    {"",                 1},
    {0},
};

static const struct unit duration_units[] = {
    {"d",                  86400 * 1000000000LL},
    {"h",                    3600 * 1000000000LL},
    {"m",60 * 1000000000LL},
    {"s",                  1000000000},
    {"ms",                    1000000},
    {"us",1000},
    {"ns",                 1},
    {0                   },
};

static const struct unit plain_units[] = {
    {"", 1},
    {0 },
};

static const struct unit *
units_of(enum option_type type)
{
    if (type == OPTION_SIZE)
        return size_units;
    if (type == OPTION_DURATION)
        return duration_units;
    return plain_units;
}

// [-]digits, as far as they go.
static bool
take_int64(struct cursor *in, int64_t *out)
{
    bool is_negative = cursor_left(in) > 0 && *in->at == '-';
    if (is_negative)
        (void)cursor_u8(in);
    int64_t value = 0;
    size_t digits = 0;
    // Downwards, since the negative side reaches one further.
    for (; cursor_left(in) > 0 && *in->at >= '0' && *in->at <= '9'; digits++) {
        int digit = cursor_u8(in) - '0';
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, digit, &value))
            return false;
    }
    if (!is_negative && __builtin_sub_overflow(0, value, &value))
        return false;
    *out = value;
    return digits > 0;
}

// Digits and one of the units. 0 needs no unit.
static bool
number_read(const char *text, enum option_type type, int64_t *out)
{
    struct cursor in = cursor_over(bytes_text(text));
    int64_t value;
    if (!take_int64(&in, &value))
        return false;
    struct bytes suffix = cursor_take(&in, cursor_left(&in));
    if (value == 0 && suffix.size == 0) {
        *out = 0;
        return true;
    }
    for (const struct unit *unit = units_of(type); unit->suffix != NULL; unit++)
        if (bytes_equal(suffix, bytes_text(unit->suffix)))
            return !__builtin_mul_overflow(value, unit->factor, out);
    return false;
}

// A bound in the largest unit that divides it.
static char *
number_text(struct arena *arena, enum option_type type, int64_t value)
{
    const struct unit *unit = units_of(type);
    while (unit->factor != 1 && (value == 0 || value % unit->factor != 0))
        unit++;
    return arena_format(arena, "%" PRId64 "%s", value / unit->factor, unit->suffix);
}

static const char *
number_wanted(enum option_type type)
{
    if (type == OPTION_SIZE)
        return "a size such as 4096, 64K, 16M or 2G";
    if (type == OPTION_DURATION)
        return "a duration such as 500ms, 30s, 5m, 2h or 7d";
    return "a whole number";
}

static enum status
number_store(
    struct option_reader *reader,
    const struct option_row *row,
    const char *place,
    const char *text,
    int64_t *out)
{
    int64_t value;
    if (!number_read(text, row->type, &value))
        return error_set(
            reader->error,
            STATUS_INVALID,
            "%s: \"%s\" is not %s",
            place,
            text,
            number_wanted(row->type));
    bool is_bounded = row->min != 0 || row->max != 0;
    if (is_bounded && (value < row->min || value > row->max))
        return error_set(
            reader->error,
            STATUS_INVALID,
            "%s: %s is outside %s to %s",
            place,
            text,
            number_text(reader->arena, row->type, row->min),
            number_text(reader->arena, row->type, row->max));
    *out = value;
    return STATUS_OK;
}

static enum status
flag_store(struct option_reader *reader, const char *place, const char *text, bool *out)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        if (strcmp(text, yes[i]) == 0 || strcmp(text, no[i]) == 0) {
            *out = strcmp(text, yes[i]) == 0;
            return STATUS_OK;
        }
    }
    return error_set(
        reader->error, STATUS_INVALID, "%s: \"%s\" is neither true nor false", place, text);
}

// Grows at powers of two.
static void
texts_append(struct arena *arena, struct option_texts *texts, const char *text)
{
    if ((texts->count & (texts->count - 1)) == 0) {
        size_t capacity = texts->count > 0 ? texts->count * 2 : 1;
        const char **items = arena_array(arena, capacity, const char *);
        for (size_t i = 0; i < texts->count; i++)
            items[i] = texts->items[i];
        texts->items = items;
    }
    texts->items[texts->count++] = text;
}

enum status
option_store(
    struct option_reader *reader,
    const struct option_row *row,
    enum option_source source,
    const char *place,
    const char *text)
{
    size_t index = (size_t)(row - reader->spec->rows);
    must(index < reader->rows_count);
    enum option_source earlier = reader->sources[index];
    must(earlier <= source);
    reader->sources[index] = source;
    void *field = (char *)reader->settings + row->offset;
    switch (row->type) {
    case OPTION_TEXT: *(const char **)field = text; return STATUS_OK;
    case OPTION_FLAG: return flag_store(reader, place, text, field);
    case OPTION_INT:
    case OPTION_SIZE:
    case OPTION_DURATION: return number_store(reader, row, place, text, field);
    case OPTION_TEXTS:
        // A stronger source replaces the list, the same one goes on with it.
        if (earlier != source)
            *(struct option_texts *)field = (struct option_texts){0};
        texts_append(reader->arena, field, text);
        return STATUS_OK;
    }
    must(false);
    return STATUS_INVALID;
}
