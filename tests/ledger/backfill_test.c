#include "ledger/backfill.h"

#include "base/pack.h"
#include "ledger/backfill_list.h"
#include "ledger/control_wire.h"
#include "ledger/rebuild.h"
#include "ledger/usage.h"
#include "tests/ledger/operating.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

// Batches through a real ledger: what counts after each step, asked for in every aggregation, of
// cells, of memory and of the log, and what verify and a rebuild say to it.

enum { SHARDS = 2, SUBJECTS = 3 };

static const char *const aggregations[] = {
    "count", "sum", "min", "max", "avg", "unique", "latest", "weighted"};
enum { AGGREGATIONS = sizeof aggregations / sizeof aggregations[0] };

static void
begin(struct writing *writing)
{
    static const enum aggregation kinds[AGGREGATIONS] = {
        AGGREGATION_COUNT,
        AGGREGATION_SUM,
        AGGREGATION_MIN,
        AGGREGATION_MAX,
        AGGREGATION_AVG,
        AGGREGATION_UNIQUE_COUNT,
        AGGREGATION_LATEST,
        AGGREGATION_WEIGHTED_SUM,
    };
    struct error error = {0};
    struct registry *registry;
    writing_begin(writing, SHARDS);
    succeed(registry_open(writing->dir, &registry, &error), &error);
    for (size_t i = 0; i < AGGREGATIONS; i++) {
        const struct meter meter = {
            .key = aggregations[i],
            .event_type = "llm",
            .aggregation = kinds[i],
            .value_property = kinds[i] == AGGREGATION_COUNT ? NULL : "$.n",
        };
        succeed(registry_put(registry, &meter, writing_now_ns, NULL, &error), &error);
    }
    registry_close(registry);
}

// Event i of a batch, or a live one (batch ""); old enough that the clock policy refuses it live.
static void
make(struct event_bytes *out, const char *batch, int i, int64_t n)
{
    char subject[16];
    char id[16];
    (void)snprintf(subject, sizeof subject, "s%d", i % SUBJECTS);
    (void)snprintf(id, sizeof id, "e%d", i);
    event_make(out, subject, id, n);
    out->event.batch = bytes_text(batch);
    out->event.time_ns = writing_now_ns - (batch[0] != '\0' ? 50 * DAY_NS : 0) - i * SECOND_NS;
}

static enum fate
put(struct writing *writing, const char *batch, int i, int64_t n)
{
    struct event_bytes event;
    make(&event, batch, i, n);
    return writing_fate(writing, &event.event);
}

static int64_t
test_now_ns(void)
{
    return writing_now_ns;
}

static void
rebuild(const char *dir)
{
    struct error error = {0};
    struct rebuild_summary summary;
    const struct rebuild_options options = {
        .shard = REBUILD_ALL_SHARDS, .ledger = {.now_ns = test_now_ns}};
    succeed(rebuild_run(dir, &options, &summary, &error), &error);
}

// All answers of the ledger, as one text.
static void
answers(const struct writing *writing, uint32_t at_cut, struct buffer *out)
{
    struct error error = {0};
    struct reader *reader = NULL;
    succeed(reader_open(writing->dir, &reader, &error), &error);
    buffer_reset(out);
    for (size_t i = 0; i < AGGREGATIONS * SUBJECTS; i++) {
        scoped(arena_done) struct arena arena = {0};
        struct usage_result result;
        char subject[16];
        (void)snprintf(subject, sizeof subject, "s%d", (int)(i % SUBJECTS));
        const struct usage_query query = {
            .meter = aggregations[i / SUBJECTS],
            .subject = bytes_text(subject),
            .from_ns = writing_now_ns - 100 * DAY_NS,
            .to_ns = writing_now_ns + (at_cut > 0 ? -DAY_NS : DAY_NS),
            .window = USAGE_WINDOW_DAY,
            .at_cut = at_cut,
        };
        succeed(usage_query(reader, &query, &arena, &result, &error), &error);
        for (size_t k = 0; k < result.count; k++) {
            char value[WIDE_TEXT_MAX];
            (void)usage_row_print(&result.rows[k], value);
            buffer_format(
                out,
                "%s %s day %d: %s\n",
                query.meter,
                subject,
                (int)((result.rows[k].from_ns - writing_now_ns) / DAY_NS),
                value);
        }
    }
    buffer_u8(out, 0);
    reader_close(reader);
}

