#include "billing/price_read.h"

#include "base/assert.h"

#include <string.h>

// ---- numbers

static const struct rational *
strict_decimal(struct price_reader *reader, const struct json *node)
{
    struct decimal value = DECIMAL_ZERO;
    struct error reason;
    if (node->type == JSON_NUMBER)
        document_refuse(
            reader->in,
            node,
            "write it as a string (\"%.*s\"): a JSON number may have lost digits on its way",
            (int)(node->text.size < 40 ? node->text.size : 40),
            (const char *)node->text.data);
    else if (node->type != JSON_STRING)
        document_refuse(reader->in, node, "expected a decimal as a string");
    else if (document_decimal_parse(node->text, DECIMAL_PLACES, &value, &reason) != STATUS_OK)
        document_refuse(reader->in, node, "%s", reason.text);
    return abacus_decimal(reader->abacus, value);
}

static const struct rational *
any_decimal(struct price_reader *reader, const struct json *node)
{
    const struct rational *value = &RATIONAL_ZERO;
    if (node->type != JSON_NUMBER && node->type != JSON_STRING) {
        document_refuse(reader->in, node, "expected a number, such as \"0.0025\"");
        return value;
    }
    enum status status = abacus_parse(reader->abacus, node->text, &value);
    if (status == STATUS_OVERFLOW)
        document_refuse(
            reader->in,
            node,
            "has more than %d digits before or behind the point",
            RATIONAL_DIGITS_MAX);
    else if (status)
        document_refuse(
            reader->in,
            node,
            "\"%.*s\" is not a number",
            (int)(node->text.size < 40 ? node->text.size : 40),
            (const char *)node->text.data);
    return value;
}

const struct rational *
price_read_node(struct price_reader *reader, const struct json *node, enum price_sign sign)
{
    if (reader->in->status)
        return &RATIONAL_ZERO;
    const struct rational *value =
        reader->is_strict ? strict_decimal(reader, node) : any_decimal(reader, node);
    if (sign != PRICE_ANY && rational_sign(value) < 0)
        document_refuse(reader->in, node, "may not be negative");
    else if (sign == PRICE_POSITIVE && rational_sign(value) == 0)
        document_refuse(reader->in, node, "must be above zero");
    return reader->in->status ? &RATIONAL_ZERO : value;
}

const struct rational *
price_read_price(struct price_reader *reader, const struct json *node)
{
    struct decimal value;
    struct error reason;
    if (!reader->in->status && reader->is_strict && node->type == JSON_STRING &&
        document_decimal_parse(node->text, PRICE_PLACES, &value, &reason) != STATUS_OK)
        document_refuse(reader->in, node, "%s", reason.text);
    return price_read_node(reader, node, PRICE_NOT_NEGATIVE);
}

static const struct rational *
read_price(struct price_reader *reader, const struct json *object, const char *key)
{
    const struct json *member = document_member(reader->in, object, key);
    return member != NULL ? price_read_price(reader, member) : &RATIONAL_ZERO;
}

static const struct rational *
read_price_optional(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    const struct rational *fallback)
{
    return price_member(object, key) != NULL ? read_price(reader, object, key) : fallback;
}

const struct json *
price_member(const struct json *object, const char *key)
{
    const struct json *member = json_member(object, key);
    return member != NULL && member->type != JSON_NULL ? member : NULL;
}

const char *
price_name(const struct json *object, const char *const *names)
{
    for (size_t i = 0; names[i] != NULL; i++)
        if (price_member(object, names[i]) != NULL)
            return names[i];
    return names[0];
}

const struct rational *
price_read_number(
    struct price_reader *reader, const struct json *object, const char *key, enum price_sign sign)
{
    const struct json *member = document_member(reader->in, object, key);
    return member != NULL ? price_read_node(reader, member, sign) : &RATIONAL_ZERO;
}

const struct rational *
price_read_optional(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    enum price_sign sign,
    const struct rational *fallback)
{
    if (price_member(object, key) == NULL)
        return fallback;
    return price_read_number(reader, object, key, sign);
}

