#pragma once
// What a load costs on this machine: a few numbers fitted to a few measured runs, and what they say
// of a load that was not measured.
//
//     plan_profile_read(text, &profile, &error);      // as plan_profile_print wrote it
//     plan_model_fit(&profile, &model);
//     plan_predict(&model, &need, &answer);
//
// The model is the simplest that the stages allow:
//
//   CPU a second   = events/s x (event + size x (bytes - 110) + subjects x decades of subjects
//                    beyond 10,000 + window x decades of identities beyond a million)
//   event          by the rate: groups grow with it, and each costs a commit. Between the rates
//                    that were measured on a line over the logarithm of the rate; below them a
//                    second costs what it cost at the lowest, above them an event what it cost at
//                    the highest
//   memory         = base + identity x identities in memory + subject x subjects beyond 10,000
//                    + 2 bytes for each identity in the window, up to the filters' budget
//   disk           = block x events + identity x identities that left memory
//   rate of a node = what the closed loop reached, by the CPU of an event there in relation to its
//                    own: too low where the disk was the limit
//
// What an event costs never becomes less by a larger size, more subjects or a fuller window: less
// is noise of a measurement. Values. Thread: any.

#include "base/arena.h"
#include "base/buffer.h"
#include "base/status.h"

#include <stdint.h>

enum { PLAN_MACHINE_MAX = 256, PLAN_SIZE_LEAST = 110, PLAN_RATES = 3 };

// The runs of a profile, each for one unknown.
enum plan_role {
    PLAN_FULL,    // the closed loop
    PLAN_LOW,     // an open loop at a seventh of it
    PLAN_MIDDLE,  // and at a half; all others at a third
    PLAN_LARGE,   // events of 500 bytes
    PLAN_MANY,    // a million subjects
    PLAN_WINDOW,  // identities in the window
    PLAN_ROLES,
};

struct plan_run {
    double event_size;
    double subjects;
    double identities;  // in the window before
    double events;      // acked, duplicates included
    double seconds;
    double cpu_seconds;       // of tallyd
    double memory_bytes;      // anonymous and shared, the most seen
    double disk_bytes;        // added
    double identities_bytes;  // of disk, before
};

struct plan_profile {
    char machine[PLAN_MACHINE_MAX];
    double cpus;
    struct plan_run runs[PLAN_ROLES];
};

struct plan_model {
    double cpus;
    double rate_max;  // events/s of the closed loop
    // CPU an event of 110 bytes, of 10,000 subjects, with an empty window, at rising rates.
    double rates[PLAN_RATES];
    double event_ns[PLAN_RATES];
    double byte_ns;          // for each byte more
    double subjects_ns;      // for each decade of subjects beyond 10,000
    double window_ns;        // for each decade of identities beyond a million
    double base_bytes;       // of memory
    double identity_memory;  // bytes
    double subject_memory;
    double event_disk;
    double identity_disk;
};

struct plan_need {
    double rate;        // events/s
    double event_size;  // bytes
    double subjects;
    double identities;   // in the window
    double events;       // since tallyd started, or infinity
    double unlike_size;  // bytes of an event that are like those of no other
    double use;          // of a node's CPU and rate, 0-1
};

struct plan_answer {
    double base_ns;       // CPU of an event at this rate, as above
    double event_ns;      // with what size, subjects and window add
    double cpu;           // CPU seconds a second
    double cores;         // to have for it
    double memory_bytes;  // anonymous
    double event_disk;    // bytes of log an event
    double day_bytes;     // of log a day
    double window_bytes;  // of identities on disk
    double node_rate;     // what one node takes, all of it used
    double nodes;
    // The parts of memory_bytes.
    double identities_memory, subjects_memory, filters_memory;
};

const char *plan_role_name(enum plan_role role);
void plan_profile_print(const struct plan_profile *profile, struct buffer *out);
// STATUS_INVALID: it is none, or something of it is missing or not positive.
enum status
plan_profile_read(struct bytes text, struct plan_profile *out, struct error *error) CHECKED;
void plan_model_fit(const struct plan_profile *profile, struct plan_model *out);
void
plan_predict(const struct plan_model *model, const struct plan_need *need, struct plan_answer *out);
