// Prices as a run makes them: the model's exact amount, rounded to a minor unit, once for each of
// so many quantities. One arena, emptied after each price. The sum of all is checked against whole
// number arithmetic where that is simple.
#include "base/assert.h"
#include "bench/micro.h"
#include "billing/money.h"
#include "billing/price_model.h"

#include <time.h>

enum { KINDS = 4, QUANTITIES = 1000003 };

static double
cpu_s(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static const struct rational *
number(struct abacus *abacus, const char *text)
{
    const struct rational *value = NULL;
    enum status status = abacus_parse(abacus, bytes_text(text), &value);
    must(status == STATUS_OK);
    return value;
}

// The models of a night: a token price, three tiers, one of three tiers, packages.
static void
models_make(struct abacus *abacus, struct price_tier tiers[3], struct price_model out[KINDS])
{
    tiers[0] = (struct price_tier){
        number(abacus, "10000"), number(abacus, "0.000002"), number(abacus, "1")};
    tiers[1] =
        (struct price_tier){number(abacus, "500000"), number(abacus, "0.0000015"), &RATIONAL_ZERO};
    tiers[2] = (struct price_tier){NULL, number(abacus, "0.000001"), &RATIONAL_ZERO};
    out[0] = (struct price_model){.kind = PRICE_STANDARD, .amount = number(abacus, "0.0000025")};
    out[1] = (struct price_model){.kind = PRICE_GRADUATED, .tiers = tiers, .tiers_count = 3};
    out[2] = (struct price_model){.kind = PRICE_VOLUME, .tiers = tiers, .tiers_count = 3};
    out[3] = (struct price_model){
        .kind = PRICE_PACKAGE,
        .package = {number(abacus, "1.25"), number(abacus, "1000"), number(abacus, "100"), false}
    };
}

static int64_t
quantity_of(int64_t i)
{
    return i * 7919 % QUANTITIES;
}

// What the standard model must come to: 0.0000025 each in cents, half up.
static int64_t
standard_plainly(int64_t count)
{
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (quantity_of(i) * 25 + 50000) / 100000;
    return sum;
}

static enum status
prices_make(const struct price_model *model, int64_t count, int64_t *out_sum, struct error *error)
{
    scoped(arena_done) struct arena arena = {0};
    const struct currency *usd = currency_find(bytes_text("USD"));
    *out_sum = 0;
    for (int64_t i = 0; i < count; i++) {
        struct abacus abacus = {.arena = &arena};
        struct price_usage usage = {
            .amounts = {.units = abacus_decimal(&abacus, decimal_from_int(quantity_of(i)))}};
        int64_t minor = 0;
        enum status status =
            money_round(price_model_amount(&abacus, model, &usage), usd, &minor, error);
        abacus_done(&abacus);
        if (status)
            return status;
        *out_sum += minor;
        arena_reset(&arena);
    }
    return STATUS_OK;
}

enum status
micro_price(const struct micro_options *options, struct micro_figures *out, struct error *error)
{
    static const char *const names[KINDS] = {
        "price_standard", "price_graduated", "price_volume", "price_package"};
    scoped(arena_done) struct arena arena = {0};
    scoped(abacus_done) struct abacus abacus = {.arena = &arena};
    struct price_tier tiers[3];
    struct price_model models[KINDS];
    models_make(&abacus, tiers, models);
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t sum = 0;
        double began_s = cpu_s();
        enum status status = prices_make(&models[kind], options->prices, &sum, error);
        double took_s = cpu_s() - began_s;
        if (status)
            return status;
        if (sum <= 0 || (kind == 0 && sum != standard_plainly(options->prices)))
            return error_set(error, STATUS_CORRUPT, "%s: the sum is wrong", names[kind]);
        micro_add(
            out, names[kind], (double)options->prices / took_s / 1e6, 2, "M prices/s, a core");
    }
    return STATUS_OK;
}
