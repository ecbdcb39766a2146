#pragma once
// Parameters of a query string, checked: known ones, each once.
//
//     static const char *const names[] = {"subject", "limit", "cursor", NULL};
//     status = asked_check(&call->target, names, &error);
//     status = asked_text(&call->target, "subject", 255, &subject, &error);
//     status = asked_number(&call->target, "limit", 1, 100, &limit, &error);
//
// What is absent leaves *out as it is. STATUS_INVALID names the parameter and what it must be.
// Thread: any.

#include "api/target.h"

#include <stdint.h>

enum status
asked_check(const struct target *target, const char *const *names, struct error *error) CHECKED;
// Not empty, at most size_max bytes. *out: borrowed from the target.
enum status asked_text(
    const struct target *target,
    const char *name,
    size_t size_max,
    const char **out,
    struct error *error) CHECKED;
// A date-time of RFC 3339.
enum status asked_time(
    const struct target *target, const char *name, int64_t *out_ns, struct error *error) CHECKED;
enum status asked_number(
    const struct target *target,
    const char *name,
    uint32_t min,
    uint32_t max,
    uint32_t *out,
    struct error *error) CHECKED;
// Numbers with a dash between them, exactly count of them: "12-0-3", for cursors and ids. False: it
// is something else.
bool asked_dashed(const char *text, uint64_t *out, size_t count) CHECKED;
