#include "ledger/control_wire.h"

#include "base/assert.h"

#include <stdio.h>

bool
control_is_request(struct bytes body)
{
    return body.size >= 2 && body.data[1] != 0;
}

static void
frame_end(struct buffer *out, size_t at)
{
    if (buffer_failed(out))
        return;
    uint32_t size = (uint32_t)(out->size - at - MEMORY_FRAME_HEAD);
    memcpy(out->data + at, &size, sizeof size);
}

void
control_request_write(const struct control_request *request, struct buffer *out)
{
    size_t at = out->size;
    buffer_u32le(out, 0);
    buffer_u8(out, MEMORY_VERSION);
    buffer_u8(out, (uint8_t)request->kind);
    buffer_u16le(out, 0);
    switch (request->kind) {
    case CONTROL_CUT: buffer_u64le(out, (uint64_t)request->time_ns); break;
    }
    frame_end(out, at);
}

bool
control_request_read(struct bytes body, struct control_request *out)
{
    struct cursor in = cursor_over(body);
    struct control_request request = {0};
    uint8_t version = cursor_u8(&in);
    uint8_t kind = cursor_u8(&in);
    uint16_t zero = cursor_u16le(&in);
    if (cursor_failed(&in) || version != MEMORY_VERSION || zero != 0 || kind != CONTROL_CUT)
        return false;
    request.kind = CONTROL_CUT;
    request.time_ns = (int64_t)cursor_u64le(&in);
    if (cursor_failed(&in) || cursor_left(&in) > 0)
        return false;
    *out = request;
    return true;
}

void
control_answer_write(
    const struct control_answer *answer, const struct error *error, struct buffer *out)
{
    size_t at = out->size;
    size_t text_size = error->status ? strlen(error->text) : 0;
    buffer_u32le(out, 0);
    buffer_u8(out, MEMORY_VERSION);
    buffer_u8(out, (uint8_t)error->status);
    buffer_u16le(out, 0);
    buffer_u32le(out, answer->number);
    buffer_u16le(out, (uint16_t)text_size);
    buffer_put(out, error->text, text_size);
    frame_end(out, at);
}

bool
control_answer_read(struct bytes body, struct control_answer *out, struct error *error)
{
    struct cursor in = cursor_over(body);
    uint8_t version = cursor_u8(&in);
    uint8_t status = cursor_u8(&in);
    (void)cursor_u16le(&in);
    struct control_answer answer = {.number = cursor_u32le(&in)};
    uint16_t text_size = cursor_u16le(&in);
    struct bytes text = cursor_take(&in, text_size);
    if (cursor_failed(&in) || cursor_left(&in) > 0 || version != MEMORY_VERSION ||
        status > STATUS_IO || text_size >= sizeof error->text)
        return false;
    error->status = (enum status)status;
    (void)bytes_to_text(text, error->text, sizeof error->text);
    *out = answer;
    return true;
}
