// The words for parts of periods, credits, coupons, taxes, wallets and splits. Amounts are in minor
// units unless docs/pricing.md says otherwise.

#include "base/assert.h"
#include "base/clock.h"
#include "billing/price_split.h"
#include "billing/price_term.h"
#include "billing/price_words.h"

#include <stdio.h>
#include <string.h>

enum { WEIGHTS_MAX = 1000, FEES_MAX = 1000 };

// ---- shares of a period

// Whether the text goes on at `at` as the pattern does: a d stands for a digit.
static bool
is_like(struct bytes text, size_t at, const char *pattern)
{
    for (; *pattern != '\0'; pattern++, at++) {
        if (at >= text.size)
            return false;
        bool is_digit = text.data[at] >= '0' && text.data[at] <= '9';
        if (*pattern == 'd' ? !is_digit : text.data[at] != (uint8_t)*pattern)
            return false;
    }
    return true;
}

// The next date of a text: "2022-03-15" or, in the year of the one before, "03-31". Moves *at
// behind it; false when there is none.
static bool
window_date(struct bytes text, size_t *at, int64_t *in_out_date)
{
    char date[16];
    int64_t time_ns = 0;
    while (*at < text.size && !is_like(text, *at, "dd-dd"))
        (*at)++;
    bool has_year = *at >= 2 && is_like(text, *at - 2, "dddd-dd-dd");
    if (*at == text.size)
        return false;
    if (has_year)
        snprintf(date, sizeof date, "%.10s", (const char *)text.data + *at - 2);
    else
        snprintf(
            date,
            sizeof date,
            "%04d-%.5s",
            civil_from_days(*in_out_date).year,
            (const char *)text.data + *at);
    *at += has_year ? 8 : 5;
    if (clock_parse(bytes_text(date), &time_ns) != STATUS_OK)
        return false;
    int64_t before = *in_out_date;
    *in_out_date = time_ns / DAY_NS - (time_ns % DAY_NS < 0);
    // "2022-12-15..01-10": without a year of its own it is the next such day.
    struct civil next = civil_from_days(*in_out_date);
    next.year++;
    bool is_leap_day = next.month == 2 && next.day == 29;
    if (!has_year && *in_out_date < before && !is_leap_day)
        *in_out_date = civil_to_days(next);
    return true;
}

// A year or a month of it, whole: "2022", "2022-03".
static int64_t
window_whole(struct bytes text, int64_t *date)
{
    struct civil first = {.month = 1, .day = 1};
    bool has_month = text.size == 7 && is_like(text, 0, "dddd-dd");
    if (!has_month && !(text.size == 4 && is_like(text, 0, "dddd")))
        return 0;
    for (size_t i = 0; i < 4; i++)
        first.year = first.year * 10 + (text.data[i] - '0');
    if (has_month)
        first.month = (uint8_t)((text.data[5] - '0') * 10 + (text.data[6] - '0'));
    if (first.month < 1 || first.month > 12)
        return 0;
    *date = civil_to_days(first);
    if (has_month)
        return civil_days_in_month(first.year, first.month);
    first.year++;
    return civil_to_days(first) - *date;
}

// The days from one date of the text to the next, both included; 0 when they are not there.
static int64_t
window_days(struct bytes text, int64_t *date)
{
    size_t at = 0;
    int64_t whole = window_whole(text, date);
    if (whole > 0 || !window_date(text, &at, date))
        return whole;
    int64_t from = *date;
    if (!window_date(text, &at, date) || *date < from)
        return 0;
    return *date - from + 1;
}

struct window {
    int64_t days, period_days;  // 0: not told
};

// "A..B" or "A..B in C..D".
static struct window
window_read(struct price_call *call)
{
    struct window window = {0};
    const struct json *node = price_member(call->params, "window");
    if (node == NULL)
        return window;
    const char *text = document_text(call->reader.in, call->params, "window", 100);
    const char *in = strstr(text, " in ");
    size_t size = in != NULL ? (size_t)(in - text) : strlen(text);
    int64_t date = 0;
    window.days = window_days(bytes_of(text, size), &date);
    if (in != NULL)
        window.period_days = window_days(bytes_text(in + 4), &date);
    if (!call->reader.in->status && (window.days == 0 || (in != NULL && window.period_days == 0)))
        document_refuse(
            call->reader.in,
            node,
            "expected dates such as \"2022-03-15..2022-03-31 in 2022-03-01..2022-03-31\"");
    return window;
}