int64_t
price_read_int(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    const int64_t range[2],
    int64_t fallback)
{
    int64_t value = fallback;
    if (price_member(object, key) == NULL)
        return fallback;
    const struct json *node = json_member(object, key);
    bool is_whole = node->type == JSON_NUMBER && json_int64(node, &value) == STATUS_OK;
    if (!is_whole) {
        const struct rational *number = price_read_number(reader, object, key, PRICE_ANY);
        is_whole = rational_int64(number, &value);
    }
    if (reader->in->status)
        return fallback;
    if (!is_whole || value < range[0] || value > range[1])
        document_refuse(
            reader->in,
            json_member(object, key),
            "expected a whole number from %ld to %ld",
            range[0],
            range[1]);
    return reader->in->status ? fallback : value;
}

bool
price_read_bool(
    struct price_reader *reader, const struct json *object, const char *key, bool fallback)
{
    const struct json *member = price_member(object, key);
    if (member == NULL)
        return fallback;
    if (member->type != JSON_BOOL)
        document_refuse(reader->in, member, "expected true or false");
    return member->boolean;
}

const struct rational **
price_read_list(
    struct price_reader *reader,
    const struct json *object,
    const char *key,
    enum price_sign sign,
    uint32_t *out_count)
{
    *out_count = 0;
    const struct json *list = document_array(reader->in, object, key, PRICE_LIST_MAX);
    if (list == NULL)
        return NULL;
    const struct rational **items =
        arena_array(reader->abacus->arena, list->count, const struct rational *);
    for (const struct json *node = list->first; node != NULL; node = node->next)
        items[(*out_count)++] = price_read_node(reader, node, sign);
    return items;
}

bool
price_read_tuple(
    struct price_reader *reader,
    const struct json *node,
    enum price_sign sign,
    const struct rational **out,
    uint32_t count)
{
    if (reader->in->status)
        return false;
    if (node->type != JSON_ARRAY || node->count != count) {
        document_refuse(reader->in, node, "expected a list of %u numbers", count);
        return false;
    }
    for (const struct json *item = node->first; item != NULL; item = item->next)
        *out++ = price_read_node(reader, item, sign);
    return !reader->in->status;
}

// ---- tiers

void
price_bound_check(
    struct price_reader *reader,
    const struct json *tier,
    const struct rational *to,
    const struct rational *above)
{
    if (reader->in->status)
        return;
    const struct json *place = json_member(tier, "to") != NULL ? json_member(tier, "to") : tier;
    bool is_last = tier->next == NULL;
    if (is_last && to != NULL)
        document_refuse(reader->in, place, "the last tier is open: expected null");
    else if (!is_last && to == NULL)
        document_refuse(reader->in, place, "only the last tier may be open (null)");
    else if (to != NULL && rational_compare(to, above) <= 0)
        document_refuse(
            reader->in,
            place,
            "must be above where the tier begins (%s)",
            rational_text(above, reader->abacus->arena));
}

static void
tier_read(
    struct price_reader *reader,
    const struct json *object,
    const char *unit,
    struct price_tier *out)
{
    document_keys(reader->in, object, (const char *const[]){"to", unit, "flat", NULL});
    const struct json *to = document_member(reader->in, object, "to");
    if (to == NULL)
        return;
    if (to->type != JSON_NULL)
        out->to = price_read_node(reader, to, PRICE_NOT_NEGATIVE);
    // A tier may have only a flat fee; a tier without any price is a mistake.
    bool has_flat = price_member(object, "flat") != NULL;
    bool has_unit = price_member(object, unit) != NULL;
    out->unit = has_unit || !has_flat ? read_price(reader, object, unit) : &RATIONAL_ZERO;
    out->flat = has_flat ? read_price(reader, object, "flat") : &RATIONAL_ZERO;
}

const struct price_tier *
price_read_tiers(
    struct price_reader *reader, const struct json *params, const char *unit, uint32_t *out_count)
{
    const struct json *tiers = document_array(reader->in, params, "tiers", PRICE_TIERS_MAX);
    if (tiers == NULL)
        return NULL;
    if (tiers->count == 0) {
        document_refuse(reader->in, tiers, "expected at least one tier");
        return NULL;
    }
    struct price_tier *items = arena_array(reader->abacus->arena, tiers->count, struct price_tier);
    const struct rational *above = &RATIONAL_ZERO;
    uint32_t i = 0;
    for (const struct json *tier = tiers->first; tier != NULL; tier = tier->next, i++) {
        tier_read(reader, tier, unit, &items[i]);
        price_bound_check(reader, tier, items[i].to, above);
        if (reader->in->status)
            return NULL;
        above = items[i].to;
    }
    *out_count = tiers->count;
    return items;
}

// ---- models

