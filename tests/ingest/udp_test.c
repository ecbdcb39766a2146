// Datagrams against a real ledger in a temporary directory.

#include "tests/ingest/udp_bench.h"

// --- acks ---

Test(udp, acks_a_chunk_in_each_mode)
{
    bench_open(&PLAIN);
    wire_send(wire_message, &(struct wire){.events = 1, .first = 0, .chunk = "c1"});
    ack_expect("c1");
    wire_send(wire_forward, &(struct wire){.events = 5, .first = 10, .chunk = "c2"});
    ack_expect("c2");
    wire_send(wire_packed, &(struct wire){.events = 5, .first = 20, .chunk = "c3"});
    ack_expect("c3");
    wire_send(wire_forward, &(struct wire){.events = 0, .chunk = "empty"});
    ack_expect("empty");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.events), 11);
    cr_assert_eq(metric_get(&bench.metrics.frames), 4);
    cr_assert_eq(metric_get(&bench.metrics.acks), 4);
    cr_assert_eq(metric_get(&bench.metrics.udp_datagrams), 4);
    for (enum udp_drop by = UDP_DROP_KERNEL; by < UDP_DROP_COUNT; by++)
        cr_assert_eq(dropped(by), 0);
    bench_close();
}

Test(udp, serves_ipv6)
{
    struct bench_options options = {.address = "[::1]:0"};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 loopback = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&loopback, sizeof loopback) == 0;
    close(fd);
    if (!has_ipv6)
        cr_skip_test("no IPv6 here");
    struct network allowed;
    struct error error = {0};
    cr_assert_eq(network_parse("::1", &allowed, &error), STATUS_OK);
    options.udp = (struct udp_options){.allowed = &allowed, .allowed_count = 1};
    bench_open(&options);
    wire_send(wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
    ack_expect("c1");
    bench_close();
}

// No fate, no ack: while nothing is committed, nothing may be answered.
Test(udp, acks_nothing_before_its_fates_are_known)
{
    bench_open(&PLAIN);
    wire_send(wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
    TURN_UNTIL(metric_get(&bench.metrics.events) == 3);
    // The turn that put them has offered nothing yet, so their commit cannot have begun.
    cr_assert_eq(front_pending(bench.front), 3);
    cr_assert_lt(recv(bench.client, bench.answer, sizeof bench.answer, 0), 0);
    ack_expect("c1");
    cr_assert_eq(front_pending(bench.front), 0);
    bench_close();
}

Test(udp, answers_nothing_without_a_chunk)
{
    bench_open(&PLAIN);
    wire_send(wire_forward, &(struct wire){.events = 3});
    wire_send(wire_forward, &(struct wire){.events = 3, .first = 10, .results = true});
    datagram_send(bytes_of("\xc0", 1));
    TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == 3);
    silence_expect();
    cr_assert_eq(metric_get(&bench.metrics.events), 6);
    cr_assert_eq(metric_get(&bench.metrics.heartbeats), 1);
    bench_close();
}

Test(udp, tells_duplicates_of_a_datagram_sent_again)
{
    bench_open(&PLAIN);
    struct wire wire = {.events = 4, .chunk = "c1", .results = true, .without_id = true};
    wire_send(wire_forward, &wire);
    results_expect("c1", 0, NULL);
    wire_send(wire_packed, &wire);
    results_expect("c1", 4, NULL);
    wire.results = false;
    wire_send(wire_forward, &wire);
    ack_expect("c1");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 8);
    bench_close();
}

Test(udp, rejects_a_backfill_event_by_event)
{
    bench_open(&PLAIN);
    struct wire wire = {.events = 1, .chunk = "c1", .results = true, .time_ns = SECOND_NS};
    wire_send(wire_forward, &wire);
    results_expect("c1", 0, "time too old");
    wire.backfill = "b1";
    wire_send(wire_forward, &wire);
    results_expect("c1", 0, "backfill not permitted");
    wire.events = 3;
    wire.results = false;
    wire_send(wire_forward, &wire);
    ack_expect("c1");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BACKFILL]), 4);
    bench_close();
}

