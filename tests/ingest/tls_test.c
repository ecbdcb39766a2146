// TLS without sockets: OpenSSL's own client and ours exchange bytes in memory.

#include "ingest/tls.h"

#include "base/clock.h"
#include "tests/ingest/tls_client.h"

#include <ftw.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/stat.h>

struct scene {
    char dir[64];
    struct identity identity;
    struct tls_server *server;
};

static void
scene_open(struct scene *scene)
{
    struct error error = {0};
    *scene = (struct scene){.dir = "/tmp/tally-tls-XXXXXX"};
    cr_assert_not_null(mkdtemp(scene->dir));
    identity_make(&scene->identity, scene->dir, "server", "first.example");
    const struct tls_files files = {scene->identity.certificate, scene->identity.key, NULL};
    cr_assert_eq(tls_server_open(&files, &scene->server, &error), STATUS_OK, "%s", error.text);
}

static int
path_remove(const char *path, const struct stat *state, int kind, struct FTW *walk)
{
    (void)state;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void
scene_close(struct scene *scene)
{
    tls_server_close(scene->server);
    cr_assert_eq(nftw(scene->dir, path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

// --- two ends ---

struct wire_end {
    struct tls *tls;
    struct buffer plain;  // what the server read
    enum tls_result result;
};

static void
end_take(struct wire_end *end, struct bytes bytes)
{
    struct bytes plain;
    tls_feed(end->tls, bytes);
    while ((end->result = tls_read(end->tls, &plain)) == TLS_BYTES)
        buffer_bytes(&end->plain, plain);
}

static void
end_close(struct wire_end *end)
{
    tls_close(end->tls);
    buffer_done(&end->plain);
}

// The client's bytes to the server, `step` at a time (0: all), and the answer back. False: nothing
// moved.
static bool
exchange(struct wire_end *end, struct tls_client *client, size_t step)
{
    scoped(buffer_done) struct buffer wire = {0};
    tls_client_step(client);
    tls_client_take(client, &wire);
    size_t size = step > 0 ? step : wire.size;
    for (size_t at = 0; at < wire.size; at += size)
        end_take(end, bytes_of(wire.data + at, wire.size - at < size ? wire.size - at : size));
    struct buffer *out = tls_output(end->tls);
    bool has_moved = wire.size > 0 || out->size > 0;
    tls_client_feed(client, buffer_view(out));
    buffer_reset(out);
    return has_moved;
}

static void
settle(struct wire_end *end, struct tls_client *client, size_t step)
{
    while (exchange(end, client, step)) {
    }
}

static void
meet(
    struct scene *scene,
    struct wire_end *end,
    struct tls_client *client,
    const struct tls_client_options *options)
{
    *end = (struct wire_end){.tls = tls_open(scene->server)};
    cr_assert_not_null(end->tls);
    tls_client_open(client, options);
    settle(end, client, 0);
}

static void
part(struct wire_end *end, struct tls_client *client)
{
    end_close(end);
    tls_client_close(client);
}

static void
expect_said(struct wire_end *end, struct bytes wanted)
{
    cr_assert(bytes_equal(buffer_view(&end->plain), wanted), "other bytes came");
    buffer_reset(&end->plain);
}

static void
expect_heard(struct tls_client *client, struct bytes wanted)
{
    cr_assert(bytes_equal(buffer_view(&client->plain), wanted), "other bytes were heard");
    buffer_reset(&client->plain);
}

// --- sessions ---

static const int VERSIONS[] = {TLS1_2_VERSION, TLS1_3_VERSION};

Test(tls, carries_bytes_both_ways)
{
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < sizeof VERSIONS / sizeof VERSIONS[0]; i++) {
        for (size_t step = 0; step < 3; step++) {
            struct wire_end end = {.tls = tls_open(scene.server)};
            struct tls_client client;
            tls_client_open(
                &client,
                &(struct tls_client_options){
                    .ca = scene.identity.certificate, .version_max = VERSIONS[i]});
            cr_assert(!tls_is_open(end.tls));
            settle(&end, &client, step);
            cr_assert(tls_is_open(end.tls) && tls_client_is_open(&client));
            cr_assert_eq(SSL_version(client.ssl), VERSIONS[i]);
            tls_client_write(&client, bytes_text("usage"));
            settle(&end, &client, step);
            expect_said(&end, bytes_text("usage"));
            cr_assert(tls_seal(end.tls, bytes_text("ack")));
            settle(&end, &client, step);
            tls_client_step(&client);
            expect_heard(&client, bytes_text("ack"));
            part(&end, &client);
        }
    }
    scene_close(&scene);
}

// More than the room holds, in records of all sizes up to the largest.
Test(tls, carries_more_than_its_room)
{
    enum { SIZE = 3 * TLS_ROOM + 77 };
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){0});
    scoped(buffer_done) struct buffer sent = {0};
    for (uint32_t i = 0; i < SIZE; i++)
        buffer_u8(&sent, (uint8_t)(i * 7 + i / 251));
    tls_client_write(&client, buffer_view(&sent));
    settle(&end, &client, 0);
    expect_said(&end, buffer_view(&sent));
    cr_assert(tls_seal(end.tls, buffer_view(&sent)));
    settle(&end, &client, 0);
    tls_client_step(&client);
    expect_heard(&client, buffer_view(&sent));
    part(&end, &client);
    scene_close(&scene);
}

Test(tls, reads_records_cut_at_every_byte)
{
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){0});
    for (size_t cut = 1;; cut++) {
        scoped(buffer_done) struct buffer wire = {0};
        tls_client_write(&client, bytes_text("twenty-one bytes long"));
        tls_client_take(&client, &wire);
        if (cut == wire.size)
            break;
        end_take(&end, bytes_of(wire.data, cut));
        cr_assert_eq(end.plain.size, 0, "a part of a record says nothing");
        cr_assert_eq(end.result, TLS_WAITS);
        end_take(&end, bytes_of(wire.data + cut, wire.size - cut));
        expect_said(&end, bytes_text("twenty-one bytes long"));
    }
    part(&end, &client);
    scene_close(&scene);
}

