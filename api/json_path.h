#pragma once
// JSONPath as OpenMeter's meters have it, in the form of ours.
//
//     path = json_path_plain("$['a'][\"b c\"].d", &arena);      // "$.a.b c.d"
//
// Steps in brackets and quotes become names between dots. What we have no form for (elements of
// lists, wildcards, a name with a dot) comes back as it is, and meter_path_canonical refuses it.
// Owner: the arena, or the caller's text. Thread: any.

#include "base/arena.h"

const char *json_path_plain(const char *path, struct arena *arena);
