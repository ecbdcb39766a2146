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
    status = invoice_compute(&out->input, arena, &out->computed, error);
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

struct step_text {
    const char *range;  // of a tier, or NULL
    const char *units, *unit, *flat, *amount;
};

static struct step_text
step_text(const struct charge *charge, const struct rate_step *step, struct arena *arena)
{
    scoped(rational_done) struct rational amount = rational_zero();
    rational_add_product(&amount, step->units, step->unit);
    rational_add_product(&amount, step->flat, DECIMAL_ONE);
    struct step_text text = {
        .units = number_text(step->units, arena),
        .unit = number_text(step->unit, arena),
        .flat = number_text(step->flat, arena),
        .amount = rational_text(&amount, arena),
    };
    if (charge->model == CHARGE_GRADUATED)
        text.range = arena_format(
            arena,
            "(%s, %s]",
            number_text(step->from, arena),
            step->is_open ? "..." : number_text(step->to, arena));
    return text;
}

struct line_steps {
    struct charge_units units;
    struct rate_steps steps;
};

static struct line_steps
line_steps(const struct explanation *explanation, const struct charge *charge, struct arena *arena)
{
    struct line_steps result = {0};
    struct decimal usage = DECIMAL_ZERO;
    scoped(rational_done) struct rational amount = rational_zero();
    const struct plan *plan = explanation->input.plan;
    for (uint32_t i = 0; i < plan->charges_count; i++)
        if (&plan->charges[i] == charge)
            usage = explanation->input.usage[i];
    result.steps.items = arena_array(arena, charge_steps_max(charge), struct rate_step);
    result.units = charge_rate(charge, usage, &amount, &result.steps);
    return result;
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

static const char *
fee_price(const struct explanation *explanation, struct arena *arena)
{
    const struct plan *plan = explanation->input.plan;
    return number_text(plan_price(plan, explanation->input.cycle)->amount, arena);
}

static void
usage_text(
    const struct explanation *explanation,
    const struct charge *charge,
    struct arena *arena,
    struct buffer *out)
{
    struct line_steps line = line_steps(explanation, charge, arena);
    buffer_format(
        out,
        "   %s of %s used",
        number_text(line.units.used, arena),
        charge->meter != NULL ? charge->meter : "");
    if (line.units.clamped.units < 0)
        buffer_format(out, ", %s net negative not billed", number_text(line.units.clamped, arena));
    if (charge->free_units.units > 0)
        buffer_format(out, ", %s free", number_text(charge->free_units, arena));
    buffer_format(
        out,
        ": %s priced by %s\n",
        number_text(line.units.priced, arena),
        charge_model_name(charge->model));
    for (uint32_t i = 0; i < line.steps.count; i++) {
        struct step_text step = step_text(charge, &line.steps.items[i], arena);
        buffer_format(
            out,
            "   %s%s%s x %s + %s = %s\n",
            step.range != NULL ? step.range : "",
            step.range != NULL ? "  " : "",
            step.units,
            step.unit,
            step.flat,
            step.amount);
    }
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
        usage_text(explanation, plan_charge(explanation->input.plan, line->charge), arena, out);
    } else {
        const char *price =
            line->kind == LINE_FEE
                ? fee_price(explanation, arena)
                : number_text(plan_charge(explanation->input.plan, line->charge)->amount, arena);
        buffer_format(
            out, "   %s for the period%s%s\n", price, share ? ", " : "", share ? share : "");
    }
    buffer_format(
        out,
        "   exactly %s, rounded half away from zero: %s\n",
        line->exact_amount,
        money_text(line->amount_minor, invoice->currency, arena));
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
steps_json(
    const struct explanation *explanation,
    const struct charge *charge,
    struct arena *arena,
    struct json_out *out)
{
    struct line_steps line = line_steps(explanation, charge, arena);
    text_json(out, "used", number_text(line.units.used, arena));
    text_json(out, "clamped", number_text(line.units.clamped, arena));
    text_json(out, "free_units", number_text(charge->free_units, arena));
    text_json(out, "priced", number_text(line.units.priced, arena));
    text_json(out, "model", charge_model_name(charge->model));
    json_key(out, "steps");
    json_begin(out, '[');
    for (uint32_t i = 0; i < line.steps.count; i++) {
        struct step_text step = step_text(charge, &line.steps.items[i], arena);
        json_begin(out, '{');
        text_json(out, "tier", step.range);
        text_json(out, "units", step.units);
        text_json(out, "unit", step.unit);
        text_json(out, "flat", step.flat);
        text_json(out, "amount", step.amount);
        json_end(out, '}');
    }
    json_end(out, ']');
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
            steps_json(explanation, plan_charge(explanation->input.plan, line->charge), arena, out);
        else
            text_json(out, "share", share_text(explanation, arena));
        text_json(out, "exact_amount", line->exact_amount);
        json_key(out, "amount");
        money_json(out, line->amount_minor, invoice->currency);
        json_end(out, '}');
    }
    json_end(out, ']');
    json_end(out, '}');
}
