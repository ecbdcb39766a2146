#pragma once
// What one event means to the meters: the step that live folding, log scans and verify share.
//
//     struct meter_set *set = meter_set_make(meters, count, &arena);
//     const struct meter_rule *rule = meter_set_first(set, entry.type);
//     for (; rule; rule = rule->next_of_type)
//         if (meter_rule_apply(rule, &entry, &place, &scratch, &step))
//             add step.input to the cell of the step
//
// A set is immutable once made; several threads may read it. Scratch belongs to a thread and holds
// the texts of numbers used as dimension values until the next apply.

#include "ledger/cell_state.h"
#include "ledger/entry.h"
#include "ledger/meter.h"

struct meter_set;

struct meter_path {
    uint32_t depth;
    struct bytes steps[METER_PATH_DEPTH_MAX];
};

// The texts that pass at one path.
struct meter_pass {
    struct meter_path path;
    uint32_t count;
    const struct bytes *values;
};

struct meter_rule {
    const struct meter *meter;
    const struct meter_rule *next_of_type;
    uint32_t place;  // among those of its type, from 0
    uint32_t meter_id;
    bool has_value_path;
    // No filter, no dimension, no text: meter_rule_value says all that an event means to it.
    bool is_plain;
    bool is_quick;  // plain, and a count and maybe a sum is all that it keeps
    bool is_sum;    // then: a sum, too
    struct meter_path value_path;
    struct meter_path dimension_paths[METER_DIMENSIONS_MAX];
    const struct meter_pass *passes;  // meter->filters_count of them
};

struct meter_set *meter_set_make(const struct meter *meters, uint32_t count, struct arena *arena);
// NULL: no meter wants this type.
const struct meter_rule *meter_set_first(const struct meter_set *set, struct bytes type);
const struct meter_rule *meter_set_find(const struct meter_set *set, uint32_t meter_id);
uint32_t meter_set_count(const struct meter_set *set);
const struct meter *meter_set_at(const struct meter_set *set, uint32_t index);

struct fold_scratch {
    char texts[METER_DIMENSIONS_MAX][DECIMAL_TEXT_MAX];
};

// Where an event stands in its shard's log.
struct fold_place {
    uint64_t block;
    uint32_t index;
    int64_t arrival_ns;
    bool is_cancel;  // a correction takes it out: the step takes it back
};

// Why a meter cannot use an event's value.
enum fold_fault {
    FOLD_USABLE,
    FOLD_NO_PROPERTIES,  // none at all, and a property is wanted
    FOLD_MISSING,  // not at the path; a UNIQUE_COUNT counts it all the same, as the empty text
    FOLD_NULL,
    FOLD_NAN,
    FOLD_INFINITE,
    FOLD_TOO_LARGE,  // 10^19 or more
    FOLD_NO_NUMBER,  // a text that is none; *out_text is it
    FOLD_NO_VALUE,   // a map, a list, a boolean, bytes
};

struct fold_step {
    const struct meter *meter;
    int64_t start_s;  // of the quarter hour
    uint32_t epoch;   // 0: who knows the cuts sets it
    struct hash128 group_hash;
    struct cell_group group;  // views into the entry or the scratch
    struct cell_input input;
};

// The start of the quarter hour; time_ns is not negative.
static inline int64_t
fold_start_s(int64_t time_ns)
{
    return time_ns / QUARTER_HOUR_NS * QUARTER_HOUR_S;
}

// False: the event does not pass the meter's filters, or its property cannot be used (no number),
// so the meter skips it. A dimension that is missing or nil is the empty string; numbers and
// booleans are their text; maps and arrays are the empty string. UNIQUE_COUNT compares the value's
// text: what is missing is the empty text, which counts, nil does not; a map or array is compared
// by its bytes.
bool meter_rule_apply(
    const struct meter_rule *rule,
    const struct entry *entry,
    const struct fold_place *place,
    struct fold_scratch *scratch,
    struct fold_step *out);
// Of a plain rule and an event of its type whose time is not negative: the value that the step's
// input would have, 0 for a COUNT. False: as meter_rule_apply.
bool
meter_rule_value(const struct meter_rule *rule, const struct entry *entry, struct decimal *out);
enum fold_fault
meter_rule_fault(const struct meter_rule *rule, const struct entry *entry, struct bytes *out_text);
