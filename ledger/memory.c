#include "ledger/memory.h"

#include "base/assert.h"
#include "ledger/memory_wire.h"

// What is answered is one consistent moment between two groups: `flushed`, `head` and the cells in
// between. The reply is made as a whole frame, so that the serve thread
// only sends it.

void
memory_request_write(const struct memory_request *request, struct buffer *out)
{
    must(request->subject.size <= 255);
    buffer_u32le(out, (uint32_t)(MEMORY_REQUEST_MIN + request->subject.size));
    buffer_u8(out, MEMORY_VERSION);
    buffer_u8(out, (uint8_t)request->kind);
    buffer_u16le(out, 0);
    buffer_u32le(out, request->shard);
    buffer_u32le(out, request->meter_id);
    buffer_u64le(out, (uint64_t)request->from_s);
    buffer_u64le(out, (uint64_t)request->to_s);
    buffer_u8(out, (uint8_t)request->subject.size);
    buffer_bytes(out, request->subject);
}

bool
memory_request_read(struct bytes body, struct memory_request *out)
{
    if (body.data == NULL || body.size < MEMORY_REQUEST_MIN)
        return false;
    struct cursor in = cursor_over(body);
    uint32_t version = cursor_u32le(&in);  // the kind, and two zeros
    uint32_t kind = version >> 8;
    struct memory_request request = {.shard = cursor_u32le(&in), .meter_id = cursor_u32le(&in)};
    request.kind = kind == MEMORY_QUOTA ? MEMORY_QUOTA : MEMORY_CELLS;
    request.from_s = (int64_t)cursor_u64le(&in);
    request.to_s = (int64_t)cursor_u64le(&in);
    uint8_t subject_size = body.data[MEMORY_REQUEST_MIN - 1];
    (void)cursor_take(&in, sizeof subject_size);
    request.subject = cursor_take(&in, subject_size);
    if (cursor_failed(&in) || cursor_left(&in) != 0 || (version & UINT8_MAX) != MEMORY_VERSION ||
        kind != (uint32_t)request.kind || request.from_s > request.to_s)
        return false;
    *out = request;
    return true;
}

struct answer {
    struct buffer *out;
    struct arena scratch;  // of one cell
    uint32_t cells_count;
};

static void
u32le_set(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, sizeof value);
}

static bool
answer_cell(void *context, const struct cell_view *cell)
{
    struct answer *answer = context;
    struct buffer *out = answer->out;
    struct cell_state state = *cell->state;
    uint8_t key[CELL_KEY_MAX];
    size_t key_size = cell_key_write(&cell->key, key);
    arena_reset(&answer->scratch);
    if (cell->aggregation == AGGREGATION_UNIQUE_COUNT)
        cell_unique_list(&state.unique, &answer->scratch);
    buffer_u16le(out, (uint16_t)key_size);
    size_t size_offset = out->size;
    buffer_u32le(out, 0);
    buffer_put(out, key, key_size);
    size_t value_offset = out->size;
    cell_value_write(bytes_of(key, key_size), cell->aggregation, &state, cell->group, out);
    if (buffer_failed(out))
        return false;
    u32le_set(out->data + size_offset, (uint32_t)(out->size - value_offset));
    answer->cells_count++;
    return true;
}

static void
answer_head(
    struct buffer *out,
    enum memory_result result,
    const struct memory_view *view,
    uint32_t meter_id)
{
    buffer_u32le(out, 0);  // the frame's size, set at the end
    buffer_u8(out, MEMORY_VERSION);
    buffer_u8(out, (uint8_t)result);
    buffer_u16le(out, 0);
    buffer_u64le(out, view->flushed);
    buffer_u64le(out, view->head);
    buffer_u64le(out, view->live_from(view->context, meter_id));
    buffer_u64le(out, view->flushed_from(view->context, meter_id));
    buffer_u32le(out, 0);  // the number of cells, set at the end
}

static void
answer_quota(
    struct buffer *out, const struct memory_request *request, const struct memory_view *view)
{
    struct quota quota = {0};
    struct error error;
    enum status status = view->quota(view->quota_context, request, &quota, &error);
    enum memory_result result = MEMORY_RESULT_QUOTA;
    if (status)
        result = status == STATUS_NOT_FOUND ? MEMORY_RESULT_NOT_FOUND : MEMORY_RESULT_DAMAGED;
    answer_head(out, result, view, 0);
    if (status)
        return;
    buffer_u64le(out, (uint64_t)quota.from_s);
    buffer_u64le(out, (uint64_t)quota.to_s);
    for (int i = 0; i < 4; i++)
        buffer_u64le(out, quota.used.limbs[i]);
    buffer_u64le(out, (uint64_t)quota.limit.units);
    buffer_u64le(out, (uint64_t)((uint128)quota.limit.units >> 64));
    buffer_u8(out, quota.has_fired);
    buffer_u8(out, quota.is_complete);
}