// A conflict and a reject are listed with the sender's address.
Test(udp, lists_what_was_not_counted_and_by_whom_it_was_sent)
{
    bench_open(&PLAIN);
    scoped(buffer_done) struct buffer rejects = {0};
    wire_send(wire_forward, &(struct wire){.events = 1, .chunk = "c1", .value = 3});
    ack_expect("c1");
    wire_send(wire_forward, &(struct wire){.events = 1, .chunk = "c2", .value = 4});
    ack_expect("c2");
    wire_send(wire_forward, &(struct wire){.events = 1, .chunk = "c3", .subject = ""});
    ack_expect("c3");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.conflicts), 1);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_SUBJECT_INVALID]), 1);
    rejects_collect(bench.rejects);
    rejects_print(bench.rejects, &rejects);
    buffer_u8(&rejects, 0);
    const char *text = (const char *)rejects.data;
    cr_assert_not_null(strstr(text, "\"reason\":\"conflict\""), "%s", text);
    cr_assert_not_null(strstr(text, "\"peer\":\"udp:127.0.0.1:"), "%s", text);
    cr_assert_not_null(strstr(text, "\"id\":\"event-0\""), "%s", text);
    bench_close();
}

// --- no amplification ---

// Entries that are none cost a byte each and an answer of 40: there the results are left out.
Test(udp, answers_with_no_more_than_the_request)
{
    bench_open(&PLAIN);
    for (uint32_t bad = 0; bad < 300; bad += 7) {
        for (uint32_t chunk_size = 1; chunk_size <= 255; chunk_size += 50) {
            scoped(buffer_done) struct buffer out = {0};
            char chunk[256];
            memset(chunk, 'c', sizeof chunk);
            chunk[chunk_size] = '\0';
            pack_array(&out, 3);
            pack_text(&out, "");
            pack_array(&out, bad);
            for (uint32_t i = 0; i < bad; i++)
                pack_nil(&out);
            wire_options(&out, &(struct wire){.chunk = chunk, .results = true});
            datagram_send(buffer_view(&out));
            struct bytes answer = answer_await();
            cr_assert_leq(answer.size, out.size);
            cr_assert_gt(answer.size, chunk_size);
            cr_assert_eq(answer.data[0], 0x81, "a plain ack");
        }
    }
    // Where they fit they come: 20 rejects of events that are large enough.
    struct wire wire = {.events = 20, .chunk = "c1", .results = true, .time_ns = SECOND_NS};
    wire_send(wire_forward, &wire);
    struct bytes answer = answer_await();
    cr_assert_eq(answer.data[0], 0x84);
    cr_assert_gt(answer.size, 20 * 14);
    bench_close();
}

Test(udp, echoes_a_zero_byte)
{
    bench_open(&PLAIN);
    datagram_send(bytes_of("\0", 1));
    struct bytes answer = answer_await();
    cr_assert_eq(answer.size, 1);
    cr_assert_eq(answer.data[0], 0);
    datagram_send(bytes_of("\0\0", 2));
    TURN_UNTIL(dropped(UDP_DROP_BROKEN) == 1);
    silence_expect();
    bench_close();
}

// Two servers, or a server and an echo service, must not be made to talk for ever.
// docs/wire.md: W173
Test(udp, echoes_to_nobody_who_might_echo_it_again)
{
    bench_open(&PLAIN);
    close(bench.client);
    bench.client = client_open(server_port());
    datagram_send(bytes_of("\0", 1));
    TURN_UNTIL(dropped(UDP_DROP_PEER) == 1);
    silence_expect();
    // Its events are welcome.
    alive_expect();
    bench_close();
}

// A server elsewhere echoes too, from whatever port. What would go on for ever ends at once, others
// are echoed meanwhile, and the same sender a moment later.
// docs/wire.md: W173, W232
Test(udp, echoes_once_in_a_while)
{
    enum { SENT = 20, OTHERS = 8 };
    int64_t others = 0;
    bench_open(&PLAIN);
    int fd = bench.client;
    int64_t start_ns = clock_monotonic_ns();
    for (uint32_t i = 0; i < SENT; i++)
        datagram_send(bytes_of("\0", 1));
    TURN_UNTIL(metric_get(&bench.metrics.heartbeats) == SENT);
    // One, and more only if the machine took so long (the clock is that of the turn).
    int64_t echoes = SENT - dropped(UDP_DROP_PEER);
    int64_t took_ms = (clock_monotonic_ns() - start_ns) / (SECOND_NS / 1000);
    cr_assert(echoes >= 1 && echoes <= 2 + took_ms / UDP_ECHO_MS, "%ld", (long)echoes);
    for (int64_t i = 0; i < echoes; i++)
        cr_assert_eq(answer_await().size, 1);
    silence_expect();
    // One of them may share the seat, all of them do not.
    for (uint32_t i = 0; i < OTHERS; i++) {
        bench.client = client_open(0);
        int64_t before = dropped(UDP_DROP_PEER);
        int64_t sent = metric_get(&bench.metrics.udp_datagrams);
        datagram_send(bytes_of("\0", 1));
        TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == sent + 1);
        others += dropped(UDP_DROP_PEER) == before;
        close(bench.client);
    }
    cr_assert_gt(others, 0);
    bench.client = fd;
    TURN_UNTIL(
        (datagram_send(bytes_of("\0", 1)),
         recv(bench.client, bench.answer, sizeof bench.answer, 0) == 1));
    bench_close();
}

