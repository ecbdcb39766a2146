// From a catalogue's text to its structs. Each function reads one kind of object and reads like the
// format in docs/catalog.md.

#include "base/assert.h"
#include "billing/charge.h"
#include "billing/document.h"
#include "billing/price_read.h"

#include <stdlib.h>
#include <string.h>

enum { CATALOG_PATH_MAX = 1024, CATALOG_DESCRIPTION_MAX = 1000, CATALOG_EVENT_TYPE_MAX = 100 };

// Lower-case letters, digits, and single '_' or '-' between them: safe in file names, URLs and
// code.
static bool
is_key(const char *text)
{
    bool may_separate = false;
    for (const char *at = text; *at != '\0'; at++) {
        bool is_word = (*at >= 'a' && *at <= 'z') || (*at >= '0' && *at <= '9');
        if (!is_word && !(may_separate && (*at == '_' || *at == '-')))
            return false;
        may_separate = is_word;
    }
    return may_separate;
}

static const char *
key_read(struct document *in, const struct json *object)
{
    const char *key = document_text(in, object, "key", CATALOG_KEY_MAX);
    if (!in->status && !is_key(key))
        document_refuse(
            in,
            json_member(object, "key"),
            "expected lower-case letters and digits with single _ or - between them");
    return key;
}

static const char *
path_read(struct document *in, const struct json *node, const char *path)
{
    struct error reason;
    const char *canonical = NULL;
    if (meter_path_canonical(path, in->arena, &canonical, &reason) != STATUS_OK)
        document_refuse(in, node, "%s", reason.text);
    return canonical;
}

// ---- charges

// The numbers of a catalogue are small enough to hold no memory of their own.
static void
price_read(struct document *in, const struct json *params, struct price_model *out)
{
    struct abacus abacus = {.arena = in->arena};
    struct price_reader reader = {.in = in, .abacus = &abacus, .is_strict = true};
    enum price_kind kind = out->kind;
    document_keys(in, params, price_model_keys(kind, true));
    if (!in->status)
        price_model_read(&reader, params, kind, out);
    must(abacus.bigs == NULL);
}

void
charge_params_read(struct document *in, const struct json *params, struct charge *out)
{
    if (!in->status)
        price_read(in, params, &out->price);
}

void
charge_values_read(struct document *in, const struct json *values, struct charge *out)
{
    if (in->status)
        return;
    if (values->type != JSON_OBJECT || values->count == 0)
        document_refuse(in, values, "expected an object with the params of each value");
    else if (values->count > CATALOG_VALUES_MAX)
        document_refuse(in, values, "has more than %d values", CATALOG_VALUES_MAX);
    if (in->status)
        return;
    struct charge_value *items = arena_array(in->arena, values->count, struct charge_value);
    uint32_t count = 0;
    for (const struct json *node = values->first; node != NULL && !in->status; node = node->next) {
        if (node->key.size == 0 || node->key.size > CATALOG_VALUE_MAX ||
            memchr(node->key.data, '\0', node->key.size) != NULL)
            document_refuse(in, node, "a value has 1 to %d bytes", CATALOG_VALUE_MAX);
        items[count].value = arena_text_of(in->arena, node->key);
        items[count].price.kind = out->price.kind;
        if (!in->status)
            price_read(in, node, &items[count++].price);
    }
    out->values = items;
    out->values_count = count;
}

// A dimension and the params of its values come together, but for tiers by a key, which is what the
// dimension says. What holds for a charge as a whole does not go with values.
static void
charge_dimension_read(struct document *in, const struct json *object, struct charge *out)
{
    out->dimension = document_text_optional(in, object, "dimension", CATALOG_KEY_MAX);
    if (in->status)
        return;
    bool is_key = out->price.kind == PRICE_CUSTOM_FOLD;
    const struct json *values = json_member(object, "values");
    if (out->dimension == NULL && is_key)
        document_refuse(in, object, "\"dimension\" is missing: whose text is the key of a price?");
    else if (values != NULL && (out->dimension == NULL || is_key))
        document_refuse(
            in,
            values,
            is_key ? "the tiers have the prices" : "\"dimension\" is missing: values of what?");
    if (in->status || out->dimension == NULL || is_key)
        return;
    values = document_member(in, object, "values");
    if (values != NULL)
        charge_values_read(in, values, out);
    if (in->status)
        return;
    const struct json *dimension = json_member(object, "dimension");
    if (out->price.kind == PRICE_FLAT)
        document_refuse(in, dimension, "a flat charge prices no usage");
    else if (charge_needs_events(out))
        document_refuse(in, dimension, "single events are not priced by a dimension");
    else if (out->free_units.units > 0 || out->has_minimum || out->has_maximum)
        document_refuse(
            in,
            dimension,
            "each value is priced alone: free_units, minimum and maximum do not go with it");
}

