#include "ledger/memory.h"

#include "base/clock.h"
#include "ledger/control_wire.h"

#include <criterion/criterion.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

// A writer thread of our own that answers questions about two cells, and the socket between.

struct desk {
    char dir[40];
    struct serve *serve;
    struct slot slots[2];
    struct waker waker;
    struct flag stop;
    struct flag silent;  // takes no question
    pthread_t thread;
    struct cells *cells;
};

static uint64_t
live_from(const void *context, uint32_t meter_id)
{
    (void)context;
    return meter_id == 9 ? 0 : meter_id;
}

static uint64_t
flushed_from(const void *context, uint32_t meter_id)
{
    return live_from(context, meter_id) * 10;
}

static void *
desk_main(void *argument)
{
    struct desk *desk = argument;
    while (!flag_get(&desk->stop)) {
        waker_prepare(&desk->waker);
        for (uint32_t shard = 0; shard < 2; shard++) {
            const struct memory_view view = {
                .flushed = 10 + shard,
                .head = 20 + shard,
                .cells = desk->cells,
                .live_from = live_from,
                .flushed_from = flushed_from};
            struct memory_question *question =
                flag_get(&desk->silent) ? NULL : slot_take(&desk->slots[shard]);
            if (question)
                memory_answer(question, &view);
        }
        waker_wait(&desk->waker, 5);
    }
    return NULL;
}

static void
desk_ask(void *context, uint32_t shard, struct memory_question *question)
{
    struct desk *desk = context;
    slot_offer(&desk->slots[shard], question);
    waker_wake(&desk->waker);
}

static const struct meter meters[] = {
    {.key = "three", .aggregation = AGGREGATION_SUM, .id = 3, .dimensions_count = 1},
    {.key = "four",  .aggregation = AGGREGATION_SUM, .id = 4, .dimensions_count = 1},
};

// window: a number of quarter hours.
static void
add_cell(struct cells *cells, uint32_t meter_id, const char *subject, int64_t window, int64_t sum)
{
    struct fold_step step = {.group = {.count = 1}};
    step.group.values[0] = bytes_text("eu");
    step.meter = &meters[meter_id - 3];
    step.start_s = window * QUARTER_HOUR_S;
    step.input.value = decimal_from_int(sum);
    step.group_hash = cell_group_hash(&step.group);
    struct bytes name = bytes_text(subject);
    cells_add(cells, cells_subject(cells, name, cells_hash(name)), &step);
}

