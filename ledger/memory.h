#pragma once
// The read socket: what tallyd still has in memory, for readers in other processes.
//
//   reader                        serve thread                    shard writer (between two groups)
//   memory_ask ---- request ----> answers_ask(question) --------> memory_answer(question, view)
//              <--- reply ------- <------- wake ----------------- cells of (subject, meter, range)
//                                 memory_answer(question, view): while the writer waits for a disk,
//                                 or sleeps, it lends what is looked at (ledger/answers)
//
// Socket: DATA/read.sock (unix, SOCK_SEQPACKET is not used: length-prefixed stream; reached through
// /proc/self/fd so that a long DATA path works). Request and reply are little-endian, versioned,
// bounded; an unknown version closes the connection.
//
// How a reader merges: take a snapshot of state/ (its position P, and F, the first block that the
// meter's cells in it cover), then ask. If reply.flushed == P and reply.flushed_from == F, the
// answer is the snapshot's cells plus the reply's, which cover [reply.live_from, reply.head]; older
// blocks are read from the log. If not, a flush came in between: renew the snapshot and ask again.
// When nobody listens, take a snapshot of log/ and fold blocks P+1..head instead. A cell may come
// twice, from the cells and from the frozen ones: both are deltas.

#include "base/ring.h"
#include "ledger/cells.h"
#include "ledger/watch.h"

// Behind the kinds of changes, which begin at 1 (ledger/control.h).
enum memory_kind {
    MEMORY_CELLS,        // of a meter
    MEMORY_QUOTA = 128,  // of a threshold, whose id stands for the meter's: the period of from_s
};

struct memory_request {
    enum memory_kind kind;
    uint32_t shard;
    uint32_t meter_id;
    struct bytes subject;  // size 0: all
    int64_t from_s, to_s;  // windows that start in [from_s, to_s)
};

// What a writer shows of its shard while it answers.
struct memory_view {
    uint64_t flushed;  // last block in the cells on disk
    uint64_t head;     // last block committed and folded
    const struct cells *cells;
    const struct cells *frozen;  // likewise in memory only, while they are flushed; NULL: none
    // First block the meter's cells (disk and memory together) cover; 0: this process does not know
    // the meter yet.
    uint64_t (*live_from)(const void *context, uint32_t meter_id);
    // Likewise, of the cells on disk alone; 0: there are none.
    uint64_t (*flushed_from)(const void *context, uint32_t meter_id);
    const void *context;
    // Answers a MEMORY_QUOTA.
    enum status (*quota)(
        const void *context,
        const struct memory_request *request,
        struct quota *out,
        struct error *error);
    const void *quota_context;
};

// A question on its way to a shard. Lives in the serve thread until it is answered.
struct memory_question {
    struct memory_request request;
    struct buffer reply;  // written by who answers
    struct waker *asker;  // woken when is_answered is set
    struct flag is_answered;
};

// The writer, or who it lends to: fills the reply and wakes the asker.
void memory_answer(struct memory_question *question, const struct memory_view *view);

// The serve thread. ask is called on it: must answer the question, or hand it to the shard's writer
// (ledger/answers). A writer that stops must answer nothing more. serve_stop ends waiting and frees
// the questions, so the writers end first.
struct serve;
typedef void (*serve_ask_fn)(void *context, uint32_t shard, struct memory_question *question);
// Likewise for a change (ledger/control.h), of which there is one at a time.
struct control_job;
typedef void (*serve_control_fn)(void *context, struct control_job *job);

struct serve_options {
    const char *dir;
    uint32_t shards;
    serve_ask_fn ask;
    serve_control_fn control;  // NULL: changes are refused
    void *context;
};
enum status
serve_start(const struct serve_options *options, struct serve **out, struct error *error) CHECKED;
void serve_stop(struct serve *serve);

// Reader's side: one connection, used for many questions.
struct memory_client;
enum status memory_client_open(const char *dir, struct memory_client **out, struct error *error)
    CHECKED;  // NOT_FOUND: nobody listens
void memory_client_close(struct memory_client *client);

struct memory_reply {
    uint64_t flushed, head, live_from, flushed_from;
    struct cursor cells;  // read with memory_reply_next; valid until the next ask
    uint32_t cells_count;
};
// STATUS_CLOSED: tallyd went away (fall back to the log); STATUS_TIMEOUT after 5 s.
enum status memory_ask(
    struct memory_client *client,
    const struct memory_request *request,
    struct memory_reply *out,
    struct error *error) CHECKED;
// How much of a threshold is used. STATUS_NOT_FOUND: there is none of that id for the subject, as
// far as tallyd knows; otherwise as memory_ask.
enum status memory_ask_quota(
    struct memory_client *client,
    uint32_t shard,
    uint32_t threshold_id,
    struct bytes subject,
    int64_t time_s,
    struct quota *out,
    struct error *error) CHECKED;
// aggregation: the meter's; cells of another one are no answer.
bool memory_reply_next(
    struct memory_reply *reply,
    enum aggregation aggregation,
    struct cell_key *out_key,
    struct cell_group *out_group,
    struct cell_state *out_state);
