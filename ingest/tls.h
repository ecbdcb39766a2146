#pragma once
// TLS for connections over TCP, on OpenSSL, without a socket: received bytes are fed and come back
// decrypted, what is to be sent is sealed and lies in a buffer.
//
//     status = tls_server_open(&files, &server, &error);   // main, at start
//     status = tls_server_reload(server, &error);          // main, on SIGHUP
//     tls = tls_open(server);                              // front, a connection was accepted
//     tls_feed(tls, received);
//     while (tls_read(tls, &plain) == TLS_BYTES)
//         conn_take(conn, plain);
//     tls_seal(tls, acks);
//     ... send what tls_output(tls) holds, also after a read: handshake, alerts ...
//     tls_end(tls);                                        // says that nothing more comes
//
// TLS 1.2 (ECDHE with AES-GCM or ChaCha20) and 1.3; no compression, no renegotiation, no session
// tickets and no cache, so every connection makes a whole handshake and no key outlives it.
//
// The kernel's TLS is not used: it saves the copies of sending large data, and tallyd sends little;
// receiving, it moves the same decryption elsewhere; and not every kernel has it.
//
// A connection keeps the certificate that it began with. tls_server_reload makes a new context in
// main's thread and hands it over through a ring; the front's next connection takes it.
//
// Memory: OpenSSL's own malloc. A connection that has said nothing costs about 9 KiB, one in the
// middle of a handshake up to 45 KiB (and TLS_CLIENT_CHAIN_MAX with client_ca), one that is idle
// 14 KiB, and a record that has not arrived whole 17 KiB more (measured by tests/ingest/tls_test.c,
// which holds it to 24 and 80 KiB). So --connections-max bounds it. The room for decrypted bytes,
// TLS_ROOM, is the server's.
//
// Owner: main makes the server, a front everything of a struct tls. Thread: as said.

#include "base/buffer.h"
#include "base/status.h"

struct tls_server;
struct tls;

enum {
    TLS_FIRST_BYTE = 0x16,             // of every TLS connection: a handshake record
    TLS_ROOM = 128 * 1024,             // decrypted bytes that tls_read hands out at a time
    TLS_CLIENT_CHAIN_MAX = 32 * 1024,  // bytes of the certificates that a client may show
};

struct tls_files {
    const char *certificate;  // PEM: ours first, then those between it and the root
    const char *key;          // PEM, not encrypted; refused when others can read it
    const char *client_ca;  // PEM: clients must show a certificate of one of these; NULL: need not
};

enum tls_fault {
    TLS_FINE,
    TLS_PLAINTEXT,       // the first byte begins no handshake
    TLS_TIMEOUT,         // the handshake took too long
    TLS_NOT_COMMON,      // no version or no cipher that both know
    TLS_CLIENT_UNKNOWN,  // no certificate, or none of client_ca's
    TLS_REFUSED,         // the client sent an alert: it does not trust our certificate, for example
    TLS_BROKEN,          // anything else that is not TLS: records cut, changed, out of order
    TLS_NO_MEMORY,
    TLS_FAULT_COUNT,
};

enum tls_result {
    TLS_BYTES,   // some were decrypted
    TLS_WAITS,   // all that was fed is used up
    TLS_ENDED,   // the peer said that nothing more comes
    TLS_FAILED,  // tls_fault says why; nothing more can be read or sealed
};

// STATUS_INVALID or STATUS_IO: a file cannot be used; error names it. The paths are borrowed for as
// long as the server lives.
enum status tls_server_open(
    const struct tls_files *files, struct tls_server **out, struct error *error) CHECKED;
// Reads the files again. On an error new connections go on with what they had. STATUS_BUSY: the
// front has not taken the last ones yet, ask again. Thread: main.
enum status tls_server_reload(struct tls_server *server, struct error *error) CHECKED;
// When the certificate read last ends: seconds since 1970. Thread: main.
int64_t tls_server_expires_s(const struct tls_server *server);
// Takes over what was read again; tls_open does it too. Thread: the front's.
void tls_server_refresh(struct tls_server *server);
// Connections that are still open may be closed later, but not used. NULL is accepted.
void tls_server_close(struct tls_server *server);

// NULL: no memory.
struct tls *tls_open(struct tls_server *server);
void tls_close(struct tls *tls);

// The bytes are lent until tls_read has answered something else than TLS_BYTES.
void tls_feed(struct tls *tls, struct bytes received);
// *out: in the server's room, until the next read of any connection.
enum tls_result tls_read(struct tls *tls, struct bytes *out) CHECKED;
// Whether the handshake is done.
bool tls_is_open(const struct tls *tls);
// Whether a part of a record has come whose rest has not; after tls_read has answered TLS_WAITS.
bool tls_is_inside(const struct tls *tls);
// Encrypts into the output. Only when it is open. False: it failed.
bool tls_seal(struct tls *tls, struct bytes plain) CHECKED;
// Puts close_notify into the output, once.
void tls_end(struct tls *tls);
// What is to be sent; the caller empties it.
struct buffer *tls_output(struct tls *tls);

enum tls_fault tls_fault(const struct tls *tls);
// What OpenSSL calls the cause, or "".
const char *tls_detail(const struct tls *tls);
// "a client that speaks no TLS".
const char *tls_fault_name(enum tls_fault fault);