static void
desk_begin(struct desk *desk)
{
    struct error error = {0};
    *desk = (struct desk){.dir = "/tmp/tally-memory-XXXXXX"};
    cr_assert_not_null(mkdtemp(desk->dir));
    desk->cells = cells_open();
    add_cell(desk->cells, 3, "a", 100, 5);
    add_cell(desk->cells, 3, "a", 100, 6);
    add_cell(desk->cells, 3, "a", 200, 7);
    add_cell(desk->cells, 3, "b", 100, 8);
    add_cell(desk->cells, 4, "a", 100, 9);
    cr_assert_eq(waker_init(&desk->waker, &error), STATUS_OK);
    const struct serve_options options = {
        .dir = desk->dir, .shards = 2, .ask = desk_ask, .context = desk};
    cr_assert_eq(serve_start(&options, &desk->serve, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(pthread_create(&desk->thread, NULL, desk_main, desk), 0);
}

static void
desk_end(struct desk *desk)
{
    flag_set(&desk->stop, 1);
    waker_wake(&desk->waker);
    cr_assert_eq(pthread_join(desk->thread, NULL), 0);
    serve_stop(desk->serve);
    waker_done(&desk->waker);
    cells_close(desk->cells);
    cr_assert_eq(rmdir(desk->dir), 0, "read.sock is gone when serving ends");
}

static struct memory_client *
connect_to(const struct desk *desk)
{
    struct memory_client *client;
    struct error error = {0};
    cr_assert_eq(memory_client_open(desk->dir, &client, &error), STATUS_OK, "%s", error.text);
    return client;
}

struct answer_row {
    struct memory_request request;
    uint64_t flushed, head, live_from;
    uint32_t cells_count;
    int64_t sum;
};

static void
check_answer(struct memory_client *client, const struct answer_row *row)
{
    struct memory_reply reply;
    struct cell_key key;
    struct cell_group group;
    struct cell_state state;
    struct error error = {0};
    struct decimal sum = {0};
    uint32_t count = 0;
    cr_assert_eq(memory_ask(client, &row->request, &reply, &error), STATUS_OK, "%s", error.text);
    cr_assert_eq(reply.flushed, row->flushed);
    cr_assert_eq(reply.head, row->head);
    cr_assert_eq(reply.live_from, row->live_from);
    cr_assert_eq(reply.flushed_from, row->live_from * 10);
    while (memory_reply_next(&reply, AGGREGATION_SUM, &key, &group, &state)) {
        cr_assert_eq(key.meter_id, row->request.meter_id);
        cr_assert_eq(group.count, 1);
        cr_assert(bytes_equal(group.values[0], bytes_text("eu")));
        int128 units = 0;
        cr_assert(wide_to_int128(&state.sum.sum, &units));
        cr_assert(decimal_add(&sum, (struct decimal){units}));
        count++;
    }
    cr_assert_not(cursor_failed(&reply.cells));
    cr_assert_eq(count, row->cells_count);
    cr_assert_eq(decimal_compare(sum, decimal_from_int(row->sum)), 0);
}

// From and to in quarter hours.
static struct memory_request
request_of(uint32_t shard, uint32_t meter_id, const char *subject, int64_t from, int64_t to)
{
    return (struct memory_request){
        .shard = shard,
        .meter_id = meter_id,
        .subject = bytes_text(subject),
        .from_s = from * QUARTER_HOUR_S,
        .to_s = to * QUARTER_HOUR_S,
    };
}

static void
check_answers(struct memory_client *client)
{
    const struct answer_row rows[] = {
        {request_of(0, 3, "a", 0,   1000), 10, 20, 3, 2, 18},
        {request_of(1, 3, "a", 0,   1000), 11, 21, 3, 2, 18},
        {request_of(0, 3, "a", 100, 200),  10, 20, 3, 1, 11},
        {request_of(0, 3, "a", 200, 201),  10, 20, 3, 1, 7 },
        {request_of(0, 3, "a", 201, 1000), 10, 20, 3, 0, 0 },
        {request_of(0, 3, "",  0,   1000), 10, 20, 3, 3, 26},
        {request_of(1, 3, "",  100, 101),  11, 21, 3, 2, 19},
        {request_of(0, 4, "a", 0,   1000), 10, 20, 4, 1, 9 },
        {request_of(0, 4, "c", 0,   1000), 10, 20, 4, 0, 0 },
        {request_of(0, 9, "a", 0,   1000), 10, 20, 0, 0, 0 }, // a meter nobody folds
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_answer(client, &rows[i]);
}

Test(memory, answers_for_subject_and_range_of_one_shard)
{
    struct desk desk;
    desk_begin(&desk);
    struct memory_client *client = connect_to(&desk);
    check_answers(client);
    memory_client_close(client);
    desk_end(&desk);
}

static void *
ask_many(void *argument)
{
    struct desk *desk = argument;
    for (int i = 0; i < 20; i++) {
        struct memory_client *client = connect_to(desk);
        check_answers(client);
        memory_client_close(client);
    }
    return NULL;
}

Test(memory, answers_many_clients_at_once)
{
    struct desk desk;
    pthread_t threads[8];
    desk_begin(&desk);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, ask_many, &desk), 0);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    desk_end(&desk);
}

Test(memory, nobody_listens_is_not_found)
{
    struct desk desk;
    struct memory_client *client;
    struct error error = {0};
    cr_assert_eq(memory_client_open("/nonexistent/dir", &client, &error), STATUS_NOT_FOUND);
    desk_begin(&desk);
    flag_set(&desk.stop, 1);
    waker_wake(&desk.waker);
    cr_assert_eq(pthread_join(desk.thread, NULL), 0);
    serve_stop(desk.serve);
    cr_assert_eq(memory_client_open(desk.dir, &client, &error), STATUS_NOT_FOUND);
    cr_assert_not_null(strstr(error.text, "nobody listens"));
    waker_done(&desk.waker);
    cells_close(desk.cells);
    cr_assert_eq(rmdir(desk.dir), 0);
}

static int
raw_connect(const struct desk *desk)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/read.sock", desk->dir);
    cr_assert_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

// Whether the server ends the connection within the deadline.
static bool
is_closed(int fd)
{
    char byte;
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 10000) == 1 && recv(fd, &byte, 1, 0) <= 0;
}

