#include "billing/price_model.h"

#include "base/assert.h"

static const char *const kind_names[PRICE_KINDS] = {
    "standard",
    "graduated",
    "flat",
    "graduated_percentage",
    "volume",
    "package",
    "percentage",
    "dynamic",
    "custom_fold",
};

const char *
price_kind_name(enum price_kind kind)
{
    must(kind < PRICE_KINDS);
    return kind_names[kind];
}

bool
price_kind_parse(struct bytes text, enum price_kind *out)
{
    for (uint32_t i = 0; i < PRICE_KINDS; i++) {
        if (!bytes_equal(text, bytes_text(kind_names[i])))
            continue;
        *out = (enum price_kind)i;
        return true;
    }
    return false;
}

static const struct rational *
dynamic_amount(
    struct abacus *abacus, const struct price_model *model, const struct price_usage *usage)
{
    if (rational_sign(usage->amounts.units) <= 0) {
        abacus_step(abacus, "no units: 0");
        return &RATIONAL_ZERO;
    }
    const struct rational *amount = abacus_divide(abacus, usage->sum_minor, model->subunit);
    abacus_step(
        abacus,
        "%s / %s = %s",
        abacus_text(abacus, usage->sum_minor),
        abacus_text(abacus, model->subunit),
        abacus_text(abacus, amount));
    return rational_max(amount, &RATIONAL_ZERO);
}

static const struct rational *
flat_amount(struct abacus *abacus, const struct price_model *model)
{
    abacus_step(abacus, "%s, whatever was used", abacus_text(abacus, model->amount));
    return model->amount;
}

const struct rational *
price_model_amount(
    struct abacus *abacus, const struct price_model *model, const struct price_usage *usage)
{
    const struct rational *units = usage->amounts.units;
    switch (model->kind) {
    case PRICE_STANDARD: return price_standard(abacus, units, model->amount);
    case PRICE_FLAT: return flat_amount(abacus, model);
    case PRICE_GRADUATED:
        return price_graduated(abacus, units, model->tiers, model->tiers_count, TIER_PER_UNIT);
    case PRICE_GRADUATED_PERCENTAGE:
        return price_graduated(abacus, units, model->tiers, model->tiers_count, TIER_PERCENT);
    case PRICE_VOLUME:
        return price_volume(
            abacus,
            units,
            usage->select_on != NULL ? usage->select_on : units,
            model->tiers,
            model->tiers_count);
    case PRICE_PACKAGE: return price_package(abacus, units, &model->package);
    case PRICE_PERCENTAGE: return price_percentage(abacus, &model->percentage, &usage->amounts);
    case PRICE_DYNAMIC: return dynamic_amount(abacus, model, usage);
    case PRICE_CUSTOM_FOLD:
    case PRICE_KINDS: break;
    }
    must(false);
    return &RATIONAL_ZERO;
}
