#pragma once
// Parameters of a query string, checked.
//
//     static const char *const names[] = {"subject", "limit", "cursor", NULL};
//     status = param_check(&call->target, names, &error);      // routes of our own: no others
//     status = param_text(&call->target, "subject", 255, &subject, &error);
//     status = param_number(&call->target, "limit", 1, 100, &limit, &error);
//
// What is absent leaves *out as it is; what is given twice is refused, but for lists, which are
// read with target_next. STATUS_INVALID names the parameter and what it must be. Thread: any.

#include "api/target.h"
#include "base/status.h"

#include <stdint.h>

// Any text; *out is borrowed from the target, and left as it is without the parameter.
enum status param_once(
    const struct target *target, const char *name, const char **out, struct error *error) CHECKED;
// Every parameter is one of the names, and there once.
enum status
param_check(const struct target *target, const char *const *names, struct error *error) CHECKED;
// Not empty, at most size_max bytes. *out: borrowed from the target.
enum status param_text(
    const struct target *target,
    const char *name,
    size_t size_max,
    const char **out,
    struct error *error) CHECKED;
enum status param_number(
    const struct target *target,
    const char *name,
    uint32_t min,
    uint32_t max,
    uint32_t *out,
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
// sort=FIELD, "FIELD asc" or "FIELD desc", as version 3 has it: the field's index in a list that
// ends with NULL. Without a direction *out_is_descending stays as it is.
enum status param_sort(
    const struct target *target,
    const char *const *fields,
    size_t *out,
    bool *out_is_descending,
    struct error *error) CHECKED;
// Numbers with a dash between them, exactly count of them: "12-0-3", for cursors and ids. False: it
// is something else.
bool param_dashed(const char *text, uint64_t *out, size_t count) CHECKED;
