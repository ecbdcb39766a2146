#include "billing/explain.h"

#include "base/assert.h"
#include "billing/invoice_print.h"

#include <inttypes.h>
#include <string.h>

enum status
explain(
    const struct invoice *stored, struct arena *arena, struct explanation *out, struct error *error)
{
    must(stored->input != NULL);
    enum status status = invoice_input_read(bytes_text(stored->input), arena, &out->input, error);
    if (status)
        return status;
    out->input.wants_steps = true;
    status = invoice_compute(&out->input, arena, &out->computed, error);
    if (status)
        return status;
    status = invoice_fees_compare(&out->input, &out->computed, error);
    if (status)
        return status;
    out->computed.number = stored->number;
    out->computed.status = stored->status;
    out->computed.finalized_ns = stored->finalized_ns;
    return invoice_compare(stored, &out->computed, error);
}

static const char *
number_text(struct decimal value, struct arena *arena)
{
    char text[DECIMAL_TEXT_MAX];
    decimal_print(value, text);
    return arena_text(arena, text);
}

// What of a line's quantity is priced: what is above the free units.
static const char *
priced_text(const struct invoice_line *line, struct arena *arena)
{
    struct decimal used = DECIMAL_ZERO, is_free = DECIMAL_ZERO;
    bool is_rounded = false;
    // A level's quantity has more places than a decimal, and nothing of it is free.
    if (strcmp(line->free_units, "0") == 0)
        return line->quantity;
    must(decimal_parse(bytes_text(line->quantity), &used, &is_rounded) == STATUS_OK);
    must(decimal_parse(bytes_text(line->free_units), &is_free, &is_rounded) == STATUS_OK);
    must(!is_rounded);
    if (decimal_compare(used, is_free) <= 0)
        return "0";
    return number_text((struct decimal){used.units - is_free.units}, arena);
}

static void
steps_text(const struct invoice_line *line, struct buffer *out)
{
    for (const struct abacus_step *step = line->steps; step != NULL; step = step->next)
        buffer_format(out, "   %s\n", step->text);
}

// The share of a full period, when the subscription's end cut it.
static const char *
share_text(const struct explanation *explanation, struct arena *arena)
{
    struct period period = explanation->input.period;
    if (period.to_ns == period.to_full_ns)
        return NULL;
    return arena_format(
        arena, "%" PRId64 " of %" PRId64 " days", period_days(period), period_days_full(period));
}

// What a line that prices no usage costs for a whole period.
static const char *
whole_price(
    const struct explanation *explanation, const struct invoice_line *line, struct arena *arena)
{
    const struct plan *plan = explanation->input.plan;
    if (line->kind == LINE_FEE)
        return number_text(plan_price(plan, explanation->input.cycle)->amount, arena);
    if (line->kind == LINE_MINIMUM)
        return arena_format(arena, "at least %s", number_text(plan->minimum, arena));
    return rational_text(plan_charge(plan, line->charge)->price.amount, arena);
}

static void
usage_text(
    const struct invoice_line *line,
    const struct charge *charge,
    struct arena *arena,
    struct buffer *out)
{
    bool has_free = strcmp(line->free_units, "0") != 0;
    buffer_format(out, "   %s of %s used", line->quantity, line->meter);
    if (line->clamped[0] == '-')
        buffer_format(out, ", %s net negative not billed", line->clamped);
    if (has_free)
        buffer_format(out, ", %s free", line->free_units);
    buffer_format(
        out, ": %s priced by %s\n", priced_text(line, arena), price_kind_name(charge->price.kind));
}

static void
line_text(
    const struct explanation *explanation, size_t index, struct arena *arena, struct buffer *out)
{
    const struct invoice *invoice = &explanation->computed;
    const struct invoice_line *line = &invoice->lines[index];
    const char *share = share_text(explanation, arena);
    buffer_format(out, "%zu. %s\n", index + 1, line->description);
    if (line->kind == LINE_USAGE) {
        usage_text(line, plan_charge(explanation->input.plan, line->charge), arena, out);
    } else {
        const char *price = whole_price(explanation, line, arena);
        buffer_format(
            out, "   %s for the period%s%s\n", price, share ? ", " : "", share ? share : "");
    }
    steps_text(line, out);
    const char *amount = money_text(line->amount_minor, invoice->currency, arena);
    if (line->remainder == NULL)
        buffer_format(
            out, "   exactly %s, rounded half away from zero: %s\n", line->exact_amount, amount);
    else
        buffer_format(
            out,
            "   fees of exactly %s, each rounded with what those before it left: %s\n"
            "   in minor units, %s were carried here and %s are carried on\n",
            line->exact_amount,
            amount,
            line->carried,
            line->remainder);
}

void
explain_text(const struct explanation *explanation, struct arena *arena, struct buffer *out)
{
    const struct invoice *invoice = &explanation->computed;
    buffer_format(
        out,
        "%s  customer %s, subscription %s, plan %s of catalogue version %" PRId64
        "\n%s to %s, computed %s for usage as it was then\n",
        invoice->number != NULL ? invoice->number : invoice->id,
        invoice->customer,
        invoice->subscription,
        invoice->plan,
        invoice->catalogue_version,
        day_text(invoice->from_ns, arena),
        day_text(invoice->to_ns, arena),
        day_text(explanation->input.run_ns, arena));
    for (size_t i = 0; i < invoice->lines_count; i++)
        line_text(explanation, i, arena, out);
    buffer_format(
        out,
        "total, the sum of the rounded lines: %s\n",
        money_text(invoice->total_minor, invoice->currency, arena));
}

static void
text_json(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

static void
units_json(
    const struct invoice_line *line,
    const struct charge *charge,
    struct arena *arena,
    struct json_out *out)
{
    text_json(out, "used", line->quantity);
    text_json(out, "clamped", line->clamped);
    text_json(out, "free_units", line->free_units);
    text_json(out, "priced", priced_text(line, arena));
    text_json(out, "model", price_kind_name(charge->price.kind));
}

void
explain_json(const struct explanation *explanation, struct arena *arena, struct json_out *out)
{
    const struct invoice *invoice = &explanation->computed;
    json_begin(out, '{');
    json_key(out, "invoice");
    invoice_json(out, invoice);
    json_key(out, "explained");
    json_begin(out, '[');
    for (size_t i = 0; i < invoice->lines_count; i++) {
        const struct invoice_line *line = &invoice->lines[i];
        json_begin(out, '{');
        text_json(out, "description", line->description);
        if (line->kind == LINE_USAGE)
            units_json(line, plan_charge(explanation->input.plan, line->charge), arena, out);
        else
            text_json(out, "share", share_text(explanation, arena));
        invoice_steps_json(out, line);
        text_json(out, "exact_amount", line->exact_amount);
        invoice_carried_json(out, line);
        json_key(out, "amount");
        money_json(out, line->amount_minor, invoice->currency);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
}