// A parameter that the window may tell too; they must agree. NULL: neither does.
static const struct rational *
window_or(struct price_call *call, const char *key, enum price_sign sign, int64_t window)
{
    struct price_reader *in = &call->reader;
    const struct rational *told = window > 0 ? abacus_int(in->abacus, window) : NULL;
    const struct rational *value = price_read_optional(in, call->params, key, sign, told);
    if (!in->in->status && told != NULL && rational_compare(value, told) != 0)
        document_refuse(in->in, json_member(call->params, key), "the window has %ld days", window);
    return value;
}

// days and period_days (or period), or the window, or the units for the days.
static struct price_share
share_read(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct window window = window_read(call);
    const char *period = price_name(call->params, WORD_KEYS("period_days", "period"));
    struct price_share share = {
        window_or(call, "days", PRICE_NOT_NEGATIVE, window.days),
        window_or(call, period, PRICE_POSITIVE, window.period_days),
    };
    if (share.days == NULL)
        share.days = call_number_or_units(call, "days");
    if (share.period == NULL)
        share.period = price_read_number(in, call->params, period, PRICE_POSITIVE);
    return share;
}

// The whole when the case names no part.
static struct price_share
share_optional(struct price_call *call)
{
    static const char *const names[] = {"days", "period_days", "period", "window", NULL};
    for (size_t i = 0; names[i] != NULL; i++)
        if (price_member(call->params, names[i]) != NULL)
            return share_read(call);
    const struct rational *one = abacus_int(call->reader.abacus, 1);
    return (struct price_share){one, one};
}

static const struct rational *
amount_of(struct price_call *call, const char *key)
{
    return price_read_number(&call->reader, call->params, key, PRICE_NOT_NEGATIVE);
}

static const struct rational *
amount_or_zero(struct price_call *call, const char *key)
{
    return price_read_optional(
        &call->reader, call->params, key, PRICE_NOT_NEGATIVE, &RATIONAL_ZERO);
}

// A tax as the rules have it, (1 + tax): a fraction, or in percent: "25%", or a number above 1.
static const struct rational *
tax_read(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct abacus *abacus = in->abacus;
    const struct json *node = price_member(call->params, "tax");
    const struct rational *value = &RATIONAL_ZERO, *one = abacus_int(abacus, 1);
    if (node == NULL)
        return value;
    struct bytes text = node->text;
    bool is_percent = node->type == JSON_STRING && text.size > 1 && text.data[text.size - 1] == '%';
    if (is_percent)
        text.size--;
    if (is_percent && abacus_parse(abacus, text, &value) != STATUS_OK)
        document_refuse(in->in, node, "is not a number");
    if (!is_percent)
        value = price_read_node(in, node, PRICE_NOT_NEGATIVE);
    if (rational_sign(value) < 0)
        document_refuse(in->in, node, "may not be negative");
    return is_percent || rational_compare(value, one) > 0 ? abacus_shift(abacus, value, 2) : value;
}

static void
day_proration_word(struct price_call *call)
{
    const struct rational *amount =
        price_read_number(&call->reader, call->params, "amount", PRICE_ANY);
    struct price_share share = share_read(call);
    if (!call->reader.in->status)
        call_minor(call, price_days(call->reader.abacus, amount, share));
}

static void
fixed_charge_upgrade_net_word(struct price_call *call)
{
    struct price_upgrade upgrade = {
        .new_amount = amount_of(call, "new"),
        .old_billed = amount_of(call, "old_billed"),
        .old_billed_days =
            price_read_number(&call->reader, call->params, "old_billed_days", PRICE_POSITIVE),
        .share = share_read(call),
    };
    if (!call->reader.in->status)
        call_minor(call, price_upgrade_net(call->reader.abacus, &upgrade));
}

static void
termination_credit_word(struct price_call *call)
{
    struct price_termination termination = {
        .amount = amount_of(call, "amount"),
        .share = share_read(call),
        .billed_fee = amount_of(call, "billed_fee"),
        .already_credited = amount_or_zero(call, "already_credited"),
        .coupon_on_fee = amount_or_zero(call, "coupon_on_fee"),
        .tax = tax_read(call),
    };
    if (!call->reader.in->status)
        call_minor(call, price_termination_credit(call->reader.abacus, &termination));
}

