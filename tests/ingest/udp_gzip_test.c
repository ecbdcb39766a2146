// CompressedPackedForward in datagrams, against a real ledger in a temporary directory.

#include "tests/ingest/squeeze.h"
#include "tests/ingest/udp_bench.h"

enum { LARGE = 32 * 1024, LARGE_MAX = UDP_INFLATED_MAX / LARGE };

static const struct bench_options GZIP = {
    .inflated = {.size_max = 64 << 20, .ratio_max = 2000},
};

static void
squeezed_send(const struct wire *wire, size_t members)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_squeezed(&out, "api_call", wire, members);
    datagram_send(buffer_view(&out));
}

static void
packed_send(struct bytes packed, const char *chunk)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_gzip(&out, "api_call", packed, chunk);
    datagram_send(buffer_view(&out));
}

static void
entries_send(struct bytes entries, const char *chunk)
{
    scoped(buffer_done) struct buffer packed = {0};
    squeeze(&packed, entries);
    packed_send(buffer_view(&packed), chunk);
}

// So many entries of LARGE bytes each that compress well; none has a subject.
static void
large_entries(struct buffer *out, uint32_t count)
{
    static char filler[LARGE];
    memset(filler, 'f', sizeof filler);
    for (uint32_t i = 0; i < count; i++) {
        size_t start = out->size;
        pack_array(out, 2);
        pack_nil(out);
        pack_map(out, 1);
        pack_text(out, "f");
        pack_str(out, bytes_of(filler, LARGE - 8));
        cr_assert_eq(out->size - start, LARGE);
    }
}

static int64_t
rejected(enum refusal refusal)
{
    return metric_get(&bench.metrics.rejected[refusal]);
}

Test(udp_gzip, acks_compressed_datagrams)
{
    bench_open(&GZIP);
    squeezed_send(&(struct wire){.events = 5, .chunk = "one"}, 1);
    ack_expect("one");
    squeezed_send(&(struct wire){.events = 500, .first = 5, .chunk = "many"}, 7);
    ack_expect("many");
    squeezed_send(&(struct wire){.events = 0, .chunk = "none"}, 1);
    ack_expect("none");
    squeezed_send(&(struct wire){.events = 505, .chunk = "again"}, 2);
    ack_expect("again");
    turn();
    cr_assert_eq(metric_get(&bench.metrics.events), 1010);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 505);
    cr_assert_eq(metric_get(&bench.metrics.frames), 4);
    bench_close();
}

// The ledger's groups are smaller than a datagram: each stops in its middle, again and again, while
// others, compressed or not, wait behind it.
Test(udp_gzip, goes_on_with_datagrams_that_waited_for_room)
{
    enum { SENT = 30, EVENTS = 100 };
    struct bench_options options = GZIP;
    options.group_events_max = 16;
    bench_open(&options);
    for (uint32_t i = 0; i < SENT; i++) {
        struct wire wire = {.events = EVENTS, .first = i * EVENTS, .chunk = "c"};
        if (i % 3 == 0)
            wire_send(wire_forward, &wire);
        else
            squeezed_send(&wire, i % 3);
    }
    TURN_UNTIL(metric_get(&bench.metrics.acks) == SENT);
    cr_assert_eq(metric_get(&bench.metrics.events), SENT * EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.duplicates), 0);
    cr_assert_eq(dropped(UDP_DROP_LEDGER), 0);
    for (uint32_t i = 0; i < SENT; i++)
        ack_expect("c");
    // Every event was what it said: sent again, each is known.
    for (uint32_t i = 0; i < SENT; i++) {
        wire_send(
            wire_forward, &(struct wire){.events = EVENTS, .first = i * EVENTS, .chunk = "d"});
        ack_expect("d");
    }
    turn();
    cr_assert_eq(metric_get(&bench.metrics.duplicates), SENT * EVENTS);
    cr_assert_eq(metric_get(&bench.metrics.conflicts), 0);
    bench_close();
}

