#include "tests/client/peer.h"

#include <criterion/criterion.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void
peer_init(struct peer *peer)
{
    *peer = (struct peer){.listen_fd = -1, .fd = -1};
}

static void
tcp_bind(struct peer *peer)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    peer_init(peer);
    peer->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(peer->listen_fd, 0);
    cr_assert_eq(bind(peer->listen_fd, (const struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(getsockname(peer->listen_fd, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(peer->name, sizeof peer->name, "127.0.0.1:%u", ntohs(address.sin_port));
}

void
peer_listen(struct peer *peer)
{
    tcp_bind(peer);
    peer_listen_at(peer);
}

// Bound but not listening: a connect is refused, and nobody else gets the port.
void
peer_reserve(struct peer *peer)
{
    tcp_bind(peer);
}

void
peer_listen_at(struct peer *peer)
{
    cr_assert_eq(listen(peer->listen_fd, 16), 0);
}

void
peer_listen_unix(struct peer *peer, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    peer_init(peer);
    cr_assert_lt(strlen(path), sizeof address.sun_path);
    memcpy(address.sun_path, path, strlen(path));
    peer->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(peer->listen_fd, (const struct sockaddr *)&address, sizeof address), 0);
    (void)snprintf(peer->name, sizeof peer->name, "unix:%s", path);
    peer_listen_at(peer);
}

static void
session_free(struct peer *peer)
{
    SSL_free(peer->session);
    peer->session = NULL;
}

void
peer_done(struct peer *peer)
{
    session_free(peer);
    if (peer->fd >= 0)
        close(peer->fd);
    if (peer->listen_fd >= 0)
        close(peer->listen_fd);
    buffer_done(&peer->received);
    peer_init(peer);
}

static void
wait_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&poll_fd, 1, PEER_WAIT_MS), 1, "nothing came in time");
}

