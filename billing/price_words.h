#pragma once
// The vocabulary of `tally-billing price`: each model's name, its parameters, and the function that
// reads them and calls the pure one.
//
//     {"tax", "bases", tax_word},
//     call_minor(call, price_tax(call->reader.abacus, bases, count));
//
// Names are those of section 3 of the reference; docs/pricing.md lists them. Every model may name
// the decimals of its currency. Shared by price_line.c and the files with the words. Thread: one.

#include "billing/price_read.h"

enum {
    PRICE_DECIMALS_MAX = 12,
    PRICE_ROUND_MAX = 30,  // places of a rounding, either sign
    PRICE_NOT_ROUNDED = INT32_MAX,
};

struct price_item {
    struct bytes key;  // of a map
    const struct rational *exact;
    const struct rational *rounded;        // NULL: exact, rounded to places
    int32_t places;                        // of the rounded text; PRICE_NOT_ROUNDED: no money
    const struct abacus_step *first_step;  // of a list: up to the next item's
};

enum price_shape { PRICE_ONE, PRICE_LIST, PRICE_MAP };

struct price_answer {
    enum price_shape shape;
    struct price_item *items;
    uint32_t count;
};

struct price_call {
    struct price_reader reader;
    const struct json *params;
    const struct json *units_node;  // NULL: not given
    bool has_types;                 // units was an object and somebody's: so much of each unit type
    int32_t decimals;               // of the currency
    struct price_answer answer;
};

struct price_word {
    const char *name;
    const char *keys;  // of the params, with a space between two
    void (*price)(struct price_call *call);
};

struct price_words {
    const struct price_word *items;
    uint32_t count;
};

// Names for price_name and document_keys.
#define WORD_KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})

struct price_words price_words_usage(void);
struct price_words price_words_level(void);
struct price_words price_words_money(void);
struct price_words price_words_split(void);
struct price_words price_words_killbill(void);

// Units, which must be there.
const struct rational *call_units(struct price_call *call);
// A parameter, or the units when it is not given.
const struct rational *call_number_or_units(struct price_call *call, const char *key);

// So much of each unit type: an object of the params or the units; NULL: neither.
const struct json *call_units_types(struct price_call *call);

// The answer: money in major units, in minor ones, at so many places, or no money.
void call_major(struct price_call *call, const struct rational *exact);
void call_minor(struct price_call *call, const struct rational *exact);
void call_places(struct price_call *call, const struct rational *exact, int32_t places);
void call_quantity(struct price_call *call, const struct rational *exact);
struct price_item *call_items(struct price_call *call, enum price_shape shape, uint32_t count);

// Days since 1970 of a "2011-01-31".
int64_t call_date(struct price_call *call, const struct json *object, const char *key);