// Nothing of a datagram counts whose members are damaged, cut, followed by something, or hold no
// entries; nobody is answered.
Test(udp_gzip, takes_a_whole_datagram_or_nothing)
{
    scoped(buffer_done) struct buffer entries = {0}, packed = {0};
    int64_t broken = 0;
    bench_open(&GZIP);
    wire_entries(&entries, &(struct wire){.events = 3});
    squeeze(&packed, buffer_view(&entries));
    for (size_t size = 0; size < packed.size; size++, broken++) {
        packed_send(bytes_of(packed.data, size), "c1");
        TURN_UNTIL(dropped(UDP_DROP_BROKEN) == broken + 1);
    }
    // The checksum, the length, and a byte too many.
    for (size_t i = 0; i < 8; i++, broken++) {
        packed.data[packed.size - 1 - i] ^= 1;
        packed_send(buffer_view(&packed), "c1");
        packed.data[packed.size - 1 - i] ^= 1;
    }
    buffer_u8(&packed, 0);
    packed_send(buffer_view(&packed), "c1");
    broken++;
    // What comes out is cut in its last entry, or no msgpack.
    entries_send(bytes_of(entries.data, entries.size - 1), "c1");
    broken++;
    entries_send(bytes_of("\xc1", 1), "c1");
    broken++;
    TURN_UNTIL(dropped(UDP_DROP_BROKEN) == broken);
    silence_expect();
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    cr_assert_eq(metric_get(&bench.metrics.frames), 0);
    entries_send(buffer_view(&entries), "c1");
    ack_expect("c1");
    bench_close();
}

static void
compressed_send(const char *algorithm, struct bytes entries)
{
    scoped(buffer_done) struct buffer out = {0};
    pack_array(&out, 3);
    pack_text(&out, "api_call");
    pack_bin(&out, entries);
    pack_map(&out, 2);
    pack_text(&out, "compressed");
    pack_text(&out, algorithm);
    pack_text(&out, "chunk");
    pack_text(&out, "c1");
    datagram_send(buffer_view(&out));
}

Test(udp_gzip, takes_gzip_and_text_only)
{
    scoped(buffer_done) struct buffer entries = {0};
    bench_open(&GZIP);
    wire_entries(&entries, &(struct wire){.events = 3});
    compressed_send("text", buffer_view(&entries));
    ack_expect("c1");
    compressed_send("zstd", buffer_view(&entries));
    TURN_UNTIL(dropped(UDP_DROP_BROKEN) == 1);
    silence_expect();
    bench_close();
}

// --- limits ---

