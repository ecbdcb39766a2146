// libtally over TLS, against a server that the test plays: whom it trusts, and that every byte
// arrives whatever the sizes of records and socket buffers.
#include "base/clock.h"
#include "client/tally.h"
#include "tests/client/certificates.h"
#include "tests/client/peer.h"

#include <criterion/criterion.h>

#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAIT_MS = 20000, LOOK_MS = 2 };

struct place {
    char dir[64];
    struct peer peer;
    char server[300];
    char ca[128], other_ca[128];
    char cert[128], key[128];
};

static void
path_of(const struct place *place, const char *file, char out[128])
{
    (void)snprintf(out, 128, "%s/%s", place->dir, file);
}

// The server answers under the name `host`, and shows the certificate `file`.
static void
place_open(struct place *place, const char *host, const char *file)
{
    char name[64];
    *place = (struct place){.dir = "/tmp/tally-tls-XXXXXX"};
    cr_assert_not_null(mkdtemp(place->dir));
    // File, issuer, names, whether it is an authority, whether it is expired.
    const struct certificate certificates[] = {
        {"ca",      NULL, NULL,                         true,  false},
        {"other",   NULL, NULL,                         true,  false},
        {"good",    "ca", "DNS:localhost,IP:127.0.0.1", false, false},
        {"strange", "ca", "DNS:elsewhere.example",      false, false},
        {"old",     "ca", "DNS:localhost",              false, true },
        {"client",  "ca", "DNS:client.example",         false, false},
    };
    for (size_t i = 0; i < sizeof certificates / sizeof certificates[0]; i++)
        certificate_make(place->dir, &certificates[i]);
    path_of(place, "ca.pem", place->ca);
    path_of(place, "other.pem", place->other_ca);
    (void)snprintf(name, sizeof name, "%s.pem", file);
    path_of(place, name, place->cert);
    (void)snprintf(name, sizeof name, "%s.key", file);
    path_of(place, name, place->key);
    peer_listen(&place->peer);
    (void)snprintf(
        place->server, sizeof place->server, "%s%s", host, strrchr(place->peer.name, ':'));
}