Test(tls, says_and_hears_the_end)
{
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){0});
    tls_client_write(&client, bytes_text("last"));
    cr_assert_eq(SSL_shutdown(client.ssl), 0);
    settle(&end, &client, 0);
    expect_said(&end, bytes_text("last"));
    cr_assert_eq(end.result, TLS_ENDED);
    // What is owed is still told.
    cr_assert(tls_seal(end.tls, bytes_text("ack")));
    tls_end(end.tls);
    size_t size = tls_output(end.tls)->size;
    tls_end(end.tls);
    cr_assert_eq(tls_output(end.tls)->size, size, "once");
    settle(&end, &client, 0);
    tls_client_step(&client);
    expect_heard(&client, bytes_text("ack"));
    cr_assert(client.is_ended && !client.has_failed);
    part(&end, &client);
    scene_close(&scene);
}

// --- what is no TLS ---

Test(tls, knows_plaintext)
{
    static const char *const WORDS[] = {
        "GET / HTTP/1.1\r\n\r\n", "\x93\xa1t\x00\x80", "\xc0", "\x80\x2e\x01"};
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        struct wire_end end = {.tls = tls_open(scene.server)};
        end_take(&end, bytes_text(WORDS[i]));
        cr_assert_eq(end.result, TLS_FAILED);
        cr_assert_eq(tls_fault(end.tls), TLS_PLAINTEXT);
        end_close(&end);
    }
    scene_close(&scene);
}

