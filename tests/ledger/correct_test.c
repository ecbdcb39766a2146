#include "ledger/correct.h"

#include "base/pack.h"
#include "ledger/cell.h"
#include "ledger/control_wire.h"
#include "ledger/usage.h"
#include "ledger/verify.h"
#include "tests/ledger/writing.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// Corrections through a real ledger, beside a model that keeps each event's payload: counts and
// sums of the cells on disk are those of the model, and verify has nothing to say.

enum {
    SHARDS = 2,
    EVENTS = 60,
    OPERATIONS = 400,
    CUTS = OPERATIONS,
    METER_COUNT = 1,
    METER_SUM = 2
};

static void
tell_finding(void *context, const struct verify_finding *finding)
{
    (void)context;
    cr_log_error("shard %d, %s: %s", finding->shard, finding->key, finding->what);
}

static void
check_clean(const struct writing *writing)
{
    struct verify_summary summary;
    struct error error = {0};
    const struct verify_options options = {.on_finding = tell_finding};
    succeed(verify_run(writing->dir, &options, &summary, &error), &error);
    cr_assert_eq(summary.findings, 0);
}

static void
put_meter(
    struct registry *registry, const char *key, enum aggregation aggregation, const char *path)
{
    struct error error = {0};
    const struct meter meter = {
        .key = key, .event_type = "llm", .aggregation = aggregation, .value_property = path};
    succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
}

static void
begin(struct writing *writing)
{
    struct error error = {0};
    struct registry *registry;
    writing_begin(writing, SHARDS);
    writing_meter(writing, "calls", "llm", AGGREGATION_COUNT);
    writing_meter(writing, "tokens", "llm", AGGREGATION_SUM);
    succeed(registry_open(writing->dir, &registry, &error), &error);
    put_meter(registry, "least", AGGREGATION_MIN, "$.n");
    put_meter(registry, "most", AGGREGATION_MAX, "$.n");
    put_meter(registry, "latest", AGGREGATION_LATEST, "$.n");
    put_meter(registry, "distinct", AGGREGATION_UNIQUE_COUNT, "$.n");
    registry_close(registry);
    writing_open(writing, NULL);
}

static struct correction
cancel_of(const struct event_bytes *event)
{
    return (struct correction){
        .kind = ENTRY_CANCEL,
        .subject = event->event.subject,
        .id = event->event.id,
        .who = bytes_text("ops"),
        .why = bytes_text("a test"),
    };
}

// To the properties of `to`.
static struct correction
amend_of(const struct event_bytes *event, const struct event_bytes *to)
{
    struct correction correction = cancel_of(event);
    correction.kind = ENTRY_AMEND;
    correction.has_properties = true;
    correction.properties = to->event.properties[0];
    correction.properties_count = to->event.properties_count;
    return correction;
}

static enum status
correct(struct writing *writing, const struct correction *correction)
{
    struct error error = {0};
    uint64_t block = 0;
    enum status status = ledger_correct(writing->ledger, correction, &block, &error);
    cr_assert_eq(status, error.status);
    cr_assert_eq(block > 0, status == STATUS_OK);
    return status;
}

static void
check_totals(const struct writing *writing, int64_t count, int64_t sum)
{
    struct cell_total calls = writing_cells(writing, METER_COUNT);
    struct cell_total tokens = writing_cells(writing, METER_SUM);
    cr_assert_eq((int64_t)calls.count, count, "%ld of %ld", (long)calls.count, (long)count);
    cr_assert_eq((int64_t)tokens.count, count);
    cr_assert_eq(decimal_compare(tokens.sum, decimal_from_int(sum)), 0, "not %ld", (long)sum);
}

Test(correct, a_cancelled_event_counts_no_more_and_stays_known)
{
    struct writing writing;
    struct event_bytes a, b;
    begin(&writing);
    event_make(&a, "s", "a", 10);
    event_make(&b, "s", "b", 7);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_STORED);
    cr_assert_eq(writing_fate(&writing, &b.event), FATE_STORED);
    const struct correction cancel = cancel_of(&a);
    cr_assert_eq(correct(&writing, &cancel), STATUS_OK);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_DUPLICATE);
    cr_assert_eq(correct(&writing, &cancel), STATUS_EXISTS);
    writing_close(&writing);
    check_totals(&writing, 1, 7);
    check_clean(&writing);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_DUPLICATE);
    cr_assert_eq(correct(&writing, &cancel), STATUS_EXISTS);
    writing_close(&writing);
    check_totals(&writing, 1, 7);
    writing_end(&writing);
}

