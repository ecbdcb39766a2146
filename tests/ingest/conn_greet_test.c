// Strangers on connections: nothing of them counts before the handshake.

#include "base/unpack.h"
#include "tests/ingest/front_bench.h"
#include "tests/ingest/ping.h"
#include "tests/ingest/squeeze.h"

#define BYTES(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static const struct user USERS[] = {
    {.name = BYTES("acme"),        .password = BYTES("correct-horse")},
    { .name = BYTES("importer"), .password = BYTES("staple"),               .may_backfill = true},
};
static const struct credentials KEY_ONLY = {.shared_key = BYTES("a shared key")};
static const struct credentials WITH_USERS = {
    .shared_key = BYTES("a shared key"), .users = USERS, .users_count = 2};
static const struct front_bench_options KEY_BENCH = {
    .credentials = &KEY_ONLY, .inflated = {.size_max = 1 << 20, .ratio_max = 200}
};
static const struct front_bench_options USERS_BENCH = {.credentials = &WITH_USERS};

enum { HELO_SIZE_MAX = 128 };

struct greeting {
    uint8_t helo[HELO_SIZE_MAX];
    struct ping ping;  // views into helo
};

// Waits for HELO and says what a client with the right key would answer.
static void
helo_await(struct front_bench *bench, struct peer_end *end, struct greeting *out)
{
    struct unpack_scan scan = {0};
    BENCH_TURN_UNTIL(
        bench,
        (end_read(end), unpack_scan(&scan, buffer_view(&end->answer), HELO_SIZE_MAX)) ==
            UNPACK_COMPLETE);
    cr_assert_eq(scan.size, end->answer.size);
    memcpy(out->helo, end->answer.data, scan.size);
    buffer_reset(&end->answer);
    struct cursor in = cursor_over(bytes_of(out->helo, scan.size));
    struct unpack_item item, nonce, auth;
    cr_assert(unpack_next(&in, &item) && item.type == UNPACK_ARRAY && item.count == 2);
    cr_assert(unpack_next(&in, &item) && bytes_equal(item.text, bytes_text("HELO")));
    cr_assert(unpack_next(&in, &item) && item.type == UNPACK_MAP && item.count == 3);
    cr_assert(unpack_next(&in, &item) && bytes_equal(item.text, bytes_text("nonce")));
    cr_assert(unpack_next(&in, &nonce) && nonce.type == UNPACK_STR);
    cr_assert(unpack_next(&in, &item) && bytes_equal(item.text, bytes_text("auth")));
    cr_assert(unpack_next(&in, &auth) && auth.type == UNPACK_STR);
    out->ping = (struct ping){
        .host = BYTES("client"),
        .salt = BYTES("salt"),
        .nonce = nonce.text,
        .key = BYTES("a shared key"),
        .auth = auth.text,
        .user = auth.text.size > 0 ? BYTES("acme") : BYTES(""),
        .password = BYTES("correct-horse"),
    };
}

static void
pong_expect(struct front_bench *bench, struct peer_end *end, const struct ping *ping)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pong_pack(ping, &wanted);
    end_expect(bench, end, buffer_view(&wanted));
}

static void
refusal_expect(struct front_bench *bench, struct peer_end *end, enum handshake_fault fault)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pong_refusal_pack(handshake_fault_name(fault), &wanted);
    end_expect(bench, end, buffer_view(&wanted));
    end_expect_close(bench, end);
}

static void
nothing_counted(const struct front_bench *bench)
{
    cr_assert_eq(metric_get(&bench->metrics.frames), 0);
    cr_assert_eq(metric_get(&bench->metrics.events), 0);
    cr_assert_eq(metric_get(&bench->metrics.acks), 0);
    cr_assert_eq(metric_get(&bench->metrics.heartbeats), 0);
}

