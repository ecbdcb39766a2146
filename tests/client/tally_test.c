// libtally against a server that the test plays. The library's thread is the other side, so a
// test sends, takes the frame as the server, answers, and looks.
#include "client/tally.h"

#include "base/clock.h"
#include "tests/client/peer.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAIT_MS = 20000, BUFFER_SMALLEST = 66048 };

static const struct tally_event EVENT = {.subject = "acme", .type = "api_call"};

// Short pauses, and batches of three so that a few events make several.
static struct tally_options
options_for(const struct peer *peer)
{
    return (struct tally_options){
        .server = peer->name,
        .batch_events = 3,
        .batch_age_ms = 200,  // batches of three by count, however slow the machine
        .retry_min_ms = 1,
        .retry_max_ms = 5,
    };
}

static struct tally *
open_with(const struct tally_options *options)
{
    char error[256] = "";
    struct tally *tally = tally_open(options, error, sizeof error);
    cr_assert_not_null(tally, "%s", error);
    return tally;
}

static struct tally_stats
stats_of(struct tally *tally)
{
    struct tally_stats stats;
    tally_stats(tally, &stats);
    return stats;
}

// Polls until this many events are acked.
static void
wait_acked(struct tally *tally, uint64_t count)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * 1000000LL;
    while (stats_of(tally).events_acked < count) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "acks did not arrive");
        sched_yield();
    }
}

static void
send_tagged(struct tally *tally, uint64_t count, uint64_t first_tag)
{
    for (uint64_t i = 0; i < count; i++) {
        struct tally_event event = EVENT;
        char id[32];
        (void)snprintf(id, sizeof id, "id-%lu", (unsigned long)(first_tag + i));
        event.id = id;
        event.tag = first_tag + i;
        cr_assert_eq(tally_send(tally, &event), TALLY_OK);
    }
}

static void
assert_ids(const struct parcel *parcel, uint64_t first, uint64_t count)
{
    cr_assert_eq(parcel->events_count, count);
    cr_assert_eq(parcel->size, count, "the option size");
    for (uint64_t i = 0; i < count; i++) {
        char expected[32], id[256];
        (void)snprintf(expected, sizeof expected, "id-%lu", (unsigned long)(first + i));
        parcel_text(parcel, i, "id", id);
        cr_assert_str_eq(id, expected);
    }
}

Test(tally, sends_a_batch_and_hears_the_ack)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 3, 0);
    peer_take(&peer, &parcel);
    assert_ids(&parcel, 0, 3);
    cr_assert_str_eq(parcel.backfill, "");
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.events_sent, 3);
    cr_assert_eq(stats.events_acked, 0);
    cr_assert_eq(stats.events_buffered, 3);
    cr_assert_gt(stats.buffered_bytes, parcel.events.size);
    peer_ack(&peer, &parcel);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    stats = stats_of(tally);
    cr_assert_eq(stats.events_acked, 3);
    cr_assert_eq(stats.events_buffered, 0);
    cr_assert_eq(stats.buffered_bytes, 0);
    cr_assert_eq(stats.batches_resent, 0);
    cr_assert_eq(stats.connects, 1);
    cr_assert(stats.is_connected);
    cr_assert_str_eq(stats.last_error, "");
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, sends_an_unfilled_batch_when_it_is_old_enough)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.batch_age_ms = 20;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    int64_t start_ns = clock_monotonic_ns();
    send_tagged(tally, 1, 7);
    peer_take(&peer, &parcel);
    cr_assert_geq(clock_monotonic_ns() - start_ns, 20 * 1000000LL);
    assert_ids(&parcel, 7, 1);
    peer_ack(&peer, &parcel);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, accepts_acks_in_any_order)
{
    scoped(peer_done) struct peer peer;
    struct parcel parcels[4];
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 12, 0);
    for (size_t i = 0; i < 4; i++) {
        peer_take(&peer, &parcels[i]);
        assert_ids(&parcels[i], i * 3, 3);
    }
    static const size_t order[] = {2, 0, 3, 1};
    for (size_t i = 0; i < 4; i++) {
        peer_ack(&peer, &parcels[order[i]]);
        wait_acked(tally, (i + 1) * 3);
    }
    cr_assert_eq(stats_of(tally).buffered_bytes, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    for (size_t i = 0; i < 4; i++)
        parcel_done(&parcels[i]);
}

