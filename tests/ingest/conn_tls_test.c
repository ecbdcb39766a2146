// Connections over TLS: against a real ledger, the test plays OpenSSL's own client.

#include "base/unpack.h"
#include "tests/ingest/front_bench.h"
#include "tests/ingest/ping.h"
#include "tests/ingest/squeeze.h"
#include "tests/ingest/tls_client.h"

#define BYTES(text) ((struct bytes){(const uint8_t *)(text), sizeof(text) - 1})

static const struct credentials KEY_ONLY = {.shared_key = BYTES("a shared key")};

struct scene {
    char dir[64];
    struct identity identity;
    struct tls_server *server;
    struct front_bench bench;
};

// A client: its socket and its session.
struct guest {
    struct peer_end end;
    struct tls_client tls;
};

static void
scene_open(struct scene *scene, const struct front_bench_options *options)
{
    struct error error = {0};
    *scene = (struct scene){.dir = "/tmp/tally-conn-tls-XXXXXX"};
    cr_assert_not_null(mkdtemp(scene->dir));
    identity_make(&scene->identity, scene->dir, "server", "first.example");
    const struct tls_files files = {scene->identity.certificate, scene->identity.key, NULL};
    cr_assert_eq(tls_server_open(&files, &scene->server, &error), STATUS_OK, "%s", error.text);
    struct front_bench_options with_tls = *options;
    with_tls.tls = scene->server;
    front_bench_open(&scene->bench, &with_tls);
}

