#include "base/assert.h"
#include "base/buffer.h"
#include "tests/ledger/workload.h"

#include <string.h>

static void
put_text(struct buffer *buffer, const char *text)
{
    buffer_u8(buffer, (uint8_t)(0xa0 | strlen(text)));
    buffer_put(buffer, text, strlen(text));
}

static void
put_properties(const struct model_event *from, bool is_deep, struct buffer *buffer)
{
    for (uint32_t i = 0; i < from->properties_count; i++) {
        const struct model_property *property = &from->properties[i];
        if (property->is_deep != is_deep)
            continue;
        put_text(buffer, property->key);
        buffer_put(buffer, property->value.bytes, property->value.size);
    }
}

// The nested map comes first or last, and the map may be cut in two.
void
event_encode(const struct model_event *from, struct buffer *buffer, struct event *out)
{
    uint32_t deep = 0;
    for (uint32_t i = 0; i < from->properties_count; i++)
        deep += from->properties[i].is_deep;
    buffer_reset(buffer);
    bool is_last = deep > 0 && from->properties[0].is_deep;
    if (is_last)
        put_properties(from, false, buffer);
    size_t cut = buffer->size;
    if (deep > 0) {
        put_text(buffer, "deep");
        buffer_u8(buffer, (uint8_t)(0x80 | deep));
        put_properties(from, true, buffer);
    }
    cut = is_last ? cut : buffer->size;
    if (!is_last)
        put_properties(from, false, buffer);
    must(!buffer_failed(buffer));
    *out = (struct event){
        .subject = bytes_text(from->subject),
        .type = bytes_text(from->type),
        .id = bytes_text(from->id),
        .source = bytes_text(from->source),
        .chunk = bytes_text(from->chunk),
        .chunk_position = from->chunk_position,
        .time_ns = from->time_ns,
        .value = {from->value         },
        .batch = bytes_text(from->batch),
        .properties_count = from->properties_count - deep + (deep > 0),
        .properties_runs = 2,
        .properties =
            { bytes_of(buffer->data, cut), bytes_of(buffer->data + cut, buffer->size - cut)},
    };
}