// What a level can be priced by.
static bool
recurring_takes(enum recurring recurring, const struct price_model *price)
{
    bool is_tiered = price->kind == PRICE_STANDARD || price->kind == PRICE_GRADUATED ||
                     price->kind == PRICE_VOLUME;
    bool is_other =
        price->kind == PRICE_PACKAGE || price->kind == PRICE_GRADUATED_PERCENTAGE ||
        (price->kind == PRICE_PERCENTAGE && !price_percentage_needs_events(&price->percentage));
    return is_tiered || (is_other && recurring == RECURRING_WEIGHTED);
}

static void
charge_recurring_read(struct document *in, const struct json *object, struct charge *out)
{
    const struct json *node = json_member(object, "recurring");
    const char *name = document_text_optional(in, object, "recurring", CATALOG_KEY_MAX);
    if (in->status || name == NULL)
        return;
    if (!recurring_parse(bytes_text(name), &out->recurring))
        document_refuse(in, node, "expected \"weighted\" or \"prorated\"");
    else if (!recurring_takes(out->recurring, &out->price))
        document_refuse(
            in,
            node,
            "%s does not price a level: no part of it is a part of an event",
            price_kind_name(out->price.kind));
}

// The price of a dynamic charge's events, and what does not go with single events.
static void
charge_events_read(struct document *in, const struct json *object, struct charge *out)
{
    const char *path = document_text_optional(in, object, "price_property", CATALOG_PATH_MAX);
    const struct json *node = json_member(object, "price_property");
    if (in->status)
        return;
    if (path != NULL && out->price.kind != PRICE_DYNAMIC)
        document_refuse(in, node, "only a dynamic charge's events have prices of their own");
    else if (path == NULL && out->price.kind == PRICE_DYNAMIC)
        document_refuse(in, object, "\"price_property\" is missing: where is an event's price?");
    else if (path != NULL)
        out->price_property = path_read(in, node, path);
    if (!in->status && out->free_units.units > 0 && charge_model_needs_events(out))
        document_refuse(
            in,
            json_member(object, "free_units"),
            "single events are priced: free_units do not go with it");
}

// The fees of a dynamic charge must end, since what they leave is kept as it is.
static bool
is_finite_subunit(const struct rational *subunit, struct arena *arena)
{
    enum { SUBUNIT_PLACES_MAX = 18 };
    scoped(abacus_done) struct abacus abacus = {.arena = arena};
    const struct rational *one = abacus_divide(&abacus, abacus_int(&abacus, 1), subunit);
    const struct rational *cut = abacus_round(&abacus, one, SUBUNIT_PLACES_MAX, ROUND_DOWN);
    return rational_compare(one, cut) == 0;
}

// Fees that are due when an event comes do not wait for the period's end.
static void
charge_advance_read(struct document *in, const struct json *object, struct charge *out)
{
    const struct json *node = json_member(object, "pay_in_advance");
    if (in->status || node == NULL || node->type == JSON_NULL)
        return;
    out->is_in_advance = node->type == JSON_BOOL && node->boolean;
    if (node->type != JSON_BOOL)
        document_refuse(in, node, "expected true or false");
    if (!out->is_in_advance)
        return;
    if (out->price.kind == PRICE_FLAT)
        document_refuse(in, node, "a flat charge prices no usage");
    else if (out->price.kind == PRICE_VOLUME)
        document_refuse(
            in, node, "volume cannot be paid in advance: a later event changes the price of all");
    else if (out->recurring != RECURRING_NOT)
        document_refuse(in, node, "what a level costs is known when its time is over");
    else if (out->has_minimum)
        document_refuse(
            in, json_member(object, "minimum"), "a minimum does not go with pay_in_advance");
    else if (out->price.subunit != NULL && !is_finite_subunit(out->price.subunit, in->arena))
        document_refuse(
            in,
            json_member(json_member(object, "params"), "subunit"),
            "paid in advance, a part of a unit has at most 18 decimals");
}

