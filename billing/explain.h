#pragma once
// How an invoice came about: its recorded input, computed again, compared with what is stored, and
// told step by step.
//
//     explain(&invoice, &arena, &explanation, &error);    // STATUS_CORRUPT: it does not match
//     explain_text(&explanation, &arena, &buffer);
//
// Thread: any.

#include "base/buffer.h"
#include "billing/invoice.h"

struct explanation {
    struct invoice_input input;
    struct invoice computed;
};

// The explanation is filled even when the comparison fails.
enum status explain(
    const struct invoice *stored,
    struct arena *arena,
    struct explanation *out,
    struct error *error) CHECKED;

void explain_text(const struct explanation *explanation, struct arena *arena, struct buffer *out);
void explain_json(const struct explanation *explanation, struct arena *arena, struct json_out *out);
