#include "base/exporter.h"

#include "base/assert.h"
#include "base/pool.h"
#include "base/tcp.h"

#include <microhttpd.h>

#include <string.h>
#include <unistd.h>

enum { BODY_MAX = 16 << 20 };

struct exporter {
    struct MHD_Daemon *daemon;
    exporter_answer answer;
    void *context;
    uint16_t port;
};

// Takes no body over: the library copies it.
static enum MHD_Result
respond(
    struct MHD_Connection *connection,
    unsigned status,
    const struct buffer *body,
    const char *header,
    const char *value)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(body->size, body->data, MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_add_response_header(response, header, value);
    if (result == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result
answer(const struct exporter *exporter, struct MHD_Connection *connection, const char *path)
{
    scoped(buffer_done) struct buffer out = {.limit = BODY_MAX};
    const char *content_type = "text/plain; charset=utf-8";
    int status = exporter->answer(exporter->context, path, &out, &content_type);
    must(status >= 200 && status <= 599);
    if (buffer_failed(&out)) {
        buffer_reset(&out);
        buffer_text(&out, "the answer is too large\n");
        content_type = "text/plain; charset=utf-8";
        status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
    return respond(connection, (unsigned)status, &out, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
}

static enum MHD_Result
refuse_method(struct MHD_Connection *connection)
{
    scoped(buffer_done) struct buffer out = {0};
    buffer_text(&out, "only GET and HEAD are answered here\n");
    return respond(
        connection, MHD_HTTP_METHOD_NOT_ALLOWED, &out, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
}

// The library's callback. A request's body is read and dropped.
static enum MHD_Result
on_request(  // NOLINT(readability-function-size): the library chose the parameters
    void *context,
    struct MHD_Connection *connection,
    const char *path,
    const char *method,
    const char *version,
    const char *body,
    size_t *body_size,
    void **state)
{
    (void)version;
    (void)body;
    // Refused before its body is read, which also ends the connection.
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse_method(connection);
    // The library calls once before the request is whole, then with parts of a body, then at its
    // end. Answering at the end lets the connection live on.
    if (*state == NULL || *body_size > 0) {
        *state = context;
        *body_size = 0;
        return MHD_YES;
    }
    return answer(context, connection, path);
}

static struct MHD_Daemon *
daemon_start(int fd, struct exporter *exporter)
{
    return MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL,
        0,
        NULL,
        NULL,
        on_request,
        exporter,
        MHD_OPTION_LISTEN_SOCKET,
        fd,
        MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)EXPORTER_CONNECTIONS_MAX,
        MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)EXPORTER_TIMEOUT_S,
        MHD_OPTION_END);
}

enum status
exporter_start(const struct exporter_options *options, struct exporter **out, struct error *error)
{
    must(options->address != NULL && options->answer != NULL);
    int fd = -1;
    enum status status = tcp_listen(options->address, &fd, error);
    if (status)
        return status;
    struct exporter *exporter = pool_take(1, sizeof *exporter);
    if (exporter == NULL) {
        (void)close(fd);
        return error_set(error, STATUS_NO_MEMORY, "no memory for the metrics server");
    }
    exporter->answer = options->answer;
    exporter->context = options->context;
    exporter->port = tcp_port(fd);
    exporter->daemon = daemon_start(fd, exporter);
    if (exporter->daemon == NULL) {
        (void)close(fd);
        pool_give(exporter);
        return error_set(
            error, STATUS_IO, "cannot start the metrics server on %s", options->address);
    }
    *out = exporter;
    return STATUS_OK;
}

uint16_t
exporter_port(const struct exporter *exporter)
{
    return exporter->port;
}

void
exporter_stop(struct exporter *exporter)
{
    if (exporter == NULL)
        return;
    // Ends the thread and closes the listening socket, too.
    MHD_stop_daemon(exporter->daemon);
    pool_give(exporter);
}
