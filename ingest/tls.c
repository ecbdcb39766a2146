// One struct tls is an SSL object and one BIO, which is no memory BIO of OpenSSL's: those keep the
// largest buffer they ever had. Ours reads from the bytes that are lent, and writes into a buffer
// whose memory the connection accounts for.

#include "ingest/tls.h"

#include "base/assert.h"
#include "base/pool.h"
#include "base/ring.h"
#include "ingest/tls_files.h"

#include <openssl/err.h>

enum { CONTEXTS_WAITING_MAX = 8 };

struct tls_server {
    struct ring newer;  // SSL_CTX: main reads files again, the front takes them over
    struct tls_files files;
    int64_t expires_s;  // main's
    SSL_CTX *context;   // the front's, once it runs
    BIO_METHOD *method;
    uint8_t *room;
};

struct tls {
    struct tls_server *server;
    SSL *ssl;
    struct bytes in;  // lent, not yet read
    struct buffer out;
    bool has_begun;  // the first byte was seen
    bool is_open;
    bool has_ended;  // close_notify is in out
    enum tls_fault fault;
    const char *detail;
};

static const char *const FAULTS[TLS_FAULT_COUNT] = {
    [TLS_FINE] = "none",
    [TLS_PLAINTEXT] = "a client that speaks no TLS",
    [TLS_TIMEOUT] = "no whole handshake in time",
    [TLS_NOT_COMMON] = "no version or cipher in common",
    [TLS_CLIENT_UNKNOWN] = "no client certificate that is trusted",
    [TLS_REFUSED] = "refused by the client",
    [TLS_BROKEN] = "broken handshake or record",
    [TLS_NO_MEMORY] = "no memory",
};

const char *
tls_fault_name(enum tls_fault fault)
{
    must(fault < TLS_FAULT_COUNT);
    return FAULTS[fault];
}

// --- OpenSSL's view of a connection ---

static int
lent_read(BIO *bio, char *out, size_t size, size_t *out_size)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    *out_size = size < tls->in.size ? size : tls->in.size;
    if (*out_size == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    memcpy(out, tls->in.data, *out_size);
    tls->in = bytes_of(tls->in.data + *out_size, tls->in.size - *out_size);
    return 1;
}

static int
out_write(BIO *bio, const char *data, size_t size, size_t *out_size)
{
    struct tls *tls = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buffer_put(&tls->out, data, size);
    *out_size = buffer_failed(&tls->out) ? 0 : size;
    return *out_size == size;
}

static long
bio_control(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *
method_make(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tallyd");
    bool is_made = method != NULL && BIO_meth_set_read_ex(method, lent_read) == 1 &&
                   BIO_meth_set_write_ex(method, out_write) == 1 &&
                   BIO_meth_set_ctrl(method, bio_control) == 1;
    if (is_made)
        return method;
    BIO_meth_free(method);
    return NULL;
}

// --- the server ---

enum status
tls_server_open(const struct tls_files *files, struct tls_server **out, struct error *error)
{
    struct tls_context context = {0};
    enum status status = tls_context_load(files, &context, error);
    if (status)
        return status;
    struct tls_server *server = pool_take(1, sizeof *server);
    if (server == NULL) {
        SSL_CTX_free(context.ssl);
        return error_set(error, STATUS_NO_MEMORY, "no memory for TLS");
    }
    server->files = *files;
    server->context = context.ssl;
    server->expires_s = context.expires_s;
    server->method = method_make();
    server->room = pool_take(TLS_ROOM, 1);
    if (server->method == NULL || server->room == NULL ||
        ring_init(&server->newer, CONTEXTS_WAITING_MAX) != STATUS_OK) {
        tls_server_close(server);
        return error_set(error, STATUS_NO_MEMORY, "no memory for TLS");
    }
    *out = server;
    return STATUS_OK;
}

enum status
tls_server_reload(struct tls_server *server, struct error *error)
{
    struct tls_context context = {0};
    enum status status = tls_context_load(&server->files, &context, error);
    if (status)
        return status;
    if (!ring_push(&server->newer, context.ssl)) {
        SSL_CTX_free(context.ssl);
        return error_set(error, STATUS_BUSY, "the last certificates are not in use yet");
    }
    server->expires_s = context.expires_s;
    return STATUS_OK;
}

int64_t
tls_server_expires_s(const struct tls_server *server)
{
    return server->expires_s;
}

void
tls_server_refresh(struct tls_server *server)
{
    SSL_CTX *newer;
    while ((newer = ring_pop(&server->newer)) != NULL) {
        SSL_CTX_free(server->context);
        server->context = newer;
    }
}

void
tls_server_close(struct tls_server *server)
{
    if (server == NULL)
        return;
    if (server->newer.items != NULL)
        tls_server_refresh(server);
    ring_done(&server->newer);
    SSL_CTX_free(server->context);
    BIO_meth_free(server->method);
    pool_give(server->room);
    pool_give(server);
}

// --- a connection ---

struct tls *
tls_open(struct tls_server *server)
{
    struct tls *tls = pool_take(1, sizeof *tls);
    if (tls == NULL)
        return NULL;
    tls_server_refresh(server);
    tls->server = server;
    tls->detail = "";
    tls->ssl = SSL_new(server->context);
    BIO *bio = BIO_new(server->method);
    if (tls->ssl == NULL || bio == NULL) {
        (void)BIO_free(bio);
        tls_close(tls);
        return NULL;
    }
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_accept_state(tls->ssl);
    return tls;
}

void
tls_close(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_free(tls->ssl);
    buffer_done(&tls->out);
    pool_give(tls);
}

static enum tls_fault
fault_of(int reason)
{
    // An alert of the peer's.
    if (reason > SSL_AD_REASON_OFFSET)
        return TLS_REFUSED;
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SHARED_GROUPS: return TLS_NOT_COMMON;
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE: return TLS_CLIENT_UNKNOWN;
    case ERR_R_MALLOC_FAILURE: return TLS_NO_MEMORY;
    default: return TLS_BROKEN;
    }
}