static void
check_answers(const struct writing *writing, uint32_t at_cut, const struct buffer *expected)
{
    scoped(buffer_done) struct buffer got = {0};
    answers(writing, at_cut, &got);
    cr_assert_str_eq((const char *)got.data, (const char *)expected->data);
}

// The three places that answers come from: memory and cells now, cells alone once all is flushed,
// and the log's tail without a writer.
static void
check_everywhere(struct writing *writing, const struct buffer *expected)
{
    check_answers(writing, 0, expected);
    writing_close(writing);
    check_answers(writing, 0, expected);
    operating_verify(writing->dir);
    uint64_t before = operating_state(writing->dir);
    rebuild(writing->dir);
    cr_assert_eq(operating_state(writing->dir), before, "a rebuild makes another state");
    check_answers(writing, 0, expected);
    operating_verify(writing->dir);
    writing_open(writing, NULL);
    check_answers(writing, 0, expected);
}

static struct backfill_row
row_of(const struct writing *writing, const char *id, struct arena *arena)
{
    struct backfill_row *rows = NULL;
    size_t count = 0;
    struct error error = {0};
    succeed(backfill_list(writing->dir, arena, &rows, &count, &error), &error);
    size_t at = 0;
    while (at < count && !bytes_equal(rows[at].id, bytes_text(id)))
        at++;
    cr_assert_lt(at, count, "no batch %s", id);
    return rows[at];
}

static void
check_row(
    const struct writing *writing,
    const char *id,
    enum batch_state state,
    uint64_t stored,
    uint64_t taken)
{
    scoped(arena_done) struct arena arena = {0};
    const struct backfill_row row = row_of(writing, id, &arena);
    cr_assert_eq(row.state, state, "%s is %s", id, batch_state_name(row.state));
    cr_assert_not(row.is_partial);
    cr_assert_eq(row.stored, stored, "%s: %lu events", id, (unsigned long)row.stored);
    cr_assert_eq(row.taken, taken, "%s: %lu taken out", id, (unsigned long)row.taken);
    cr_assert(bytes_equal(row.opened.who, bytes_text("ann")));
    cr_assert_eq(row.closed.time_ns != 0, state >= BATCH_CLOSED);
    cr_assert_eq(bytes_equal(row.reverted.why, bytes_text("a test")), state >= BATCH_REVERTING);
}

Test(backfill, a_reverted_batch_counts_no_more_and_may_come_again)
{
    struct writing writing;
    scoped(buffer_done) struct buffer live = {0};
    scoped(buffer_done) struct buffer whole = {0};
    uint64_t count = 0;
    begin(&writing);
    writing_open(&writing, NULL);
    for (int i = 0; i < 9; i++)
        cr_assert_eq(put(&writing, "", 100 + i, 5 * i), FATE_STORED);
    answers(&writing, 0, &live);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(put(&writing, "jan", i, i % 7 - 3), FATE_STORED);
    answers(&writing, 0, &whole);
    cr_assert_str_neq((const char *)whole.data, (const char *)live.data);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_CLOSE, "jan", NULL), STATUS_OK);
    check_row(&writing, "jan", BATCH_CLOSED, 30, 0);
    check_everywhere(&writing, &whole);
    cr_assert_eq(put(&writing, "jan", 3, 0), FATE_DUPLICATE, "a known one is a duplicate");
    cr_assert_eq(put(&writing, "jan", 30, 0), FATE_BATCH_NOT_OPEN);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", &count), STATUS_OK);
    cr_assert_eq(count, 30);
    check_row(&writing, "jan", BATCH_REVERTED, 30, 30);
    check_everywhere(&writing, &live);
    check_row(&writing, "jan", BATCH_REVERTED, 30, 30);
    cr_assert_eq(put(&writing, "jan", 3, 0), FATE_BATCH_NOT_OPEN);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan2", NULL), STATUS_OK);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(put(&writing, "jan2", i, i % 7 - 3), FATE_STORED, "the same ids");
    cr_assert_eq(put(&writing, "jan2", 3, 0), FATE_DUPLICATE);
    cr_assert_eq(put(&writing, "jan2", 3, 1), FATE_CONFLICT);
    check_everywhere(&writing, &whole);
    cr_assert_eq(put(&writing, "jan2", 3, 0), FATE_DUPLICATE);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan2", &count), STATUS_OK);
    cr_assert_eq(count, 30, "it closes by itself");
    check_everywhere(&writing, &live);
    writing_close(&writing);
    writing_end(&writing);
}

