// The recorded input of an invoice: one JSON document, written and read by the same list of fields.
// Format 1.

#include "base/assert.h"
#include "billing/document.h"
#include "billing/invoice.h"

#include <string.h>

enum { INPUT_FORMAT = 1, INPUT_TEXT_MAX = 300 };

// All charges' events: CHARGE_EVENTS_MAX of each, and then some.
static const size_t INPUT_SIZE_MAX = (size_t)1 << 30;

static void
text_write(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
time_write(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    clock_print(time_ns, text);
    text_write(out, key, text);
}

static void
int_write(struct json_out *out, const char *key, int64_t value)
{
    json_key(out, key);
    json_int(out, value);
}

static void
bool_write(struct json_out *out, const char *key, bool value)
{
    json_key(out, key);
    json_bool(out, value);
}

static void
decimal_write(struct json_out *out, const char *key, struct decimal value)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_print(value, text);
    text_write(out, key, text);
}

static void
plan_write(struct json_out *out, const struct plan *plan)
{
    json_key(out, "plan");
    json_begin(out, '{');
    text_write(out, "key", plan->key);
    text_write(out, "name", plan->name);
    text_write(out, "kind", plan_kind_name(plan->kind));
    text_write(out, "currency", plan->currency->code);
    json_key(out, "prices");
    json_begin(out, '{');
    if (plan->monthly.is_sold)
        decimal_write(out, "monthly", plan->monthly.amount);
    if (plan->annual.is_sold)
        decimal_write(out, "annual", plan->annual.amount);
    json_end(out, '}');
    if (plan->has_minimum)
        decimal_write(out, "minimum", plan->minimum);
    int_write(out, "catalogue_version", plan->catalogue_version);
    json_end(out, '}');
}

// The usage of each value of a dimension, in their order.
static void
values_write(struct json_out *out, const struct invoice_input *input, uint32_t index)
{
    const struct charge *charge = &input->plan->charges[index];
    if (charge->dimension == NULL)
        return;
    json_key(out, "values");
    json_begin(out, '{');
    for (uint32_t i = 0; i < charge->values_count; i++)
        decimal_write(out, charge->values[i].value, input->values_usage[index][i]);
    json_end(out, '}');
}

// An event is [time, units], with its price or its key where the charge has one. One that is paid
// in advance has its fee at the end: exactly in major units, and what of it is billed in minor
// units.
static void
events_write(struct json_out *out, const struct invoice_input *input, uint32_t index)
{
    const struct charge *charge = &input->plan->charges[index];
    if (!charge_needs_events(charge))
        return;
    const struct invoice_events *events = &input->events[index];
    if (charge->recurring != RECURRING_NOT)
        decimal_write(out, "initial", events->initial);
    if (charge->is_in_advance) {
        must(events->fees != NULL && events->carried != NULL);
        text_write(out, "carried", events->carried);
        int_write(out, "sequence", events->sequence);
    }
    json_key(out, "events");
    json_begin(out, '[');
    for (uint32_t i = 0; i < events->count; i++) {
        const struct charge_event *event = &events->items[i];
        char time[CLOCK_TEXT_MAX], number[DECIMAL_TEXT_MAX];
        clock_print(event->time_ns, time);
        json_begin(out, '[');
        json_text(out, time);
        decimal_print(event->units, number);
        json_text(out, number);
        decimal_print(event->price_minor, number);
        if (charge->price.kind == PRICE_DYNAMIC)
            json_text(out, number);
        else if (charge->price.kind == PRICE_CUSTOM_FOLD)
            json_text(out, event->key);
        if (charge->is_in_advance) {
            json_text(out, events->fees[i].exact);
            json_text(out, events->fees[i].billed);
        }
        json_end(out, ']');
    }
    json_end(out, ']');
}

static void
charges_write(struct json_out *out, const struct invoice_input *input)
{
    json_key(out, "charges");
    json_begin(out, '[');
    for (uint32_t i = 0; input->has_usage && i < input->plan->charges_count; i++) {
        json_begin(out, '{');
        json_key(out, "charge");
        charge_write(out, &input->plan->charges[i]);
        decimal_write(out, "usage", input->usage[i]);
        values_write(out, input, i);
        events_write(out, input, i);
        json_end(out, '}');
    }
    json_end(out, ']');
}

