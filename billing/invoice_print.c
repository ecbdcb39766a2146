#include "billing/invoice_print.h"

#include "base/table.h"

#include <inttypes.h>

void
money_json(struct json_out *out, int64_t minor, const struct currency *currency)
{
    json_begin(out, '{');
    json_key(out, "amount_minor");
    json_int(out, minor);
    json_key(out, "currency");
    json_text(out, currency->code);
    json_end(out, '}');
}

void
time_json(struct json_out *out, const char *key, int64_t time_ns)
{
    char text[CLOCK_TEXT_MAX];
    json_key(out, key);
    if (time_ns == INT64_MIN) {
        json_null(out);
        return;
    }
    clock_print(time_ns, text);
    json_text(out, text);
}

static void
text_json(struct json_out *out, const char *key, const char *text)
{
    json_key(out, key);
    json_text(out, text);
}

void
invoice_steps_json(struct json_out *out, const struct invoice_line *line)
{
    if (line->steps == NULL)
        return;
    json_key(out, "steps");
    json_begin(out, '[');
    for (const struct abacus_step *step = line->steps; step != NULL; step = step->next)
        json_text(out, step->text);
    json_end(out, ']');
}

void
invoice_carried_json(struct json_out *out, const struct invoice_line *line)
{
    if (line->remainder == NULL)
        return;
    text_json(out, "carried_minor", line->carried);
    text_json(out, "remainder_minor", line->remainder);
}

static void
line_json(struct json_out *out, const struct invoice_line *line, const struct currency *currency)
{
    json_begin(out, '{');
    text_json(out, "kind", invoice_line_kind_name(line->kind));
    text_json(out, "charge", line->charge);
    text_json(out, "meter", line->meter);
    text_json(out, "description", line->description);
    text_json(out, "quantity", line->quantity);
    text_json(out, "clamped_quantity", line->clamped);
    text_json(out, "free_units", line->free_units);
    text_json(out, "exact_amount", line->exact_amount);
    invoice_carried_json(out, line);
    json_key(out, "amount");
    money_json(out, line->amount_minor, currency);
    invoice_steps_json(out, line);
    json_end(out, '}');
}

void
invoice_json(struct json_out *out, const struct invoice *invoice)
{
    json_begin(out, '{');
    text_json(out, "id", invoice->id);
    text_json(out, "number", invoice->number);
    text_json(out, "customer", invoice->customer);
    text_json(out, "subscription", invoice->subscription);
    text_json(out, "kind", invoice_kind_name(invoice->kind));
    text_json(out, "plan", invoice->plan);
    json_key(out, "catalogue_version");
    json_int(out, invoice->catalogue_version);
    time_json(out, "period_start", invoice->from_ns);
    time_json(out, "period_end", invoice->to_ns);
    json_key(out, "generation");
    json_int(out, invoice->generation);
    text_json(out, "status", invoice->status);
    text_json(out, "currency", invoice->currency->code);
    json_key(out, "total_minor");
    json_int(out, invoice->total_minor);
    json_key(out, "total");
    money_json(out, invoice->total_minor, invoice->currency);
    time_json(out, "created_at", invoice->created_ns);
    time_json(out, "finalized_at", invoice->finalized_ns);
    json_key(out, "lines");
    json_begin(out, '[');
    for (size_t i = 0; i < invoice->lines_count; i++)
        line_json(out, &invoice->lines[i], invoice->currency);
    json_end(out, ']');
    json_end(out, '}');
}

const char *
money_text(int64_t minor, const struct currency *currency, struct arena *arena)
{
    char text[MONEY_TEXT_MAX];
    money_print(minor, currency, text);
    return arena_format(arena, "%s %s", text, currency->code);
}

const char *
day_text(int64_t time_ns, struct arena *arena)
{
    char text[CLOCK_TEXT_MAX];
    if (time_ns == INT64_MIN)
        return "the beginning";
    size_t size = clock_print(time_ns, text);
    return arena_text_of(arena, bytes_of(text, time_ns % DAY_NS == 0 ? 10 : size));
}

static const char *
line_note(const struct invoice_line *line, struct arena *arena)
{
    bool has_clamped = line->clamped[0] == '-';
    bool has_free = bytes_compare(bytes_text(line->free_units), bytes_text("0")) != 0;
    if (!has_clamped && !has_free)
        return line->description;
    return arena_format(
        arena,
        "%s (%s%s%s%s%s)",
        line->description,
        has_free ? line->free_units : "",
        has_free ? " free" : "",
        has_free && has_clamped ? ", " : "",
        has_clamped ? line->clamped : "",
        has_clamped ? " not billed" : "");
}

void
invoice_text(const struct invoice *invoice, struct arena *arena, struct buffer *out)
{
    static const struct table_column columns[] = {
        {"description", TABLE_LEFT },
        {"quantity",    TABLE_RIGHT},
        {"exact",       TABLE_RIGHT},
        {"amount",      TABLE_RIGHT},
    };
    buffer_format(
        out,
        "%s  %s  %s  %s  %s to %s  %s\n",
        invoice->number != NULL ? invoice->number : "(no number)",
        invoice->customer,
        invoice->plan,
        invoice_kind_name(invoice->kind),
        day_text(invoice->from_ns, arena),
        day_text(invoice->to_ns, arena),
        invoice->status);
    struct table table = table_over(arena, columns, 4);
    for (size_t i = 0; i < invoice->lines_count; i++) {
        const struct invoice_line *line = &invoice->lines[i];
        const char *amount = money_text(line->amount_minor, invoice->currency, arena);
        table_row(
            &table,
            (const char *const[]){
                line_note(line, arena), line->quantity, line->exact_amount, amount});
    }
    const char *total = money_text(invoice->total_minor, invoice->currency, arena);
    table_row(&table, (const char *const[]){"total", "", "", total});
    table_print(&table, TABLE_TEXT, out);
}
