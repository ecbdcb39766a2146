#pragma once
// One frame on its way: how many of its events still wait for their fate, and what became of the
// others.
//
//     ticket = ticket_take(&tickets, conn, &frame);   // NULL: too many under way, stop reading
//         ticket->pending++ for each event that was put
//         ticket_reject(ticket, index, refusal) for each other
//     ticket->is_open = false;                        // when the last event is through
//     fates: ticket->pending--, ticket_conflict(...)
//     if (ticket_is_settled(ticket))
//         ticket_pack_ack(ticket, &out), ticket_give(&tickets, ticket);
//
// Its address is the ledger's receipt, so a ticket lives until its last fate came, whatever happens
// to the connection. Memory: the pool is made at start (about 400 bytes each); lists of rejects and
// conflicts exist only for frames that asked for results, TICKET_LIST_MAX entries each. What they
// may come to is reserved when the ticket is taken, out of lists_max for all.
//
// Owner: a front. Thread: the front's.

#include "base/buffer.h"
#include "ingest/decode.h"
#include "ingest/frame.h"

enum { TICKET_LIST_MAX = 1000, TICKET_LISTS_SIZE_MAX = 16 << 20 };

struct conn;

struct ticket {
    struct conn *conn;
    struct ticket *next_free;
    uint32_t pending;  // events put, fate not known
    bool is_open;      // events of the frame are still to be put
    bool has_chunk;
    bool chunk_is_bin;
    bool wants_results;
    uint8_t chunk_size;
    uint8_t chunk[EVENT_CHUNK_MAX];
    uint32_t duplicates;
    uint32_t rejected_count;  // all, listed or not
    uint32_t conflicts_count;
    size_t lists_size;        // reserved for the two lists
    struct buffer rejected;   // index (4 bytes) and refusal (1 byte) each
    struct buffer conflicts;  // index (4 bytes) each
};

struct tickets {
    struct ticket *all;
    struct ticket *free;
    uint32_t count;
    uint32_t taken;
    size_t lists_size;  // reserved
    size_t lists_max;   // SIZE_MAX until the owner sets it
};

enum status tickets_init(struct tickets *tickets, uint32_t count, struct error *error) CHECKED;
void tickets_done(struct tickets *tickets);

// NULL: all are taken, or there is no room for the frame's lists beside those of others.
struct ticket *ticket_take(struct tickets *tickets, struct conn *conn, const struct frame *frame);
void ticket_give(struct tickets *tickets, struct ticket *ticket);

void ticket_reject(struct ticket *ticket, uint32_t index, enum refusal refusal);
void ticket_conflict(struct ticket *ticket, uint32_t index);

static inline bool
ticket_is_settled(const struct ticket *ticket)
{
    return ticket->pending == 0 && !ticket->is_open;
}

// {"ack": chunk}, and with results {"duplicates": n, "rejected": [[index, reason], ...],
// "conflicts": [index, ...]}; "rejected_count" and "conflicts_count" are added when a list was cut.
// Nothing without a chunk.
void ticket_pack_ack(const struct ticket *ticket, struct buffer *out);
