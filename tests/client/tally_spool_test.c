// The spool through the public functions: processes that are killed, and a server that the test
// plays.
#include "base/clock.h"
#include "client/tally.h"
#include "tests/client/peer.h"

#include <criterion/criterion.h>

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WAIT_MS = 20000, BATCH_EVENTS = 3 };

struct place {
    char path[64];
    struct peer peer;
    struct tally_options options;
};

static void
place_open(struct place *place)
{
    (void)snprintf(place->path, sizeof place->path, "/tmp/tally-spool-XXXXXX");
    cr_assert_not_null(mkdtemp(place->path));
    peer_reserve(&place->peer);
    place->options = (struct tally_options){
        .server = place->peer.name,
        .batch_events = BATCH_EVENTS,
        .batch_age_ms = 10 * WAIT_MS,
        .retry_min_ms = 1,
        .retry_max_ms = 5,
        .spool_dir = place->path,
    };
}

// How many files have a name that ends so.
static size_t
files_count(const struct place *place, const char *suffix)
{
    size_t count = 0;
    DIR *directory = opendir(place->path);
    cr_assert_not_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        size_t size = strlen(entry->d_name), end = strlen(suffix);
        count += size > end && strcmp(entry->d_name + size - end, suffix) == 0;
    }
    closedir(directory);
    return count;
}

static void
place_done(struct place *place)
{
    DIR *directory = opendir(place->path);
    if (directory != NULL) {
        for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
            (void)unlinkat(dirfd(directory), entry->d_name, 0);
        closedir(directory);
        cr_assert_eq(rmdir(place->path), 0);
    }
    peer_done(&place->peer);
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

static enum tally_result
send_numbered(struct tally *tally, uint64_t number)
{
    char id[32];
    (void)snprintf(id, sizeof id, "id-%lu", (unsigned long)number);
    const struct tally_event event = {
        .subject = "acme", .type = "api_call", .id = id, .tag = 100 + number};
    return tally_send(tally, &event);
}

static void
assert_ids(const struct parcel *parcel, uint64_t first, uint64_t count)
{
    cr_assert_eq(parcel->events_count, count);
    for (uint64_t i = 0; i < count; i++) {
        char expected[32], id[256];
        (void)snprintf(expected, sizeof expected, "id-%lu", (unsigned long)(first + i));
        parcel_text(parcel, i, "id", id);
        cr_assert_str_eq(id, expected);
    }
}

// A process that sends so many events, has them in the spool, and ends by SIGKILL of its own.
static void
process_send_and_die(const struct tally_options *options, uint64_t count)
{
    int wait_status;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0) {
        struct tally *tally = tally_open(options, NULL, 0);
        bool is_sent = tally != NULL;
        for (uint64_t i = 0; is_sent && i < count; i++)
            is_sent = send_numbered(tally, i) == TALLY_OK;
        if (!is_sent || tally_flush(tally, 0) != TALLY_TIMEOUT)
            _exit(1);
        (void)kill(getpid(), SIGKILL);
        _exit(1);
    }
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFSIGNALED(wait_status) && WTERMSIG(wait_status) == SIGKILL);
}

static void
take_and_ack(struct place *place, uint64_t first, uint64_t count)
{
    struct parcel parcel;
    peer_take(&place->peer, &parcel);
    assert_ids(&parcel, first, count);
    peer_ack(&place->peer, &parcel);
    parcel_done(&parcel);
}

Test(tally_spool, sends_first_what_a_killed_process_left)
{
    struct place place;
    place_open(&place);
    process_send_and_die(&place.options, 8);
    cr_assert_eq(files_count(&place, ".batch"), 3);
    struct tally *tally = open_with(&place.options);
    cr_assert_eq(stats_of(tally).events_sent, 0);
    cr_assert_gt(stats_of(tally).spool_bytes, 0);
    for (uint64_t i = 8; i < 11; i++)
        cr_assert_eq(send_numbered(tally, i), TALLY_OK);
    cr_assert_eq(tally_flush(tally, 20), TALLY_TIMEOUT);
    cr_assert_eq(files_count(&place, ".batch"), 4);
    peer_listen_at(&place.peer);
    peer_accept(&place.peer);
    take_and_ack(&place, 0, 3);
    take_and_ack(&place, 3, 3);
    take_and_ack(&place, 6, 2);
    take_and_ack(&place, 8, 3);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.events_recovered, 8);
    cr_assert_eq(stats.events_sent, 3);
    cr_assert_eq(stats.events_acked, 11);
    cr_assert_eq(stats.events_buffered, 0);
    cr_assert_eq(stats.spool_bytes, 0);
    cr_assert_eq(stats.spool_errors + stats.spool_bad, 0);
    cr_assert_eq(files_count(&place, ".batch"), 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    place_done(&place);
}

