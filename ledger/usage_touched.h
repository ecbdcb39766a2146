#pragma once
// What of a question the cells cannot answer: stretches of time of single subjects, whose cells a
// correction touched (they are dirty until they are made anew) or that lack the groups asked for.
// The log answers these, the cells all the rest.
//
//     for (;;) {
//         touched.has_grown = false;
//         // cells: pass over those that usage_is_touched; usage_touch what cannot be used
//         // log: the events that are touched
//         if (!touched.has_grown) break;     // else what was added before is wrong: again
//     }
//
// A cell that reaches beyond what is touched is touched as a whole. Owner: the question; zeroed is
// valid. Thread: one.

#include "base/arena.h"
#include "base/bytes.h"

enum { USAGE_TOUCHED_MAX = 4096 };

struct touched_stretch {
    struct bytes subject;
    int64_t from_s, to_s;
};

struct usage_touched {
    struct arena arena;            // of the subjects
    struct touched_stretch *list;  // by subject, then time; apart from each other
    uint32_t count;
    bool is_by_subject;  // whatever is touched, all of its subject is
    bool has_grown;
    bool is_full;  // too many: the log answers everything
};

void usage_touch(struct usage_touched *touched, struct bytes subject, int64_t from_s, int64_t to_s);
// Whether any moment of [from_s, to_s) is.
bool usage_is_touched(
    const struct usage_touched *touched, struct bytes subject, int64_t from_s, int64_t to_s);
// Whether a time of [min_ns, max_ns] may be, of any subject.
bool usage_touches(const struct usage_touched *touched, int64_t min_ns, int64_t max_ns);
// The earliest moment that is, of any subject.
int64_t usage_touched_from(const struct usage_touched *touched);
void usage_touched_done(struct usage_touched *touched);