static int
entry_remove(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

static void
place_done(struct place *place)
{
    peer_done(&place->peer);
    cr_assert_eq(nftw(place->dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct tally_options
options_for(const struct place *place)
{
    return (struct tally_options){
        .server = place->server,
        .batch_events = 3,
        .batch_age_ms = 5,
        .retry_min_ms = 1,
        .retry_max_ms = 5,
        .tls = true,
        .tls_ca_file = place->ca,
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

// A connection over TLS that takes a batch and acks it.
static void
assert_works(struct place *place, const struct tally_options *options, const char *client_ca)
{
    struct parcel parcel;
    struct tally_stats stats;
    struct tally *tally = open_with(options);
    send_some(tally, 3);
    peer_accept(&place->peer);
    cr_assert(peer_secure(&place->peer, place->cert, place->key, client_ca));
    peer_take(&place->peer, &parcel);
    cr_assert_eq(parcel.events_count, 3);
    peer_ack(&place->peer, &parcel);
    parcel_done(&parcel);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    cr_assert(stats.is_connected);
    cr_assert_eq(stats.events_acked, 3);
    cr_assert_str_empty(stats.last_error);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
}

static void
wait_error(struct tally *tally, const char *part)
{
    struct tally_stats stats;
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    do {
        tally_stats(tally, &stats);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "last_error is: %s", stats.last_error);
        (void)poll(NULL, 0, LOOK_MS);
    } while (strstr(stats.last_error, part) == NULL);
    cr_assert_not(stats.is_connected);
    cr_assert_eq(stats.events_acked, 0);
}

// The client ends the connection before it has said anything but TLS, and tells why.
static void
assert_refuses(struct place *place, const struct tally_options *options, const char *part)
{
    struct parcel parcel;
    struct tally *tally = open_with(options);
    send_some(tally, 3);
    peer_accept(&place->peer);
    // With TLS 1.3 the server may be done before the client has looked at its certificate.
    if (peer_secure(&place->peer, place->cert, place->key, NULL))
        cr_assert_not(peer_try_take(&place->peer, &parcel), "a batch came");
    wait_error(tally, part);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
}

Test(tls, sends_to_a_host_whose_certificate_bears_its_name)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    assert_works(&place, &options, NULL);
    place_done(&place);
}

Test(tls, sends_to_an_address_that_the_certificate_bears)
{
    struct place place;
    place_open(&place, "127.0.0.1", "good");
    struct tally_options options = options_for(&place);
    assert_works(&place, &options, NULL);
    place_done(&place);
}

Test(tls, looks_for_the_name_that_was_asked_for)
{
    struct place place;
    place_open(&place, "127.0.0.1", "strange");
    struct tally_options options = options_for(&place);
    options.tls_server_name = "elsewhere.example";
    assert_works(&place, &options, NULL);
    place_done(&place);
}

Test(tls, shows_its_own_certificate_to_a_server_that_asks)
{
    struct place place;
    char cert[128], key[128];
    place_open(&place, "localhost", "good");
    path_of(&place, "client.pem", cert);
    path_of(&place, "client.key", key);
    struct tally_options options = options_for(&place);
    options.tls_cert_file = cert;
    options.tls_key_file = key;
    assert_works(&place, &options, place.ca);
    place_done(&place);
}

Test(tls, takes_any_certificate_when_told_to)
{
    struct place place;
    place_open(&place, "localhost", "old");
    struct tally_options options = options_for(&place);
    options.tls_ca_file = NULL;
    options.tls_skip_verify = true;
    assert_works(&place, &options, NULL);
    place_done(&place);
}

Test(tls, refuses_a_certificate_for_another_name)
{
    struct place place;
    place_open(&place, "localhost", "strange");
    struct tally_options options = options_for(&place);
    assert_refuses(&place, &options, "hostname mismatch");
    place_done(&place);
}

Test(tls, refuses_a_certificate_for_another_address)
{
    struct place place;
    place_open(&place, "127.0.0.1", "strange");
    struct tally_options options = options_for(&place);
    assert_refuses(&place, &options, "IP address mismatch");
    place_done(&place);
}

Test(tls, refuses_a_certificate_of_an_unknown_authority)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    options.tls_ca_file = place.other_ca;
    assert_refuses(&place, &options, "unable to get local issuer certificate");
    place_done(&place);
}

Test(tls, trusts_what_the_system_trusts_and_no_other)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    options.tls_ca_file = NULL;
    cr_assert_eq(setenv("SSL_CERT_FILE", place.ca, 1), 0);
    assert_works(&place, &options, NULL);
    peer_drop(&place.peer, false);
    cr_assert_eq(setenv("SSL_CERT_FILE", place.other_ca, 1), 0);
    assert_refuses(&place, &options, "unable to get local issuer certificate");
    place_done(&place);
}

Test(tls, refuses_an_expired_certificate)
{
    struct place place;
    place_open(&place, "localhost", "old");
    struct tally_options options = options_for(&place);
    assert_refuses(&place, &options, "certificate has expired");
    place_done(&place);
}

Test(tls, says_so_when_the_server_speaks_no_tls)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&place.peer);
    peer_write(
        &place.peer,
        bytes_text("\x81\xa3"
                   "ack\xa1x"));
    wait_error(tally, "TLS: wrong version number");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    place_done(&place);
}

Test(tls, says_so_when_the_server_ends_the_handshake)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&place.peer);
    peer_half_close(&place.peer);
    wait_error(tally, "perhaps it speaks no TLS");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    place_done(&place);
}

Test(tls, gives_up_a_server_that_does_not_shake_hands)
{
    struct place place;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    options.connect_timeout_ms = 50;
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&place.peer);
    wait_error(tally, "TLS: the server does not answer");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    place_done(&place);
}

// Events of 60 KB, whose ids say their place in the stream.
static void
send_large(struct tally *tally, int count)
{
    static char text[60000];
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {.key = "text", .kind = TALLY_TEXT, .text = text};
    for (int i = 0; i < count; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "%d", i);
        const struct tally_event event = {
            .subject = "a",
            .type = "call",
            .id = id,
            .properties = &property,
            .properties_count = 1,
        };
        cr_assert_eq(tally_send_wait(tally, &event, WAIT_MS), TALLY_OK);
    }
}

