#pragma once
// CloudEvents in JSON, one, a list or one a line, as events for the ledger (OpenMeter's POST
// /api/v1/events).
//
//     struct event_list list;
//     if (event_list_read(body, EVENT_FORM_ANY, &arena, &list, &error)) no JSON, or another form
//     for (i = 0; i < list.count; i++)
//         if (list.items[i].fault != NULL) refuse(i, list.items[i].place, list.items[i].fault);
//
// Required: id, source, specversion "1.0", type, subject. Optional: time (null or absent: now),
// datacontenttype, dataschema, data (null or an object) or data_base64 (the same in base64). Other
// members are not looked at. What the envelope of our own events demands (DESIGN section 4: sizes,
// depth, 64 KiB) is checked here too, so that tallyd refuses only for the time. Thread: any.

#include "base/arena.h"
#include "base/status.h"
#include "client/tally.h"

enum event_form { EVENT_FORM_ONE, EVENT_FORM_MANY, EVENT_FORM_ANY, EVENT_FORM_LINES };
enum { EVENT_LINES_MAX = 1 << 20 };

struct event_item {
    const char *id, *source, *type, *subject;  // NULL while they are not known
    int64_t time_ns;                           // 0: now
    struct bytes data;                         // a msgpack map; size 0: none
    const char *fault;                         // NULL: it can be sent
    const char *place;                         // "[3].subject"; of the fault
    uint32_t line;                             // of EVENT_FORM_LINES, from 1; else 0
};

struct event_list {
    struct event_item *items;
    uint32_t count;
    uint32_t faults_count;
    bool is_one;  // the body is an event, no list
};

// Views and texts live in the arena. STATUS_INVALID: the body is not JSON, or not of this form.
enum status event_list_read(
    struct bytes body,
    enum event_form form,
    struct arena *arena,
    struct event_list *out,
    struct error *error) CHECKED;
// The same by the rules of OpenMeter's version 3: a member that CloudEvents do not have is a fault,
// and a specversion that is absent is "1.0".
enum status event_list_read_strict(
    struct bytes body,
    enum event_form form,
    struct arena *arena,
    struct event_list *out,
    struct error *error) CHECKED;