Test(tls, opens_for_no_changed_or_cut_hello)
{
    struct scene scene;
    scene_open(&scene);
    struct tls_client client;
    scoped(buffer_done) struct buffer hello = {0};
    tls_client_open(&client, &(struct tls_client_options){0});
    tls_client_step(&client);
    tls_client_take(&client, &hello);
    size_t failed = 0;
    for (size_t at = 0; at < hello.size; at++) {
        struct wire_end end = {.tls = tls_open(scene.server)};
        end_take(&end, bytes_of(hello.data, at));
        cr_assert_eq(end.result, TLS_WAITS, "%zu bytes of a hello", at);
        end_close(&end);
        end = (struct wire_end){.tls = tls_open(scene.server)};
        hello.data[at] ^= 0x55;
        end_take(&end, buffer_view(&hello));
        hello.data[at] ^= 0x55;
        failed += end.result == TLS_FAILED;
        cr_assert(!tls_is_open(end.tls) && end.plain.size == 0);
        end_close(&end);
    }
    cr_assert_gt(failed, 20, "only %zu of %zu", failed, hello.size);
    tls_client_close(&client);
    scene_close(&scene);
}

Test(tls, takes_no_changed_record)
{
    struct scene scene;
    scene_open(&scene);
    for (size_t at = 0;; at++) {
        struct wire_end end;
        struct tls_client client;
        scoped(buffer_done) struct buffer wire = {0};
        meet(&scene, &end, &client, &(struct tls_client_options){0});
        tls_client_write(&client, bytes_text("usage"));
        tls_client_take(&client, &wire);
        if (at == wire.size) {
            part(&end, &client);
            break;
        }
        wire.data[at] ^= 1;
        end_take(&end, buffer_view(&wire));
        cr_assert_eq(end.plain.size, 0);
        // A length that grew waits for more; everything else is seen.
        if (end.result != TLS_WAITS) {
            cr_assert_eq(end.result, TLS_FAILED);
            cr_assert_eq(tls_fault(end.tls), TLS_BROKEN, "byte %zu: %s", at, tls_detail(end.tls));
            cr_assert_gt(strlen(tls_detail(end.tls)), 0);
            cr_assert(!tls_seal(end.tls, bytes_text("ack")), "nobody hears it");
            cr_assert_gt(tls_output(end.tls)->size, 0, "an alert");
        } else {
            cr_assert(at == 3 || at == 4, "byte %zu", at);
        }
        part(&end, &client);
    }
    scene_close(&scene);
}

Test(tls, speaks_nothing_older_than_1_2)
{
    static const int OLD[] = {TLS1_VERSION, TLS1_1_VERSION};
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < sizeof OLD / sizeof OLD[0]; i++) {
        struct wire_end end;
        struct tls_client client;
        meet(&scene, &end, &client, &(struct tls_client_options){.version_max = OLD[i]});
        cr_assert_eq(end.result, TLS_FAILED);
        cr_assert_eq(tls_fault(end.tls), TLS_NOT_COMMON, "%s", tls_detail(end.tls));
        part(&end, &client);
    }
    scene_close(&scene);
}

Test(tls, names_the_refusal_of_a_client)
{
    struct scene scene;
    struct identity other;
    struct wire_end end;
    struct tls_client client;
    scene_open(&scene);
    identity_make(&other, scene.dir, "other", "other.example");
    meet(&scene, &end, &client, &(struct tls_client_options){.ca = other.certificate});
    cr_assert(client.has_failed && !tls_is_open(end.tls));
    cr_assert_eq(tls_fault(end.tls), TLS_REFUSED);
    part(&end, &client);
    scene_close(&scene);
}

Test(tls, renegotiates_never)
{
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){.version_max = TLS1_2_VERSION});
    cr_assert(tls_is_open(end.tls));
    cr_assert_eq(SSL_renegotiate(client.ssl), 1);
    (void)SSL_do_handshake(client.ssl);
    settle(&end, &client, 0);
    cr_assert(client.has_failed, "the client was refused");
    cr_assert_eq(end.plain.size, 0);
    part(&end, &client);
    scene_close(&scene);
}