// The killed process had sent the batches; the server had them, and its acks were lost.
Test(tally_spool, resends_the_same_bytes_from_another_process)
{
    struct place place;
    struct parcel first[2], again[2];
    int wait_status;
    place_open(&place);
    place.options.backfill = "2023-11";
    peer_listen_at(&place.peer);
    pid_t pid = fork();
    if (pid == 0) {
        // Without ids of ours: those that the library makes have to stay too.
        const struct tally_event event = {.subject = "acme", .type = "api_call", .value = "1.5"};
        struct tally *tally = tally_open(&place.options, NULL, 0);
        for (int i = 0; tally != NULL && i < 6; i++)
            (void)tally_send(tally, &event);
        (void)tally_flush(tally, WAIT_MS);
        _exit(1);
    }
    peer_accept(&place.peer);
    for (size_t i = 0; i < 2; i++)
        peer_take(&place.peer, &first[i]);
    cr_assert_eq(kill(pid, SIGKILL), 0);
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    peer_drop(&place.peer, false);
    // What this process says of a backfill is not what the batches were sealed with.
    place.options.backfill = NULL;
    struct tally *tally = open_with(&place.options);
    peer_accept(&place.peer);
    for (size_t i = 0; i < 2; i++) {
        peer_take(&place.peer, &again[i]);
        cr_assert(bytes_equal(buffer_view(&again[i].frame), buffer_view(&first[i].frame)));
        cr_assert_str_eq(again[i].backfill, "2023-11");
    }
    // And once more after a lost connection.
    peer_drop(&place.peer, true);
    peer_accept(&place.peer);
    for (size_t i = 0; i < 2; i++) {
        parcel_done(&again[i]);
        peer_take(&place.peer, &again[i]);
        cr_assert(bytes_equal(buffer_view(&again[i].frame), buffer_view(&first[i].frame)));
        peer_ack(&place.peer, &again[i]);
    }
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(stats_of(tally).batches_resent, 2);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(files_count(&place, ".batch"), 0);
    for (size_t i = 0; i < 2; i++) {
        parcel_done(&first[i]);
        parcel_done(&again[i]);
    }
    place_done(&place);
}

struct refused {
    size_t count;
    bool is_leftover;
    uint64_t tag;
};

static void
note_refusal(void *context, const struct tally_refusal *refusal)
{
    struct refused *refused = context;
    refused->count++;
    refused->is_leftover = refusal->is_leftover;
    refused->tag = refusal->tag;
}