Test(tally, keeps_to_its_window)
{
    scoped(peer_done) struct peer peer;
    struct parcel parcels[3];
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.in_flight_batches = 2;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 9, 0);
    peer_take(&peer, &parcels[0]);
    peer_take(&peer, &parcels[1]);
    cr_assert(peer_is_quiet(&peer, 50), "a third batch before an ack");
    peer_ack(&peer, &parcels[1]);
    peer_take(&peer, &parcels[2]);
    assert_ids(&parcels[2], 6, 3);
    peer_ack(&peer, &parcels[0]);
    peer_ack(&peer, &parcels[2]);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    for (size_t i = 0; i < 3; i++)
        parcel_done(&parcels[i]);
}

// How a connection may end with batches unacked.
enum ending { ENDING_CLOSE, ENDING_RESET, ENDING_HALF_CLOSE, ENDING_GARBAGE, ENDING_STRANGE_ACK };

static void
connection_end(struct peer *peer, enum ending ending)
{
    static const char strange[] = "\x81\xa3"
                                  "ack\xa1x";
    switch (ending) {
    case ENDING_CLOSE: peer_drop(peer, false); break;
    case ENDING_RESET: peer_drop(peer, true); break;
    case ENDING_HALF_CLOSE: peer_half_close(peer); break;
    case ENDING_GARBAGE: peer_write(peer, bytes_text("\xc1")); break;
    case ENDING_STRANGE_ACK: peer_write(peer, bytes_text(strange)); break;
    }
}

static void
assert_resends_after(enum ending ending)
{
    scoped(peer_done) struct peer peer;
    struct parcel first[3], again[2];
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 9, 0);
    for (size_t i = 0; i < 3; i++)
        peer_take(&peer, &first[i]);
    peer_ack(&peer, &first[1]);
    wait_acked(tally, 3);
    connection_end(&peer, ending);
    int old_fd = peer.fd;
    peer_accept(&peer);
    for (size_t i = 0; i < 2; i++) {
        // The first and the third, in order, byte for byte.
        peer_take(&peer, &again[i]);
        cr_assert(bytes_equal(buffer_view(&again[i].frame), buffer_view(&first[i * 2].frame)));
        peer_ack(&peer, &again[i]);
    }
    enum tally_result result = tally_flush(tally, WAIT_MS);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(result, TALLY_OK, "%s", stats.last_error);
    cr_assert_eq(stats.events_acked, 9);
    cr_assert_eq(stats.batches_resent, 2);
    cr_assert_eq(stats.connects, 2);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    for (size_t i = 0; i < 3; i++)
        parcel_done(&first[i]);
    for (size_t i = 0; i < 2; i++)
        parcel_done(&again[i]);
    if (old_fd >= 0)
        close(old_fd);
}

Test(tally, resends_the_same_bytes_after_a_close)
{
    assert_resends_after(ENDING_CLOSE);
}

Test(tally, resends_the_same_bytes_after_a_reset)
{
    assert_resends_after(ENDING_RESET);
}

Test(tally, resends_the_same_bytes_after_a_half_close)
{
    assert_resends_after(ENDING_HALF_CLOSE);
}

Test(tally, resends_the_same_bytes_after_garbage)
{
    assert_resends_after(ENDING_GARBAGE);
}

Test(tally, resends_the_same_bytes_after_an_ack_of_a_strange_chunk)
{
    assert_resends_after(ENDING_STRANGE_ACK);
}

