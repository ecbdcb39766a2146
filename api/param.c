#include "api/param.h"

#include "base/assert.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WORDS_TEXT_MAX = 200 };

enum status
param_int(
    const struct target *target,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t *out,
    struct error *error)
{
    const char *text = target_value(target, name);
    if (text == NULL)
        return STATUS_OK;
    size_t digits = strspn(text, "0123456789");
    int64_t value = digits > 0 && digits < 16 ? strtoll(text, NULL, 10) : INT64_MIN;
    if (text[digits] != '\0' || value < min || value > max)
        return error_set(
            error, STATUS_INVALID, "%s must be %" PRId64 " to %" PRId64, name, min, max);
    *out = value;
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
            "%s must be a date-time of RFC 3339: 2026-11-22T10:00:00Z",
            name);
    return STATUS_OK;
}

enum status
param_time(const struct target *target, const char *name, int64_t *out_ns, struct error *error)
{
    const char *text = target_value(target, name);
    return text != NULL ? param_time_text(name, text, out_ns, error) : STATUS_OK;
}

enum status
param_word(
    const struct target *target,
    const char *name,
    const char *const *words,
    size_t *out,
    struct error *error)
{
    const char *text = target_value(target, name);
    char list[WORDS_TEXT_MAX] = "";
    size_t size = 0;
    if (text == NULL)
        return STATUS_OK;
    for (size_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
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