static void
take_large(struct place *place, int count)
{
    char id[256], wanted[16];
    for (int next = 0; next < count;) {
        struct parcel parcel;
        peer_take(&place->peer, &parcel);
        for (uint64_t i = 0; i < parcel.events_count; i++, next++) {
            parcel_text(&parcel, i, "id", id);
            (void)snprintf(wanted, sizeof wanted, "%d", next);
            cr_assert_str_eq(id, wanted);
        }
        peer_ack(&place->peer, &parcel);
        parcel_done(&parcel);
    }
}

// Small socket buffers make the client stop in the middle of records, again and again.
Test(tls, goes_on_where_the_socket_was_full)
{
    enum { EVENTS = 200, SMALL = 4096 };
    struct place place;
    struct tally_stats stats;
    const int size = SMALL;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    options.batch_events = 20;
    options.batch_bytes = 2 << 20;
    cr_assert_eq(setsockopt(place.peer.listen_fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size), 0);
    struct tally *tally = open_with(&options);
    send_large(tally, EVENTS);
    peer_accept(&place.peer);
    cr_assert(peer_secure(&place.peer, place.cert, place.key, NULL));
    take_large(&place, EVENTS);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    cr_assert_eq(stats.connects, 1, "the connection held");
    cr_assert_eq(stats.batches_resent, 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    place_done(&place);
}

// More acks at once than the client reads at once, in several records, and then nothing more comes
// that would wake it.
Test(tls, reads_all_that_came)
{
    enum { BATCHES = 200, PADDING = 100 };
    struct place place;
    scoped(buffer_done) struct buffer answers = {0};
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    options.batch_events = 1;
    options.in_flight_batches = BATCHES;
    struct tally *tally = open_with(&options);
    send_some(tally, BATCHES);
    peer_accept(&place.peer);
    cr_assert(peer_secure(&place.peer, place.cert, place.key, NULL));
    for (int i = 0; i < BATCHES; i++) {
        struct parcel parcel;
        char padding[PADDING + 1];
        memset(padding, 'p', PADDING);
        padding[PADDING] = '\0';
        peer_take(&place.peer, &parcel);
        // {"ack": chunk, "pad": padding}
        buffer_put(
            &answers,
            "\x82\xa3"
            "ack\xd9",
            6);
        buffer_u8(&answers, (uint8_t)strlen(parcel.chunk));
        buffer_text(&answers, parcel.chunk);
        buffer_put(&answers, "\xa3pad\xd9", 5);
        buffer_u8(&answers, PADDING);
        buffer_text(&answers, padding);
        parcel_done(&parcel);
    }
    peer_write(&place.peer, buffer_view(&answers));
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    place_done(&place);
}

// A connection that ends in the middle is begun again, with the same bytes.
Test(tls, sends_again_after_a_reset)
{
    struct place place;
    struct parcel first, second;
    place_open(&place, "localhost", "good");
    struct tally_options options = options_for(&place);
    struct tally *tally = open_with(&options);
    send_some(tally, 3);
    peer_accept(&place.peer);
    cr_assert(peer_secure(&place.peer, place.cert, place.key, NULL));
    peer_take(&place.peer, &first);
    peer_drop(&place.peer, true);
    peer_accept(&place.peer);
    cr_assert(peer_secure(&place.peer, place.cert, place.key, NULL));
    peer_take(&place.peer, &second);
    cr_assert(bytes_equal(buffer_view(&first.frame), buffer_view(&second.frame)));
    peer_ack(&place.peer, &second);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    parcel_done(&first);
    parcel_done(&second);
    place_done(&place);
}

Test(tls, refuses_files_that_do_not_fit)
{
    struct place place;
    char error[256], key[128];
    place_open(&place, "localhost", "good");
    path_of(&place, "client.key", key);
    const struct {
        const char *part;
        struct tally_options options;
    } rows[] = {
        {"tls_ca_file /nowhere",   {.tls_ca_file = "/nowhere"}                             },
        {"tls_cert_file /nowhere", {.tls_cert_file = "/nowhere", .tls_key_file = place.key}},
        {"tls_key_file",           {.tls_cert_file = place.cert, .tls_key_file = key}      },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct tally_options options = rows[i].options;
        options.tls = true;
        cr_assert_null(tally_open(&options, error, sizeof error));
        cr_assert_not_null(strstr(error, rows[i].part), "%s", error);
    }
    place_done(&place);
}