Test(memory, closes_connections_that_break_the_protocol)
{
    static const struct {
        const char *what;
        uint8_t bytes[8];
        size_t size;
    } rows[] = {
        {"a size of 0",            {0, 0, 0, 0},              4},
        {"a size of 4 GiB",        {255, 255, 255, 255},      4},
        {"one below the smallest", {CONTROL_REQUEST_MIN - 1}, 4},
        {"one above the largest",
         {(CONTROL_REQUEST_MAX + 1) & 255,
          ((CONTROL_REQUEST_MAX + 1) >> 8) & 255,
          (CONTROL_REQUEST_MAX + 1) >> 16},
         4                                                     },
    };
    struct desk desk;
    desk_begin(&desk);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int fd = raw_connect(&desk);
        cr_assert_eq(send(fd, rows[i].bytes, rows[i].size, MSG_NOSIGNAL), (ssize_t)rows[i].size);
        cr_assert(is_closed(fd), "%s", rows[i].what);
        close(fd);
    }
    desk_end(&desk);
}

// Every byte of a good request changed; and a request for a shard that is not there.
Test(memory, refuses_requests_that_do_not_fit)
{
    struct desk desk;
    desk_begin(&desk);
    const struct memory_request good = request_of(0, 3, "a", 0, 1000);
    scoped(buffer_done) struct buffer frame = {0};
    memory_request_write(&good, &frame);
    struct memory_request out;
    struct bytes body = bytes_of(frame.data + MEMORY_FRAME_HEAD, frame.size - MEMORY_FRAME_HEAD);
    cr_assert(memory_request_read(body, &out));
    for (size_t size = 0; size < body.size; size++)
        cr_assert_not(memory_request_read(bytes_of(body.data, size), &out), "cut to %zu", size);
    frame.data[MEMORY_FRAME_HEAD + 1] = MEMORY_QUOTA;
    cr_assert(memory_request_read(body, &out));
    cr_assert_eq(out.kind, MEMORY_QUOTA);
    frame.data[MEMORY_FRAME_HEAD + 1] = MEMORY_QUOTA + 1;
    cr_assert_not(memory_request_read(body, &out), "no such kind");
    frame.data[MEMORY_FRAME_HEAD + 1] = MEMORY_CELLS;
    frame.data[MEMORY_FRAME_HEAD] = MEMORY_VERSION + 1;
    cr_assert_not(memory_request_read(body, &out), "another version");

    const struct memory_request absent = request_of(2, 3, "a", 0, 1000);
    buffer_reset(&frame);
    memory_request_write(&absent, &frame);
    int fd = raw_connect(&desk);
    cr_assert_eq(send(fd, frame.data, frame.size, MSG_NOSIGNAL), (ssize_t)frame.size);
    cr_assert(is_closed(fd));
    close(fd);
    desk_end(&desk);
}

