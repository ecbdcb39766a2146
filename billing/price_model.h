#pragma once
// A price as the catalogue and `tally-billing price` know it: one of the models, with its
// parameters.
//
//     price_model_read(&reader, params, PRICE_GRADUATED, &model);        // billing/price_read.h
//     amount = price_model_amount(&abacus, &model, &usage);
//
// The batch prices its lines and the shell its cases by this one function. Pure; never negative.
// Owner: what a model points at lives as long as its abacus and arena. Thread: any.

#include "billing/price_percentage.h"
#include "billing/price_tiers.h"

// In the order of docs/pricing.md. New ones at the end.
enum price_kind {
    PRICE_STANDARD,
    PRICE_GRADUATED,
    PRICE_FLAT,
    PRICE_GRADUATED_PERCENTAGE,
    PRICE_VOLUME,
    PRICE_PACKAGE,
    PRICE_PERCENTAGE,
    PRICE_DYNAMIC,
    PRICE_CUSTOM_FOLD,
    PRICE_KINDS,
};

struct price_model {
    enum price_kind kind;
    uint32_t tiers_count;
    const struct rational *amount;  // of standard (per unit) and flat
    const struct price_tier *tiers;
    const struct price_custom_tier *custom_tiers;  // of custom_fold: tiers_count of them
    struct price_package package;
    struct price_percentage percentage;
    // Minor units of a major one; of dynamic. NULL in a catalogue: what the currency has.
    const struct rational *subunit;
};

// What was used. A model looks at what it needs.
struct price_usage {
    const struct rational *select_on;  // of volume; NULL: the units
    const struct rational *sum_minor;  // of dynamic: what the events' own prices sum up to
    struct price_amounts amounts;      // amounts.units is the quantity of every model
};

const char *price_kind_name(enum price_kind kind);
bool price_kind_parse(struct bytes text, enum price_kind *out);

// Of every model but custom_fold, which prices events by their keys (billing/price_events.h).
const struct rational *price_model_amount(
    struct abacus *abacus, const struct price_model *model, const struct price_usage *usage);