// --- what is broken ---

Test(udp, takes_a_whole_message_or_nothing)
{
    bench_open(&PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    wire_packed(&out, "api_call", &(struct wire){.events = 3, .chunk = "c1", .results = true});
    for (size_t size = 0; size < out.size; size++) {
        datagram_send(bytes_of(out.data, size));
        TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == (int64_t)size + 1);
    }
    cr_assert_eq(dropped(UDP_DROP_BROKEN), (int64_t)out.size);
    buffer_u8(&out, 0xc0);
    datagram_send(buffer_view(&out));
    TURN_UNTIL(dropped(UDP_DROP_BROKEN) == (int64_t)out.size);
    silence_expect();
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    datagram_send(bytes_of(out.data, out.size - 1));
    results_expect("c1", 0, NULL);
    bench_close();
}

// Broken datagrams fill their own share of the log's lines, not that of connections.
Test(udp, leaves_lines_of_the_log_to_connections)
{
    enum { SENT = 20 };
    int fds[2];
    char text[16384];
    bench_open(&PLAIN);
    FILE *log = tmpfile();
    cr_assert_not_null(log);
    fflush(stderr);
    cr_assert_eq(dup2(fileno(log), STDERR_FILENO), STDERR_FILENO);
    for (uint32_t i = 0; i < SENT; i++)
        datagram_send(bytes_of("\xc1", 1));
    TURN_UNTIL(dropped(UDP_DROP_BROKEN) == SENT);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    struct peer peer = {.text = "a connection", .is_own_user = true};
    cr_assert(front_adopt(bench.front, fds[0], &peer));
    cr_assert_eq(send(fds[1], "\xc1", 1, MSG_NOSIGNAL), 1);
    TURN_UNTIL(metric_get(&bench.metrics.broken[FRAME_NOT_MSGPACK]) == 1);
    ssize_t size = pread(fileno(log), text, sizeof text - 1, 0);
    cr_assert_gt(size, 0);
    text[size] = '\0';
    cr_assert_not_null(strstr(text, "peer=\"a connection\""), "%s", text);
    cr_assert_not_null(strstr(text, "peer=udp:127.0.0.1:"), "%s", text);
    fclose(log);
    close(fds[1]);
    bench_close();
}

static uint64_t
random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Random bytes, and messages with some bytes changed.
Test(udp, survives_random_bytes)
{
    bench_open(&PLAIN);
    uint64_t state = 20261122;
    int64_t sent = 0;
    scoped(buffer_done) struct buffer good = {0};
    wire_forward(&good, "api_call", &(struct wire){.events = 3, .chunk = "c1", .results = true});
    for (; sent < 3000; sent++) {
        uint8_t data[2048];
        size_t size = random_next(&state) % sizeof data;
        for (size_t i = 0; i < size; i++)
            data[i] = (uint8_t)random_next(&state);
        if (sent % 2 == 0) {
            size = good.size;
            memcpy(data, good.data, size);
            for (uint32_t i = 0; i < 3; i++)
                data[random_next(&state) % size] = (uint8_t)random_next(&state);
        }
        datagram_send(bytes_of(data, size));
        TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == sent + 1);
    }
    cr_assert_gt(dropped(UDP_DROP_BROKEN), 1000);
    alive_expect();
    bench_close();
}

// The largest that IP carries: an event up to UDP_EVENT_MAX counts, a larger one is told why not.
Test(udp, takes_events_of_60_kb)
{
    static const struct {
        size_t size;  // of the entry
        const char *reason;
    } rows[] = {
        {1000,              NULL                              },
        {UDP_EVENT_MAX - 1, NULL                              },
        {UDP_EVENT_MAX,     NULL                              },
        {UDP_EVENT_MAX + 1, "event larger than 60 KB over UDP"},
        {PAYLOAD_MAX - 64,  "event larger than 60 KB over UDP"},
    };
    static char filler[PAYLOAD_MAX];
    bench_open(&PLAIN);
    memset(filler, 'f', sizeof filler);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(buffer_done) struct buffer out = {0};
        pack_array(&out, 3);
        pack_text(&out, "api");
        pack_array(&out, 1);
        size_t start = out.size;
        pack_array(&out, 2);
        pack_nil(&out);
        pack_map(&out, 3);
        pack_text(&out, "subject");
        pack_text(&out, "s");
        pack_text(&out, "id");
        pack_text(&out, (const char[]){'e', (char)('0' + i), '\0'});
        pack_text(&out, "f");
        size_t rest = rows[i].size - (out.size - start);
        pack_str(&out, bytes_of(filler, rest - 3));
        cr_assert_eq(out.size - start, rows[i].size);
        wire_options(&out, &(struct wire){.chunk = "c1", .results = true});
        datagram_send(buffer_view(&out));
        results_expect("c1", 0, rows[i].reason);
    }
    bench_close();
}

