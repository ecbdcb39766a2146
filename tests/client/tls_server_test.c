// libtally over TLS with a real tallyd that has a shared key.
#include "base/clock.h"
#include "client/tally.h"
#include "tests/client/certificates.h"
#include "tests/client/tallyd.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <stdio.h>

enum { WAIT_MS = 20000, LOOK_MS = 2, EVENTS = 20000 };

struct place {
    struct tallyd tallyd;
    char ca[128], other_ca[128], cert[128], key[128];
};

// With TLS and a shared key.
static void
place_open(struct place *place)
{
    const char *dir = place->tallyd.dir;
    tallyd_open(&place->tallyd);
    certificate_make(dir, &(struct certificate){.file = "ca", .is_authority = true});
    certificate_make(dir, &(struct certificate){.file = "other", .is_authority = true});
    certificate_make(
        dir, &(struct certificate){.file = "server", .issuer = "ca", .names = "IP:127.0.0.1"});
    (void)snprintf(place->ca, sizeof place->ca, "%s/ca.pem", dir);
    (void)snprintf(place->other_ca, sizeof place->other_ca, "%s/other.pem", dir);
    (void)snprintf(place->cert, sizeof place->cert, "%s/server.pem", dir);
    (void)snprintf(place->key, sizeof place->key, "%s/server.key", dir);
    tallyd_start(
        &place->tallyd,
        (const char *[]){
            "--shared-key-file",
            place->tallyd.key,
            "--tls-cert",
            place->cert,
            "--tls-key",
            place->key,
            NULL});
}

static struct tally *
open_for(const struct place *place, bool is_tls, const char *ca)
{
    char error[256] = "";
    const struct tally_options options = {
        .server = place->tallyd.server,
        .shared_key = "key",
        .batch_age_ms = 5,
        .retry_min_ms = 1,
        .retry_max_ms = 5,
        .connect_timeout_ms = is_tls ? 0 : 200,
        .tls = is_tls,
        .tls_ca_file = ca,
    };
    struct tally *tally = tally_open(&options, error, sizeof error);
    cr_assert_not_null(tally, "%s", error);
    return tally;
}

static void
send_some(struct tally *tally, int count)
{
    const struct tally_event event = {.subject = "a", .type = "call"};
    for (int i = 0; i < count; i++)
        cr_assert_eq(tally_send_wait(tally, &event, WAIT_MS), TALLY_OK);
}

static void
assert_refused(struct tally *tally, const char *part)
{
    struct tally_stats stats;
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    send_some(tally, 1);
    do {
        tally_stats(tally, &stats);
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "last_error is: %s", stats.last_error);
        (void)poll(NULL, 0, LOOK_MS);
    } while (strstr(stats.last_error, part) == NULL);
    cr_assert_eq(stats.connects, 0);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
}

Test(tls_server, counts_what_comes_over_tls)
{
    struct place place;
    struct tally_stats stats;
    place_open(&place);
    struct tally *tally = open_for(&place, true, place.ca);
    send_some(tally, EVENTS);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    tally_stats(tally, &stats);
    cr_assert_eq(stats.events_acked, EVENTS);
    cr_assert_eq(stats.events_rejected + stats.events_conflict + stats.events_duplicate, 0);
    cr_assert_eq(stats.connects, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    tallyd_done(&place.tallyd);
}

Test(tls_server, refuses_a_server_that_it_does_not_trust)
{
    struct place place;
    place_open(&place);
    assert_refused(open_for(&place, true, place.other_ca), "not to be trusted");
    tallyd_done(&place.tallyd);
}

// The server waits for the client to begin with TLS, and the client for a HELO.
Test(tls_server, gets_nowhere_without_tls)
{
    struct place place;
    place_open(&place);
    assert_refused(open_for(&place, false, NULL), "sent no HELO");
    tallyd_done(&place.tallyd);
}
