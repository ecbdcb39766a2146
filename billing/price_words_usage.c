// The words that price usage: the models of the catalogue, and those built on them.

#include "base/assert.h"
#include "billing/price_advance.h"
#include "billing/price_words.h"

#include <inttypes.h>

// Each event looks at all before it, unless they rise.
enum { SEQUENCE_PERCENTAGE_MAX = 2000 };

static const int64_t places_range[2] = {-PRICE_ROUND_MAX, PRICE_ROUND_MAX};
static const int64_t count_range[2] = {0, INT32_MAX};

// ---- the models of the catalogue

// What the units were before anything: negative ones are refused when the case does not clamp.
static const struct rational *
units_read(struct price_call *call)
{
    const struct rational *units = call_units(call);
    bool is_clamped = price_read_bool(&call->reader, call->params, "clamp_negative_to_zero", true);
    if (!is_clamped && rational_sign(units) < 0)
        document_refuse(
            call->reader.in, call->units_node, "is negative, and clamp_negative_to_zero is false");
    return units;
}

static void
model_word(struct price_call *call, enum price_kind kind)
{
    struct price_model model;
    price_model_read(&call->reader, call->params, kind, &model);
    struct price_usage usage = {0};
    usage.amounts.units = kind == PRICE_FLAT ? &RATIONAL_ZERO : units_read(call);
    usage.select_on = price_read_optional(
        &call->reader, call->params, "select_on", PRICE_NOT_NEGATIVE, usage.amounts.units);
    if (!call->reader.in->status)
        call_major(call, price_model_amount(call->reader.abacus, &model, &usage));
}

static void
standard_word(struct price_call *call)
{
    model_word(call, PRICE_STANDARD);
}

static void
flat_word(struct price_call *call)
{
    model_word(call, PRICE_FLAT);
}

static void
graduated_word(struct price_call *call)
{
    model_word(call, PRICE_GRADUATED);
}

static void
graduated_percentage_word(struct price_call *call)
{
    model_word(call, PRICE_GRADUATED_PERCENTAGE);
}

static void
volume_word(struct price_call *call)
{
    model_word(call, PRICE_VOLUME);
}

static void
package_word(struct price_call *call)
{
    model_word(call, PRICE_PACKAGE);
}

// max(model, min_spend).
static void
with_minimum_word(struct price_call *call, enum price_kind kind)
{
    model_word(call, kind);
    const struct rational *minimum =
        price_read_number(&call->reader, call->params, "min_spend", PRICE_NOT_NEGATIVE);
    if (call->reader.in->status)
        return;
    struct abacus *abacus = call->reader.abacus;
    const struct rational *amount = call->answer.items[0].exact;
    abacus_step(abacus, "at least %s", abacus_text(abacus, minimum));
    call_major(call, rational_max(amount, minimum));
}

static void
package_with_minimum_word(struct price_call *call)
{
    with_minimum_word(call, PRICE_PACKAGE);
}

static void
volume_with_minimum_word(struct price_call *call)
{
    with_minimum_word(call, PRICE_VOLUME);
}

static void
package_delta_word(struct price_call *call)
{
    struct price_model model;
    struct abacus *abacus = call->reader.abacus;
    price_model_read(&call->reader, call->params, PRICE_PACKAGE, &model);
    const struct rational *units = call_units(call);
    const struct rational *billed =
        price_read_number(&call->reader, call->params, "already_billed_units", PRICE_NOT_NEGATIVE);
    if (call->reader.in->status)
        return;
    call_major(
        call,
        abacus_subtract(
            abacus,
            price_package(abacus, units, &model.package),
            price_package(abacus, billed, &model.package)));
}

static void
unit_with_cap_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const char *unit = price_name(call->params, WORD_KEYS("unit", "amount"));
    const struct rational *price = price_read_number(in, call->params, unit, PRICE_NOT_NEGATIVE);
    const struct rational *cap =
        price_read_number(in, call->params, "max_spend", PRICE_NOT_NEGATIVE);
    const struct rational *billed = price_read_optional(
        in, call->params, "already_billed_units", PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    const struct rational *units = call_units(call);
    if (!in->in->status)
        call_major(call, price_unit_with_cap(in->abacus, units, price, cap, billed));
}

// ---- percentage

