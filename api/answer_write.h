#pragma once
// An answer in the forms that OpenMeter has: v1's JSON and its CSV.
//
//     answer_write_json(&question, &answer, call_json(call, 200));
//     answer_write_csv(&question, &answer, &body);
//
// Thread: any.

#include "api/question.h"
#include "base/json.h"

void answer_write_json(
    const struct question *question, const struct answer *answer, struct json_out *out);
// window_start,window_end[,subject[,subject_display_name]][,DIMENSION...],value; the value with six
// decimals, half-even.
void
answer_write_csv(const struct question *question, const struct answer *answer, struct buffer *out);
// A decimal's text with exactly six decimals. room holds WIDE_TEXT_MAX + 8.
void six_decimals(const char *text, char *room);
// A cell of CSV, quoted where RFC 4180 wants it.
void answer_cell_put(struct buffer *out, struct bytes text);