static void
termination_refund_word(struct price_call *call)
{
    struct price_refund refund = {
        .paid = amount_of(call, "paid"),
        .fee_total = amount_of(call, "fee_total"),
        .invoice_total =
            price_read_number(&call->reader, call->params, "invoice_total", PRICE_POSITIVE),
        .used_net = amount_of(call, "used_net"),
        .tax = tax_read(call),
        .creditable = amount_of(call, "creditable"),
    };
    if (!call->reader.in->status)
        call_minor(call, price_termination_refund(call->reader.abacus, &refund));
}

static void
credit_note_total_word(struct price_call *call)
{
    const struct rational *amount = amount_of(call, "amount");
    struct price_share share = share_read(call);
    const struct rational *tax = tax_read(call);
    if (!call->reader.in->status)
        call_minor(call, price_credit_note(call->reader.abacus, amount, share, tax));
}

// A number or the sum of a list of them.
static const struct rational *
sum_read(struct price_call *call, const char *key)
{
    struct price_reader *in = &call->reader;
    const struct json *node = document_member(in->in, call->params, key);
    if (node == NULL || node->type != JSON_ARRAY)
        return node != NULL ? price_read_node(in, node, PRICE_ANY) : &RATIONAL_ZERO;
    uint32_t count = 0;
    const struct rational **items = price_read_list(in, call->params, key, PRICE_ANY, &count);
    const struct rational *sum = &RATIONAL_ZERO;
    for (uint32_t i = 0; items != NULL && i < count; i++)
        sum = abacus_add(in->abacus, sum, items[i]);
    return sum;
}

static void
charge_minimum_true_up_word(struct price_call *call)
{
    const struct rational *minimum = amount_of(call, "minimum");
    const struct rational *used = sum_read(call, "used");
    struct price_share share = share_optional(call);
    if (!call->reader.in->status)
        call_minor(call, price_minimum_true_up(call->reader.abacus, minimum, share, used));
}

static void
minimum_commitment_true_up_word(struct price_call *call)
{
    const struct rational *commitment = amount_of(call, "commitment");
    const struct rational *fees = sum_read(call, "fees");
    struct price_share share = share_optional(call);
    if (!call->reader.in->status)
        call_minor(call, price_commitment_true_up(call->reader.abacus, commitment, share, fees));
}

static void
progressive_final_invoice_word(struct price_call *call)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *subscription = sum_read(call, "subscription");
    const struct rational *usage = sum_read(call, "usage");
    const struct rational *credits = sum_read(call, "progressive_credits");
    abacus_step(
        abacus,
        "%s + %s - %s",
        abacus_text(abacus, subscription),
        abacus_text(abacus, usage),
        abacus_text(abacus, credits));
    if (!call->reader.in->status)
        call_minor(call, abacus_subtract(abacus, abacus_add(abacus, subscription, usage), credits));
}

static void
proration_net_word(struct price_call *call)
{
    const struct rational *new_amount = amount_of(call, "new");
    const struct rational *old_amount = amount_of(call, "old");
    const struct rational *remaining = amount_of(call, "remaining");
    if (!call->reader.in->status)
        call_major(
            call, price_proration_net(call->reader.abacus, new_amount, old_amount, remaining));
}

// ---- coupons, tax

static void
coupon_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    struct abacus *abacus = in->abacus;
    bool is_fixed = price_member(call->params, "fixed") != NULL;
    if (is_fixed == (price_member(call->params, "percent") != NULL))
        document_refuse(in->in, call->params, "expected either \"fixed\" or \"percent\"");
    else if (!is_fixed && price_member(call->params, "used") != NULL)
        document_refuse(
            in->in, json_member(call->params, "used"), "a coupon in percent is not used up");
    const struct rational *units = call_units(call);
    const struct rational *base = rational_max(units, &RATIONAL_ZERO);
    const struct rational *value = amount_of(call, is_fixed ? "fixed" : "percent");
    const struct rational *used = amount_or_zero(call, "used");
    if (in->in->status)
        return;
    const struct rational *amount = abacus_subtract(abacus, value, used);
    if (!is_fixed)
        amount = abacus_shift(abacus, abacus_multiply(abacus, base, value), 2);
    abacus_step(abacus, "%s, at most %s", abacus_text(abacus, amount), abacus_text(abacus, base));
    call_minor(call, rational_max(&RATIONAL_ZERO, rational_min(amount, base)));
}