Test(correct, an_amended_event_counts_with_what_it_has_now)
{
    struct writing writing;
    struct event_bytes a, to;
    begin(&writing);
    event_make(&a, "s", "a", 10);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_STORED);
    event_make(&to, "s", "a", 13);  // another region, too
    struct correction amend = amend_of(&a, &to);
    cr_assert_eq(correct(&writing, &amend), STATUS_OK);
    writing_close(&writing);
    check_totals(&writing, 1, 13);
    check_clean(&writing);
    writing_open(&writing, NULL);
    event_make(&to, "s", "a", 15);
    amend = amend_of(&a, &to);
    cr_assert_eq(correct(&writing, &amend), STATUS_OK, "once more");
    struct correction deep = amend_of(&a, &to);
    deep.properties = bytes_text("\241a\221\221\221\221\221\221\221\221\007\241n\017");
    deep.properties_count = 2;
    cr_assert_eq(correct(&writing, &deep), STATUS_OK, "eight levels");
    amend = cancel_of(&a);
    amend.kind = ENTRY_AMEND;
    amend.has_value = true;
    amend.value = decimal_from_int(3);
    cr_assert_eq(correct(&writing, &amend), STATUS_OK, "the value alone: properties stay");
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_DUPLICATE);
    writing_close(&writing);
    check_totals(&writing, 1, 15);
    check_clean(&writing);
    writing_open(&writing, NULL);
    const struct correction cancel = cancel_of(&a);
    cr_assert_eq(correct(&writing, &cancel), STATUS_OK);
    cr_assert_eq(correct(&writing, &amend), STATUS_EXISTS);
    writing_close(&writing);
    check_totals(&writing, 0, 0);
    check_clean(&writing);
    writing_end(&writing);
}

Test(correct, what_cannot_be_corrected_is_refused_and_nothing_stored)
{
    struct writing writing;
    struct event_bytes a;
    static uint8_t many[EVENT_SIZE_MAX + 1];
    begin(&writing);
    event_make(&a, "s", "a", 10);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_STORED);
    struct correction wrong = cancel_of(&a);
    wrong.id = bytes_text("b");
    cr_assert_eq(correct(&writing, &wrong), STATUS_NOT_FOUND);
    wrong = cancel_of(&a);
    wrong.source = bytes_text("x");
    cr_assert_eq(correct(&writing, &wrong), STATUS_NOT_FOUND);
    wrong = cancel_of(&a);
    wrong.subject = bytes_text("t");
    cr_assert_eq(correct(&writing, &wrong), STATUS_NOT_FOUND);
    wrong = cancel_of(&a);
    wrong.has_time = true;
    wrong.time_ns = writing_now_ns - 1;
    cr_assert_eq(correct(&writing, &wrong), STATUS_NOT_FOUND);
    wrong = cancel_of(&a);
    wrong.who = bytes_of(NULL, 0);
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID);
    wrong = cancel_of(&a);
    wrong.why = bytes_of(many, ENTRY_WHY_MAX + 1);
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID);
    wrong = cancel_of(&a);
    wrong.id = bytes_of(NULL, 0);
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID);
    wrong = cancel_of(&a);
    wrong.kind = ENTRY_AMEND;
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID, "nothing new");
    wrong = amend_of(&a, &a);
    wrong.properties_count++;
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID, "not so many pairs");
    wrong = amend_of(&a, &a);
    wrong.properties = bytes_of(many, sizeof many);
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID, "too large");
    wrong = amend_of(&a, &a);
    wrong.properties = bytes_of("\007\007", 2);
    wrong.properties_count = 1;
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID, "a key that is no text");
    wrong.properties = bytes_text("\241a\221\221\221\221\221\221\221\221\221\007");
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID, "nine levels");
    wrong = cancel_of(&a);
    wrong.kind = ENTRY_CUT;
    cr_assert_eq(correct(&writing, &wrong), STATUS_INVALID);
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 1);
    check_totals(&writing, 1, 10);
    writing_end(&writing);
}

