#include "client/tls.h"

#include "base/assert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>

_Static_assert((int)TLS_RECORD_MAX == SSL3_RT_MAX_PLAIN_LENGTH, "what one record may bring");

void
tls_library_start(void)
{
    (void)OPENSSL_init_ssl(OPENSSL_INIT_NO_ATEXIT, NULL);
}

// The oldest reason in OpenSSL's queue is the cause; the others follow from it.
static enum status
ssl_error_set(struct error *error, enum status status, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return error_set(error, status, "%s: %s", what, reason != NULL ? reason : "unknown reason");
}

// --- setup ---

static enum status
trust_load(SSL_CTX *context, const struct tls_options *options, struct error *error)
{
    SSL_CTX_set_verify(context, options->skip_verify ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (options->skip_verify)
        return STATUS_OK;
    if (options->ca_file == NULL)
        return SSL_CTX_set_default_verify_paths(context) == 1
                   ? STATUS_OK
                   : ssl_error_set(error, STATUS_IO, "cannot load what the system trusts");
    if (SSL_CTX_load_verify_file(context, options->ca_file) == 1)
        return STATUS_OK;
    (void)ssl_error_set(error, STATUS_INVALID, "no certificates to trust in it");
    return error_prefix(error, "tls_ca_file %s", options->ca_file);
}

static enum status
identity_load(SSL_CTX *context, const struct tls_options *options, struct error *error)
{
    if (options->cert_file == NULL)
        return STATUS_OK;
    if (SSL_CTX_use_certificate_chain_file(context, options->cert_file) != 1) {
        (void)ssl_error_set(error, STATUS_INVALID, "no certificate in it");
        return error_prefix(error, "tls_cert_file %s", options->cert_file);
    }
    if (SSL_CTX_use_PrivateKey_file(context, options->key_file, SSL_FILETYPE_PEM) != 1) {
        (void)ssl_error_set(error, STATUS_INVALID, "no key in it that fits the certificate");
        return error_prefix(error, "tls_key_file %s", options->key_file);
    }
    return STATUS_OK;
}

enum status
tls_setup_open(struct tls_setup *setup, const struct tls_options *options, struct error *error)
{
    *setup = (struct tls_setup){0};
    ERR_clear_error();
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL)
        return ssl_error_set(error, STATUS_NO_MEMORY, "cannot begin with TLS");
    setup->context = context;
    enum status status = STATUS_OK;
    if (SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) != 1)
        status = ssl_error_set(error, STATUS_IO, "TLS 1.2 is not to be had");
    // What the socket did not take is offered again, perhaps from another place in memory.
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    if (status == STATUS_OK)
        status = trust_load(context, options, error);
    if (status == STATUS_OK)
        status = identity_load(context, options, error);
    if (status != STATUS_OK)
        tls_setup_close(setup);
    return status;
}

void
tls_setup_close(struct tls_setup *setup)
{
    SSL_CTX_free(setup->context);
    *setup = (struct tls_setup){0};
}

// --- a session ---

static bool
name_is_address(const char *name)
{
    struct in6_addr address;
    return inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1;
}

// The name is asked for (SNI knows no addresses) and looked for in the certificate.
static bool
name_set(SSL *session, const char *name)
{
    if (name_is_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session), name) == 1;
    SSL_set_hostflags(session, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    // OpenSSL copies the name, but does not promise it by a const.
    char copy[TLSEXT_MAXLEN_host_name + 1];
    size_t size = strlen(name);
    if (size >= sizeof copy)
        return false;
    memcpy(copy, name, size + 1);
    return SSL_set1_host(session, name) == 1 && SSL_set_tlsext_host_name(session, copy) == 1;
}

enum status
tls_open(
    struct tls *tls,
    const struct tls_setup *setup,
    int fd,
    const char *server_name,
    struct error *error)
{
    must(setup->context != NULL);
    *tls = (struct tls){.read_wants = POLLIN, .write_wants = POLLOUT};
    ERR_clear_error();
    tls->session = SSL_new(setup->context);
    if (tls->session != NULL && SSL_set_fd(tls->session, fd) == 1 &&
        name_set(tls->session, server_name)) {
        SSL_set_connect_state(tls->session);
        return STATUS_OK;
    }
    enum status status = ssl_error_set(error, STATUS_NO_MEMORY, "cannot begin with TLS");
    tls_close(tls);
    return status;
}

void
tls_close(struct tls *tls)
{
    if (tls->session != NULL && SSL_is_init_finished(tls->session)) {
        ERR_clear_error();
        (void)SSL_shutdown(tls->session);
    }
    ERR_clear_error();
    SSL_free(tls->session);
    *tls = (struct tls){0};
}

// A certificate that failed has a reason of its own, which says more than OpenSSL's error.
static enum status
protocol_error(const struct tls *tls, struct error *error)
{
    long verified = SSL_get_verify_result(tls->session);
    if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
        ERR_clear_error();
        return error_set(error, STATUS_CLOSED, "the server closed the connection");
    }
    if (verified == X509_V_OK || SSL_get_verify_mode(tls->session) == SSL_VERIFY_NONE)
        return ssl_error_set(error, STATUS_IO, "TLS");
    ERR_clear_error();
    return error_set(
        error,
        STATUS_INVALID,
        "TLS: the server's certificate is not to be trusted: %s",
        X509_verify_cert_error_string(verified));
}

// What a step that returned rc means. STATUS_BUSY: the socket has to be waited for.
static enum status
step_status(const struct tls *tls, int rc, int cause, short *out_wants, struct error *error)
{
    switch (SSL_get_error(tls->session, rc)) {
    case SSL_ERROR_WANT_READ: *out_wants = POLLIN; return STATUS_BUSY;
    case SSL_ERROR_WANT_WRITE: *out_wants = POLLOUT; return STATUS_BUSY;
    case SSL_ERROR_ZERO_RETURN:
        return error_set(error, STATUS_CLOSED, "the server closed the connection");
    case SSL_ERROR_SYSCALL:
        if (cause == 0)
            return error_set(error, STATUS_CLOSED, "the server closed the connection");
        errno = cause;
        return error_set_errno(error, "TLS");
    default: return protocol_error(tls, error);
    }
}

enum status
tls_shake(struct tls *tls, struct error *error)
{
    ERR_clear_error();
    errno = 0;
    int rc = SSL_do_handshake(tls->session);
    int cause = errno;
    tls->read_wants = POLLIN;
    return rc == 1 ? STATUS_OK : step_status(tls, rc, cause, &tls->read_wants, error);
}

enum status
tls_write(struct tls *tls, struct bytes bytes, size_t *out_size, struct error *error)
{
    must(bytes.size > 0);
    *out_size = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(tls->session, bytes.data, bytes.size, out_size);
    int cause = errno;
    enum status status =
        rc == 1 ? STATUS_OK : step_status(tls, rc, cause, &tls->write_wants, error);
    return status == STATUS_BUSY ? STATUS_OK : status;
}

enum status
tls_read(struct tls *tls, void *place, size_t place_size, size_t *out_size, struct error *error)
{
    must(place_size >= TLS_RECORD_MAX);
    *out_size = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(tls->session, place, place_size, out_size);
    int cause = errno;
    enum status status = rc == 1 ? STATUS_OK : step_status(tls, rc, cause, &tls->read_wants, error);
    return status == STATUS_BUSY ? STATUS_OK : status;
}