static void
scene_close(struct scene *scene)
{
    front_bench_close(&scene->bench);
    tls_server_close(scene->server);
    cr_assert_eq(nftw(scene->dir, bench_path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void
guest_knock(struct scene *scene, struct guest *guest)
{
    end_open_as(&scene->bench, &guest->end, &(struct peer){.text = "test", .is_tcp = true});
    tls_client_open(&guest->tls, &(struct tls_client_options){.ca = scene->identity.certificate});
}

static void
guest_close(struct guest *guest)
{
    end_close(&guest->end);
    tls_client_close(&guest->tls);
}

// Sends what the session wants to send and takes what came.
static void
guest_step(struct scene *scene, struct guest *guest)
{
    scoped(buffer_done) struct buffer wire = {0};
    end_read(&guest->end);
    tls_client_feed(&guest->tls, buffer_view(&guest->end.answer));
    buffer_reset(&guest->end.answer);
    tls_client_step(&guest->tls);
    tls_client_take(&guest->tls, &wire);
    end_send(&scene->bench, &guest->end, buffer_view(&wire));
}

static void
guest_open(struct scene *scene, struct guest *guest)
{
    guest_knock(scene, guest);
    BENCH_TURN_UNTIL(&scene->bench, (guest_step(scene, guest), tls_client_is_open(&guest->tls)));
}

static void
guest_send(struct scene *scene, struct guest *guest, const struct buffer *bytes)
{
    tls_client_write(&guest->tls, buffer_view(bytes));
    guest_step(scene, guest);
}

static void
guest_forward(struct scene *scene, struct guest *guest, const struct wire *wire)
{
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api_call", wire);
    guest_send(scene, guest, &out);
}

static void
guest_expect(struct scene *scene, struct guest *guest, struct bytes wanted)
{
    BENCH_TURN_UNTIL(
        &scene->bench,
        (guest_step(scene, guest), guest->tls.plain.size >= wanted.size || guest->end.is_ended));
    cr_assert(bytes_equal(buffer_view(&guest->tls.plain), wanted), "another answer");
    buffer_reset(&guest->tls.plain);
}

static void
guest_expect_ack(struct scene *scene, struct guest *guest, const char *chunk)
{
    scoped(buffer_done) struct buffer wanted = {0};
    pack_map(&wanted, 1);
    pack_text(&wanted, "ack");
    pack_text(&wanted, chunk);
    guest_expect(scene, guest, buffer_view(&wanted));
}

static void
guest_expect_hang_up(struct scene *scene, struct guest *guest)
{
    BENCH_TURN_UNTIL(&scene->bench, (guest_step(scene, guest), guest->end.is_ended));
}

static int64_t
failed(const struct scene *scene, enum tls_fault fault)
{
    return metric_get(&scene->bench.metrics.tls_failed[fault]);
}

static const struct front_bench_options PLAIN = {
    .inflated = {.size_max = 4 << 20, .ratio_max = 200},
};

Test(conn_tls, acks_frames)
{
    struct scene scene;
    struct guest guest;
    scene_open(&scene, &PLAIN);
    guest_open(&scene, &guest);
    guest_forward(&scene, &guest, &(struct wire){.events = 5, .chunk = "one"});
    guest_expect_ack(&scene, &guest, "one");
    guest_forward(&scene, &guest, &(struct wire){.events = 3000, .first = 5, .chunk = "many"});
    guest_expect_ack(&scene, &guest, "many");
    scoped(buffer_done) struct buffer squeezed = {0};
    wire_squeezed(&squeezed, "api_call", &(struct wire){.events = 3005, .chunk = "again"}, 2);
    guest_send(&scene, &guest, &squeezed);
    guest_expect_ack(&scene, &guest, "again");
    cr_assert_eq(metric_get(&scene.bench.metrics.events), 6010);
    cr_assert_eq(metric_get(&scene.bench.metrics.duplicates), 3005);
    cr_assert_eq(metric_get(&scene.bench.metrics.tls_handshakes), 1);
    guest_close(&guest);
    scene_close(&scene);
}

// Handshake and frames, one byte at a time.
Test(conn_tls, takes_everything_byte_by_byte)
{
    struct scene scene;
    struct guest guest;
    scene_open(&scene, &PLAIN);
    guest_knock(&scene, &guest);
    bool is_sent = false;
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (metric_get(&scene.bench.metrics.acks) == 0) {
        scoped(buffer_done) struct buffer wire = {0}, frame = {0};
        end_read(&guest.end);
        tls_client_feed(&guest.tls, buffer_view(&guest.end.answer));
        buffer_reset(&guest.end.answer);
        tls_client_step(&guest.tls);
        if (!is_sent && tls_client_is_open(&guest.tls)) {
            wire_forward(&frame, "api_call", &(struct wire){.events = 20, .chunk = "slow"});
            tls_client_write(&guest.tls, buffer_view(&frame));
            is_sent = true;
        }
        tls_client_take(&guest.tls, &wire);
        for (size_t i = 0; i < wire.size; i++) {
            end_send(&scene.bench, &guest.end, bytes_of(wire.data + i, 1));
            bench_turn(&scene.bench);
        }
        bench_turn(&scene.bench);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
    guest_expect_ack(&scene, &guest, "slow");
    cr_assert_eq(metric_get(&scene.bench.metrics.events), 20);
    guest_close(&guest);
    scene_close(&scene);
}

// The protocol's handshake inside of TLS.
Test(conn_tls, asks_for_the_shared_key_inside)
{
    struct scene scene;
    struct guest guest;
    struct front_bench_options options = PLAIN;
    options.credentials = &KEY_ONLY;
    scene_open(&scene, &options);
    guest_open(&scene, &guest);
    struct unpack_scan scan = {0};
    BENCH_TURN_UNTIL(
        &scene.bench,
        (guest_step(&scene, &guest), unpack_scan(&scan, buffer_view(&guest.tls.plain), 128)) ==
            UNPACK_COMPLETE);
    // ["HELO", {"nonce": ...
    struct cursor in = cursor_over(buffer_view(&guest.tls.plain));
    struct unpack_item item, nonce;
    for (int i = 0; i < 4; i++)
        cr_assert(unpack_next(&in, &item));
    cr_assert(unpack_next(&in, &nonce) && nonce.type == UNPACK_STR);
    struct ping ping = {
        .host = BYTES("client"),
        .salt = BYTES("salt"),
        .nonce = nonce.text,
        .key = BYTES("a shared key"),
    };
    scoped(buffer_done) struct buffer said = {0}, wanted = {0};
    ping_pack(&ping, &said);
    pong_pack(&ping, &wanted);
    buffer_reset(&guest.tls.plain);
    guest_send(&scene, &guest, &said);
    guest_expect(&scene, &guest, buffer_view(&wanted));
    guest_forward(&scene, &guest, &(struct wire){.events = 5, .chunk = "one"});
    guest_expect_ack(&scene, &guest, "one");
    guest_close(&guest);
    scene_close(&scene);
}

Test(conn_tls, closes_plaintext_with_a_count)
{
    struct scene scene;
    struct peer_end end;
    struct guest guest;
    scene_open(&scene, &PLAIN);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api_call", &(struct wire){.events = 3, .chunk = "never"});
    end_open_as(&scene.bench, &end, &(struct peer){.text = "test", .is_tcp = true});
    end_send(&scene.bench, &end, buffer_view(&out));
    end_expect_close(&scene.bench, &end);
    end_close(&end);
    cr_assert_eq(failed(&scene, TLS_PLAINTEXT), 1);
    cr_assert_eq(metric_get(&scene.bench.metrics.events), 0);
    // Others go on, and the unix socket knows no TLS.
    guest_open(&scene, &guest);
    guest_forward(&scene, &guest, &(struct wire){.events = 3, .chunk = "one"});
    guest_expect_ack(&scene, &guest, "one");
    end_open(&scene.bench, &end, true);
    end_send(&scene.bench, &end, buffer_view(&out));
    end_expect_ack(&scene.bench, &end, "never");
    end_close(&end);
    guest_close(&guest);
    scene_close(&scene);
}

// A listener without TLS says why, whether it asks for a key or not.
Test(conn_tls, closes_a_tls_client_where_there_is_no_tls)
{
    const struct credentials *const credentials[] = {NULL, &KEY_ONLY};
    for (size_t i = 0; i < 2; i++) {
        struct front_bench bench;
        struct front_bench_options options = PLAIN;
        struct tls_client client;
        struct peer_end end;
        scoped(buffer_done) struct buffer hello = {0};
        options.credentials = credentials[i];
        front_bench_open(&bench, &options);
        tls_client_open(&client, &(struct tls_client_options){0});
        tls_client_step(&client);
        tls_client_take(&client, &hello);
        end_open_as(&bench, &end, &(struct peer){.text = "test", .is_tcp = true});
        end_send(&bench, &end, buffer_view(&hello));
        BENCH_TURN_UNTIL(&bench, (end_read(&end), end.is_ended));
        cr_assert_eq(metric_get(&bench.metrics.broken[FRAME_TLS]), 1);
        end_close(&end);
        tls_client_close(&client);
        front_bench_close(&bench);
    }
}

// A client that says nothing, one that stops in the middle, and one that only shows no key.
Test(conn_tls, bounds_the_time_of_the_handshake)
{
    struct scene scene;
    struct peer_end silent, half;
    struct tls_client client;
    struct guest stranger;
    struct front_bench_options options = PLAIN;
    options.credentials = &KEY_ONLY;
    options.handshake_ns = 3 * SECOND_NS;
    scene_open(&scene, &options);
    scoped(buffer_done) struct buffer hello = {0};
    guest_open(&scene, &stranger);
    tls_client_open(&client, &(struct tls_client_options){0});
    tls_client_step(&client);
    tls_client_take(&client, &hello);
    end_open_as(&scene.bench, &silent, &(struct peer){.text = "test", .is_tcp = true});
    end_open_as(&scene.bench, &half, &(struct peer){.text = "test", .is_tcp = true});
    end_send(&scene.bench, &half, bytes_of(hello.data, hello.size / 2));
    end_expect_close(&scene.bench, &silent);
    end_expect_close(&scene.bench, &half);
    cr_assert_eq(failed(&scene, TLS_TIMEOUT), 2);
    guest_expect_hang_up(&scene, &stranger);
    cr_assert_eq(metric_get(&scene.bench.metrics.turned_away[HANDSHAKE_TIMEOUT]), 1);
    cr_assert(stranger.tls.is_ended, "with close_notify");
    end_close(&silent);
    end_close(&half);
    tls_client_close(&client);
    guest_close(&stranger);
    BENCH_TURN_UNTIL(&scene.bench, front_connections(scene.bench.front) == 0);
    scene_close(&scene);
}

// Who says that nothing more comes still gets its acks, and our close_notify.
// As a message that was begun, though nothing of it can be decrypted yet.
Test(conn_tls, ends_a_record_that_does_not_come_on)
{
    struct scene scene;
    struct guest slow, idle;
    struct front_bench_options options = PLAIN;
    options.stall_ns = 300 * INT64_C(1000000);
    scene_open(&scene, &options);
    guest_open(&scene, &idle);
    guest_open(&scene, &slow);
    scoped(buffer_done) struct buffer out = {0};
    scoped(buffer_done) struct buffer wire = {0};
    wire_forward(&out, "api_call", &(struct wire){.events = 5, .chunk = "never"});
    tls_client_write(&slow.tls, buffer_view(&out));
    tls_client_take(&slow.tls, &wire);
    cr_assert_gt(wire.size, out.size);
    end_send(&scene.bench, &slow.end, bytes_of(wire.data, wire.size - 1));
    BENCH_TURN_UNTIL(&scene.bench, metric_get(&scene.bench.metrics.broken[FRAME_SLOW]) == 1);
    guest_expect_hang_up(&scene, &slow);
    guest_forward(&scene, &idle, &(struct wire){.events = 1, .chunk = "alive"});
    guest_expect_ack(&scene, &idle, "alive");
    cr_assert_eq(metric_get(&scene.bench.metrics.events), 1);
    guest_close(&slow);
    guest_close(&idle);
    scene_close(&scene);
}

// A storm of them does not keep the loop from others; all are served in the end.
Test(conn_tls, does_a_few_handshakes_in_a_turn)
{
    enum { GUESTS = 16, A_TURN = 2 };
    struct scene scene;
    struct guest guests[GUESTS];
    bool is_greeted[GUESTS] = {false};
    scene_open(&scene, &PLAIN);
    for (uint32_t i = 0; i < GUESTS; i++) {
        guest_knock(&scene, &guests[i]);
        scoped(buffer_done) struct buffer hello = {0};
        tls_client_step(&guests[i].tls);
        tls_client_take(&guests[i].tls, &hello);
        end_send(&scene.bench, &guests[i].end, buffer_view(&hello));
    }
    uint32_t greeted = 0;
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (greeted < GUESTS) {
        uint32_t before = greeted;
        bench_turn(&scene.bench);
        for (uint32_t i = 0; i < GUESTS; i++) {
            end_read(&guests[i].end);
            greeted += !is_greeted[i] && guests[i].end.answer.size > 0;
            is_greeted[i] = guests[i].end.answer.size > 0;
        }
        cr_assert_leq(greeted - before, A_TURN, "%u in one turn", greeted - before);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
    // All end their handshakes at once, with a message behind it, and hang up.
    for (uint32_t i = 0; i < GUESTS; i++) {
        scoped(buffer_done) struct buffer out = {0};
        scoped(buffer_done) struct buffer wire = {0};
        tls_client_feed(&guests[i].tls, buffer_view(&guests[i].end.answer));
        buffer_reset(&guests[i].end.answer);
        tls_client_step(&guests[i].tls);
        cr_assert(tls_client_is_open(&guests[i].tls));
        wire_forward(&out, "api_call", &(struct wire){.events = 1, .first = i, .chunk = "in"});
        tls_client_write(&guests[i].tls, buffer_view(&out));
        tls_client_take(&guests[i].tls, &wire);
        end_send(&scene.bench, &guests[i].end, buffer_view(&wire));
        cr_assert_eq(shutdown(guests[i].end.fd, SHUT_WR), 0);
    }
    for (uint32_t i = 0; i < GUESTS; i++)
        guest_expect_ack(&scene, &guests[i], "in");
    cr_assert_eq(metric_get(&scene.bench.metrics.events), GUESTS);
    for (uint32_t i = 0; i < GUESTS; i++)
        guest_close(&guests[i]);
    scene_close(&scene);
}

Test(conn_tls, acks_after_the_clients_close_notify)
{
    struct scene scene;
    struct guest guest;
    scene_open(&scene, &PLAIN);
    guest_open(&scene, &guest);
    scoped(buffer_done) struct buffer out = {0};
    wire_forward(&out, "api_call", &(struct wire){.events = 100, .chunk = "last"});
    tls_client_write(&guest.tls, buffer_view(&out));
    cr_assert_eq(SSL_shutdown(guest.tls.ssl), 0);
    guest_expect_hang_up(&scene, &guest);
    cr_assert(guest.tls.is_ended && !guest.tls.has_failed);
    guest_expect_ack(&scene, &guest, "last");
    guest_close(&guest);
    scene_close(&scene);
}

// A broken record ends the connection; what came whole before is stored.
Test(conn_tls, stores_what_came_before_a_broken_record)
{
    struct scene scene;
    struct guest guest;
    scene_open(&scene, &PLAIN);
    guest_open(&scene, &guest);
    scoped(buffer_done) struct buffer frame = {0}, wire = {0};
    wire_forward(&frame, "api_call", &(struct wire){.events = 4, .chunk = "whole"});
    tls_client_write(&guest.tls, buffer_view(&frame));
    tls_client_take(&guest.tls, &wire);
    tls_client_write(&guest.tls, buffer_view(&frame));
    tls_client_take(&guest.tls, &wire);
    wire.data[wire.size - 1] ^= 1;
    end_send(&scene.bench, &guest.end, buffer_view(&wire));
    guest_expect_hang_up(&scene, &guest);
    cr_assert(guest.tls.has_failed, "an alert came");
    cr_assert_eq(failed(&scene, TLS_BROKEN), 1);
    cr_assert_eq(metric_get(&scene.bench.metrics.events), 4);
    guest_close(&guest);
    BENCH_TURN_UNTIL(&scene.bench, front_connections(scene.bench.front) == 0);
    scene_close(&scene);
}

// Hanging up at any byte of the handshake and of a frame leaves nothing behind.
Test(conn_tls, survives_hang_ups_at_every_point)
{
    struct scene scene;
    scene_open(&scene, &PLAIN);
    for (size_t limit = 0; limit < 700; limit += 13) {
        struct guest guest;
        size_t sent = 0;
        bool is_written = false;
        guest_knock(&scene, &guest);
        for (int round = 0; round < 6 && sent < limit; round++) {
            scoped(buffer_done) struct buffer wire = {0}, frame = {0};
            end_read(&guest.end);
            tls_client_feed(&guest.tls, buffer_view(&guest.end.answer));
            buffer_reset(&guest.end.answer);
            tls_client_step(&guest.tls);
            if (!is_written && tls_client_is_open(&guest.tls)) {
                wire_forward(&frame, "api_call", &(struct wire){.events = 5});
                tls_client_write(&guest.tls, buffer_view(&frame));
                is_written = true;
            }
            tls_client_take(&guest.tls, &wire);
            size_t size = wire.size < limit - sent ? wire.size : limit - sent;
            end_send(&scene.bench, &guest.end, bytes_of(wire.data, size));
            sent += size;
            bench_turn(&scene.bench);
        }
        guest_close(&guest);
        BENCH_TURN_UNTIL(&scene.bench, front_connections(scene.bench.front) == 0);
    }
    cr_assert_eq(metric_get(&scene.bench.metrics.memory), 0);
    scene_close(&scene);
}

// Full acks stop the reading, as without TLS; when the client reads again, everything comes.
Test(conn_tls, stops_reading_when_acks_are_not_read)
{
    enum { FRAMES = 300 };
    struct scene scene;
    struct guest guest;
    struct front_bench_options options = PLAIN;
    options.acks_max = 256;
    scene_open(&scene, &options);
    guest_open(&scene, &guest);
    int small = 1;
    cr_assert_eq(setsockopt(guest.end.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    scoped(buffer_done) struct buffer wire = {0}, wanted = {0}, frame = {0};
    for (uint32_t i = 0; i < FRAMES; i++) {
        char chunk[256];
        memset(chunk, 'c', sizeof chunk);
        chunk[255] = '\0';
        (void)snprintf(chunk, 16, "%015u", i);
        chunk[15] = '-';
        wire_forward(
            &frame,
            "api_call",
            &(struct wire){.events = 1, .first = i, .chunk = chunk, .subject = "one"});
        pack_map(&wanted, 1);
        pack_text(&wanted, "ack");
        pack_text(&wanted, chunk);
    }
    tls_client_write(&guest.tls, buffer_view(&frame));
    tls_client_take(&guest.tls, &wire);
    size_t sent = 0;
    int idle_turns = 0;
    // The socket's buffers take some; then nothing moves any more.
    while (idle_turns < 20) {
        ssize_t size = send(guest.end.fd, wire.data + sent, wire.size - sent, MSG_NOSIGNAL);
        idle_turns = size > 0 ? 0 : idle_turns + 1;
        sent += size > 0 ? (size_t)size : 0;
        bench_turn(&scene.bench);
    }
    cr_assert_lt(metric_get(&scene.bench.metrics.frames), FRAMES);
    int64_t deadline_ns = clock_monotonic_ns() + BENCH_WAIT_S * SECOND_NS;
    while (guest.tls.plain.size < wanted.size) {
        ssize_t size = send(guest.end.fd, wire.data + sent, wire.size - sent, MSG_NOSIGNAL);
        sent += size > 0 ? (size_t)size : 0;
        guest_step(&scene, &guest);
        bench_turn(&scene.bench);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    }
    cr_assert(bytes_equal(buffer_view(&guest.tls.plain), buffer_view(&wanted)));
    guest_close(&guest);
    scene_close(&scene);
}

Test(conn_tls, drains_with_acks_and_close_notify)
{
    struct scene scene;
    struct guest guest, newcomer;
    scene_open(&scene, &PLAIN);
    guest_open(&scene, &guest);
    guest_knock(&scene, &newcomer);
    guest_forward(&scene, &guest, &(struct wire){.events = 50, .chunk = "one"});
    BENCH_TURN_UNTIL(&scene.bench, metric_get(&scene.bench.metrics.frames) == 1);
    front_drain(scene.bench.front);
    guest_expect_hang_up(&scene, &guest);
    cr_assert(guest.tls.is_ended && !guest.tls.has_failed);
    guest_expect_ack(&scene, &guest, "one");
    BENCH_TURN_UNTIL(&scene.bench, front_connections(scene.bench.front) == 0);
    guest_close(&guest);
    guest_close(&newcomer);
    scene_close(&scene);
}

Test(conn_tls, serves_a_new_certificate_while_old_connections_go_on)
{
    struct scene scene;
    struct guest old, new;
    struct error error = {0};
    char name[64];
    scene_open(&scene, &PLAIN);
    guest_open(&scene, &old);
    identity_make(&scene.identity, scene.dir, "server", "second.example");
    cr_assert_eq(tls_server_reload(scene.server, &error), STATUS_OK, "%s", error.text);
    guest_open(&scene, &new);
    tls_client_server_name(&new.tls, name, sizeof name);
    cr_assert_str_eq(name, "second.example");
    tls_client_server_name(&old.tls, name, sizeof name);
    cr_assert_str_eq(name, "first.example");
    guest_forward(&scene, &old, &(struct wire){.events = 2, .chunk = "old"});
    guest_expect_ack(&scene, &old, "old");
    guest_forward(&scene, &new, &(struct wire){.events = 2, .first = 2, .chunk = "new"});
    guest_expect_ack(&scene, &new, "new");
    guest_close(&old);
    guest_close(&new);
    scene_close(&scene);
}

// --- memory ---

enum { CROWD = 14, CROWD_EVENTS = 18000 };

struct crowd {
    struct guest guests[CROWD];
    struct buffer wires[CROWD];  // a large frame each, encrypted
    size_t sent[CROWD];
};

static void
crowd_open(struct scene *scene, struct crowd *crowd)
{
    *crowd = (struct crowd){0};
    for (uint32_t i = 0; i < CROWD; i++) {
        scoped(buffer_done) struct buffer frame = {0};
        guest_open(scene, &crowd->guests[i]);
        const struct wire wire = {
            .events = CROWD_EVENTS, .first = i * CROWD_EVENTS, .chunk = "large"};
        wire_packed(&frame, "api_call", &wire);
        cr_assert(frame.size > BENCH_FRAME_MAX / 2 && frame.size < BENCH_FRAME_MAX);
        tls_client_write(&crowd->guests[i].tls, buffer_view(&frame));
        tls_client_take(&crowd->guests[i].tls, &crowd->wires[i]);
    }
}

static void
crowd_close(struct crowd *crowd)
{
    for (int i = 0; i < CROWD; i++) {
        guest_close(&crowd->guests[i]);
        buffer_done(&crowd->wires[i]);
    }
}

// A piece of each, up to `part` of it (of 100). False: the sockets take nothing more.
static bool
crowd_send(struct scene *scene, struct crowd *crowd, size_t part)
{
    bool has_moved = false;
    for (int i = 0; i < CROWD; i++) {
        size_t left = crowd->wires[i].size * part / 100 - crowd->sent[i];
        const uint8_t *at = crowd->wires[i].data + crowd->sent[i];
        ssize_t size = left > 0 ? send(crowd->guests[i].end.fd, at, left, MSG_NOSIGNAL) : 0;
        crowd->sent[i] += size > 0 ? (size_t)size : 0;
        has_moved = has_moved || size > 0;
    }
    bench_turn(&scene->bench);
    return has_moved;
}

// Decrypted bytes count as received ones: reading stops when memory is full, and all frames finish
// one after the other.
Test(conn_tls, holds_the_memory_of_all_connections)
{
    struct scene scene;
    struct crowd crowd;
    scene_open(&scene, &PLAIN);
    crowd_open(&scene, &crowd);
    const struct desk_options limits = bench_desk(&PLAIN);
    const int64_t memory_max = (int64_t)(limits.memory_max - limits.inflated.size_max);
    // Reading stops when half of what is not kept for one frame is full.
    const int64_t full = (memory_max - (int64_t)limits.frame_max) / 2;
    for (int idle_turns = 0; idle_turns < 20;)
        idle_turns = crowd_send(&scene, &crowd, 90) ? 0 : idle_turns + 1;
    cr_assert_gt(metric_get(&scene.bench.metrics.memory_full), 0);
    cr_assert_gt(
        metric_get(&scene.bench.metrics.memory),
        full,
        "%ld",
        metric_get(&scene.bench.metrics.memory));
    cr_assert_leq(metric_get(&scene.bench.metrics.memory), memory_max);
    cr_assert_eq(metric_get(&scene.bench.metrics.frames), 0);
    BENCH_TURN_UNTIL(
        &scene.bench,
        ((void)crowd_send(&scene, &crowd, 100), metric_get(&scene.bench.metrics.acks) == CROWD));
    for (int i = 0; i < CROWD; i++)
        guest_expect_ack(&scene, &crowd.guests[i], "large");
    cr_assert_eq(metric_get(&scene.bench.metrics.events), CROWD * CROWD_EVENTS);
    crowd_close(&crowd);
    BENCH_TURN_UNTIL(&scene.bench, front_connections(scene.bench.front) == 0);
    cr_assert_eq(metric_get(&scene.bench.metrics.memory), 0);
    scene_close(&scene);
}