// --- who may send ---

Test(udp, takes_datagrams_of_allowed_networks_only)
{
    struct network allowed[2];
    struct error error = {0};
    cr_assert_eq(network_parse("192.0.2.0/24", &allowed[0], &error), STATUS_OK);
    cr_assert_eq(network_parse("127.0.0.2/32", &allowed[1], &error), STATUS_OK);
    bench_open(&(struct bench_options){
        .udp = {.allowed = allowed, .allowed_count = 2}
    });
    wire_send(wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
    datagram_send(bytes_of("\0", 1));
    TURN_UNTIL(dropped(UDP_DROP_PEER) == 2);
    silence_expect();
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    // From 127.0.0.2.
    close(bench.client);
    bench.client = client_open(server_port());
    alive_expect();
    bench_close();
}

// --- no room ---

// Groups of four events: of a burst some datagrams are held, the rest is dropped whole and counted.
// What was acked is known, what was dropped is not, and nothing counted half.
Test(udp, drops_and_counts_when_the_ledger_is_full)
{
    enum { SENT = 60, EVENTS = 40 };
    struct bench_options options = {.group_events_max = 4, .udp = {.held_max = 2}};
    bench_open(&options);
    for (uint32_t i = 0; i < SENT; i++) {
        char chunk[16];
        (void)snprintf(chunk, sizeof chunk, "chunk-%u", i);
        wire_send(
            wire_forward, &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = chunk});
    }
    TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == SENT);
    TURN_UNTIL(
        metric_get(&bench.metrics.acks) + dropped(UDP_DROP_LEDGER) == SENT &&
        front_pending(bench.front) == 0);
    int64_t lost = dropped(UDP_DROP_LEDGER);
    cr_assert_gt(lost, 0, "the test must have filled the ledger's groups");
    cr_assert_lt(lost, SENT);
    cr_assert_eq(metric_get(&bench.metrics.events), (SENT - lost) * EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 0);
    for (int64_t i = 0; i < SENT - lost; i++)
        (void)answer_await();
    // Each is sent again until it is acked: then every event is there once.
    for (uint32_t i = 0; i < SENT; i++) {
        char chunk[16];
        (void)snprintf(chunk, sizeof chunk, "chunk-%u", i);
        wire_send(
            wire_forward, &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = chunk});
        ack_expect(chunk);
    }
    turn();
    cr_assert_eq(metric_get(&bench.metrics.duplicates), (SENT - lost) * EVENTS);
    bench_close();
}

// While one is held nothing is received: with room in the kernel nothing is lost.
Test(udp, leaves_a_burst_to_the_kernel)
{
    enum { SENT = 200, EVENTS = 40 };
    bench_open(&(struct bench_options){.group_events_max = 32});
    for (uint32_t i = 0; i < SENT; i++)
        wire_send(
            wire_forward, &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = "c"});
    TURN_UNTIL(metric_get(&bench.metrics.acks) == SENT);
    cr_assert_eq(metric_get(&bench.metrics.events), SENT * EVENTS);
    cr_assert_eq(dropped(UDP_DROP_LEDGER), 0);
    cr_assert_eq(dropped(UDP_DROP_KERNEL), 0);
    bench_close();
}

// An entry that waits for room is read again, but its value is rounded once.
Test(udp, counts_rounded_values_once)
{
    enum { EVENTS = 100 };
    scoped(buffer_done) struct buffer out = {0};
    bench_open(&(struct bench_options){.group_events_max = 4});
    wire_rounded(&out, "api_call", EVENTS, "c1");
    datagram_send(buffer_view(&out));
    ack_expect("c1");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.events), EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.values_rounded), EVENTS);
    bench_close();
}