Test(udp_gzip, inflates_as_much_as_is_allowed_and_no_byte_more)
{
    static const struct {
        struct gzip_limits limits;
        uint32_t large;  // entries of LARGE bytes
        uint32_t small;  // and of one
        bool is_taken;
    } rows[] = {
        {{64 << 20, 2000},   LARGE_MAX, 0, true },
        {{64 << 20, 2000},   LARGE_MAX, 1, false},
        {{64 << 20, 200},    LARGE_MAX, 0, false}, // 200 times what came is less
        {{10 * LARGE, 2000}, 10,        0, true },
        {{10 * LARGE, 2000}, 10,        1, false},
        {{0, 2000},          1,         0, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        scoped(buffer_done) struct buffer entries = {0};
        bench_open(&(struct bench_options){.inflated = rows[i].limits});
        large_entries(&entries, rows[i].large);
        for (uint32_t n = 0; n < rows[i].small; n++)
            pack_nil(&entries);
        entries_send(buffer_view(&entries), "c1");
        if (rows[i].is_taken) {
            ack_expect("c1");
            turn();
            cr_assert_eq(rejected(REFUSAL_SUBJECT_MISSING), rows[i].large, "row %zu", i);
        } else {
            TURN_UNTIL(dropped(UDP_DROP_BROKEN) == 1);
            silence_expect();
            cr_assert_eq(rejected(REFUSAL_SUBJECT_MISSING), 0, "row %zu", i);
        }
        alive_expect();
        bench_close();
    }
}

// A flood of datagrams that inflate to much: no turn inflates for long, so connections get theirs;
// what waits is not lost.
Test(udp_gzip, inflates_for_a_bounded_time_in_a_turn)
{
    enum { SENT = 12, EACH = LARGE_MAX - 1 };
    scoped(buffer_done) struct buffer entries = {0};
    bench_open(&GZIP);
    large_entries(&entries, EACH);
    for (uint32_t i = 0; i < SENT; i++)
        entries_send(buffer_view(&entries), "c");
    int64_t most = 0;
    for (int64_t done = 0; done < SENT * EACH; done = rejected(REFUSAL_SUBJECT_MISSING)) {
        turn();
        int64_t more = rejected(REFUSAL_SUBJECT_MISSING) - done;
        most = more > most ? more : most;
    }
    cr_assert_leq(most, 2 * EACH, "%ld", (long)most);
    for (uint32_t i = 0; i < SENT; i++)
        ack_expect("c");
    cr_assert_eq(dropped(UDP_DROP_LEDGER), 0);
    bench_close();
}

// The same for those that inflate in vain.
Test(udp_gzip, tries_for_a_bounded_time_in_a_turn)
{
    enum { SENT = 12 };
    scoped(buffer_done) struct buffer entries = {0};
    bench_open(&GZIP);
    large_entries(&entries, LARGE_MAX + 1);
    for (uint32_t i = 0; i < SENT; i++)
        entries_send(buffer_view(&entries), "c");
    int64_t most = 0;
    for (int64_t done = 0; done < SENT; done = dropped(UDP_DROP_BROKEN)) {
        turn();
        int64_t more = dropped(UDP_DROP_BROKEN) - done;
        most = more > most ? more : most;
    }
    cr_assert_leq(most, 1, "%ld", (long)most);
    alive_expect();
    bench_close();
}

// An event larger than a datagram may bring does not come in by being compressed.
Test(udp_gzip, takes_events_of_60_kb)
{
    static char filler[UDP_EVENT_MAX];
    memset(filler, 'f', sizeof filler);
    bench_open(&GZIP);
    for (size_t over = 0; over <= 1; over++) {
        scoped(buffer_done) struct buffer entries = {0};
        pack_array(&entries, 2);
        pack_nil(&entries);
        pack_map(&entries, 2);
        pack_text(&entries, "subject");
        pack_text(&entries, "s");
        pack_text(&entries, "f");
        pack_str(&entries, bytes_of(filler, UDP_EVENT_MAX + over - entries.size - 3));
        cr_assert_eq(entries.size, UDP_EVENT_MAX + over);
        entries_send(buffer_view(&entries), over ? "too large" : "fits");
        ack_expect(over ? "too large" : "fits");
    }
    turn();
    cr_assert_eq(metric_get(&bench.metrics.events), 1);
    cr_assert_eq(rejected(REFUSAL_SIZE_UDP), 1);
    bench_close();
}

// Thousands of rejects come in few bytes; the answer's list of them does not go out.
Test(udp_gzip, answers_with_no_more_than_the_request)
{
    scoped(buffer_done) struct buffer entries = {0}, packed = {0}, out = {0};
    bench_open(&GZIP);
    for (uint32_t i = 0; i < 5000; i++)
        pack_nil(&entries);
    squeeze(&packed, buffer_view(&entries));
    pack_array(&out, 3);
    pack_text(&out, "api_call");
    pack_bin(&out, buffer_view(&packed));
    pack_map(&out, 3);
    pack_text(&out, "compressed");
    pack_text(&out, "gzip");
    pack_text(&out, "chunk");
    pack_text(&out, "c1");
    pack_text(&out, "tally");
    pack_map(&out, 1);
    pack_text(&out, "results");
    pack_bool(&out, true);
    datagram_send(buffer_view(&out));
    ack_expect("c1");
    turn();
    cr_assert_eq(rejected(REFUSAL_ENTRY), 5000);
    bench_close();
}
