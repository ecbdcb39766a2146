#pragma once
// What the routes of usage share, whatever their version's forms.
//
//     status = question_call(call, &question, &answer, &error);
//     if (question_wants_csv(call)) { question_csv_begin(call, &answer.meter); ... }
//
// Thread: the call's.

#include "api/call.h"
#include "api/question.h"

// Asks of the meter that the path's first parameter names.
enum status question_call(
    struct call *call,
    const struct question *question,
    struct answer *out,
    struct error *error) CHECKED;
bool question_wants_csv(const struct call *call);
// 200, the type and the file's name; the body is the caller's.
void question_csv_begin(struct call *call, const struct meter *meter);