Test(conn_greet, lets_in_who_passes)
{
    struct front_bench bench;
    struct peer_end end;
    struct greeting greeting;
    front_bench_open(&bench, &KEY_BENCH);
    end_open(&bench, &end, false);
    helo_await(&bench, &end, &greeting);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&greeting.ping, &out);
    end_send(&bench, &end, buffer_view(&out));
    pong_expect(&bench, &end, &greeting.ping);
    buffer_reset(&out);
    wire_forward(&out, "api_call", &(struct wire){.events = 3, .chunk = "c1"});
    end_send(&bench, &end, buffer_view(&out));
    end_expect_ack(&bench, &end, "c1");
    buffer_reset(&out);
    wire_squeezed(&out, "api_call", &(struct wire){.events = 3, .first = 3, .chunk = "c2"}, 2);
    end_send(&bench, &end, buffer_view(&out));
    end_expect_ack(&bench, &end, "c2");
    cr_assert_eq(metric_get(&bench.metrics.handshakes), 1);
    cr_assert_eq(metric_get(&bench.metrics.events), 6);
    end_close(&end);
    front_bench_close(&bench);
}

// PING and what follows it, cut into two pieces at every byte.
Test(conn_greet, takes_frames_that_follow_at_once)
{
    struct front_bench bench;
    front_bench_open(&bench, &KEY_BENCH);
    size_t size = 1;
    for (size_t cut = 0; cut < size; cut += cut < 8 ? 1 : 13) {
        struct peer_end end;
        struct greeting greeting;
        end_open(&bench, &end, false);
        helo_await(&bench, &end, &greeting);
        scoped(buffer_done) struct buffer out = {0}, wanted = {0};
        ping_pack(&greeting.ping, &out);
        wire_forward(&out, "api_call", &(struct wire){.events = 2, .chunk = "c1"});
        size = out.size;
        end_send(&bench, &end, bytes_of(out.data, cut));
        bench_turn(&bench);
        bench_turn(&bench);
        end_send(&bench, &end, bytes_of(out.data + cut, size - cut));
        pong_pack(&greeting.ping, &wanted);
        pack_map(&wanted, 1);
        pack_text(&wanted, "ack");
        pack_text(&wanted, "c1");
        end_expect(&bench, &end, buffer_view(&wanted));
        end_close(&end);
    }
    cr_assert_eq(metric_get(&bench.metrics.handshakes), metric_get(&bench.metrics.frames));
    front_bench_close(&bench);
}

static const struct {
    const char *name;
    struct ping wrong;
    enum handshake_fault fault;
} WRONG[] = {
    {"another key",      {.key = BYTES("another")},      HANDSHAKE_KEY_MISMATCH },
    {"an unknown user",  {.user = BYTES("nobody")},      HANDSHAKE_USER_MISMATCH},
    {"another password", {.password = BYTES("battery")}, HANDSHAKE_USER_MISMATCH},
    {"no user",          {.user = BYTES("")},            HANDSHAKE_USER_MISMATCH},
    {"our own name",     {.host = BYTES("tallyd")},      HANDSHAKE_SAME_HOST    },
};

// With a frame behind the wrong PING, which must not count.
Test(conn_greet, turns_away_who_does_not_pass)
{
    struct front_bench bench;
    front_bench_open(&bench, &USERS_BENCH);
    for (size_t i = 0; i < sizeof WRONG / sizeof WRONG[0]; i++) {
        struct peer_end end;
        struct greeting greeting;
        end_open(&bench, &end, false);
        helo_await(&bench, &end, &greeting);
        struct ping *ping = &greeting.ping;
        int64_t before = metric_get(&bench.metrics.turned_away[WRONG[i].fault]);
        if (WRONG[i].wrong.host.data != NULL)
            ping->host = WRONG[i].wrong.host;
        if (WRONG[i].wrong.key.data != NULL)
            ping->key = WRONG[i].wrong.key;
        if (WRONG[i].wrong.user.data != NULL)
            ping->user = WRONG[i].wrong.user;
        if (WRONG[i].wrong.password.data != NULL)
            ping->password = WRONG[i].wrong.password;
        scoped(buffer_done) struct buffer out = {0};
        ping_pack(ping, &out);
        wire_forward(&out, "api_call", &(struct wire){.events = 2, .chunk = "c1"});
        end_send(&bench, &end, buffer_view(&out));
        refusal_expect(&bench, &end, WRONG[i].fault);
        cr_assert_eq(
            metric_get(&bench.metrics.turned_away[WRONG[i].fault]),
            before + 1,
            "%s",
            WRONG[i].name);
        end_close(&end);
    }
    nothing_counted(&bench);
    front_bench_close(&bench);
}

