// For each meter: all subjects' totals of the range, then, a batch of subjects at a time, the
// subscriptions that charge the meter. What they leave uncovered of the range is asked of the
// ledger, gap by gap; a subject without any needs no second question.

#include "billing/unsubscribed.h"

#include "base/assert.h"
#include "base/buffer.h"

#include <stdlib.h>
#include <string.h>

enum { UNSUBSCRIBED_BATCH = 1000 };

struct used {
    const char *subject;
    struct decimal total;
    bool is_foreign;  // no text, so nobody's: the database could not hold it
};

struct finding {
    const struct unsubscribed_question *question;
    struct arena *arena;   // of the list
    struct arena scratch;  // of one meter
    struct buffer used;    // struct used
    struct buffer found;   // struct unsubscribed
    const char *meter;
    struct error *error;
};

// The ledger takes any bytes for a subject. Here backslashes and what is not printable are \xNN.
static const char *
foreign_text(struct bytes subject, struct arena *arena)
{
    scoped(buffer_done) struct buffer text = {0};
    for (size_t i = 0; i < subject.size; i++) {
        uint8_t byte = subject.data[i];
        if (byte >= 0x20 && byte < 0x7f && byte != '\\')
            buffer_u8(&text, byte);
        else
            buffer_format(&text, "\\x%02x", byte);
    }
    return arena_text_of(arena, buffer_view(&text));
}

static bool
used_add(void *context, struct bytes subject, const struct usage_row *total)
{
    struct finding *finding = context;
    struct used used = {.total = total->value};
    used.is_foreign = !bytes_is_utf8(subject) || memchr(subject.data, '\0', subject.size) != NULL;
    used.subject = used.is_foreign ? foreign_text(subject, &finding->scratch)
                                   : arena_text_of(&finding->scratch, subject);
    if (total->value.units != 0)
        buffer_put(&finding->used, &used, sizeof used);
    return true;
}

static int
used_order(const void *a, const void *b)
{
    const struct used *left = a, *right = b;
    if (left->is_foreign != right->is_foreign)
        return left->is_foreign ? 1 : -1;
    return strcmp(left->subject, right->subject);
}

// A subject's events lie in one shard, so usage_totals names it once.
static void
used_sort(struct used *items, size_t count)
{
    if (count == 0)
        return;
    qsort(items, count, sizeof *items, used_order);
    for (size_t i = 1; i < count; i++)
        must(used_order(&items[i - 1], &items[i]) < 0);
}

static void
found_add(
    struct finding *finding,
    const struct used *used,
    const char *customer,
    const struct period_terms *range)
{
    if (used->total.units == 0)
        return;
    struct unsubscribed row = {
        .subject = arena_text(finding->arena, used->subject),
        .customer = customer != NULL ? arena_text(finding->arena, customer) : NULL,
        .meter = finding->meter,
        .quantity = used->total,
        .from_ns = range->starts_ns,
        .to_ns = range->ends_ns,
    };
    buffer_put(&finding->found, &row, sizeof row);
}

static enum status
gap_ask(
    struct finding *finding,
    const char *subject,
    const char *customer,
    const struct period_terms *gap)
{
    if (gap->starts_ns >= gap->ends_ns)
        return STATUS_OK;
    scoped(arena_done) struct arena scratch = {0};
    struct usage_query query = {
        .meter = finding->meter,
        .subject = bytes_text(subject),
        .from_ns = gap->starts_ns,
        .to_ns = gap->ends_ns,
        .window = USAGE_WINDOW_NONE,
    };
    struct usage_result result = {0};
    enum status status =
        usage_query(finding->question->reader, &query, &scratch, &result, finding->error);
    if (status)
        return status;
    if (result.count > 0) {
        struct used used = {.subject = subject, .total = result.rows[0].value};
        found_add(finding, &used, customer, gap);
    }
    return STATUS_OK;
}

static bool
charges_meter(const struct finding *finding, const char *plan_key)
{
    const struct plan *plan =
        plan_key != NULL ? stored_catalog_plan(finding->question->catalog, plan_key) : NULL;
    for (uint32_t i = 0; plan != NULL && i < plan->charges_count; i++)
        if (plan->charges[i].meter != NULL && strcmp(plan->charges[i].meter, finding->meter) == 0)
            return true;
    return false;
}