Test(memory, a_request_may_come_byte_by_byte)
{
    struct desk desk;
    desk_begin(&desk);
    const struct memory_request request = request_of(0, 3, "a", 0, 1000);
    scoped(buffer_done) struct buffer frame = {0};
    memory_request_write(&request, &frame);
    int fd = raw_connect(&desk);
    for (size_t i = 0; i < frame.size; i++)
        cr_assert_eq(send(fd, frame.data + i, 1, MSG_NOSIGNAL), 1);
    uint8_t head[MEMORY_FRAME_HEAD + MEMORY_REPLY_MIN];
    cr_assert_eq(recv(fd, head, sizeof head, MSG_WAITALL), (ssize_t)sizeof head);
    cr_assert_eq(head[MEMORY_FRAME_HEAD], MEMORY_VERSION);
    close(fd);
    desk_end(&desk);
}

Test(memory, a_client_that_leaves_does_not_disturb_the_next)
{
    struct desk desk;
    desk_begin(&desk);
    const struct memory_request request = request_of(0, 3, "a", 0, 1000);
    scoped(buffer_done) struct buffer frame = {0};
    memory_request_write(&request, &frame);
    flag_set(&desk.silent, 1);
    int fd = raw_connect(&desk);
    cr_assert_eq(send(fd, frame.data, frame.size, MSG_NOSIGNAL), (ssize_t)frame.size);
    close(fd);
    struct memory_client *client = connect_to(&desk);
    flag_set(&desk.silent, 0);
    check_answers(client);
    memory_client_close(client);
    desk_end(&desk);
}

Test(memory, a_damaged_reply_is_seen)
{
    struct desk desk;
    desk_begin(&desk);
    struct memory_question question = {.request = request_of(0, 3, "a", 0, 1000)};
    const struct memory_view view = {
        .flushed = 1,
        .head = 2,
        .cells = desk.cells,
        .live_from = live_from,
        .flushed_from = flushed_from};
    memory_answer(&question, &view);
    cr_assert_eq(flag_get(&question.is_answered), 1);
    struct bytes body =
        bytes_of(question.reply.data + MEMORY_FRAME_HEAD, question.reply.size - MEMORY_FRAME_HEAD);
    size_t cells_seen = 0;
    for (size_t size = 0; size < body.size; size++) {
        struct memory_reply reply;
        enum memory_result result;
        struct cell_key key;
        struct cell_group group;
        struct cell_state state;
        uint32_t count = 0;
        if (!memory_reply_read(bytes_of(body.data, size), &reply, &result))
            continue;
        while (memory_reply_next(&reply, AGGREGATION_SUM, &key, &group, &state))
            count++;
        cr_assert(cursor_failed(&reply.cells), "cut to %zu", size);
        cr_assert_lt(count, 2);
        cells_seen += count;
    }
    cr_assert_gt(cells_seen, 0);
    buffer_done(&question.reply);
    desk_end(&desk);
}

Test(memory, an_answer_beyond_its_bound_says_so)
{
    struct desk desk;
    desk_begin(&desk);
    struct memory_question question = {.request = request_of(0, 3, "a", 0, 1000)};
    question.reply.limit = MEMORY_FRAME_HEAD + MEMORY_REPLY_MIN + 10;
    const struct memory_view view = {
        .flushed = 1,
        .head = 2,
        .cells = desk.cells,
        .live_from = live_from,
        .flushed_from = flushed_from};
    memory_answer(&question, &view);
    struct memory_reply reply;
    enum memory_result result;
    cr_assert(memory_reply_read(
        bytes_of(question.reply.data + MEMORY_FRAME_HEAD, question.reply.size - MEMORY_FRAME_HEAD),
        &reply,
        &result));
    cr_assert_eq(result, MEMORY_RESULT_TOO_LARGE);
    cr_assert_eq(reply.cells_count, 0);
    buffer_done(&question.reply);
    desk_end(&desk);
}