static void
tax_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, call->params, "bases", PRICE_LIST_MAX);
    if (list == NULL)
        return;
    struct price_fee_base *bases =
        arena_array(in->abacus->arena, list->count, struct price_fee_base);
    uint32_t count = 0;
    for (const struct json *node = list->first; node != NULL; node = node->next) {
        const struct rational *pair[2] = {&RATIONAL_ZERO, &RATIONAL_ZERO};
        if (!price_read_tuple(in, node, PRICE_ANY, pair, 2))
            return;
        if (rational_sign(pair[1]) < 0)
            document_refuse(in->in, node->first->next, "may not be negative");
        bases[count++] = (struct price_fee_base){pair[0], pair[1]};
    }
    if (!in->in->status)
        call_minor(call, price_tax(in->abacus, bases, count));
}

// A fee is [amount, rate of its tax], {"amount", "rate"}, or a number with its rate in "rates".
static void
fee_read(struct price_call *call, const struct json *node, struct price_fee_base *out)
{
    struct price_reader *in = &call->reader;
    if (node->type == JSON_ARRAY) {
        const struct rational *pair[2] = {&RATIONAL_ZERO, &RATIONAL_ZERO};
        if (price_read_tuple(in, node, PRICE_NOT_NEGATIVE, pair, 2))
            *out = (struct price_fee_base){pair[0], pair[1]};
    } else if (node->type == JSON_OBJECT) {
        document_keys(in->in, node, WORD_KEYS("amount", "rate", "tax"));
        const char *rate = price_name(node, WORD_KEYS("rate", "tax"));
        out->amount = price_read_number(in, node, "amount", PRICE_NOT_NEGATIVE);
        out->rate = price_read_number(in, node, rate, PRICE_NOT_NEGATIVE);
    } else {
        out->amount = price_read_node(in, node, PRICE_NOT_NEGATIVE);
    }
}

static struct price_fee_base *
fees_read(struct price_call *call, uint32_t *out_count)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, call->params, "fees", FEES_MAX);
    if (list == NULL)
        return NULL;
    struct price_fee_base *fees =
        arena_array(in->abacus->arena, list->count, struct price_fee_base);
    const char *name = price_name(call->params, WORD_KEYS("rates", "taxes", "tax_rates", "tax"));
    uint32_t rates_count = 0;
    const struct rational **rates = NULL;
    if (price_member(call->params, name) != NULL)
        rates = price_read_list(in, call->params, name, PRICE_NOT_NEGATIVE, &rates_count);
    for (const struct json *node = list->first; node != NULL && !in->in->status;
         node = node->next) {
        struct price_fee_base *fee = &fees[(*out_count)++];
        fee_read(call, node, fee);
        if (in->in->status || fee->rate != NULL)
            continue;
        if (*out_count > rates_count)
            document_refuse(in->in, node, "has no rate of tax");
        else
            fee->rate = rates[*out_count - 1];
    }
    return fees;
}

static void
coupon_fees_read(
    struct price_call *call, const struct json *list, uint32_t fees_count, struct price_coupon *out)
{
    struct price_reader *in = &call->reader;
    if (list->type != JSON_ARRAY || list->count > fees_count) {
        document_refuse(in->in, list, "expected a list of indexes of fees");
        return;
    }
    uint32_t *fees = arena_array(in->abacus->arena, list->count, uint32_t);
    for (const struct json *node = list->first; node != NULL; node = node->next) {
        int64_t index = -1;
        if (json_int64(node, &index) != STATUS_OK || index < 0 || index >= fees_count) {
            document_refuse(in->in, node, "there is no such fee: they count from 0");
            return;
        }
        for (uint32_t i = 0; i < out->fees_count; i++)
            if (fees[i] == index)
                document_refuse(in->in, node, "names a fee twice");
        fees[out->fees_count++] = (uint32_t)index;
    }
    out->fees = fees;
}

