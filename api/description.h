#pragma once
// What the API says about itself: api/openapi.yaml, the same as JSON, and as a page to read.
//
//     description_open(&arena, &description, &error);
//     description->yaml, ->json, ->html
//
// The page is made of the document, once, and asks nobody for anything: no script, no font, its
// style inside. Owner: main; lives in the arena. Thread: any reads it.

#include "base/arena.h"
#include "base/status.h"

extern const unsigned char OPENAPI_YAML[];
extern const size_t OPENAPI_YAML_SIZE;

struct description {
    struct bytes yaml;
    struct bytes json;
    struct bytes html;
};

// STATUS_INVALID: the document is not written as api/yaml.h says.
enum status
description_open(struct arena *arena, const struct description **out, struct error *error) CHECKED;
