#include "ledger/usage_answer.h"

#include "base/assert.h"
#include "base/clock.h"
#include "ledger/usage_cut.h"

enum {
    ATTEMPTS_MAX = 100,
    ATTEMPTS_BEFORE_HOLD = 3,  // then a long walk keeps its snapshot rather than never end
};

static void
reader_hang_up(struct reader *reader)
{
    memory_client_close(reader->client);
    reader->client = NULL;
}

// False: answer without tallyd. A connection that tallyd closed (it was restarted) is made anew,
// once.
static bool
answer_ask(struct shard_answer *answer, struct memory_reply *out)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct reader *reader = answer->reader;
    const struct memory_request request = {
        .shard = answer->scan.view->shard,
        .meter_id = plan->meter->id,
        // A list comes out of one answer about all, so that it shows one moment.
        .subject = plan->subjects_count == 1 ? plan->subjects[0] : bytes_of(NULL, 0),
        .from_s = plan->from_s,
        .to_s = plan->to_s,
    };
    bool was_connected = reader->client != NULL;
    struct error error;
    for (int i = 0; i < 2 && answer->may_ask; i++) {
        if (reader->client == NULL && memory_client_open(reader->dir, &reader->client, &error))
            break;
        enum status status = memory_ask(reader->client, &request, out, &error);
        if (!status)
            return true;
        if (status == STATUS_FULL)
            break;
        reader_hang_up(reader);
        if (status != STATUS_CLOSED || !was_connected)
            break;
    }
    answer->may_ask = false;
    return false;
}

static enum status
answer_head(
    const struct shard_answer *answer, uint64_t position, uint64_t *out, struct error *error)
{
    scoped(tx_done) struct tx log = tx_read(answer->scan.view->log);
    uint64_t head = 0;
    enum status status = log_head(&log, &head, error);
    if (!status && head < position)
        status = error_set(
            error,
            STATUS_CORRUPT,
            "the cells are at block %llu, the log ends at %llu",
            (unsigned long long)position,
            (unsigned long long)head);
    if (status)
        return error_prefix(error, "shard %u", answer->scan.view->shard);
    *out = head;
    return STATUS_OK;
}

enum status
usage_answer_cut(struct shard_answer *answer, struct error *error)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct cut cut;
    char time[CLOCK_TEXT_MAX];
    if (plan->at_cut == 0)
        return STATUS_OK;
    enum status status = usage_cut_find(answer->scan.view, plan->at_cut, &cut, error);
    if (status)
        return status;
    if (plan->to_ns <= cut.time_s * SECOND_NS) {
        answer->scan.cut_block = cut.block;
        return STATUS_OK;
    }
    (void)clock_print(cut.time_s * SECOND_NS, time);
    return error_set(
        error,
        STATUS_INVALID,
        "cut %u sealed what ended until %s: usage at it cannot go further",
        plan->at_cut,
        time);
}

enum status
usage_answer_has_cut(struct reader *reader, uint32_t number, struct error *error)
{
    enum status status = STATUS_OK;
    for (uint32_t shard = 0; shard < reader->shards && !status && number > 0; shard++) {
        struct cut cut;
        status = shard_view_open(reader->dir, shard, &reader->views[shard], error);
        if (!status)
            status = usage_cut_find(&reader->views[shard], number, &cut, error);
    }
    return status;
}

// Without cells, or when too much is touched.
static bool
answer_is_log_alone(const struct shard_answer *answer, const struct usage_rest *rest)
{
    return rest->tail_from == 1 || answer->needs_log;
}

enum status
usage_answer_log(struct shard_answer *answer, const struct usage_rest *rest, struct error *error)
{
    const struct usage_scan *scan = &answer->scan;
    const uint64_t cut_block = scan->cut_block;
    struct usage_blocks blocks = {.first = 1, .part = USAGE_ALL};
    uint64_t head = rest->head;
    enum status status = head == 0 ? answer_head(answer, scan->position, &head, error) : STATUS_OK;
    if (status)
        return status;
    blocks.head = cut_block > 0 && head >= cut_block ? cut_block - 1 : head;
    blocks.last = blocks.head;
    if (answer_is_log_alone(answer, rest))
        return usage_scan_log(scan, &blocks, error);
    blocks.part = USAGE_UNTOUCHED;
    blocks.last = rest->old_until > 0 ? rest->old_until - 1 : 0;
    blocks.last = blocks.last < blocks.head ? blocks.last : blocks.head;
    status = usage_scan_log(scan, &blocks, error);
    blocks.last = blocks.head;
    blocks.first = rest->tail_from;
    bool is_tail = !status && rest->tail_from > 0;
    if (is_tail)
        status = usage_scan_log(scan, &blocks, error);
    // The tail goes only when cells have it: those on disk have gone on, and the log with them.
    if (status == STATUS_NOT_FOUND && is_tail)
        return error_set(error, STATUS_BUSY, "blocks were deleted meanwhile");
    blocks.first = 1;
    blocks.part = USAGE_TOUCHED;
    if (!status && answer->touched.count > 0)
        status = usage_scan_log(scan, &blocks, error);
    return status;
}