void
invoice_input_write(const struct invoice_input *input, struct buffer *buffer)
{
    struct json_out out = json_out_to(buffer);
    json_begin(&out, '{');
    int_write(&out, "format", INPUT_FORMAT);
    text_write(&out, "customer", input->customer);
    text_write(&out, "subscription", input->subscription);
    text_write(&out, "billing_cycle", billing_cycle_name(input->cycle));
    text_write(&out, "kind", invoice_kind_name(input->kind));
    int_write(&out, "generation", input->generation);
    time_write(&out, "period_start", input->period.from_ns);
    time_write(&out, "period_end", input->period.to_ns);
    time_write(&out, "period_end_uncut", input->period.to_full_ns);
    bool_write(&out, "has_fee", input->has_fee);
    bool_write(&out, "has_usage", input->has_usage);
    plan_write(&out, input->plan);
    charges_write(&out, input);
    time_write(&out, "as_of", input->as_of_ns);
    time_write(&out, "run_at", input->run_ns);
    json_end(&out, '}');
}

static bool
bool_read(struct document *in, const struct json *object, const char *key)
{
    const struct json *member = document_member(in, object, key);
    if (member == NULL)
        return false;
    if (member->type != JSON_BOOL)
        document_refuse(in, member, "expected true or false");
    return member->type == JSON_BOOL && member->boolean;
}

static void
plan_read(struct document *in, const struct json *root, struct plan *out)
{
    const struct json *plan = document_member(in, root, "plan");
    const struct json *prices = plan != NULL ? document_member(in, plan, "prices") : NULL;
    if (prices == NULL)
        return;
    out->key = document_text(in, plan, "key", CATALOG_KEY_MAX);
    out->name = document_text(in, plan, "name", CATALOG_NAME_MAX);
    const char *kind = document_text(in, plan, "kind", CATALOG_KEY_MAX);
    if (!in->status && !plan_kind_parse(bytes_text(kind), &out->kind))
        document_refuse(in, plan, "there is no kind \"%s\"", kind);
    const char *code = document_text(in, plan, "currency", 3);
    out->currency = currency_find(bytes_text(code));
    if (!in->status && out->currency == NULL)
        document_refuse(in, plan, "there is no currency \"%s\"", code);
    out->monthly.is_sold = document_decimal_optional(
        in, prices, "monthly", CATALOG_PRICE_PLACES, &out->monthly.amount);
    out->annual.is_sold =
        document_decimal_optional(in, prices, "annual", CATALOG_PRICE_PLACES, &out->annual.amount);
    out->has_minimum =
        document_decimal_optional(in, plan, "minimum", CATALOG_PRICE_PLACES, &out->minimum);
    out->catalogue_version = document_int(in, plan, "catalogue_version");
}

// Usage may be negative, unlike every other decimal of a document.
static struct decimal
usage_read(struct document *in, const struct json *object, const char *key)
{
    struct decimal usage = DECIMAL_ZERO;
    const char *text = document_text(in, object, key, DECIMAL_TEXT_MAX);
    bool is_rounded = false;
    if (!in->status &&
        (decimal_parse(bytes_text(text), &usage, &is_rounded) != STATUS_OK || is_rounded))
        document_refuse(in, object, "the usage is no exact decimal");
    return usage;
}

static struct decimal
number_read(struct document *in, const struct json *node)
{
    struct decimal number = DECIMAL_ZERO;
    bool is_rounded = false;
    if (!in->status && (node->type != JSON_STRING ||
                        decimal_parse(node->text, &number, &is_rounded) != STATUS_OK || is_rounded))
        document_refuse(in, node, "expected an exact decimal");
    return number;
}

static void
fee_read(struct document *in, const struct json *node, struct charge_fee *out)
{
    *out = (struct charge_fee){"", ""};
    if (node->type != JSON_STRING || node->next->type != JSON_STRING)
        document_refuse(in, node, "expected a fee: two texts");
    else
        *out = (struct charge_fee){
            arena_text_of(in->arena, node->text), arena_text_of(in->arena, node->next->text)};
}

