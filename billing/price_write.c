// Models as the catalogue stores them: members always in the same order, numbers without trailing
// zeros, what is absent left out.

#include "base/assert.h"
#include "billing/price_events.h"
#include "billing/price_read.h"

static void
number_write(struct json_out *out, const char *key, const struct rational *value)
{
    scoped(arena_done) struct arena arena = {0};
    json_key(out, key);
    json_text(out, rational_text(value, &arena));
}

static void
bound_write(struct json_out *out, const struct rational *to)
{
    if (to != NULL) {
        number_write(out, "to", to);
    } else {
        json_key(out, "to");
        json_null(out);
    }
}

static void
tiers_write(struct json_out *out, const struct price_model *model, const char *unit)
{
    json_key(out, "tiers");
    json_begin(out, '[');
    for (uint32_t i = 0; i < model->tiers_count; i++) {
        const struct price_tier *tier = &model->tiers[i];
        json_begin(out, '{');
        bound_write(out, tier->to);
        number_write(out, unit, tier->unit);
        number_write(out, "flat", tier->flat);
        json_end(out, '}');
    }
    json_end(out, ']');
}

static void
package_write(struct json_out *out, const struct price_package *package)
{
    number_write(out, "amount", package->amount);
    number_write(out, "size", package->size);
    if (rational_sign(package->free) > 0)
        number_write(out, "free", package->free);
    if (package->bill_min_one) {
        json_key(out, "bill_min_one");
        json_bool(out, true);
    }
}

static void
percentage_write(struct json_out *out, const struct price_percentage *percentage)
{
    number_write(out, "rate", percentage->rate);
    if (rational_sign(percentage->fixed) > 0)
        number_write(out, "fixed", percentage->fixed);
    if (percentage->min != NULL)
        number_write(out, "min", percentage->min);
    if (percentage->max != NULL)
        number_write(out, "max", percentage->max);
    if (percentage->free_events > 0) {
        json_key(out, "free_events");
        json_int(out, percentage->free_events);
    }
    if (rational_sign(percentage->free_amount) > 0)
        number_write(out, "free_amount", percentage->free_amount);
}

// The keys in the order of the file; the default is one of them.
static void
custom_tiers_write(struct json_out *out, const struct price_model *model)
{
    json_key(out, "tiers");
    json_begin(out, '[');
    for (uint32_t i = 0; i < model->tiers_count; i++) {
        const struct price_custom_tier *tier = &model->custom_tiers[i];
        json_begin(out, '{');
        bound_write(out, tier->to);
        json_key(out, "prices");
        json_begin(out, '{');
        for (uint32_t k = 0; k < tier->keys_count; k++) {
            scoped(arena_done) struct arena arena = {0};
            json_key_bytes(out, tier->keys[k].key);
            json_text(out, rational_text(tier->keys[k].unit, &arena));
        }
        json_end(out, '}');
        json_end(out, '}');
    }
    json_end(out, ']');
}

void
price_model_write(struct json_out *out, const struct price_model *model)
{
    json_begin(out, '{');
    switch (model->kind) {
    case PRICE_STANDARD:
    case PRICE_FLAT: number_write(out, "amount", model->amount); break;
    case PRICE_GRADUATED:
    case PRICE_VOLUME: tiers_write(out, model, "unit"); break;
    case PRICE_GRADUATED_PERCENTAGE: tiers_write(out, model, "rate"); break;
    case PRICE_PACKAGE: package_write(out, &model->package); break;
    case PRICE_PERCENTAGE: percentage_write(out, &model->percentage); break;
    case PRICE_DYNAMIC:
        if (model->subunit != NULL)
            number_write(out, "subunit", model->subunit);
        break;
    case PRICE_CUSTOM_FOLD: custom_tiers_write(out, model); break;
    case PRICE_KINDS: must(false); break;
    }
    json_end(out, '}');
}