static const struct {
    const char *name;
    struct bytes bytes;
} NO_PING[] = {
    {"a heartbeat",                BYTES("\xc0")                            },
    {"a byte that is never used",  BYTES("\xc1")                            },
    {"an empty frame",             BYTES("\x92\xa1t\x90")                   },
    {"HELO",                       BYTES("\x92\xa4HELO\x80")                },
    {"GET",                        BYTES("GET / HTTP/1.1\r\n\r\n")          },
    {"a host name of 4 GiB",       BYTES("\x96\xa4PING\xdb\xff\xff\xff\xff")},
    {"a host name of 3,000 bytes", BYTES("\x96\xa4PING\xda\x0b\xb8")        },
    {"millions of elements",       BYTES("\xdd\x04\x00\x00\x00")            },
};

Test(conn_greet, turns_away_who_says_something_else)
{
    struct front_bench bench;
    front_bench_open(&bench, &KEY_BENCH);
    for (size_t i = 0; i < sizeof NO_PING / sizeof NO_PING[0]; i++) {
        struct peer_end end;
        struct greeting greeting;
        end_open(&bench, &end, false);
        helo_await(&bench, &end, &greeting);
        end_send(&bench, &end, NO_PING[i].bytes);
        refusal_expect(&bench, &end, HANDSHAKE_NOT_PING);
        end_close(&end);
    }
    // A frame with a chunk, as a client sends it that knows of no handshake.
    struct peer_end end;
    struct greeting greeting;
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api_call", &(struct wire){.events = 2, .chunk = "c1"});
    end_open(&bench, &end, false);
    helo_await(&bench, &end, &greeting);
    end_send(&bench, &end, buffer_view(&out));
    refusal_expect(&bench, &end, HANDSHAKE_NOT_PING);
    end_close(&end);
    nothing_counted(&bench);
    front_bench_close(&bench);
}

Test(conn_greet, does_not_take_an_old_ping)
{
    struct front_bench bench;
    struct peer_end first, second;
    struct greeting greeting, other;
    front_bench_open(&bench, &KEY_BENCH);
    end_open(&bench, &first, false);
    helo_await(&bench, &first, &greeting);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&greeting.ping, &out);
    end_send(&bench, &first, buffer_view(&out));
    pong_expect(&bench, &first, &greeting.ping);
    end_open(&bench, &second, false);
    helo_await(&bench, &second, &other);
    end_send(&bench, &second, buffer_view(&out));
    refusal_expect(&bench, &second, HANDSHAKE_KEY_MISMATCH);
    end_close(&first);
    end_close(&second);
    front_bench_close(&bench);
}

// A second PING is no frame of the protocol.
Test(conn_greet, is_done_once)
{
    struct front_bench bench;
    struct peer_end end;
    struct greeting greeting;
    front_bench_open(&bench, &KEY_BENCH);
    end_open(&bench, &end, false);
    helo_await(&bench, &end, &greeting);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&greeting.ping, &out);
    end_send(&bench, &end, buffer_view(&out));
    pong_expect(&bench, &end, &greeting.ping);
    end_send(&bench, &end, buffer_view(&out));
    end_expect_close(&bench, &end);
    cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_NOT_FORWARD]), 1);
    end_close(&end);
    front_bench_close(&bench);
}

// Says the next byte when its time has come; the last one is never sent.
static bool
slow_is_ended(struct peer_end *end, struct bytes bytes, size_t *at, int64_t *next_ns)
{
    if (*at + 1 < bytes.size && clock_monotonic_ns() >= *next_ns) {
        (void)send(end->fd, bytes.data + *at, 1, MSG_NOSIGNAL);
        (*at)++;
        *next_ns += SECOND_NS / 50;
    }
    end_read(end);
    return end->is_ended;
}