// Each asks for an answer; answers to a client that does not read are no more than what came.
Test(tls, answers_key_updates_with_no_more_than_came)
{
    enum { UPDATES = 500 };
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    size_t came = 0;
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){0});
    for (int i = 0; i < UPDATES; i++) {
        scoped(buffer_done) struct buffer wire = {0};
        cr_assert_eq(SSL_key_update(client.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        (void)SSL_do_handshake(client.ssl);
        tls_client_take(&client, &wire);
        cr_assert_gt(wire.size, 0);
        came += wire.size;
        end_take(&end, buffer_view(&wire));
    }
    cr_assert_eq(end.result, TLS_WAITS);
    cr_assert_leq(tls_output(end.tls)->size, came);
    tls_client_write(&client, bytes_text("after all"));
    settle(&end, &client, 0);
    expect_said(&end, bytes_text("after all"));
    cr_assert(tls_seal(end.tls, bytes_text("ack")));
    settle(&end, &client, 0);
    tls_client_step(&client);
    expect_heard(&client, bytes_text("ack"));
    part(&end, &client);
    scene_close(&scene);
}

Test(tls, resumes_nothing)
{
    struct scene scene;
    scene_open(&scene);
    for (size_t i = 0; i < sizeof VERSIONS / sizeof VERSIONS[0]; i++) {
        struct wire_end end;
        struct tls_client client;
        meet(&scene, &end, &client, &(struct tls_client_options){.version_max = VERSIONS[i]});
        cr_assert(tls_is_open(end.tls));
        cr_assert(!SSL_SESSION_has_ticket(SSL_get_session(client.ssl)));
        part(&end, &client);
    }
    scene_close(&scene);
}

// --- certificates ---

static void
expect_server(struct scene *scene, const char *name)
{
    struct wire_end end;
    struct tls_client client;
    char said[64];
    meet(scene, &end, &client, &(struct tls_client_options){0});
    tls_client_server_name(&client, said, sizeof said);
    cr_assert_str_eq(said, name);
    part(&end, &client);
}

Test(tls, reloads_for_new_connections_only)
{
    struct scene scene;
    struct wire_end end;
    struct tls_client client;
    struct error error = {0};
    scene_open(&scene);
    meet(&scene, &end, &client, &(struct tls_client_options){0});
    identity_make(&scene.identity, scene.dir, "server", "second.example");
    expect_server(&scene, "first.example");
    cr_assert_eq(tls_server_reload(scene.server, &error), STATUS_OK, "%s", error.text);
    expect_server(&scene, "second.example");
    tls_client_write(&client, bytes_text("still here"));
    settle(&end, &client, 0);
    expect_said(&end, bytes_text("still here"));
    part(&end, &client);
    scene_close(&scene);
}

Test(tls, keeps_the_certificate_when_a_new_one_is_broken)
{
    struct scene scene;
    struct error error = {0};
    struct identity other;
    scene_open(&scene);
    int64_t expires_s = tls_server_expires_s(scene.server);
    cr_assert_gt(expires_s, clock_now_ns() / SECOND_NS);
    identity_make(&other, scene.dir, "other", "second.example");
    cr_assert_eq(rename(other.certificate, scene.identity.certificate), 0);
    cr_assert_eq(tls_server_reload(scene.server, &error), STATUS_INVALID);
    cr_assert_not_null(strstr(error.text, scene.identity.key), "%s", error.text);
    expect_server(&scene, "first.example");
    cr_assert_eq(tls_server_expires_s(scene.server), expires_s);
    cr_assert_eq(rename(other.key, scene.identity.key), 0);
    cr_assert_eq(tls_server_reload(scene.server, &error), STATUS_OK, "%s", error.text);
    expect_server(&scene, "second.example");
    scene_close(&scene);
}

// Main may read again faster than the front takes over; it is told to wait.
Test(tls, asks_to_wait_when_nobody_takes_over)
{
    struct scene scene;
    struct error error = {0};
    enum status status = STATUS_OK;
    scene_open(&scene);
    for (int i = 0; i < 100 && status == STATUS_OK; i++)
        status = tls_server_reload(scene.server, &error);
    cr_assert_eq(status, STATUS_BUSY);
    tls_server_refresh(scene.server);
    cr_assert_eq(tls_server_reload(scene.server, &error), STATUS_OK);
    scene_close(&scene);
}

struct files_row {
    const char *certificate;
    const char *key;
    const char *client_ca;
    enum status status;
    const char *said[2];
};

// clang-format off
static const struct files_row FILES[] = {
    {"good.crt", "good.key", "good.crt", STATUS_OK, {0}},
    {"good.crt", "group.key", NULL, STATUS_OK, {0}},
    {"chain.crt", "good.key", NULL, STATUS_OK, {0}},
    {"none.crt", "good.key", NULL, STATUS_IO, {"none.crt", "No such file"}},
    {"good.crt", "none.key", NULL, STATUS_IO, {"none.key", "No such file"}},
    {"good.crt", "good.key", "none.crt", STATUS_IO, {"none.crt", "No such file"}},
    {"good.crt", "open.key", NULL, STATUS_INVALID, {"open.key", "mode is 0644"}},
    {"good.crt", "other.key", NULL, STATUS_INVALID, {"other.key", "good.crt"}},
    {"good.crt", "locked.key", NULL, STATUS_INVALID, {"locked.key", "encrypted"}},
    {"good.crt", "good.crt", NULL, STATUS_INVALID, {"good.crt holds secrets", "mode"}},
    {"good.key", "good.key", NULL, STATUS_INVALID, {"good.key", "no certificate"}},
    {"text", "good.key", NULL, STATUS_INVALID, {"text", "no certificate"}},
    {"empty", "good.key", NULL, STATUS_INVALID, {"empty", "no certificate"}},
    {"cut.crt", "good.key", NULL, STATUS_INVALID, {"cut.crt", "certificate 1"}},
    {"good.crt", "empty", NULL, STATUS_INVALID, {"empty", "no private key"}},
    {"good.crt", "good.key", "empty", STATUS_INVALID, {"empty", "no certificate"}},
    {".", "good.key", NULL, STATUS_INVALID, {"no file", NULL}},
};
// clang-format on

static void
text_write(const char *dir, const char *name, const char *text, size_t size)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = test_file(path, 0600);
    cr_assert_eq(fwrite(text, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

static size_t
text_read(const char *path, char *out, size_t out_size)
{
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    size_t size = fread(out, 1, out_size, file);
    cr_assert_eq(fclose(file), 0);
    return size;
}

static void
files_make(const char *dir)
{
    char text[8192], passphrase[] = "secret";
    struct identity good, other, locked;
    identity_make(&good, dir, "good", "good.example");
    identity_make(&other, dir, "other", "other.example");
    identity_make_locked(&locked, dir, "locked", "locked.example", passphrase);
    size_t size = text_read(good.key, text, sizeof text);
    text_write(dir, "group.key", text, size);
    text_write(dir, "open.key", text, size);
    size = text_read(good.certificate, text, sizeof text);
    text_write(dir, "cut.crt", text, size / 2);
    size += text_read(other.certificate, text + size, sizeof text - size);
    text_write(dir, "chain.crt", text, size);
    text_write(dir, "text", "not PEM\n", 8);
    text_write(dir, "empty", "", 0);
    (void)snprintf(text, sizeof text, "%s/group.key", dir);
    cr_assert_eq(chmod(text, 0640), 0);
    (void)snprintf(text, sizeof text, "%s/open.key", dir);
    cr_assert_eq(chmod(text, 0644), 0);
}

static void
files_check(const struct files_row *row, const char *dir)
{
    char paths[3][128];
    const char *const names[3] = {row->certificate, row->key, row->client_ca};
    for (size_t i = 0; i < 3 && names[i] != NULL; i++)
        (void)snprintf(paths[i], sizeof paths[i], "%s/%s", dir, names[i]);
    const struct tls_files files = {paths[0], paths[1], row->client_ca != NULL ? paths[2] : NULL};
    struct tls_server *server = NULL;
    struct error error = {.text = ""};
    enum status status = tls_server_open(&files, &server, &error);
    cr_assert_eq(status, row->status, "%s, %s: %s", names[0], names[1], error.text);
    for (size_t i = 0; i < 2 && row->said[i] != NULL; i++)
        cr_assert_not_null(strstr(error.text, row->said[i]), "%s: %s", row->said[i], error.text);
    tls_server_close(server);
}

Test(tls, refuses_files_by_name_and_reason)
{
    char dir[] = "/tmp/tally-tls-XXXXXX";
    cr_assert_not_null(mkdtemp(dir));
    files_make(dir);
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        files_check(&FILES[i], dir);
    cr_assert_eq(nftw(dir, path_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

Test(tls, asks_clients_for_certificates)
{
    struct scene scene;
    struct identity known, stranger;
    struct error error = {0};
    scene_open(&scene);
    identity_make(&known, scene.dir, "known", "known.example");
    identity_make(&stranger, scene.dir, "stranger", "stranger.example");
    tls_server_close(scene.server);
    const struct tls_files files = {
        scene.identity.certificate, scene.identity.key, known.certificate};
    cr_assert_eq(tls_server_open(&files, &scene.server, &error), STATUS_OK, "%s", error.text);
    const struct identity *const owns[] = {NULL, &stranger, &known};
    for (size_t i = 0; i < 3; i++) {
        for (size_t v = 0; v < sizeof VERSIONS / sizeof VERSIONS[0]; v++) {
            struct wire_end end;
            struct tls_client client;
            meet(
                &scene,
                &end,
                &client,
                &(struct tls_client_options){.own = owns[i], .version_max = VERSIONS[v]});
            bool is_known = owns[i] == &known;
            cr_assert_eq(tls_is_open(end.tls), is_known);
            cr_assert_eq(
                tls_fault(end.tls),
                is_known ? TLS_FINE : TLS_CLIENT_UNKNOWN,
                "%s",
                tls_detail(end.tls));
            part(&end, &client);
        }
    }
    scene_close(&scene);
}

// --- memory ---

// Under AddressSanitizer the heap is its own.
__attribute__((weak)) size_t __sanitizer_get_current_allocated_bytes(void);

static size_t
heap_used(void)
{
    if (__sanitizer_get_current_allocated_bytes != NULL)
        return __sanitizer_get_current_allocated_bytes();
    return mallinfo2().uordblks;
}

// What the server's side of a handshake takes, the output aside, which connections account for.
static size_t
meet_measured(struct wire_end *end, struct tls_client *client, size_t *most)
{
    size_t now = 0;
    for (int round = 0; round < 6; round++) {
        scoped(buffer_done) struct buffer wire = {0};
        tls_client_step(client);
        tls_client_take(client, &wire);
        size_t before = heap_used();
        end_take(end, buffer_view(&wire));
        now += heap_used() - before - tls_output(end->tls)->capacity;
        *most = now > *most ? now : *most;
        tls_client_feed(client, buffer_view(tls_output(end->tls)));
        buffer_done(tls_output(end->tls));
    }
    return now;
}

Test(tls, costs_as_much_memory_as_the_header_says)
{
    enum { IDLE_MAX = 24 * 1024, BUSY_MAX = 80 * 1024 };
    struct scene scene;
    struct wire_end warm;
    struct tls_client client;
    scene_open(&scene);
    meet(&scene, &warm, &client, &(struct tls_client_options){0});
    part(&warm, &client);
    for (size_t i = 0; i < sizeof VERSIONS / sizeof VERSIONS[0]; i++) {
        size_t most = 0;
        tls_client_open(&client, &(struct tls_client_options){.version_max = VERSIONS[i]});
        size_t before = heap_used();
        struct wire_end end = {.tls = tls_open(scene.server)};
        size_t fresh = heap_used() - before;
        size_t idle = fresh + meet_measured(&end, &client, &most);
        cr_assert(tls_is_open(end.tls));
        cr_assert_gt(idle, 1024);
        cr_assert_lt(idle, IDLE_MAX, "idle: %zu", idle);
        cr_assert_lt(fresh + most, BUSY_MAX, "busy: %zu", fresh + most);
        part(&end, &client);
    }
    scene_close(&scene);
}
