#pragma once
// DATA/tallyd.json: where a running tallyd listens, for `tally status`, clients and tests.
//
//     announce_write(dir, &facts, &error);     // when every listener is ready; atomic
//     announce_remove(dir);                    // at the end
//
// {"pid":12,"version":"0.1.0","started":"...Z","shards":2,
//  "tcp":"127.0.0.1:24224","udp":"127.0.0.1:24224","unix":"/...","metrics":"127.0.0.1:24280"}
// A killed process leaves it behind, so who reads it checks the pid. It is not synced: it says
// nothing that outlives the process, and what a power cut leaves of it is refused like any other
// damage and replaced by the next start.
// An address that is switched off is null.
//
// Owner: main. Thread: main.

#include "base/status.h"

#include <stdint.h>

struct announce {
    int64_t started_ns;
    uint32_t shards;
    const char *tcp;        // NULL: none
    const char *udp;        // NULL: none
    const char *unix_path;  // NULL: none
    const char *metrics;    // NULL: none
};

enum status
announce_write(const char *dir, const struct announce *facts, struct error *error) CHECKED;
void announce_remove(const char *dir);
