// The words for Kill Bill's cycles, repairs, blocks and capacities.

#include "base/assert.h"
#include "base/clock.h"
#include "billing/price_killbill.h"
#include "billing/price_words.h"

#include <string.h>
#include <strings.h>

static const int64_t whole_range[2] = {-1, INT64_MAX};

static const struct rational *
number_of(struct price_call *call, const char *key)
{
    return price_read_number(&call->reader, call->params, key, PRICE_ANY);
}

static const struct rational *
currency_round(struct price_call *call, const struct rational *value)
{
    return abacus_round(call->reader.abacus, value, call->decimals, ROUND_HALF_UP);
}

// ---- cycles

static int32_t
period_months_read(struct price_call *call)
{
    static const struct {
        const char *name;
        int32_t months;
    } periods[] = {
        {"monthly",    1 },
        {"bimonthly",  2 },
        {"quarterly",  3 },
        {"biannual",   6 },
        {"semiannual", 6 },
        {"annual",     12},
        {"yearly",     12},
        {"biennial",   24},
    };
    const char *name = document_text_optional(call->reader.in, call->params, "period", 16);
    for (size_t i = 0; name != NULL && i < sizeof periods / sizeof periods[0]; i++)
        if (strcasecmp(name, periods[i].name) == 0)
            return periods[i].months;
    if (name != NULL && !call->reader.in->status)
        document_refuse(
            call->reader.in,
            json_member(call->params, "period"),
            "expected monthly, bimonthly, quarterly, biannual, annual or biennial");
    return 1;
}

static void
kb_billing_cycles_word(struct price_call *call)
{
    static const int64_t day_range[2] = {1, 31};
    struct document *in = call->reader.in;
    const char *start = price_name(call->params, WORD_KEYS("start", "start_date"));
    const char *end = price_name(call->params, WORD_KEYS("end", "end_date"));
    const char *target = price_name(call->params, WORD_KEYS("target", "target_date"));
    const char *day =
        price_name(call->params, WORD_KEYS("bcd", "bill_cycle_day", "billing_cycle_day"));
    struct price_cycles cycles = {
        .start = call_date(call, call->params, start),
        .target = call_date(call, call->params, target),
        .has_end = price_member(call->params, end) != NULL,
        .period_months = period_months_read(call),
    };
    if (cycles.has_end)
        cycles.end = call_date(call, call->params, end);
    (void)document_member(in, call->params, day);
    cycles.bill_cycle_day = (uint8_t)price_read_int(&call->reader, call->params, day, day_range, 1);
    if (!in->status && cycles.has_end && cycles.end < cycles.start)
        document_refuse(in, json_member(call->params, end), "is before the start");
    if (!in->status)
        call_quantity(call, price_billing_cycles(call->reader.abacus, &cycles));
}

static void
kb_day_ratio_word(struct price_call *call)
{
    static const int64_t days_range[2] = {0, 366};
    int64_t from = call_date(call, call->params, "from");
    int64_t to = call_date(call, call->params, "to");
    int64_t fixed = price_read_int(&call->reader, call->params, "fixed_days", days_range, 0);
    if (!call->reader.in->status && to < from)
        document_refuse(call->reader.in, json_member(call->params, "to"), "is before from");
    if (!call->reader.in->status)
        call_quantity(call, price_day_ratio(call->reader.abacus, from, to, fixed));
}

// ---- amounts and repairs

// A list of numbers, or of [rate, cycles].
static const struct rational *
terms_sum(struct price_call *call, const char *key)
{
    struct price_reader *in = &call->reader;
    const struct rational *sum = &RATIONAL_ZERO;
    const struct json *list = document_array(in->in, call->params, key, PRICE_LIST_MAX);
    for (const struct json *node = list != NULL ? list->first : NULL; node != NULL;
         node = node->next) {
        const struct rational *pair[2] = {&RATIONAL_ZERO, &RATIONAL_ZERO};
        if (node->type != JSON_ARRAY)
            sum = abacus_add(in->abacus, sum, price_read_node(in, node, PRICE_ANY));
        else if (price_read_tuple(in, node, PRICE_ANY, pair, 2))
            sum = abacus_add(in->abacus, sum, abacus_multiply(in->abacus, pair[0], pair[1]));
    }
    abacus_step(in->abacus, "the sum is %s", abacus_text(in->abacus, sum));
    return sum;
}

