#pragma once
// An invoice as a pure function of its input document.
//
//     invoice_input_write(&input, &buffer);                      // recorded with the invoice
//     invoice_compute(&input, &arena, &invoice, &error);         // lines and total
//     invoice_input_read(document, &arena, &again, &error);      // explain: computes it again
//
// The document holds all that the lines depend on: subscription, plan with the definitions of its
// charges, catalogue version, period, usage per charge, and the run's clock. Nothing else is looked
// at: no clock, no database, no ledger. Amounts are exact until a line is rounded, once
// (billing/money.h). Owner: results are in the caller's arena. Thread: any.

#include "base/buffer.h"
#include "billing/charge.h"
#include "billing/period.h"

enum { INVOICE_ID_MAX = 40 };

enum invoice_kind {
    INVOICE_SUBSCRIPTION,  // the fee of the period; with a monthly cycle its usage too
    INVOICE_USAGE,         // a month's usage of an annual subscription
};

const char *invoice_kind_name(enum invoice_kind kind);
bool invoice_kind_parse(struct bytes text, enum invoice_kind *out);

// What of a charge's usage is recorded event by event.
struct invoice_events {
    const struct charge_event *items;  // by time
    uint32_t count;
    struct decimal initial;  // of recurring: the level when the period begins
    // Of pay in advance: what the charge's line before this one left, in minor units, and which
    // line of the charge this is, from 1.
    const char *carried;
    int64_t sequence;
    const struct charge_fee *fees;  // one for each item, as invoice_fees_record has them
};

struct invoice_input {
    const char *customer;
    const char *subscription;
    enum billing_cycle cycle;
    enum invoice_kind kind;
    int64_t generation;
    struct period period;
    const struct plan *plan;      // with catalogue_version
    const struct decimal *usage;  // by position of the plan's charges; not used without has_usage
    // By charge, then by position of its values; NULL for a charge without a dimension, whose whole
    // usage is above. That above is the rest otherwise.
    const struct decimal *const *values_usage;
    // By charge, of those that need them; their usage above is the sum. NULL: no charge does.
    const struct invoice_events *events;
    bool has_fee;    // whether this invoice bills the plan's price
    bool has_usage;  // whether it bills the plan's charges
    int64_t as_of_ns;
    int64_t run_ns;
    bool wants_steps;  // not recorded: whether the lines say how they came about
};

// A minimum line is what is missing to the plan's minimum.
enum invoice_line_kind { LINE_FEE, LINE_USAGE, LINE_FLAT, LINE_MINIMUM };

struct invoice_line {
    enum invoice_line_kind kind;
    const char *charge;  // NULL for the fee and the minimum
    const char *meter;   // of usage
    const char *description;
    const char *quantity;    // exact decimals as text
    const char *clamped;     // zero or negative
    const char *free_units;  // of the charge; "0" when none
    const char *exact_amount;
    int64_t amount_minor;
    // Of pay in advance: what the amount is rounded with, in minor units, and what it leaves to the
    // charge's next line. NULL of all others.
    const char *carried, *remainder;
    int64_t sequence;
    const struct abacus_step *steps;  // how it came about; NULL when nobody asked
};

struct invoice {
    char id[INVOICE_ID_MAX];
    const char *number;  // NULL: none
    const char *customer;
    const char *subscription;
    enum invoice_kind kind;
    int64_t from_ns, to_ns;
    int64_t generation;
    const char *plan;
    int64_t catalogue_version;
    const struct currency *currency;
    const char *status;
    int64_t total_minor;
    struct invoice_line *lines;
    size_t lines_count;
    const struct charge_fee **fees;  // computed, by charge: of those that are paid in advance
    const char *input;               // the document
    int64_t created_ns;
    int64_t finalized_ns;  // INT64_MIN: not yet
};

const char *invoice_line_kind_name(enum invoice_line_kind kind);
bool invoice_line_kind_parse(struct bytes text, enum invoice_line_kind *out);

// "inv_" and 32 hexadecimal digits of a hash of the unique key.
void invoice_id(const struct invoice_input *input, char out[INVOICE_ID_MAX]);

void invoice_input_write(const struct invoice_input *input, struct buffer *out);
// STATUS_INVALID names the place in the document.
enum status invoice_input_read(
    struct bytes document,
    struct arena *arena,
    struct invoice_input *out,
    struct error *error) CHECKED;

// What the plan's index-th charge is asked for.
struct charge_usage invoice_charge_usage(const struct invoice_input *input, uint32_t index);

// Lines in the plan's order, the fee first, what is missing to the minimum last. STATUS_OVERFLOW
// names the charge whose amount does not fit.
enum status invoice_compute(
    const struct invoice_input *input,
    struct arena *arena,
    struct invoice *out,
    struct error *error) CHECKED;

// Notes the fees that were computed in the input, which records them with their events.
void invoice_fees_record(
    struct invoice_input *input, const struct invoice *computed, struct arena *arena);
// STATUS_CORRUPT names the first event whose fee is recorded otherwise than it is computed.
enum status invoice_fees_compare(
    const struct invoice_input *input, const struct invoice *computed, struct error *error) CHECKED;

// STATUS_OK when total and every line's every field are the same; else STATUS_CORRUPT names the
// first difference.
enum status invoice_compare(
    const struct invoice *stored, const struct invoice *computed, struct error *error) CHECKED;
