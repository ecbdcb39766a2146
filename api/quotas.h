#pragma once
// Meters and thresholds of the registry, kept in memory so that a request need not read them all.
//
//     quotas_meter(quotas, reader, "tokens", &arena, &meter, &error);
//     quotas_find(quotas, reader, &question, &arena, &list, &error);
//
// The copy is made anew by the first request behind a change of the registry (its revision is
// compared each time, which is cheap). Owner: main. Thread: any, each with a reader of its own.

#include "ledger/threshold.h"
#include "ledger/usage.h"

struct quotas;

struct quotas_meter {
    const char *key;  // in the arena of who asks
    enum aggregation aggregation;
};

enum status quotas_open(struct quotas **out, struct error *error) CHECKED;
// NULL is accepted.
void quotas_close(struct quotas *quotas);
// By its key or its ULID. STATUS_NOT_FOUND: there is none.
enum status quotas_meter(
    struct quotas *quotas,
    struct reader *reader,
    const char *key_or_id,
    struct arena *arena,
    struct quotas_meter *out,
    struct error *error) CHECKED;
enum { QUOTAS_PERIODS = THRESHOLD_MONTH + 1 };

struct quotas_question {
    const char *meter;
    const struct bytes *subjects;
    uint32_t subjects_count;
};

struct quotas_list {
    struct threshold items[QUOTAS_PERIODS];  // texts in the arena
    uint32_t count;
};

// What limits one who uses the meter under these subjects, at most one for each period: the least
// limit of the thresholds that name one of the subjects; where none does, of those for every
// subject.
enum status quotas_find(
    struct quotas *quotas,
    struct reader *reader,
    const struct quotas_question *question,
    struct arena *arena,
    struct quotas_list *out,
    struct error *error) CHECKED;