Test(correct, the_time_finds_the_event_too)
{
    struct writing writing;
    struct event_bytes event, other;
    begin(&writing);
    for (int64_t i = 0; i < 20; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "e%d", (int)i);
        event_make(&event, "s", id, i);
        event.event.time_ns = writing_now_ns - i * HOUR_NS;
        cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
    }
    event_make(&other, "s", "e7", 7);
    struct correction cancel = cancel_of(&other);
    cancel.has_time = true;
    cancel.time_ns = writing_now_ns - 7 * HOUR_NS;
    cr_assert_eq(correct(&writing, &cancel), STATUS_OK);
    cr_assert_eq(correct(&writing, &cancel), STATUS_EXISTS);
    writing_close(&writing);
    check_totals(&writing, 19, 190 - 7);
    check_clean(&writing);
    writing_end(&writing);
}

Test(correct, the_largest_amend_of_the_largest_event_is_stored)
{
    struct writing writing;
    struct event_bytes a;
    struct buffer large = {0};
    begin(&writing);
    event_make(&a, "s", "a", 10);
    pack_text(&large, "text");
    uint8_t *room = buffer_reserve(&large, EVENT_SIZE_MAX);
    cr_assert_not_null(room);
    const size_t text_size = 60000;
    room[0] = 0xda;  // str 16
    room[1] = (uint8_t)(text_size >> 8);
    room[2] = (uint8_t)text_size;
    memset(room + 3, 'x', text_size);
    buffer_commit(&large, text_size + 3);
    a.event.properties[0] = buffer_view(&large);
    a.event.properties_count = 1;
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_STORED);
    struct correction amend = amend_of(&a, &a);
    uint8_t why[ENTRY_WHY_MAX];
    memset(why, 'w', sizeof why);
    amend.why = bytes_of(why, sizeof why);
    cr_assert_eq(correct(&writing, &amend), STATUS_OK);
    cr_assert_eq(correct(&writing, &amend), STATUS_OK, "an amend of the amend");
    writing_close(&writing);
    cr_assert_eq(writing_log(&writing).events, 3);
    check_clean(&writing);
    buffer_done(&large);
    writing_end(&writing);
}

// --- a model of many events ---

struct modelled {
    bool is_stored;
    bool is_cancelled;
    int64_t n;
    int64_t time_ns;
};

// What a cut saw.
struct modelled_cut {
    int64_t time_ns;
    struct modelled events[EVENTS];
};

struct model {
    struct modelled events[EVENTS];
    uint32_t cuts_count;
    struct modelled_cut cuts[CUTS];  // by number, from 1
};

static void
model_event(const struct model *model, uint32_t i, int64_t n, struct event_bytes *out)
{
    char subject[16];
    char id[16];
    (void)snprintf(subject, sizeof subject, "s%u", i % 5);
    (void)snprintf(id, sizeof id, "e%u", i);
    event_make(out, subject, id, n);
    out->event.time_ns = model->events[i].time_ns;
}

static void
model_put(struct writing *writing, struct model *model, uint32_t i)
{
    struct modelled *one = &model->events[i];
    struct event_bytes event;
    if (one->is_stored) {
        model_event(model, i, one->n, &event);
        // As it is now or as it was: known in any case.
        cr_assert_neq(writing_fate(writing, &event.event), FATE_STORED);
        return;
    }
    one->n = (int64_t)writing_random(writing, 1000);
    one->time_ns = writing_now_ns - (int64_t)writing_random(writing, 48) * HOUR_NS + i;
    model_event(model, i, one->n, &event);
    cr_assert_eq(writing_fate(writing, &event.event), FATE_STORED);
    one->is_stored = true;
}

static void
model_correct(struct writing *writing, struct model *model, uint32_t i, bool is_amend)
{
    struct modelled *one = &model->events[i];
    struct event_bytes event, to;
    int64_t n = (int64_t)writing_random(writing, 1000);
    model_event(model, i, one->n, &event);
    model_event(model, i, n, &to);
    struct correction correction = is_amend ? amend_of(&event, &to) : cancel_of(&event);
    correction.has_time = one->is_stored && writing_random(writing, 2) == 0;
    correction.time_ns = one->time_ns;
    enum status expected = !one->is_stored     ? STATUS_NOT_FOUND
                           : one->is_cancelled ? STATUS_EXISTS
                                               : STATUS_OK;
    cr_assert_eq(correct(writing, &correction), expected);
    if (expected == STATUS_OK && is_amend)
        one->n = n;
    else if (expected == STATUS_OK)
        one->is_cancelled = true;
}