struct refusal_row {
    enum backfill_act act;
    const char *id;
    enum status status;
};

static const struct refusal_row refusal_rows[] = {
    {BACKFILL_CLOSE,  "b", STATUS_NOT_FOUND},
    {BACKFILL_REVERT, "b", STATUS_NOT_FOUND},
    {BACKFILL_OPEN,   "b", STATUS_OK       },
    {BACKFILL_OPEN,   "b", STATUS_EXISTS   },
    {BACKFILL_CLOSE,  "b", STATUS_OK       },
    {BACKFILL_CLOSE,  "b", STATUS_EXISTS   },
    {BACKFILL_OPEN,   "b", STATUS_EXISTS   },
    {BACKFILL_REVERT, "b", STATUS_OK       },
    {BACKFILL_REVERT, "b", STATUS_EXISTS   },
    {BACKFILL_CLOSE,  "b", STATUS_EXISTS   },
    {BACKFILL_OPEN,   "b", STATUS_EXISTS   },
    {BACKFILL_OPEN,   "c", STATUS_OK       },
    {BACKFILL_REVERT, "c", STATUS_OK       },
    {BACKFILL_OPEN,   "",  STATUS_INVALID  },
};

Test(backfill, each_step_once_and_in_order)
{
    struct writing writing;
    begin(&writing);
    writing_open(&writing, NULL);
    cr_assert_eq(put(&writing, "b", 1, 1), FATE_BATCH_NOT_OPEN);
    for (size_t i = 0; i < sizeof refusal_rows / sizeof refusal_rows[0]; i++) {
        const struct refusal_row *row = &refusal_rows[i];
        enum status status = writing_backfill(&writing, row->act, row->id, NULL);
        cr_assert_eq(status, row->status, "row %zu: %s", i, status_name(status));
    }
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}

static const char *
fault_of(enum backfill_act act, struct bytes id, struct bytes who, struct bytes why)
{
    const struct backfill backfill = {act, id, who, why};
    return backfill_fault(&backfill);
}

Test(backfill, says_what_is_wrong_with_a_request)
{
    static const uint8_t long_text[ENTRY_WHY_MAX + 1];
    const struct bytes a = bytes_text("a");
    const struct bytes none = bytes_of(NULL, 0);
    cr_assert_null(fault_of(BACKFILL_OPEN, a, a, none));
    cr_assert_null(fault_of(BACKFILL_CLOSE, bytes_of(long_text, EVENT_BATCH_MAX), a, a));
    cr_assert_null(fault_of(BACKFILL_REVERT, a, bytes_of(long_text, ENTRY_WHO_MAX), a));
    cr_assert_not_null(fault_of(BACKFILL_OPEN, none, a, a));
    cr_assert_not_null(fault_of(BACKFILL_OPEN, bytes_of(long_text, EVENT_BATCH_MAX + 1), a, a));
    cr_assert_not_null(fault_of(BACKFILL_OPEN, a, none, a));
    cr_assert_not_null(fault_of(BACKFILL_OPEN, a, bytes_of(long_text, ENTRY_WHO_MAX + 1), a));
    cr_assert_not_null(fault_of(BACKFILL_CLOSE, a, a, bytes_of(long_text, ENTRY_WHY_MAX + 1)));
    cr_assert_not_null(fault_of(BACKFILL_REVERT, a, a, none));
    cr_assert_not_null(fault_of((enum backfill_act)0, a, a, a));
    cr_assert_not_null(fault_of((enum backfill_act)4, a, a, a));
}

