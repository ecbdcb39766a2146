#pragma once
// YAML as api/openapi.yaml is written, as JSON.
//
//     status = yaml_read(text, &arena, &json, &error);      // error: "line 7: ..."
//
// What it knows: maps and lists by their indentation, comments on lines of their own, texts that
// are plain, in double quotes (with JSON's escapes) or folded (>-), numbers, true, false, null, and
// lists and maps in brackets on one line. Anything else (anchors, tags, tabs, documents) is refused
// or a text. It reads our own document and nothing from outside. Thread: any.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

enum status
yaml_read(struct bytes text, struct arena *arena, struct buffer *out, struct error *error) CHECKED;
