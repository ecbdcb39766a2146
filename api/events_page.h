#pragma once
// A page of events: which ones, whose they are, and how each is written.
//
//     struct events_page page = {.query = EVENTS_ALL, .filter.from_ns = INT64_MIN};
//     status = events_page_ask(call, &page, &error);
//     event_json_write(&page.result.rows[i].entry, out);      // page.facts[i].customer
//
// Thread: the call's.

#include "api/call.h"
#include "api/event_filter.h"
#include "billing/subject.h"

enum { EVENTS_PAGE_MAX = 100, EVENTS_PAGE_DAYS_BACK = 32 };

struct events_page {
    struct events_query query;
    struct event_filter filter;
    // Filled:
    struct events_result result;
    struct subject_facts *facts;  // of each row's subject; NULL when there are no rows
};

// STATUS_NOT_FOUND: one of the filter's customers is none.
enum status
events_page_ask(struct call *call, struct events_page *page, struct error *error) CHECKED;
// The CloudEvent.
void event_json_write(const struct entry *entry, struct json_out *out);