static void
charge_limits_read(struct document *in, const struct json *object, struct charge *out)
{
    out->has_minimum =
        document_decimal_optional(in, object, "minimum", CATALOG_PRICE_PLACES, &out->minimum);
    out->has_maximum =
        document_decimal_optional(in, object, "maximum", CATALOG_PRICE_PLACES, &out->maximum);
    if (!in->status && out->has_minimum && out->has_maximum &&
        decimal_compare(out->minimum, out->maximum) > 0)
        document_refuse(in, json_member(object, "maximum"), "may not be below the minimum");
}

static void
charge_meter_read(struct document *in, const struct json *object, struct charge *out)
{
    out->meter = document_text_optional(in, object, "meter", METER_KEY_MAX);
    bool has_free =
        document_decimal_optional(in, object, "free_units", DECIMAL_PLACES, &out->free_units);
    if (in->status)
        return;
    if (out->price.kind != PRICE_FLAT) {
        if (out->meter == NULL)
            document_refuse(in, object, "\"meter\" is missing: whose usage is priced?");
        return;
    }
    if (out->meter != NULL)
        document_refuse(in, json_member(object, "meter"), "a flat charge prices no usage");
    else if (has_free)
        document_refuse(in, json_member(object, "free_units"), "a flat charge prices no usage");
    else if (out->has_minimum || out->has_maximum)
        document_refuse(in, object, "a flat charge is what it is: no minimum, no maximum");
}

void
charge_read(struct document *in, const struct json *object, struct charge *out)
{
    static const char *const keys[] = {
        "key",
        "name",
        "meter",
        "model",
        "params",
        "free_units",
        "minimum",
        "maximum",
        "dimension",
        "values",
        "recurring",
        "pay_in_advance",
        "price_property",
        NULL};
    *out = (struct charge){0};
    document_keys(in, object, keys);
    out->key = key_read(in, object);
    out->name = document_text(in, object, "name", CATALOG_NAME_MAX);
    const char *model = document_text(in, object, "model", CATALOG_KEY_MAX);
    if (!in->status && !price_kind_parse(bytes_text(model), &out->price.kind))
        document_refuse(
            in,
            json_member(object, "model"),
            "a charge has no price model \"%s\": expected standard, graduated, volume, package, "
            "percentage, graduated_percentage, dynamic, custom_fold or flat",
            model);
    charge_limits_read(in, object, out);
    charge_meter_read(in, object, out);
    const struct json *params = document_member(in, object, "params");
    if (params != NULL)
        charge_params_read(in, params, out);
    charge_recurring_read(in, object, out);
    charge_advance_read(in, object, out);
    charge_events_read(in, object, out);
    charge_dimension_read(in, object, out);
}

// ---- plans

static void
charges_read(struct document *in, const struct json *object, struct plan *out)
{
    const struct json *charges = document_array(in, object, "charges", CATALOG_CHARGES_MAX);
    if (charges == NULL)
        return;
    struct charge *items = arena_array(in->arena, charges->count, struct charge);
    out->charges = items;
    for (const struct json *node = charges->first; node != NULL; node = node->next) {
        struct charge *charge = &items[out->charges_count];
        charge_read(in, node, charge);
        if (in->status)
            return;
        if (plan_charge(out, charge->key) != NULL)
            document_refuse(
                in, json_member(node, "key"), "the plan has another charge \"%s\"", charge->key);
        for (uint32_t i = 0; i < out->charges_count; i++)
            if (charge->meter != NULL && items[i].meter != NULL &&
                strcmp(items[i].meter, charge->meter) == 0)
                document_refuse(
                    in,
                    json_member(node, "meter"),
                    "charge \"%s\" prices this meter already: usage is charged once",
                    items[i].key);
        out->charges_count++;
    }
}