static struct price_coupon *
coupons_read(struct price_call *call, uint32_t fees_count, uint32_t *out_count)
{
    struct price_reader *in = &call->reader;
    const struct json *list = document_array(in->in, call->params, "coupons", FEES_MAX);
    if (list == NULL)
        return NULL;
    struct price_coupon *coupons = arena_array(in->abacus->arena, list->count, struct price_coupon);
    for (const struct json *node = list->first; node != NULL && !in->in->status;
         node = node->next) {
        struct price_coupon *coupon = &coupons[(*out_count)++];
        if (node->type != JSON_ARRAY || node->count != 2) {
            document_refuse(in->in, node, "expected [amount, [indexes of fees]]");
            return NULL;
        }
        coupon->amount = price_read_node(in, node->first, PRICE_NOT_NEGATIVE);
        if (node->first->next->type != JSON_NULL)
            coupon_fees_read(call, node->first->next, fees_count, coupon);
    }
    return coupons;
}

static void
coupon_tax_answer(
    struct price_call *call, struct price_fee_base *fees, uint32_t count, bool is_total)
{
    struct abacus *abacus = call->reader.abacus;
    const struct rational *amount = price_tax(abacus, fees, count);
    for (uint32_t i = 0; is_total && i < count; i++)
        amount = abacus_add(abacus, amount, fees[i].amount);
    call_minor(call, amount);
}

static void
coupon_tax_invoice_word(struct price_call *call)
{
    struct price_reader *in = &call->reader;
    uint32_t fees_count = 0, coupons_count = 0;
    struct price_fee_base *fees = fees_read(call, &fees_count);
    if (in->in->status)
        return;
    struct price_coupon *coupons = coupons_read(call, fees_count, &coupons_count);
    const char *output = document_text_optional(in->in, call->params, "output", 16);
    bool is_total = output != NULL && strcmp(output, "total") == 0;
    if (!in->in->status && output != NULL && !is_total && strcmp(output, "tax") != 0)
        document_refuse(
            in->in, json_member(call->params, "output"), "expected \"tax\" or \"total\"");
    if (in->in->status)
        return;
    const struct rational **rest =
        arena_array(in->abacus->arena, fees_count, const struct rational *);
    for (uint32_t i = 0; i < fees_count; i++)
        rest[i] = fees[i].amount;
    price_coupons_apply(in->abacus, coupons, coupons_count, rest, fees_count);
    for (uint32_t i = 0; i < fees_count; i++)
        fees[i].amount = rest[i];
    coupon_tax_answer(call, fees, fees_count, is_total);
}

// ---- the table

static const char keys_fixed_charge_upgrad_net[] =
    "new old_billed old_billed_days days period_days period window";
static const char keys_termination_credit[] =
    "amount billed_fee already_credited coupon_on_fee tax days period_days period "
    "window";
static const char keys_termination_refund[] =
    "paid fee_total invoice_total used_net tax creditable";
static const char keys_charge_minimu_true_up[] = "minimum used days period_days period window";
static const char keys_minimu_commit_true_up[] = "commitment fees days period_days period window";
static const char keys_progre_final_invoic[] = "subscription usage progressive_credits";
static const char keys_coupon_tax_invoice[] = "fees coupons output rates taxes tax_rates tax";
static const char keys_day_proration[] = "amount days period_days period window";
static const char keys_credit_note_total[] = "amount tax days period_days period window";

static const struct price_word words[] = {
    {"day_proration",              keys_day_proration,           day_proration_word             },
    {"fixed_charge_upgrade_net",   keys_fixed_charge_upgrad_net, fixed_charge_upgrade_net_word  },
    {"termination_credit",         keys_termination_credit,      termination_credit_word        },
    {"termination_refund",         keys_termination_refund,      termination_refund_word        },
    {"credit_note_total",          keys_credit_note_total,       credit_note_total_word         },
    {"charge_minimum_true_up",     keys_charge_minimu_true_up,   charge_minimum_true_up_word    },
    {"minimum_commitment_true_up", keys_minimu_commit_true_up,   minimum_commitment_true_up_word},
    {"progressive_final_invoice",  keys_progre_final_invoic,     progressive_final_invoice_word },
    {"proration_net",              "new old remaining",          proration_net_word             },
    {"coupon",                     "fixed used percent",         coupon_word                    },
    {"coupon_tax_invoice",         keys_coupon_tax_invoice,      coupon_tax_invoice_word        },
    {"tax",                        "bases",                      tax_word                       },
};

struct price_words
price_words_money(void)
{
    return (struct price_words){words, sizeof words / sizeof words[0]};
}