static const char *const keys_amount[] = {"amount", NULL};
static const char *const keys_tiers[] = {"tiers", NULL};
static const char *const keys_tiers_case[] = {"tiers", "clamp_negative_to_zero", NULL};
static const char *const keys_volume_case[] = {
    "tiers", "select_on", "clamp_negative_to_zero", NULL};
static const char *const keys_package[] = {"amount", "size", "free", "bill_min_one", NULL};
static const char *const keys_percentage_strict[] = {
    "rate", "fixed", "min", "max", "free_events", "free_amount", NULL};
static const char *const keys_dynamic_strict[] = {"subunit", NULL};
static const char *const keys_percentage[] = {
    "rate",
    "fixed",
    "min",
    "max",
    "free_events",
    "free_amount",
    "events",
    "events_count",
    "running",
    "running_total",
    "running_totals",
    "event_count",
    "fixed_amount",
    "free_total",
    NULL};
static const char *const keys_dynamic[] = {"subunit", "sum_minor", "round", NULL};

const char *const *
price_model_keys(enum price_kind kind, bool is_strict)
{
    switch (kind) {
    case PRICE_STANDARD:
    case PRICE_FLAT: return keys_amount;
    case PRICE_GRADUATED:
    case PRICE_GRADUATED_PERCENTAGE: return is_strict ? keys_tiers : keys_tiers_case;
    case PRICE_VOLUME: return is_strict ? keys_tiers : keys_volume_case;
    case PRICE_PACKAGE: return keys_package;
    case PRICE_PERCENTAGE: return is_strict ? keys_percentage_strict : keys_percentage;
    case PRICE_DYNAMIC: return is_strict ? keys_dynamic_strict : keys_dynamic;
    case PRICE_CUSTOM_FOLD: return keys_tiers;
    case PRICE_KINDS: break;
    }
    must(false);
    return NULL;
}

static void
package_read(struct price_reader *reader, const struct json *params, struct price_package *out)
{
    out->amount = read_price(reader, params, "amount");
    out->size = price_read_number(reader, params, "size", PRICE_POSITIVE);
    out->free = price_read_optional(reader, params, "free", PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    out->bill_min_one = price_read_bool(reader, params, "bill_min_one", false);
}

static void
percentage_read(
    struct price_reader *reader, const struct json *params, struct price_percentage *out)
{
    const int64_t range[2] = {0, INT32_MAX};
    out->rate = read_price(reader, params, "rate");
    const char *fixed = price_name(params, (const char *const[]){"fixed", "fixed_amount", NULL});
    const char *is_free =
        price_name(params, (const char *const[]){"free_amount", "free_total", NULL});
    out->fixed = read_price_optional(reader, params, fixed, &RATIONAL_ZERO);
    out->min = read_price_optional(reader, params, "min", NULL);
    out->max = read_price_optional(reader, params, "max", NULL);
    out->free_amount =
        price_read_optional(reader, params, is_free, PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    out->free_events = price_read_int(reader, params, "free_events", range, 0);
    if (!reader->in->status && out->min != NULL && out->max != NULL &&
        rational_compare(out->min, out->max) > 0)
        document_refuse(reader->in, json_member(params, "max"), "may not be below min");
}

void
price_model_read(
    struct price_reader *reader,
    const struct json *params,
    enum price_kind kind,
    struct price_model *out)
{
    *out = (struct price_model){.kind = kind};
    switch (kind) {
    case PRICE_STANDARD:
    case PRICE_FLAT: out->amount = read_price(reader, params, "amount"); break;
    case PRICE_GRADUATED:
    case PRICE_VOLUME:
        out->tiers = price_read_tiers(reader, params, "unit", &out->tiers_count);
        break;
    case PRICE_GRADUATED_PERCENTAGE:
        out->tiers = price_read_tiers(reader, params, "rate", &out->tiers_count);
        break;
    case PRICE_PACKAGE: package_read(reader, params, &out->package); break;
    case PRICE_PERCENTAGE: percentage_read(reader, params, &out->percentage); break;
    case PRICE_DYNAMIC:
        out->subunit = price_read_optional(
            reader,
            params,
            "subunit",
            PRICE_POSITIVE,
            reader->is_strict ? NULL : abacus_int(reader->abacus, 100));
        break;
    case PRICE_CUSTOM_FOLD:
        out->custom_tiers = price_read_custom_tiers(reader, params, &out->tiers_count);
        break;
    case PRICE_KINDS: must(false); break;
    }
}
