#pragma once
// What the tests of thresholds share: definitions, events of type "llm" with ids of their own, and
// what fired. Used like tests/ledger/writing.h, with ledgers of one shard.

#include "ledger/fired.h"
#include "ledger/threshold.h"
#include "ledger/watch.h"
#include "tests/ledger/writing.h"

// A hundred of "n" a day, for each subject.
extern const struct threshold watching_hundred;
// The id of the next event that watching_put makes.
extern uint32_t watching_serial;

// Of $.n, with a dimension.
void watching_meter(struct writing *writing, const char *key, enum aggregation aggregation);
enum meter_change watching_threshold(struct writing *writing, const struct threshold *threshold);
void watching_poll(struct writing *writing);
void watching_put(struct writing *writing, const char *subject, int64_t n, int64_t time_ns);
void watching_put_named(struct writing *writing, const char *subject, const char *id, int64_t n);
// n < 0: cancelled, else amended to n.
void watching_correct(struct writing *writing, const char *subject, const char *id, int64_t n);
void watching_amend(struct writing *writing, const char *subject, const char *id, int64_t n);

struct watching_list {
    struct arena arena;
    struct fired *items;
    uint32_t count;
};
// What is on disk; the arena is the caller's.
struct watching_list watching_fired(const struct writing *writing, uint64_t since);
// Until so many have fired in this process, and not one more.
void watching_wait(struct writing *writing, int64_t count);
// A change is adopted at some moment after the poll: puts 1 until then.
void watching_put_until_fired(struct writing *writing, const char *subject, int64_t count);
struct quota watching_quota(const struct writing *writing, uint32_t id, const char *subject);
int64_t watching_whole(const struct wide *value);