// A request, as another process sends it: it comes back whole or not at all.
Test(backfill, goes_over_the_read_socket)
{
    struct buffer frame = {0};
    struct control_request got;
    const struct control_request request = {
        .kind = CONTROL_BACKFILL,
        .backfill =
            {
                       .act = BACKFILL_REVERT,
                       .id = bytes_text("jan"),
                       .who = bytes_text("ann"),
                       .why = bytes_text("wrong unit"),
                       },
    };
    control_request_write(&request, &frame);
    cr_assert_not(buffer_failed(&frame));
    const size_t size = frame.size - MEMORY_FRAME_HEAD;
    for (size_t cut = 0; cut <= size; cut++) {
        struct bytes body = bytes_of(frame.data + MEMORY_FRAME_HEAD, cut);
        cr_assert_eq(control_request_read(body, &got), cut == size, "%zu bytes", cut);
    }
    cr_assert_eq(got.kind, CONTROL_BACKFILL);
    cr_assert_eq(got.backfill.act, BACKFILL_REVERT);
    cr_assert(bytes_equal(got.backfill.id, request.backfill.id));
    cr_assert(bytes_equal(got.backfill.who, request.backfill.who));
    cr_assert(bytes_equal(got.backfill.why, request.backfill.why));
    buffer_done(&frame);
}

// Not as the process that writes: a batch that nobody has open is opened by whoever asks.
Test(backfill, is_opened_without_a_writer_and_found_by_the_next)
{
    struct writing writing;
    struct control_answer answer;
    struct error error = {0};
    begin(&writing);
    struct control_request request = {
        .kind = CONTROL_BACKFILL,
        .backfill = {.act = BACKFILL_OPEN, .id = bytes_text("b"), .who = bytes_text("ann")},
    };
    succeed(control_do(writing.dir, &request, &answer, &error), &error);
    check_row(&writing, "b", BATCH_OPEN, 0, 0);
    writing_open(&writing, NULL);
    cr_assert_eq(put(&writing, "b", 1, 1), FATE_STORED);
    request.backfill.act = BACKFILL_REVERT;
    cr_assert_eq(control_do(writing.dir, &request, &answer, &error), STATUS_INVALID, "no why");
    request.backfill.why = bytes_text("a test");
    succeed(control_do(writing.dir, &request, &answer, &error), &error);
    cr_assert_eq(answer.number, 1);
    cr_assert_eq(control_do(writing.dir, &request, &answer, &error), STATUS_EXISTS);
    writing_close(&writing);
    writing_end(&writing);
}

static void
correct(struct writing *writing, int i, int64_t n, bool is_amend)
{
    struct error error = {0};
    struct event_bytes event;
    uint64_t block = 0;
    make(&event, "", i, n);
    struct correction correction = {
        .kind = is_amend ? ENTRY_AMEND : ENTRY_CANCEL,
        .subject = event.event.subject,
        .id = event.event.id,
        .who = bytes_text("ann"),
        .why = bytes_text("a slip"),
        .has_properties = is_amend,
    };
    if (is_amend) {
        correction.properties = event.event.properties[0];
        correction.properties_count = event.event.properties_count;
    }
    succeed(ledger_correct(writing->ledger, &correction, &block, &error), &error);
}

// Amended ones are taken out as they are now, cancelled ones stay so and stay known.
Test(backfill, a_revert_takes_out_what_counts_by_then)
{
    struct writing writing;
    scoped(buffer_done) struct buffer live = {0};
    uint64_t count = 0;
    begin(&writing);
    writing_open(&writing, NULL);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(put(&writing, "", 100 + i, 2), FATE_STORED);
    answers(&writing, 0, &live);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "feb", NULL), STATUS_OK);
    for (int i = 0; i < 12; i++)
        cr_assert_eq(put(&writing, i % 2 == 0 ? "jan" : "feb", i, 50 + i), FATE_STORED);
    correct(&writing, 2, 0, false);
    correct(&writing, 4, 77, true);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_CLOSE, "jan", NULL), STATUS_OK);
    correct(&writing, 4, 99, true);
    correct(&writing, 6, -5, true);
    correct(&writing, 6, 0, false);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", &count), STATUS_OK);
    cr_assert_eq(count, 4, "six, less two that were cancelled");
    check_row(&writing, "jan", BATCH_REVERTED, 6, 4);
    check_row(&writing, "feb", BATCH_OPEN, 6, 0);
    cr_assert_eq(put(&writing, "feb", 2, 52), FATE_DUPLICATE, "cancelled by itself");
    cr_assert_eq(put(&writing, "feb", 4, 1), FATE_STORED, "free, whatever it was");
    correct(&writing, 4, 3, true);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "feb", &count), STATUS_OK);
    cr_assert_eq(count, 7);
    check_everywhere(&writing, &live);
    writing_close(&writing);
    writing_end(&writing);
}