static void
kb_recurring_amount_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct rational *amount;
    if (price_member(call->params, "terms") != NULL) {
        amount = terms_sum(call, "terms");
    } else {
        const struct rational *rate = number_of(call, "rate");
        const struct rational *cycles = call_number_or_units(call, "cycles");
        amount = abacus_multiply(in->abacus, rate, cycles);
        abacus_step(
            in->abacus,
            "%s x %s = %s",
            abacus_text(in->abacus, rate),
            abacus_text(in->abacus, cycles),
            abacus_text(in->abacus, amount));
    }
    if (!in->in->status)
        call_major(call, currency_round(call, amount));
}

static void
kb_repair_sum_word(struct price_call *call)
{
    const struct rational *sum = terms_sum(call, "items");
    if (!call->reader.in->status)
        call_major(call, sum);
}

// An item from start to end, else of a month; its ratios are of period_days, else of its own days.
struct item {
    const struct rational *amount;
    int64_t start, end;
    int64_t period_days;
};

static struct item
item_read(struct price_call *call)
{
    struct item item = {.amount = number_of(call, "amount")};
    if (price_member(call->params, "start") != NULL ||
        price_member(call->params, "cancel") == NULL) {
        item.start = call_date(call, call->params, "start");
    } else {
        struct civil date = civil_from_days(call_date(call, call->params, "cancel"));
        date.day = 1;
        item.start = civil_to_days(date);
    }
    struct civil start = civil_from_days(item.start);
    item.end = item.start + civil_days_in_month(start.year, start.month);
    if (price_member(call->params, "end") != NULL)
        item.end = call_date(call, call->params, "end");
    if (!call->reader.in->status && item.end <= item.start)
        document_refuse(
            call->reader.in, json_member(call->params, "end"), "must be after the start");
    static const int64_t days_range[2] = {1, 100000};
    const char *days = price_name(call->params, WORD_KEYS("period_days", "period"));
    item.period_days =
        price_read_int(&call->reader, call->params, days, days_range, item.end - item.start);
    return item;
}

// A date of the item's period.
static int64_t
item_date(struct price_call *call, const struct item *item, const char *key)
{
    int64_t date = call_date(call, call->params, key);
    if (!call->reader.in->status && (date < item->start || date > item->end))
        document_refuse(
            call->reader.in, json_member(call->params, key), "is not in the item's period");
    return date;
}

static void
kb_repair_keep_word(struct price_call *call)
{
    struct abacus *abacus = call->reader.abacus;
    struct item item = item_read(call);
    int64_t until = item_date(call, &item, "keep_until");
    if (call->reader.in->status)
        return;
    const struct rational *ratio = price_ratio(abacus, until - item.start, item.period_days);
    call_major(call, currency_round(call, abacus_multiply(abacus, item.amount, ratio)));
}

static void
kb_repair_after_adjustment_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct abacus *abacus = in->abacus;
    struct item item = item_read(call);
    int64_t cancel = item_date(call, &item, "cancel");
    const struct rational *adjusted = price_read_optional(
        in, call->params, "item_adjustment", PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    if (in->in->status)
        return;
    const struct rational *ratio = price_ratio(abacus, item.end - cancel, item.period_days);
    const struct rational *repair =
        currency_round(call, abacus_multiply(abacus, item.amount, ratio));
    const struct rational *left = abacus_subtract(abacus, item.amount, adjusted);
    abacus_step(
        abacus,
        "%s, at most the %s that are left",
        abacus_text(abacus, repair),
        abacus_text(abacus, left));
    repair = rational_max(&RATIONAL_ZERO, rational_min(repair, left));
    call_major(call, abacus_subtract(abacus, &RATIONAL_ZERO, repair));
}

// ---- usage in blocks

static struct price_block_tier *
block_tiers_read(
    struct price_call *call, const struct json *object, const char *key, uint32_t *out_count)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, object, key, PRICE_TIERS_MAX);
    if (list != NULL && list->count == 0)
        document_refuse(in->in, list, "expected at least one tier");
    if (list == NULL || in->in->status)
        return NULL;
    struct price_block_tier *tiers =
        arena_array(in->abacus->arena, list->count, struct price_block_tier);
    for (const struct json *node = list->first; node != NULL; node = node->next) {
        struct price_block_tier *tier = &tiers[(*out_count)++];
        document_keys(
            in->in,
            node,
            WORD_KEYS("size", "block", "block_size", "price", "unit", "amount", "max"));
        const char *size = price_name(node, WORD_KEYS("size", "block_size", "block"));
        const char *price = price_name(node, WORD_KEYS("price", "unit", "amount"));
        tier->size = price_read_optional(in, node, size, PRICE_POSITIVE, abacus_int(in->abacus, 1));
        tier->price = price_read_number(in, node, price, PRICE_NOT_NEGATIVE);
        int64_t max = price_read_int(in, node, "max", whole_range, -1);
        if (!in->in->status && max >= 0)
            tier->max = abacus_int(in->abacus, max);
    }
    return tiers;
}

