#pragma once
// Invoices for people and for programs.
//
//     invoice_json(&out, &invoice);             // amounts: {"amount_minor":5590,"currency":"USD"}
//     invoice_text(&invoice, &arena, &buffer);  // a heading and a table, amounts in major units
//
// Thread: any.

#include "base/buffer.h"
#include "billing/invoice.h"

void money_json(struct json_out *out, int64_t minor, const struct currency *currency);
void time_json(struct json_out *out, const char *key, int64_t time_ns);  // INT64_MIN: null
void invoice_json(struct json_out *out, const struct invoice *invoice);
// The member "steps" of an object that stands open; nothing when nobody asked for them.
void invoice_steps_json(struct json_out *out, const struct invoice_line *line);
// The members of what fees carried; nothing of a line that is not paid in advance.
void invoice_carried_json(struct json_out *out, const struct invoice_line *line);
void invoice_text(const struct invoice *invoice, struct arena *arena, struct buffer *out);
// "55.90 USD"
const char *money_text(int64_t minor, const struct currency *currency, struct arena *arena);
// "2023-11-01", with the time of day when it is not midnight; INT64_MIN: "the beginning".
const char *day_text(int64_t time_ns, struct arena *arena);