static const struct rational *
events_sum(struct abacus *abacus, const struct price_amounts *amounts)
{
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < amounts->events_count; i++)
        sum = abacus_add(abacus, sum, amounts->events[i]);
    return sum;
}

// The events are a list of amounts or how many there were; the running totals come with them or
// follow from the list.
static void
amounts_read(struct price_call *call, int64_t free_events, struct price_amounts *out)
{
    struct price_reader *in = &call->reader;
    const char *name = price_name(call->params, WORD_KEYS("events", "events_count", "event_count"));
    const char *running =
        price_name(call->params, WORD_KEYS("running", "running_total", "running_totals"));
    const struct json *events = price_member(call->params, name);
    if (events != NULL && events->type == JSON_ARRAY)
        out->events = price_read_list(in, call->params, name, PRICE_ANY, &out->events_count);
    if (price_member(call->params, running) != NULL)
        out->running = price_read_list(in, call->params, running, PRICE_ANY, &out->running_count);
    else if (out->events != NULL)
        price_running(in->abacus, free_events, out);
    out->count = out->events != NULL ? out->events_count : out->running_count;
    if (events != NULL && events->type != JSON_ARRAY)
        out->count = price_read_int(in, call->params, name, count_range, 0);
    else if (price_member(call->params, "events_count") != NULL)
        out->count = price_read_int(in, call->params, "events_count", count_range, 0);
    if (call->units_node == NULL && out->events != NULL)
        out->units = events_sum(in->abacus, out);
    else if (call->units_node == NULL && out->running != NULL && out->running_count > 0)
        out->units = out->running[out->running_count - 1];
    else
        out->units = call_units(call);
}

// What the parameters ask and the case does not tell.
static void
amounts_check(
    struct price_call *call,
    const struct price_percentage *percentage,
    struct price_amounts *amounts)
{
    struct document *in = call->reader.in;
    const char *count =
        price_name(call->params, WORD_KEYS("events", "events_count", "event_count"));
    // Running totals may end before the last event; those that reach the units tell how many.
    bool is_whole =
        amounts->running_count > 0 &&
        rational_compare(amounts->running[amounts->running_count - 1], amounts->units) == 0;
    bool has_count =
        price_member(call->params, count) != NULL || is_whole || rational_sign(amounts->units) == 0;
    bool has_limit = percentage->min != NULL || percentage->max != NULL;
    bool has_free = percentage->free_events > 0 || rational_sign(percentage->free_amount) > 0;
    if (has_limit && amounts->events == NULL)
        document_refuse(in, call->params, "\"events\" is missing: min and max hold for each event");
    else if (rational_sign(percentage->fixed) > 0 && !has_count)
        document_refuse(in, call->params, "\"events\" is missing: how many pay the fixed fee?");
    if (in->status || !has_free || amounts->running != NULL)
        return;
    if (percentage->free_events > 0 && percentage->free_events < amounts->count) {
        document_refuse(
            in, call->params, "\"running\" is missing: free_events need each event's amount");
        return;
    }
    // One event, as far as anybody knows.
    const struct rational **running =
        arena_array(call->reader.abacus->arena, 1, const struct rational *);
    running[0] = amounts->units;
    amounts->running = running;
    amounts->running_count = 1;
}

static void
percentage_word(struct price_call *call)
{
    struct price_model model;
    struct price_usage usage = {0};
    price_model_read(&call->reader, call->params, PRICE_PERCENTAGE, &model);
    amounts_read(call, model.percentage.free_events, &usage.amounts);
    amounts_check(call, &model.percentage, &usage.amounts);
    if (!call->reader.in->status)
        call_major(call, price_model_amount(call->reader.abacus, &model, &usage));
}

// ---- dynamic

static const struct rational *
subunit_of(struct price_call *call)
{
    struct abacus *abacus = call->reader.abacus;
    return abacus_shift(abacus, abacus_int(abacus, 1), -call->decimals);
}