static bool
is_all_tiers(struct price_call *call, const struct json *object, bool fallback)
{
    struct document *in = call->reader.in;
    const char *key = price_name(object, WORD_KEYS("policy", "mode", "tier_policy"));
    const char *policy = document_text_optional(in, object, key, 16);
    if (policy == NULL || in->status)
        return fallback;
    bool is_all = strcasecmp(policy, "ALL_TIERS") == 0 || strcasecmp(policy, "ALL") == 0;
    if (!is_all && strcasecmp(policy, "TOP_TIER") != 0 && strcasecmp(policy, "TOP") != 0)
        document_refuse(in, json_member(object, key), "expected ALL_TIERS or TOP_TIER");
    return is_all;
}

// Tiers are a member of an object.
struct block_place {
    const struct json *object;
    const char *key;
    bool is_all;
};

static const struct rational *
consumable_amount(
    struct price_call *call, const struct block_place *place, const struct rational *units)
{
    uint32_t count = 0;
    struct price_block_tier *tiers = block_tiers_read(call, place->object, place->key, &count);
    if (call->reader.in->status)
        return &RATIONAL_ZERO;
    const struct rational *amount =
        price_consumable(call->reader.abacus, units, tiers, count, place->is_all);
    if (amount == NULL)
        document_refuse(
            call->reader.in,
            json_member(place->object, place->key),
            "the units are more than all tiers take: give the last one max -1");
    return amount != NULL ? amount : &RATIONAL_ZERO;
}

// Less what was billed; with decimals the total is rounded first.
static void
consumable_answer(struct price_call *call, const struct rational *total)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *billed = price_read_optional(
        &call->reader, call->params, "already_billed", PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    if (call->reader.in->status)
        return;
    bool is_rounded = price_member(call->params, "decimals") != NULL ||
                      price_member(call->params, "currency_decimals") != NULL;
    if (is_rounded)
        total = currency_round(call, total);
    abacus_step(
        abacus, "%s - %s billed before", abacus_text(abacus, total), abacus_text(abacus, billed));
    call_major(call, abacus_subtract(abacus, total, billed));
}

static void
kb_consumable_word(struct price_call *call)
{
    const struct rational *units = call_units(call);
    const struct block_place place = {
        call->params, "tiers", is_all_tiers(call, call->params, true)};
    consumable_answer(call, consumable_amount(call, &place, units));
}

// Parts, in a list or by name, with tiers and units of their own.
static const struct rational *
parts_amount(struct price_call *call, const struct json *parts, bool is_all)
{
    struct price_reader *in = &call->reader;
    const struct rational *sum = &RATIONAL_ZERO;
    if (parts->type != JSON_ARRAY && parts->type != JSON_OBJECT)
        document_refuse(in->in, parts, "expected a list of parts");
    for (const struct json *node = parts->first; node != NULL && !in->in->status;
         node = node->next) {
        document_keys(in->in, node, WORD_KEYS("units", "tiers", "policy", "mode", "tier_policy"));
        const struct rational *units = price_read_number(in, node, "units", PRICE_ANY);
        const struct block_place place = {node, "tiers", is_all_tiers(call, node, is_all)};
        sum = abacus_add(in->abacus, sum, consumable_amount(call, &place, units));
    }
    return sum;
}

// So much of each unit type, which has tiers of its own.
static const struct rational *
types_amount(struct price_call *call, const struct json *usage, bool is_all)
{
    struct price_reader *in = &call->reader;
    const struct rational *sum = &RATIONAL_ZERO;
    const struct json *tiers = document_member(in->in, call->params, "tiers");
    for (const struct json *node = usage->first; node != NULL && !in->in->status;
         node = node->next) {
        const struct block_place place = {
            tiers, arena_text_of(in->abacus->arena, node->key), is_all};
        const struct rational *units = price_read_node(in, node, PRICE_ANY);
        sum = abacus_add(in->abacus, sum, consumable_amount(call, &place, units));
    }
    return sum;
}

