#pragma once
// What a load run found, as a table for people or one JSON object for programs.
//
//     report_print(&report, REPORT_JSON, &buffer);
//
// Values. Thread: any.

#include "base/json.h"
#include "bench/check.h"
#include "bench/endpoint.h"
#include "bench/generate.h"
#include "bench/histogram.h"
#include "bench/pauses.h"

enum report_format { REPORT_TABLE, REPORT_JSON };

// The conditions, as they were.
struct report_conditions {
    uint32_t connections;
    uint32_t in_flight;
    uint32_t threads;
    uint32_t shards;  // 0: another's server
    uint64_t rate;    // events a second; 0: closed loop
    uint64_t seed;
    struct generate_options generate;
    enum transport transport;
    double zipf;           // the exponent; 0: subjects alike
    uint32_t hot_percent;  // of events are one subject's
    uint32_t idle_connections;
    uint32_t slow_clients;
    uint32_t sync_delay_ms;
    uint64_t prefill;    // identities known before
    const char *server;  // NULL: a private tallyd
};

struct report {
    struct report_conditions conditions;
    struct generate_totals sent;
    uint64_t events_acked;
    uint64_t duplicates;  // as the server said
    uint64_t rejected;
    uint64_t conflicts;
    uint64_t resent;     // datagrams
    int64_t elapsed_ns;  // from the first chunk to the last ack
    struct histogram latency;
    struct pauses_found pauses;
    bool has_server;  // those below, up to the restart are known
    int64_t server_cpu_ns;
    uint64_t server_anon_bytes;  // the most seen
    int64_t server_ready_ns;
    uint64_t server_disk_before;  // bytes of its files when it began
    uint64_t server_disk_after;   // when all was acked
    int64_t server_restart_ns;    // after kill -9; 0: it was not killed
    bool has_usage;               // the check was made
    struct check_usage usage;
};

enum { REPORT_NUMBER_MAX = 32 };

// For other reports too. 12345678 -> "12,345,678"; a JSON member with so many decimals.
const char *report_grouped(uint64_t value, char out[REPORT_NUMBER_MAX]);
void report_json_real(struct json_out *json, const char *key, double value, int decimals);
// Two members; null when nothing is known.
void report_json_pauses(struct json_out *json, const struct pauses_found *pauses);
// "1.23 % of the time for more than 1 ms, 8.1 ms at most", or that it is unknown.
void report_pauses(const struct pauses_found *pauses, struct buffer *out);
// Of an object; 0 when there is no such number.
double report_member(const struct json *object, const char *name);
bool report_format_parse(const char *text, enum report_format *out);
void report_print(const struct report *report, enum report_format format, struct buffer *out);