// One who says nothing, and one who says it byte by byte, while another works.
Test(conn_greet, does_not_wait_for_ever)
{
    struct front_bench bench;
    struct peer_end silent, slow, good;
    struct greeting greeting, slow_greeting, good_greeting;
    struct front_bench_options options = KEY_BENCH;
    options.handshake_ns = SECOND_NS;
    front_bench_open(&bench, &options);
    end_open(&bench, &good, false);
    helo_await(&bench, &good, &good_greeting);
    scoped(buffer_done) struct buffer out = {0}, refusal = {0};
    ping_pack(&good_greeting.ping, &out);
    end_send(&bench, &good, buffer_view(&out));
    pong_expect(&bench, &good, &good_greeting.ping);
    end_open(&bench, &silent, false);
    end_open(&bench, &slow, false);
    helo_await(&bench, &silent, &greeting);
    helo_await(&bench, &slow, &slow_greeting);
    buffer_reset(&out);
    ping_pack(&slow_greeting.ping, &out);
    pong_refusal_pack(handshake_fault_name(HANDSHAKE_TIMEOUT), &refusal);
    size_t at = 0;
    int64_t next_ns = clock_monotonic_ns();
    BENCH_TURN_UNTIL(&bench, slow_is_ended(&slow, buffer_view(&out), &at, &next_ns));
    cr_assert_lt(at, out.size - 1, "it had not said everything yet");
    cr_assert(bytes_equal(buffer_view(&slow.answer), buffer_view(&refusal)));
    end_expect(&bench, &silent, buffer_view(&refusal));
    end_expect_close(&bench, &silent);
    cr_assert_eq(metric_get(&bench.metrics.turned_away[HANDSHAKE_TIMEOUT]), 2);
    buffer_reset(&out);
    wire_forward(&out, "api_call", &(struct wire){.events = 1, .chunk = "alive"});
    end_send(&bench, &good, buffer_view(&out));
    end_expect_ack(&bench, &good, "alive");
    end_close(&silent);
    end_close(&slow);
    end_close(&good);
    front_bench_close(&bench);
}

// Over the unix socket, this process's own user needs no key and may backfill.
// docs/wire.md: W140
Test(conn_greet, asks_nothing_of_the_own_user)
{
    struct front_bench bench;
    struct peer_end end;
    front_bench_open(&bench, &USERS_BENCH);
    end_open(&bench, &end, true);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api_call", &(struct wire){.events = 1, .chunk = "c1", .backfill = "b1"});
    end_send(&bench, &end, buffer_view(&out));
    end_expect_ack(&bench, &end, "c1");
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BACKFILL]), 0);
    cr_assert_eq(metric_get(&bench.metrics.handshakes), 0);
    end_close(&end);
    front_bench_close(&bench);
}

static void
backfill_send(struct front_bench *bench, const char *user, const char *password, uint32_t first)
{
    struct peer_end end;
    struct greeting greeting;
    end_open(bench, &end, false);
    helo_await(bench, &end, &greeting);
    greeting.ping.user = bytes_text(user);
    greeting.ping.password = bytes_text(password);
    scoped(buffer_done) struct buffer out = {0};
    ping_pack(&greeting.ping, &out);
    end_send(bench, &end, buffer_view(&out));
    pong_expect(bench, &end, &greeting.ping);
    buffer_reset(&out);
    const struct wire wire = {.events = 4, .first = first, .chunk = "c", .backfill = "b1"};
    wire_forward(&out, "api_call", &wire);
    end_send(bench, &end, buffer_view(&out));
    end_await(bench, &end, 1);
    end_close(&end);
}

Test(conn_greet, lets_backfill_whose_scope_says_so)
{
    struct front_bench bench;
    front_bench_open(&bench, &USERS_BENCH);
    backfill_send(&bench, "acme", "correct-horse", 0);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BACKFILL]), 4);
    cr_assert_eq(metric_get(&bench.metrics.events), 0);
    backfill_send(&bench, "importer", "staple", 10);
    cr_assert_eq(metric_get(&bench.metrics.rejected[REFUSAL_BACKFILL]), 4);
    cr_assert_eq(metric_get(&bench.metrics.events), 4);
    front_bench_close(&bench);
}
