// The life of a batch here: taken from the backlog (in order), written piece by piece, then in
// flight until its ack comes. A connection that fails takes nothing with it: all batches that
// were taken wait again, in their order.
#include "client/sender.h"

#include "base/assert.h"
#include "base/clock.h"
#include "client/flights.h"
#include "client/login.h"
#include "client/uplink.h"

#include <poll.h>
#include <sys/random.h>

enum {
    // An ack of a batch whose every event was refused: an index and a reason each.
    ANSWER_SIZE_BASE = 4096,
    ANSWER_SIZE_EVENT = 160,
};

struct sender {
    struct tally *tally;
    const struct client_settings *settings;
    struct uplink uplink;
    struct flights flights;
    struct batch *sending;  // partly written; NULL: none
    struct buffer head, tail;
    size_t sent_size;  // of the frame that is being sent
    bool is_writable;
    int64_t progress_ns;  // when the socket last took a byte
    int64_t connect_ns;   // when the current step towards the server was begun
    struct login login;
    uint32_t server_index;    // of the list: the one in use, or to try next
    uint32_t round_failures;  // since the last pause or ack
    int64_t retry_at_ns;
    int64_t pause_ns;  // after the next failure of all servers
};

// --- what the server says ---

// The server may be sent to.
static void
sender_connected(struct sender *sender)
{
    struct tally *tally = sender->tally;
    pthread_mutex_lock(&tally->mutex);
    tally->stats.is_connected = true;
    tally->stats.connects++;
    tally->stats.server = sender->server_index;
    tally->stats.last_error[0] = '\0';
    pthread_mutex_unlock(&tally->mutex);
}

// Part of the handshake, or an ack.
static enum status
message_work(struct sender *sender, struct bytes message, struct error *error)
{
    enum status status;
    if (sender->login.phase != LOGIN_DONE) {
        status = login_message(&sender->login, message, error);
        if (status == STATUS_OK && sender->login.phase == LOGIN_DONE)
            sender_connected(sender);
        return status;
    }
    if (login_is_helo(message) && sender->settings->secrets.shared_key[0] == '\0')
        return error_set(error, STATUS_INVALID, "the server asks for a shared key: set shared_key");
    status = flights_settle(&sender->flights, sender->tally, message, error);
    if (status != STATUS_OK)
        return status;
    sender->pause_ns = sender->settings->retry_min_ns;
    sender->round_failures = 0;
    return STATUS_OK;
}

// Reads what has come. Acks in front of the stream's end count.
static enum status
messages_read(struct sender *sender, struct error *error)
{
    struct bytes message;
    enum status read = uplink_read(&sender->uplink, error);
    struct error cause;
    enum status status = uplink_message(&sender->uplink, &message, &cause);
    while (status == STATUS_OK) {
        status = message_work(sender, message, &cause);
        if (status == STATUS_OK)
            status = uplink_message(&sender->uplink, &message, &cause);
    }
    if (status == STATUS_NOT_FOUND)
        return read;
    *error = cause;
    return status;
}

// --- sending ---

// The next batch of an earlier process, read from its file when it is its turn. NULL: none, or no
// room for one.
static struct batch *
leftover_next(struct sender *sender)
{
    struct tally *tally = sender->tally;
    struct leftovers *leftovers = &tally->leftovers;
    enum leftover_read read = LEFTOVER_READY;
    if (!leftovers->is_open)
        return NULL;
    while (leftovers->ring.waiting == NULL && read != LEFTOVER_NONE) {
        struct leftover leftover;
        struct error error = {0};
        read = leftovers_read(leftovers, &leftover, &error);
        if (read != LEFTOVER_NONE)
            handle_leftover(tally, read, &leftover, &error);
    }
    return backlog_take(&leftovers->ring);
}

