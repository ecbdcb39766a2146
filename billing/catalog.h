#pragma once
// The catalogue: meters, plans and their charges, as read from a file, as stored, and as recorded
// in an invoice.
//
//     catalog_read(text, "aura.json", &arena, &catalog, &error);
//     // error: "aura.json:41: plans[2].charges[0].params.tiers[1].to: must be above where ..."
//
// docs/catalog.md describes the format. Unknown keys are errors; amounts are JSON strings, for a
// JSON number has passed through somebody's floating point. What this header does not do: touch a
// database (billing/store.h) or a ledger. Owner: everything is in the caller's arena. Thread: any.

#include "base/json.h"
#include "billing/money.h"
#include "billing/price_model.h"
#include "ledger/meter.h"

enum {
    CATALOG_KEY_MAX = 64,
    CATALOG_NAME_MAX = 200,
    CATALOG_PRICE_PLACES = 12,
    CATALOG_CHARGES_MAX = 200,
    CATALOG_VALUES_MAX = 1000,
    CATALOG_VALUE_MAX = 255,
    CATALOG_PLANS_MAX = 10000,
};

// The price of one value of a charge's dimension.
struct charge_value {
    const char *value;
    struct price_model price;
};

// Of a level that lasts: what the period's events add and take away, after all before it.
enum recurring {
    RECURRING_NOT,
    RECURRING_WEIGHTED,  // by the time that each level lasted
    RECURRING_PRORATED,  // by the days that each change is there
};

struct charge {
    const char *key;
    const char *name;
    const char *meter;         // NULL for PRICE_FLAT
    struct price_model price;  // its numbers hold no memory but the arena's
    // Usage is priced by the values of a dimension: each of these alone, everything else together
    // by price. Of custom_fold: the dimension whose text is the key. NULL: there is none.
    const char *dimension;
    const struct charge_value *values;
    uint32_t values_count;
    enum recurring recurring;
    bool is_in_advance;          // each event pays a fee when it comes
    const char *price_property;  // of dynamic: the path of each event's price, in minor units
    struct decimal free_units;   // cost nothing; taken off before pricing
    // Of a whole period: what is owed at least, by days when the period is cut, and at most.
    struct decimal minimum, maximum;
    bool has_minimum, has_maximum;
};

enum plan_kind { PLAN_TIER, PLAN_ADDON };
enum billing_cycle { CYCLE_MONTHLY, CYCLE_ANNUAL };

struct plan_price {
    bool is_sold;  // whether one can subscribe with this cycle
    struct decimal amount;
};

struct plan {
    const char *key;
    const char *name;
    enum plan_kind kind;
    const struct currency *currency;
    struct plan_price monthly;
    struct plan_price annual;
    // What the fee and the charges of a whole month come to at least, by days when the month is
    // cut. Only of a plan without an annual price.
    bool has_minimum;
    struct decimal minimum;
    const struct charge *charges;
    uint32_t charges_count;
    int64_t catalogue_version;  // of the stored row; 0 for a plan of a file
};

struct catalog {
    const struct currency *currency;
    const struct meter *meters;
    uint32_t meters_count;
    const struct plan *plans;
    uint32_t plans_count;
};

const char *recurring_name(enum recurring recurring);  // NULL: not
bool recurring_parse(struct bytes text, enum recurring *out);
const char *plan_kind_name(enum plan_kind kind);
bool plan_kind_parse(struct bytes text, enum plan_kind *out);
const char *billing_cycle_name(enum billing_cycle cycle);
bool billing_cycle_parse(struct bytes text, enum billing_cycle *out);

const struct plan_price *plan_price(const struct plan *plan, enum billing_cycle cycle);
// NULL when there is none.
const struct plan *catalog_plan(const struct catalog *catalog, const char *key);
const struct meter *catalog_meter(const struct catalog *catalog, const char *key);
const struct charge *plan_charge(const struct plan *plan, const char *key);

// Reads a whole file's text. name is what errors call it. Whether a charge's meter exists is known
// only together with the registry: see catalog_apply.
enum status catalog_read(
    struct bytes text,
    const char *name,
    struct arena *arena,
    struct catalog *out,
    struct error *error) CHECKED;

// One charge object, as it stands in a file and in an invoice's input; failures stick to the
// document.
struct document;
void charge_read(struct document *in, const struct json *object, struct charge *out);
// The params alone, for the model that out already names.
void charge_params_read(struct document *in, const struct json *params, struct charge *out);
// The params of each value, once the model and its own are read.
void charge_values_read(struct document *in, const struct json *values, struct charge *out);
// In one canonical form: equal charges write equal text. The whole object.
void charge_write(struct json_out *out, const struct charge *charge);
void charge_params_write(struct json_out *out, const struct charge *charge);
void charge_values_write(struct json_out *out, const struct charge *charge);
void meter_write(struct json_out *out, const struct meter *meter);
bool charge_equal(const struct charge *a, const struct charge *b);
// Everything but the charges and the version.
bool plan_terms_equal(const struct plan *a, const struct plan *b);
