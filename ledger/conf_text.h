#pragma once
// The text of ledger.conf and ledger.shape: "key = value" lines, which only the ledger itself
// writes.
//
//     conf_number(text, "shards", 1, 256, &shards)      // false: missing, no number, out of range
//     value = conf_value(text, "zones", &size)          // NULL: there is no such line
//
// Owner: the caller; a value is a view into the text. Thread: any.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

const char *conf_value(const char *text, const char *key, size_t *out_size);
bool conf_number(const char *text, const char *key, uint64_t min, uint64_t max, uint64_t *out);
