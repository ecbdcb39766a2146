#pragma once
// What control asks of a shard's writer: an order on its way through a slot, answered when what it
// wanted is in the log and fsynced.
//
//     struct order order = {.kind = ORDER_CUT, .number = 3, .time_ns = t, .asker = &waker};
//     slot_offer(&writer->orders, &order); waker_wake(&writer->waker);
//     while (!flag_get(&order.is_done)) ...        // then order.status and its error
//
// The writer takes orders between two groups, so each has its place in the log. Owner: who asks,
// until it is offered and again when it is done; in between the writer. Thread: likewise.

#include "base/ring.h"
#include "ledger/shard.h"

enum order_kind {
    ORDER_LOOK,  // the number of the shard's last cut
    ORDER_CUT,
    ORDER_CORRECT,
    ORDER_FIND_BATCH,  // what is known of a batch
    ORDER_MAY_REVERT,  // refused when the log lacks what a revert of the batch would read
    ORDER_UNFINISHED,  // any batch whose revert has begun and not ended
    ORDER_BATCH,       // entries of a batch: open, close, a part of its revert
};

struct order {
    enum order_kind kind;
    uint32_t number;  // a cut's; LOOK: the last one, 0: none; FIND_BATCH: of all there are
    int64_t time_ns;  // a cut's; MAY_REVERT: no event of the batch is earlier
    const struct entry *entry;  // a cancel or an amend, sound, of what counts now
    struct bytes raw;           // the same, raw; of BATCH all that are to be written, as one block
    uint64_t block;             // CORRECT, BATCH: where it lies now
    struct bytes batch_id;      // FIND_BATCH, MAY_REVERT
    bool has_batch;             // FIND_BATCH, UNFINISHED: there is one
    struct batch batch;         // it, as it is; its id stays until the ledger is closed
    struct error error;         // the refusal; its status is the answer: STATUS_OK when it is done
    struct waker *asker;
    struct flag is_done;
};

// The writer: does what is asked, or refuses it in order->error. A status other than OK: the shard
// has failed, and error says why.
enum status
shard_obey(struct shard *shard, struct order *order, int64_t now_ns, struct error *error) CHECKED;
// Whether an entry frees the identity that it has: the cancels of a revert do, but of what dedup
// has forgotten since. If that identity is known, it is of another event, which came later.
bool shard_frees_identity(const struct shard *shard, const struct entry *entry);
// A cut that is in the log at this block: epochs are counted by it from here on. STATUS_CORRUPT:
// its number does not follow the last one's.
enum status shard_know_cut(
    struct shard *shard, const struct entry *entry, uint64_t block, struct error *error) CHECKED;