static void
event_read(
    struct document *in,
    const struct json *node,
    const struct charge *charge,
    struct charge_event *out,
    struct charge_fee *out_fee)
{
    bool has_price = charge->price.kind == PRICE_DYNAMIC;
    bool has_key = charge->price.kind == PRICE_CUSTOM_FOLD;
    uint32_t count = 2 + (uint32_t)(has_price || has_key);
    if (node->type != JSON_ARRAY || node->count != count + (charge->is_in_advance ? 2 : 0)) {
        document_refuse(in, node, "this is no event of the charge");
        return;
    }
    const struct json *units = node->first->next;
    if (node->first->type != JSON_STRING ||
        clock_parse(node->first->text, &out->time_ns) != STATUS_OK)
        document_refuse(in, node->first, "expected a time");
    out->units = number_read(in, units);
    out->key = "";
    if (has_price)
        out->price_minor = number_read(in, units->next);
    if (has_key && units->next->type != JSON_STRING)
        document_refuse(in, units->next, "expected a text");
    else if (has_key)
        out->key = arena_text_of(in->arena, units->next->text);
    if (charge->is_in_advance)
        fee_read(in, has_price || has_key ? units->next->next : units->next, out_fee);
}

// What fees are rounded with: less than half a minor unit, and nothing when they are the first.
static void
carried_read(
    struct document *in,
    const struct json *node,
    const struct charge *charge,
    struct invoice_events *out)
{
    if (in->status || !charge->is_in_advance)
        return;
    out->sequence = document_int(in, node, "sequence");
    out->carried = document_text(in, node, "carried", INPUT_TEXT_MAX);
    struct rational carried = {0};
    if (in->status)
        return;
    enum status status = rational_parse(bytes_text(out->carried), &carried);
    scoped(rational_done) struct rational twice = {0};
    scoped(rational_done) struct rational one = rational_of_int(1), minus = rational_of_int(-1);
    if (status == STATUS_OK)
        rational_add(&twice, &carried, &carried);
    rational_done(&carried);
    bool is_carried = status == STATUS_OK && rational_compare(&twice, &one) < 0 &&
                      rational_compare(&twice, &minus) >= 0;
    if (!is_carried || out->sequence < 1 || (out->sequence == 1 && rational_sign(&twice) != 0))
        document_refuse(in, json_member(node, "carried"), "is not what fees before it left");
}

// The events of a charge that needs them: in the period, by time, and adding up to the usage.
static void
events_read(
    struct document *in,
    const struct json *node,
    const struct charge *charge,
    const struct period *period,
    struct decimal usage,
    struct invoice_events *out)
{
    if (in->status || !charge_needs_events(charge))
        return;
    const struct json *list = document_array(in, node, "events", CHARGE_EVENTS_MAX);
    if (list == NULL)
        return;
    struct charge_event *events = arena_array(in->arena, list->count, struct charge_event);
    struct charge_fee *fees = arena_array(in->arena, list->count, struct charge_fee);
    struct decimal sum = DECIMAL_ZERO;
    int64_t after_ns = period->from_ns;
    uint32_t i = 0;
    for (const struct json *item = list->first; item != NULL && !in->status; item = item->next) {
        struct charge_event *event = &events[i];
        event_read(in, item, charge, event, &fees[i++]);
        if (event->time_ns < after_ns || event->time_ns >= period->to_ns)
            document_refuse(in, item, "is out of its order or of the period");
        if (!decimal_add(&sum, event->units))
            document_refuse(in, item, "the events are too large to add up");
        after_ns = event->time_ns;
    }
    if (!in->status && decimal_compare(sum, usage) != 0)
        document_refuse(in, list, "the events do not add up to the usage");
    if (charge->recurring != RECURRING_NOT)
        out->initial = usage_read(in, node, "initial");
    carried_read(in, node, charge, out);
    out->items = events;
    out->fees = fees;
    out->count = list->count;
}

static const struct decimal *
values_read(struct document *in, const struct json *node, const struct charge *charge)
{
    if (in->status || charge->dimension == NULL)
        return NULL;
    const struct json *values = document_member(in, node, "values");
    struct decimal *usage = arena_array(in->arena, charge->values_count, struct decimal);
    for (uint32_t i = 0; values != NULL && i < charge->values_count; i++)
        usage[i] = usage_read(in, values, charge->values[i].value);
    return usage;
}

