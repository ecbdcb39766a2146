#include "ledger/control_wire.h"

#include "base/assert.h"

#include <stdio.h>

bool
control_is_request(struct bytes body)
{
    return body.size >= 2 && body.data[1] != MEMORY_CELLS && body.data[1] != MEMORY_QUOTA;
}

static void
frame_end(struct buffer *out, size_t at)
{
    if (buffer_failed(out))
        return;
    uint32_t size = (uint32_t)(out->size - at - MEMORY_FRAME_HEAD);
    memcpy(out->data + at, &size, sizeof size);
}

enum { HAS_TIME = 1, HAS_VALUE = 2, HAS_PROPERTIES = 4 };

// Sizes were checked: correction_fault finds none.
static void
correction_write(const struct correction *correction, struct buffer *out)
{
    uint8_t has = (uint8_t)((correction->has_time ? HAS_TIME : 0) |
                            (correction->has_value ? HAS_VALUE : 0) |
                            (correction->has_properties ? HAS_PROPERTIES : 0));
    must(correction_fault(correction) == NULL);
    buffer_u8(out, (uint8_t)correction->kind);
    buffer_u8(out, has);
    buffer_u8(out, (uint8_t)correction->subject.size);
    buffer_u8(out, (uint8_t)correction->source.size);
    buffer_u8(out, (uint8_t)correction->id.size);
    buffer_u8(out, (uint8_t)correction->who.size);
    buffer_u16le(out, (uint16_t)correction->why.size);
    buffer_u64le(out, (uint64_t)correction->time_ns);
    buffer_put(out, &correction->value.units, sizeof correction->value.units);
    buffer_u32le(out, correction->properties_count);
    buffer_u32le(out, (uint32_t)correction->properties.size);
    buffer_bytes(out, correction->subject);
    buffer_bytes(out, correction->source);
    buffer_bytes(out, correction->id);
    buffer_bytes(out, correction->who);
    buffer_bytes(out, correction->why);
    buffer_bytes(out, correction->properties);
}

static void
correction_read(struct cursor *in, struct correction *out)
{
    out->kind = (enum entry_kind)cursor_u8(in);
    uint8_t has = cursor_u8(in);
    uint8_t subject_size = cursor_u8(in);
    uint8_t source_size = cursor_u8(in);
    uint8_t id_size = cursor_u8(in);
    uint8_t who_size = cursor_u8(in);
    uint16_t why_size = cursor_u16le(in);
    out->time_ns = (int64_t)cursor_u64le(in);
    struct bytes units = cursor_take(in, sizeof out->value.units);
    out->properties_count = cursor_u32le(in);
    uint32_t properties_size = cursor_u32le(in);
    out->subject = cursor_take(in, subject_size);
    out->source = cursor_take(in, source_size);
    out->id = cursor_take(in, id_size);
    out->who = cursor_take(in, who_size);
    out->why = cursor_take(in, why_size);
    out->properties = cursor_take(in, properties_size);
    if (cursor_failed(in))
        return;
    memcpy(&out->value.units, units.data, sizeof out->value.units);
    out->has_time = (has & HAS_TIME) != 0;
    out->has_value = (has & HAS_VALUE) != 0;
    out->has_properties = (has & HAS_PROPERTIES) != 0;
}

static void
backfill_write(const struct backfill *backfill, struct buffer *out)
{
    must(backfill_fault(backfill) == NULL);
    buffer_u8(out, (uint8_t)backfill->act);
    buffer_u8(out, (uint8_t)backfill->id.size);
    buffer_u8(out, (uint8_t)backfill->who.size);
    buffer_u8(out, 0);
    buffer_u16le(out, (uint16_t)backfill->why.size);
    buffer_bytes(out, backfill->id);
    buffer_bytes(out, backfill->who);
    buffer_bytes(out, backfill->why);
}

static void
backfill_read(struct cursor *in, struct backfill *out)
{
    out->act = (enum backfill_act)cursor_u8(in);
    uint8_t id_size = cursor_u8(in);
    uint8_t who_size = cursor_u8(in);
    if (cursor_u8(in) != 0)
        in->failed = true;
    uint16_t why_size = cursor_u16le(in);
    out->id = cursor_take(in, id_size);
    out->who = cursor_take(in, who_size);
    out->why = cursor_take(in, why_size);
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
    case CONTROL_CORRECT: correction_write(&request->correction, out); break;
    case CONTROL_BACKFILL: backfill_write(&request->backfill, out); break;
    }
    frame_end(out, at);
}

bool
control_request_read(struct bytes body, struct control_request *out)
{
    struct cursor in = cursor_over(body);
    struct control_request request = {.kind = CONTROL_CUT};
    uint8_t version = cursor_u8(&in);
    uint8_t kind = cursor_u8(&in);
    uint16_t zero = cursor_u16le(&in);
    if (cursor_failed(&in) || version != MEMORY_VERSION || zero != 0 || kind < CONTROL_CUT ||
        kind > CONTROL_BACKFILL)
        return false;
    request.kind = (enum control_kind)kind;
    switch (request.kind) {
    case CONTROL_CUT: request.time_ns = (int64_t)cursor_u64le(&in); break;
    case CONTROL_CORRECT: correction_read(&in, &request.correction); break;
    case CONTROL_BACKFILL: backfill_read(&in, &request.backfill); break;
    }
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
    buffer_u64le(out, answer->number);
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
    struct control_answer answer = {.number = cursor_u64le(&in)};
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