static void
prices_read(struct document *in, const struct json *object, struct plan *out)
{
    if (in->status)
        return;
    const struct json *prices = json_member(object, "prices");
    if (prices == NULL || prices->type == JSON_NULL) {
        // Usage only: sold monthly without a fee.
        out->monthly.is_sold = true;
        return;
    }
    document_keys(in, prices, (const char *const[]){"monthly", "annual", NULL});
    out->monthly.is_sold = document_decimal_optional(
        in, prices, "monthly", CATALOG_PRICE_PLACES, &out->monthly.amount);
    out->annual.is_sold =
        document_decimal_optional(in, prices, "annual", CATALOG_PRICE_PLACES, &out->annual.amount);
    if (!in->status && !out->monthly.is_sold && !out->annual.is_sold)
        document_refuse(in, prices, "expected a \"monthly\" or an \"annual\" price");
}

static const struct currency *
currency_read(struct document *in, const struct json *object, const struct currency *fallback)
{
    const char *code = document_text_optional(in, object, "currency", 3);
    if (code == NULL)
        return fallback;
    const struct currency *currency = currency_find(bytes_text(code));
    if (!in->status && currency == NULL)
        document_refuse(
            in,
            json_member(object, "currency"),
            "\"%s\" is not the code of an active currency (ISO 4217)",
            code);
    return currency;
}

static void
plan_read(
    struct document *in,
    const struct json *object,
    const struct currency *currency,
    struct plan *out)
{
    static const char *const keys[] = {
        "key", "name", "kind", "currency", "prices", "minimum", "charges", NULL};
    document_keys(in, object, keys);
    out->key = key_read(in, object);
    out->name = document_text(in, object, "name", CATALOG_NAME_MAX);
    const char *kind = document_text_optional(in, object, "kind", CATALOG_KEY_MAX);
    if (kind != NULL && !in->status && !plan_kind_parse(bytes_text(kind), &out->kind))
        document_refuse(in, json_member(object, "kind"), "expected \"tier\" or \"addon\"");
    out->currency = currency_read(in, object, currency);
    if (!in->status && out->currency == NULL)
        document_refuse(in, object, "neither the plan nor the catalogue names a currency");
    prices_read(in, object, out);
    out->has_minimum =
        document_decimal_optional(in, object, "minimum", CATALOG_PRICE_PLACES, &out->minimum);
    if (out->has_minimum && out->annual.is_sold)
        document_refuse(
            in,
            json_member(object, "minimum"),
            "a minimum is a month's, together with the fee: the plan has an annual price");
    charges_read(in, object, out);
}

static void
plans_read(struct document *in, const struct json *root, struct catalog *out)
{
    const struct json *plans = document_array(in, root, "plans", CATALOG_PLANS_MAX);
    if (plans == NULL)
        return;
    struct plan *items = arena_array(in->arena, plans->count, struct plan);
    out->plans = items;
    for (const struct json *node = plans->first; node != NULL; node = node->next) {
        struct plan *plan = &items[out->plans_count];
        plan_read(in, node, out->currency, plan);
        if (in->status)
            return;
        if (catalog_plan(out, plan->key) != NULL)
            document_refuse(
                in, json_member(node, "key"), "there is another plan \"%s\"", plan->key);
        out->plans_count++;
    }
}

// ---- meters

static int
dimension_order(const void *a, const void *b)
{
    const struct meter_dimension *left = a, *right = b;
    return strcmp(left->name, right->name);
}

static void
dimensions_read(struct document *in, const struct json *object, struct meter *out)
{
    if (in->status)
        return;
    const struct json *dimensions = json_member(object, "dimensions");
    if (dimensions == NULL || dimensions->type == JSON_NULL)
        return;
    if (dimensions->type != JSON_OBJECT) {
        document_refuse(in, dimensions, "expected an object of names and paths");
        return;
    }
    if (dimensions->count > METER_DIMENSIONS_MAX) {
        document_refuse(in, dimensions, "has more than %d dimensions", METER_DIMENSIONS_MAX);
        return;
    }
    for (const struct json *node = dimensions->first; node != NULL && !in->status;
         node = node->next) {
        struct meter_dimension *dimension = &out->dimensions[out->dimensions_count++];
        dimension->name = arena_text_of(in->arena, node->key);
        const char *path = document_text(in, dimensions, dimension->name, CATALOG_PATH_MAX);
        if (!in->status)
            dimension->path = path_read(in, node, path);
    }
    qsort(out->dimensions, out->dimensions_count, sizeof out->dimensions[0], dimension_order);
}

