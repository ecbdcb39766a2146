// The words for wallets, minor units, currencies, payouts and splits that add up.

#include "base/assert.h"
#include "billing/price_split.h"
#include "billing/price_term.h"
#include "billing/price_words.h"

#include <string.h>

enum { WEIGHTS_MAX = 1000 };

// Whether a text parameter has the value; other values are refused, absent is false.
static bool
is_text(struct price_call *call, const char *key, const char *expected, const char *other)
{
    struct document *in = call->reader.in;
    const char *text = document_text_optional(in, call->params, key, 16);
    if (text == NULL || in->status)
        return false;
    bool is_it = strcmp(text, expected) == 0;
    if (!is_it && strcmp(text, other) != 0)
        document_refuse(
            in, json_member(call->params, key), "expected \"%s\" or \"%s\"", expected, other);
    return is_it;
}

// Credits at a rate; or, with minor input, an amount of minor units. Asked for credits, only those
// that are worth whole minor units.
static void
wallet_credit_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct abacus *abacus = in->abacus;
    bool is_minor = is_text(call, "input", "minor", "credits");
    bool wants_credits = is_text(call, "output", "credits", "amount");
    // Money that stays money has no rate.
    const struct rational *rate =
        is_minor && !wants_credits
            ? price_read_optional(in, call->params, "rate", PRICE_POSITIVE, abacus_int(abacus, 1))
            : price_read_number(in, call->params, "rate", PRICE_POSITIVE);
    const struct rational *units = call_number_or_units(call, "credits");
    if (in->in->status)
        return;
    const struct rational *value = is_minor
                                       ? abacus_round(
                                             abacus,
                                             abacus_shift(abacus, units, call->decimals),
                                             call->decimals,
                                             ROUND_HALF_UP)
                                       : price_credits_value(abacus, units, rate, call->decimals);
    if (wants_credits)
        call_quantity(call, abacus_divide(abacus, value, rate));
    else
        call_major(call, value);
}

static void
to_minor_word(struct price_call *call)
{
    const struct rational *units = call_number_or_units(call, "amount");
    if (!call->reader.in->status)
        call_minor(call, abacus_shift(call->reader.abacus, units, -call->decimals));
}

static void
fx_convert_word(struct price_call *call)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *rate =
        price_read_number(&call->reader, call->params, "rate", PRICE_POSITIVE);
    const struct rational *units = call_number_or_units(call, "amount");
    if (call->reader.in->status)
        return;
    const struct rational *minor =
        abacus_shift(abacus, abacus_multiply(abacus, units, rate), -call->decimals);
    abacus_step(
        abacus,
        "%s x %s = %s minor units",
        abacus_text(abacus, units),
        abacus_text(abacus, rate),
        abacus_text(abacus, minor));
    call_minor(call, abacus_round(abacus, minor, 0, ROUND_HALF_UP));
}

static void
round_half_away_word(struct price_call *call)
{
    // Without decimals of its own it rounds to whole units, whatever the currency.
    bool has_decimals = price_member(call->params, "decimals") != NULL ||
                        price_member(call->params, "currency_decimals") != NULL;
    int32_t decimals = has_decimals ? call->decimals : 0;
    const struct rational *units = call_number_or_units(call, "amount");
    if (!call->reader.in->status)
        call_places(
            call, abacus_round(call->reader.abacus, units, decimals, ROUND_HALF_UP), decimals);
}

static void
payout_floor_word(struct price_call *call)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *multiple =
        price_read_number(&call->reader, call->params, "multiple", PRICE_POSITIVE);
    const struct rational *units = call_number_or_units(call, "amount");
    if (call->reader.in->status)
        return;
    const struct rational *count = abacus_divide_whole(abacus, units, multiple, ROUND_FLOOR);
    abacus_step(abacus, "%s x %s", abacus_text(abacus, count), abacus_text(abacus, multiple));
    call_minor(call, abacus_multiply(abacus, count, multiple));
}

static void
platform_fee_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct rational *points =
        price_read_number(in, call->params, "basis_points", PRICE_NOT_NEGATIVE);
    const struct rational *fixed =
        price_read_optional(in, call->params, "fixed_minor", PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
    const struct rational *units = call_units(call);
    if (!in->in->status)
        call_minor(call, price_platform_fee(in->abacus, units, points, fixed));
}

// ---- splits

static void
weight_read(
    struct price_call *call,
    const struct json *node,
    struct price_allocation *allocation,
    struct price_weight *weights)
{
    struct document *in = call->reader.in;
    if (node->type != JSON_ARRAY || node->count != 2 || node->first->type != JSON_STRING) {
        document_refuse(in, node, "expected [key, weight]");
        return;
    }
    for (uint32_t i = 0; i < allocation->weights_count; i++)
        if (bytes_equal(weights[i].key, node->first->text))
            document_refuse(in, node->first, "names a key twice");
    weights[allocation->weights_count++] = (struct price_weight){
        node->first->text, price_read_node(&call->reader, node->first->next, PRICE_NOT_NEGATIVE)};
}

static void
allocation_check(struct price_call *call, const struct price_allocation *allocation)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *total = &RATIONAL_ZERO;
    for (uint32_t i = 0; i < allocation->weights_count; i++)
        total = abacus_add(abacus, total, allocation->weights[i].weight);
    const struct rational *rounded =
        abacus_round(abacus, allocation->amount, allocation->decimals, ROUND_DOWN);
    if (call->reader.in->status)
        return;
    if (rational_sign(total) <= 0)
        document_refuse(
            call->reader.in,
            json_member(call->params, "weights"),
            "the weights add up to nothing: there is nobody to give the amount to");
    else if (rational_compare(rounded, allocation->amount) != 0)
        document_refuse(
            call->reader.in,
            call->params,
            "the amount has more than %d decimals: its parts could not add up to it",
            allocation->decimals);
}

static void
allocate_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, call->params, "weights", WEIGHTS_MAX);
    if (list == NULL)
        return;
    struct price_weight *weights = arena_array(in->abacus->arena, list->count, struct price_weight);
    struct price_allocation allocation = {
        .amount = call_number_or_units(call, "amount"),
        .weights = weights,
        .decimals = call->decimals,
        .is_tie_by_key = is_text(call, "tie", "key", "input"),
    };
    for (const struct json *node = list->first; node != NULL && !in->in->status; node = node->next)
        weight_read(call, node, &allocation, weights);
    allocation_check(call, &allocation);
    if (in->in->status)
        return;
    const struct rational **parts =
        arena_array(in->abacus->arena, allocation.weights_count, const struct rational *);
    price_allocate(in->abacus, &allocation, parts);
    struct price_item *items = call_items(call, PRICE_MAP, allocation.weights_count);
    for (uint32_t i = 0; i < allocation.weights_count; i++)
        items[i] = (struct price_item){
            .key = allocation.weights[i].key, .exact = parts[i], .places = call->decimals};
}

static const struct price_word words[] = {
    {"wallet_credit",              "rate input output credits", wallet_credit_word  },
    {"to_minor",                   "amount",                    to_minor_word       },
    {"fx_convert",                 "rate amount",               fx_convert_word     },
    {"round_half_away",            "amount",                    round_half_away_word},
    {"payout_floor_to_multiple",   "multiple amount",           payout_floor_word   },
    {"platform_fee",               "basis_points fixed_minor",  platform_fee_word   },
    {"allocate_largest_remainder", "amount weights tie",        allocate_word       },
};

struct price_words
price_words_split(void)
{
    return (struct price_words){words, sizeof words / sizeof words[0]};
}
