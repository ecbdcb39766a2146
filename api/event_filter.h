#pragma once
// Which events a list is of: OpenMeter's filter object of /api/v2/events, and its customers.
//
//     struct event_filter filter = {0};
//     status = event_filter_parse(json, &arena, &filter, &error);
//     filter.subjects = those of the customers; event_filter_use(&filter, &query);
//     status = events_list(reader, &query, &arena, &result, &error);
//
// {"id"|"source"|"subject"|"type": {OPERATOR: text}, "customerId": {"$in": [...]},
// "time"|"ingestedAt": {"$gt"|"$gte"|"$lt"|"$lte": time, "$and"|"$or": [...]}}, all of which must
// hold. Owner: the caller; texts in the arena. Thread: any.

#include "ledger/events.h"

enum { EVENT_FILTER_DEPTH_MAX = 8, EVENT_FILTER_CUSTOMERS_MAX = 100 };

struct event_time_filter;

struct event_filter {
    const struct usage_bound *texts;          // of id, source, subject and type; NULL: any
    const struct event_time_filter *time;     // NULL: any
    const struct event_time_filter *arrival;  // NULL: any
    const char **customers;
    size_t customers_count;
    bool has_customers;
    const struct bytes *subjects;  // of the customers, sorted; looked at when has_customers
    size_t subjects_count;
    int64_t from_ns;  // of the event's time: none before can fit; INT64_MIN: not known
};

// STATUS_INVALID names the member.
enum status event_filter_parse(
    struct bytes json, struct arena *arena, struct event_filter *out, struct error *error) CHECKED;
// The filter must live as long as the query.
void event_filter_use(struct event_filter *filter, struct events_query *query);
// Sorts what is to become `subjects`.
void event_subjects_sort(struct bytes *subjects, size_t count);