bool
memory_quota_read(struct cursor in, struct quota *out)
{
    struct quota quota = {.from_s = (int64_t)cursor_u64le(&in)};
    quota.to_s = (int64_t)cursor_u64le(&in);
    for (int i = 0; i < 4; i++)
        quota.used.limbs[i] = cursor_u64le(&in);
    uint64_t low = cursor_u64le(&in);
    quota.limit.units = (int128)((uint128)cursor_u64le(&in) << 64 | low);
    uint16_t flags = cursor_u16le(&in);
    quota.has_fired = (flags & UINT8_MAX) != 0;
    quota.is_complete = flags >> 8 != 0;
    if (cursor_failed(&in) || cursor_left(&in) != 0)
        return false;
    *out = quota;
    return true;
}

static void
answer_cells(
    struct answer *answer, const struct memory_request *request, const struct memory_view *view)
{
    const struct cells_range range = {
        .meter_id = request->meter_id,
        .subject = request->subject,
        .from_s = request->from_s,
        .to_s = request->to_s,
    };
    answer_head(answer->out, MEMORY_RESULT_CELLS, view, request->meter_id);
    if (view->live_from(view->context, request->meter_id) != 0)
        cells_each(view->cells, &range, answer_cell, answer);
    if (view->live_from(view->context, request->meter_id) != 0 && view->frozen != NULL)
        cells_each(view->frozen, &range, answer_cell, answer);
}

void
memory_answer(struct memory_question *question, const struct memory_view *view)
{
    const struct memory_request *request = &question->request;
    struct buffer *out = &question->reply;
    must(view->flushed <= view->head);
    struct answer answer = {.out = out};
    buffer_reset(out);
    if (request->kind == MEMORY_QUOTA)
        answer_quota(out, request, view);
    else
        answer_cells(&answer, request, view);
    arena_done(&answer.scratch);
    if (buffer_failed(out)) {
        answer.cells_count = 0;
        buffer_reset(out);
        answer_head(out, MEMORY_RESULT_TOO_LARGE, view, request->meter_id);
    }
    if (!buffer_failed(out)) {
        must(out->size >= MEMORY_FRAME_HEAD + MEMORY_REPLY_MIN);
        u32le_set(out->data, (uint32_t)(out->size - MEMORY_FRAME_HEAD));
        u32le_set(
            out->data + MEMORY_FRAME_HEAD + MEMORY_REPLY_MIN - sizeof(uint32_t),
            answer.cells_count);
    }
    // A reply that is still failed has no memory at all: the serve thread closes that connection.
    struct waker *asker = question->asker;
    flag_set(&question->is_answered, 1);
    // From here on the question is the serve thread's again.
    if (asker != NULL)
        waker_wake(asker);
}

bool
memory_reply_read(struct bytes body, struct memory_reply *out, enum memory_result *out_result)
{
    if (body.data == NULL || body.size < MEMORY_REPLY_MIN)
        return false;
    struct cursor in = cursor_over(body);
    uint16_t version = cursor_u16le(&in);  // and the result in its high byte
    uint8_t result = (uint8_t)(version >> 8);
    (void)cursor_u16le(&in);
    struct memory_reply reply = {.flushed = cursor_u64le(&in)};
    reply.head = cursor_u64le(&in);
    reply.live_from = cursor_u64le(&in);
    reply.flushed_from = cursor_u64le(&in);
    reply.cells_count = cursor_u32le(&in);
    if (cursor_failed(&in) || (version & UINT8_MAX) != MEMORY_VERSION ||
        result > MEMORY_RESULT_DAMAGED)
        return false;
    reply.cells = in;
    *out = reply;
    *out_result = (enum memory_result)result;
    return true;
}

bool
memory_reply_next(
    struct memory_reply *reply,
    enum aggregation aggregation,
    struct cell_key *out_key,
    struct cell_group *out_group,
    struct cell_state *out_state)
{
    if (reply->cells_count == 0)
        return false;
    uint16_t key_size = cursor_u16le(&reply->cells);
    uint32_t value_size = cursor_u32le(&reply->cells);
    struct bytes key = cursor_take(&reply->cells, key_size);
    struct bytes value = cursor_take(&reply->cells, value_size);
    if (cursor_failed(&reply->cells) || !cell_key_read(key, out_key) ||
        cell_value_read(key, value, aggregation, out_state, out_group) != STATUS_OK) {
        reply->cells.failed = true;
        return false;
    }
    reply->cells_count--;
    return true;
}
