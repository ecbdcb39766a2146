#pragma once
// An answer in the forms of OpenMeter's version 3: values as decimal texts with all their digits,
// subject and customer_id among the dimensions.
//
//     answer_v3_write_json(&question, &answer, call_json(call, 200));
//     answer_v3_write_csv(&question, &answer, names, &body);
//
// Thread: any.

#include "api/question.h"
#include "base/json.h"

void answer_v3_write_json(
    const struct question *question, const struct answer *answer, struct json_out *out);
// from,to[,subject][,customer_id,customer_key,customer_name][,DIMENSION...],value. names: of each
// of the question's customers.
void answer_v3_write_csv(
    const struct question *question,
    const struct answer *answer,
    const char *const *names,
    struct buffer *out);