static void
model_cut(struct writing *writing, struct model *model)
{
    struct error error = {0};
    uint32_t number = 0;
    struct modelled_cut *cut = &model->cuts[model->cuts_count++];
    // Some off the quarter hours.
    cut->time_ns = writing_now_ns - (int64_t)writing_random(writing, 48 * 7) * (HOUR_NS / 7);
    memcpy(cut->events, model->events, sizeof cut->events);
    succeed(ledger_cut(writing->ledger, cut->time_ns, &number, &error), &error);
    cr_assert_eq(number, model->cuts_count);
}

static void
model_work(struct writing *writing, struct model *model, int operations)
{
    for (int i = 0; i < operations; i++) {
        uint32_t at = (uint32_t)writing_random(writing, EVENTS);
        uint64_t choice = writing_random(writing, 20);
        if (choice < 10)
            model_put(writing, model, at);
        else if (choice < 19)
            model_correct(writing, model, at, choice < 16);
        else
            model_cut(writing, model);
    }
}

// What the model says of one subject in [from, to).
struct expected {
    int64_t count, sum, least, most, distinct, latest;
};

struct question {
    uint32_t subject;
    int64_t from_ns, to_ns;
    uint32_t at_cut;
};

static bool
model_counts(const struct modelled *one, uint32_t i, const struct question *question)
{
    return one->is_stored && !one->is_cancelled && i % 5 == question->subject &&
           one->time_ns >= question->from_ns && one->time_ns < question->to_ns;
}

static struct expected
model_expect(const struct model *model, const struct question *question)
{
    const struct modelled *events =
        question->at_cut > 0 ? model->cuts[question->at_cut - 1].events : model->events;
    struct expected expected = {.least = INT64_MAX, .most = INT64_MIN};
    int64_t latest_ns = -1;
    for (uint32_t i = 0; i < EVENTS; i++) {
        const struct modelled *one = &events[i];
        if (!model_counts(one, i, question))
            continue;
        bool is_new = true;
        for (uint32_t j = 0; j < i; j++)
            is_new = is_new && !(model_counts(&events[j], j, question) && events[j].n == one->n);
        expected.count++;
        expected.sum += one->n;
        expected.distinct += is_new;
        expected.least = one->n < expected.least ? one->n : expected.least;
        expected.most = one->n > expected.most ? one->n : expected.most;
        // Times are all different.
        if (one->time_ns > latest_ns)
            expected.latest = one->n;
        latest_ns = one->time_ns > latest_ns ? one->time_ns : latest_ns;
    }
    return expected;
}

static void
check_answer(
    struct reader *reader, const char *meter, const struct question *question, int64_t expected)
{
    struct error error = {0};
    struct arena arena = {0};
    struct usage_result result;
    char name[16];
    (void)snprintf(name, sizeof name, "s%u", question->subject);
    const struct usage_query query = {
        .meter = meter,
        .subject = bytes_text(name),
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .at_cut = question->at_cut,
    };
    succeed(usage_query(reader, &query, &arena, &result, &error), &error);
    cr_assert_leq(result.count, 1);
    int64_t got = result.count > 0 ? (int64_t)(result.rows[0].value.units / DECIMAL_ONE.units) : -1;
    cr_assert_eq(
        got,
        expected,
        "%s of %s at cut %u: %ld, not %ld",
        meter,
        name,
        question->at_cut,
        (long)got,
        (long)expected);
    arena_done(&arena);
}

static void
check_question(struct reader *reader, const struct model *model, const struct question *question)
{
    struct expected expected = model_expect(model, question);
    bool has_some = expected.count > 0;
    check_answer(reader, "calls", question, has_some ? expected.count : -1);
    check_answer(reader, "tokens", question, has_some ? expected.sum : -1);
    check_answer(reader, "least", question, has_some ? expected.least : -1);
    check_answer(reader, "most", question, has_some ? expected.most : -1);
    check_answer(reader, "latest", question, has_some ? expected.latest : -1);
    check_answer(reader, "distinct", question, has_some ? expected.distinct : -1);
}

struct streamed {
    int64_t count[5];
};

static bool
keep_total(void *context, struct bytes subject, const struct usage_row *total)
{
    struct streamed *streamed = context;
    cr_assert_eq(subject.size, 2);
    streamed->count[subject.data[1] - '0'] = (int64_t)(total->value.units / DECIMAL_ONE.units);
    return true;
}