static void
dynamic_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct price_model model = {.kind = PRICE_DYNAMIC};
    struct price_usage usage = {0};
    model.subunit =
        price_read_optional(in, call->params, "subunit", PRICE_POSITIVE, subunit_of(call));
    usage.sum_minor = price_read_number(in, call->params, "sum_minor", PRICE_ANY);
    usage.amounts.units = call_units(call);
    const struct json *round = price_member(call->params, "round");
    if (in->in->status)
        return;
    if (round == NULL || (round->type == JSON_BOOL && !round->boolean)) {
        call_major(call, price_model_amount(in->abacus, &model, &usage));
        return;
    }
    // The fee in minor units, rounded.
    model.subunit = abacus_int(in->abacus, 1);
    const struct rational *minor = price_model_amount(in->abacus, &model, &usage);
    call_minor(call, abacus_round(in->abacus, minor, 0, ROUND_HALF_UP));
}

static void
dynamic_multiplier_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const char *billed = price_name(
        call->params, WORD_KEYS("already_billed_units", "already_billed", "billed_units"));
    struct price_multiplier multiplier = {
        .multiplier = price_read_number(in, call->params, "multiplier", PRICE_NOT_NEGATIVE),
        .max_spend = price_read_optional(in, call->params, "max_spend", PRICE_NOT_NEGATIVE, NULL),
        .already_billed_units =
            price_read_optional(in, call->params, billed, PRICE_NOT_NEGATIVE, &RATIONAL_ZERO),
        .places = (int32_t)price_read_int(in, call->params, "round", places_range, call->decimals),
    };
    const struct rational *units = call_units(call);
    if (!in->in->status)
        call_places(
            call,
            price_dynamic_multiplier(in->abacus, units, &multiplier),
            multiplier.places > 0 ? multiplier.places : 0);
}

// ---- pay in advance

static void
advance_event_read(
    struct price_call *call,
    const struct json *node,
    enum price_kind kind,
    struct price_advance_event *out)
{
    bool has_key = kind == PRICE_CUSTOM_FOLD;
    if (has_key &&
        (node->type != JSON_ARRAY || node->count != 2 || node->first->next->type != JSON_STRING)) {
        document_refuse(call->reader.in, node, "expected [units, key]");
    } else if (has_key) {
        out->units = price_read_node(&call->reader, node->first, PRICE_ANY);
        out->key = node->first->next->text;
    } else if (node->type == JSON_ARRAY) {
        const struct rational *pair[2] = {&RATIONAL_ZERO, &RATIONAL_ZERO};
        (void)price_read_tuple(&call->reader, node, PRICE_ANY, pair, 2);
        *out = (struct price_advance_event){.units = pair[0], .price_minor = pair[1]};
    } else {
        out->units = price_read_node(&call->reader, node, PRICE_ANY);
        if (kind == PRICE_DYNAMIC)
            out->price_minor = out->units;
    }
}

static struct price_advance_event *
advance_events_read(
    struct price_call *call, const struct price_advance *advance, uint32_t *out_count)
{
    enum price_kind kind = advance->model->kind;
    bool is_slow = kind == PRICE_PERCENTAGE && !advance->is_high_water;
    uint32_t most = is_slow ? SEQUENCE_PERCENTAGE_MAX : PRICE_LIST_MAX;
    const struct json *list = document_array(call->reader.in, call->params, "events", most);
    if (list == NULL)
        return NULL;
    struct price_advance_event *events =
        arena_array(call->reader.abacus->arena, list->count, struct price_advance_event);
    for (const struct json *node = list->first; node != NULL; node = node->next)
        advance_event_read(call, node, kind, &events[(*out_count)++]);
    return events;
}

// A fee is the difference of two prices: an event needs one wherever it lands.
static void
advance_defaults_check(struct price_call *call, const struct price_model *model)
{
    for (uint32_t i = 0; i < model->tiers_count && model->kind == PRICE_CUSTOM_FOLD; i++)
        if (model->custom_tiers[i].fallback == NULL)
            document_refuse(
                call->reader.in,
                json_member(call->params, "params"),
                "tier %" PRIu32 " has no \"default\": the price of other keys",
                i);
}