Test(backfill, events_without_an_id_are_taken_out_too)
{
    struct writing writing;
    scoped(buffer_done) struct buffer none = {0};
    struct event_bytes event;
    uint64_t count = 0;
    begin(&writing);
    writing_open(&writing, NULL);
    answers(&writing, 0, &none);
    for (int round = 0; round < 2; round++) {
        const char *batch = round == 0 ? "a" : "b";
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, batch, NULL), STATUS_OK);
        for (int i = 0; i < 10; i++) {
            make(&event, batch, i % 2, 1);
            event.event.id = bytes_of(NULL, 0);
            event.event.chunk = bytes_text(i < 5 ? "" : "chunk");
            event.event.chunk_position = (uint32_t)i;
            cr_assert_eq(writing_fate(&writing, &event.event), FATE_STORED);
        }
        cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, batch, &count), STATUS_OK);
        cr_assert_eq(count, 10);
    }
    check_everywhere(&writing, &none);
    writing_close(&writing);
    writing_end(&writing);
}

Test(backfill, usage_at_a_cut_before_the_revert_stays)
{
    struct writing writing;
    struct error error = {0};
    scoped(buffer_done) struct buffer at_first = {0};
    scoped(buffer_done) struct buffer at_second = {0};
    uint32_t cuts[2] = {0};
    begin(&writing);
    writing_open(&writing, NULL);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(put(&writing, "jan", i, i), FATE_STORED);
    succeed(ledger_cut(writing.ledger, writing_now_ns - DAY_NS, &cuts[0], &error), &error);
    answers(&writing, cuts[0], &at_first);
    cr_assert_not_null(strstr((const char *)at_first.data, "sum s0"));
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_OK);
    succeed(ledger_cut(writing.ledger, writing_now_ns - DAY_NS, &cuts[1], &error), &error);
    for (int i = 0; i < 2; i++) {
        check_answers(&writing, cuts[0], &at_first);
        answers(&writing, cuts[1], &at_second);
        cr_assert_null(strstr((const char *)at_second.data, "sum s0"));
        writing_close(&writing);
        check_answers(&writing, cuts[0], &at_first);
        check_answers(&writing, cuts[1], &at_second);
        operating_verify(writing.dir);
        writing_open(&writing, NULL);
    }
    writing_close(&writing);
    writing_end(&writing);
}

// --- in many parts, interrupted ---

enum { MANY = 3000, PART = 20 };

static const struct ledger_options small = {
    .dedup_hot_max = 300,
    .group_events_max = PART,
    .tail_max_bytes = 4096,
    .idle_flush_ns = 1000000,
};

static void
put_many(struct writing *writing, const char *batch, enum fate fate)
{
    uint64_t before = writing_count(writing, fate);
    for (int i = 0; i < MANY; i++) {
        struct event_bytes event;
        make(&event, batch, i, i % 11);
        (void)writing_put(writing, &event.event);
    }
    writing_wait(writing);
    cr_assert_eq(writing_count(writing, fate) - before, MANY);
}

static void
wait_reverted(const struct writing *writing, const char *id)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    for (;;) {
        scoped(arena_done) struct arena arena = {0};
        const struct backfill_row row = row_of(writing, id, &arena);
        if (row.state == BATCH_REVERTED)
            return;
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the revert does not go on");
    }
}

// The child dies when so many events are taken out: what is left is done by the next start, before
// any other change, and by nothing else. Returns how many were taken out when it died.
static uint64_t
die_in_revert(struct writing *writing, uint64_t taken)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        writing_open(writing, &small);
        (void)writing_backfill(writing, BACKFILL_REVERT, "jan", NULL);
        _exit(0);
    }
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    for (uint64_t now = 0; now < taken;) {
        scoped(arena_done) struct arena arena = {0};
        now = row_of(writing, "jan", &arena).taken;
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "the revert does not begin");
    }
    cr_assert_eq(kill(child, SIGKILL), 0);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    scoped(arena_done) struct arena arena = {0};
    return row_of(writing, "jan", &arena).taken;
}

