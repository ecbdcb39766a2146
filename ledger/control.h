#pragma once
// Changes to what the ledger says that are no events: cuts, corrections of events
// (ledger/correct.h) and backfill batches (ledger/backfill.h). One at a time, each done when it is
// in the log of every shard it concerns and fsynced.
//
//     ledger_cut(ledger, time_ns, &number, &error);         // in the process that writes
//     control_do(dir, &request, now_ns, &answer, &error);   // in any other
//
//   other process                       control thread            shard writer (between two groups)
//   control_do ---- read.sock, serve --> control_run --- order --> shard_obey: one block, fsync
//              <--- answer ------------- <------------- wake -----
//
// A cut has one number in all shards: the greatest of any shard, plus one. A crash in between
// leaves it in some shards only; nothing can be read at such a number, and the next cut takes the
// next. Whoever got no answer may ask again: two cuts of the same time do no harm.
//
// Threads: ledger_cut on any, control_do on any; they wait. A lock lets one change in at a time.

#include "base/bytes.h"
#include "base/ring.h"
#include "base/status.h"
#include "ledger/backfill.h"
#include "ledger/correct.h"

struct ledger;

// Seals the windows that end at or before time_ns, in every shard: later events for them are of a
// later epoch. STATUS_INVALID: the time is before 1970, or farther ahead than an event may be.
// STATUS_FULL: there are CUTS_MAX cuts. What a failed writer says: the cut is in some shards at
// most.
enum status ledger_cut(
    struct ledger *ledger, int64_t time_ns, uint32_t *out_number, struct error *error) CHECKED;

enum control_kind {
    CONTROL_CUT = 1,
    CONTROL_CORRECT = 2,
    CONTROL_BACKFILL = 3,
};

struct control_request {
    enum control_kind kind;
    int64_t time_ns;               // a cut's
    struct correction correction;  // views borrowed
    struct backfill backfill;      // likewise
};

struct control_answer {
    uint64_t number;  // a cut's; of a correction the block of its shard's log; a revert's events
};

// In the process that writes: does what a request asks.
enum status control_run(
    struct ledger *ledger,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error) CHECKED;
// In any process: asks the tallyd that writes the directory; when there is none, opens the ledger
// for writing, does it, and closes it. STATUS_INVALID also: this user may not. STATUS_TIMEOUT and
// STATUS_CLOSED: the change may have been made.
enum status control_do(
    const char *dir,
    const struct control_request *request,
    struct control_answer *out,
    struct error *error) CHECKED;

// The same of a tallyd that runs, for who must not write himself: STATUS_CLOSED also when there is
// none. timeout_s: how long it waits for the answer.
enum status control_do_running(
    const char *dir,
    const struct control_request *request,
    int timeout_s,
    struct control_answer *out,
    struct error *error) CHECKED;

// A request on its way from the serve thread to the control thread. Lives in the serve thread until
// it is answered.
struct control_job {
    struct control_request request;
    struct control_answer answer;
    struct error error;  // status OK: it was done
    struct waker *asker;
    struct flag is_answered;
};

// The control thread of a ledger: started after the writers, stopped before them.
struct control;
enum status control_start(struct ledger *ledger, struct control **out, struct error *error) CHECKED;
// Finishes the job under way; one that was not begun is never answered. May be called again.
void control_stop(struct control *control);
// After control_stop and the end of the serve thread.
void control_free(struct control *control);
// The serve thread; the job before it was answered.
void control_offer(struct control *control, struct control_job *job);