void
peer_accept(struct peer *peer)
{
    wait_readable(peer->listen_fd);
    peer->fd = accept4(peer->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    cr_assert_geq(peer->fd, 0);
    buffer_reset(&peer->received);
}

bool
peer_secure(struct peer *peer, const char *cert_file, const char *key_file, const char *client_ca)
{
    // The handshake waits on the socket itself, and no longer than the test does.
    const struct timeval limit = {.tv_sec = PEER_WAIT_MS / 1000};
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    cr_assert_not_null(context);
    cr_assert_eq(SSL_CTX_use_certificate_chain_file(context, cert_file), 1, "%s", cert_file);
    cr_assert_eq(SSL_CTX_use_PrivateKey_file(context, key_file, SSL_FILETYPE_PEM), 1);
    if (client_ca != NULL) {
        cr_assert_eq(SSL_CTX_load_verify_file(context, client_ca), 1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    }
    cr_assert_eq(setsockopt(peer->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    peer->session = SSL_new(context);
    SSL_CTX_free(context);
    cr_assert_not_null(peer->session);
    cr_assert_eq(SSL_set_fd(peer->session, peer->fd), 1);
    bool is_fine = SSL_accept(peer->session) == 1;
    ERR_clear_error();
    return is_fine;
}

// Waits. Returns 0 at the end of the connection.
static size_t
peer_receive(struct peer *peer, uint8_t *place, size_t place_size)
{
    size_t size = 0;
    if (peer->session != NULL) {
        if (SSL_pending(peer->session) == 0)
            wait_readable(peer->fd);
        bool is_read = SSL_read_ex(peer->session, place, place_size, &size) == 1;
        ERR_clear_error();
        return is_read ? size : 0;
    }
    wait_readable(peer->fd);
    ssize_t received = recv(peer->fd, place, place_size, 0);
    return received > 0 ? (size_t)received : 0;
}

static const msgpack_object *
map_find(const msgpack_object *map, const char *key)
{
    cr_assert_eq(map->type, MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_str *name = &map->via.map.ptr[i].key.via.str;
        if (name->size == strlen(key) && memcmp(name->ptr, key, name->size) == 0)
            return &map->via.map.ptr[i].val;
    }
    return NULL;
}

static void
text_copy(const msgpack_object *object, char *out, size_t out_size)
{
    cr_assert_eq(object->type, MSGPACK_OBJECT_STR);
    cr_assert_lt(object->via.str.size, out_size);
    memcpy(out, object->via.str.ptr, object->via.str.size);
    out[object->via.str.size] = '\0';
}

static uint64_t
entries_count(struct bytes events)
{
    uint64_t count = 0;
    size_t offset = 0;
    msgpack_unpacked entry;
    msgpack_unpacked_init(&entry);
    while (offset < events.size) {
        cr_assert_eq(
            msgpack_unpack_next(&entry, (const char *)events.data, events.size, &offset),
            MSGPACK_UNPACK_SUCCESS);
        count++;
    }
    msgpack_unpacked_destroy(&entry);
    return count;
}

// Takes the frame apart as the protocol says: [tag, bin, {size, chunk, tally}].
static void
parcel_read(struct parcel *parcel)
{
    const msgpack_object *frame = &parcel->unpacked.data;
    char tag[16];
    cr_assert_eq(frame->type, MSGPACK_OBJECT_ARRAY);
    cr_assert_eq(frame->via.array.size, 3);
    text_copy(&frame->via.array.ptr[0], tag, sizeof tag);
    cr_assert_str_eq(tag, "tally");
    const msgpack_object *events = &frame->via.array.ptr[1];
    cr_assert_eq(events->type, MSGPACK_OBJECT_BIN);
    parcel->events = bytes_of(events->via.bin.ptr, events->via.bin.size);
    parcel->events_count = entries_count(parcel->events);
    const msgpack_object *option = &frame->via.array.ptr[2];
    text_copy(map_find(option, "chunk"), parcel->chunk, sizeof parcel->chunk);
    parcel->size = map_find(option, "size")->via.u64;
    const msgpack_object *ours = map_find(option, "tally");
    cr_assert(map_find(ours, "results")->via.boolean);
    const msgpack_object *backfill = map_find(ours, "backfill");
    if (backfill != NULL)
        text_copy(backfill, parcel->backfill, sizeof parcel->backfill);
}

// Moves the first whole frame out of what was received.
static bool
frame_cut(struct peer *peer, struct parcel *parcel)
{
    size_t size = 0;
    struct buffer *received = &peer->received;
    msgpack_unpacked probe;
    if (received->size == 0)
        return false;
    msgpack_unpacked_init(&probe);
    msgpack_unpack_return result =
        msgpack_unpack_next(&probe, (const char *)received->data, received->size, &size);
    msgpack_unpacked_destroy(&probe);
    cr_assert_neq(result, MSGPACK_UNPACK_PARSE_ERROR);
    if (result != MSGPACK_UNPACK_SUCCESS)
        return false;
    *parcel = (struct parcel){0};
    buffer_put(&parcel->frame, received->data, size);
    memmove(received->data, received->data + size, received->size - size);
    received->size -= size;
    size_t offset = 0;
    msgpack_unpacked_init(&parcel->unpacked);
    cr_assert_eq(
        msgpack_unpack_next(
            &parcel->unpacked, (const char *)parcel->frame.data, parcel->frame.size, &offset),
        MSGPACK_UNPACK_SUCCESS);
    parcel_read(parcel);
    return true;
}

static void
peer_fill(struct peer *peer)
{
    uint8_t *place = buffer_reserve(&peer->received, 65536);
    cr_assert_not_null(place);
    size_t size = peer_receive(peer, place, 65536);
    cr_assert_gt(size, 0, "the connection ended");
    buffer_commit(&peer->received, size);
}

void
peer_take_value(struct peer *peer, struct buffer *out)
{
    size_t size = 0;
    struct buffer *received = &peer->received;
    for (;; peer_fill(peer)) {
        msgpack_unpacked probe;
        msgpack_unpacked_init(&probe);
        msgpack_unpack_return result = MSGPACK_UNPACK_CONTINUE;
        if (received->size > 0)
            result =
                msgpack_unpack_next(&probe, (const char *)received->data, received->size, &size);
        msgpack_unpacked_destroy(&probe);
        cr_assert_neq(result, MSGPACK_UNPACK_PARSE_ERROR);
        if (result == MSGPACK_UNPACK_SUCCESS)
            break;
    }
    buffer_put(out, received->data, size);
    memmove(received->data, received->data + size, received->size - size);
    received->size -= size;
}

bool
peer_try_take(struct peer *peer, struct parcel *out)
{
    while (!frame_cut(peer, out)) {
        uint8_t *place = buffer_reserve(&peer->received, 65536);
        cr_assert_not_null(place);
        size_t size = peer_receive(peer, place, 65536);
        if (size == 0)
            return false;
        buffer_commit(&peer->received, size);
    }
    return true;
}

void
peer_take(struct peer *peer, struct parcel *out)
{
    cr_assert(peer_try_take(peer, out), "the connection ended");
}

void
peer_write(struct peer *peer, struct bytes bytes)
{
    size_t written;
    if (peer->session != NULL) {
        cr_assert_eq(SSL_write_ex(peer->session, bytes.data, bytes.size, &written), 1);
        cr_assert_eq(written, bytes.size);
        return;
    }
    ssize_t size = send(peer->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
    cr_assert_eq(size, (ssize_t)bytes.size);
}

void
peer_ack(struct peer *peer, const struct parcel *parcel)
{
    scoped(buffer_done) struct buffer answer = {0};
    buffer_put(&answer, "\x81\xa3", 2);
    buffer_text(&answer, "ack");
    buffer_u8(&answer, 0xd9);
    buffer_u8(&answer, (uint8_t)strlen(parcel->chunk));
    buffer_text(&answer, parcel->chunk);
    peer_write(peer, buffer_view(&answer));
}

void
peer_drop(struct peer *peer, bool is_reset)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    session_free(peer);
    if (is_reset)
        cr_assert_eq(setsockopt(peer->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), 0);
    close(peer->fd);
    peer->fd = -1;
}

void
peer_half_close(struct peer *peer)
{
    cr_assert_eq(shutdown(peer->fd, SHUT_WR), 0);
}

bool
peer_is_quiet(struct peer *peer, int ms)
{
    struct pollfd poll_fd = {.fd = peer->fd, .events = POLLIN};
    return peer->received.size == 0 && poll(&poll_fd, 1, ms) == 0;
}

void
parcel_done(struct parcel *parcel)
{
    msgpack_unpacked_destroy(&parcel->unpacked);
    buffer_done(&parcel->frame);
}

void
parcel_text(const struct parcel *parcel, uint64_t index, const char *key, char out[256])
{
    size_t offset = 0;
    msgpack_unpacked entry;
    msgpack_unpacked_init(&entry);
    for (uint64_t i = 0; i <= index; i++)
        cr_assert_eq(
            msgpack_unpack_next(
                &entry, (const char *)parcel->events.data, parcel->events.size, &offset),
            MSGPACK_UNPACK_SUCCESS);
    const msgpack_object *value = map_find(&entry.data.via.array.ptr[1], key);
    out[0] = '\0';
    if (value != NULL)
        text_copy(value, out, 256);
    msgpack_unpacked_destroy(&entry);
}
