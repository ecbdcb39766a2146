// event_list_read over any bytes: no crash, and what has no fault is an event that libtally takes.

#include "api/event_read.h"
#include "base/assert.h"
#include "base/clock.h"
#include "client/encode.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must_be_sendable(const struct event_item *item)
{
    scoped(buffer_done) struct buffer out = {.limit = ENCODE_SIZE_MAX};
    struct encoded entry;
    struct tally_property properties = {
        .kind = TALLY_PROPERTIES, .msgpack = {item->data.data, item->data.size}
    };
    struct tally_event event = {
        .subject = item->subject,
        .type = item->type,
        .id = item->id,
        .source = item->source,
        .time_ns = item->time_ns,
        .properties = &properties,
        .properties_count = item->data.size > 0,
    };
    must(encode_event(&event, SECOND_NS, &out, &entry) == ENCODE_DONE);
}

static void
form_read(struct bytes body, enum event_form form)
{
    scoped(arena_done) struct arena arena = {0};
    struct event_list list;
    struct error error = {0};
    uint32_t faults = 0;
    if (event_list_read(body, form, &arena, &list, &error)) {
        must(error.status == STATUS_INVALID && error.text[0] != '\0');
        return;
    }
    for (uint32_t i = 0; i < list.count; i++) {
        faults += list.items[i].fault != NULL;
        if (list.items[i].fault != NULL)
            must(list.items[i].place != NULL);
        else
            must_be_sendable(&list.items[i]);
    }
    must(faults == list.faults_count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    form_read(bytes_of(data, size), EVENT_FORM_ANY);
    form_read(bytes_of(data, size), EVENT_FORM_LINES);
    return 0;
}
