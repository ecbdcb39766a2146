// The drive against a server that the test plays: frames have one known size, and the chunk lies
// at a known place.
#include "bench/drive.h"

#include "base/clock.h"
#include "base/pool.h"

#include <criterion/criterion.h>

#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

enum { CHUNK_EVENTS = 10, CHUNK_FROM_END = 32, STALL_MS = 300, WAIT_MS = 20000 };

enum manner { MANNER_ACK, MANNER_STALL, MANNER_CLOSE, MANNER_STRANGE, MANNER_REFUSE };

struct stage {
    int listen_fd;
    enum manner manner;
    uint32_t frame_size;
    struct drive *drive;
    struct drive_options options;
    uint32_t datagrams;  // received, when the server is joined
    pthread_t server;
};

static bool
frame_read(int fd, uint8_t *frame, uint32_t size)
{
    for (uint32_t at = 0; at < size;) {
        ssize_t got = recv(fd, frame + at, size - at, 0);
        if (got <= 0)
            return false;
        at += (uint32_t)got;
    }
    return true;
}

static void
frame_answer(int fd, enum manner manner, const uint8_t *chunk)
{
    // A map of one pair, or of three with the second event rejected and the third in conflict.
    uint8_t answer[128] = {0x81, 0xa3, 'a', 'c', 'k', 0xb0};
    static const char refusals[] = "\xa8rejected\x91\x92\x01\xa1x\xa9"
                                   "conflicts\x91\x02";
    size_t size = 6 + GENERATE_CHUNK_TEXT_SIZE;
    memcpy(answer + 6, chunk, GENERATE_CHUNK_TEXT_SIZE);
    if (manner == MANNER_STRANGE)
        answer[6] ^= 1;
    if (manner == MANNER_REFUSE) {
        answer[0] = 0x83;
        memcpy(answer + size, refusals, sizeof refusals - 1);
        size += sizeof refusals - 1;
    }
    (void)send(fd, answer, size, MSG_NOSIGNAL);
}

static void *
server_run(void *context)
{
    const struct stage *stage = context;
    uint8_t *frame = pool_take(1, stage->frame_size);
    int fd = accept(stage->listen_fd, NULL, NULL);
    for (bool is_first = true; frame_read(fd, frame, stage->frame_size); is_first = false) {
        if (stage->manner == MANNER_CLOSE)
            break;
        if (stage->manner == MANNER_STALL && is_first)
            (void)poll(NULL, 0, STALL_MS);
        frame_answer(fd, stage->manner, frame + stage->frame_size - CHUNK_FROM_END);
    }
    close(fd);
    pool_give(frame);
    return NULL;
}

// Takes no notice of the first datagram, and acks the second twice.
static void *
datagrams_run(void *context)
{
    struct stage *stage = context;
    uint8_t *frame = pool_take(1, stage->frame_size);
    struct sockaddr_in from;
    uint32_t count = 0;
    // Ends when the test makes the socket deaf.
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(
            stage->listen_fd, frame, stage->frame_size, 0, (struct sockaddr *)&from, &size);
        if (got != (ssize_t)stage->frame_size)
            break;
        uint8_t answer[64] = {0x81, 0xa3, 'a', 'c', 'k', 0xb0};
        memcpy(answer + 6, frame + stage->frame_size - CHUNK_FROM_END, GENERATE_CHUNK_TEXT_SIZE);
        count++;
        for (uint32_t i = count == 1 ? 2 : count == 2 ? 0 : 1; i < 2; i++)
            (void)sendto(
                stage->listen_fd,
                answer,
                6 + GENERATE_CHUNK_TEXT_SIZE,
                0,
                (const struct sockaddr *)&from,
                size);
    }
    stage->datagrams = count;
    pool_give(frame);
    return NULL;
}