Test(tally, counts_an_ack_that_came_just_before_the_end)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 3, 0);
    peer_take(&peer, &parcel);
    peer_ack(&peer, &parcel);
    peer_drop(&peer, false);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(stats_of(tally).batches_resent, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, connects_when_the_server_comes_later)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    peer_reserve(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    send_tagged(tally, 3, 0);
    cr_assert_eq(tally_flush(tally, 20), TALLY_TIMEOUT);
    struct tally_stats stats = stats_of(tally);
    cr_assert_not(stats.is_connected);
    cr_assert_not_null(strstr(stats.last_error, "cannot connect"), "%s", stats.last_error);
    peer_listen_at(&peer);
    peer_accept(&peer);
    peer_take(&peer, &parcel);
    assert_ids(&parcel, 0, 3);
    peer_ack(&peer, &parcel);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

// Two servers, the first of which is gone or refuses: options name both.
static struct tally_options
options_for_both(const struct peer peers[2], char names[600])
{
    struct tally_options options = options_for(&peers[0]);
    (void)snprintf(names, 600, "%s,%s", peers[0].name, peers[1].name);
    options.server = names;
    // Longer than the test: a server that is found was found without a pause.
    options.retry_min_ms = 2 * WAIT_MS;
    options.retry_max_ms = 2 * WAIT_MS;
    return options;
}

Test(tally, goes_to_the_next_server_without_a_pause_and_resends_the_same_bytes)
{
    struct peer peers[2];
    struct parcel first[2], again[2];
    char names[600];
    peer_listen(&peers[0]);
    peer_listen(&peers[1]);
    struct tally_options options = options_for_both(peers, names);
    struct tally *tally = open_with(&options);
    peer_accept(&peers[0]);
    send_tagged(tally, 6, 0);
    for (size_t i = 0; i < 2; i++)
        peer_take(&peers[0], &first[i]);
    cr_assert_eq(stats_of(tally).server, 0);
    peer_drop(&peers[0], true);
    peer_accept(&peers[1]);
    for (size_t i = 0; i < 2; i++) {
        peer_take(&peers[1], &again[i]);
        cr_assert(bytes_equal(buffer_view(&again[i].frame), buffer_view(&first[i].frame)));
        peer_ack(&peers[1], &again[i]);
    }
    wait_acked(tally, 6);
    cr_assert_eq(stats_of(tally).server, 1);
    // An ack begins a new round: back to the first, again without a pause.
    peer_drop(&peers[1], false);
    peer_accept(&peers[0]);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    for (size_t i = 0; i < 2; i++) {
        parcel_done(&first[i]);
        parcel_done(&again[i]);
        peer_done(&peers[i]);
    }
}

Test(tally, pauses_when_all_servers_failed)
{
    struct peer peers[2];
    char names[600];
    peer_reserve(&peers[0]);
    peer_listen(&peers[1]);
    struct tally_options options = options_for_both(peers, names);
    struct tally *tally = open_with(&options);
    // The first refuses, the second hangs up: that was a round.
    peer_accept(&peers[1]);
    peer_drop(&peers[1], false);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * 1000000LL;
    while (strstr(stats_of(tally).last_error, "closed the connection") == NULL) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        sched_yield();
    }
    cr_assert_not_null(strstr(stats_of(tally).last_error, peers[1].name), "it names the server");
    peer_listen_at(&peers[0]);
    peers[0].fd = peers[0].listen_fd;
    cr_assert(peer_is_quiet(&peers[0], 50), "no pause after a round");
    peers[0].fd = -1;
    cr_assert_eq(tally_close(tally, 0), TALLY_OK);
    peer_done(&peers[0]);
    peer_done(&peers[1]);
}

Test(tally, comes_back_to_the_first_server_after_a_round)
{
    struct peer peers[2];
    struct parcel parcel;
    char names[600];
    peer_reserve(&peers[0]);
    peer_reserve(&peers[1]);
    struct tally_options options = options_for_both(peers, names);
    options.retry_min_ms = 1;
    options.retry_max_ms = 5;
    struct tally *tally = open_with(&options);
    send_tagged(tally, 3, 0);
    cr_assert_eq(tally_flush(tally, 20), TALLY_TIMEOUT);
    peer_listen_at(&peers[0]);
    peer_accept(&peers[0]);
    peer_take(&peers[0], &parcel);
    assert_ids(&parcel, 0, 3);
    peer_ack(&peers[0], &parcel);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    parcel_done(&parcel);
    peer_done(&peers[0]);
    peer_done(&peers[1]);
}

Test(tally, reconnects_when_an_ack_is_late)
{
    scoped(peer_done) struct peer peer;
    struct parcel first, again;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.ack_timeout_ms = 30;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    int64_t start_ns = clock_monotonic_ns();
    send_tagged(tally, 3, 0);
    peer_take(&peer, &first);
    int old_fd = peer.fd;
    peer_accept(&peer);
    cr_assert_geq(clock_monotonic_ns() - start_ns, 30 * 1000000LL);
    peer_take(&peer, &again);
    cr_assert(bytes_equal(buffer_view(&first.frame), buffer_view(&again.frame)));
    peer_ack(&peer, &again);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    parcel_done(&first);
    parcel_done(&again);
    close(old_fd);
}

