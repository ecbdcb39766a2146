#pragma once
// An OpenAPI document as a page of HTML: every operation with its parameters, bodies and answers,
// every schema with its members. Thread: any.

#include "base/buffer.h"
#include "base/json.h"

void description_page(const struct json *document, struct buffer *out);