static void
stage_open_by(struct stage *stage, enum manner manner, enum transport transport)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    static struct generator generator;
    *stage = (struct stage){.manner = manner};
    stage->options = (struct drive_options){
        .generate = {.event_size = 110, .chunk_events = CHUNK_EVENTS, .subjects = 5},
        .connections = 1,
        .in_flight = 4,
        .chunks_max = 50,
        .ack_timeout_ns = WAIT_MS * INT64_C(1000000),
    };
    cr_assert_eq(generator_init(&generator, &stage->options.generate, NULL), STATUS_OK);
    stage->frame_size = generator_frame_size(&generator);
    bool is_udp = transport == TRANSPORT_UDP;
    stage->listen_fd = socket(AF_INET, is_udp ? SOCK_DGRAM : SOCK_STREAM, 0);
    socklen_t size = sizeof address;
    cr_assert_eq(bind(stage->listen_fd, (const struct sockaddr *)&address, size), 0);
    cr_assert_eq(getsockname(stage->listen_fd, (struct sockaddr *)&address, &size), 0);
    if (!is_udp)
        cr_assert_eq(listen(stage->listen_fd, 4), 0);
    stage->options.endpoint.transport = transport;
    stage->options.endpoint.address_size = sizeof address;
    memcpy(&stage->options.endpoint.address, &address, sizeof address);
    stage->drive = pool_take(1, sizeof *stage->drive);
    void *(*run)(void *) = is_udp ? datagrams_run : server_run;
    cr_assert_eq(pthread_create(&stage->server, NULL, run, stage), 0);
}

static void
stage_open(struct stage *stage, enum manner manner)
{
    stage_open_by(stage, manner, TRANSPORT_TCP);
}

static enum status
stage_run(struct stage *stage, struct error *error)
{
    cr_assert_eq(drive_start(stage->drive, &stage->options, error), STATUS_OK, "%s", error->text);
    return drive_join(stage->drive, error);
}

static void
stage_done(struct stage *stage)
{
    drive_done(stage->drive);
    cr_assert_eq(pthread_join(stage->server, NULL), 0);
    close(stage->listen_fd);
    pool_give(stage->drive);
}

Test(drive, sends_what_it_was_asked_for_and_waits_for_every_ack)
{
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, MANNER_ACK);
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    cr_assert(drive_is_over(stage.drive));
    cr_assert_eq(drive_acked(stage.drive), 50);
    cr_assert_eq(stage.drive->latency.total, 50);
    cr_assert_eq(stage.drive->generator.totals.events, 50 * CHUNK_EVENTS);
    cr_assert_gt(stage.drive->ended_ns, stage.drive->began_ns);
    stage_done(&stage);
}

Test(drive, charges_a_stall_to_every_chunk_that_was_due_meanwhile)
{
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, MANNER_STALL);
    // A chunk every 10 ms, and only one may be in flight: about 30 fall due in the stall.
    stage.options.chunks_per_second = 100;
    stage.options.in_flight = 1;
    stage.options.chunks_max = 30;
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    const struct histogram *latency = &stage.drive->latency;
    cr_assert_eq(latency->total, 30);
    cr_assert_geq(latency->max, STALL_MS * UINT64_C(1000000));
    cr_assert_geq(histogram_percentile(latency, 5000), UINT64_C(100000000), "half of them waited");
    stage_done(&stage);
}

Test(drive, keeps_the_pace)
{
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, MANNER_ACK);
    stage.options.chunks_per_second = 200;
    stage.options.chunks_max = 41;
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    // The last of 41 is due 200 ms after the first.
    cr_assert_geq(stage.drive->ended_ns - stage.drive->began_ns, INT64_C(200000000));
    stage_done(&stage);
}