static void
advance_model_read(struct price_call *call, struct price_model *out)
{
    struct document *in = call->reader.in;
    const char *name = document_text(in, call->params, "model", 64);
    const struct json *params = document_member(in, call->params, "params");
    if (in->status)
        return;
    enum price_kind kind = PRICE_STANDARD;
    bool is_known = price_kind_parse(bytes_text(name), &kind);
    if (!is_known || kind == PRICE_FLAT)
        document_refuse(
            in, json_member(call->params, "model"), "\"%s\" has no price for an event", name);
    else if (kind == PRICE_VOLUME)
        document_refuse(
            in,
            json_member(call->params, "model"),
            "volume cannot be paid in advance: a later event changes the price of all");
    document_keys(in, params, price_model_keys(kind, false));
    if (!in->status)
        price_model_read(&call->reader, params, kind, out);
    if (!in->status)
        advance_defaults_check(call, out);
    if (kind == PRICE_DYNAMIC && !in->status && price_member(params, "subunit") == NULL)
        out->subunit = subunit_of(call);
}

static const struct rational *
carried_read(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct rational *carried =
        price_read_optional(in, call->params, "carried", PRICE_ANY, &RATIONAL_ZERO);
    const struct rational *twice = abacus_add(in->abacus, carried, carried);
    const struct rational *one = abacus_int(in->abacus, 1);
    if (rational_compare(twice, one) >= 0 ||
        rational_compare(twice, abacus_int(in->abacus, -1)) < 0)
        document_refuse(
            in->in,
            json_member(call->params, "carried"),
            "is not what a sequence leaves: expected -0.5 or more, and less than 0.5");
    return carried;
}

static void
pay_in_advance_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct price_model model = {0};
    uint32_t count = 0;
    advance_model_read(call, &model);
    if (in->in->status)
        return;
    const struct price_advance advance = {
        .model = &model,
        .is_high_water = price_read_bool(in, call->params, "high_water", false),
        .decimals = (uint32_t)call->decimals,
        .carried = carried_read(call),
    };
    struct price_advance_event *events = advance_events_read(call, &advance, &count);
    if (in->in->status)
        return;
    struct price_fee *fees = arena_array(in->abacus->arena, count, struct price_fee);
    (void)price_in_advance(in->abacus, &advance, events, count, fees);
    struct price_item *items = call_items(call, PRICE_LIST, count);
    for (uint32_t i = 0; i < count; i++)
        items[i] = (struct price_item){
            .exact = fees[i].exact_minor,
            .rounded = fees[i].billed_minor,
            .first_step = fees[i].first_step,
        };
}

// ---- the table

static const char keys_package_delta[] =
    "amount size free bill_min_one clamp_negative_to_zero already_billed_units";
static const char keys_package_with_minimum[] =
    "amount size free bill_min_one clamp_negative_to_zero min_spend";
static const char keys_volume_with_minimum[] = "tiers select_on clamp_negative_to_zero min_spend";
static const char keys_percentage[] =
    "rate fixed min max free_events free_amount events events_count running "
    "running_total running_totals event_count fixed_amount free_total";
static const char keys_dynamic_multiplier[] =
    "multiplier round max_spend already_billed_units already_billed billed_units";
static const char keys_pay_in_advance[] = "model params events high_water carried";
static const char keys_volume[] = "tiers select_on clamp_negative_to_zero";
static const char keys_package[] = "amount size free bill_min_one clamp_negative_to_zero";
static const char keys_unit_with_cap[] = "unit amount max_spend already_billed_units";

static const struct price_word words[] = {
    {"standard",                "amount clamp_negative_to_zero", standard_word            },
    {"flat",                    "amount",                        flat_word                },
    {"graduated",               "tiers clamp_negative_to_zero",  graduated_word           },
    {"graduated_percentage",    "tiers clamp_negative_to_zero",  graduated_percentage_word},
    {"volume",                  keys_volume,                     volume_word              },
    {"package",                 keys_package,                    package_word             },
    {"package_delta",           keys_package_delta,              package_delta_word       },
    {"package_with_minimum",    keys_package_with_minimum,       package_with_minimum_word},
    {"volume_with_minimum",     keys_volume_with_minimum,        volume_with_minimum_word },
    {"percentage",              keys_percentage,                 percentage_word          },
    {"pay_in_advance_sequence", keys_pay_in_advance,             pay_in_advance_word      },
    {"dynamic",                 "sum_minor subunit round",       dynamic_word             },
    {"dynamic_multiplier",      keys_dynamic_multiplier,         dynamic_multiplier_word  },
    {"unit_with_cap",           keys_unit_with_cap,              unit_with_cap_word       },
};

struct price_words
price_words_usage(void)
{
    return (struct price_words){words, sizeof words / sizeof words[0]};
}
