#include "bench/slow.h"

#include "base/clock.h"
#include "base/pack.h"
#include "base/pool.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

// A turn comes 25 times a second: a slow side moves 1,600 bytes a second.
enum { TURN_MS = 40, SLOW_SIZE = 64, READ_SIZE = 65536, SENDS_A_TURN = 64 };

// What the system holds of acks that are not read: little, so that tallyd meets it soon.
static const int READ_BUFFER = 4096;

static void
frame_pack(uint32_t index, struct buffer *out)
{
    char id[32];
    (void)snprintf(id, sizeof id, "slow-%" PRIu32, index);
    pack_array(out, 3);
    pack_text(out, "slow");
    pack_array(out, 1);
    pack_array(out, 2);
    pack_event_time(out, clock_now_ns());
    pack_map(out, 3);
    pack_text(out, "subject");
    pack_text(out, id);
    pack_text(out, "type");
    pack_text(out, "slow");
    pack_text(out, "id");
    pack_text(out, id);
    pack_map(out, 1);
    pack_text(out, "chunk");
    pack_text(out, id);
}

// Whether a call on a connection that does not block went well, or would have had to wait.
static bool
is_alive(ssize_t done)
{
    return done > 0 || (done < 0 && (errno == EAGAIN || errno == EINTR));
}

// At most `size` bytes of acks, which are not looked at.
static bool
client_read(const struct slow_client *client, size_t size)
{
    uint8_t bytes[READ_SIZE];
    return is_alive(recv(client->fd, bytes, size, MSG_DONTWAIT));
}

// At most `size` bytes of what is left of the frame.
static ssize_t
client_send(struct slow_client *client, size_t size)
{
    size_t left = client->frame.size - client->sent;
    const uint8_t *from = client->frame.data + client->sent;
    ssize_t done = send(client->fd, from, left < size ? left : size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0)
        client->sent = (client->sent + (size_t)done) % client->frame.size;
    return done;
}

static bool
client_turn(struct slow_client *client, bool is_slow_sender)
{
    if (is_slow_sender)
        return is_alive(client_send(client, SLOW_SIZE)) && client_read(client, READ_SIZE);
    ssize_t done = 1;
    for (uint32_t i = 0; done > 0 && i < SENDS_A_TURN; i++)
        done = client_send(client, client->frame.size);
    return is_alive(done) && client_read(client, SLOW_SIZE);
}

static void *
slow_run(void *argument)
{
    struct slow *slow = argument;
    while (flag_get(&slow->stop) == 0 && slow->failure.status == STATUS_OK) {
        for (uint32_t i = 0; i < slow->count; i++) {
            if (!client_turn(&slow->clients[i], i % 2 == 0))
                (void)error_set(
                    &slow->failure,
                    STATUS_CLOSED,
                    "a client that %s slowly lost its connection",
                    i % 2 == 0 ? "sends" : "reads its acks");
        }
        (void)poll(NULL, 0, TURN_MS);
    }
    return NULL;
}

static enum status
client_open(
    const struct endpoint *endpoint, uint32_t index, struct slow_client *out, struct error *error)
{
    *out = (struct slow_client){0};
    enum status status = endpoint_connect(endpoint, &out->fd, error);
    if (status != STATUS_OK)
        return status;
    (void)setsockopt(out->fd, SOL_SOCKET, SO_RCVBUF, &READ_BUFFER, sizeof READ_BUFFER);
    frame_pack(index, &out->frame);
    return STATUS_OK;
}

enum status
slow_start(const struct endpoint *endpoint, uint32_t count, struct slow *out, struct error *error)
{
    enum status status = STATUS_OK;
    *out = (struct slow){0};
    if (count == 0)
        return STATUS_OK;
    out->clients = pool_take(count, sizeof *out->clients);
    if (out->clients == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for connections");
    while (out->count < count && status == STATUS_OK) {
        struct slow_client *client = &out->clients[out->count];
        status = client_open(endpoint, out->count, client, error);
        out->count += status == STATUS_OK;
        if (status == STATUS_OK && buffer_failed(&client->frame))
            status = error_set(error, STATUS_NO_MEMORY, "no memory for a frame");
    }
    if (status != STATUS_OK)
        return status;
    errno = pthread_create(&out->thread, NULL, slow_run, out);
    if (errno != 0)
        return error_set_errno(error, "cannot start a thread");
    out->is_running = true;
    return STATUS_OK;
}

enum status
slow_stop(struct slow *slow, struct error *error)
{
    enum status status = STATUS_OK;
    flag_set(&slow->stop, 1);
    if (slow->is_running && pthread_join(slow->thread, NULL) != 0)
        status = error_set(error, STATUS_IO, "cannot wait for a thread");
    if (status == STATUS_OK && slow->failure.status != STATUS_OK) {
        *error = slow->failure;
        status = error->status;
    }
    for (uint32_t i = 0; i < slow->count; i++) {
        (void)close(slow->clients[i].fd);
        buffer_done(&slow->clients[i].frame);
    }
    pool_give(slow->clients);
    *slow = (struct slow){0};
    return status;
}
