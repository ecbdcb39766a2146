#include "ingest/metrics.h"

#include "base/assert.h"

#include <stdio.h>

static const struct ingest_metrics FIRST_STATE = {
    .connections = METRIC_GAUGE("tally_ingest_connections", "Open connections."),
    .connections_accepted =
        METRIC_COUNTER("tally_ingest_connections_accepted_total", "Connections accepted."),
    .connections_refused = METRIC_COUNTER(
        "tally_ingest_connections_refused_total", "Connections closed at once: too many are open."),
    .connections_idle = METRIC_COUNTER(
        "tally_ingest_connections_idle_total", "Connections closed for saying nothing for long."),
    .handshakes = METRIC_COUNTER("tally_ingest_handshakes_total", "Handshakes passed."),
    .tls_handshakes = METRIC_COUNTER("tally_ingest_tls_handshakes_total", "TLS handshakes passed."),
    .tls_expires_s = METRIC_GAUGE(
        "tally_ingest_tls_certificate_expires_seconds",
        "When the certificate in use ends, in seconds since 1970; 0 without TLS."),
    .tls_reloads =
        METRIC_COUNTER("tally_ingest_tls_reloads_total", "Certificates read again and in use."),
    .tls_reloads_failed = METRIC_COUNTER(
        "tally_ingest_tls_reloads_failed_total",
        "Certificates read again that cannot be used; the ones before stay."),
    .bytes_received =
        METRIC_COUNTER("tally_ingest_bytes_received_total", "Bytes received; over TLS, decrypted."),
    .frames = METRIC_COUNTER("tally_ingest_frames_total", "Frames received whole."),
    .heartbeats = METRIC_COUNTER("tally_ingest_heartbeats_total", "Heartbeats received."),
    .events = METRIC_COUNTER(
        "tally_ingest_events_total",
        "Well-formed events handed to the ledger, duplicates included."),
    .duplicates = METRIC_COUNTER("tally_ingest_duplicates_total", "Events known already."),
    .conflicts = METRIC_COUNTER(
        "tally_ingest_conflicts_total", "Events whose identity is known with another payload."),
    .values_rounded = METRIC_COUNTER(
        "tally_ingest_values_rounded_total", "Values with more than 18 decimals, rounded."),
    .acks = METRIC_COUNTER("tally_ingest_acks_total", "Chunks acknowledged."),
    .memory = METRIC_GAUGE("tally_ingest_memory_bytes", "Memory held by connections."),
    .memory_full = METRIC_COUNTER(
        "tally_ingest_memory_full_total", "Times reading stopped because memory was full."),
    .room_turns = METRIC_COUNTER(
        "tally_ingest_room_turns_total",
        "Times a connection had its turn to go on while memory was full."),
    .turns =
        METRIC_COUNTER("tally_ingest_turns_total", "Turns of the loop that serves connections."),
    .receive_starved = METRIC_COUNTER(
        "tally_ingest_receive_starved_total", "Receives that waited for a free buffer."),
    .rejects_unlisted = METRIC_COUNTER(
        "tally_ingest_rejects_unlisted_total", "Rejects counted, but not kept in the reject log."),
    .udp_datagrams = METRIC_COUNTER("tally_udp_datagrams_total", "Datagrams received."),
};

static const char *const UDP_DROP_LABELS[UDP_DROP_COUNT] = {
    [UDP_DROP_KERNEL] = "by=\"kernel\"",
    [UDP_DROP_LEDGER] = "by=\"ledger\"",
    [UDP_DROP_BROKEN] = "by=\"broken\"",
    [UDP_DROP_PEER] = "by=\"peer\"",
};