static enum status
answer_reply(struct shard_answer *answer, struct memory_reply *reply, struct error *error)
{
    const struct usage_plan *plan = answer->scan.plan;
    struct cell_key key;
    struct cell_group group;
    struct cell_state state;
    while (memory_reply_next(reply, plan->meter->aggregation, &key, &group, &state)) {
        bool has_groups =
            group.count == plan->meter->dimensions_count || (state.flags & CELL_CAPPED) != 0;
        bool is_ours = key.meter_id == plan->meter->id && key.start_s >= plan->from_s &&
                       key.start_s < plan->to_s && has_groups;
        if (!is_ours)
            return error_set(error, STATUS_CORRUPT, "tallyd answered another question");
        if (usage_plan_wants(plan, key.subject))
            (void)usage_rows_cell(
                answer->scan.rows, &key, key.start_s + QUARTER_HOUR_S, &group, &state);
    }
    if (cursor_failed(&reply->cells))
        return error_set(error, STATUS_CORRUPT, "tallyd's answer is damaged");
    return STATUS_OK;
}

enum status
usage_answer_memory(
    struct shard_answer *answer, uint64_t live_from, struct usage_rest *out, struct error *error)
{
    uint64_t position = answer->scan.position;
    struct memory_reply reply = {0};
    *out = (struct usage_rest){.tail_from = 1};
    if (!answer->scan.plan->is_aligned || answer->needs_log)
        return STATUS_OK;
    bool has_reply = answer_ask(answer, &reply);
    if (has_reply && (reply.flushed != position || reply.flushed_from != live_from))
        return error_set(error, STATUS_BUSY, "the cells were flushed meanwhile");
    uint64_t covered_from = has_reply ? reply.live_from : live_from;
    if (covered_from == 0)
        return STATUS_OK;
    out->has_cells = live_from > 0;
    out->old_until = covered_from;
    out->tail_from = covered_from > position ? covered_from : position + 1;
    if (!has_reply)
        return STATUS_OK;
    out->tail_from = 0;
    out->head = reply.head;
    return answer_reply(answer, &reply, error);
}

enum status
usage_answer_snapshot(
    struct shard_answer *answer, struct tx *state, uint64_t *out_live_from, struct error *error)
{
    struct usage_scan *scan = &answer->scan;
    enum status status = state_position(state, &scan->position, error);
    if (!status)
        status = state_live_from(state, scan->plan->meter->id, &scan->live_from, error);
    *out_live_from = scan->live_from;
    return status ? error_prefix(error, "shard %u", scan->view->shard) : STATUS_OK;
}

// STATUS_BUSY: try again on a new snapshot.
static enum status
answer_try(struct shard_answer *answer, struct error *error)
{
    struct usage_scan *scan = &answer->scan;
    struct usage_rest rest = {.tail_from = 1};
    uint64_t live_from = 0;
    scan->position = 0;
    if (scan->view->state == NULL)
        return usage_answer_log(answer, &rest, error);
    scoped(tx_done) struct tx state = tx_read(scan->view->state);
    enum status status = usage_answer_snapshot(answer, &state, &live_from, error);
    if (!status)
        status = usage_answer_memory(answer, live_from, &rest, error);
    if (!status && rest.has_cells)
        status = usage_scan_cells(scan, &state, error);
    tx_done(&state);
    return status ? status : usage_answer_log(answer, &rest, error);
}

enum status
usage_answer_shard(
    struct reader *reader,
    const struct usage_plan *plan,
    uint32_t shard,
    struct usage_rows *rows,
    struct error *error)
{
    struct shard_view *view = &reader->views[shard];
    struct arena *arena = rows->arena;
    arena_reset(arena);
    *rows = usage_rows_in(arena, plan);
    enum status status = shard_view_open(reader->dir, shard, view, error);
    if (status || view->log == NULL || plan->from_ns == plan->to_ns)
        return status;
    struct shard_answer answer = {
        .reader = reader,
        .scan = {.plan = plan, .view = view, .rows = rows},
        .may_ask = true,
    };
    status = usage_answer_cut(&answer, error);
    if (status)
        return status;
    // The last attempt asks nobody but the log, which has the answer whatever is flushed.
    for (int attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        arena_reset(arena);
        *rows = usage_rows_in(arena, plan);
        rows->touched = &answer.touched;
        answer.touched.has_grown = false;
        answer.scan.holds_snapshot = attempt > ATTEMPTS_BEFORE_HOLD;
        answer.needs_log = answer.needs_log || attempt == ATTEMPTS_MAX;
        status = answer_try(&answer, error);
        answer.scan.is_narrow = answer.scan.is_narrow || rows->lacks_groups;
        if (!status && (rows->needs_log || answer.touched.is_full))
            answer.needs_log = true;
        else if (status != STATUS_BUSY && (status || !answer.touched.has_grown))
            break;
    }
    rows->touched = NULL;
    usage_touched_done(&answer.touched);
    return status;
}