static void
charges_read(
    struct document *in, const struct json *root, struct plan *plan, struct invoice_input *out)
{
    static const char *const keys[] = {
        "charge", "usage", "values", "events", "initial", "carried", "sequence", NULL};
    const struct json *list = document_array(in, root, "charges", CATALOG_CHARGES_MAX);
    if (list == NULL)
        return;
    struct charge *charges = arena_array(in->arena, list->count, struct charge);
    struct decimal *usage = arena_array(in->arena, list->count, struct decimal);
    const struct decimal **values = arena_array(in->arena, list->count, const struct decimal *);
    struct invoice_events *events = arena_array(in->arena, list->count, struct invoice_events);
    uint32_t i = 0;
    for (const struct json *node = list->first; node != NULL; node = node->next, i++) {
        document_keys(in, node, keys);
        const struct json *charge = document_member(in, node, "charge");
        if (charge == NULL)
            return;
        charge_read(in, charge, &charges[i]);
        usage[i] = usage_read(in, node, "usage");
        values[i] = values_read(in, node, &charges[i]);
        events_read(in, node, &charges[i], &out->period, usage[i], &events[i]);
    }
    plan->charges = charges;
    plan->charges_count = list->count;
    out->usage = usage;
    out->values_usage = values;
    out->events = events;
}

static void
header_read(struct document *in, const struct json *root, struct invoice_input *out)
{
    if (document_int(in, root, "format") != INPUT_FORMAT)
        document_refuse(in, root, "this program reads format 1 only");
    out->customer = document_text(in, root, "customer", INPUT_TEXT_MAX);
    out->subscription = document_text(in, root, "subscription", INPUT_TEXT_MAX);
    const char *cycle = document_text(in, root, "billing_cycle", CATALOG_KEY_MAX);
    if (!in->status && !billing_cycle_parse(bytes_text(cycle), &out->cycle))
        document_refuse(in, root, "there is no billing cycle \"%s\"", cycle);
    const char *kind = document_text(in, root, "kind", CATALOG_KEY_MAX);
    if (!in->status && !invoice_kind_parse(bytes_text(kind), &out->kind))
        document_refuse(in, root, "there is no kind of invoice \"%s\"", kind);
    out->generation = document_int(in, root, "generation");
    out->period.from_ns = document_time(in, root, "period_start");
    out->period.to_ns = document_time(in, root, "period_end");
    out->period.to_full_ns = document_time(in, root, "period_end_uncut");
    if (!in->status && (out->generation < 1 || out->period.from_ns >= out->period.to_ns ||
                        out->period.to_ns > out->period.to_full_ns))
        document_refuse(in, root, "the period or the generation is out of range");
    out->has_fee = bool_read(in, root, "has_fee");
    out->has_usage = bool_read(in, root, "has_usage");
    out->as_of_ns = document_time(in, root, "as_of");
    out->run_ns = document_time(in, root, "run_at");
}

enum status
invoice_input_read(
    struct bytes text, struct arena *arena, struct invoice_input *out, struct error *error)
{
    static const char *const keys[] = {
        "format",
        "customer",
        "subscription",
        "billing_cycle",
        "kind",
        "generation",
        "period_start",
        "period_end",
        "period_end_uncut",
        "has_fee",
        "has_usage",
        "plan",
        "charges",
        "as_of",
        "run_at",
        NULL};
    const struct json_limits limits = {.size_max = INPUT_SIZE_MAX};
    struct json *root = NULL;
    enum status status = json_parse(text, &limits, arena, &root, error);
    if (status)
        return error_prefix(error, "input");
    struct document in = {.name = "input", .arena = arena, .error = error};
    struct invoice_input input = {0};
    struct plan *plan = arena_new(arena, struct plan);
    document_keys(&in, root, keys);
    header_read(&in, root, &input);
    plan_read(&in, root, plan);
    charges_read(&in, root, plan, &input);
    input.plan = plan;
    if (in.status)
        return in.status;
    *out = input;
    return STATUS_OK;
}
