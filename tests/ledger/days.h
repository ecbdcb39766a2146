#pragma once
// What the tests of retention begin with: a ledger of one shard with a session a day, so that each
// day is a chapter.
//
//     struct days days;
//     days_begin(&days, &keeping);                 // or days_define, more meters, days_run
//     wait_for_oldest(&days.writing, days.heads[2] + 1);
//     days_end(&days);

#include "ledger/retain.h"
#include "ledger/shard_view.h"
#include "tests/ledger/operating.h"

enum { DAYS = 8, EVENTS_A_DAY = 60, KEEP_DAYS = 3, KEPT_FROM = DAYS - 1 - KEEP_DAYS };

static const int64_t WAIT_NS = 60 * SECOND_NS;

struct days {
    struct writing writing;
    int64_t begin_ns;
    uint64_t heads[DAYS];  // the last block of each day
    char root[64];
    char to[128];   // a backup
    char new[128];  // the ledger made from it
};

// Of KEEP_DAYS, as long as a test asks for it.
extern const struct ledger_options keeping;

// All days but that the last session is open, with these options; before, nothing is deleted.
void days_begin(struct days *days, const struct ledger_options *options);
void days_define(struct days *days);
void days_run(struct days *days, const struct ledger_options *options);
void days_end(struct days *days);
// An event of now.
void days_put(struct days *days, const char *id);

struct log_kept read_kept(const char *dir);
// The first block that lies there, whether or not it counts.
uint64_t read_oldest(const char *dir);
void wait_for_oldest(const struct writing *writing, uint64_t wanted);
// Of a ledger that nobody writes: "log" or "state".
struct env *open_log(const struct days *days);
struct env *open_state(const struct days *days);