// Sends large events until the buffer is full; returns how many were taken.
static uint64_t
fill(struct tally *tally)
{
    static char text[3001];
    uint64_t count = 0;
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    struct tally_event event = EVENT;
    event.properties = &property;
    event.properties_count = 1;
    while (tally_send(tally, &event) == TALLY_OK)
        count++;
    cr_assert_eq(tally_send(tally, &event), TALLY_FULL);
    return count;
}

Test(tally, takes_nothing_when_full_and_has_room_after_acks)
{
    scoped(peer_done) struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.buffer_bytes = BUFFER_SMALLEST;
    options.in_flight_batches = 1;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    uint64_t taken = fill(tally);
    struct tally_stats stats = stats_of(tally);
    cr_assert_gt(taken, 15);
    cr_assert_eq(stats.events_sent, taken);
    cr_assert_eq(stats.events_buffered, taken);
    cr_assert_leq(stats.buffered_bytes, BUFFER_SMALLEST);
    cr_assert_eq(tally_send_wait(tally, &EVENT, 10), TALLY_OK, "a small one still fits");
    taken++;
    for (uint64_t acked = 0; acked < taken;) {
        struct parcel parcel;
        peer_take(&peer, &parcel);
        acked += parcel.events_count;
        peer_ack(&peer, &parcel);
        parcel_done(&parcel);
        wait_acked(tally, acked);
    }
    cr_assert_eq(stats_of(tally).buffered_bytes, 0);
    cr_assert_eq(fill(tally) + 1, taken, "as much room as before");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
}

struct responder {
    struct peer *peer;
    uint64_t events_count;
};

// Acks everything until the connection ends.
static void *
respond(void *context)
{
    struct responder *responder = context;
    struct parcel parcel;
    peer_accept(responder->peer);
    while (peer_try_take(responder->peer, &parcel)) {
        responder->events_count += parcel.events_count;
        peer_ack(responder->peer, &parcel);
        parcel_done(&parcel);
    }
    return NULL;
}

struct producer {
    struct tally *tally;
    uint64_t events_count;
};

static void *
produce(void *context)
{
    const struct producer *producer = context;
    for (uint64_t i = 0; i < producer->events_count; i++)
        if (tally_send_wait(producer->tally, &EVENT, WAIT_MS) != TALLY_OK)
            return context;
    return NULL;
}

Test(tally, waits_for_room_with_two_threads_sending)
{
    scoped(peer_done) struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.buffer_bytes = BUFFER_SMALLEST;
    options.batch_events = 100;
    struct tally *tally = open_with(&options);
    struct responder responder = {.peer = &peer};
    struct producer producer = {tally, 5000};
    pthread_t server, threads[2];
    cr_assert_eq(pthread_create(&server, NULL, respond, &responder), 0);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, produce, &producer), 0);
    for (int i = 0; i < 2; i++) {
        void *failed;
        cr_assert_eq(pthread_join(threads[i], &failed), 0);
        cr_assert_null(failed);
    }
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(stats_of(tally).events_acked, 10000);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(pthread_join(server, NULL), 0);
    cr_assert_eq(responder.events_count, 10000);
}

struct refusals {
    uint64_t tags[8];
    char reasons[8][64];
    bool conflicts[8];
    size_t count;
};

static void
note_refusal(void *context, const struct tally_refusal *refusal)
{
    struct refusals *refusals = context;
    cr_assert_lt(refusals->count, 8);
    refusals->tags[refusals->count] = refusal->tag;
    refusals->conflicts[refusals->count] = refusal->is_conflict;
    (void)snprintf(refusals->reasons[refusals->count], 64, "%s", refusal->reason);
    refusals->count++;
}

