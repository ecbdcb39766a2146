#pragma once
// Prices from JSON: the numbers, lists and models of the reference's vocabulary.
//
//     struct price_reader reader = {.in = &document, .abacus = &abacus, .is_strict = true};
//     price_model_read(&reader, params, PRICE_GRADUATED, &model);
//     if (document.status) ...                                    // one check at the end
//
// Strict is what a catalogue file gets: amounts are strings, unit prices have up to 12 decimals and
// quantities 18. Otherwise a number may be a string or a JSON
// number, and all its digits count. After a failure every answer is empty. Owner: the caller.
// Thread: one.

#include "billing/document.h"
#include "billing/price_model.h"

enum {
    PRICE_TIERS_MAX = 1000,
    PRICE_LIST_MAX = 10000,
    PRICE_PLACES = 12,
    PRICE_KEYS_MAX = 1000,
    PRICE_KEY_MAX = 255,
};

enum price_sign { PRICE_ANY, PRICE_NOT_NEGATIVE, PRICE_POSITIVE };

struct price_reader {
    struct document *in;
    struct abacus *abacus;
    bool is_strict;
};

// The number that a node is.
const struct rational *
price_read_node(struct price_reader *reader, const struct json *node, enum price_sign sign);
// A member; refused when it is missing.
const struct rational *price_read_number(
    struct price_reader *reader, const struct json *object, const char *key, enum price_sign sign);
// A price: not negative, and with fewer places than a quantity when strict.
const struct rational *price_read_price(struct price_reader *reader, const struct json *node);
// The fallback when it is missing or null.
const struct rational *price_read_optional(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    enum price_sign sign,
    const struct rational *fallback);
// A whole number of [low, high]; the fallback when it is missing or null.
int64_t price_read_int(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    const int64_t range[2],
    int64_t fallback);
bool price_read_bool(
    struct price_reader *reader, const struct json *object, const char *key, bool fallback);
// A member that is given and not null.
const struct json *price_member(const struct json *object, const char *key);
// The first of the names that is given, or the first name.
const char *price_name(const struct json *object, const char *const *names);
// An array's numbers; NULL when it is missing.
const struct rational **price_read_list(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    enum price_sign sign,
    uint32_t *out_count);
// An array of exactly so many numbers.
bool price_read_tuple(
    struct price_reader *reader,
    const struct json *node,
    enum price_sign sign,
    const struct rational **out,
    uint32_t count);

const struct price_tier *price_read_tiers(
    struct price_reader *reader, const struct json *params, const char *unit, uint32_t *out_count);
// Tiers with a price for each key (billing/price_events.h). Strict: "prices", with a default.
const struct price_custom_tier *price_read_custom_tiers(
    struct price_reader *reader, const struct json *params, uint32_t *out_count);
// Bounds rise from above zero; the last tier, and only it, is open. to is NULL for an open one.
void price_bound_check(
    struct price_reader *reader,
    const struct json *tier,
    const struct rational *to,
    const struct rational *above);

// The keys that the params of a model may have, NULL at the end.
const char *const *price_model_keys(enum price_kind kind, bool is_strict);
// The canonical params of a model as a catalogue has it: equal models write equal text. Only for
// what was read strictly.
void price_model_write(struct json_out *out, const struct price_model *model);
// Without a check of the keys.
void price_model_read(
    struct price_reader *reader,
    const struct json *params,
    enum price_kind kind,
    struct price_model *out);
