#include "ingest/ticket.h"

#include "base/assert.h"
#include "base/pack.h"
#include "base/pool.h"

enum { REJECTED_ENTRY_SIZE = 5, CONFLICT_ENTRY_SIZE = 4 };

_Static_assert(REFUSAL_COUNT <= UINT8_MAX, "a refusal is listed in a byte");
_Static_assert(EVENT_CHUNK_MAX <= UINT8_MAX, "a chunk's size is kept in a byte");

enum status
tickets_init(struct tickets *tickets, uint32_t count, struct error *error)
{
    struct ticket *all = pool_take(count, sizeof *all);
    if (all == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for %u tickets", count);
    *tickets = (struct tickets){.all = all, .count = count, .lists_max = SIZE_MAX};
    for (uint32_t i = count; i > 0; i--) {
        all[i - 1].next_free = tickets->free;
        tickets->free = &all[i - 1];
    }
    return STATUS_OK;
}

void
tickets_done(struct tickets *tickets)
{
    for (uint32_t i = 0; i < tickets->count; i++) {
        buffer_done(&tickets->all[i].rejected);
        buffer_done(&tickets->all[i].conflicts);
    }
    pool_give(tickets->all);
    *tickets = (struct tickets){0};
}

// What the lists of a frame can come to: buffers double, from BUFFER_CAPACITY_MIN on. How many
// entries a compressed one has is not known yet.
static size_t
lists_size_of(const struct frame *frame)
{
    enum { ENTRY_SIZE = 10, FLOOR = 512, MOST = 8192 + 4096 };
    if (!frame->wants_results)
        return 0;
    if (frame->is_gzip || frame->entries_count > (MOST - FLOOR) / ENTRY_SIZE)
        return MOST;
    return FLOOR + (size_t)frame->entries_count * ENTRY_SIZE;
}

struct ticket *
ticket_take(struct tickets *tickets, struct conn *conn, const struct frame *frame)
{
    struct ticket *ticket = tickets->free;
    size_t lists_size = lists_size_of(frame);
    bool has_room = lists_size <= tickets->lists_max - tickets->lists_size;
    if (ticket == NULL || (!has_room && lists_size > 0))
        return NULL;
    ticket->lists_size = lists_size;
    tickets->lists_size += lists_size;
    tickets->free = ticket->next_free;
    tickets->taken++;
    must(frame->chunk.size <= EVENT_CHUNK_MAX);
    must(ticket->pending == 0 && ticket->rejected.data == NULL && ticket->conflicts.data == NULL);
    ticket->conn = conn;
    ticket->next_free = NULL;
    ticket->is_open = true;
    ticket->has_chunk = frame->has_chunk;
    ticket->chunk_is_bin = frame->chunk_is_bin;
    ticket->wants_results = frame->wants_results;
    ticket->chunk_size = (uint8_t)frame->chunk.size;
    if (frame->chunk.size > 0)
        memcpy(ticket->chunk, frame->chunk.data, frame->chunk.size);
    ticket->duplicates = 0;
    ticket->rejected_count = 0;
    ticket->conflicts_count = 0;
    return ticket;
}

void
ticket_give(struct tickets *tickets, struct ticket *ticket)
{
    must(ticket_is_settled(ticket) && tickets->taken > 0);
    buffer_done(&ticket->rejected);
    buffer_done(&ticket->conflicts);
    must(tickets->lists_size >= ticket->lists_size);
    tickets->lists_size -= ticket->lists_size;
    ticket->lists_size = 0;
    ticket->conn = NULL;
    ticket->next_free = tickets->free;
    tickets->free = ticket;
    tickets->taken--;
}

void
ticket_reject(struct ticket *ticket, uint32_t index, enum refusal refusal)
{
    if (!ticket->wants_results)
        return;
    if (ticket->rejected_count++ >= TICKET_LIST_MAX)
        return;
    buffer_u32le(&ticket->rejected, index);
    buffer_u8(&ticket->rejected, (uint8_t)refusal);
}

void
ticket_conflict(struct ticket *ticket, uint32_t index)
{
    if (!ticket->wants_results)
        return;
    if (ticket->conflicts_count++ < TICKET_LIST_MAX)
        buffer_u32le(&ticket->conflicts, index);
}

static void
pack_rejected(const struct ticket *ticket, struct buffer *out)
{
    struct cursor in = cursor_over(buffer_view(&ticket->rejected));
    uint32_t count = (uint32_t)(ticket->rejected.size / REJECTED_ENTRY_SIZE);
    pack_text(out, "rejected");
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index = cursor_u32le(&in);
        uint8_t refusal = cursor_u8(&in);
        pack_array(out, 2);
        pack_uint(out, index);
        pack_text(out, refusal_name(refusal));
    }
}

static void
pack_conflicts(const struct ticket *ticket, struct buffer *out)
{
    struct cursor in = cursor_over(buffer_view(&ticket->conflicts));
    uint32_t count = (uint32_t)(ticket->conflicts.size / CONFLICT_ENTRY_SIZE);
    pack_text(out, "conflicts");
    pack_array(out, count);
    for (uint32_t i = 0; i < count; i++)
        pack_uint(out, cursor_u32le(&in));
}

static void
pack_results(const struct ticket *ticket, struct buffer *out)
{
    pack_text(out, "duplicates");
    pack_uint(out, ticket->duplicates);
    pack_rejected(ticket, out);
    pack_conflicts(ticket, out);
    if (ticket->rejected_count > TICKET_LIST_MAX) {
        pack_text(out, "rejected_count");
        pack_uint(out, ticket->rejected_count);
    }
    if (ticket->conflicts_count > TICKET_LIST_MAX) {
        pack_text(out, "conflicts_count");
        pack_uint(out, ticket->conflicts_count);
    }
}

void
ticket_pack_ack(const struct ticket *ticket, struct buffer *out)
{
    must(ticket_is_settled(ticket));
    if (!ticket->has_chunk)
        return;
    uint32_t members = 1;
    if (ticket->wants_results) {
        members += 3;
        members += ticket->rejected_count > TICKET_LIST_MAX;
        members += ticket->conflicts_count > TICKET_LIST_MAX;
    }
    pack_map(out, members);
    pack_text(out, "ack");
    struct bytes chunk = bytes_of(ticket->chunk, ticket->chunk_size);
    if (ticket->chunk_is_bin)
        pack_bin(out, chunk);
    else
        pack_str(out, chunk);
    if (ticket->wants_results)
        pack_results(ticket, out);
}