// The next new batch.
static struct batch *
backlog_next(struct sender *sender, int64_t now_ns)
{
    struct tally *tally = sender->tally;
    pthread_mutex_lock(&tally->mutex);
    const struct batch *filling = tally->backlog.filling;
    // Sealing by age is done here and not by a timer: while nothing can be sent, batches go on
    // filling.
    bool is_due = filling != NULL && now_ns - filling->opened_ns >= sender->settings->batch_age_ns;
    if (tally->backlog.waiting == NULL && is_due)
        backlog_seal(&tally->backlog, clock_now_ns());
    struct batch *batch = backlog_take(&tally->backlog);
    pthread_mutex_unlock(&tally->mutex);
    return batch;
}

// The next batch to send, or NULL: nothing is ready, or the window is full. What an earlier process
// left goes first.
static struct batch *
batch_next(struct sender *sender, int64_t now_ns)
{
    struct tally *tally = sender->tally;
    if (sender->flights.count >= sender->settings->in_flight_batches)
        return NULL;
    struct batch *batch = leftover_next(sender);
    if (batch == NULL && !leftovers_is_pending(&tally->leftovers))
        batch = backlog_next(sender, now_ns);
    if (batch != NULL && batch->sends_count > 1) {
        pthread_mutex_lock(&tally->mutex);
        tally->stats.batches_resent++;
        pthread_mutex_unlock(&tally->mutex);
    }
    return batch;
}

// With a spool a batch gets its file at its age also while nothing can be sent.
static void
spool_age_check(struct sender *sender, int64_t now_ns)
{
    struct tally *tally = sender->tally;
    if (!tally->spool.is_open)
        return;
    pthread_mutex_lock(&tally->mutex);
    const struct batch *filling = tally->backlog.filling;
    if (filling != NULL && now_ns - filling->opened_ns >= sender->settings->batch_age_ns)
        backlog_seal(&tally->backlog, clock_now_ns());
    pthread_mutex_unlock(&tally->mutex);
}

static void
sending_begin(struct sender *sender, struct batch *batch, int64_t now_ns)
{
    buffer_reset(&sender->head);
    buffer_reset(&sender->tail);
    packet_head(&sender->head, batch);
    packet_tail(&sender->tail, batch);
    sender->sending = batch;
    sender->sent_size = 0;
    sender->progress_ns = now_ns;
}

// The parts of the frame that are not written yet. Returns their count.
static size_t
packet_parts(const struct sender *sender, struct iovec out[3], size_t *out_size)
{
    const struct bytes parts[3] = {
        buffer_view(&sender->head), backlog_events(sender->sending), buffer_view(&sender->tail)};
    size_t skip = sender->sent_size, count = 0;
    *out_size = 0;
    for (size_t i = 0; i < 3; i++) {
        size_t skipped = skip < parts[i].size ? skip : parts[i].size;
        skip -= skipped;
        if (skipped == parts[i].size)
            continue;
        // sendmsg does not write through it; the field is not const for the sake of recvmsg.
        const uint8_t *place = parts[i].data + skipped;
        memcpy(&out[count].iov_base, &place, sizeof place);
        out[count].iov_len = parts[i].size - skipped;
        *out_size += out[count].iov_len;
        count++;
    }
    return count;
}

static enum status
sending_write(struct sender *sender, int64_t now_ns, struct error *error)
{
    struct iovec parts[3];
    size_t left, size;
    if (buffer_failed(&sender->head) || buffer_failed(&sender->tail))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a frame");
    size_t count = packet_parts(sender, parts, &left);
    enum status status = uplink_write(&sender->uplink, parts, count, &size, error);
    if (status != STATUS_OK)
        return status;
    sender->sent_size += size;
    if (size > 0)
        sender->progress_ns = now_ns;
    if (size < left) {
        sender->is_writable = false;
        return STATUS_OK;
    }
    flights_add(&sender->flights, sender->sending, now_ns);
    sender->sending = NULL;
    return STATUS_OK;
}