Test(tally_spool, tells_refusals_of_another_process_apart)
{
    struct place place;
    struct parcel parcel;
    struct refused refused = {0};
    scoped(buffer_done) struct buffer answer = {0};
    place_open(&place);
    process_send_and_die(&place.options, 3);
    place.options.on_refusal = note_refusal;
    place.options.context = &refused;
    peer_listen_at(&place.peer);
    struct tally *tally = open_with(&place.options);
    peer_accept(&place.peer);
    peer_take(&place.peer, &parcel);
    buffer_put(&answer, "\x82\xa3", 2);
    buffer_text(&answer, "ack\xd9\x24");
    buffer_text(&answer, parcel.chunk);
    buffer_text(
        &answer,
        "\xa9"
        "conflicts\x91\x02");
    peer_write(&place.peer, buffer_view(&answer));
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(refused.count, 1);
    cr_assert(refused.is_leftover);
    cr_assert_eq(refused.tag, 0, "a tag means something in its own process only");
    cr_assert_eq(stats_of(tally).events_conflict, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    parcel_done(&parcel);
    place_done(&place);
}

Test(tally_spool, keeps_what_close_could_not_send)
{
    struct place place;
    place_open(&place);
    place.options.spool_sync = true;
    struct tally *tally = open_with(&place.options);
    for (uint64_t i = 0; i < 4; i++)
        cr_assert_eq(send_numbered(tally, i), TALLY_OK);
    cr_assert_eq(tally_close(tally, 1), TALLY_TIMEOUT);
    cr_assert_eq(files_count(&place, ".batch"), 2);
    // A handle that sends nothing of its own and cannot send the leftovers says so, too.
    tally = open_with(&place.options);
    cr_assert_eq(tally_close(tally, 1), TALLY_TIMEOUT);
    peer_listen_at(&place.peer);
    tally = open_with(&place.options);
    peer_accept(&place.peer);
    take_and_ack(&place, 0, 3);
    take_and_ack(&place, 3, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(files_count(&place, ".batch"), 0);
    place_done(&place);
}

Test(tally_spool, writes_an_old_batch_while_there_is_no_server)
{
    struct place place;
    place_open(&place);
    place.options.batch_age_ms = 5;
    place.options.retry_min_ms = 10 * WAIT_MS;
    place.options.retry_max_ms = 10 * WAIT_MS;
    struct tally *tally = open_with(&place.options);
    cr_assert_eq(send_numbered(tally, 0), TALLY_OK);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (files_count(&place, ".batch") == 0) {
        cr_assert_lt(clock_monotonic_ns(), deadline_ns, "no file at its age");
        sched_yield();
    }
    cr_assert_eq(stats_of(tally).events_buffered, 1);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    place_done(&place);
}

Test(tally_spool, is_bounded)
{
    enum { SPOOL_SMALLEST = 65792 };
    static char text[3001];
    struct place place;
    struct parcel parcel;
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    const struct tally_event event = {
        .subject = "acme", .type = "t", .properties = &property, .properties_count = 1};
    place_open(&place);
    place.options.spool_bytes = SPOOL_SMALLEST;
    struct tally *tally = open_with(&place.options);
    uint64_t taken = 0;
    while (tally_send(tally, &event) == TALLY_OK)
        taken++;
    cr_assert_eq(tally_send(tally, &event), TALLY_FULL);
    cr_assert_gt(taken, 15);
    cr_assert_lt(taken, 22);
    cr_assert_leq(stats_of(tally).spool_bytes, SPOOL_SMALLEST);
    cr_assert_gt(stats_of(tally).spool_bytes, SPOOL_SMALLEST - 4000);
    peer_listen_at(&place.peer);
    peer_accept(&place.peer);
    peer_take(&place.peer, &parcel);
    peer_ack(&place.peer, &parcel);
    cr_assert_eq(tally_send_wait(tally, &event, WAIT_MS), TALLY_OK, "room after an ack");
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    parcel_done(&parcel);
    place_done(&place);
}

// Changes one byte of the first file in the directory's order of names.
static void
file_damage(const struct place *place)
{
    struct dirent **entries;
    char path[400];
    int count = scandir(place->path, &entries, NULL, alphasort);
    cr_assert_gt(count, 2);
    path[0] = '\0';
    for (int i = 0; i < count; i++) {
        if (path[0] == '\0' && strstr(entries[i]->d_name, ".batch") != NULL)
            (void)snprintf(path, sizeof path, "%s/%s", place->path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    int fd = open(path, O_RDWR);
    cr_assert_geq(fd, 0);
    cr_assert_eq(pwrite(fd, "?", 1, 200), 1);
    close(fd);
}

// It is set aside without being read to its end, and takes no room from the others all the same.
Test(tally_spool, frees_the_room_of_a_file_larger_than_any_batch)
{
    char path[200];
    struct place place;
    place_open(&place);
    (void)snprintf(path, sizeof path, "%s/01234567-89ab-7def-8123-456789abcdef.batch", place.path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, 20 << 20), 0);
    close(fd);
    place.options.spool_bytes = 1 << 20;
    peer_listen_at(&place.peer);
    struct tally *tally = open_with(&place.options);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    cr_assert_eq(stats_of(tally).spool_bad, 1);
    cr_assert_eq(stats_of(tally).spool_bytes, 0);
    cr_assert_eq(send_numbered(tally, 0), TALLY_OK);
    cr_assert_eq(files_count(&place, ".bad"), 1);
    cr_assert_eq(tally_close(tally, 0), TALLY_TIMEOUT);
    place_done(&place);
}

Test(tally_spool, sets_a_damaged_file_aside_and_sends_the_others)
{
    struct place place;
    place_open(&place);
    process_send_and_die(&place.options, 9);
    file_damage(&place);
    peer_listen_at(&place.peer);
    struct tally *tally = open_with(&place.options);
    peer_accept(&place.peer);
    take_and_ack(&place, 3, 3);
    take_and_ack(&place, 6, 3);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.spool_bad, 1);
    cr_assert_eq(stats.events_recovered, 6);
    cr_assert_eq(stats.spool_bytes, 0);
    cr_assert_eq(files_count(&place, ".bad"), 1);
    cr_assert_eq(files_count(&place, ".batch"), 0);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    tally = open_with(&place.options);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK, "it is not tried again");
    place_done(&place);
}

Test(tally_spool, sends_from_memory_what_cannot_be_written)
{
    struct place place;
    char path[128];
    place_open(&place);
    peer_listen_at(&place.peer);
    struct tally *tally = open_with(&place.options);
    peer_accept(&place.peer);
    (void)snprintf(path, sizeof path, "%s/lock", place.path);
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(rmdir(place.path), 0);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(send_numbered(tally, i), TALLY_OK);
    take_and_ack(&place, 0, 3);
    cr_assert_eq(tally_flush(tally, WAIT_MS), TALLY_OK);
    struct tally_stats stats = stats_of(tally);
    cr_assert_eq(stats.spool_errors, 1);
    cr_assert_not_null(strstr(stats.last_spool_error, "spool_dir"), "%s", stats.last_spool_error);
    cr_assert_eq(stats.spool_bytes, 0);
    cr_assert_eq(stats.events_acked, 3);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    place_done(&place);
}

Test(tally_spool, refuses_a_second_handle)
{
    struct place place;
    char error[256] = "";
    place_open(&place);
    struct tally *tally = open_with(&place.options);
    cr_assert_null(tally_open(&place.options, error, sizeof error));
    cr_assert_not_null(strstr(error, "in use"), "%s", error);
    cr_assert_eq(tally_close(tally, 0), TALLY_OK);
    place_done(&place);
}

// More than the memory for leftovers holds at once: what does not fit is read when acks made room.
Test(tally_spool, sends_more_leftovers_than_their_memory_holds)
{
    // 17 events of 60 kB are a batch, and 16 of these batches the memory.
    enum { EVENTS = 340, UNACKED = 16 };
    static char text[60001];
    struct place place;
    int wait_status;
    memset(text, 'x', sizeof text - 1);
    const struct tally_property property = {"text", TALLY_TEXT, {.text = text}};
    place_open(&place);
    place.options.batch_events = 1000;
    place.options.batch_bytes = 1 << 20;
    place.options.in_flight_batches = 64;
    pid_t pid = fork();
    if (pid == 0) {
        const struct tally_event event = {
            .subject = "acme", .type = "t", .properties = &property, .properties_count = 1};
        struct tally *tally = tally_open(&place.options, NULL, 0);
        for (int i = 0; i < EVENTS; i++)
            if (tally == NULL || tally_send(tally, &event) != TALLY_OK)
                _exit(1);
        (void)tally_flush(tally, 0);
        (void)kill(getpid(), SIGKILL);
    }
    cr_assert_eq(waitpid(pid, &wait_status, 0), pid);
    cr_assert(WIFSIGNALED(wait_status));
    size_t files = files_count(&place, ".batch");
    cr_assert_geq(files, 20);
    peer_listen_at(&place.peer);
    struct tally *tally = open_with(&place.options);
    cr_assert_eq(send_numbered(tally, 0), TALLY_OK);
    cr_assert_eq(tally_flush(tally, 0), TALLY_TIMEOUT);
    peer_accept(&place.peer);
    uint64_t count = 0;
    struct parcel parcels[UNACKED];
    for (size_t i = 0; i < UNACKED; i++) {
        peer_take(&place.peer, &parcels[i]);
        count += parcels[i].events_count;
    }
    cr_assert(peer_is_quiet(&place.peer, 50), "more than fits is under way");
    for (size_t i = 0; i < UNACKED; i++) {
        peer_ack(&place.peer, &parcels[i]);
        parcel_done(&parcels[i]);
    }
    for (size_t i = UNACKED; i < files; i++) {
        struct parcel parcel;
        peer_take(&place.peer, &parcel);
        count += parcel.events_count;
        cr_assert_gt(parcel.events.size, 60000, "leftovers come first");
        peer_ack(&place.peer, &parcel);
        parcel_done(&parcel);
    }
    cr_assert_eq(count, EVENTS);
    take_and_ack(&place, 0, 1);
    cr_assert_eq(tally_close(tally, WAIT_MS), TALLY_OK);
    place_done(&place);
}
