#pragma once
// The target of a request, taken apart: "/api/v1/meters/tokens/query?subject=a&subject=b".
//
//     struct target target;
//     if (!target_parse(text, &arena, &target, &fault)) refuse(fault);
//     target.segments[2]                            // "tokens"
//     while ((value = target_next(&target, "subject", &at)) != NULL) ...
//
// The path is cut at its slashes before it is decoded, so that %2F is part of a name. Everything is
// UTF-8 without NUL, or refused. In the query + is a space. http://HOST in front is left out.
// Owner: values; texts in the arena.

#include "base/arena.h"

enum { TARGET_SEGMENTS_MAX = 12, TARGET_PAIRS_MAX = 1000 };

struct target_pair {
    const char *name;
    const char *value;
};

struct target {
    const char *path;  // as it came, without the query
    const char *segments[TARGET_SEGMENTS_MAX];
    size_t segments_count;
    const struct target_pair *pairs;
    size_t pairs_count;
};

// False: *out_fault says what is wrong. out->path is set in any case.
bool target_parse(
    const char *text, struct arena *arena, struct target *out, const char **out_fault) CHECKED;
// The first value of this name, or NULL.
const char *target_value(const struct target *target, const char *name);
// The values of this name one after the other: *at begins as 0. NULL: no more.
const char *target_next(const struct target *target, const char *name, size_t *at);
