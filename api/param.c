#include "api/param.h"

#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { WORDS_TEXT_MAX = 200 };

enum status
param_once(const struct target *target, const char *name, const char **out, struct error *error)
{
    size_t at = 0;
    const char *text = target_next(target, name, &at);
    if (text == NULL)
        return STATUS_OK;
    if (target_next(target, name, &at) != NULL)
        return error_set(error, STATUS_INVALID, "%s is given more than once", name);
    *out = text;
    return STATUS_OK;
}

enum status
param_check(const struct target *target, const char *const *names, struct error *error)
{
    for (size_t i = 0; i < target->pairs_count; i++) {
        const char *name = target->pairs[i].name;
        const char *const *known = names;
        while (*known != NULL && strcmp(*known, name) != 0)
            known++;
        if (*known == NULL)
            return error_set(
                error, STATUS_INVALID, "there is no parameter %.64s for this path", name);
        const char *ignored = NULL;
        enum status status = param_once(target, name, &ignored, error);
        if (status)
            return status;
    }
    return STATUS_OK;
}

enum status
param_text(
    const struct target *target,
    const char *name,
    size_t size_max,
    const char **out,
    struct error *error)
{
    const char *text = NULL;
    enum status status = param_once(target, name, &text, error);
    if (status || text == NULL)
        return status;
    if (text[0] == '\0' || strlen(text) > size_max)
        return error_set(error, STATUS_INVALID, "%s must have 1 to %zu bytes", name, size_max);
    *out = text;
    return STATUS_OK;
}

// False: no digits, something else behind them, or more than UINT64_MAX.
static bool
digits_take(const char **at, uint64_t *out)
{
    uint64_t number = 0;
    const char *begin = *at;
    for (; **at >= '0' && **at <= '9'; ++*at)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(**at - '0'), &number))
            return false;
    *out = number;
    return *at > begin;
}

enum status
param_number(
    const struct target *target,
    const char *name,
    uint32_t min,
    uint32_t max,
    uint32_t *out,
    struct error *error)
{
    const char *at = NULL;
    uint64_t number = 0;
    enum status status = param_once(target, name, &at, error);
    if (status || at == NULL)
        return status;
    if (!digits_take(&at, &number) || *at != '\0' || number < min || number > max)
        return error_set(
            error, STATUS_INVALID, "%s must be %" PRIu32 " to %" PRIu32, name, min, max);
    *out = (uint32_t)number;
    return STATUS_OK;
}

enum status
param_time_text(const char *name, const char *text, int64_t *out_ns, struct error *error)
{
    bool is_time = strchr(text, 'T') != NULL || strchr(text, 't') != NULL;
    if (!is_time || clock_parse(bytes_text(text), out_ns) != STATUS_OK)
        return error_set(
            error,
            STATUS_INVALID,
            "%s must be a date-time of RFC 3339, of the years 1678 to 2261: 2026-11-22T10:00:00Z%s",
            name,
            strchr(text, ' ') != NULL ? "; in a query string + is written %2B" : "");
    return STATUS_OK;
}

enum status
param_time(const struct target *target, const char *name, int64_t *out_ns, struct error *error)
{
    const char *text = NULL;
    enum status status = param_once(target, name, &text, error);
    return status || text == NULL ? status : param_time_text(name, text, out_ns, error);
}

// What is none of the words is refused with all of them.
static enum status
word_find(
    const char *name, struct bytes text, const char *const *words, size_t *out, struct error *error)
{
    char list[WORDS_TEXT_MAX] = "";
    size_t size = 0;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (bytes_equal(text, bytes_text(words[i]))) {
            *out = i;
            return STATUS_OK;
        }
        int printed =
            snprintf(list + size, sizeof list - size, "%s%s", i > 0 ? ", " : "", words[i]);
        must(printed > 0 && (size_t)printed < sizeof list - size);
        size += (size_t)printed;
    }
    return error_set(error, STATUS_INVALID, "%s must be one of %s", name, list);
}

enum status
param_word(
    const struct target *target,
    const char *name,
    const char *const *words,
    size_t *out,
    struct error *error)
{
    const char *text = NULL;
    enum status status = param_once(target, name, &text, error);
    return status || text == NULL ? status : word_find(name, bytes_text(text), words, out, error);
}

enum status
param_sort(
    const struct target *target,
    const char *const *fields,
    size_t *out,
    bool *out_is_descending,
    struct error *error)
{
    const char *text = NULL;
    enum status status = param_once(target, "sort", &text, error);
    if (status || text == NULL)
        return status;
    const char *end = strchrnul(text, ' ');
    bool is_descending = strcmp(end, " desc") == 0;
    if (end[0] != '\0' && !is_descending && strcmp(end, " asc") != 0)
        return error_set(error, STATUS_INVALID, "sort must be a field, with asc or desc behind it");
    if (end[0] != '\0')
        *out_is_descending = is_descending;
    return word_find("sort", bytes_of(text, (size_t)(end - text)), fields, out, error);
}

bool
param_dashed(const char *text, uint64_t *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && *text++ != '-')
            return false;
        if (!digits_take(&text, &out[i]))
            return false;
    }
    return *text == '\0';
}
