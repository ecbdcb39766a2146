#include "bench/talk.h"

#include <errno.h>
#include <sys/time.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024, SILENCE_S = 60 };

enum status
talk_open(const struct endpoint *endpoint, struct talk *out, struct error *error)
{
    const struct timeval silence = {.tv_sec = SILENCE_S};
    *out = (struct talk){.fd = -1};
    enum status status = endpoint_connect(endpoint, &out->fd, error);
    if (status != STATUS_OK)
        return status;
    if (setsockopt(out->fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence) == 0)
        return STATUS_OK;
    talk_close(out);
    return error_set_errno(error, "cannot set up a socket");
}

void
talk_close(struct talk *talk)
{
    if (talk->fd >= 0)
        close(talk->fd);
    buffer_done(&talk->out);
    buffer_done(&talk->in);
    *talk = (struct talk){.fd = -1};
}

enum status
talk_flush(struct talk *talk, struct error *error)
{
    if (buffer_failed(&talk->out))
        return error_set(error, STATUS_NO_MEMORY, "no memory for a request");
    for (size_t sent = 0; sent < talk->out.size;) {
        ssize_t size = send(talk->fd, talk->out.data + sent, talk->out.size - sent, MSG_NOSIGNAL);
        if (size < 0 && errno != EINTR)
            return error_set_errno(error, "cannot send to the server");
        sent += size > 0 ? (size_t)size : 0;
    }
    talk->out.size = 0;
    return STATUS_OK;
}

// What was taken makes room first; so views end with the next call.
static enum status
more_read(struct talk *talk, struct error *error)
{
    if (talk->taken > 0) {
        memmove(talk->in.data, talk->in.data + talk->taken, talk->in.size - talk->taken);
        talk->in.size -= talk->taken;
        talk->taken = 0;
    }
    uint8_t *place = buffer_reserve(&talk->in, READ_SIZE);
    if (place == NULL)
        return error_set(error, STATUS_NO_MEMORY, "no memory for an answer");
    ssize_t size = recv(talk->fd, place, READ_SIZE, 0);
    if (size == 0)
        return error_set(error, STATUS_CLOSED, "the server closed the connection");
    if (size < 0 && errno == EAGAIN)
        return error_set(error, STATUS_TIMEOUT, "the server says nothing for %d s", SILENCE_S);
    if (size < 0 && errno != EINTR)
        return error_set_errno(error, "cannot receive from the server");
    buffer_commit(&talk->in, size > 0 ? (size_t)size : 0);
    return STATUS_OK;
}

enum status
talk_line(struct talk *talk, struct bytes *out, struct error *error)
{
    for (;;) {
        size_t left = talk->in.size - talk->taken;
        const uint8_t *start = left > 0 ? talk->in.data + talk->taken : NULL;
        const uint8_t *end = left > 0 ? memchr(start, '\n', left) : NULL;
        if (end != NULL) {
            size_t size = (size_t)(end - start);
            *out = bytes_of(start, size > 0 && end[-1] == '\r' ? size - 1 : size);
            talk->taken += size + 1;
            return STATUS_OK;
        }
        enum status status = more_read(talk, error);
        if (status != STATUS_OK)
            return status;
    }
}

enum status
talk_bytes(struct talk *talk, size_t size, struct bytes *out, struct error *error)
{
    while (talk->in.size - talk->taken < size) {
        enum status status = more_read(talk, error);
        if (status != STATUS_OK)
            return status;
    }
    *out = bytes_of(talk->in.data + talk->taken, size);
    talk->taken += size;
    return STATUS_OK;
}