// An object of paths and, for each, one value or a list of them.
static void
filter_read(struct document *in, const struct json *node, const char *path, struct meter *out)
{
    bool is_list = node->type == JSON_ARRAY;
    const struct json *value = is_list ? node->first : node;
    struct error reason;
    if (is_list && node->count == 0)
        document_refuse(in, node, "expected at least one value");
    for (; value != NULL && !in->status; value = is_list ? value->next : NULL) {
        if (value->type != JSON_STRING)
            document_refuse(in, value, "expected a string or a list of strings");
        else if (meter_filter_add(
                     out, path, arena_text_of(in->arena, value->text), in->arena, &reason))
            document_refuse(in, value, "%s", reason.text);
    }
}

static void
filters_read(struct document *in, const struct json *object, struct meter *out)
{
    if (in->status)
        return;
    const struct json *filters = json_member(object, "filters");
    if (filters == NULL || filters->type == JSON_NULL)
        return;
    if (filters->type != JSON_OBJECT) {
        document_refuse(in, filters, "expected an object of paths and values");
        return;
    }
    for (const struct json *node = filters->first; node != NULL && !in->status; node = node->next) {
        const char *path = path_read(in, node, arena_text_of(in->arena, node->key));
        if (!in->status)
            filter_read(in, node, path, out);
    }
    meter_filters_sort(out, in->arena);
}

static void
meter_read(struct document *in, const struct json *object, struct meter *out)
{
    static const char *const keys[] = {
        "key",
        "event_type",
        "aggregation",
        "value_property",
        "dimensions",
        "filters",
        "unit",
        "description",
        NULL};
    document_keys(in, object, keys);
    out->key = document_text(in, object, "key", METER_KEY_MAX);
    out->event_type = document_text(in, object, "event_type", CATALOG_EVENT_TYPE_MAX);
    const char *aggregation = document_text(in, object, "aggregation", CATALOG_KEY_MAX);
    // A customer's total is the sum of its subjects', which is true of these two only.
    bool is_known = !in->status && aggregation_parse(bytes_text(aggregation), &out->aggregation);
    bool is_additive =
        is_known && (out->aggregation == AGGREGATION_COUNT || out->aggregation == AGGREGATION_SUM);
    if (!in->status && !is_additive)
        document_refuse(in, json_member(object, "aggregation"), "expected \"count\" or \"sum\"");
    const char *path = document_text_optional(in, object, "value_property", CATALOG_PATH_MAX);
    if (path != NULL && !in->status)
        out->value_property = path_read(in, json_member(object, "value_property"), path);
    dimensions_read(in, object, out);
    filters_read(in, object, out);
    out->unit = document_text_optional(in, object, "unit", CATALOG_KEY_MAX);
    out->description = document_text_optional(in, object, "description", CATALOG_DESCRIPTION_MAX);
    struct error reason;
    if (!in->status && meter_check(out, &reason) != STATUS_OK)
        document_refuse(in, object, "%s", reason.text);
}

static void
meters_read(struct document *in, const struct json *root, struct catalog *out)
{
    const struct json *meters = document_array(in, root, "meters", METERS_MAX);
    if (meters == NULL)
        return;
    struct meter *items = arena_array(in->arena, meters->count, struct meter);
    out->meters = items;
    for (const struct json *node = meters->first; node != NULL; node = node->next) {
        struct meter *meter = &items[out->meters_count];
        meter_read(in, node, meter);
        if (in->status)
            return;
        if (catalog_meter(out, meter->key) != NULL)
            document_refuse(
                in, json_member(node, "key"), "there is another meter \"%s\"", meter->key);
        out->meters_count++;
    }
}

enum status
catalog_read(
    struct bytes text,
    const char *name,
    struct arena *arena,
    struct catalog *out,
    struct error *error)
{
    must(name != NULL && error != NULL);
    const struct json_limits limits = {0};
    struct json *root = NULL;
    enum status status = json_parse(text, &limits, arena, &root, error);
    if (status) {
        error_prefix(error, "%s", name);
        return status;
    }
    struct document in = {.name = name, .arena = arena, .error = error};
    struct catalog catalog = {0};
    document_keys(&in, root, (const char *const[]){"currency", "meters", "plans", NULL});
    catalog.currency = currency_read(&in, root, NULL);
    meters_read(&in, root, &catalog);
    plans_read(&in, root, &catalog);
    if (in.status)
        return in.status;
    *out = catalog;
    return STATUS_OK;
}
