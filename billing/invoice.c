#include "billing/invoice.h"

#include "base/assert.h"
#include "base/hash.h"
#include "billing/price_term.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const kind_names[] = {"subscription", "usage"};
static const char *const line_names[] = {"fee", "usage", "flat", "minimum"};

const char *
invoice_kind_name(enum invoice_kind kind)
{
    must(kind <= INVOICE_USAGE);
    return kind_names[kind];
}

bool
invoice_kind_parse(struct bytes text, enum invoice_kind *out)
{
    for (int i = 0; i < 2; i++) {
        if (!bytes_equal(text, bytes_text(kind_names[i])))
            continue;
        *out = (enum invoice_kind)i;
        return true;
    }
    return false;
}

const char *
invoice_line_kind_name(enum invoice_line_kind kind)
{
    must(kind <= LINE_MINIMUM);
    return line_names[kind];
}

bool
invoice_line_kind_parse(struct bytes text, enum invoice_line_kind *out)
{
    for (int i = 0; i <= LINE_MINIMUM; i++) {
        if (!bytes_equal(text, bytes_text(line_names[i])))
            continue;
        *out = (enum invoice_line_kind)i;
        return true;
    }
    return false;
}

// Fields are separated by a byte that no id can hold, since ids are text without control
// characters.
void
invoice_id(const struct invoice_input *input, char out[INVOICE_ID_MAX])
{
    char key[1024];
    int size = snprintf(
        key,
        sizeof key,
        "%s\x1f%s\x1f%s\x1f%" PRId64 "\x1f%" PRId64 "\x1f%" PRId64,
        input->customer,
        input->subscription,
        invoice_kind_name(input->kind),
        input->period.from_ns,
        input->period.to_ns,
        input->generation);
    must(size > 0 && size < (int)sizeof key);
    struct hash128 hash = hash128(bytes_of(key, (size_t)size), 0);
    snprintf(out, INVOICE_ID_MAX, "inv_%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

struct charge_usage
invoice_charge_usage(const struct invoice_input *input, uint32_t index)
{
    must(index < input->plan->charges_count);
    struct charge_usage usage = {
        .units = input->usage[index],
        .days = period_days(input->period),
        .days_full = period_days_full(input->period),
        .from_ns = input->period.from_ns,
        .to_ns = input->period.to_ns,
        .decimals = input->plan->currency->decimals,
    };
    if (charge_needs_events(&input->plan->charges[index])) {
        must(input->events != NULL);
        usage.events = input->events[index].items;
        usage.events_count = input->events[index].count;
        usage.initial = input->events[index].initial;
        usage.carried = input->events[index].carried;
    }
    return usage;
}

// Each line's steps are a list of their own.
static void
steps_begin(struct abacus *abacus)
{
    abacus->first = abacus->last = NULL;
    abacus->steps_count = 0;
}

struct computation {
    const struct invoice_input *input;
    struct arena *arena;
    struct abacus *abacus;
    struct invoice *out;
    struct error *error;
};

// billed is what is rounded; it is the amount but for fees that were rounded one by one.
static enum status
line_put(
    const struct computation *computation,
    struct invoice_line line,
    const struct rational *amount,
    const struct rational *billed)
{
    struct invoice *invoice = computation->out;
    enum status status =
        money_round(billed, invoice->currency, &line.amount_minor, computation->error);
    if (status)
        return error_prefix(computation->error, "%s", line.description);
    if (!money_add(&invoice->total_minor, line.amount_minor))
        return error_set(
            computation->error, STATUS_OVERFLOW, "the total is too large at %s", line.description);
    line.exact_amount = rational_text(amount, computation->arena);
    line.steps = computation->abacus->first;
    invoice->lines[invoice->lines_count++] = line;
    return STATUS_OK;
}

static enum status
line_add(
    const struct computation *computation, struct invoice_line line, const struct rational *amount)
{
    return line_put(computation, line, amount, amount);
}

static const char *
decimal_text(struct decimal value, struct arena *arena)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_print(value, text);
    return arena_text(arena, text);
}

// A period that the subscription's end cuts owes its share by days.
struct share {
    const struct rational *amount, *quantity;
};

static struct share
prorate(const struct computation *computation, const struct rational *amount)
{
    struct abacus *abacus = computation->abacus;
    int64_t days = period_days(computation->input->period);
    int64_t days_full = period_days_full(computation->input->period);
    must(days > 0 && days <= days_full);
    struct price_share share = {abacus_int(abacus, days), abacus_int(abacus, days_full)};
    return (struct share){
        price_days(abacus, amount, share), abacus_divide(abacus, share.days, share.period)};
}

static enum status
fee_add(const struct computation *computation)
{
    const struct invoice_input *input = computation->input;
    const struct plan_price *price = plan_price(input->plan, input->cycle);
    if (!input->has_fee || !price->is_sold || price->amount.units == 0)
        return STATUS_OK;
    struct share share = prorate(computation, abacus_decimal(computation->abacus, price->amount));
    struct invoice_line line = {
        .kind = LINE_FEE,
        .description = arena_format(
            computation->arena, "%s, %s fee", input->plan->name, billing_cycle_name(input->cycle)),
        .quantity = rational_text(share.quantity, computation->arena),
        .clamped = "0",
        .free_units = "0",
    };
    return line_add(computation, line, share.amount);
}

static enum status
flat_add(const struct computation *computation, const struct charge *charge)
{
    steps_begin(computation->abacus);
    struct charge_usage nothing = {.days = 1, .days_full = 1};
    const struct rational *amount = NULL;
    (void)charge_rate(computation->abacus, charge, &nothing, &amount);
    if (rational_sign(amount) == 0)
        return STATUS_OK;
    struct share share = prorate(computation, amount);
    struct invoice_line line = {
        .kind = LINE_FLAT,
        .charge = charge->key,
        .description = charge->name,
        .quantity = rational_text(share.quantity, computation->arena),
        .clamped = "0",
        .free_units = "0",
    };
    return line_add(computation, line, share.amount);
}

// One price and what was used at it. Without usage there is no line, unless a first tier's flat fee
// or a minimum is due all the same.
static enum status
usage_line_add(
    const struct computation *computation,
    const struct charge *charge,
    const struct charge_usage *usage,
    const char *description)
{
    steps_begin(computation->abacus);
    const struct rational *amount = NULL;
    struct charge_units units = charge_rate(computation->abacus, charge, usage, &amount);
    bool is_used = rational_sign(units.used) != 0 || rational_sign(units.clamped) != 0;
    if (!is_used && rational_sign(amount) == 0)
        return STATUS_OK;
    struct invoice_line line = {
        .kind = LINE_USAGE,
        .charge = charge->key,
        .meter = charge->meter,
        .description = description,
        .quantity = rational_text(units.used, computation->arena),
        .clamped = rational_text(units.clamped, computation->arena),
        .free_units = decimal_text(charge->free_units, computation->arena),
    };
    return line_add(computation, line, amount);
}

// One line with the fees of all events. Nothing counted and nothing taken back has none, and leaves
// what was carried as it is.
static enum status
advance_add(const struct computation *computation, uint32_t index)
{
    struct abacus *abacus = computation->abacus;
    const struct charge *charge = &computation->input->plan->charges[index];
    const struct charge_usage usage = invoice_charge_usage(computation->input, index);
    struct charge_fees fees;
    steps_begin(abacus);
    struct charge_units units =
        charge_rate_in_advance(abacus, charge, &usage, computation->arena, &fees);
    computation->out->fees[index] = fees.items;
    bool is_used = rational_sign(units.used) != 0 || rational_sign(units.clamped) != 0;
    if (!is_used && rational_sign(fees.exact) == 0)
        return STATUS_OK;
    struct invoice_line line = {
        .kind = LINE_USAGE,
        .charge = charge->key,
        .meter = charge->meter,
        .description = charge->name,
        .quantity = rational_text(units.used, computation->arena),
        .clamped = rational_text(units.clamped, computation->arena),
        .free_units = decimal_text(charge->free_units, computation->arena),
        .carried = usage.carried,
        .remainder = fees.remainder,
        .sequence = computation->input->events[index].sequence,
    };
    const struct rational *billed =
        abacus_shift(abacus, fees.billed_minor, (int32_t)usage.decimals);
    return line_put(computation, line, fees.exact, billed);
}

// A line for each value that has its own price, then one for the rest.
static enum status
usage_add(const struct computation *computation, uint32_t index)
{
    const struct charge *charge = &computation->input->plan->charges[index];
    if (charge->is_in_advance)
        return advance_add(computation, index);
    struct charge_usage usage = invoice_charge_usage(computation->input, index);
    const struct decimal rest = usage.units;
    for (uint32_t i = 0; i < charge->values_count; i++) {
        usage.units = computation->input->values_usage[index][i];
        usage.price = &charge->values[i].price;
        const char *description = arena_format(
            computation->arena,
            "%s, %s %s",
            charge->name,
            charge->dimension,
            charge->values[i].value);
        enum status status = usage_line_add(computation, charge, &usage, description);
        if (status)
            return status;
    }
    usage.units = rest;
    usage.price = NULL;
    return usage_line_add(computation, charge, &usage, charge->name);
}

static enum status
charges_add(const struct computation *computation)
{
    const struct plan *plan = computation->input->plan;
    for (uint32_t i = 0; i < plan->charges_count; i++) {
        enum status status = plan->charges[i].price.kind == PRICE_FLAT
                                 ? flat_add(computation, &plan->charges[i])
                                 : usage_add(computation, i);
        if (status)
            return status;
    }
    return STATUS_OK;
}

// In minor units, since what the lines come to is what they were rounded to.
static enum status
minimum_add(const struct computation *computation)
{
    struct abacus *abacus = computation->abacus;
    const struct plan *plan = computation->input->plan;
    int32_t decimals = (int32_t)plan->currency->decimals;
    steps_begin(abacus);
    struct price_share share = {
        abacus_int(abacus, period_days(computation->input->period)),
        abacus_int(abacus, period_days_full(computation->input->period))};
    const struct rational *minimum =
        abacus_shift(abacus, abacus_decimal(abacus, plan->minimum), -decimals);
    const struct rational *missing = price_commitment_true_up(
        abacus, minimum, share, abacus_int(abacus, computation->out->total_minor));
    if (rational_sign(missing) == 0)
        return STATUS_OK;
    struct invoice_line line = {
        .kind = LINE_MINIMUM,
        .description = arena_format(computation->arena, "%s, minimum", plan->name),
        .quantity =
            rational_text(abacus_divide(abacus, share.days, share.period), computation->arena),
        .clamped = "0",
        .free_units = "0",
    };
    return line_add(computation, line, abacus_shift(abacus, missing, decimals));
}

static size_t
lines_max(const struct plan *plan)
{
    size_t count = 2;
    for (uint32_t i = 0; i < plan->charges_count; i++)
        count += 1 + (size_t)plan->charges[i].values_count;
    return count;
}

enum status
invoice_compute(
    const struct invoice_input *input,
    struct arena *arena,
    struct invoice *out,
    struct error *error)
{
    must(input->plan != NULL && period_is_any(input->period));
    must(input->generation > 0);
    struct invoice invoice = {
        .customer = input->customer,
        .subscription = input->subscription,
        .kind = input->kind,
        .from_ns = input->period.from_ns,
        .to_ns = input->period.to_ns,
        .generation = input->generation,
        .plan = input->plan->key,
        .catalogue_version = input->plan->catalogue_version,
        .currency = input->plan->currency,
        .status = "draft",
        .created_ns = input->run_ns,
        .finalized_ns = INT64_MIN,
        .lines = arena_array(arena, lines_max(input->plan), struct invoice_line),
        .fees = arena_array(arena, input->plan->charges_count, const struct charge_fee *),
    };
    invoice_id(input, invoice.id);
    scoped(arena_done) struct arena scratch = {0};
    // Numbers are only for the time of the computation; steps are for who asked for them.
    scoped(abacus_done) struct abacus abacus = {
        .arena = input->wants_steps ? arena : &scratch, .wants_steps = input->wants_steps};
    struct computation computation = {input, arena, &abacus, &invoice, error};
    enum status status = fee_add(&computation);
    if (status == STATUS_OK && input->has_usage)
        status = charges_add(&computation);
    if (status == STATUS_OK && input->has_usage && input->plan->has_minimum)
        status = minimum_add(&computation);
    if (status)
        return status;
    must(invoice.lines_count <= lines_max(input->plan));
    // The record of a period in which nothing was due is final at once: it never gets a number.
    if (invoice.lines_count == 0) {
        invoice.status = "finalized";
        invoice.finalized_ns = input->run_ns;
    }
    *out = invoice;
    return STATUS_OK;
}

static bool
text_equal(const char *a, const char *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    return strcmp(a, b) == 0;
}

// The name of the first field that differs, or NULL.
static const char *
line_difference(const struct invoice_line *a, const struct invoice_line *b)
{
    if (a->kind != b->kind)
        return "kind";
    if (!text_equal(a->charge, b->charge))
        return "charge";
    if (!text_equal(a->meter, b->meter))
        return "meter";
    if (!text_equal(a->description, b->description))
        return "description";
    if (!text_equal(a->quantity, b->quantity) || !text_equal(a->clamped, b->clamped))
        return "quantity";
    if (!text_equal(a->free_units, b->free_units))
        return "free units";
    if (!text_equal(a->exact_amount, b->exact_amount))
        return "exact amount";
    if (!text_equal(a->carried, b->carried) || a->sequence != b->sequence)
        return "carried remainder";
    if (!text_equal(a->remainder, b->remainder))
        return "remainder";
    return a->amount_minor != b->amount_minor ? "amount" : NULL;
}

enum status
invoice_compare(const struct invoice *stored, const struct invoice *computed, struct error *error)
{
    if (strcmp(stored->id, computed->id) != 0)
        return error_set(
            error, STATUS_CORRUPT, "its input is that of another invoice, %s", computed->id);
    if (stored->currency != computed->currency)
        return error_set(error, STATUS_CORRUPT, "the currency differs from its input's");
    if (stored->lines_count != computed->lines_count)
        return error_set(
            error,
            STATUS_CORRUPT,
            "%zu lines are stored, its input gives %zu",
            stored->lines_count,
            computed->lines_count);
    for (size_t i = 0; i < stored->lines_count; i++) {
        const char *field = line_difference(&stored->lines[i], &computed->lines[i]);
        if (field != NULL)
            return error_set(
                error, STATUS_CORRUPT, "line %zu: the %s differs from its input's", i + 1, field);
    }
    if (stored->total_minor != computed->total_minor)
        return error_set(
            error,
            STATUS_CORRUPT,
            "the total %" PRId64 " is stored, its input gives %" PRId64,
            stored->total_minor,
            computed->total_minor);
    return STATUS_OK;
}

void
invoice_fees_record(
    struct invoice_input *input, const struct invoice *computed, struct arena *arena)
{
    if (input->events == NULL)
        return;
    uint32_t count = input->plan->charges_count;
    struct invoice_events *events = arena_array(arena, count, struct invoice_events);
    for (uint32_t i = 0; i < count; i++) {
        events[i] = input->events[i];
        events[i].fees = computed->fees[i];
    }
    input->events = events;
}

enum status
invoice_fees_compare(
    const struct invoice_input *input, const struct invoice *computed, struct error *error)
{
    for (uint32_t i = 0; input->has_usage && i < input->plan->charges_count; i++) {
        const struct charge_fee *fees = computed->fees[i];
        for (uint32_t k = 0; fees != NULL && k < input->events[i].count; k++) {
            const struct charge_fee *recorded = &input->events[i].fees[k];
            if (strcmp(recorded->exact, fees[k].exact) != 0 ||
                strcmp(recorded->billed, fees[k].billed) != 0)
                return error_set(
                    error,
                    STATUS_CORRUPT,
                    "%s: the fee of event %" PRIu32 " is recorded as %s, its input gives %s",
                    input->plan->charges[i].name,
                    k + 1,
                    recorded->exact,
                    fees[k].exact);
        }
    }
    return STATUS_OK;
}