Test(drive, ends_when_it_is_told_to)
{
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, MANNER_ACK);
    stage.options.chunks_max = 0;
    cr_assert_eq(drive_start(stage.drive, &stage.options, &error), STATUS_OK, "%s", error.text);
    int64_t deadline_ns = clock_monotonic_ns() + WAIT_MS * INT64_C(1000000);
    while (drive_acked(stage.drive) < 10)
        cr_assert_lt(clock_monotonic_ns(), deadline_ns);
    cr_assert_not(drive_is_over(stage.drive));
    drive_stop(stage.drive);
    cr_assert_eq(drive_join(stage.drive, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(stage.drive->chunks_acked, stage.drive->chunks_made);
    stage_done(&stage);
}

Test(drive, adds_up_what_was_refused)
{
    struct stage stage;
    struct error error = {0};
    stage_open(&stage, MANNER_REFUSE);
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(stage.drive->rejected, 50);
    cr_assert_eq(stage.drive->conflicts, 50);
    stage_done(&stage);
}

Test(drive, sends_a_lost_datagram_again_and_takes_its_second_ack_for_none)
{
    struct stage stage;
    struct error error = {0};
    stage_open_by(&stage, MANNER_ACK, TRANSPORT_UDP);
    stage.options.in_flight = 1;
    cr_assert_eq(stage_run(&stage, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(drive_acked(stage.drive), 50);
    cr_assert_eq(stage.drive->latency.total, 50);
    cr_assert_geq(stage.drive->resent, 1);
    cr_assert_geq(stage.drive->latency.max, (uint64_t)DRIVE_RESEND_NS, "its clock ran on");
    cr_assert_eq(stage.drive->generator.totals.events, 50 * CHUNK_EVENTS);
    // An empty datagram ends the server, and all before it were ours.
    int fd = -1;
    cr_assert_eq(endpoint_connect(&stage.options.endpoint, &fd, &error), STATUS_OK);
    cr_assert_eq(send(fd, "", 0, 0), 0);
    close(fd);
    uint64_t resent = stage.drive->resent;
    stage_done(&stage);
    cr_assert_eq(stage.datagrams, 50 + resent);
}

Test(drive, says_why_it_ended_early)
{
    static const struct {
        enum manner manner;
        enum status status;
    } rows[] = {
        {MANNER_STRANGE, STATUS_INVALID},
        {MANNER_CLOSE,   STATUS_CLOSED },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct stage stage;
        struct error error = {0};
        stage_open(&stage, rows[i].manner);
        enum status status = stage_run(&stage, &error);
        // A close with bytes unread is a reset, which the kernel calls an error of the connection.
        bool is_reset = rows[i].manner == MANNER_CLOSE && status == STATUS_IO;
        cr_assert(status == rows[i].status || is_reset, "row %zu: %s", i, error.text);
        cr_assert(drive_is_over(stage.drive));
        stage_done(&stage);
    }
}

Test(drive, refuses_what_it_cannot_do)
{
    static struct drive drive;
    struct error error = {0};
    struct drive_options options = {
        .generate = {.event_size = 110, .chunk_events = 1, .subjects = 1},
        .connections = 0,
        .in_flight = 1,
    };
    cr_assert_eq(drive_start(&drive, &options, &error), STATUS_INVALID);
    options.connections = 1;
    options.in_flight = DRIVE_IN_FLIGHT_MAX + 1;
    cr_assert_eq(drive_start(&drive, &options, &error), STATUS_INVALID);
    options.in_flight = 1;
    options.generate.chunk_events = 0;
    cr_assert_eq(drive_start(&drive, &options, &error), STATUS_INVALID);
}

Test(drive, waits_for_an_ack_only_without_room)
{
    static const int64_t look_ns = 50000000;
    static const struct row {
        int64_t left_ns;
        bool has_room;
        int64_t wait_ns;
    } rows[] = {
        {2000000,   true,  2000000},
        {1,         true,  1      },
        {900000000, true,  look_ns},
 // It became due since it was looked for: at once, whatever is in flight.
        {0,         true,  0      },
        {-3000000,  true,  0      },
        {-3000000,  false, look_ns},
        {2000000,   false, look_ns},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        cr_assert_eq(
            drive_wait_ns(rows[i].left_ns, rows[i].has_room), rows[i].wait_ns, "row %zu", i);
}
