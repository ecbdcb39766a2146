#pragma once
// DATA/tally-api.json: where a running tally-api listens, for `tally up`, `tally status` and tests.
//
//     api_announce(dir, "127.0.0.1:3000", false, now_ns, &error);     // once it listens; atomic
//     api_announce_remove(dir);
//
// {"pid":12,"version":"0.1.0","started":"...Z","http":"127.0.0.1:3000","tls":false}
// A killed process leaves it behind, so who reads it checks the pid. Owner: main. Thread: main.

#include "base/status.h"

#include <stdint.h>

enum status api_announce(
    const char *dir,
    const char *address,
    bool is_tls,
    int64_t started_ns,
    struct error *error) CHECKED;
// Only the file of this process: another may have begun before this one has ended.
void api_announce_remove(const char *dir);
