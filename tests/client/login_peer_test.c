// The handshake on connections: what libtally sends and does not send to a server that the test
// plays, and to a real tallyd with a shared key and users.
#include "base/clock.h"
#include "base/digest.h"
#include "base/pack.h"
#include "client/tally.h"
#include "tests/client/peer.h"
#include "tests/client/tallyd.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>

enum { WAIT_MS = 20000, LOOK_MS = 2, QUIET_MS = 30 };

static const char NONCE[] = "nonce";

static struct tally_options
options_for(const char *server)
{
    return (struct tally_options){
        .server = server,
        .batch_events = 3,
        .batch_age_ms = 5,
        .retry_min_ms = 1,
        .retry_max_ms = 5,
        .shared_key = "key",
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

static void
send_some(struct tally *tally, int count)
{
    for (int i = 0; i < count; i++)
        cr_assert_eq(
            tally_send(tally, &(struct tally_event){.subject = "a", .type = "call"}), TALLY_OK);
}

static struct tally_stats
stats_of(struct tally *tally)
{
    struct tally_stats stats;
    tally_stats(tally, &stats);
    return stats;
}

static void
wait_error(struct tally *tally, const char *part)
{
    struct tally_stats stats = stats_of(tally);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (strstr(stats.last_error, part) == NULL) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "last_error is: %s", stats.last_error);
        (void)poll(NULL, 0, LOOK_MS);
        stats = stats_of(tally);
    }
    cr_assert_not(stats.is_connected);
    cr_assert_eq(stats.connects, 0, "a server that was not proved is no connection");
}

// --- a server that the test plays ---

static void
helo_write(struct peer *peer)
{
    scoped(buffer_done) struct buffer helo = {0};
    pack_array(&helo, 2);
    pack_text(&helo, "HELO");
    pack_map(&helo, 1);
    pack_text(&helo, "nonce");
    pack_text(&helo, NONCE);
    peer_write(peer, buffer_view(&helo));
}

struct ping {
    char salt[64];
    char host[128];
};

static void
text_copy(const msgpack_object *object, char *out, size_t out_size)
{
    cr_assert_eq(object->type, MSGPACK_OBJECT_STR);
    (void)snprintf(out, out_size, "%.*s", (int)object->via.str.size, object->via.str.ptr);
}

static void
ping_take(struct peer *peer, struct ping *out)
{
    scoped(buffer_done) struct buffer message = {0};
    msgpack_unpacked unpacked;
    size_t offset = 0;
    char word[16];
    peer_take_value(peer, &message);
    msgpack_unpacked_init(&unpacked);
    cr_assert_eq(
        msgpack_unpack_next(&unpacked, (const char *)message.data, message.size, &offset),
        MSGPACK_UNPACK_SUCCESS);
    cr_assert_eq(unpacked.data.type, MSGPACK_OBJECT_ARRAY);
    cr_assert_eq(unpacked.data.via.array.size, 6);
    const msgpack_object *items = unpacked.data.via.array.ptr;
    text_copy(&items[0], word, sizeof word);
    cr_assert_str_eq(word, "PING");
    text_copy(&items[1], out->host, sizeof out->host);
    text_copy(&items[2], out->salt, sizeof out->salt);
    msgpack_unpacked_destroy(&unpacked);
}

static void
pong_pack(const struct ping *ping, const char *key, struct buffer *pong)
{
    char digest[DIGEST_HEX_SIZE];
    const struct bytes parts[] = {
        bytes_text(ping->salt), bytes_text("server"), bytes_text(NONCE), bytes_text(key)};
    cr_assert(digest_hex(parts, 4, digest));
    pack_array(pong, 5);
    pack_text(pong, "PONG");
    pack_bool(pong, true);
    pack_text(pong, "");
    pack_text(pong, "server");
    pack_str(pong, bytes_of(digest, sizeof digest));
}

static void
pong_write(struct peer *peer, const struct ping *ping, const char *key)
{
    scoped(buffer_done) struct buffer pong = {0};
    pong_pack(ping, key, &pong);
    peer_write(peer, buffer_view(&pong));
}

static void
assert_takes_batch(struct peer *peer, struct tally *tally)
{
    struct parcel parcel;
    peer_take(peer, &parcel);
    cr_assert_eq(parcel.events_count, 3);
    peer_ack(peer, &parcel);
    parcel_done(&parcel);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert(stats_of(tally).is_connected);
    cr_assert_str_empty(stats_of(tally).last_error);
}

Test(login_peer, sends_no_event_before_the_server_proved_the_key)
{
    struct peer peer;
    struct ping ping;
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&peer);
    cr_assert(peer_is_quiet(&peer, QUIET_MS), "before HELO");
    cr_assert_not(stats_of(tally).is_connected);
    helo_write(&peer);
    ping_take(&peer, &ping);
    cr_assert(peer_is_quiet(&peer, QUIET_MS), "before PONG");
    cr_assert_not(stats_of(tally).is_connected);
    pong_write(&peer, &ping, "key");
    assert_takes_batch(&peer, tally);
    cr_assert_eq(stats_of(tally).connects, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    peer_done(&peer);
}

Test(login_peer, reads_a_pong_byte_by_byte)
{
    struct peer peer;
    struct ping ping;
    scoped(buffer_done) struct buffer pong = {0};
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&peer);
    helo_write(&peer);
    ping_take(&peer, &ping);
    pong_pack(&ping, "key", &pong);
    for (size_t i = 0; i < pong.size; i++)
        peer_write(&peer, bytes_of(pong.data + i, 1));
    assert_takes_batch(&peer, tally);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    peer_done(&peer);
}

