// A DNS that does not answer: nothing of the library waits for it. The test's own getaddrinfo
// stands in front of the C library's.
#include "base/clock.h"
#include "client/tally.h"
#include "tests/client/peer.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAIT_MS = 20000, LOOK_MS = 2 };

static atomic_int asked_count;     // questions that began
static atomic_int answered_count;  // of these, that ended
static atomic_bool may_answer;     // else they wait
static atomic_bool was_given_up;   // one waited as long as a test does

static int
address_answer(const char *host, const char *port, struct addrinfo **out)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in address;
    } *answer = calloc(1, sizeof *answer);
    if (answer == NULL)
        return EAI_MEMORY;
    answer->address.sin_family = AF_INET;
    answer->address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    (void)inet_pton(AF_INET, host, &answer->address.sin_addr);
    answer->info.ai_family = AF_INET;
    answer->info.ai_socktype = SOCK_STREAM;
    answer->info.ai_addr = (struct sockaddr *)&answer->address;
    answer->info.ai_addrlen = sizeof answer->address;
    *out = &answer->info;
    return 0;
}

// Addresses are known at once; any name is 127.0.0.1, as soon as an answer is allowed.
int
getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    struct in_addr address;
    if (inet_pton(AF_INET, host, &address) == 1)
        return address_answer(host, port, out);
    if (hints->ai_flags & AI_NUMERICHOST)
        return EAI_NONAME;
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    atomic_fetch_add(&asked_count, 1);
    while (!atomic_load(&may_answer)) {
        if (clock_monotonic_ns() >= deadline_ns) {
            atomic_store(&was_given_up, true);
            break;
        }
        (void)poll(NULL, 0, LOOK_MS);
    }
    atomic_fetch_add(&answered_count, 1);
    return address_answer("127.0.0.1", port, out);
}

void
freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

static struct tally *
open_for(const char *server, const char *spool_dir, uint32_t connect_timeout_ms)
{
    char error[256] = "";
    const struct tally_options options = {
        .server = server,
        .spool_dir = spool_dir,
        .batch_events = 3,
        .batch_age_ms = 5,
        .connect_timeout_ms = connect_timeout_ms,
        .retry_min_ms = 1,
        .retry_max_ms = 2,
    };
    struct tally *tally = tally_open(&options, error, sizeof error);
    cr_assert_not_null(tally, "%s", error);
    return tally;
}

static void
wait_count(atomic_int *count, int wanted)
{
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (atomic_load(count) < wanted) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, LOOK_MS);
    }
}

static void
send_one(struct tally *tally)
{
    const struct tally_event event = {.subject = "a", .type = "call"};
    cr_assert_eq(tally_send(tally, &event), TALLY_OK);
}

static void
batch_ack(struct peer *peer)
{
    struct parcel parcel;
    peer_accept(peer);
    peer_take(peer, &parcel);
    peer_ack(peer, &parcel);
    parcel_done(&parcel);
}

Test(lookup, a_close_does_not_wait_for_dns)
{
    struct tally *tally = open_for("slow.example:1", NULL, 0);
    send_one(tally);
    wait_count(&asked_count, 1);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    cr_assert_eq(atomic_load(&answered_count), 0, "it waited for the answer");
    atomic_store(&may_answer, true);
    wait_count(&answered_count, 1);
    cr_assert_not(atomic_load(&was_given_up));
}

// And however often the server is tried, one question at a time is enough.
Test(lookup, the_next_server_does_not_wait_for_dns)
{
    struct peer peer;
    char servers[300];
    peer_listen(&peer);
    (void)snprintf(servers, sizeof servers, "slow.example:1,%s", peer.name);
    struct tally *tally = open_for(servers, NULL, 20);
    for (int i = 0; i < 3; i++) {
        send_one(tally);
        batch_ack(&peer);
        cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
        peer_drop(&peer, false);
    }
    cr_assert_eq(atomic_load(&asked_count), 1);
    cr_assert_eq(tally_close(tally, 0), TALLY_OK);
    atomic_store(&may_answer, true);
    wait_count(&answered_count, 1);
    peer_done(&peer);
}

// An answer that takes longer than an attempt helps the next one.
Test(lookup, a_late_answer_is_used)
{
    struct peer peer;
    char server[300];
    struct tally_stats stats;
    peer_listen(&peer);
    (void)snprintf(server, sizeof server, "slow.example%s", strrchr(peer.name, ':'));
    struct tally *tally = open_for(server, NULL, 1000);
    send_one(tally);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    do {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, LOOK_MS);
        tally_stats(tally, &stats);
    } while (strstr(stats.last_error, "DNS does not answer") == NULL);
    atomic_store(&may_answer, true);
    batch_ack(&peer);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(atomic_load(&asked_count), 1);
    cr_assert_eq(tally_close(tally, 0), TALLY_OK);
    peer_done(&peer);
}

static int
entry_remove(const char *path, const struct stat *info, int type, struct FTW *at)
{
    (void)info;
    (void)type;
    (void)at;
    return remove(path);
}

Test(lookup, a_batch_gets_its_file_while_dns_is_asked)
{
    char dir[] = "/tmp/tally-lookup-XXXXXX";
    struct tally_stats stats = {0};
    cr_assert_not_null(mkdtemp(dir));
    struct tally *tally = open_for("slow.example:1", dir, 0);
    wait_count(&asked_count, 1);
    send_one(tally);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (stats.spool_bytes == 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
        (void)poll(NULL, 0, LOOK_MS);
        tally_stats(tally, &stats);
    }
    cr_assert_eq(atomic_load(&answered_count), 0);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    atomic_store(&may_answer, true);
    wait_count(&answered_count, 1);
    cr_assert_eq(nftw(dir, entry_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
}
