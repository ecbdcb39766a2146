#pragma once
// What tallyd counts on the way in. One struct for the program; every field is a row of /metrics.
//
//     ingest_metrics_init(&metrics);
//     metric_add(&metrics.bytes_received, size);
//     count = ingest_metrics_list(&metrics, list);      // for metrics_print
//
// Fronts add up an input's events first and add once, not per event. Owner: main. Thread: any.

#include "base/metric.h"
#include "ingest/decode.h"
#include "ingest/frame.h"
#include "ingest/handshake.h"
#include "ingest/tls.h"

// Why a datagram did not count.
enum udp_drop {
    UDP_DROP_KERNEL,  // its buffer was full
    UDP_DROP_LEDGER,  // no room for it in the ledger's group, or among the datagrams under way
    UDP_DROP_BROKEN,  // not one message of the protocol
    UDP_DROP_PEER,    // from an address that may not send, or whose heartbeat is not echoed
    UDP_DROP_COUNT,
};

enum {
    INGEST_METRICS_MAX =
        40 + REFUSAL_COUNT + FRAME_FAULT_COUNT + HANDSHAKE_FAULT_COUNT + TLS_FAULT_COUNT,
};

struct ingest_metrics {
    struct metric connections;  // open now
    struct metric connections_accepted;
    struct metric connections_refused;  // over the limit
    struct metric connections_idle;     // closed for saying nothing
    struct metric handshakes;           // passed
    struct metric tls_handshakes;       // passed
    struct metric tls_expires_s;        // our certificate: seconds since 1970; 0: no TLS
    struct metric tls_reloads;
    struct metric tls_reloads_failed;
    struct metric bytes_received;  // over TLS: decrypted
    struct metric frames;
    struct metric heartbeats;
    struct metric events;  // decoded and put
    struct metric duplicates;
    struct metric conflicts;
    struct metric values_rounded;
    struct metric acks;
    struct metric memory;       // bytes held by connections
    struct metric memory_full;  // times reading was stopped for it
    struct metric room_turns;   // how often a connection could go on then
    struct metric turns;        // of the loop
    struct metric receive_starved;
    struct metric rejects_unlisted;
    struct metric udp_datagrams;
    struct metric udp_dropped[UDP_DROP_COUNT];
    struct metric rejected[REFUSAL_COUNT];
    struct metric broken[FRAME_FAULT_COUNT];
    struct metric turned_away[HANDSHAKE_FAULT_COUNT];
    struct metric tls_failed[TLS_FAULT_COUNT];
    char rejected_labels[REFUSAL_COUNT][32];
    char broken_labels[FRAME_FAULT_COUNT][80];
    char turned_away_labels[HANDSHAKE_FAULT_COUNT][80];
    char tls_failed_labels[TLS_FAULT_COUNT][80];
};

void ingest_metrics_init(struct ingest_metrics *metrics);
// Fills list, which the caller gives; returns the number of rows.
size_t ingest_metrics_list(
    const struct ingest_metrics *metrics, const struct metric *list[INGEST_METRICS_MAX]);
