#pragma once
// Parameters of a query string, read and checked.
//
//     int64_t limit = 100;
//     status = param_int(&call->target, "limit", 1, 100, &limit, &error);
//
// A parameter that is not there leaves *out as it is. STATUS_INVALID says what it must be. Thread:
// any.

#include "api/target.h"
#include "base/status.h"

enum status param_int(
    const struct target *target,
    const char *name,
    int64_t min,
    int64_t max,
    int64_t *out,
    struct error *error) CHECKED;
// RFC 3339, a date and a time.
enum status param_time(
    const struct target *target, const char *name, int64_t *out_ns, struct error *error) CHECKED;
enum status
param_time_text(const char *name, const char *text, int64_t *out_ns, struct error *error) CHECKED;
// The index of its value in a list that ends with NULL.
enum status param_word(
    const struct target *target,
    const char *name,
    const char *const *words,
    size_t *out,
    struct error *error) CHECKED;