static void
check_stream(
    struct reader *reader, const struct model *model, const struct question *question, bool is_max)
{
    struct error error = {0};
    struct streamed streamed = {
        .count = {-1, -1, -1, -1, -1}
    };
    const struct usage_query query = {
        .meter = is_max ? "most" : "tokens",
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .at_cut = question->at_cut,
    };
    succeed(usage_stream(reader, &query, keep_total, &streamed, &error), &error);
    for (uint32_t subject = 0; subject < 5; subject++) {
        struct question one = *question;
        one.subject = subject;
        struct expected expected = model_expect(model, &one);
        int64_t n = is_max ? expected.most : expected.sum;
        cr_assert_eq(streamed.count[subject], expected.count > 0 ? n : -1);
    }
}

// What came since a cut, additive or not; nothing when nothing changed.
static void
check_late(
    struct reader *reader, const struct model *model, const struct question *question, bool is_max)
{
    struct error error = {0};
    struct arena arena = {0};
    struct usage_late_result late;
    char name[16];
    (void)snprintf(name, sizeof name, "s%u", question->subject);
    const struct usage_query query = {
        .meter = is_max ? "most" : "tokens",
        .subject = bytes_text(name),
        .from_ns = question->from_ns,
        .to_ns = question->to_ns,
        .at_cut = question->at_cut,
    };
    struct question now = *question;
    now.at_cut = 0;
    const struct expected before = model_expect(model, question);
    const struct expected after = model_expect(model, &now);
    bool is_same = before.count == after.count &&
                   (is_max ? before.most : before.sum) == (is_max ? after.most : after.sum);
    succeed(usage_late(reader, &query, &arena, &late, &error), &error);
    cr_assert_eq(late.count, is_same ? 0 : 1);
    if (is_same) {
        arena_done(&arena);
        return;
    }
    const struct usage_late_row *row = &late.rows[0];
    cr_assert_eq(row->has_before, before.count > 0);
    cr_assert_eq(row->has_now, after.count > 0);
    cr_assert_eq(row->count, after.count - before.count);
    cr_assert_eq(row->is_additive, !is_max);
    if (is_max) {
        int64_t most = (int64_t)(row->now.value.units / DECIMAL_ONE.units);
        cr_assert(after.count == 0 || most == after.most);
        most = (int64_t)(row->before.value.units / DECIMAL_ONE.units);
        cr_assert(before.count == 0 || most == before.most);
    } else {
        int128 units = 0;
        cr_assert(wide_to_int128(&row->numerator, &units) && row->denominator == 1);
        cr_assert_eq((int64_t)(units / DECIMAL_ONE.units), after.sum - before.sum);
    }
    arena_done(&arena);
}

// Off the quarter hours the log answers alone; on them cells, memory and the log do together. At
// each cut the answer is that of its moment, whatever came later.
static void
model_ask(const struct writing *writing, const struct model *model)
{
    struct error error = {0};
    struct reader *reader = NULL;
    succeed(reader_open(writing->dir, &reader, &error), &error);
    for (uint32_t i = 0; i < 15; i++) {
        const int64_t froms[] = {
            INT64_MIN, writing_now_ns - 24 * HOUR_NS, writing_now_ns - 24 * HOUR_NS - 1};
        const struct question question = {
            .subject = i % 5, .from_ns = froms[i / 5], .to_ns = INT64_MAX};
        check_question(reader, model, &question);
        if (i % 5 == 0)
            check_stream(reader, model, &question, i == 5);
    }
    for (uint32_t i = 1; i <= model->cuts_count; i++) {
        int64_t time_ns = model->cuts[i - 1].time_ns;
        const struct question question = {
            .subject = i % 5,
            .from_ns = time_ns - 20 * HOUR_NS - (i % 3 == 0),
            .to_ns =
                i % 2 == 0 ? time_ns - time_ns % QUARTER_HOUR_NS : time_ns / SECOND_NS * SECOND_NS,
            .at_cut = i,
        };
        struct question aligned = question;
        aligned.from_ns = INT64_MIN;
        aligned.to_ns = time_ns - time_ns % QUARTER_HOUR_NS;
        check_question(reader, model, &question);
        check_question(reader, model, &aligned);
        check_stream(reader, model, &aligned, i % 2 == 0);
        check_late(reader, model, &aligned, false);
        check_late(reader, model, &question, true);
    }
    reader_close(reader);
}

static void
model_check(const struct writing *writing, const struct model *model)
{
    model_ask(writing, model);
    int64_t count = 0;
    int64_t sum = 0;
    for (uint32_t i = 0; i < EVENTS; i++) {
        const struct modelled *one = &model->events[i];
        bool counts = one->is_stored && !one->is_cancelled;
        count += counts;
        sum += counts ? one->n : 0;
    }
    check_totals(writing, count, sum);
    check_clean(writing);
}