// The PING of the handshake.
static enum status
login_write(struct sender *sender, struct error *error)
{
    while (sender->is_writable && login_unsent(&sender->login).size > 0) {
        struct bytes left = login_unsent(&sender->login);
        struct iovec part = {.iov_len = left.size};
        size_t size;
        memcpy(&part.iov_base, &left.data, sizeof part.iov_base);
        enum status status = uplink_write(&sender->uplink, &part, 1, &size, error);
        if (status != STATUS_OK)
            return status;
        login_sent(&sender->login, size);
        sender->is_writable = size == left.size;
    }
    return STATUS_OK;
}

static enum status
batches_send(struct sender *sender, int64_t now_ns, struct error *error)
{
    // Nothing goes to a server that has not proved itself.
    if (sender->login.phase != LOGIN_DONE)
        return login_write(sender, error);
    while (sender->is_writable) {
        struct batch *batch = sender->sending == NULL ? batch_next(sender, now_ns) : NULL;
        if (batch != NULL)
            sending_begin(sender, batch, now_ns);
        if (sender->sending == NULL)
            break;
        enum status status = sending_write(sender, now_ns, error);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

// --- the connection ---

// Between half the pause and all of it, so that many clients do not come back at the same moment.
static int64_t
pause_jittered(int64_t pause_ns)
{
    uint32_t random = 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return pause_ns;
    return pause_ns - (int64_t)((uint64_t)(pause_ns / 2) * random >> 32);
}

// The next server is tried at once; when all of them failed in turn, after a pause.
static void
server_next(struct sender *sender, int64_t now_ns)
{
    const struct client_settings *settings = sender->settings;
    sender->server_index = (sender->server_index + 1) % settings->servers.count;
    sender->retry_at_ns = now_ns;
    if (++sender->round_failures < settings->servers.count)
        return;
    sender->round_failures = 0;
    sender->retry_at_ns += pause_jittered(sender->pause_ns);
    sender->pause_ns *= 2;
    if (sender->pause_ns > settings->retry_max_ns)
        sender->pause_ns = settings->retry_max_ns;
}

// Among several servers the text names the one that failed.
static void
failure_note(struct sender *sender, struct error *error)
{
    struct tally_stats *stats = &sender->tally->stats;
    char name[SERVER_TEXT_MAX];
    if (sender->settings->servers.count > 1) {
        server_list_print(&sender->settings->servers, sender->server_index, name);
        (void)error_prefix(error, "%s", name);
    }
    stats->is_connected = false;
    (void)bytes_to_text(bytes_text(error->text), stats->last_error, sizeof stats->last_error);
}

static void
sender_fail(struct sender *sender, int64_t now_ns, struct error *error)
{
    struct tally *tally = sender->tally;
    uplink_stop(&sender->uplink);
    sender->flights.count = 0;
    sender->sending = NULL;
    pthread_mutex_lock(&tally->mutex);
    backlog_rewind(&tally->backlog);
    if (tally->leftovers.is_open)
        backlog_rewind(&tally->leftovers.ring);
    failure_note(sender, error);
    pthread_mutex_unlock(&tally->mutex);
    server_next(sender, now_ns);
}

// The way to the server is open; a handshake may come first.
static void
uplink_opened(struct sender *sender, int64_t now_ns)
{
    sender->is_writable = true;
    sender->connect_ns = now_ns;
    login_begin(&sender->login, &sender->settings->secrets);
    if (sender->login.phase == LOGIN_DONE)
        sender_connected(sender);
}

static enum status
connect_work(struct sender *sender, bool is_ready, int64_t now_ns, struct error *error)
{
    enum uplink_phase phase = sender->uplink.phase;
    enum status status = STATUS_OK;
    if (is_ready)
        status = uplink_finish(&sender->uplink, error);
    if (status == STATUS_OK && sender->uplink.phase == phase &&
        now_ns - sender->connect_ns >= sender->settings->connect_timeout_ns)
        status = uplink_give_up(&sender->uplink, error);
    if (status == STATUS_BUSY) {
        sender->connect_ns = now_ns;
        return STATUS_OK;
    }
    if (sender->uplink.phase == UPLINK_UP)
        uplink_opened(sender, now_ns);
    return status;
}

static enum status
timeouts_check(const struct sender *sender, int64_t now_ns, struct error *error)
{
    const struct client_settings *settings = sender->settings;
    if (sender->login.phase != LOGIN_DONE)
        return now_ns - sender->connect_ns < settings->connect_timeout_ns
                   ? STATUS_OK
                   : error_set(error, STATUS_TIMEOUT, "%s", login_missing(&sender->login));
    int64_t limit_ns = settings->ack_timeout_ns;
    bool is_ack_late =
        sender->flights.count > 0 && now_ns - sender->flights.items[0].sent_ns >= limit_ns;
    if (is_ack_late)
        return error_set(error, STATUS_TIMEOUT, "no ack within the ack timeout");
    if (sender->sending != NULL && now_ns - sender->progress_ns >= limit_ns)
        return error_set(error, STATUS_TIMEOUT, "the server does not read");
    return STATUS_OK;
}

static enum status
up_work(struct sender *sender, short events, int64_t now_ns, struct error *error)
{
    enum status status = STATUS_OK;
    // With TLS either direction may wait for the other one.
    bool is_any = events != 0 && sender->uplink.tls.session != NULL;
    if (is_any || (events & POLLOUT))
        sender->is_writable = true;
    if (is_any || (events & (POLLIN | POLLHUP | POLLERR)))
        status = messages_read(sender, error);
    if (status != STATUS_OK)
        return status;
    status = batches_send(sender, now_ns, error);
    if (status == STATUS_OK)
        return timeouts_check(sender, now_ns, error);
    // A server that went away may have acked before: what it said is still in the socket. Why
    // writing failed is what is told.
    struct error ignored;
    (void)!messages_read(sender, &ignored);
    return status;
}

// events: what poll said of the socket.
static void
sender_work(struct sender *sender, short events, int64_t now_ns)
{
    struct error error;
    enum status status = STATUS_OK;
    switch (sender->uplink.phase) {
    case UPLINK_DOWN:
        if (now_ns >= sender->retry_at_ns) {
            status = uplink_start(&sender->uplink, sender->server_index, &error);
            sender->connect_ns = clock_monotonic_ns();
        }
        break;
    case UPLINK_LOOKING:
    case UPLINK_CONNECTING:
    case UPLINK_SECURING: status = connect_work(sender, events != 0, now_ns, &error); break;
    case UPLINK_UP: break;
    }
    if (status == STATUS_OK && sender->uplink.phase == UPLINK_UP)
        status = up_work(sender, events, now_ns, &error);
    if (status != STATUS_OK)
        sender_fail(sender, clock_monotonic_ns(), &error);
}

// --- waiting ---

static int64_t
earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// When the batch being filled is to be sent for its age; never while the window is full or a
// frame is under way.
static int64_t
age_deadline(struct sender *sender)
{
    struct tally *tally = sender->tally;
    int64_t deadline_ns = INT64_MAX;
    if (sender->sending != NULL || sender->flights.count >= sender->settings->in_flight_batches)
        return deadline_ns;
    // Leftovers that wait for room hold up all others until an ack comes.
    if (leftovers_is_pending(&tally->leftovers) && sender->flights.count > 0)
        return deadline_ns;
    pthread_mutex_lock(&tally->mutex);
    if (tally->backlog.waiting != NULL)
        deadline_ns = 0;
    else if (tally->backlog.filling != NULL)
        deadline_ns = tally->backlog.filling->opened_ns + sender->settings->batch_age_ns;
    pthread_mutex_unlock(&tally->mutex);
    return deadline_ns;
}

static int64_t
sender_deadline(struct sender *sender)
{
    int64_t deadline_ns = INT64_MAX;
    switch (sender->uplink.phase) {
    case UPLINK_DOWN: return sender->retry_at_ns;
    case UPLINK_LOOKING:
    case UPLINK_CONNECTING:
    case UPLINK_SECURING: return sender->connect_ns + sender->settings->connect_timeout_ns;
    case UPLINK_UP: break;
    }
    if (sender->login.phase != LOGIN_DONE)
        return sender->connect_ns + sender->settings->connect_timeout_ns;
    if (sender->flights.count > 0)
        deadline_ns = sender->flights.items[0].sent_ns + sender->settings->ack_timeout_ns;
    if (sender->sending != NULL)
        deadline_ns = earlier(deadline_ns, sender->progress_ns + sender->settings->ack_timeout_ns);
    return earlier(deadline_ns, age_deadline(sender));
}

// When the batch being filled is to get its file.
static int64_t
spool_deadline(struct sender *sender)
{
    struct tally *tally = sender->tally;
    int64_t deadline_ns = INT64_MAX;
    if (!tally->spool.is_open)
        return deadline_ns;
    pthread_mutex_lock(&tally->mutex);
    if (tally->backlog.filling != NULL)
        deadline_ns = tally->backlog.filling->opened_ns + sender->settings->batch_age_ns;
    pthread_mutex_unlock(&tally->mutex);
    return deadline_ns;
}

static int
poll_timeout_ms(int64_t deadline_ns)
{
    static const int64_t ms_ns = 1000000;
    if (deadline_ns == INT64_MAX)
        return -1;
    int64_t left_ns = deadline_ns - clock_monotonic_ns();
    if (left_ns <= 0)
        return 0;
    int64_t left_ms = left_ns / ms_ns + 1;
    return left_ms > INT32_MAX ? INT32_MAX : (int)left_ms;
}

// Returns what poll said of the socket.
static short
sender_wait(struct sender *sender)
{
    struct tally *tally = sender->tally;
    struct pollfd fds[2] = {
        {.fd = tally->waker.fd,                   .events = POLLIN     },
        { .fd = uplink_fd(&sender->uplink),
         .events = uplink_events(&sender->uplink, !sender->is_writable)},
    };
    int64_t deadline_ns = earlier(sender_deadline(sender), spool_deadline(sender));
    int rc = poll(fds, 2, poll_timeout_ms(deadline_ns));
    if (rc > 0 && fds[0].revents != 0)
        waker_drain(&tally->waker);
    waker_cancel(&tally->waker);
    if (rc <= 0)
        return 0;
    return fds[1].revents;
}

static bool
tally_is_stopping(struct tally *tally)
{
    pthread_mutex_lock(&tally->mutex);
    bool is_stopping = tally->is_stopping;
    pthread_mutex_unlock(&tally->mutex);
    return is_stopping;
}

void *
sender_run(void *context)
{
    struct tally *tally = context;
    struct sender sender = {
        .tally = tally,
        .settings = &tally->settings,
        .pause_ns = tally->settings.retry_min_ns,
        .retry_at_ns = clock_monotonic_ns(),
    };
    size_t answer_size_max =
        ANSWER_SIZE_BASE + (size_t)tally->settings.limits.batch_events * ANSWER_SIZE_EVENT;
    const struct uplink_options uplink = {
        .servers = &tally->settings.servers,
        .message_size_max = answer_size_max,
        .tls = tally->settings.is_tls ? &tally->tls : NULL,
        .tls_name = tally->settings.tls_name[0] != '\0' ? tally->settings.tls_name : NULL,
    };
    uplink_init(&sender.uplink, &uplink);
    short events = 0;
    // Prepared before the state is looked at: whatever changes after the look wakes the poll.
    waker_prepare(&tally->waker);
    while (!tally_is_stopping(tally)) {
        int64_t now_ns = clock_monotonic_ns();
        spool_age_check(&sender, now_ns);
        sender_work(&sender, events, now_ns);
        events = sender_wait(&sender);
        waker_prepare(&tally->waker);
    }
    waker_cancel(&tally->waker);
    uplink_done(&sender.uplink);
    login_done(&sender.login);
    buffer_done(&sender.head);
    buffer_done(&sender.tail);
    return NULL;
}
