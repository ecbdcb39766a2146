#include "billing/money.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>

// ISO 4217, list one: active codes with a minor unit of 0, 2 or 3 decimals, funds codes included.
// CLF and UYW (units of account with four decimals), metals and test codes are not money that an
// invoice can be in. Sorted by code.
// clang-format off
static const struct currency currencies[] = {
    {"AED", 2}, {"AFN", 2}, {"ALL", 2}, {"AMD", 2}, {"AOA", 2}, {"ARS", 2},
    {"AUD", 2}, {"AWG", 2}, {"AZN", 2}, {"BAM", 2}, {"BBD", 2}, {"BDT", 2}, {"BHD", 3},
    {"BIF", 0}, {"BMD", 2}, {"BND", 2}, {"BOB", 2}, {"BOV", 2}, {"BRL", 2}, {"BSD", 2},
    {"BTN", 2}, {"BWP", 2}, {"BYN", 2}, {"BZD", 2}, {"CAD", 2}, {"CDF", 2}, {"CHE", 2},
    {"CHF", 2}, {"CHW", 2}, {"CLP", 0}, {"CNY", 2}, {"COP", 2}, {"COU", 2}, {"CRC", 2},
    {"CUP", 2}, {"CVE", 2}, {"CZK", 2}, {"DJF", 0}, {"DKK", 2}, {"DOP", 2}, {"DZD", 2},
    {"EGP", 2}, {"ERN", 2}, {"ETB", 2}, {"EUR", 2}, {"FJD", 2}, {"FKP", 2}, {"GBP", 2},
    {"GEL", 2}, {"GHS", 2}, {"GIP", 2}, {"GMD", 2}, {"GNF", 0}, {"GTQ", 2}, {"GYD", 2},
    {"HKD", 2}, {"HNL", 2}, {"HTG", 2}, {"HUF", 2}, {"IDR", 2}, {"ILS", 2}, {"INR", 2},
    {"IQD", 3}, {"IRR", 2}, {"ISK", 0}, {"JMD", 2}, {"JOD", 3}, {"JPY", 0}, {"KES", 2},
    {"KGS", 2}, {"KHR", 2}, {"KMF", 0}, {"KPW", 2}, {"KRW", 0}, {"KWD", 3}, {"KYD", 2},
    {"KZT", 2}, {"LAK", 2}, {"LBP", 2}, {"LKR", 2}, {"LRD", 2}, {"LSL", 2}, {"LYD", 3},
    {"MAD", 2}, {"MDL", 2}, {"MGA", 2}, {"MKD", 2}, {"MMK", 2}, {"MNT", 2}, {"MOP", 2},
    {"MRU", 2}, {"MUR", 2}, {"MVR", 2}, {"MWK", 2}, {"MXN", 2}, {"MXV", 2}, {"MYR", 2},
    {"MZN", 2}, {"NAD", 2}, {"NGN", 2}, {"NIO", 2}, {"NOK", 2}, {"NPR", 2}, {"NZD", 2},
    {"OMR", 3}, {"PAB", 2}, {"PEN", 2}, {"PGK", 2}, {"PHP", 2}, {"PKR", 2}, {"PLN", 2},
    {"PYG", 0}, {"QAR", 2}, {"RON", 2}, {"RSD", 2}, {"RUB", 2}, {"RWF", 0}, {"SAR", 2},
    {"SBD", 2}, {"SCR", 2}, {"SDG", 2}, {"SEK", 2}, {"SGD", 2}, {"SHP", 2}, {"SLE", 2},
    {"SOS", 2}, {"SRD", 2}, {"SSP", 2}, {"STN", 2}, {"SVC", 2}, {"SYP", 2}, {"SZL", 2},
    {"THB", 2}, {"TJS", 2}, {"TMT", 2}, {"TND", 3}, {"TOP", 2}, {"TRY", 2}, {"TTD", 2},
    {"TWD", 2}, {"TZS", 2}, {"UAH", 2}, {"UGX", 0}, {"USD", 2}, {"USN", 2}, {"UYI", 0},
    {"UYU", 2}, {"UZS", 2}, {"VED", 2}, {"VES", 2}, {"VND", 0}, {"VUV", 0}, {"WST", 2},
    {"XAD", 2}, {"XAF", 0}, {"XCD", 2}, {"XCG", 2}, {"XOF", 0}, {"XPF", 0}, {"YER", 2},
    {"ZAR", 2}, {"ZMW", 2}, {"ZWG", 2},
};
// clang-format on

enum { CURRENCIES_COUNT = sizeof currencies / sizeof currencies[0] };

const struct currency *
currency_table(size_t *out_count)
{
    *out_count = CURRENCIES_COUNT;
    return currencies;
}

const struct currency *
currency_find(struct bytes code)
{
    size_t low = 0, high = CURRENCIES_COUNT;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(code, bytes_text(currencies[middle].code));
        if (order == 0)
            return &currencies[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

enum status
money_round(
    const struct rational *major,
    const struct currency *currency,
    int64_t *out_minor,
    struct error *error)
{
    must(currency != NULL);
    scoped(rational_done) struct rational minor = rational_zero();
    rational_round(&minor, major, currency->decimals, ROUND_HALF_UP);
    rational_shift(&minor, &minor, -(int32_t)currency->decimals);
    int64_t result = 0;
    if (!rational_int64(&minor, &result) || result == INT64_MIN)
        return error_set(error, STATUS_OVERFLOW, "an amount is too large for %s", currency->code);
    *out_minor = result;
    return STATUS_OK;
}

bool
money_add(int64_t *sum, int64_t minor)
{
    int64_t result;
    if (__builtin_add_overflow(*sum, minor, &result))
        return false;
    *sum = result;
    return true;
}

size_t
money_print(int64_t minor, const struct currency *currency, char out[MONEY_TEXT_MAX])
{
    must(currency != NULL && currency->decimals <= 3);
    uint64_t magnitude = minor < 0 ? -(uint64_t)minor : (uint64_t)minor;
    const char *sign = minor < 0 ? "-" : "";
    uint64_t scale = 1;
    for (uint8_t i = 0; i < currency->decimals; i++)
        scale *= 10;
    int size = snprintf(out, MONEY_TEXT_MAX, "%s%" PRIu64, sign, magnitude / scale);
    must(size > 0 && size + 1 + currency->decimals < MONEY_TEXT_MAX);
    if (scale == 1)
        return (size_t)size;
    out[size++] = '.';
    for (uint64_t rest = magnitude % scale; scale > 1; rest %= scale) {
        scale /= 10;
        out[size++] = (char)('0' + rest / scale);
    }
    out[size] = '\0';
    return (size_t)size;
}
