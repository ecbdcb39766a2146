#pragma once
// A usage query as OpenMeter's version 3 asks it.
//
//     struct question_fault fault = {0};
//     if (question_from_v3(body, &meter, &arena, &question, &fault, &error))
//         refuse(fault.code, fault.field, error.text);
//
// {from, to, granularity: PT1M|PT1H|P1D|P1M, time_zone, group_by_dimensions: [...],
//  filters: {dimensions: {NAME: {OPERATOR: ...}}}}. Thread: any.

#include "api/question.h"

struct question_fault {
    const char *code;   // "invalid_group_by"; NULL: none
    const char *field;  // "$.group_by_dimensions"
};

// STATUS_INVALID: *out_fault says which of OpenMeter's codes, where it has one.
enum status question_from_v3(
    struct bytes body,
    const struct meter *meter,
    struct arena *arena,
    struct question *out,
    struct question_fault *out_fault,
    struct error *error) CHECKED;
