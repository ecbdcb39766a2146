#include "ingest/ticket.h"

#include "base/pack.h"

#include <criterion/criterion.h>

#include <signal.h>

static struct tickets tickets;

static void
tickets_make(uint32_t count)
{
    struct error error = {0};
    cr_assert_eq(tickets_init(&tickets, count, &error), STATUS_OK);
}

static struct frame
frame_of(const char *chunk, bool wants_results)
{
    return (struct frame){
        .mode = FRAME_FORWARD,
        .chunk = bytes_text(chunk),
        .has_chunk = true,
        .wants_results = wants_results,
    };
}

Test(ticket, gives_out_as_many_as_there_are)
{
    tickets_make(3);
    struct frame frame = frame_of("c", false);
    struct ticket *taken[3];
    for (uint32_t i = 0; i < 3; i++) {
        taken[i] = ticket_take(&tickets, NULL, &frame);
        cr_assert_not_null(taken[i]);
    }
    cr_assert_null(ticket_take(&tickets, NULL, &frame));
    taken[1]->is_open = false;
    ticket_give(&tickets, taken[1]);
    cr_assert_eq(ticket_take(&tickets, NULL, &frame), taken[1]);
    cr_assert_eq(tickets.taken, 3);
    tickets_done(&tickets);
}

// What lists come to is reserved beforehand, and is never more than was reserved.
Test(ticket, reserves_room_for_its_lists)
{
    tickets_make(2);
    for (uint32_t count = 1; count <= 5000; count = count * 3 / 2 + 1) {
        struct frame frame = frame_of("c", true);
        frame.entries_count = count;
        struct ticket *ticket = ticket_take(&tickets, NULL, &frame);
        cr_assert_not_null(ticket);
        cr_assert_eq(tickets.lists_size, ticket->lists_size);
        for (uint32_t i = 0; i < count; i++) {
            if (i % 4 == 0)
                ticket_conflict(ticket, i);
            else
                ticket_reject(ticket, i, REFUSAL_SIZE);
        }
        size_t used = ticket->rejected.capacity + ticket->conflicts.capacity;
        cr_assert_leq(used, ticket->lists_size, "%zu bytes for %u", used, count);
        // Another finds room for its own only, or none.
        tickets.lists_max = tickets.lists_size + ticket->lists_size - 1;
        cr_assert_null(ticket_take(&tickets, NULL, &frame));
        frame.wants_results = false;
        struct ticket *other = ticket_take(&tickets, NULL, &frame);
        cr_assert_not_null(other, "who asks for no results needs none");
        tickets.lists_max = SIZE_MAX;
        other->is_open = ticket->is_open = false;
        ticket_give(&tickets, other);
        ticket_give(&tickets, ticket);
        cr_assert_eq(tickets.lists_size, 0);
    }
    tickets_done(&tickets);
}

Test(ticket, is_settled_when_nothing_is_open_any_more)
{
    tickets_make(1);
    struct frame frame = frame_of("c", false);
    struct ticket *ticket = ticket_take(&tickets, NULL, &frame);
    cr_assert_not(ticket_is_settled(ticket), "events of the frame may come");
    ticket->pending = 2;
    ticket->is_open = false;
    cr_assert_not(ticket_is_settled(ticket));
    ticket->pending = 0;
    cr_assert(ticket_is_settled(ticket));
    tickets_done(&tickets);
}

Test(ticket, cannot_be_given_back_before_it_is_settled, .signal = SIGABRT)
{
    tickets_make(1);
    struct frame frame = frame_of("c", false);
    ticket_give(&tickets, ticket_take(&tickets, NULL, &frame));
}

static struct bytes
ack_of(struct ticket *ticket, struct buffer *out)
{
    ticket->is_open = false;
    buffer_reset(out);
    ticket_pack_ack(ticket, out);
    return buffer_view(out);
}

Test(ticket, packs_the_ack_of_the_protocol)
{
    tickets_make(1);
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame = frame_of("c1", false);
    struct ticket *ticket = ticket_take(&tickets, NULL, &frame);
    ticket_reject(ticket, 0, REFUSAL_SIZE);
    ticket_conflict(ticket, 1);
    cr_assert(bytes_equal(
        ack_of(ticket, &out),
        bytes_text("\x81\xa3"
                   "ack\xa2"
                   "c1")));
    ticket_give(&tickets, ticket);
    frame.chunk_is_bin = true;
    ticket = ticket_take(&tickets, NULL, &frame);
    cr_assert(bytes_equal(
        ack_of(ticket, &out),
        bytes_text("\x81\xa3"
                   "ack\xc4\x02"
                   "c1")));
    tickets_done(&tickets);
}

Test(ticket, packs_nothing_without_a_chunk)
{
    tickets_make(1);
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame = {.mode = FRAME_FORWARD, .wants_results = true};
    cr_assert_eq(ack_of(ticket_take(&tickets, NULL, &frame), &out).size, 0);
    tickets_done(&tickets);
}

Test(ticket, packs_the_results_that_were_asked_for)
{
    tickets_make(1);
    scoped(buffer_done) struct buffer out = {0};
    struct frame frame = frame_of("c", true);
    struct ticket *ticket = ticket_take(&tickets, NULL, &frame);
    ticket->duplicates = 3;
    ticket_reject(ticket, 2, REFUSAL_SIZE);
    ticket_conflict(ticket, 5);
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 4);
    pack_text(&wanted, "ack");
    pack_text(&wanted, "c");
    pack_text(&wanted, "duplicates");
    pack_uint(&wanted, 3);
    pack_text(&wanted, "rejected");
    pack_array(&wanted, 1);
    pack_array(&wanted, 2);
    pack_uint(&wanted, 2);
    pack_text(&wanted, "event larger than 64 KiB");
    pack_text(&wanted, "conflicts");
    pack_array(&wanted, 1);
    pack_uint(&wanted, 5);
    cr_assert(bytes_equal(ack_of(ticket, &out), buffer_view(&wanted)));
    ticket_give(&tickets, ticket);
    // The next frame begins with empty lists.
    ticket = ticket_take(&tickets, NULL, &frame);
    cr_assert_eq(ticket->duplicates + ticket->rejected_count + ticket->conflicts_count, 0);
    tickets_done(&tickets);
}

Test(ticket, bounds_its_lists)
{
    tickets_make(1);
    struct frame frame = frame_of("c", true);
    struct ticket *ticket = ticket_take(&tickets, NULL, &frame);
    for (uint32_t i = 0; i < 3 * TICKET_LIST_MAX; i++) {
        ticket_reject(ticket, i, REFUSAL_SIZE);
        ticket_conflict(ticket, i);
    }
    cr_assert_eq(ticket->rejected_count, 3 * TICKET_LIST_MAX);
    cr_assert_eq(ticket->rejected.size, 5 * TICKET_LIST_MAX);
    cr_assert_eq(ticket->conflicts.size, 4 * TICKET_LIST_MAX);
    tickets_done(&tickets);
}