Test(tally, gives_back_the_tags_of_what_was_refused)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    scoped(buffer_done) struct buffer answer = {0};
    struct refusals refusals = {0};
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.batch_events = 6;
    options.batch_age_ms = 10000;
    options.on_refusal = note_refusal;
    options.context = &refusals;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 6, 100);
    peer_take(&peer, &parcel);
    // Index 6 does not exist, and says nothing of any event.
    static const char rejected[] = "\xa8rejected\x93\x92\x01\xa9too early\x92\x05\xa0\x92\x06\xa1x";
    static const char others[] = "\xa9"
                                 "conflicts\x91\x02\xaa"
                                 "duplicates\x02";
    buffer_put(&answer, "\x84\xa3", 2);
    buffer_text(&answer, "ack\xd9\x24");
    buffer_text(&answer, parcel.chunk);
    buffer_put(&answer, rejected, sizeof rejected - 1);
    buffer_put(&answer, others, sizeof others - 1);
    peer_write(&peer, buffer_view(&answer));
    wait_acked(tally, 6);
    cr_assert_eq(refusals.count, 3);
    cr_assert_eq(refusals.tags[0], 101);
    cr_assert_str_eq(refusals.reasons[0], "too early");
    cr_assert_not(refusals.conflicts[0]);
    cr_assert_eq(refusals.tags[1], 105);
    cr_assert_str_eq(refusals.reasons[1], "");
    cr_assert_eq(refusals.tags[2], 102);
    cr_assert(refusals.conflicts[2]);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.events_rejected, 2);
    cr_assert_eq(stats.events_conflict, 1);
    cr_assert_eq(stats.events_duplicate, 2);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

// The server lists 1,000 of a kind at most, and then says how many there were.
Test(tally, counts_refusals_that_were_not_listed)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    scoped(buffer_done) struct buffer answer = {0};
    struct refusals refusals = {0};
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.batch_events = 6;
    options.batch_age_ms = 10000;
    options.on_refusal = note_refusal;
    options.context = &refusals;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 6, 100);
    peer_take(&peer, &parcel);
    // More conflicts than the batch has events are no more than the batch has events.
    static const char counts[] = "\xaerejected_count\x04\xa8rejected\x91\x92\x01\xa9too early"
                                 "\xa9"
                                 "conflicts\x91\x02\xaf"
                                 "conflicts_count\xcd\xff\xff";
    buffer_put(&answer, "\x85\xa3", 2);
    buffer_text(&answer, "ack\xd9\x24");
    buffer_text(&answer, parcel.chunk);
    buffer_put(&answer, counts, sizeof counts - 1);
    peer_write(&peer, buffer_view(&answer));
    wait_acked(tally, 6);
    cr_assert_eq(refusals.count, 2);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.events_rejected, 4);
    cr_assert_eq(stats.events_conflict, 6);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, fills_id_and_time_once)
{
    scoped(peer_done) struct peer peer;
    struct parcel first, again;
    char a[256], b[256];
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.batch_events = 2;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    cr_assert_eq(tally_send(tally, &EVENT), TALLY_OK);
    cr_assert_eq(tally_send(tally, &EVENT), TALLY_OK);
    peer_take(&peer, &first);
    parcel_text(&first, 0, "id", a);
    cr_assert_eq(strlen(a), 36);
    cr_assert_eq(a[14], '7');
    if (first.events_count == 2) {
        parcel_text(&first, 1, "id", b);
        cr_assert_lt(strcmp(a, b), 0, "ids rise");
    }
    peer_drop(&peer, true);
    peer_accept(&peer);
    peer_take(&peer, &again);
    cr_assert(bytes_equal(buffer_view(&first.frame), buffer_view(&again.frame)));
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    parcel_done(&first);
    parcel_done(&again);
}