static void
tls_fail(struct tls *tls)
{
    tls->fault = TLS_NO_MEMORY;
    if (buffer_failed(&tls->out))
        return;
    tls->fault = fault_of(ERR_GET_REASON(ERR_peek_last_error()));
    // A version that changes in a session's middle.
    if (tls->is_open && tls->fault == TLS_NOT_COMMON)
        tls->fault = TLS_BROKEN;
    tls->detail = tls_reason();
}

bool
tls_is_inside(const struct tls *tls)
{
    return SSL_has_pending(tls->ssl) == 1;
}

void
tls_feed(struct tls *tls, struct bytes received)
{
    must(tls->in.size == 0);
    tls->in = received;
    if (tls->has_begun || received.size == 0)
        return;
    tls->has_begun = true;
    if (received.data[0] != TLS_FIRST_BYTE)
        tls->fault = TLS_PLAINTEXT;
}

// Decrypts one record, or goes on with the handshake. TLS_BYTES: *size bytes are in room.
static enum tls_result
record_read(struct tls *tls, uint8_t *room, size_t room_size, size_t *size)
{
    ERR_clear_error();
    int result = SSL_read_ex(tls->ssl, room, room_size, size);
    tls->is_open = tls->is_open || SSL_is_init_finished(tls->ssl);
    if (result == 1)
        return TLS_BYTES;
    switch (SSL_get_error(tls->ssl, result)) {
    case SSL_ERROR_WANT_READ: return TLS_WAITS;
    case SSL_ERROR_ZERO_RETURN: return TLS_ENDED;
    default: tls_fail(tls); return TLS_FAILED;
    }
}

enum tls_result
tls_read(struct tls *tls, struct bytes *out)
{
    uint8_t *room = tls->server->room;
    size_t size = 0;
    enum tls_result result = tls->fault == TLS_FINE ? TLS_BYTES : TLS_FAILED;
    while (result == TLS_BYTES && size < TLS_ROOM) {
        size_t more = 0;
        result = record_read(tls, room + size, TLS_ROOM - size, &more);
        size += more;
    }
    if (size > 0) {
        // What stopped it is met again by the next call.
        *out = bytes_of(room, size);
        return TLS_BYTES;
    }
    must(result != TLS_WAITS || tls->in.size == 0);
    tls->in = (struct bytes){0};
    return result;
}

bool
tls_is_open(const struct tls *tls)
{
    return tls->is_open;
}

bool
tls_seal(struct tls *tls, struct bytes plain)
{
    must(tls->is_open && !tls->has_ended);
    size_t written = 0;
    if (tls->fault != TLS_FINE)
        return false;
    ERR_clear_error();
    if (plain.size > 0 && SSL_write_ex(tls->ssl, plain.data, plain.size, &written) != 1) {
        tls_fail(tls);
        return false;
    }
    must(written == plain.size);
    return true;
}

void
tls_end(struct tls *tls)
{
    if (tls->has_ended || !tls->is_open || tls->fault != TLS_FINE)
        return;
    tls->has_ended = true;
    ERR_clear_error();
    if (SSL_shutdown(tls->ssl) < 0)
        ERR_clear_error();
}

struct buffer *
tls_output(struct tls *tls)
{
    return &tls->out;
}

enum tls_fault
tls_fault(const struct tls *tls)
{
    return tls->fault;
}

const char *
tls_detail(const struct tls *tls)
{
    return tls->detail;
}
