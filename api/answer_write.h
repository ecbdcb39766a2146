#pragma once
// An answer in the forms that OpenMeter has, as JSON and as CSV. In version 1 values are numbers,
// with six decimals in CSV; in version 3 they are decimal texts with all their digits, and subject
// and customer_id are among the dimensions.
//
//     answer_write_json(&question, &answer, ANSWER_V1, call_json(call, 200));
//     answer_write_csv(&question, &answer, ANSWER_V3, &body);
//
// Thread: any.

#include "api/question.h"
#include "base/json.h"

enum answer_form { ANSWER_V1, ANSWER_V3 };

void answer_write_json(
    const struct question *question,
    const struct answer *answer,
    enum answer_form form,
    struct json_out *out);
// V1: window_start,window_end[,subject[,subject_display_name]][,customer_id][,DIMENSION...],value;
// V3: from,to[,subject][,customer_id,customer_key,customer_name][,DIMENSION...],value.
void answer_write_csv(
    const struct question *question,
    const struct answer *answer,
    enum answer_form form,
    struct buffer *out);
// A decimal's text with exactly six decimals, half-even. room holds WIDE_TEXT_MAX + 8.
void six_decimals(const char *text, char *room);
