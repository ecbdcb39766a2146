#pragma once
// Money: minor units of a currency, and the one place where exact amounts are rounded to them.
//
//     const struct currency *usd = currency_find(bytes_text("USD"));
//     money_round(&amount, usd, &minor, &error);      // 55.904675 -> 5590
//     money_print(minor, usd, text);                  // "55.90"
//
// A currency is a row of ISO 4217: how many decimals its minor unit has is looked up, never
// assumed. Thread: any.

#include "billing/rational.h"

struct currency {
    char code[4];
    uint8_t decimals;  // 0, 2 or 3
};

enum { MONEY_TEXT_MAX = 32 };

// NULL for what is not the code of an active currency (capital letters).
const struct currency *currency_find(struct bytes code);
// The table, for tests; sorted by code.
const struct currency *currency_table(size_t *out_count);

// Half away from zero, once per line. STATUS_OVERFLOW beyond int64.
enum status money_round(
    const struct rational *major,
    const struct currency *currency,
    int64_t *out_minor,
    struct error *error) CHECKED;
// False on overflow; *sum is untouched then.
bool money_add(int64_t *sum, int64_t minor) CHECKED;
// "-1234.50" in major units with all of the currency's decimals; returns the length.
size_t money_print(int64_t minor, const struct currency *currency, char out[MONEY_TEXT_MAX]);
