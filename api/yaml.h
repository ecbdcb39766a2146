#pragma once
// A YAML document as JSON.
//
//     status = yaml_read(text, &json, &error);      // error: "line 7: ..."
//
// Plain scalars are JSON's numbers (of at most 15 digits), true, false and null, else texts; quoted
// and folded ones are texts. Anchors and tags are refused. It reads our own document and nothing
// from outside. Thread: any.

#include "base/buffer.h"
#include "base/status.h"

// STATUS_INVALID: the text is no YAML, not a map or a list, or has what is refused.
enum status yaml_read(struct bytes text, struct buffer *out, struct error *error) CHECKED;