Test(backfill, a_revert_that_was_killed_goes_on_at_the_next_start, .timeout = 300)
{
    struct writing writing;
    scoped(buffer_done) struct buffer none = {0};
    scoped(buffer_done) struct buffer whole = {0};
    begin(&writing);
    writing_open(&writing, &small);
    answers(&writing, 0, &none);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    put_many(&writing, "jan", FATE_STORED);
    answers(&writing, 0, &whole);
    writing_close(&writing);
    uint64_t taken = 0;
    for (int deaths = 0; deaths < 5 && taken < MANY; deaths++) {
        taken = die_in_revert(&writing, taken + 1);
        cr_assert(deaths > 0 || taken < MANY, "it was over before it died");
        operating_verify(writing.dir);
    }
    writing_open(&writing, &small);
    wait_reverted(&writing, "jan");
    check_row(&writing, "jan", BATCH_REVERTED, MANY, MANY);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_EXISTS);
    check_answers(&writing, 0, &none);
    writing_close(&writing);
    operating_verify(writing.dir);
    check_answers(&writing, 0, &none);
    writing_open(&writing, &small);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "feb", NULL), STATUS_OK);
    put_many(&writing, "feb", FATE_STORED);
    put_many(&writing, "feb", FATE_DUPLICATE);
    check_answers(&writing, 0, &whole);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}

// A stop leaves it where it is; a change that is asked for after the next start comes after it.
Test(backfill, a_cut_never_lies_within_a_revert, .timeout = 300)
{
    struct writing writing;
    struct error error = {0};
    scoped(buffer_done) struct buffer none = {0};
    uint32_t cut = 0;
    begin(&writing);
    writing_open(&writing, &small);
    answers(&writing, 0, &none);
    cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
    put_many(&writing, "jan", FATE_STORED);
    writing_close(&writing);
    cr_assert_lt(die_in_revert(&writing, 1), MANY, "it was over before it died");
    writing_open(&writing, &small);
    succeed(ledger_cut(writing.ledger, writing_now_ns - DAY_NS, &cut, &error), &error);
    check_row(&writing, "jan", BATCH_REVERTED, MANY, MANY);
    check_answers(&writing, cut, &none);
    writing_close(&writing);
    operating_verify(writing.dir);
    writing_end(&writing);
}

// --- beyond the window of dedup ---

static void
put_expired(struct writing *writing, int first, int count)
{
    int64_t deadline_ns = clock_monotonic_ns() + 60 * SECOND_NS;
    for (int i = first; writing_metric(writing, "tally_ledger_dedup_entries") > count; i++) {
        struct event_bytes event;
        char id[16];
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "identities do not expire");
        (void)snprintf(id, sizeof id, "x%d", i);
        event_make(&event, i % 2 == 0 ? "s0" : "s1", id, 1);
        (void)writing_put(writing, &event.event);
        writing_wait(writing);
    }
}

// The identities have left dedup: the log says that they are free, both when the revert is older
// than the window and when it is not.
Test(backfill, identities_older_than_the_window_are_free_too, .timeout = 300)
{
    for (int revert_first = 0; revert_first < 2; revert_first++) {
        struct writing writing;
        begin(&writing);
        writing_open(&writing, &small);
        int64_t then_ns = writing_now_ns;
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "jan", NULL), STATUS_OK);
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "old", NULL), STATUS_OK);
        put_many(&writing, "jan", FATE_STORED);
        for (int i = 0; i < 50; i++)
            cr_assert_eq(put(&writing, "old", MANY + i, i % 11), FATE_STORED);
        if (revert_first)
            cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_OK);
        writing_now_ns += 40 * DAY_NS;
        put_expired(&writing, 0, MANY / 3);
        if (!revert_first)
            cr_assert_eq(writing_backfill(&writing, BACKFILL_REVERT, "jan", NULL), STATUS_OK);
        cr_assert_eq(writing_backfill(&writing, BACKFILL_OPEN, "feb", NULL), STATUS_OK);
        int64_t now_ns = writing_now_ns;
        writing_now_ns = then_ns;  // of the events; the clock may go back
        put_many(&writing, "feb", FATE_STORED);
        put_many(&writing, "feb", FATE_DUPLICATE);
        for (int i = 0; i < 50; i++)
            cr_assert_eq(put(&writing, "feb", MANY + i, i % 11), FATE_DUPLICATE, "not reverted");
        writing_now_ns = now_ns;
        writing_close(&writing);
        operating_verify(writing.dir);
        writing_now_ns = then_ns;
        writing_end(&writing);
    }
}