// As many under way as there are letters; what comes at once beyond them is dropped.
// docs/wire.md: W227
Test(udp, drops_and_counts_when_too_many_are_under_way)
{
    enum { SENT = 50 };
    bench_open(&(struct bench_options){.udp = {.letters = 8}});
    for (uint32_t i = 0; i < SENT; i++)
        wire_send(wire_forward, &(struct wire){.events = 1, .first = i, .chunk = "c"});
    TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) == SENT);
    TURN_UNTIL(metric_get(&bench.metrics.acks) + dropped(UDP_DROP_LEDGER) == SENT);
    cr_assert_gt(dropped(UDP_DROP_LEDGER), 0);
    cr_assert_geq(metric_get(&bench.metrics.acks), 8);
    alive_expect();
    bench_close();
}

// Also at the end of a burst, when no later datagram tells.
// docs/wire.md: W226
Test(udp, counts_what_the_kernel_dropped)
{
    enum { SENT = 3000 };
    bench_open(&(struct bench_options){.room = 4096});
    for (uint32_t i = 0; i < SENT; i++)
        datagram_send(bytes_of("\xc0", 1));
    TURN_UNTIL(metric_get(&bench.metrics.udp_datagrams) + dropped(UDP_DROP_KERNEL) == SENT);
    cr_assert_gt(dropped(UDP_DROP_KERNEL), 0);
    alive_expect();
    cr_assert_eq(metric_get(&bench.metrics.udp_datagrams) + dropped(UDP_DROP_KERNEL), SENT + 1);
    bench_close();
}

// The client went away before its ack: that is its affair.
Test(udp, goes_on_when_an_answer_cannot_be_delivered)
{
    bench_open(&PLAIN);
    for (uint32_t round = 0; round < 50; round++) {
        int fd = bench.client;
        bench.client = client_open(0);
        wire_send(wire_forward, &(struct wire){.events = 3, .first = round * 3, .chunk = "gone"});
        close(bench.client);
        bench.client = fd;
    }
    TURN_UNTIL(metric_get(&bench.metrics.acks) == 50);
    alive_expect();
    cr_assert_eq(metric_get(&bench.metrics.events), 151);
    bench_close();
}

// --- where answers come from ---

// A socket of its own that talks to one address of the server and hears nobody else.
static int
client_at(int family, const struct sockaddr *server, socklen_t size)
{
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    cr_assert_eq(connect(fd, server, size), 0, "%d", errno);
    return fd;
}

// A server on every address of the machine answers from the one that was asked: this client hears
// no other.
static void
answers_from_127_0_0_2(const char *address)
{
    bench_open(&(struct bench_options){.address = address});
    struct sockaddr_in server = {
        .sin_family = AF_INET,
        .sin_port = htons(server_port()),
        .sin_addr = {htonl(INADDR_LOOPBACK + 1)}};
    close(bench.client);
    bench.client = client_at(AF_INET, (const struct sockaddr *)&server, sizeof server);
    wire_send(wire_forward, &(struct wire){.events = 3, .chunk = "c1"});
    ack_expect("c1");
    datagram_send(bytes_of("\0", 1));
    cr_assert_eq(answer_await().size, 1);
    bench_close();
}

// docs/wire.md: W171
Test(udp, answers_from_the_address_that_was_asked)
{
    answers_from_127_0_0_2("0.0.0.0:0");
}

Test(udp, answers_from_the_address_that_was_asked_over_ipv6)
{
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    bool has_ipv6 = fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0;
    close(fd);
    if (!has_ipv6)
        cr_skip_test("no IPv6 here");
    answers_from_127_0_0_2("[::]:0");
}

// --- the end ---

// What the kernel had when the drain began is stored and acked.
Test(udp, drains_what_has_arrived_and_acks_it)
{
    enum { SENT = 300 };
    // Ends when nothing more is there, and not because the disk took UDP_DRAIN_MS.
    bench_open(&(struct bench_options){.group_events_max = 64, .udp.drain_ms = 60 * 1000});
    for (uint32_t i = 0; i < SENT; i++)
        wire_send(wire_forward, &(struct wire){.events = 10, .first = i * 10, .chunk = "c1"});
    front_drain(bench.front);
    TURN_UNTIL(metric_get(&bench.metrics.acks) == SENT);
    cr_assert_eq(metric_get(&bench.metrics.events), SENT * 10);
    // Then nothing more is received.
    for (uint32_t i = 0; i < 5; i++)
        turn();
    wire_send(wire_forward, &(struct wire){.events = 1, .chunk = "late"});
    for (uint32_t i = 0; i < 5; i++)
        turn();
    cr_assert_eq(metric_get(&bench.metrics.udp_datagrams), SENT);
    bench_close();
}