// Each round ends well or by the death of the process right after its last answer: what was
// answered is there, once.
Test(correct, a_model_of_events_agrees_after_restarts_and_deaths, .timeout = 300)
{
    struct writing writing;
    begin(&writing);
    writing_close(&writing);
    for (int round = 0; round < 6; round++) {
        // Seen by the child's parent, too.
        struct model *model =
            mmap(NULL, sizeof *model, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        cr_assert_neq(model, MAP_FAILED);
        temp_dir_remove(writing.dir);
        free(writing.fates);
        begin(&writing);
        writing.seed = (uint64_t)round + 1;
        model_work(&writing, model, OPERATIONS / 4);
        model_ask(&writing, model);
        writing_close(&writing);
        pid_t child = fork();
        if (child == 0) {
            writing_open(&writing, NULL);
            model_work(&writing, model, OPERATIONS / 4);
            _exit(0);
        }
        int result = 0;
        cr_assert_eq(waitpid(child, &result, 0), child);
        cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
        check_clean(&writing);
        model_ask(&writing, model);  // the tail is in the log only
        writing_open(&writing, NULL);
        model_ask(&writing, model);  // it is in memory
        writing_close(&writing);
        model_check(&writing, model);
        writing_now_ns += 2 * DAY_NS;
        writing_open(&writing, NULL);
        model_work(&writing, model, OPERATIONS / 4);
        writing_close(&writing);
        model_check(&writing, model);
        writing_now_ns -= 2 * DAY_NS;
        cr_assert_eq(munmap(model, sizeof *model), 0);
    }
    writing_end(&writing);
}

Test(correct, requests_are_the_same_after_the_wire_and_refused_at_every_length)
{
    struct event_bytes a;
    struct buffer frame = {0};
    struct control_request request = {.kind = CONTROL_CORRECT};
    struct control_request read = {0};
    event_make(&a, "subject", "an id", 10);
    request.correction = amend_of(&a, &a);
    request.correction.source = bytes_text("a source");
    request.correction.has_time = true;
    request.correction.time_ns = 77;
    request.correction.has_value = true;
    request.correction.value = decimal_from_int(-5);
    control_request_write(&request, &frame);
    struct bytes body = bytes_of(frame.data + MEMORY_FRAME_HEAD, frame.size - MEMORY_FRAME_HEAD);
    cr_assert(control_request_read(body, &read));
    const struct correction *got = &read.correction;
    cr_assert(bytes_equal(got->subject, request.correction.subject));
    cr_assert(bytes_equal(got->id, request.correction.id));
    cr_assert(bytes_equal(got->source, request.correction.source));
    cr_assert(bytes_equal(got->who, request.correction.who));
    cr_assert(bytes_equal(got->why, request.correction.why));
    cr_assert(bytes_equal(got->properties, request.correction.properties));
    cr_assert_eq(got->properties_count, request.correction.properties_count);
    cr_assert(got->has_time && got->has_value && got->has_properties);
    cr_assert_eq(got->time_ns, 77);
    cr_assert_eq(decimal_compare(got->value, request.correction.value), 0);
    cr_assert_eq(got->kind, ENTRY_AMEND);
    for (size_t size = 0; size < body.size; size++)
        cr_assert_not(control_request_read(bytes_of(body.data, size), &read), "%zu", size);
    buffer_done(&frame);
}

Test(correct, another_process_corrects_on_the_read_socket)
{
    struct writing writing;
    struct event_bytes a;
    begin(&writing);
    event_make(&a, "s", "a", 10);
    cr_assert_eq(writing_fate(&writing, &a.event), FATE_STORED);
    pid_t child = fork();
    if (child == 0) {
        struct control_request request = {.kind = CONTROL_CORRECT, .correction = cancel_of(&a)};
        struct control_answer answer = {0};
        struct error error = {0};
        bool is_done = control_do(writing.dir, &request, &answer, &error) == STATUS_OK;
        bool is_second = control_do(writing.dir, &request, &answer, &error) == STATUS_EXISTS;
        bool says_who = strstr(error.text, "by ops, in block 2") != NULL;
        _exit(is_done && is_second && says_who ? 0 : 1);
    }
    int result = 0;
    cr_assert_eq(waitpid(child, &result, 0), child);
    cr_assert(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    writing_close(&writing);
    check_totals(&writing, 0, 0);
    check_clean(&writing);
    writing_end(&writing);
}