Test(login_peer, leaves_a_server_with_another_key_for_the_next_one)
{
    struct peer wrong, right;
    struct ping ping;
    struct parcel parcel;
    char servers[600];
    peer_listen(&wrong);
    peer_listen(&right);
    (void)snprintf(servers, sizeof servers, "%s,%s", wrong.name, right.name);
    struct tally_options options = options_for(servers);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&wrong);
    helo_write(&wrong);
    ping_take(&wrong, &ping);
    pong_write(&wrong, &ping, "kez");
    cr_assert_not(peer_try_take(&wrong, &parcel), "a batch came");
    wait_error(tally, "did not prove that it knows the shared key");
    peer_accept(&right);
    helo_write(&right);
    ping_take(&right, &ping);
    pong_write(&right, &ping, "key");
    assert_takes_batch(&right, tally);
    cr_assert_eq(stats_of(tally).server, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    peer_done(&wrong);
    peer_done(&right);
}

// The next connection begins with a PING of its own.
Test(login_peer, tries_again_after_a_refusal)
{
    struct peer peer;
    struct ping first, second;
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&peer);
    helo_write(&peer);
    ping_take(&peer, &first);
    peer_write(&peer, bytes_text("\x95\xa4PONG\xc2\xa5not u\xa0\xa0"));
    wait_error(tally, "the server refused the handshake: not u");
    peer_drop(&peer, false);
    peer_accept(&peer);
    helo_write(&peer);
    ping_take(&peer, &second);
    cr_assert_str_neq(first.salt, second.salt);
    pong_write(&peer, &second, "key");
    assert_takes_batch(&peer, tally);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    peer_done(&peer);
}

Test(login_peer, gives_up_a_server_without_helo)
{
    struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    options.connect_timeout_ms = 50;
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&peer);
    wait_error(tally, "sent no HELO");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    peer_done(&peer);
}

Test(login_peer, gives_up_a_server_without_pong)
{
    struct peer peer;
    struct ping ping;
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    options.connect_timeout_ms = 200;
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&peer);
    helo_write(&peer);
    ping_take(&peer, &ping);
    wait_error(tally, "did not answer the PING");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    peer_done(&peer);
}

// Without a key the connection counts as one until the HELO comes.
static void
assert_key_is_asked_for(struct tally *tally)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (strstr(stats_of(tally).last_error, "set shared_key") == NULL) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "%s", stats_of(tally).last_error);
        (void)poll(NULL, 0, LOOK_MS);
    }
    cr_assert_eq(tally_close(tally, 0), TALLY_OK);
}

Test(login_peer, says_that_a_key_is_needed)
{
    struct peer peer;
    peer_listen(&peer);
    struct tally_options options = options_for(peer.name);
    options.shared_key = NULL;
    // A second connection would begin without an error, as this one did.
    options.retry_min_ms = WAIT_MS;
    options.retry_max_ms = WAIT_MS;
    struct tally *tally = open_with(&options);
    peer_accept(&peer);
    helo_write(&peer);
    assert_key_is_asked_for(tally);
    peer_done(&peer);
}

// --- tallyd ---

static void
assert_counts(const struct tally_options *options)
{
    struct tally *tally = open_with(options);
    send_some(tally, 7);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.events_acked, 7);
    cr_assert_eq(stats.events_rejected + stats.events_conflict + stats.events_duplicate, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

static void
assert_refused(const struct tally_options *options, const char *part)
{
    struct tally *tally = open_with(options);
    send_some(tally, 3);
    wait_error(tally, part);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
}

Test(login_peer, passes_tallyd_with_its_key)
{
    struct tallyd tallyd;
    tallyd_open(&tallyd);
    tallyd_start(&tallyd, (const char *[]){"--shared-key-file", tallyd.key, NULL});
    struct tally_options options = options_for(tallyd.server);
    assert_counts(&options);
    // A server without users does not look at one.
    options.username = "somebody";
    options.password = "something";
    assert_counts(&options);
    options.shared_key = "another";
    assert_refused(&options, "refused the handshake: shared key mismatch");
    options = options_for(tallyd.server);
    options.shared_key = NULL;
    options.retry_min_ms = WAIT_MS;
    options.retry_max_ms = WAIT_MS;
    assert_key_is_asked_for(open_with(&options));
    tallyd_done(&tallyd);
}

Test(login_peer, passes_tallyd_as_one_of_its_users)
{
    struct tallyd tallyd;
    tallyd_open(&tallyd);
    tallyd_start(
        &tallyd, (const char *[]){"--shared-key-file", tallyd.key, "--users", tallyd.users, NULL});
    struct tally_options options = options_for(tallyd.server);
    assert_refused(&options, "set username and password");
    options.username = "acme";
    options.password = "horse";
    assert_counts(&options);
    options.password = "cow";
    assert_refused(&options, "username or password mismatch");
    options.username = "nobody";
    options.password = "horse";
    assert_refused(&options, "username or password mismatch");
    options.username = "importer";
    options.password = "staple";
    options.backfill = "2024";
    tallyd_open_backfill(&tallyd, options.backfill);
    assert_counts(&options);
    tallyd_done(&tallyd);
}