// The rows from *at on that are of one subject; moves *at to where the next one's begin.
static enum status
subject_check(
    struct finding *finding,
    const struct used *used,
    const struct subject_terms_list *list,
    size_t *at)
{
    const struct unsubscribed_question *question = finding->question;
    struct period_terms gap = {question->from_ns, question->to_ns};
    const char *customer = NULL;
    bool is_charged = false;
    enum status status = STATUS_OK;
    for (; *at < list->count && strcmp(list->items[*at].subject, used->subject) == 0; ++*at) {
        const struct subject_terms *row = &list->items[*at];
        customer = row->customer;
        if (status || !charges_meter(finding, row->plan))
            continue;
        if (!ranges_overlap(
                row->terms.starts_ns, row->terms.ends_ns, question->from_ns, question->to_ns))
            continue;
        is_charged = true;
        gap.ends_ns = row->terms.starts_ns;
        status = gap_ask(finding, used->subject, customer, &gap);
        if (row->terms.ends_ns > gap.starts_ns)
            gap.starts_ns = row->terms.ends_ns;
    }
    gap.ends_ns = question->to_ns;
    if (status)
        return status;
    if (is_charged)
        return gap_ask(finding, used->subject, customer, &gap);
    found_add(finding, used, customer, &gap);
    return STATUS_OK;
}

static enum status
batch_check(struct finding *finding, const struct used *used, size_t count)
{
    scoped(arena_done) struct arena arena = {0};
    const char **subjects = arena_array(&arena, count, const char *);
    for (size_t i = 0; i < count; i++)
        subjects[i] = used[i].subject;
    struct subject_terms_list list = {0};
    enum status status =
        store_subject_terms(finding->question->sql, subjects, count, &arena, &list, finding->error);
    size_t at = 0;
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = subject_check(finding, &used[i], &list, &at);
    return status;
}

static enum status
used_by_customer(struct finding *finding)
{
    const struct unsubscribed_question *question = finding->question;
    const char *const *subjects = NULL;
    size_t count = 0;
    enum status status = customer_subjects(
        question->sql, question->customer, &finding->scratch, &subjects, &count, finding->error);
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        struct usage_query query = {
            .meter = finding->meter,
            .subject = bytes_text(subjects[i]),
            .from_ns = question->from_ns,
            .to_ns = question->to_ns,
            .window = USAGE_WINDOW_NONE,
        };
        struct usage_result result = {0};
        status = usage_query(question->reader, &query, &finding->scratch, &result, finding->error);
        if (status == STATUS_OK && result.count > 0)
            (void)used_add(finding, query.subject, &result.rows[0]);
    }
    return status;
}

static enum status
meter_check_usage(struct finding *finding)
{
    const struct unsubscribed_question *question = finding->question;
    enum status status = STATUS_OK;
    arena_reset(&finding->scratch);
    buffer_reset(&finding->used);
    if (question->customer != NULL)
        status = used_by_customer(finding);
    else
        status = usage_totals(
            question->reader,
            finding->meter,
            question->from_ns,
            question->to_ns,
            used_add,
            finding,
            finding->error);
    if (status)
        return status;
    struct used *used = (struct used *)(void *)finding->used.data;
    size_t count = finding->used.size / sizeof *used;
    used_sort(used, count);
    size_t texts = 0;
    while (texts < count && !used[texts].is_foreign)
        texts++;
    for (size_t at = 0; status == STATUS_OK && at < texts; at += UNSUBSCRIBED_BATCH) {
        size_t left = texts - at;
        status =
            batch_check(finding, used + at, left < UNSUBSCRIBED_BATCH ? left : UNSUBSCRIBED_BATCH);
    }
    const struct period_terms range = {question->from_ns, question->to_ns};
    for (size_t i = texts; status == STATUS_OK && i < count; i++)
        found_add(finding, &used[i], NULL, &range);
    return status;
}

enum status
unsubscribed_find(
    const struct unsubscribed_question *question,
    struct arena *arena,
    struct unsubscribed **out,
    size_t *out_count,
    const char **out_missing,
    struct error *error)
{
    must(question->reader != NULL && question->catalog != NULL);
    struct finding finding = {.question = question, .arena = arena, .error = error};
    struct meter *meters = NULL;
    uint32_t meters_count = 0;
    enum status status =
        registry_list(reader_registry(question->reader), arena, &meters, &meters_count, error);
    for (uint32_t i = 0; status == STATUS_OK && i < meters_count; i++) {
        finding.meter = meters[i].key;
        status = meter_check_usage(&finding);
        if (status != STATUS_OVERFLOW)
            continue;
        *out_missing = *out_missing == NULL
                           ? arena_text(arena, error->text)
                           : arena_format(arena, "%s; %s", *out_missing, error->text);
        status = STATUS_OK;
    }
    if (status == STATUS_OK && (buffer_failed(&finding.used) || buffer_failed(&finding.found)))
        status = error_set(error, STATUS_NO_MEMORY, "no memory for the usage without subscription");
    if (status == STATUS_OK) {
        *out_count = finding.found.size / sizeof **out;
        *out = arena_array(arena, *out_count + 1, struct unsubscribed);
        if (*out_count > 0)
            memcpy(*out, finding.found.data, finding.found.size);
    }
    buffer_done(&finding.used);
    buffer_done(&finding.found);
    arena_done(&finding.scratch);
    return status;
}
