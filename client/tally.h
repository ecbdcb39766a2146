#pragma once
// libtally: send usage events to tallyd and know what became of them.
//
//     struct tally_options options = {.server = "127.0.0.1:24224"};
//     struct tally *tally = tally_open(&options, error, sizeof error);
//     struct tally_event event = {.subject = "acme", .type = "api_call", .value = "1"};
//     tally_send(tally, &event);
//     tally_flush(tally, 5000);
//     tally_close(tally, 5000);
//
// tally_send copies the event into the batch being filled and returns at once. A thread of the
// library's own sends batches (Forward protocol v1, PackedForward with a chunk), waits for acks,
// and sends again what was not acked after a reconnect with growing pauses. A missing id (UUIDv7)
// and time are filled once, before the first send, so that a resend counts nothing twice. Memory
// is bounded: when the buffer is full, tally_send returns TALLY_FULL and nothing was taken. What is
// not acked lives in memory only, unless spool_dir names a directory for it.
// Thread-safe: any thread may call any function but open and close. This header needs nothing but
// the C library.
//
// TALLY_ABI is the number in the shared library's name (libtally.so.N). It rises whenever a struct
// below changes, for the library reads and writes them whole: a program finds only a library that
// was built with the same structs as its header.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TALLY_ABI 1

#ifdef __cplusplus
extern "C" {
#endif

// TALLY_EXTENSION: C99 itself has no unnamed unions, the compilers do.
#if defined(__GNUC__)
#define TALLY_API       __attribute__((visibility("default")))
#define TALLY_EXTENSION __extension__
#else
#define TALLY_API
#define TALLY_EXTENSION
#endif

enum tally_result {
    TALLY_OK = 0,
    TALLY_FULL,     // the buffer is full: nothing was taken; flush or wait, then try again
    TALLY_INVALID,  // the event breaks a rule of the envelope (size, missing field, bad number)
    TALLY_TIMEOUT,  // the time is over and something is still unacked
    TALLY_CLOSED,   // the handle is being closed
};

enum tally_property_kind {
    TALLY_TEXT,
    TALLY_INT,
    TALLY_DOUBLE,
    TALLY_BOOL,
    TALLY_NULL,
    TALLY_MSGPACK,
    TALLY_PROPERTIES,  // no key; msgpack is a map of properties whose names may be any, also those
                       // of the event's own members; one of it at most
};

struct tally_msgpack {
    const void *data;
    size_t size;
};

struct tally_property {
    const char *key;
    enum tally_property_kind kind;
    TALLY_EXTENSION union {
        const char *text;
        int64_t integer;
        double real;
        bool boolean;
        struct tally_msgpack msgpack;  // one complete msgpack value
    };
};

struct tally_event {
    const char *subject;  // required, 1-255 bytes
    const char *type;     // required, 1-100 bytes
    const char *id;       // NULL: a UUIDv7 is made
    const char *source;   // NULL: empty
    const char *value;    // decimal text; NULL: 1
    int64_t time_ns;      // since 1970 UTC; 0: now
    const struct tally_property *properties;
    size_t properties_count;
    uint64_t tag;  // given back with a rejection or conflict
};

// What the server said of one event that it did not count. Of each batch it names at most 1,000
// rejections and 1,000 conflicts; all are counted. Called on the library's thread; must not call
// tally_*.
struct tally_refusal {
    uint64_t tag;
    bool is_leftover;    // an event of an earlier process, from the spool: its tag is not known, 0
    bool is_conflict;    // the id was used before with another payload
    const char *reason;  // as the server names it
};
typedef void (*tally_refusal_fn)(void *context, const struct tally_refusal *refusal);

// The spool. With spool_dir each batch is written to a file of its own at the moment it is
// complete: by the tally_send that completes it (other callers wait meanwhile), by tally_flush, or
// by the library's thread when it is batch_age_ms old. The file goes when the batch is acked.
// tally_open finds what an earlier process left and sends it first, with the same bytes and names,
// so that nothing is counted twice; refusals of these events come with is_leftover.
//
// What a crash can lose is the batch being filled: events of the last batch_age_ms that no
// tally_flush followed (tally_flush(tally, 0) puts them into the spool and does not wait). A file
// is in the kernel's cache when tally_send returns, which survives any end of the process; with
// spool_sync it is on disk. A batch that cannot be written (disk full) is sent from memory, and
// counted in spool_errors. A damaged file is renamed to .bad, counted and never sent.
//
// The other options have their defaults when they are 0 or NULL.
struct tally_options {
    // "HOST:PORT" or "unix:PATH", or up to 8 of them with commas between, tried in turn after a
    // failure. All must lead to the same ledger: what one of them stored without its ack getting
    // here is sent again to the next, and only the same ledger knows it. NULL: "127.0.0.1:24224"
    const char *server;
    size_t buffer_bytes;          // all that is unacked; 0: 64 MiB
    size_t batch_bytes;           // a batch is sent at this size; 0: 256 KiB
    uint32_t batch_events;        // or this count; 0: 1000
    uint32_t batch_age_ms;        // or this age; 0: 50
    uint32_t in_flight_batches;   // unacked batches at once; 0: 8
    uint32_t ack_timeout_ms;      // reconnect when an ack takes longer; 0: 30000
    uint32_t connect_timeout_ms;  // for each: name, connection with TLS, handshake; 0: 5000
    uint32_t retry_min_ms;        // pause after all servers failed, doubled each time up to
    uint32_t retry_max_ms;        // this; 0: 100 and 10000
    // Name of an open backfill: events of any age are accepted (needs the right); NULL: live
    const char *backfill;
    // Directory where batches wait for their acks, so that they survive the end of the process;
    // made when it is missing, one handle at a time. NULL: memory only. See "The spool" above.
    const char *spool_dir;
    uint64_t spool_bytes;  // of its files; beyond it tally_send returns TALLY_FULL; 0: 256 MiB
    bool spool_sync;       // also survive a power loss: an fsync for each batch
    tally_refusal_fn on_refusal;  // NULL: only counted
    void *context;
    // The handshake with the server's shared key, 1 to 1024 bytes. No event is sent before the
    // server has proved that it knows it too. NULL: no handshake
    const char *shared_key;
    const char *username;  // when the server has users: up to 255 bytes; needs shared_key
    const char *password;  // up to 1024 bytes
    // TLS 1.2 or later; every server must be a HOST:PORT. The server's certificate must lead to one
    // in tls_ca_file (PEM) and bear the host's name or address. The files are read by tally_open.
    bool tls;
    const char *tls_ca_file;      // NULL: the certificates that the system trusts
    const char *tls_server_name;  // what the certificate must bear instead; NULL: the host's name
    const char *tls_cert_file;    // of this client, for a server that asks (PEM, with its chain)
    const char *tls_key_file;     // of it, without a passphrase
    bool tls_skip_verify;         // takes any certificate: whoever sits between can read all
};

struct tally_stats {
    uint64_t events_sent;       // taken by tally_send
    uint64_t events_acked;      // of these and the recovered, answered by the server
    uint64_t events_duplicate;  // of the acked: known already
    uint64_t events_rejected;
    uint64_t events_conflict;
    uint64_t events_recovered;  // of an earlier process, read from its spool
    uint64_t events_buffered;   // sent or recovered, not acked yet
    size_t buffered_bytes;
    uint64_t batches_resent;
    uint64_t connects;
    bool is_connected;
    uint64_t spool_bytes;   // of the files that wait for acks
    uint64_t spool_bad;     // damaged files that were set aside
    uint64_t spool_errors;  // files that could not be written or removed
    char last_spool_error[256];
    uint32_t server;       // of the list, from 0: the one that was connected last
    char last_error[256];  // of the connection; empty: none
};

struct tally;

// Starts the library's thread; connects in the background. NULL with a line of text in error when
// an option is wrong or the system refuses memory or a thread.
TALLY_API struct tally *
tally_open(const struct tally_options *options, char *error, size_t error_size);
TALLY_API enum tally_result tally_send(struct tally *tally, const struct tally_event *event);
// As tally_send, but waits up to timeout_ms for room.
TALLY_API enum tally_result
tally_send_wait(struct tally *tally, const struct tally_event *event, uint32_t timeout_ms);
// Sends what is batched now and waits until everything sent before is acked, and what an earlier
// process left in the spool too.
TALLY_API enum tally_result tally_flush(struct tally *tally, uint32_t timeout_ms);
TALLY_API void tally_stats(struct tally *tally, struct tally_stats *out);
// Flushes (up to timeout_ms), stops the thread, frees everything. TALLY_TIMEOUT: some events were
// not acked; with a spool they wait there for the next process.
TALLY_API enum tally_result tally_close(struct tally *tally, uint32_t timeout_ms);
TALLY_API const char *tally_result_text(enum tally_result result);
TALLY_API const char *tally_version(void);

#ifdef __cplusplus
}
#endif
