#pragma once
// TLS over a connected, non-blocking socket (OpenSSL behind it).
//
//     status = tls_setup_open(&setup, &options, &error)          // once: certificates are read
//     status = tls_open(&tls, &setup, fd, "host.example", &error)
//     status = tls_shake(&tls, &error)         // STATUS_BUSY: poll for tls.read_wants, again
//     status = tls_write(&tls, bytes, &size, &error)
//     status = tls_read(&tls, place, place_size, &size, &error)
//     tls_close(&tls); tls_setup_close(&setup)
//
// TLS 1.2 or later. The server's certificate must lead to a trusted one and bear the host's name
// (or address), unless skip_verify is set. Writes may raise SIGPIPE: the calling thread has it
// blocked.
// The socket stays the caller's. Owner: who opens. Thread: one at a time.

#include "base/bytes.h"
#include "base/status.h"

enum { TLS_RECORD_MAX = 16 * 1024 };

struct tls_options {
    const char *ca_file;               // NULL: what the system trusts
    const char *cert_file, *key_file;  // of the client; NULL: none
    bool skip_verify;
};

struct tls_setup {
    struct ssl_ctx_st *context;  // NULL: not open
};

struct tls {
    struct ssl_st *session;  // NULL: not open
    // Of poll: what a step that is not over waits for. The handshake's is read_wants.
    short read_wants, write_wants;
};

// Whoever uses OpenSSL anywhere in the library calls this first: OpenSSL must not be taken down at
// the exit of a program whose handle is still open, under the feet of its thread.
void tls_library_start(void);

// STATUS_INVALID: a file that cannot be read or does not fit; STATUS_NO_MEMORY.
enum status tls_setup_open(
    struct tls_setup *setup, const struct tls_options *options, struct error *error) CHECKED;
// Accepts a zeroed setup.
void tls_setup_close(struct tls_setup *setup);

// server_name: a DNS name or an address, which the certificate must bear.
enum status tls_open(
    struct tls *tls,
    const struct tls_setup *setup,
    int fd,
    const char *server_name,
    struct error *error) CHECKED;
// Accepts a zeroed tls. Tells the other side when that does not wait.
void tls_close(struct tls *tls);
// The handshake. STATUS_INVALID: a certificate that is not to be trusted; STATUS_CLOSED; STATUS_IO.
enum status tls_shake(struct tls *tls, struct error *error) CHECKED;
// Both: *out_size is 0 when the socket has to be waited for (read_wants, write_wants).
// STATUS_CLOSED at the end of the stream. A write that was not taken must be tried again with the
// same bytes. A read has room for a whole record, so that nothing stays behind that poll does not
// know of.
enum status
tls_write(struct tls *tls, struct bytes bytes, size_t *out_size, struct error *error) CHECKED;
enum status tls_read(
    struct tls *tls, void *place, size_t place_size, size_t *out_size, struct error *error) CHECKED;
