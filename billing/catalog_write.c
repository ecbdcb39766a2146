// The canonical form of charges and meters: what is stored, recorded and compared. Members always
// come in the same order, decimals without trailing zeros, and what is absent is left out.

#include "billing/catalog.h"
#include "billing/price_read.h"

static void
decimal_write(struct json_out *out, const char *key, struct decimal value)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_print(value, text);
    json_key(out, key);
    json_text(out, text);
}

void
charge_params_write(struct json_out *out, const struct charge *charge)
{
    price_model_write(out, &charge->price);
}

void
charge_values_write(struct json_out *out, const struct charge *charge)
{
    json_begin(out, '{');
    for (uint32_t i = 0; i < charge->values_count; i++) {
        json_key(out, charge->values[i].value);
        price_model_write(out, &charge->values[i].price);
    }
    json_end(out, '}');
}

void
charge_write(struct json_out *out, const struct charge *charge)
{
    json_begin(out, '{');
    json_key(out, "key");
    json_text(out, charge->key);
    json_key(out, "name");
    json_text(out, charge->name);
    if (charge->meter != NULL) {
        json_key(out, "meter");
        json_text(out, charge->meter);
    }
    json_key(out, "model");
    json_text(out, price_kind_name(charge->price.kind));
    json_key(out, "params");
    charge_params_write(out, charge);
    if (charge->free_units.units > 0)
        decimal_write(out, "free_units", charge->free_units);
    if (charge->has_minimum)
        decimal_write(out, "minimum", charge->minimum);
    if (charge->has_maximum)
        decimal_write(out, "maximum", charge->maximum);
    if (charge->dimension != NULL) {
        json_key(out, "dimension");
        json_text(out, charge->dimension);
    }
    if (charge->values_count > 0) {
        json_key(out, "values");
        charge_values_write(out, charge);
    }
    if (charge->recurring != RECURRING_NOT) {
        json_key(out, "recurring");
        json_text(out, recurring_name(charge->recurring));
    }
    if (charge->is_in_advance) {
        json_key(out, "pay_in_advance");
        json_bool(out, true);
    }
    if (charge->price_property != NULL) {
        json_key(out, "price_property");
        json_text(out, charge->price_property);
    }
    json_end(out, '}');
}

static void
text_write(struct json_out *out, const char *key, const char *text)
{
    if (text == NULL)
        return;
    json_key(out, key);
    json_text(out, text);
}

static void
filters_write(struct json_out *out, const struct meter *meter)
{
    json_key(out, "filters");
    json_begin(out, '{');
    for (uint32_t i = 0; i < meter->filters_count; i++) {
        const struct meter_filter *filter = &meter->filters[i];
        json_key(out, filter->path);
        json_begin(out, '[');
        for (uint32_t k = 0; k < filter->values_count; k++)
            json_text(out, filter->values[k]);
        json_end(out, ']');
    }
    json_end(out, '}');
}

void
meter_write(struct json_out *out, const struct meter *meter)
{
    json_begin(out, '{');
    text_write(out, "key", meter->key);
    text_write(out, "event_type", meter->event_type);
    text_write(out, "aggregation", aggregation_name(meter->aggregation));
    text_write(out, "value_property", meter->value_property);
    if (meter->dimensions_count > 0) {
        json_key(out, "dimensions");
        json_begin(out, '{');
        for (uint32_t i = 0; i < meter->dimensions_count; i++)
            text_write(out, meter->dimensions[i].name, meter->dimensions[i].path);
        json_end(out, '}');
    }
    if (meter->filters_count > 0)
        filters_write(out, meter);
    text_write(out, "unit", meter->unit);
    text_write(out, "description", meter->description);
    json_end(out, '}');
}