static void
kb_consumable_multi_word(struct price_call *call)
{
    struct document *in = call->reader.in;
    const struct json *parts = price_member(call->params, "parts");
    const struct json *usage = call_units_types(call);
    bool is_all = is_all_tiers(call, call->params, true);
    if (parts != NULL)
        consumable_answer(call, parts_amount(call, parts, is_all));
    else if (usage != NULL && usage->type == JSON_OBJECT)
        consumable_answer(call, types_amount(call, usage, is_all));
    else
        document_refuse(
            in,
            call->params,
            "\"parts\" is missing: the units, tiers and policy of each unit type");
}

// ---- capacity

// The limit of the index-th unit type: by its name, or by its place in a list.
static const struct json *
limit_of(const struct json *limits, const struct json *usage)
{
    for (const struct json *node = limits->first; node != NULL; node = node->next) {
        bool is_it = limits->type == JSON_OBJECT ? bytes_equal(node->key, usage->key)
                                                 : node->index == usage->index;
        if (is_it)
            return node;
    }
    return NULL;
}

static bool
limits_hold(struct price_call *call, const struct json *limits, const struct json *usage)
{
    struct price_reader *in = &call->reader;
    bool holds = true;
    if (limits->type != usage->type || (limits->type != JSON_OBJECT && limits->type != JSON_ARRAY))
        document_refuse(in->in, limits, "expected a limit for each unit type, as the usage has it");
    for (const struct json *node = usage->first; node != NULL && !in->in->status;
         node = node->next) {
        const struct json *limit = limit_of(limits, node);
        if (limit == NULL) {
            document_refuse(
                in->in,
                limits,
                "there is no limit for \"%.*s\"",
                (int)(node->key.size < 64 ? node->key.size : 64),
                (const char *)node->key.data);
            return false;
        }
        const struct rational *most = price_read_node(in, limit, PRICE_ANY);
        const struct rational *used = price_read_node(in, node, PRICE_ANY);
        if (rational_sign(most) >= 0 && rational_compare(used, most) > 0)
            holds = false;
    }
    return holds;
}

static void
kb_capacity_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct json *usage = call_units_types(call);
    if (usage == NULL) {
        document_refuse(in->in, call->params, "\"usage\" is missing: how much of each unit type?");
        return;
    }
    const struct json *tiers = document_array(in->in, call->params, "tiers", PRICE_TIERS_MAX);
    for (const struct json *node = tiers != NULL ? tiers->first : NULL; node != NULL;
         node = node->next) {
        document_keys(in->in, node, WORD_KEYS("limits", "price", "amount"));
        const struct json *limits = document_member(in->in, node, "limits");
        const char *price = price_name(node, WORD_KEYS("price", "amount"));
        const struct rational *amount = price_read_number(in, node, price, PRICE_NOT_NEGATIVE);
        bool holds = limits != NULL && limits_hold(call, limits, usage);
        if (in->in->status)
            return;
        abacus_step(
            in->abacus, "tier %u: the limits %s", node->index + 1, holds ? "hold" : "do not hold");
        if (holds) {
            call_major(call, amount);
            return;
        }
    }
    if (!in->in->status)
        document_refuse(in->in, tiers, "the usage is above the limits of every tier");
}

static const char keys_kb_billing_cycles[] =
    "start start_date end end_date target target_date bcd bill_cycle_day "
    "billing_cycle_day period";
static const char keys_kb_repair_after_adjust[] =
    "amount start end cancel item_adjustment period_days period";
static const char keys_kb_repair_keep[] = "amount start end keep_until period_days period";
static const char keys_kb_consumable[] = "tiers policy mode tier_policy already_billed";
static const char keys_kb_consumable_multi[] =
    "parts tiers usage units quantities policy mode tier_policy already_billed";
static const char keys_kb_capacity[] = "tiers usage units quantities";

static const struct price_word words[] = {
    {"kb_billing_cycles",          keys_kb_billing_cycles,      kb_billing_cycles_word         },
    {"kb_day_ratio",               "from to fixed_days",        kb_day_ratio_word              },
    {"kb_recurring_amount",        "rate cycles terms",         kb_recurring_amount_word       },
    {"kb_repair_sum",              "items",                     kb_repair_sum_word             },
    {"kb_repair_keep",             keys_kb_repair_keep,         kb_repair_keep_word            },
    {"kb_repair_after_adjustment", keys_kb_repair_after_adjust, kb_repair_after_adjustment_word},
    {"kb_consumable",              keys_kb_consumable,          kb_consumable_word             },
    {"kb_consumable_multi",        keys_kb_consumable_multi,    kb_consumable_multi_word       },
    {"kb_capacity",                keys_kb_capacity,            kb_capacity_word               },
};

struct price_words
price_words_killbill(void)
{
    return (struct price_words){words, sizeof words / sizeof words[0]};
}