Test(tally, names_its_backfill)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.backfill = "2023-11";
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 3, 0);
    peer_take(&peer, &parcel);
    cr_assert_str_eq(parcel.backfill, "2023-11");
    peer_ack(&peer, &parcel);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, refuses_an_invalid_event_and_takes_nothing)
{
    scoped(peer_done) struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    cr_assert_eq(tally_send(tally, &(struct tally_event){.type = "t"}), TALLY_INVALID);
    static char text[70000];
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    struct tally_event event = EVENT;
    event.properties = &property;
    event.properties_count = 1;
    cr_assert_eq(tally_send(tally, &event), TALLY_INVALID, "too large");
    cr_assert_eq(stats_of(tally).events_sent, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

// A frame of many megabytes goes out in pieces when the server reads slowly.
Test(tally, sends_large_batches_through_a_small_socket)
{
    scoped(peer_done) struct peer peer;
    peer_listen(&peer);
    int size = 4096;
    cr_assert_eq(setsockopt(peer.listen_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    struct tally_options options = options_for(&peer);
    options.batch_events = 1000;
    options.batch_bytes = 4 << 20;
    options.batch_age_ms = 10000;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    static char text[60001];
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    struct tally_event event = EVENT;
    event.properties = &property;
    event.properties_count = 1;
    for (int i = 0; i < 100; i++)
        cr_assert_eq(tally_send(tally, &event), TALLY_OK);
    cr_assert_eq(tally_flush(tally, 1), TALLY_TIMEOUT, "seals the rest");
    for (uint64_t count = 0; count < 100;) {
        struct parcel parcel;
        peer_take(&peer, &parcel);
        count += parcel.events_count;
        peer_ack(&peer, &parcel);
        parcel_done(&parcel);
    }
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

Test(tally, flushes_when_it_is_closed)
{
    scoped(peer_done) struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(&peer);
    options.batch_events = 100;
    options.batch_age_ms = 100000;
    struct tally *tally = open_with(&options);
    struct responder responder = {.peer = &peer};
    pthread_t server;
    cr_assert_eq(pthread_create(&server, NULL, respond, &responder), 0);
    send_tagged(tally, 5, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(pthread_join(server, NULL), 0);
    cr_assert_eq(responder.events_count, 5);
}

Test(tally, says_at_close_what_was_not_acked)
{
    scoped(peer_done) struct peer peer;
    peer_reserve(&peer);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    send_tagged(tally, 1, 0);
    int64_t start_ns = clock_monotonic_ns();
    cr_assert_eq(tally_close(tally, 30), TALLY_TIMEOUT);
    cr_assert_geq(clock_monotonic_ns() - start_ns, 30 * 1000000LL);
    tally = open_with(&options);
    cr_assert_eq(tally_close(tally, 0), TALLY_OK, "nothing was sent");
    cr_assert_eq(tally_close(NULL, 0), TALLY_OK);
}

static void *
wait_for_room(void *context)
{
    static enum tally_result result;
    static char text[3001];
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    struct tally_event event = EVENT;
    event.properties = &property;
    event.properties_count = 1;
    result = tally_send_wait(context, &event, WAIT_MS);
    return &result;
}

// The waiter is either in its wait when close begins, or finds the handle closing: it is told the
// same.
Test(tally, lets_waiting_senders_go_when_it_is_closed)
{
    scoped(peer_done) struct peer peer;
    peer_reserve(&peer);
    struct tally_options options = options_for(&peer);
    options.buffer_bytes = BUFFER_SMALLEST;
    struct tally *tally = open_with(&options);
    pthread_t waiter;
    void *result;
    fill(tally);
    cr_assert_eq(pthread_create(&waiter, NULL, wait_for_room, tally), 0);
    cr_assert_eq(tally_close(tally, 200), TALLY_TIMEOUT);
    cr_assert_eq(pthread_join(waiter, &result), 0);
    cr_assert_eq(*(enum tally_result *)result, TALLY_CLOSED);
}

Test(tally, speaks_over_a_unix_socket)
{
    scoped(peer_done) struct peer peer;
    scoped(parcel_done) struct parcel parcel;
    char directory[] = "/tmp/tally-unix-XXXXXX";
    char path[64];
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/socket", directory);
    peer_listen_unix(&peer, path);
    struct tally_options options = options_for(&peer);
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    send_tagged(tally, 3, 0);
    peer_take(&peer, &parcel);
    peer_ack(&peer, &parcel);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    unlink(path);
    rmdir(directory);
}

Test(tally, says_why_it_cannot_be_opened)
{
    char error[128] = "";
    cr_assert_null(tally_open(&(struct tally_options){.server = "x"}, error, sizeof error));
    cr_assert_not_null(strstr(error, "HOST:PORT"), "%s", error);
    cr_assert_null(tally_open(&(struct tally_options){.server = "x"}, NULL, 0));
    char cut[5] = "zzzz";
    cr_assert_null(tally_open(&(struct tally_options){.server = "x"}, cut, sizeof cut));
    cr_assert_eq(strlen(cut), 4);
}

Test(tally, names_every_result)
{
    for (int result = TALLY_OK; result <= TALLY_CLOSED; result++)
        cr_assert_str_neq(tally_result_text((enum tally_result)result), "unknown result");
    cr_assert_str_eq(tally_result_text((enum tally_result)99), "unknown result");
    cr_assert_not_null(strchr(tally_version(), '.'));
}