void
ingest_metrics_init(struct ingest_metrics *metrics)
{
    *metrics = FIRST_STATE;
    for (size_t i = 0; i < UDP_DROP_COUNT; i++) {
        metrics->udp_dropped[i] = (struct metric)METRIC_COUNTER(
            "tally_udp_dropped_total",
            "Datagrams that did not count: for want of room in the kernel or in the ledger, "
            "broken, or of a peer that may not send.");
        metrics->udp_dropped[i].labels = UDP_DROP_LABELS[i];
    }
    for (enum refusal i = REFUSAL_NONE; i < REFUSAL_COUNT; i++) {
        char *labels = metrics->rejected_labels[i];
        (void)snprintf(
            labels, sizeof metrics->rejected_labels[i], "reason=\"%s\"", refusal_label(i));
        metrics->rejected[i] = (struct metric)METRIC_COUNTER(
            "tally_ingest_events_rejected_total", "Events refused, by reason.");
        metrics->rejected[i].labels = labels;
    }
    for (enum frame_fault i = FRAME_FINE; i < FRAME_FAULT_COUNT; i++) {
        char *labels = metrics->broken_labels[i];
        (void)snprintf(
            labels, sizeof metrics->broken_labels[i], "reason=\"%s\"", frame_fault_name(i));
        metrics->broken[i] = (struct metric)METRIC_COUNTER(
            "tally_ingest_frames_broken_total", "Frames that ended their connection, by reason.");
        metrics->broken[i].labels = labels;
    }
    for (enum handshake_fault i = HANDSHAKE_FINE; i < HANDSHAKE_FAULT_COUNT; i++) {
        char *labels = metrics->turned_away_labels[i];
        (void)snprintf(
            labels,
            sizeof metrics->turned_away_labels[i],
            "reason=\"%s\"",
            handshake_fault_name(i));
        metrics->turned_away[i] = (struct metric)METRIC_COUNTER(
            "tally_ingest_handshakes_failed_total", "Connections turned away, by reason.");
        metrics->turned_away[i].labels = labels;
    }
    for (enum tls_fault i = TLS_FINE; i < TLS_FAULT_COUNT; i++) {
        char *labels = metrics->tls_failed_labels[i];
        (void)snprintf(
            labels, sizeof metrics->tls_failed_labels[i], "reason=\"%s\"", tls_fault_name(i));
        metrics->tls_failed[i] = (struct metric)METRIC_COUNTER(
            "tally_ingest_tls_failed_total", "Connections that TLS ended, by reason.");
        metrics->tls_failed[i].labels = labels;
    }
}

size_t
ingest_metrics_list(
    const struct ingest_metrics *metrics, const struct metric *list[INGEST_METRICS_MAX])
{
    const struct metric *const plain[] = {
        &metrics->connections,
        &metrics->connections_accepted,
        &metrics->connections_refused,
        &metrics->connections_idle,
        &metrics->handshakes,
        &metrics->tls_handshakes,
        &metrics->tls_expires_s,
        &metrics->tls_reloads,
        &metrics->tls_reloads_failed,
        &metrics->bytes_received,
        &metrics->frames,
        &metrics->heartbeats,
        &metrics->events,
        &metrics->duplicates,
        &metrics->conflicts,
        &metrics->values_rounded,
        &metrics->acks,
        &metrics->memory,
        &metrics->memory_full,
        &metrics->room_turns,
        &metrics->turns,
        &metrics->receive_starved,
        &metrics->rejects_unlisted,
        &metrics->udp_datagrams,
    };
    size_t count = 0;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        list[count++] = plain[i];
    for (size_t i = 0; i < UDP_DROP_COUNT; i++)
        list[count++] = &metrics->udp_dropped[i];
    // The first of each kind means "nothing wrong" and is never counted.
    for (size_t i = REFUSAL_NONE + 1; i < REFUSAL_COUNT; i++)
        list[count++] = &metrics->rejected[i];
    for (size_t i = FRAME_FINE + 1; i < FRAME_FAULT_COUNT; i++)
        list[count++] = &metrics->broken[i];
    for (size_t i = HANDSHAKE_FINE + 1; i < HANDSHAKE_FAULT_COUNT; i++)
        list[count++] = &metrics->turned_away[i];
    for (size_t i = TLS_FINE + 1; i < TLS_FAULT_COUNT; i++)
        list[count++] = &metrics->tls_failed[i];
    must(count <= INGEST_METRICS_MAX);
    return count;
}
